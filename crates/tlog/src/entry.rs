//! One entry of the log: its bytes, which fit a bundle.

use crate::hash::{LeafHash, leaf_hash};

/// The most bytes of an entry.
pub const MAX_ENTRY_BYTES: usize = 16 << 10;

/// What the log keeps at one index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry(Vec<u8>);

/// An entry has more than [`MAX_ENTRY_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entry of {bytes} bytes is larger than {MAX_ENTRY_BYTES}")]
pub struct EntryTooLarge {
    /// How many bytes it has.
    pub bytes: usize,
}

impl Entry {
    /// The entry with these bytes.
    pub fn new(bytes: Vec<u8>) -> Result<Self, EntryTooLarge> {
        if bytes.len() > MAX_ENTRY_BYTES {
            return Err(EntryTooLarge { bytes: bytes.len() });
        }
        Ok(Self(bytes))
    }

    /// The entry's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Gives up the entry's bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// The hash under which the tree knows the entry.
    pub fn leaf_hash(&self) -> LeafHash {
        leaf_hash(&self.0)
    }
}
