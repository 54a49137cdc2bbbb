//! Which keys sign and verify the tokens of the deployment.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// How long a key verifies tokens after another one has taken over: longer than anything lives that
/// it signed.
pub const RETIRED_FOR: Duration = Duration::from_hours(1);

/// The keys that sign and verify tokens, once the first one was exchanged; or events, once one was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenKeySet {
    /// The thumbprint (RFC 7638, base64url) of the key that signs.
    pub current: String,
    /// Those before it that still verify, the newest first.
    pub retired: Vec<RetiredTokenKey>,
}

/// A key that verifies tokens and signs none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetiredTokenKey {
    /// The public key (RFC 7517).
    pub jwk: serde_json::Value,
    /// Until when it verifies.
    pub until: Timestamp,
}
