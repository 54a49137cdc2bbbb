//! The provider's keys (RFC 7517), of which those count that sign by the expected algorithm.
//!
//! INVARIANT: what verifies is chosen by the operator's word and the provider's key, never by what a
//! token's header says.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaParameters, RsaPublicKeyComponents,
};
use keys::{KeyAlgorithm, VerifyingKey};
use serde_json::{Map, Value};

use crate::error::MetadataError;
use crate::jws::KID_MAX;

/// The most keys of a provider.
pub(crate) const KEYS_MAX: usize = 64;

/// How a provider signs ID tokens (RFC 7518, RFC 8037). There is no `none`, and nothing by a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    /// RSA with PKCS #1 padding and SHA-256: what every provider has (Core §15.1).
    Rs256,
    /// RSA with PSS padding and SHA-256.
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl SignatureAlgorithm {
    /// The value of `alg`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The hash behind `at_hash` (Core §3.1.3.6): that of the algorithm.
    pub(crate) fn hash(self) -> &'static digest::Algorithm {
        match self {
            Self::Rs256 | Self::Ps256 | Self::Es256 => &digest::SHA256,
            // Ed25519 hashes by SHA-512 (RFC 8032 §5.1).
            Self::EdDsa => &digest::SHA512,
        }
    }
}

/// A public key of the provider's.
#[derive(Debug)]
pub(crate) enum ProviderKey {
    /// EC P-256 or Ed25519.
    Curve(VerifyingKey),
    /// RSA of 2048 to 8192 bits.
    Rsa(RsaPublicKeyComponents<Vec<u8>>, &'static RsaParameters),
}

impl ProviderKey {
    /// Reads a key that signs by `algorithm`; none if it does not, or not fit for it.
    fn read(jwk: &Map<String, Value>, algorithm: SignatureAlgorithm) -> Option<Self> {
        let parameters = match algorithm {
            SignatureAlgorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
            SignatureAlgorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
            SignatureAlgorithm::Es256 => return curve(jwk, KeyAlgorithm::Es256),
            SignatureAlgorithm::EdDsa => return curve(jwk, KeyAlgorithm::EdDsa),
        };
        // Whoever publishes the private half has no key any more.
        let is_private = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"]
            .iter()
            .any(|member| jwk.contains_key(*member));
        if is_private || text(jwk, "kty") != Some("RSA") || !is_for(jwk, algorithm) {
            return None;
        }
        let number = |name| text(jwk, name).and_then(keys::from_base64url);
        let (n, e) = (number("n")?, number("e")?);
        // One spelling (RFC 7518 §6.3.1): no zeros before the number.
        let is_spelt_once = |bytes: &[u8]| bytes.first().is_some_and(|first| *first != 0);
        if !is_spelt_once(&n) || !is_spelt_once(&e) {
            return None;
        }
        Some(Self::Rsa(RsaPublicKeyComponents { n, e }, parameters))
    }

    /// Whether `signature` over `signed` is the key's.
    pub(crate) fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Curve(key) => key.verify(signed, signature),
            Self::Rsa(key, parameters) => key.verify(parameters, signed, signature).is_ok(),
        }
    }
}

/// The key on a curve, read as strictly as our own agents' keys.
fn curve(jwk: &Map<String, Value>, algorithm: KeyAlgorithm) -> Option<ProviderKey> {
    let key = VerifyingKey::from_jwk(&Value::Object(jwk.clone())).ok()?;
    (key.algorithm() == algorithm).then_some(ProviderKey::Curve(key))
}

/// Whether a key is for signatures by `algorithm`, as far as it says (RFC 7517 §4.2 to §4.4).
fn is_for(jwk: &Map<String, Value>, algorithm: SignatureAlgorithm) -> bool {
    let verifies = |operations: &Value| {
        operations.as_array().is_some_and(|all| all.iter().any(|one| one == "verify"))
    };
    jwk.get("alg").is_none_or(|alg| alg == algorithm.as_str())
        && jwk.get("use").is_none_or(|used| used == "sig")
        && jwk.get("key_ops").is_none_or(verifies)
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name).and_then(Value::as_str)
}

/// The keys of a provider that sign by one algorithm.
#[derive(Debug)]
pub(crate) struct KeySet(Vec<(Option<String>, ProviderKey)>);

impl KeySet {
    /// Reads a JWK set, leaving out what does not sign by `algorithm`: sets hold keys for other uses.
    pub(crate) fn read(
        document: &Value,
        algorithm: SignatureAlgorithm,
    ) -> Result<Self, MetadataError> {
        let all = document.get("keys").and_then(Value::as_array).ok_or(MetadataError::Keys)?;
        if all.len() > KEYS_MAX {
            return Err(MetadataError::Keys);
        }
        let mut fit = Vec::new();
        for jwk in all {
            let jwk = jwk.as_object().ok_or(MetadataError::Keys)?;
            let kid = match jwk.get("kid") {
                None => None,
                Some(Value::String(kid)) if kid.len() <= KID_MAX => Some(kid.clone()),
                Some(_) => continue,
            };
            fit.extend(ProviderKey::read(jwk, algorithm).map(|key| (kid, key)));
        }
        Ok(Self(fit))
    }

    /// The key that `kid` names, and it alone. Without a `kid`, the only key that there is
    /// (Core §10.1).
    pub(crate) fn find(&self, kid: Option<&str>) -> Option<&ProviderKey> {
        let named = |(known, _): &&(Option<String>, ProviderKey)| {
            kid.is_none_or(|kid| known.as_deref() == Some(kid))
        };
        let mut found = self.0.iter().filter(named);
        match (found.next(), found.next()) {
            (Some((_, key)), None) => Some(key),
            _ => None,
        }
    }
}
