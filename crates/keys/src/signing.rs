//! Private keys and what they do: sign.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};

use crate::jwk::{KeyAlgorithm, VerifyingKey};
use crate::pem;

/// A key could not be read or made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text is not one PKCS #8 private key in PEM.
    #[error("not a PKCS #8 private key in PEM")]
    NotPem,
    /// The key is of another kind than P-256 or Ed25519.
    #[error("the key is neither P-256 nor Ed25519")]
    Unsupported,
    /// No key could be generated.
    #[error("could not generate a key")]
    NotGenerated,
}

/// Signing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("could not sign")]
pub struct SignError;

/// Something that signs with one key.
pub trait Signer: Send + Sync {
    /// The public half of the key.
    fn public(&self) -> &VerifyingKey;
    /// Signs `message`: 64 bytes.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

enum Pair {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

/// A private key in memory.
pub struct SigningKey {
    pair: Pair,
    public: VerifyingKey,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({:?})", self.public)
    }
}

impl SigningKey {
    /// Makes a new key.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, KeyError> {
        let pair = match algorithm {
            KeyAlgorithm::Es256 => {
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map(Pair::Es256)
            }
            KeyAlgorithm::EdDsa => Ed25519KeyPair::generate().map(Pair::EdDsa),
        };
        pair.map_err(|_| KeyError::NotGenerated).and_then(Self::of)
    }

    fn of(pair: Pair) -> Result<Self, KeyError> {
        let (algorithm, bytes) = match &pair {
            Pair::Es256(pair) => (KeyAlgorithm::Es256, pair.public_key().as_ref().to_vec()),
            Pair::EdDsa(pair) => (KeyAlgorithm::EdDsa, pair.public_key().as_ref().to_vec()),
        };
        let public = VerifyingKey::from_parts(algorithm, bytes);
        Ok(Self { pair, public: public.map_err(|_| KeyError::Unsupported)? })
    }

    /// Reads a PKCS #8 private key in PEM.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let der = pem::decode(text).ok_or(KeyError::NotPem)?;
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der) {
            return Self::of(Pair::Es256(pair));
        }
        let pair = Ed25519KeyPair::from_pkcs8(&der).map_err(|_| KeyError::Unsupported)?;
        Self::of(Pair::EdDsa(pair))
    }

    /// The key as PKCS #8 in PEM, for the one file that holds it.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        let der = match &self.pair {
            Pair::Es256(pair) => pair.to_pkcs8v1().map(|der| der.as_ref().to_vec()),
            Pair::EdDsa(pair) => pair.to_pkcs8v1().map(|der| der.as_ref().to_vec()),
        };
        der.map(|der| pem::encode(&der)).map_err(|_| KeyError::NotGenerated)
    }

    /// The public half.
    pub const fn verifying(&self) -> &VerifyingKey {
        &self.public
    }
}

impl Signer for SigningKey {
    fn public(&self) -> &VerifyingKey {
        &self.public
    }

    #[expect(clippy::disallowed_methods, reason = "ECDSA takes no other source of its nonce")]
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        match &self.pair {
            Pair::Es256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message).map_err(|_| SignError)?;
                Ok(signature.as_ref().to_vec())
            }
            Pair::EdDsa(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}
