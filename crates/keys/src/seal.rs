//! Sealing: AES-256-GCM with a fresh 96-bit nonce in front (NIST SP 800-38D).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;

/// A sealed value does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it was changed, or sealed under another key or name")]
pub struct SealError;

/// A key that seals values, and makes codes by which nobody without it tells what they are of.
pub struct SealingKey {
    seals: LessSafeKey,
    codes: hmac::Key,
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey(…)")
    }
}

impl SealingKey {
    /// The key with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, &bytes).expect("AES-256 takes any 32 bytes");
        Self { seals: LessSafeKey::new(key), codes: hmac::Key::new(hmac::HMAC_SHA256, &bytes) }
    }

    /// The code of `bytes` (HMAC-SHA-256, RFC 2104).
    pub fn code(&self, bytes: &[u8]) -> [u8; 32] {
        let code = hmac::sign(&self.codes, bytes);
        code.as_ref().try_into().expect("SHA-256 gives 32 bytes")
    }

    /// The key for `purpose` that is derived from it: none opens what another sealed.
    #[must_use]
    pub fn derived(&self, purpose: &[u8]) -> Self {
        Self::from_bytes(self.code(purpose))
    }

    /// Seals `plain` for `name`. A `nonce` is used once with one key.
    pub fn seal(&self, plain: &[u8], name: &[u8], nonce: [u8; NONCE_LEN]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let (nonce, aad) = (Nonce::assume_unique_for_key(nonce), Aad::from(name));
        let tag = self.seals.seal_in_place_separate_tag(nonce, aad, &mut sealed[NONCE_LEN..]);
        sealed.extend_from_slice(tag.expect("values are far below the limit of AES-GCM").as_ref());
        sealed
    }

    /// Opens what was sealed for `name`.
    pub fn open(&self, sealed: &[u8], name: &[u8]) -> Result<Vec<u8>, SealError> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN).ok_or(SealError)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError)?;
        let mut bytes = sealed.to_vec();
        let plain =
            self.seals.open_in_place(nonce, Aad::from(name), &mut bytes).map_err(|_| SealError)?;
        Ok(plain.to_vec())
    }
}
