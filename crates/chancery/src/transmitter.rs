//! How a transmitter is asked, at a URL that the operator named.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use outbound::{HttpClient, http_client};
use secevent::POLL_BYTES_MAX;
use serde_json::Value;

/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// Where a transmitter is asked, and what shows it who asks.
pub(crate) struct Endpoint {
    url: Uri,
    header: (HeaderName, HeaderValue),
    client: HttpClient,
}

impl Endpoint {
    /// The endpoint at `url`, which is shown the line that `header_file` holds.
    pub(crate) fn new(url: &str, header_file: &Path) -> anyhow::Result<Self> {
        let url = url.parse().with_context(|| format!("`{url}` is not a URL"))?;
        Ok(Self { url, header: crate::sources::header(header_file)?, client: http_client()? })
    }

    /// What it answers to `body`, if that is a success.
    pub(crate) async fn post(&self, body: &Value) -> anyhow::Result<Bytes> {
        let (name, value) = &self.header;
        let request = Request::post(&self.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .header(name, value)
            .body(Full::new(Bytes::from(body.to_string())))?;
        let answered = async {
            let answer = self.client.request(request).await.context("it could not be reached")?;
            let status = answer.status();
            ensure!(status.is_success(), "it answered {status}");
            let body = Limited::new(answer.into_body(), POLL_BYTES_MAX).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!("its answer cannot be read: {error}"));
            Ok(body?.to_bytes())
        };
        tokio::time::timeout(ANSWER_WITHIN, answered).await.context("no answer in time")?
    }
}
