//! Private keys of every kind.

use std::sync::{Arc, LazyLock};

use ::keys::base64url;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512,
};
use serde_json::{Value, json};

#[derive(Clone)]
enum Private {
    Rsa(Arc<RsaKeyPair>),
    Ec(&'static str, Arc<EcdsaKeyPair>),
    Edwards(Arc<Ed25519KeyPair>),
}

/// A private key that signs by one algorithm.
#[derive(Clone)]
pub(super) struct TestKey {
    pub(super) alg: &'static str,
    private: Private,
}

/// RSA keys are dear to make.
static RSA: LazyLock<[Arc<RsaKeyPair>; 2]> =
    LazyLock::new(|| [(); 2].map(|()| Arc::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())));

/// Every algorithm that there is here.
pub(super) const ALGORITHMS: [&str; 10] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"];

impl TestKey {
    /// A key that signs by `alg`: always the same of RSA, a new one else.
    pub(super) fn new(alg: &'static str) -> Self {
        let ec = |curve, by| Private::Ec(curve, Arc::new(EcdsaKeyPair::generate(by).unwrap()));
        let private = match alg {
            "ES256" => ec("P-256", &ECDSA_P256_SHA256_FIXED_SIGNING),
            "ES384" => ec("P-384", &ECDSA_P384_SHA384_FIXED_SIGNING),
            "ES512" => ec("P-521", &ECDSA_P521_SHA512_FIXED_SIGNING),
            "EdDSA" => Private::Edwards(Arc::new(Ed25519KeyPair::generate().unwrap())),
            _ => Private::Rsa(RSA[0].clone()),
        };
        Self { alg, private }
    }

    /// Another RSA key.
    pub(super) fn other_rsa(alg: &'static str) -> Self {
        Self { alg, private: Private::Rsa(RSA[1].clone()) }
    }

    /// The same key, which signs by `alg` (RSA alone can).
    pub(super) fn by(&self, alg: &'static str) -> Self {
        Self { alg, ..self.clone() }
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.private {
            Private::Ec(_, key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Private::Edwards(key) => key.sign(message).as_ref().to_vec(),
            Private::Rsa(key) => {
                let by: &dyn aws_lc_rs::signature::RsaEncoding = match self.alg {
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    "PS512" => &RSA_PSS_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(by, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }

    /// Its public key: what only its kind has.
    pub(super) fn public(&self) -> Value {
        match &self.private {
            Private::Rsa(key) => {
                // DER: a sequence, of the modulus with a zero before it, and of the exponent.
                let n = &key.public_key().as_ref()[9..9 + key.public_modulus_len()];
                json!({ "kty": "RSA", "n": base64url(n), "e": "AQAB" })
            }
            Private::Ec(curve, key) => {
                let point = &key.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({ "kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y) })
            }
            Private::Edwards(key) => {
                let x = base64url(key.public_key().as_ref());
                json!({ "kty": "OKP", "crv": "Ed25519", "x": x })
            }
        }
    }

    /// Its JWK as issuers publish it.
    pub(super) fn jwk(&self, kid: &str) -> Value {
        let mut jwk = self.public();
        jwk["kid"] = kid.into();
        jwk["use"] = "sig".into();
        jwk["alg"] = self.alg.into();
        jwk
    }

    /// Its JWK as trust domains publish it.
    pub(super) fn svid_jwk(&self, kid: &str) -> Value {
        let mut jwk = self.public();
        jwk["kid"] = kid.into();
        jwk["use"] = "jwt-svid".into();
        jwk
    }
}
