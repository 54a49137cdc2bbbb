//! One message to the gateway, and what comes back.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use outbound::{HttpClient, http_client};

use super::Credentials;
use super::credentials::Shown;
use super::instance::NoToken;

/// Why a message has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// There is no token for it: the gateway was not asked.
    #[error("the call was not made")]
    NoToken(#[source] anyhow::Error),
    /// The gateway has not taken the message.
    #[error("the call was not made")]
    Unreached(#[source] anyhow::Error),
    /// The gateway took the message, or may have, and did not answer it.
    #[error("it is not known whether the call was made")]
    Unanswered(#[source] anyhow::Error),
}

/// The gateway as this instance reaches it.
pub(crate) struct Gateway {
    client: HttpClient,
    server: String,
    url: String,
    credentials: Arc<Credentials>,
}

impl Gateway {
    pub(crate) fn new(base: &str, server: &str, credentials: Credentials) -> anyhow::Result<Self> {
        let url = format!("{}/mcp/{server}", base.trim_end_matches('/'));
        let server = server.to_owned();
        Ok(Self { client: http_client()?, server, url, credentials: Arc::new(credentials) })
    }

    pub(crate) const fn client(&self) -> &HttpClient {
        &self.client
    }

    /// What a request for `method` shows.
    pub(super) async fn show(&self, method: &str) -> anyhow::Result<Shown> {
        self.credentials.show(&self.client, (method, &self.server)).await
    }

    /// Sends `body` with the MCP headers `headers`. A demand for a nonce is met once, and so is one for
    /// another token.
    pub(crate) async fn send(
        &self,
        method: Method,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, SendError> {
        let (mut has_nonce, mut is_another) = (false, false);
        loop {
            let response = self.attempt((&method, is_another), headers, body.clone()).await?;
            let challenge = response.headers().get("www-authenticate");
            let challenge = challenge.and_then(|value| value.to_str().ok()).unwrap_or_default();
            let wants_nonce = challenge.contains("use_dpop_nonce");
            let is_met = if wants_nonce { &mut has_nonce } else { &mut is_another };
            if response.status() != StatusCode::UNAUTHORIZED || std::mem::replace(is_met, true) {
                return Ok(response);
            }
        }
    }

    async fn attempt(
        &self,
        of: (&Method, bool),
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, SendError> {
        let request = self.request(of, headers, body).await.map_err(|error| {
            let is_final = error.is::<NoToken>();
            if is_final { SendError::NoToken(error) } else { SendError::Unreached(error) }
        })?;
        let response = self.client.request(request).await.map_err(|error| {
            let reached = !error.is_connect();
            let error = anyhow::Error::from(error).context(format!("no answer of `{}`", self.url));
            if reached { SendError::Unanswered(error) } else { SendError::Unreached(error) }
        })?;
        self.credentials.note_nonce(response.headers()).await;
        Ok(response)
    }

    async fn request(
        &self,
        (method, is_another): (&Method, bool),
        headers: &HeaderMap,
        body: Bytes,
    ) -> anyhow::Result<Request<Full<Bytes>>> {
        let of = (method.as_str(), self.server.as_str());
        let Shown { token, proof } = if is_another {
            self.credentials.show_another(&self.client, of).await?
        } else {
            self.credentials.show(&self.client, of).await?
        };
        let mut request = Request::builder().method(method).uri(&self.url).body(Full::new(body))?;
        let all = request.headers_mut();
        all.extend(headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        all.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let accept = HeaderValue::from_static("application/json, text/event-stream");
        all.insert(ACCEPT, accept);
        let mut authorization = HeaderValue::from_str(&format!("DPoP {token}"))?;
        let mut proof = HeaderValue::from_str(&proof)?;
        // Neither is written out by whatever logs headers.
        authorization.set_sensitive(true);
        proof.set_sensitive(true);
        all.insert(AUTHORIZATION, authorization);
        all.insert("dpop", proof);
        Ok(request)
    }
}
