//! Keys: what signs tokens, checkpoints and policy, what seals disclosures, and what verifies them.
//!
//! Two algorithms and no more: ES256 and Ed25519; and RS256 for [`EventKey`], by which nothing of ours is
//! verified. Private keys live in files that only their owner may read, never in an argument, a log line or
//! an error. It knows no token and no record.

mod event;
mod jwk;
mod pem;
mod ring;
mod seal;
mod secret;
mod signing;
mod token_keys;
mod weak;

pub use event::{EventKey, EventPublicKey};
pub use jwk::{JwkError, KeyAlgorithm, VerifyingKey};
pub use ring::{
    KeyRing, KeyRingError, keep_event_key, keep_token_key, make_event_key, make_token_key,
    read_event_key, read_private, read_token_key, remove_event_key, remove_token_key,
    replace_private, write_private,
};
pub use seal::{SealError, SealingKey};
pub use secret::Secret;
pub use signing::{KeyError, SignError, Signer, SigningKey};
pub use token_keys::{RetiredKey, TokenKeys};

/// Bytes as JOSE writes them: base64url without padding (RFC 7515 §2).
pub fn base64url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// 32 bytes that `fill` draws and nobody can guess, in base64url.
pub fn unguessable(fill: impl FnOnce(&mut [u8])) -> String {
    let mut bytes = [0; 32];
    fill(&mut bytes);
    base64url(&bytes)
}

/// The bytes of a base64url text without padding; `None` if it is no such text, or a second
/// spelling of one.
pub fn from_base64url(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok()
}
