//! Tells people of findings by a webhook that the operator named.

use anyhow::{Context as _, ensure};
use async_trait::async_trait;
use authority::Messenger;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Uri, header};
use http_body_util::Full;
use model::{Finding, PersonId};
use outbound::{HttpClient, http_client};

use crate::config::Findings;

/// A webhook that takes findings.
pub(crate) struct Webhook {
    client: HttpClient,
    url: Uri,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Webhook {
    /// The webhook of the configuration, if it has one.
    pub(crate) fn of(config: &Findings) -> anyhow::Result<Option<Self>> {
        let Some(url) = &config.webhook else { return Ok(None) };
        let url = url.parse().context("`findings.webhook` is not a URL")?;
        let header = config.header_file.as_deref().map(crate::sources::header).transpose()?;
        Ok(Some(Self { client: http_client()?, url, header }))
    }

    async fn post(&self, person: &PersonId, finding: &Finding) -> anyhow::Result<()> {
        let body = serde_json::json!({ "kind": "unknown_agent", "to": person, "finding": finding });
        let mut request = Request::post(&self.url).header(header::CONTENT_TYPE, "application/json");
        if let Some((name, value)) = &self.header {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(serde_json::to_vec(&body)?)))?;
        let status = self.client.request(request).await.context("no connection")?.status();
        ensure!(status.is_success(), "the webhook answered {status}");
        Ok(())
    }
}

#[async_trait]
impl Messenger for Webhook {
    async fn tell(&self, person: &PersonId, finding: &Finding) -> Result<(), String> {
        self.post(person, finding).await.map_err(|error| format!("{error:#}"))
    }
}
