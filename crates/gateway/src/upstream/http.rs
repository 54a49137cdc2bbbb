//! Upstreams over streamable HTTP.

use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::carrier::Connector;
use super::{LinkError, Messages, Outgoing, Protocol, Transport};

/// How long to wait for a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// How long a connection is kept for reuse: less than the 5 s after which common servers close an
/// idle one, as what is sent into a closing connection has an unknown outcome.
const IDLE_FOR: Duration = Duration::from_secs(4);

/// The most bytes that are read at once; the head of an answer has no more.
const READ_AT_ONCE_MAX: usize = 64 << 10;

/// The client that all upstreams share. It follows no redirects.
///
/// The body is boxed: the HTTP library keeps room for 32 requests for each connection, which with a
/// body of this size take one class of memory less.
pub(crate) type HttpClient = Client<Connector, Box<Full<Bytes>>>;

/// A client for upstreams: TLS by the platform's roots, connections kept for reuse.
pub(crate) fn client() -> Result<HttpClient, std::io::Error> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_WITHIN));
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_native_roots()?
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    // Requests of which nothing was written yet are sent on another connection, no others are.
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_FOR);
    builder.http1_max_buf_size(READ_AT_ONCE_MAX);
    Ok(builder.build(Connector(connector)))
}

/// A conversation with a server at a URL.
pub(crate) struct HttpTransport {
    client: HttpClient,
    url: http::Uri,
    header: Option<(http::HeaderName, HeaderValue)>,
    /// The server's session id, in the session era, once it has given one.
    session: RwLock<Option<HeaderValue>>,
    /// The server no longer knows the session.
    is_lost: AtomicBool,
}

impl HttpTransport {
    pub(crate) const fn new(
        client: HttpClient,
        url: http::Uri,
        header: Option<(http::HeaderName, HeaderValue)>,
    ) -> Self {
        let session = RwLock::new(None);
        Self { client, url, header, session, is_lost: AtomicBool::new(false) }
    }

    fn session(&self) -> Option<HeaderValue> {
        self.session.read().expect("no panic while it is held").clone()
    }

    /// The request that carries `message`: nothing of it comes from the caller's headers.
    fn request(&self, message: Outgoing) -> Result<Request<Box<Full<Bytes>>>, LinkError> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream");
        match message.protocol {
            Protocol::Greeting => {}
            Protocol::Session(version) => request = request.header("mcp-protocol-version", version),
            Protocol::Stateless(version) => {
                request = request.header("mcp-protocol-version", version);
                if let Some(method) = &message.method {
                    request = request.header("mcp-method", method);
                }
                if let Some(name) = &message.name {
                    request = request.header("mcp-name", mcp::encode_header_value(name));
                }
                for (name, value) in message.param_headers {
                    request = request.header(name, value);
                }
            }
        }
        if let Some(session) = self.session() {
            request = request.header("mcp-session-id", session);
        }
        // Either the upstream's own header or our assertion: never both, never the caller's.
        if let Some((name, value)) = &self.header {
            request = request.header(name, value);
        } else if let Some(assertion) = &message.assertion {
            request = request.header(AUTHORIZATION, format!("Bearer {assertion}"));
        }
        let request = request.body(Box::new(Full::new(message.body)));
        request.map_err(|error| LinkError::Unreached(error.to_string()))
    }

    /// Whether the answer's head promises an answer to the message, or says that there is none.
    fn check(&self, response: &Response<Incoming>) -> Result<(), LinkError> {
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let had_session = self.session().is_some();
        if status == StatusCode::NOT_FOUND && had_session {
            self.is_lost.store(true, Ordering::Relaxed);
        }
        let refuses = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if refuses || status.is_redirection() {
            return Err(LinkError::Refused(status.as_u16()));
        }
        if content_type(response).starts_with("application/json") {
            // It may be a JSON-RPC error, which says more than the status.
            return Ok(());
        }
        if status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT {
            return Err(LinkError::Refused(status.as_u16()));
        }
        // Something on the way gave up, maybe after the server had acted.
        Err(LinkError::Unanswered)
    }
}

#[async_trait]
impl Transport for HttpTransport {
    async fn send(&self, message: Outgoing) -> Result<Messages, LinkError> {
        let wants_answer = message.id.is_some();
        let greets = message.protocol == Protocol::Greeting;
        let intake = message.intake.clone();
        let request = self.request(message)?;
        let response = self.client.request(request).await.map_err(|error| {
            if error.is_connect() {
                LinkError::Unreached(error.to_string())
            } else {
                LinkError::Unanswered
            }
        })?;
        if let Some(session) = response.headers().get("mcp-session-id").filter(|_| greets) {
            *self.session.write().expect("no panic while it is held") = Some(session.clone());
        }
        self.check(&response)?;
        if !wants_answer {
            return Ok(Messages::Nothing);
        }
        let is_stream = content_type(&response).starts_with("text/event-stream");
        Ok(Messages::of(response.into_body(), is_stream, intake))
    }

    fn forget(&self, _id: u64) {
        // Each request has a response of its own, which is dropped with what waits for it.
    }

    fn is_alive(&self) -> bool {
        !self.is_lost.load(Ordering::Relaxed)
    }

    async fn close(&self) {
        let session = self.session.write().expect("no panic while it is held").take();
        let Some(session) = session else { return };
        let mut request = Request::builder()
            .method(Method::DELETE)
            .uri(self.url.clone())
            .header("mcp-session-id", session);
        if let Some((name, value)) = &self.header {
            request = request.header(name, value);
        }
        if let Ok(request) = request.body(Box::default()) {
            // The server may not offer this; it ends idle sessions by itself.
            let _ = tokio::time::timeout(CONNECT_WITHIN, self.client.request(request)).await;
        }
    }
}

fn content_type(response: &Response<Incoming>) -> &str {
    let value = response.headers().get(CONTENT_TYPE);
    value.and_then(|value| value.to_str().ok()).unwrap_or_default()
}
