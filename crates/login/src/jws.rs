//! The compact JWS of an ID token, read strictly (RFC 7515, hardened as RFC 8725 asks).
//!
//! One reading only: three parts of canonical base64url, strict JSON, a plain JWT. Beside
//! `oauth::jws`, which reads what we and our agents sign, because of three things that other
//! people's services do: tokens grow by groups, keys are RSA, and a header may name the certificate
//! of its key (`x5t`). An encrypted token (RFC 7516) is never accepted.

use serde_json::{Map, Value};

use crate::error::IdTokenError;

/// The largest ID token, in bytes: some two hundred groups have 12 KiB.
pub(crate) const TOKEN_MAX: usize = 32 << 10;

/// The longest `kid`, in bytes.
pub(crate) const KID_MAX: usize = 256;

/// How deep headers and claims may nest.
const DEPTH_MAX: usize = 16;

/// Header members that carry keys or lead to them, or change what is signed: refused. `x5t` and
/// `x5t#S256` only name a key by a digest, and are not read.
const REFUSED: [&str; 8] = ["jwk", "jku", "x5u", "x5c", "crit", "b64", "zip", "enc"];

/// An ID token whose signature is still to be verified.
#[derive(Debug)]
pub(crate) struct Unverified<'a> {
    header: Map<String, Value>,
    /// The claims, which nobody vouches for yet.
    pub(crate) claims: Map<String, Value>,
    /// What is signed.
    pub(crate) signed: &'a str,
    /// The signature.
    pub(crate) signature: Vec<u8>,
}

/// Reads `token`.
pub(crate) fn read(token: &str) -> Result<Unverified<'_>, IdTokenError> {
    if token.len() > TOKEN_MAX {
        return Err(IdTokenError::TooLong);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(IdTokenError::NotCompact)?;
    let (header, claims) = signed.split_once('.').ok_or(IdTokenError::NotCompact)?;
    let header = object(header, "header")?;
    if let Some(name) = REFUSED.iter().find(|name| header.contains_key(**name)) {
        return Err(IdTokenError::HeaderMember(name));
    }
    if !is_plain_jwt(header.get("typ")) {
        return Err(IdTokenError::OtherType);
    }
    let signature = keys::from_base64url(signature).ok_or(IdTokenError::NotCompact)?;
    Ok(Unverified { header, claims: object(claims, "claims")?, signed, signature })
}

impl Unverified<'_> {
    /// The algorithm that it says it is signed by.
    pub(crate) fn alg(&self) -> Option<&str> {
        self.header.get("alg").and_then(Value::as_str)
    }

    /// The key that it says it is signed by; `None` if it does not say.
    pub(crate) fn kid(&self) -> Result<Option<&str>, IdTokenError> {
        match self.header.get("kid") {
            None => Ok(None),
            Some(Value::String(kid)) if kid.len() <= KID_MAX => Ok(Some(kid)),
            Some(_) => Err(IdTokenError::UnknownKey),
        }
    }
}

/// Whether a token of this `typ` may be an ID token, which has no type of its own: access tokens,
/// logout tokens, events and proofs have (RFC 8725 §3.11).
fn is_plain_jwt(typ: Option<&Value>) -> bool {
    let Some(typ) = typ else { return true };
    typ.as_str().is_some_and(|typ| {
        typ.strip_prefix("application/").unwrap_or(typ).eq_ignore_ascii_case("JWT")
    })
}

fn object(part: &str, what: &'static str) -> Result<Map<String, Value>, IdTokenError> {
    let bytes = keys::from_base64url(part).ok_or(IdTokenError::NotCompact)?;
    match json::parse(&bytes, json::Limits { bytes: TOKEN_MAX, depth: DEPTH_MAX }) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(IdTokenError::NotJson(what)),
    }
}
