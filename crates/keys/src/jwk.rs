//! Public keys as JWK (RFC 7517), strictly: EC P-256 and Ed25519, public members only.
//!
//! INVARIANT: a [`VerifyingKey`] is a key with which only the holder of its private half can sign:
//! a point of its curve, and none of the few with which anybody can.

use std::sync::Arc;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::weak;

/// A signature algorithm (RFC 7518, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl KeyAlgorithm {
    /// The value of `alg`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::Es256 => &ECDSA_P256_SHA256_FIXED,
            Self::EdDsa => &ED25519,
        }
    }
}

/// Why a JWK is not a public key that we take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    /// It has private or symmetric members.
    #[error("the key has private members")]
    Private,
    /// It is of another kind than EC P-256 or Ed25519.
    #[error("the key is neither EC P-256 nor Ed25519")]
    Unsupported,
    /// A member is missing, or not canonical base64url of the right length, or they are no point.
    #[error("the key's members are not what its kind demands")]
    Malformed,
    /// It says of itself that it is not for verifying signatures (RFC 7517 §4.2, §4.3).
    #[error("the key is not for verifying signatures")]
    OtherUse,
    /// It is one of the keys for which anybody can make signatures.
    #[error("anybody can sign for this key")]
    Weak,
}

/// A public key.
#[derive(Clone)]
pub struct VerifyingKey {
    algorithm: KeyAlgorithm,
    /// The uncompressed point (65 bytes), or the Ed25519 key (32 bytes).
    bytes: Vec<u8>,
    /// By which whatever it signs names it.
    thumbprint: [u8; 32],
    parsed: Arc<ParsedPublicKey>,
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        (self.algorithm, &self.bytes) == (other.algorithm, &other.bytes)
    }
}

impl Eq for VerifyingKey {}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VerifyingKey({}, {})", self.algorithm.as_str(), self.thumbprint_text())
    }
}

impl VerifyingKey {
    pub(crate) fn from_parts(algorithm: KeyAlgorithm, bytes: Vec<u8>) -> Result<Self, JwkError> {
        if algorithm == KeyAlgorithm::EdDsa && weak::is_small_order(&bytes) {
            return Err(JwkError::Weak);
        }
        let parsed = ParsedPublicKey::new(algorithm.verification(), &bytes);
        let parsed = Arc::new(parsed.map_err(|_| JwkError::Malformed)?);
        let thumbprint = thumbprint(algorithm, &bytes);
        Ok(Self { algorithm, bytes, thumbprint, parsed })
    }

    /// The key that `jwk` describes.
    pub fn from_jwk(jwk: &Value) -> Result<Self, JwkError> {
        let members = jwk.as_object().ok_or(JwkError::Malformed)?;
        let private = ["d", "k", "p", "q", "dp", "dq", "qi", "oth"];
        if private.iter().any(|name| members.contains_key(*name)) {
            return Err(JwkError::Private);
        }
        let kind = (text(members, "kty"), text(members, "crv"));
        let (algorithm, bytes) = match kind {
            (Some("EC"), Some("P-256")) => {
                let (x, y) = (coordinate(members, "x")?, coordinate(members, "y")?);
                (KeyAlgorithm::Es256, [&[4], x.as_slice(), y.as_slice()].concat())
            }
            (Some("OKP"), Some("Ed25519")) => {
                (KeyAlgorithm::EdDsa, coordinate(members, "x")?.to_vec())
            }
            _ => return Err(JwkError::Unsupported),
        };
        if members.get("alg").is_some_and(|alg| alg != algorithm.as_str()) {
            return Err(JwkError::Unsupported);
        }
        if !is_for_verifying(members) {
            return Err(JwkError::OtherUse);
        }
        Self::from_parts(algorithm, bytes)
    }

    /// The JWK of the key: the members that its thumbprint covers.
    pub fn to_jwk(&self) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self.algorithm {
            KeyAlgorithm::Es256 => json!({
                "crv": "P-256",
                "kty": "EC",
                "x": encode(&self.bytes[1..33]),
                "y": encode(&self.bytes[33..65]),
            }),
            KeyAlgorithm::EdDsa => {
                json!({ "crv": "Ed25519", "kty": "OKP", "x": encode(&self.bytes) })
            }
        }
    }

    /// Whether `jwk`, which is of a key that we take, describes this one: each member has one spelling.
    pub fn is_of(&self, jwk: &Value) -> bool {
        let own = self.to_jwk();
        own.as_object().is_some_and(|own| own.iter().all(|(name, it)| jwk.get(name) == Some(it)))
    }

    /// The algorithm, which follows from the kind of key alone.
    pub const fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// The raw public key: 32 bytes for Ed25519, the uncompressed point for P-256.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The RFC 7638 thumbprint.
    pub const fn thumbprint(&self) -> [u8; 32] {
        self.thumbprint
    }

    /// The thumbprint as JOSE writes it.
    pub fn thumbprint_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.thumbprint)
    }

    /// Whether `signature` is this key's over `message`.
    #[must_use = "an unchecked signature is none"]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }
}

/// The RFC 7638 thumbprint of the key of `bytes`: SHA-256 over the required members in the order of their names.
fn thumbprint(algorithm: KeyAlgorithm, bytes: &[u8]) -> [u8; 32] {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let canonical = match algorithm {
        KeyAlgorithm::Es256 => {
            let (x, y) = (encode(&bytes[1..33]), encode(&bytes[33..65]));
            format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
        }
        KeyAlgorithm::EdDsa => {
            format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, encode(bytes))
        }
    };
    let hash = digest::digest(&digest::SHA256, canonical.as_bytes());
    hash.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Whether `use` and `key_ops`, where they are there, say that the key verifies signatures.
fn is_for_verifying(members: &Map<String, Value>) -> bool {
    let verifies = |ops: &Value| {
        ops.as_array().is_some_and(|ops| ops.iter().any(|operation| operation == "verify"))
    };
    members.get("use").is_none_or(|purpose| purpose == "sig")
        && members.get("key_ops").is_none_or(verifies)
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name).and_then(Value::as_str)
}

fn coordinate(members: &Map<String, Value>, name: &str) -> Result<[u8; 32], JwkError> {
    let text = text(members, name).ok_or(JwkError::Malformed)?;
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| JwkError::Malformed)?;
    bytes.try_into().map_err(|_| JwkError::Malformed)
}
