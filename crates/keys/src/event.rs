//! The RSA keys (RFC 8017) that sign security events for receivers that verify nothing but RS256.
//!
//! INVARIANT: such a key is no [`crate::Signer`], and its public half no [`crate::VerifyingKey`]: no token but
//! what asks for it by its own name is signed by it, and nothing that it signed is taken for a token of ours.

use aws_lc_rs::digest;
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};

use crate::signing::{KeyError, SignError};
use crate::{base64url, from_base64url, pem};

/// The bytes of the modulus: 2,048 bits.
const MODULUS: usize = 256;

/// What stands before the modulus of such a key, and after it, in an `RSAPublicKey` (RFC 8017 A.1.1): the
/// exponent is 65537.
const BEFORE: [u8; 9] = [0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00];
const AFTER: [u8; 5] = [0x02, 0x03, 0x01, 0x00, 0x01];

/// The exponent, as a JWK writes it.
const EXPONENT: &str = "AQAB";

/// A private key that signs events, in memory.
pub struct EventKey {
    pair: RsaKeyPair,
    public: EventPublicKey,
}

/// Its public half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPublicKey {
    modulus: Vec<u8>,
}

impl std::fmt::Debug for EventKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EventKey({})", self.public.thumbprint_text())
    }
}

impl EventKey {
    /// The value of `alg` of what it signs.
    pub const ALGORITHM: &'static str = "RS256";

    /// Makes a new key, which may take a second.
    pub fn generate() -> Result<Self, KeyError> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048);
        pair.map_err(|_| KeyError::NotGenerated).and_then(Self::of)
    }

    fn of(pair: RsaKeyPair) -> Result<Self, KeyError> {
        let modulus = pair.public_key().as_ref().strip_prefix(&BEFORE);
        let modulus = modulus.and_then(|rest| rest.strip_suffix(&AFTER));
        let public = modulus.and_then(EventPublicKey::of).ok_or(KeyError::Unsupported)?;
        Ok(Self { pair, public })
    }

    /// Reads a PKCS #8 private key in PEM.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let der = pem::decode(text).ok_or(KeyError::NotPem)?;
        RsaKeyPair::from_pkcs8(&der).map_err(|_| KeyError::Unsupported).and_then(Self::of)
    }

    /// The key as PKCS #8 in PEM, for the one file that holds it.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        let der: Pkcs8V1Der<'_> = self.pair.as_der().map_err(|_| KeyError::NotGenerated)?;
        Ok(pem::encode(der.as_ref()))
    }

    /// The public half.
    pub const fn public(&self) -> &EventPublicKey {
        &self.public
    }

    /// Signs `message` (RSASSA-PKCS1-v1_5 with SHA-256): 256 bytes.
    #[expect(clippy::disallowed_methods, reason = "it takes no other source of what blinds it")]
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let signed =
            self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature);
        signed.map_err(|_| SignError)?;
        Ok(signature)
    }
}

impl EventPublicKey {
    fn of(modulus: &[u8]) -> Option<Self> {
        let is_whole = modulus.len() == MODULUS && modulus.first().is_some_and(|it| *it >= 0x80);
        is_whole.then(|| Self { modulus: modulus.to_vec() })
    }

    /// The key that `jwk` describes, as [`EventPublicKey::to_jwk`] did.
    pub fn from_jwk(jwk: &Value) -> Option<Self> {
        let key = jwk["n"].as_str().and_then(from_base64url).and_then(|it| Self::of(&it))?;
        (key.to_jwk() == *jwk).then_some(key)
    }

    /// The JWK of the key: the members that its thumbprint covers.
    pub fn to_jwk(&self) -> Value {
        json!({ "e": EXPONENT, "kty": "RSA", "n": base64url(&self.modulus) })
    }

    /// The RFC 7638 thumbprint as JOSE writes it.
    pub fn thumbprint_text(&self) -> String {
        let n = base64url(&self.modulus);
        let canonical = format!(r#"{{"e":"{EXPONENT}","kty":"RSA","n":"{n}"}}"#);
        base64url(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref())
    }
}
