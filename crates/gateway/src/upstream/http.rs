//! Upstreams over streamable HTTP.

use std::sync::RwLock;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::{LinkError, MESSAGES_WAITING_MAX, Outgoing, Transport, UPSTREAM_MESSAGE_MAX};

/// How long to wait for a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// The client that all upstreams share. It follows no redirects.
pub(crate) type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

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
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

/// A conversation with a server at a URL.
pub(crate) struct HttpTransport {
    client: HttpClient,
    url: http::Uri,
    header: Option<(http::HeaderName, HeaderValue)>,
    /// The server's session id, in the session era, once it has given one.
    session: RwLock<Option<HeaderValue>>,
    tasks: TaskTracker,
}

impl HttpTransport {
    pub(crate) const fn new(
        client: HttpClient,
        url: http::Uri,
        header: Option<(http::HeaderName, HeaderValue)>,
        tasks: TaskTracker,
    ) -> Self {
        Self { client, url, header, session: RwLock::new(None), tasks }
    }

    fn request(&self, message: &Outgoing) -> Result<Request<Full<Bytes>>, LinkError> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream");
        if let Some(version) = message.version {
            request = request.header("MCP-Protocol-Version", version);
            request = request.header("Mcp-Method", &message.method);
            if let Some(name) = &message.name {
                request = request.header("Mcp-Name", mcp::encode_header_value(name));
            }
        } else if message.method != "initialize" {
            request = request.header("MCP-Protocol-Version", "2025-11-25");
        }
        let session = self.session.read().expect("no panic while it is held").clone();
        if let Some(session) = session {
            request = request.header("Mcp-Session-Id", session);
        }
        // Either the upstream's own header or our assertion: never both, never the caller's.
        if let Some((name, value)) = &self.header {
            request = request.header(name, value);
        } else if let Some(assertion) = &message.assertion {
            request = request.header(AUTHORIZATION, format!("Bearer {assertion}"));
        }
        let request = request.body(Full::new(message.body.clone()));
        request.map_err(|error| LinkError::Unreached(error.to_string()))
    }
}

#[async_trait]
impl Transport for HttpTransport {
    async fn send(&self, message: Outgoing) -> Result<mpsc::Receiver<Bytes>, LinkError> {
        let request = self.request(&message)?;
        let response = self.client.request(request).await.map_err(|error| {
            if error.is_connect() {
                LinkError::Unreached(error.to_string())
            } else {
                LinkError::Unanswered
            }
        })?;
        if let Some(session) = response.headers().get("mcp-session-id") {
            *self.session.write().expect("no panic while it is held") = Some(session.clone());
        }
        let status = response.status();
        let is_json = content_type(&response).starts_with("application/json");
        if !status.is_success() && !is_json {
            return Err(LinkError::Refused(status.as_u16()));
        }
        if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
            return Err(LinkError::Refused(status.as_u16()));
        }
        let (sender, receiver) = mpsc::channel(MESSAGES_WAITING_MAX);
        if message.id.is_some() {
            self.tasks.spawn(read(response, sender));
        }
        Ok(receiver)
    }

    async fn close(&self) {
        let session = self.session.write().expect("no panic while it is held").take();
        let Some(session) = session else { return };
        let request = Request::builder()
            .method(Method::DELETE)
            .uri(self.url.clone())
            .header("Mcp-Session-Id", session)
            .body(Full::new(Bytes::new()));
        if let Ok(request) = request {
            // The server may not offer this; it ends idle sessions by itself.
            let _ = tokio::time::timeout(CONNECT_WITHIN, self.client.request(request)).await;
        }
    }
}

fn content_type(response: &Response<Incoming>) -> &str {
    let value = response.headers().get(CONTENT_TYPE);
    value.and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Reads a response to its end and passes on the messages in it.
async fn read(response: Response<Incoming>, messages: mpsc::Sender<Bytes>) {
    if content_type(&response).starts_with("text/event-stream") {
        return read_events(response.into_body(), messages).await;
    }
    let body = Limited::new(response.into_body(), UPSTREAM_MESSAGE_MAX).collect().await;
    if let Ok(body) = body {
        // Nobody reads if the call was cut: then the message is nobody's.
        let _ = messages.send(body.to_bytes()).await;
    }
}

async fn read_events(mut body: Incoming, messages: mpsc::Sender<Bytes>) {
    let mut parser = mcp::SseParser::new(UPSTREAM_MESSAGE_MAX);
    while let Some(Ok(frame)) = body.frame().await {
        let Some(data) = frame.data_ref() else { continue };
        let Ok(events) = parser.push(data) else { return };
        for event in events {
            if !event.data.is_empty() && messages.send(event.data.into()).await.is_err() {
                return;
            }
        }
    }
}
