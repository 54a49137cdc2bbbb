//! Public keys of platforms as JWK (RFC 7517, RFC 7518 §6): RSA, EC and Ed25519.
//!
//! P-256 and Ed25519 are read by `keys`, which knows the keys for which anybody can sign; RSA and the
//! larger curves are here, as nothing of ours is signed by them.
//!
//! INVARIANT: a [`PublicKey`] verifies by the algorithms of its own kind alone, and by one alone
//! where its JWK says so.

use crate::jws::Verifier;
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
};
use keys::VerifyingKey;
use serde_json::{Map, Value, json};

use super::algorithm::Algorithm;

/// The fewest and the most bytes of an RSA modulus: 2,048 bits, below which keys are factored, and
/// 4,096, beyond which nobody signs and each verification costs.
const RSA_MODULUS: std::ops::RangeInclusive<usize> = 256..=512;

/// The one public exponent, 65537: with small ones forged PKCS #1 v1.5 signatures have been found.
const RSA_EXPONENT: [u8; 3] = [1, 0, 1];

/// The bytes of a coordinate on each curve (RFC 7518 §6.2.1.2).
const P384_BYTES: usize = 48;
const P521_BYTES: usize = 66;

/// The members of a private or a shared key.
const PRIVATE: [&str; 8] = ["d", "k", "p", "q", "dp", "dq", "qi", "oth"];

/// What keys of a set are for, which `use` says in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Signatures of an issuer (RFC 7517 §4.2).
    Signatures,
    /// JWT-SVIDs of a trust domain, in its bundle (SPIFFE trust domain and bundle §4.2.2).
    JwtSvid,
    /// JWT-SVIDs of a trust domain, as the Workload API sends them: a plain set that holds no others
    /// (SPIFFE Workload API §6.2.2). SPIRE leaves `use` out of it.
    JwtBundle,
}

enum Material {
    /// P-256 or Ed25519.
    Ours(VerifyingKey),
    P384(ParsedPublicKey),
    P521(ParsedPublicKey),
    Rsa(PublicKeyComponents<Vec<u8>>),
}

/// A public key of a platform.
pub struct PublicKey {
    material: Material,
    /// The one algorithm that the JWK allows, if it says so.
    only: Option<Algorithm>,
}

impl PublicKey {
    /// The key that the JWK `members` describes, if it is one for `purpose` that we verify by. What
    /// is not is left out of a set, as the standards ask: it may be for somebody else.
    pub fn from_jwk(members: &Map<String, Value>, purpose: Purpose) -> Option<Self> {
        if PRIVATE.iter().any(|name| members.contains_key(*name)) || !is_for(members, purpose) {
            return None;
        }
        let only = match members.get("alg") {
            None => None,
            Some(alg) => Some(Algorithm::named(alg.as_str()?)?),
        };
        let material = material(members)?;
        let key = Self { material, only: None };
        only.is_none_or(|alg| key.fits(alg)).then_some(Self { only, ..key })
    }

    /// Whether it is a key for `algorithm`.
    fn fits(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{EdDsa, Es256, Es384, Es512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        let by_kind = match &self.material {
            Material::Ours(key) => key.is_for(algorithm.as_str()),
            Material::P384(_) => algorithm == Es384,
            Material::P521(_) => algorithm == Es512,
            Material::Rsa(_) => match algorithm {
                Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512 => true,
                Es256 | Es384 | Es512 | EdDsa => false,
            },
        };
        by_kind && self.only.is_none_or(|only| only == algorithm)
    }
}

impl Verifier for PublicKey {
    fn is_for(&self, alg: &str) -> bool {
        Algorithm::named(alg).is_some_and(|algorithm| self.fits(algorithm))
    }

    fn verify(&self, alg: &str, message: &[u8], signature: &[u8]) -> bool {
        let Some(algorithm) = Algorithm::named(alg).filter(|algorithm| self.fits(*algorithm))
        else {
            return false;
        };
        match &self.material {
            Material::Ours(key) => Verifier::verify(key, alg, message, signature),
            Material::P384(key) | Material::P521(key) => key.verify_sig(message, signature).is_ok(),
            Material::Rsa(key) => rsa_parameters(algorithm)
                .is_some_and(|by| key.verify(by, message, signature).is_ok()),
        }
    }
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &RSA_PSS_2048_8192_SHA512,
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::Es512 | Algorithm::EdDsa => return None,
    })
}

fn material(members: &Map<String, Value>) -> Option<Material> {
    let text = |name| members.get(name).and_then(Value::as_str);
    Some(match (text("kty")?, text("crv")) {
        ("EC", Some("P-256")) => {
            let jwk = json!({ "kty": "EC", "crv": "P-256", "x": text("x")?, "y": text("y")? });
            Material::Ours(VerifyingKey::from_jwk(&jwk).ok()?)
        }
        ("OKP", Some("Ed25519")) => {
            let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": text("x")? });
            Material::Ours(VerifyingKey::from_jwk(&jwk).ok()?)
        }
        ("EC", Some("P-384")) => {
            let point = point((text("x")?, text("y")?), P384_BYTES)?;
            Material::P384(ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).ok()?)
        }
        ("EC", Some("P-521")) => {
            let point = point((text("x")?, text("y")?), P521_BYTES)?;
            Material::P521(ParsedPublicKey::new(&ECDSA_P521_SHA512_FIXED, point).ok()?)
        }
        ("RSA", None) => {
            let (n, e) = (keys::from_base64url(text("n")?)?, keys::from_base64url(text("e")?)?);
            let is_sound = RSA_MODULUS.contains(&n.len())
                && n.first().is_some_and(|first| *first >= 0x80)
                && e == RSA_EXPONENT;
            is_sound.then_some(Material::Rsa(PublicKeyComponents { n, e }))?
        }
        _ => return None,
    })
}

/// An uncompressed point of coordinates of `length` bytes each.
fn point((x, y): (&str, &str), length: usize) -> Option<Vec<u8>> {
    let coordinate = |text| keys::from_base64url(text).filter(|bytes| bytes.len() == length);
    Some([vec![4], coordinate(x)?, coordinate(y)?].concat())
}

/// Whether `use` and `key_ops` say that the key is for `purpose`. In a bundle those of JWT-SVIDs have
/// to say so: it holds those of X.509-SVIDs too.
fn is_for(members: &Map<String, Value>, purpose: Purpose) -> bool {
    let verifies = |ops: &Value| {
        ops.as_array().is_some_and(|ops| ops.iter().any(|operation| operation == "verify"))
    };
    let by_use = match (purpose, members.get("use")) {
        (Purpose::Signatures | Purpose::JwtBundle, None) => true,
        (Purpose::JwtBundle, Some(found)) => found == "jwt-svid" || found == "sig",
        (Purpose::Signatures, Some(found)) => found == "sig",
        (Purpose::JwtSvid, found) => found.is_some_and(|found| found == "jwt-svid"),
    };
    by_use && members.get("key_ops").is_none_or(verifies)
}
