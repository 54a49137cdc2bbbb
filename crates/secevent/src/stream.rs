//! Where a transmitter says of itself what its keys are, and how it is asked to verify a stream (SSF 1.0 §7,
//! §8.1.4).

use https_url::{HttpsUrl, NotHttpsUrl};
use serde_json::{Value, json};

/// Where the metadata of the transmitter `issuer` are (SSF 1.0 §7.2): its path comes after the name.
pub fn metadata_url(issuer: &str) -> Result<HttpsUrl, NotHttpsUrl> {
    let (scheme, rest) = issuer.split_once("://").unwrap_or_default();
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.trim_end_matches('/');
    let path = if path.is_empty() { String::new() } else { format!("/{path}") };
    HttpsUrl::parse(&format!("{scheme}://{host}/.well-known/ssf-configuration{path}"))
}

/// The request that the stream `id` be verified, by an event that tells `state` (SSF 1.0 §8.1.4.2).
pub fn verification_request(id: &str, state: &str) -> Value {
    json!({ "stream_id": id, "state": state })
}
