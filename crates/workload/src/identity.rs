//! Who the holder of a token is.

use std::collections::BTreeMap;

use model::Timestamp;
use serde::{Deserialize, Serialize};

/// Which kind of platform vouches for an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdentityKind {
    /// A SPIFFE trust domain.
    Spiffe,
    /// An issuer of OpenID Connect tokens.
    Oidc,
}

/// A workload, as its platform vouches for it.
///
/// Issuer and subject together are who it is; neither means anything alone. An issuer of OpenID
/// Connect tokens is never configured with the name of a trust domain, so issuers of both kinds are
/// apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// Which kind of platform vouches for it.
    pub kind: IdentityKind,
    /// Who vouches for it: `iss`, or `spiffe://TRUST-DOMAIN`.
    pub issuer: String,
    /// Whom it vouches for: `sub`.
    pub subject: String,
    /// What else the platform says of it: texts, whole numbers, `true` and `false`, as text, each by
    /// its name; those inside of objects by their path, with dots between.
    pub claims: BTreeMap<String, String>,
}

/// What a token that was verified says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "whoever verifies a token wants to know whose it is"]
pub struct Verified {
    /// Whose it is.
    pub identity: Identity,
    /// Until when it says so (`exp`): nothing that rests on it alone should last longer.
    pub expires: Timestamp,
}
