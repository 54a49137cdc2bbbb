//! Commitments: what a record says about personal data without containing it.
//!
//! `SHA-256("chancery/commit/v1" ‖ salt ‖ canonical value)`. Who is shown value and salt can check
//! the record; once both are erased, the record proves nothing about the person and its place in
//! the log is untouched.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::Sha256Digest;

/// Separates these hashes from every other use of SHA-256 here.
pub const COMMITMENT_DOMAIN: &[u8] = b"chancery/commit/v1";

/// 32 unpredictable bytes that make a commitment to a guessable value unguessable.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Salt(Sha256Digest);

impl Salt {
    /// The salt with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Sha256Digest::from_bytes(bytes))
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(…)")
    }
}

/// A commitment to one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Commitment(Sha256Digest);

impl Commitment {
    /// Commits to `canonical`, the RFC 8785 form of a value.
    pub fn to(salt: &Salt, canonical: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(COMMITMENT_DOMAIN);
        hash.update(salt.0.as_bytes());
        hash.update(canonical);
        Self(Sha256Digest::from_bytes(hash.finalize().into()))
    }

    /// Whether this commits to `canonical` under `salt`.
    pub fn opens_to(&self, salt: &Salt, canonical: &[u8]) -> bool {
        *self == Self::to(salt, canonical)
    }
}

/// The salts of one record, derived from one 32-byte seed, one for each member.
///
/// A seed a record keeps disclosures small; a member's salt tells nothing about another's.
#[derive(Clone, Copy)]
pub struct Salts([u8; 32]);

impl Salts {
    /// The salts that follow from `seed`, which must be unpredictable and used for one record.
    pub const fn from_seed(seed: [u8; 32]) -> Self {
        Self(seed)
    }

    /// The salt of the member named `member`.
    pub fn of(&self, member: &str) -> Salt {
        let mut hash = Sha256::new();
        hash.update(b"chancery/salt/v1");
        hash.update(self.0);
        hash.update(member.as_bytes());
        Salt::from_bytes(hash.finalize().into())
    }
}
