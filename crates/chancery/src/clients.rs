//! The documents of OAuth clients, as they are fetched.

use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use https_url::HttpsUrl;
use outbound::Fetcher;
use serde_json::Value;
use sts::Documents;

use crate::attestation::fetcher;
use crate::config::Clients;

/// What fetches the documents of clients, from public addresses and where `clients` says besides.
pub(crate) fn documents(clients: &Clients) -> anyhow::Result<Arc<dyn Documents>> {
    let fetcher = fetcher(&clients.private_hosts, &clients.ca_files);
    Ok(Arc::new(Fetched(fetcher.context("the documents of clients could not be fetched")?)))
}

struct Fetched(Fetcher);

#[async_trait]
impl Documents for Fetched {
    async fn fetch(&self, url: &HttpsUrl) -> Result<Value, String> {
        self.0.fetch_json(url).await.map_err(|error| error.to_string())
    }
}
