//! The token service, as it is configured.

use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use authority::Authority;
use https_url::HttpsUrl;
use keys::TokenKeys;
use oauth::nonces::Nonces;
use oauth::verified_tokens::VerifiedTokens;
use outbound::Fetcher;
use serde_json::Value;
use sts::{Documents, TokenService};
use tokio_util::sync::CancellationToken;
use workload::Sources;

use crate::attestation::fetcher;
use crate::config::{Config, FetchedFrom};

/// The token service: people consent and authorize clients if they can log in, and the word of
/// `platforms` on workloads, if there are any, is taken and kept fresh. What it issues is `known` to who takes it.
pub(crate) fn service(
    config: &Config,
    (authority, keys, nonces): (&Arc<Authority>, Arc<TokenKeys>, Arc<Nonces>),
    (has_login, platforms, known): (bool, Option<&Arc<Sources>>, Arc<VerifiedTokens>),
    stop: &CancellationToken,
) -> anyhow::Result<TokenService> {
    let tokens = TokenService::new(authority.clone(), config.issuer(), (keys, nonces));
    let mut tokens = tokens.sharing(known);
    if config.tokens.dpop_nonce_required {
        tokens = tokens.needing_nonces();
    }
    if has_login {
        let documents = documents(&config.clients)?;
        tokens = tokens.with_consent_at(config.people_url()).with_clients(documents);
    }
    if let Some(platforms) = platforms {
        platforms.keep_fresh(stop);
        tokens = tokens.attesting(platforms.clone());
    }
    Ok(tokens)
}

/// What fetches the documents of clients, from public addresses and where `clients` says besides.
fn documents(clients: &FetchedFrom) -> anyhow::Result<Arc<dyn Documents>> {
    let fetcher = fetcher(&clients.private_hosts, &clients.ca_files);
    Ok(Arc::new(Fetched(fetcher.context("the documents of clients could not be fetched")?)))
}

struct Fetched(Fetcher);

#[async_trait]
impl Documents for Fetched {
    async fn fetch(&self, url: &HttpsUrl) -> Result<Value, String> {
        self.0.fetch_json_there(url).await.map_err(|error| error.to_string())
    }
}
