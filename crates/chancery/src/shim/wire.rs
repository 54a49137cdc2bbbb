//! One message to the gateway, and what comes back.

use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::Credentials;

pub(crate) type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client over TLS or, on loopback, plain HTTP.
pub(crate) fn http_client() -> anyhow::Result<HttpClient> {
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_native_roots()
        .context("could not read the system's certificates")?
        .https_or_http()
        .enable_http1()
        .build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

/// The gateway as this instance reaches it.
pub(crate) struct Gateway {
    client: HttpClient,
    url: String,
    credentials: Arc<Credentials>,
}

impl Gateway {
    pub(crate) fn new(base: &str, server: &str, credentials: Credentials) -> anyhow::Result<Self> {
        let url = format!("{}/mcp/{server}", base.trim_end_matches('/'));
        Ok(Self { client: http_client()?, url, credentials: Arc::new(credentials) })
    }

    pub(crate) const fn client(&self) -> &HttpClient {
        &self.client
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Sends `body` with the MCP headers `headers`. A demand for a nonce or a fresh token is met
    /// once.
    pub(crate) async fn send(
        &self,
        method: Method,
        headers: &HeaderMap,
        body: Bytes,
    ) -> anyhow::Result<Response<Incoming>> {
        let response = self.attempt(&method, headers, body.clone()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        self.credentials.note_nonce(response.headers());
        let challenge = response.headers().get("www-authenticate");
        let challenge = challenge.and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !challenge.contains("use_dpop_nonce") {
            self.credentials.forget_token().await;
        }
        self.attempt(&method, headers, body).await
    }

    async fn attempt(
        &self,
        method: &Method,
        headers: &HeaderMap,
        body: Bytes,
    ) -> anyhow::Result<Response<Incoming>> {
        let token = self.credentials.token(&self.client).await?;
        let proof = self.credentials.proof(method.as_str(), &self.url, Some(&token))?;
        let mut request = Request::builder().method(method).uri(&self.url);
        if let Some(all) = request.headers_mut() {
            all.extend(headers.iter().map(|(name, value)| (name.clone(), value.clone())));
            all.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let accept = HeaderValue::from_static("application/json, text/event-stream");
            all.insert(ACCEPT, accept);
            all.insert(AUTHORIZATION, HeaderValue::from_str(&format!("DPoP {token}"))?);
            all.insert("dpop", HeaderValue::from_str(&proof)?);
        }
        let request = request.body(Full::new(body))?;
        let response = self.client.request(request).await;
        let response = response.with_context(|| format!("could not reach `{}`", self.url))?;
        self.credentials.note_nonce(response.headers());
        Ok(response)
    }
}
