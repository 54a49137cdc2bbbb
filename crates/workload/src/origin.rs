//! Where the keys of one issuer come from.

use std::path::{Path, PathBuf};

use https_url::HttpsUrl;
use oauth::jwks::{KeySet, Purpose};
use outbound::Fetcher;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;

use crate::error::RefreshError;
use crate::spiffe_id::TrustDomain;
use crate::workload_api::{Endpoint, Subscription};

/// The most bytes of a file or bundle of keys, and the most levels.
pub(crate) const DOCUMENT_LIMITS: json::Limits = json::Limits { bytes: 256 << 10, depth: 16 };

/// Where the keys of one issuer come from.
pub(crate) enum Origin {
    /// The metadata of the issuer, fetched over https, say where its keys are.
    Metadata { issuer: String, metadata: HttpsUrl },
    /// A file of an issuer's keys.
    JwksFile(PathBuf),
    /// A file of a trust domain's bundle.
    BundleFile(PathBuf),
    /// Whoever attests workloads on this machine.
    WorkloadApi(Endpoint, TrustDomain),
}

impl Origin {
    /// The keys as they are now, and the issuer's metadata, if they come by those.
    pub(crate) async fn fetch(&self, fetcher: &Fetcher) -> Result<(KeySet, Value), RefreshError> {
        let (document, metadata) = match self {
            Self::Metadata { issuer, metadata } => discover(fetcher, issuer, metadata).await?,
            Self::JwksFile(file) | Self::BundleFile(file) => (read(file).await?, Value::Null),
            Self::WorkloadApi(endpoint, domain) => {
                let keys = Subscription::open(endpoint, domain).await?.next().await?;
                return Ok((keys, Value::Null));
            }
        };
        Ok((KeySet::parse(&document, self.purpose())?, metadata))
    }

    fn purpose(&self) -> Purpose {
        match self {
            Self::Metadata { .. } | Self::JwksFile(_) => Purpose::Signatures,
            Self::BundleFile(_) | Self::WorkloadApi(..) => Purpose::JwtSvid,
        }
    }
}

/// The issuer's keys, by its metadata (OpenID Connect Discovery §4.3), and these.
async fn discover(
    fetcher: &Fetcher,
    issuer: &str,
    metadata: &HttpsUrl,
) -> Result<(Value, Value), RefreshError> {
    let failed = |what| move |error| RefreshError::Fetch { what, error: Box::new(error) };
    let document = fetcher.fetch_json(metadata).await.map_err(failed("metadata"))?;
    let is_private = |url: &HttpsUrl| fetcher.is_private(url);
    let uri = jwks_uri(&document, issuer, is_private(metadata), is_private)?;
    let keys = fetcher.fetch_json(&uri).await.map_err(failed("keys"))?;
    Ok((keys, document))
}

/// Where the keys of `issuer` are by its metadata `document`. Into the operator's own network they lead
/// only if the issuer is in it.
pub(crate) fn jwks_uri(
    document: &Value,
    issuer: &str,
    is_own: bool,
    is_private: impl Fn(&HttpsUrl) -> bool,
) -> Result<HttpsUrl, RefreshError> {
    if document.get("issuer").is_none_or(|named| named != issuer) {
        return Err(RefreshError::OtherIssuer);
    }
    // Its keys may lie on another host (those of Google do): its own metadata say so.
    let uri = document.get("jwks_uri").and_then(Value::as_str);
    let uri = HttpsUrl::parse(uri.ok_or(RefreshError::JwksUri(None))?);
    let uri = uri.map_err(|error| RefreshError::JwksUri(Some(error)))?;
    if !is_own && is_private(&uri) {
        return Err(RefreshError::PrivateHost(uri.host().to_owned()));
    }
    Ok(uri)
}

async fn read(file: &Path) -> Result<Value, RefreshError> {
    let most = u64::try_from(DOCUMENT_LIMITS.bytes).unwrap_or(u64::MAX) + 1;
    let file = tokio::fs::File::open(file).await.map_err(RefreshError::File)?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).await.map_err(RefreshError::File)?;
    Ok(json::parse(&bytes, DOCUMENT_LIMITS)?)
}
