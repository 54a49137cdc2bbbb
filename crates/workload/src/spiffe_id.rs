//! SPIFFE IDs (SPIFFE-ID §2): read strictly, in one way only.

use std::fmt;

use model::workload::{SPIFFE_SCHEME, SUBJECT_MAX};
use serde::{Deserialize, Serialize};

/// The longest name of a trust domain, in bytes (SPIFFE-ID §2.1).
const TRUST_DOMAIN_MAX: usize = 255;

/// Why a text is no SPIFFE ID, or no trust domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSpiffeId {
    /// It is longer than one may be.
    #[error("a SPIFFE ID has at most {SUBJECT_MAX} bytes, a trust domain {TRUST_DOMAIN_MAX}")]
    TooLong,
    /// It does not begin with `spiffe://`.
    #[error("a SPIFFE ID begins with `spiffe://`")]
    Scheme,
    /// Its trust domain is empty or has other characters than lower case letters, digits, `.`, `-`
    /// and `_`.
    #[error("a trust domain has lower case letters, digits, `.`, `-` and `_`")]
    TrustDomain,
    /// It has no path, or one with an empty segment, `.`, `..` or another character.
    #[error("the path of a SPIFFE ID has segments of letters, digits, `.`, `-` and `_`")]
    Path,
}

/// The name of a trust domain, as in `spiffe://TRUST-DOMAIN/path`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrustDomain(String);

impl TrustDomain {
    /// Reads a name, without `spiffe://`.
    pub fn parse(name: &str) -> Result<Self, NotSpiffeId> {
        let is_known =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
        if name.len() > TRUST_DOMAIN_MAX {
            return Err(NotSpiffeId::TooLong);
        }
        if name.is_empty() || !name.bytes().all(is_known) {
            return Err(NotSpiffeId::TrustDomain);
        }
        Ok(Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The SPIFFE ID of the trust domain itself, which is the issuer of its workloads' identities.
    pub fn id(&self) -> String {
        format!("{SPIFFE_SCHEME}{}", self.0)
    }
}

impl TryFrom<String> for TrustDomain {
    type Error = NotSpiffeId;

    fn try_from(name: String) -> Result<Self, NotSpiffeId> {
        Self::parse(&name)
    }
}

impl From<TrustDomain> for String {
    fn from(domain: TrustDomain) -> Self {
        domain.0
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The SPIFFE ID of a workload: it has a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpiffeId {
    domain: TrustDomain,
    text: String,
}

impl SpiffeId {
    /// Reads the SPIFFE ID of a workload.
    pub fn parse(text: &str) -> Result<Self, NotSpiffeId> {
        if text.len() > SUBJECT_MAX {
            return Err(NotSpiffeId::TooLong);
        }
        let rest = text.strip_prefix(SPIFFE_SCHEME).ok_or(NotSpiffeId::Scheme)?;
        let (domain, path) = rest.split_once('/').ok_or(NotSpiffeId::Path)?;
        let domain = TrustDomain::parse(domain)?;
        if !path.split('/').all(is_segment) {
            return Err(NotSpiffeId::Path);
        }
        Ok(Self { domain, text: text.to_owned() })
    }

    /// Whose it is.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// The whole.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn is_segment(segment: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    !["", ".", ".."].contains(&segment) && segment.bytes().all(is_known)
}
