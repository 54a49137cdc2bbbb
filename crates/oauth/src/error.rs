//! OAuth errors: the code that the other side acts on, and what a person reads.

use serde_json::{Value, json};

/// An error code of RFC 6749 §5.2, RFC 8628, RFC 8707, RFC 9396 or RFC 9449: docs/token-errors.md says which of them
/// tells what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// The request is malformed.
    InvalidRequest,
    /// The client is not known or did not authenticate.
    InvalidClient,
    /// The renewal does not follow the last token (RFC 6749 §5.2).
    InvalidGrant,
    /// The client may not ask by this grant (RFC 6749 §5.2).
    UnauthorizedClient,
    /// The grant is not known.
    UnsupportedGrantType,
    /// What an authorization request wants back is not offered (RFC 6749 §4.1.2.1).
    UnsupportedResponseType,
    /// The authorization details are not of a known type, or not as they should be (RFC 9396 §5).
    InvalidAuthorizationDetails,
    /// The scope or purpose is not the client's.
    InvalidScope,
    /// The resource is not one of ours (RFC 8707).
    InvalidTarget,
    /// The proof of possession does not hold (RFC 9449).
    InvalidDpopProof,
    /// The proof of possession has no nonce of ours, or an old one (RFC 9449 §8).
    UseDpopNonce,
    /// It was decided that it may not be.
    AccessDenied,
    /// Nobody has answered yet (RFC 8628 §3.5).
    AuthorizationPending,
    /// It was asked again too soon (RFC 8628 §3.5).
    SlowDown,
    /// It is too late for an answer, or what was answered is over (RFC 8628 §3.5).
    ExpiredToken,
    /// It cannot be decided now.
    TemporarilyUnavailable,
}

impl ErrorCode {
    /// The code as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidAuthorizationDetails => "invalid_authorization_details",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::AccessDenied => "access_denied",
            Self::AuthorizationPending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::ExpiredToken => "expired_token",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }

    /// The HTTP status at the token endpoint.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidClient => 401,
            Self::TemporarilyUnavailable => 503,
            _ => 400,
        }
    }
}

/// An error of the token endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {description}", code.as_str())]
pub struct OAuthError {
    /// What the client acts on.
    pub code: ErrorCode,
    /// What a person reads.
    pub description: String,
    /// Where a person can consent, if that is what is missing.
    pub consent: Option<ConsentLink>,
}

/// Where a person can consent to what was asked, or to what is lacking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentLink {
    /// The page.
    pub consent_uri: String,
    /// By what the agent redeems the answer.
    pub request_uri: String,
}

impl OAuthError {
    /// An error with this code and description.
    pub fn new(code: ErrorCode, description: impl Into<String>) -> Self {
        Self { code, description: description.into(), consent: None }
    }

    /// The same, with where a person can consent.
    #[must_use]
    pub fn with_consent(self, at: ConsentLink) -> Self {
        Self { consent: Some(at), ..self }
    }

    /// The HTTP status.
    pub const fn status(&self) -> u16 {
        self.code.status()
    }

    /// The description in the few characters that are allowed there (RFC 6749 §5.2).
    pub(crate) fn plain(&self) -> String {
        let allowed = |c: char| matches!(c, ' '..='~') && c != '"' && c != '\\';
        self.description.chars().map(|c| if allowed(c) { c } else { '?' }).collect()
    }

    /// The body (RFC 6749 §5.2).
    pub fn body(&self) -> Value {
        let mut body = json!({ "error": self.code.as_str(), "error_description": self.plain() });
        if let Some(ConsentLink { consent_uri, request_uri }) = &self.consent {
            body["consent_uri"] = consent_uri.as_str().into();
            body["request_uri"] = request_uri.as_str().into();
        }
        body
    }
}

/// The value of `WWW-Authenticate` for a resource that wants DPoP (RFC 9449 §7.1, RFC 9728 §5.1).
pub fn challenge(error: &str, resource_metadata: Option<&str>) -> String {
    let metadata = metadata(resource_metadata);
    format!("DPoP error=\"{error}\", algs=\"ES256 EdDSA\"{metadata}")
}

/// The same of a resource that takes tokens that are bound to no key as well (RFC 6750 §3). That comes
/// first: who knows nothing of DPoP looks no further.
pub fn challenge_of_either(error: &str, resource_metadata: Option<&str>) -> String {
    let dpop = challenge(error, resource_metadata);
    format!("Bearer error=\"{error}\"{}, {dpop}", metadata(resource_metadata))
}

/// A URL with characters that no URL has is left out: it could end the quoted text and say more.
fn metadata(url: Option<&str>) -> String {
    let plain = |url: &&str| {
        url.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
    };
    let url = url.filter(plain);
    url.map(|url| format!(", resource_metadata=\"{url}\"")).unwrap_or_default()
}
