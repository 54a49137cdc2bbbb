//! Tokens made by hand: any header, any claims, any key.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keys::{KeyAlgorithm, Signer as _, SigningKey};
use serde_json::Value;

/// The time in all tests, in seconds since the epoch.
pub(crate) const NOW: i64 = 1_764_000_000;

pub(crate) fn es256() -> SigningKey {
    SigningKey::generate(KeyAlgorithm::Es256).unwrap()
}

pub(crate) fn eddsa() -> SigningKey {
    SigningKey::generate(KeyAlgorithm::EdDsa).unwrap()
}

pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn unbase64(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// A compact JWS over exactly these texts.
pub(crate) fn sign_texts(header: &str, claims: &str, key: &SigningKey) -> String {
    let input = format!("{}.{}", base64(header), base64(claims));
    let signature = key.sign(input.as_bytes()).unwrap();
    format!("{input}.{}", base64(signature))
}

/// A compact JWS with this header and these claims.
pub(crate) fn sign(header: &Value, claims: &Value, key: &SigningKey) -> String {
    sign_texts(&header.to_string(), &claims.to_string(), key)
}

/// `value` with the member `name`; without it where `member` is null.
pub(crate) fn with(value: &Value, name: &str, member: impl Into<Value>) -> Value {
    let mut changed = value.clone();
    match member.into() {
        Value::Null => drop(changed.as_object_mut().unwrap().remove(name)),
        member => changed[name] = member,
    }
    changed
}
