//! How the provider is asked: what is published, and for tokens.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use keys::Secret;
use outbound::{Fetcher, HttpClient};
use serde_json::Value;

use crate::url::EndpointUrl;

/// How long the provider has for an answer.
const WITHIN: Duration = Duration::from_secs(10);

/// The most bytes of metadata or keys on loopback; elsewhere `outbound` has its own limit.
pub(crate) const DOCUMENT_MAX: usize = 256 << 10;

/// The most bytes of an answer with tokens.
pub(crate) const ANSWER_MAX: usize = 64 << 10;

/// The most arrays and objects inside each other in what a provider says.
pub(crate) const DEPTH_MAX: usize = 16;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// There is no answer that can be used. Later there may be one.
#[derive(Debug, thiserror::Error)]
#[error("could not ask the provider")]
pub struct TransportError(#[source] pub BoxError);

/// What is sent to the token endpoint.
#[derive(Debug)]
pub struct TokenRequest {
    /// The form: it holds the code and what we prove ourselves with.
    pub form: Secret<String>,
    /// The value of `Authorization`, where we prove ourselves by that.
    pub authorization: Option<Secret<String>>,
}

/// Asks the provider over HTTP.
#[async_trait]
pub trait Transport: Send + Sync {
    /// The document that is published at `url`, read strictly.
    async fn document(&self, url: &EndpointUrl) -> Result<Value, TransportError>;

    /// What the token endpoint at `url` answers: the status and a body of bearable size.
    async fn tokens(
        &self,
        url: &EndpointUrl,
        request: TokenRequest,
    ) -> Result<(StatusCode, Bytes), TransportError>;
}

/// Asks over the network, each URL in the way that its writer calls for.
///
/// What is published is fetched as from URLs that somebody else wrote. The token endpoint is asked
/// as at one of the operator's: its host is one that the operator named.
pub struct Outbound {
    fetcher: Fetcher,
    client: HttpClient,
}

impl Outbound {
    /// Asks by `fetcher` and `client`.
    pub const fn new(fetcher: Fetcher, client: HttpClient) -> Self {
        Self { fetcher, client }
    }

    /// Sends `request` and reads at most `limit` bytes of what is answered. Redirects are not
    /// followed: nothing of ours goes where an answer leads.
    async fn send(
        &self,
        request: Request<Full<Bytes>>,
        limit: usize,
    ) -> Result<(StatusCode, Bytes), TransportError> {
        let exchange = async {
            let answer = self.client.request(request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), limit).collect().await?;
            Ok::<_, BoxError>((status, body.to_bytes()))
        };
        let within = tokio::time::timeout(WITHIN, exchange).await;
        within.map_err(|late| TransportError(late.into()))?.map_err(TransportError)
    }
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outbound(…)")
    }
}

#[async_trait]
impl Transport for Outbound {
    async fn document(&self, url: &EndpointUrl) -> Result<Value, TransportError> {
        if let Some(https) = url.https() {
            let fetched = self.fetcher.fetch_json(https).await;
            return fetched.map_err(|error| TransportError(error.into()));
        }
        let request = Request::get(url.as_str())
            .header(ACCEPT, "application/json")
            .body(Full::default())
            .expect("an endpoint is a URI");
        let (status, body) = self.send(request, DOCUMENT_MAX).await?;
        if status != StatusCode::OK {
            let why = format!("the answer has status {}", status.as_u16());
            return Err(TransportError(why.into()));
        }
        let limits = json::Limits { bytes: DOCUMENT_MAX, depth: DEPTH_MAX };
        json::parse(&body, limits).map_err(|error| TransportError(error.into()))
    }

    async fn tokens(
        &self,
        url: &EndpointUrl,
        request: TokenRequest,
    ) -> Result<(StatusCode, Bytes), TransportError> {
        let mut post = Request::post(url.as_str())
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(authorization) = &request.authorization {
            let value = HeaderValue::from_str(authorization.expose());
            let mut value = value.map_err(|error| TransportError(error.into()))?;
            value.set_sensitive(true);
            post = post.header(AUTHORIZATION, value);
        }
        let form = Bytes::from(request.form.expose().clone());
        let post = post.body(Full::new(form)).expect("an endpoint is a URI");
        self.send(post, ANSWER_MAX).await
    }
}
