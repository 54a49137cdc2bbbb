//! Client authentication by `private_key_jwt` (RFC 7523 §2.2, audience as in RFC 7523bis).

use keys::{Signer, VerifyingKey};
use serde_json::json;

use crate::jws::{self, JwsError, audience, seconds, text};

/// The `client_assertion_type` that is taken.
pub const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// That of a JWT-SVID (draft-ietf-oauth-spiffe-client-auth §3.1), which is verified elsewhere.
pub const SPIFFE_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";

/// How long an assertion may be good for, and so how far ahead it may expire, in seconds.
pub const LIFETIME_MAX_S: i64 = 60;

/// How far clocks may differ, in seconds.
const SKEW_S: i64 = 5;

/// An assertion that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedAssertion {
    /// Its id, to be used once.
    pub jti: String,
    /// When it ends, in seconds since the epoch.
    pub exp: i64,
}

/// Verifies that `client` asserts itself to `issuer` by `key`, at `now`.
pub fn verify(
    assertion: &str,
    (client, issuer): (&str, &str),
    key: &VerifyingKey,
    now: i64,
) -> Result<VerifiedAssertion, JwsError> {
    let claims = jws::verify(assertion, "", key)?;
    for name in ["iss", "sub"] {
        if text(&claims, name)? != client {
            return Err(JwsError::Claim(name));
        }
    }
    if audience(&claims)? != issuer {
        return Err(JwsError::Claim("aud"));
    }
    let (iat, exp) = (seconds(&claims, "iat")?, seconds(&claims, "exp")?);
    if exp <= now - SKEW_S || exp > now + LIFETIME_MAX_S + SKEW_S {
        return Err(JwsError::Claim("exp"));
    }
    if iat > now + SKEW_S {
        return Err(JwsError::Claim("iat"));
    }
    // One that was made long before would have lain about, fit to be stolen.
    if exp - iat > LIFETIME_MAX_S {
        return Err(JwsError::Claim("exp"));
    }
    jws::not_before(&claims, now + SKEW_S)?;
    let jti = jws::id(&claims)?;
    Ok(VerifiedAssertion { jti, exp })
}

/// Whom an assertion claims to be of. Nothing is verified: it says by whose key to verify it.
pub(crate) fn claimed(assertion: &str) -> Option<String> {
    jws::claimed(assertion, "", "sub")
}

/// Makes an assertion of `client` for `issuer`.
pub fn make(
    (client, issuer): (&str, &str),
    signer: &dyn Signer,
    now: i64,
    jti: &str,
) -> Result<String, JwsError> {
    let claims = json!({
        "iss": client,
        "sub": client,
        "aud": issuer,
        "iat": now,
        "exp": now + LIFETIME_MAX_S,
        "jti": jti,
    });
    jws::sign("JWT", &claims, signer)
}
