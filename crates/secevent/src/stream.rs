//! Where a transmitter says of itself what its keys are, and what has to be understood of whom it tells, and
//! how it is asked to verify a stream (SSF 1.0 §7, §8.1.4).

use std::collections::BTreeSet;

use https_url::{HttpsUrl, NotHttpsUrl};
use serde_json::{Value, json};

/// The member of a transmitter's metadata that names members of subjects which have to be understood (SSF 1.0
/// §7.1).
pub const CRITICAL: &str = "critical_subject_members";

/// The members that [`CRITICAL`] names where it is `said`.
pub fn critical_members(said: &Value) -> BTreeSet<String> {
    let named = said.as_array().into_iter().flatten();
    named.filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

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
