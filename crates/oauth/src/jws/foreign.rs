//! Tokens that another issuer made for itself: read as strictly as ours, verified by keys of more
//! kinds than ours have.
//!
//! Two things are as others make them. Their headers carry certificates' thumbprints (`x5t`), which
//! name a key and bring none: not read, and no reason to refuse. And one RSA key may sign by several
//! algorithms, so `alg` says by which; the key still has to be for it.

use keys::VerifyingKey;
use serde_json::{Map, Value};

use super::{Compact, JwsError, KID_MAX, TOKEN_MAX, object};

/// Header members that carry keys or lead to them, or change what is signed.
const REFUSED: [&str; 8] = ["jwk", "jku", "x5u", "x5c", "crit", "b64", "zip", "enc"];

/// A public key of another issuer's.
pub trait Verifier {
    /// Whether it is a key for the algorithm of the name `alg`.
    fn is_for(&self, alg: &str) -> bool;

    /// Whether `signature` is its own over `message` by `alg`, for which it is.
    #[must_use = "an unchecked signature is none"]
    fn verify(&self, alg: &str, message: &[u8], signature: &[u8]) -> bool;
}

impl Verifier for VerifyingKey {
    fn is_for(&self, alg: &str) -> bool {
        alg == self.algorithm().as_str()
    }

    fn verify(&self, alg: &str, message: &[u8], signature: &[u8]) -> bool {
        self.is_for(alg) && Self::verify(self, message, signature)
    }
}

/// A compact JWS of another issuer's whose signature is still to be verified.
#[derive(Debug)]
pub struct Foreign<'a> {
    compact: Compact<'a>,
    /// The most bytes of its claims.
    most: usize,
}

impl<'a> Foreign<'a> {
    /// Reads a token that says of its type nothing, or one of `types`.
    pub fn read(token: &'a str, types: &[&str]) -> Result<Self, JwsError> {
        let compact = Compact::read_without(token, &REFUSED, TOKEN_MAX)?;
        let is_listed = |found: &Value| {
            let found = found.as_str().unwrap_or_default();
            types.contains(&found)
        };
        if compact.header.get("typ").is_some_and(|found| !is_listed(found)) {
            return Err(JwsError::WrongType("JWT"));
        }
        Ok(Self { compact, most: TOKEN_MAX })
    }

    /// Reads a token of at most `most` bytes that says that it is of type `typ`: media types are not
    /// told apart by case, and `application/` may be left out (RFC 7515 §4.1.9).
    pub fn read_typed(token: &'a str, typ: &'static str, most: usize) -> Result<Self, JwsError> {
        let compact = Compact::read_without(token, &REFUSED, most)?;
        let found = compact.header.get("typ").and_then(Value::as_str).unwrap_or_default();
        let found = found.to_ascii_lowercase();
        if found.strip_prefix("application/").unwrap_or(&found) != typ {
            return Err(JwsError::WrongType(typ));
        }
        Ok(Self { compact, most })
    }

    /// The names of its header's members.
    pub fn header_members(&self) -> impl Iterator<Item = &str> {
        self.compact.header.keys().map(String::as_str)
    }

    /// The name of its algorithm.
    pub fn alg(&self) -> Result<&str, JwsError> {
        let alg = self.compact.header.get("alg").and_then(Value::as_str);
        alg.ok_or(JwsError::WrongAlgorithm)
    }

    /// The name of its key, if it has one. What is no name that a key can have is not left out: it
    /// is the name of no key.
    pub fn kid(&self) -> Result<Option<&str>, JwsError> {
        match self.compact.header.get("kid") {
            None => Ok(None),
            Some(Value::String(kid)) if kid.len() <= KID_MAX => Ok(Some(kid)),
            Some(_) => Err(JwsError::UnknownKey),
        }
    }

    /// What it claims, on nobody's word: fit to find whose key has to verify it, and nothing else.
    pub fn unverified_claims(&self) -> Result<Map<String, Value>, JwsError> {
        object(&self.compact.payload, "claims", self.most)
    }

    /// The claims, once `key` verifies the signature.
    pub fn verified_by(self, key: &dyn Verifier) -> Result<Map<String, Value>, JwsError> {
        let alg = self.alg()?;
        if !key.is_for(alg) {
            return Err(JwsError::WrongAlgorithm);
        }
        if !key.verify(alg, self.compact.signed.as_bytes(), &self.compact.signature) {
            return Err(JwsError::WrongSignature);
        }
        self.unverified_claims()
    }
}
