//! Hash tiles (C2SP tlog-tiles): which there are, what they are called, what they hash to.
//!
//! A tile holds up to 256 hashes of one height of the tree: at level `l`, the roots of complete
//! subtrees of 256^`l` leaves each.

use std::fmt;

use crate::decimal;
use crate::hash::{HASH_BYTES, Hash};
use crate::position::TreeSize;
use crate::tree::root_of;

/// The hashes of a full tile, or the entries of a full bundle.
pub const TILE_WIDTH: u16 = 256;

/// The highest level at which a tree of 64-bit size has tiles.
pub const MAX_LEVEL: u8 = 7;

/// Levels of the tree that one level of tiles spans: 2^8 = [`TILE_WIDTH`].
pub(crate) const TILE_HEIGHT: u32 = 8;

/// The most bytes of a tile's path.
const MAX_PATH_BYTES: usize = 64;

/// Names one hash tile, full or partial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    level: u8,
    slot: Slot,
}

/// Why a path names no tile and no bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the path of a tile")]
pub struct TilePathError;

impl Tile {
    /// The tile at `level` with this index and this many hashes, if there can be one.
    pub fn new(level: u8, index: u64, width: u16) -> Option<Self> {
        let slot = Slot::new(index, width)?;
        let bits = TILE_HEIGHT * (u32::from(level) + 1);
        let last = u64::MAX.checked_shr(bits).unwrap_or(0);
        (level <= MAX_LEVEL && index <= last).then_some(Self { level, slot })
    }

    /// The tile at `level` with this index as a tree of `size` leaves has it; partial at its edge.
    pub fn in_tree(size: TreeSize, level: u8, index: u64) -> Option<Self> {
        let width = hashes_at(size, level)?.checked_sub(index.checked_mul(TILE_WIDTH.into())?)?;
        Self::new(level, index, u16::try_from(width).unwrap_or(TILE_WIDTH).min(TILE_WIDTH))
    }

    /// The level, 0 holding leaf hashes.
    pub const fn level(self) -> u8 {
        self.level
    }

    /// The position within the level, from 0.
    pub const fn index(self) -> u64 {
        self.slot.index
    }

    /// How many hashes it holds, 1 to [`TILE_WIDTH`].
    pub const fn width(self) -> u16 {
        self.slot.width
    }

    /// Says whether it holds all the hashes that it ever will.
    pub const fn is_full(self) -> bool {
        self.slot.width == TILE_WIDTH
    }

    /// How many bytes it has.
    pub const fn byte_len(self) -> usize {
        self.slot.width as usize * HASH_BYTES
    }

    /// The full tile of which this is the beginning, to be tried when this one is gone.
    #[must_use]
    pub const fn full(self) -> Self {
        let slot = Slot { index: self.slot.index, width: TILE_WIDTH };
        Self { level: self.level, slot }
    }

    /// The root over the hashes of a tile with these bytes. Of a full tile, that is one of the
    /// hashes of the tile above.
    pub fn root(self, bytes: &[u8]) -> Option<Hash> {
        (bytes.len() == self.byte_len()).then(|| root_of(Hash::all_in(bytes)))
    }

    /// The tile with this path below the log's prefix: `tile/<L>/<N>[.p/<W>]`.
    pub fn from_path(path: &str) -> Result<Self, TilePathError> {
        let (level, slot) = Slot::after_prefix(path)?.split_once('/').ok_or(TilePathError)?;
        let level = decimal::parse(level).and_then(|level| u8::try_from(level).ok());
        let slot = Slot::parse(slot)?;
        let tile = Self::new(level.ok_or(TilePathError)?, slot.index, slot.width);
        tile.ok_or(TilePathError)
    }
}

/// Writes the tile's path below the log's prefix.
impl fmt::Display for Tile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "tile/{}/{}", self.level, self.slot)
    }
}

/// The hash tiles to publish so that a log that was published at size `old` is at size `new`.
pub fn tiles_between(old: TreeSize, new: TreeSize) -> impl Iterator<Item = Tile> {
    (0..=MAX_LEVEL).flat_map(move |level| {
        let (old, new) = (hashes_at(old, level), hashes_at(new, level));
        let slots = Slot::between(old.unwrap_or(0), new.unwrap_or(0));
        slots.filter_map(move |slot| Tile::new(level, slot.index, slot.width))
    })
}

/// The partial tiles of a tree of `size` leaves, at most one per level.
pub(crate) fn partial_tiles(size: TreeSize) -> impl Iterator<Item = Tile> {
    let edge =
        move |level| Tile::in_tree(size, level, hashes_at(size, level)? / u64::from(TILE_WIDTH));
    (0..=MAX_LEVEL).filter_map(edge)
}

/// How many hashes a tree of `size` has at `level`.
fn hashes_at(size: TreeSize, level: u8) -> Option<u64> {
    size.get().checked_shr(TILE_HEIGHT * u32::from(level))
}

/// A position among the tiles of one level, or among the entry bundles, and what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot {
    pub(crate) index: u64,
    /// 1 to [`TILE_WIDTH`].
    pub(crate) width: u16,
}

impl Slot {
    pub(crate) fn new(index: u64, width: u16) -> Option<Self> {
        (1..=TILE_WIDTH).contains(&width).then_some(Self { index, width })
    }

    /// The slots with something new once there are `new` items where there were `old`.
    pub(crate) fn between(old: u64, new: u64) -> impl Iterator<Item = Self> {
        let width = u64::from(TILE_WIDTH);
        let full = (old / width..new / width).map(|index| Self { index, width: TILE_WIDTH });
        let rest = u16::try_from(new % width).ok().filter(|_| old < new);
        full.chain(rest.and_then(|rest| Self::new(new / width, rest)))
    }

    /// What follows `tile/` in a path of bearable length.
    pub(crate) fn after_prefix(path: &str) -> Result<&str, TilePathError> {
        let path = Some(path).filter(|path| path.len() <= MAX_PATH_BYTES);
        path.and_then(|path| path.strip_prefix("tile/")).ok_or(TilePathError)
    }

    /// Reads `<N>[.p/<W>]`.
    pub(crate) fn parse(text: &str) -> Result<Self, TilePathError> {
        let (index, width) = match text.split_once(".p/") {
            Some((index, width)) => (index, decimal::parse(width)),
            None => (text, Some(TILE_WIDTH.into())),
        };
        let index = index.split('/').try_fold(0_u64, |index, group| {
            let group = decimal_group(group.strip_prefix('x').unwrap_or(group))?;
            index.checked_mul(1000)?.checked_add(group)
        });
        let width = width.and_then(|width| u16::try_from(width).ok());
        let slot = index.zip(width).and_then(|(index, width)| Self::new(index, width));
        // One spelling per slot: only what we would write ourselves is its path.
        slot.filter(|slot| slot.to_string() == text).ok_or(TilePathError)
    }
}

fn decimal_group(group: &str) -> Option<u64> {
    let digits = group.len() == 3 && group.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| group.parse().ok())?
}

impl fmt::Display for Slot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.index.to_string();
        let groups = digits.len().div_ceil(3);
        let digits = format!("{digits:0>width$}", width = groups * 3);
        for group in 0..groups {
            let prefix = if group + 1 < groups { "x" } else { "" };
            let suffix = if group + 1 < groups { "/" } else { "" };
            write!(formatter, "{prefix}{}{suffix}", &digits[group * 3..group * 3 + 3])?;
        }
        if self.width < TILE_WIDTH {
            write!(formatter, ".p/{}", self.width)?;
        }
        Ok(())
    }
}
