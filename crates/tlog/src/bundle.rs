//! Entry bundles (C2SP tlog-tiles): up to 256 entries, each after its length in two bytes.

use std::fmt;

use crate::entry::{Entry, EntryTooLarge, MAX_ENTRY_BYTES};
use crate::position::{LeafIndex, TreeSize};
use crate::tile::{Slot, TILE_WIDTH, TilePathError};

/// Names one entry bundle, full or partial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryBundle {
    slot: Slot,
}

/// Why bytes are not the bundle that they are said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// It ends within an entry.
    #[error("the bundle ends within an entry")]
    CutShort,
    /// An entry has more than [`MAX_ENTRY_BYTES`].
    #[error(transparent)]
    EntryTooLarge(#[from] EntryTooLarge),
    /// It holds fewer or more entries than its name says.
    #[error("the bundle does not hold {expected} entries")]
    WrongCount {
        /// How many its name says.
        expected: u16,
    },
}

impl EntryBundle {
    /// The bundle with this index and this many entries, if there can be one.
    pub fn new(index: u64, width: u16) -> Option<Self> {
        let slot = Slot::new(index, width)?;
        (index <= u64::MAX / u64::from(TILE_WIDTH)).then_some(Self { slot })
    }

    /// The bundle with the entry at `index`, as a tree of `size` leaves has it.
    pub fn holding(size: TreeSize, index: LeafIndex) -> Option<Self> {
        let bundle = index.get() / u64::from(TILE_WIDTH);
        let entries = size.contains(index).then(|| size.get() - bundle * u64::from(TILE_WIDTH))?;
        Self::new(bundle, u16::try_from(entries).unwrap_or(TILE_WIDTH).min(TILE_WIDTH))
    }

    /// The position among the bundles, from 0.
    pub const fn index(self) -> u64 {
        self.slot.index
    }

    /// How many entries it holds, 1 to [`TILE_WIDTH`].
    pub const fn width(self) -> u16 {
        self.slot.width
    }

    /// Where its first entry stands in the log.
    pub const fn first(self) -> LeafIndex {
        LeafIndex::new(self.slot.index * TILE_WIDTH as u64)
    }

    /// The bundle with this path below the log's prefix: `tile/entries/<N>[.p/<W>]`.
    pub fn from_path(path: &str) -> Result<Self, TilePathError> {
        let slot = Slot::after_prefix(path)?.strip_prefix("entries/").ok_or(TilePathError)?;
        let slot = Slot::parse(slot)?;
        Self::new(slot.index, slot.width).ok_or(TilePathError)
    }

    /// The bytes of a bundle of `entries`.
    pub fn encode<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for entry in entries {
            let entry = entry.as_bytes();
            let length = u16::try_from(entry.len()).expect("MAX_ENTRY_BYTES fits two bytes");
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(entry);
        }
        bytes
    }

    /// The entries of this bundle, whose bytes are `bytes`.
    pub fn decode(self, bytes: &[u8]) -> Result<Vec<Entry>, BundleError> {
        match self.decode_readable(bytes) {
            (entries, None) => Ok(entries),
            (_, Some(error)) => Err(error),
        }
    }

    /// The entries of this bundle up to where `bytes` are damaged, and how they are.
    pub fn decode_readable(self, mut bytes: &[u8]) -> (Vec<Entry>, Option<BundleError>) {
        let width = usize::from(self.slot.width);
        let wrong_count = BundleError::WrongCount { expected: self.slot.width };
        let mut entries = Vec::with_capacity(width);
        while let Some((length, rest)) = bytes.split_first_chunk() {
            let length = usize::from(u16::from_be_bytes(*length));
            if entries.len() == width {
                return (entries, Some(wrong_count));
            }
            if length > MAX_ENTRY_BYTES {
                return (entries, Some(EntryTooLarge { bytes: length }.into()));
            }
            let Some((entry, rest)) = rest.split_at_checked(length) else {
                return (entries, Some(BundleError::CutShort));
            };
            entries.push(Entry::new(entry.to_vec()).expect("its length was checked"));
            bytes = rest;
        }
        let cut = (!bytes.is_empty()).then_some(BundleError::CutShort);
        let short = (entries.len() != width).then_some(wrong_count);
        (entries, cut.or(short))
    }
}

/// Writes the bundle's path below the log's prefix.
impl fmt::Display for EntryBundle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "tile/entries/{}", self.slot)
    }
}

/// The bundles to publish so that a log that was published at size `old` is at size `new`.
pub fn bundles_between(old: TreeSize, new: TreeSize) -> impl Iterator<Item = EntryBundle> {
    Slot::between(old.get(), new.get()).map(|slot| EntryBundle { slot })
}
