//! Makes proofs from published tiles.
//!
//! The tiles are read as they are. A proof made from wrong tiles is a wrong proof, which its
//! verification finds.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::hash::Hash;
use crate::position::{LeafIndex, TreeSize};
use crate::proof::{ConsistencyProof, InclusionProof, split};
use crate::tile::{TILE_HEIGHT, TILE_WIDTH, Tile};
use crate::tree::root_of;

/// Reads published tiles. A function from [`Tile`] to its bytes is one.
///
/// It is asked for tiles as the tree's size has them; where a partial tile is gone it may give the
/// [full](Tile::full) one instead.
pub trait TileReader {
    /// Why a tile cannot be read.
    type Error;

    /// The bytes of `tile`.
    fn tile(&self, tile: Tile) -> Result<Vec<u8>, Self::Error>;
}

impl<F: Fn(Tile) -> Result<Vec<u8>, E>, E> TileReader for F {
    type Error = E;

    fn tile(&self, tile: Tile) -> Result<Vec<u8>, E> {
        self(tile)
    }
}

/// Why a tile cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TileReadError<E> {
    /// The reader could not read it.
    #[error("could not read `{tile}`")]
    Unread {
        /// Which tile.
        tile: Tile,
        /// Why.
        source: E,
    },
    /// It is not as long as its name says.
    #[error("`{tile}` has {bytes} bytes instead of {}", tile.byte_len())]
    WrongLength {
        /// Which tile.
        tile: Tile,
        /// How many bytes it has.
        bytes: usize,
    },
}

/// Why there is no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProveError<E> {
    /// A tile that the proof needs cannot be used.
    #[error(transparent)]
    Tile(#[from] TileReadError<E>),
    /// The tree has no such leaf.
    #[error("a log of {size} entries has none at {index}")]
    NoSuchLeaf {
        /// The leaf asked for.
        index: LeafIndex,
        /// The size of the tree.
        size: TreeSize,
    },
    /// The older tree is larger than the newer.
    #[error("a log of {old} entries cannot become one of {new}")]
    Shrunk {
        /// The size said to be older.
        old: TreeSize,
        /// The size said to be newer.
        new: TreeSize,
    },
}

/// Proves that the leaf at `index` is in the tree of `size` leaves (RFC 6962 §2.1.1).
pub fn inclusion_proof<R: TileReader>(
    reader: &R,
    index: LeafIndex,
    size: TreeSize,
) -> Result<InclusionProof, ProveError<R::Error>> {
    if !size.contains(index) {
        return Err(ProveError::NoSuchLeaf { index, size });
    }
    let (mut low, mut high) = (0, size.get());
    let mut siblings = Vec::new();
    while high - low > 1 {
        let middle = low + split(high - low);
        if index.get() < middle {
            siblings.push((middle, high));
            high = middle;
        } else {
            siblings.push((low, middle));
            low = middle;
        }
    }
    Ok(InclusionProof(PublishedTiles::new(size, reader).ranges_upwards(&siblings)?))
}

/// Proves that the tree of `old` leaves is the beginning of the tree of `new` (RFC 6962 §2.1.2).
pub fn consistency_proof<R: TileReader>(
    reader: &R,
    old: TreeSize,
    new: TreeSize,
) -> Result<ConsistencyProof, ProveError<R::Error>> {
    if old > new {
        return Err(ProveError::Shrunk { old, new });
    }
    if old.get() == 0 || old == new {
        return Ok(ConsistencyProof(Vec::new()));
    }
    let (mut low, mut high) = (0, new.get());
    let mut ranges = Vec::new();
    while high != old.get() {
        let middle = low + split(high - low);
        if old.get() <= middle {
            ranges.push((middle, high));
            high = middle;
        } else {
            ranges.push((low, middle));
            low = middle;
        }
    }
    // A subtree that is the whole old tree is known to the verifier: it is the old root.
    if low > 0 {
        ranges.push((low, high));
    }
    Ok(ConsistencyProof(PublishedTiles::new(new, reader).ranges_upwards(&ranges)?))
}

/// The nodes of one tree, read from its tiles, each tile once.
pub(crate) struct PublishedTiles<'a, R> {
    size: TreeSize,
    reader: &'a R,
    read: RefCell<BTreeMap<Tile, Vec<u8>>>,
}

impl<'a, R: TileReader> PublishedTiles<'a, R> {
    pub(crate) const fn new(size: TreeSize, reader: &'a R) -> Self {
        Self { size, reader, read: RefCell::new(BTreeMap::new()) }
    }

    /// The roots of the largest complete subtrees, the largest first.
    pub(crate) fn peaks(&self) -> Result<Vec<Hash>, TileReadError<R::Error>> {
        let size = self.size.get();
        let heights = (0..u64::BITS).rev().filter(|height| size >> height & 1 == 1);
        // The leaves before a peak are those that the size's higher bits count.
        heights.map(|height| self.node(height, (size >> height) - 1)).collect()
    }

    /// The bytes of `tile`, which may be the beginning of a larger one.
    pub(crate) fn bytes(&self, tile: Tile) -> Result<Vec<u8>, TileReadError<R::Error>> {
        let unread = |source| TileReadError::Unread { tile, source };
        let mut bytes = self.reader.tile(tile).map_err(unread)?;
        if bytes.len() != tile.byte_len() && bytes.len() != tile.full().byte_len() {
            return Err(TileReadError::WrongLength { tile, bytes: bytes.len() });
        }
        bytes.truncate(tile.byte_len());
        Ok(bytes)
    }

    fn ranges_upwards(
        &self,
        downwards: &[(u64, u64)],
    ) -> Result<Vec<Hash>, TileReadError<R::Error>> {
        downwards.iter().rev().map(|(low, high)| self.range(*low, *high)).collect()
    }

    /// The root over the leaves from `low` to before `high`, a subtree of the tree.
    fn range(&self, low: u64, high: u64) -> Result<Hash, TileReadError<R::Error>> {
        let leaves = high - low;
        if leaves.is_power_of_two() {
            let height = leaves.trailing_zeros();
            return self.node(height, low >> height);
        }
        let middle = low + split(leaves);
        Ok(crate::hash::node_hash(self.range(low, middle)?, self.range(middle, high)?))
    }

    /// The root of the complete subtree at `height` with `index` others of its height before it.
    fn node(&self, height: u32, index: u64) -> Result<Hash, TileReadError<R::Error>> {
        let within = height % TILE_HEIGHT;
        let first = index << within;
        let width = u64::from(TILE_WIDTH);
        let level = u8::try_from(height / TILE_HEIGHT).expect("a height is below 64");
        let tile = Tile::in_tree(self.size, level, first / width);
        let tile = tile.expect("a subtree of the tree lies in its tiles");
        if !self.read.borrow().contains_key(&tile) {
            let bytes = self.bytes(tile)?;
            self.read.borrow_mut().insert(tile, bytes);
        }
        let skipped = usize::try_from(first % width).expect("below the width of a tile");
        let hashes = &self.read.borrow()[&tile];
        Ok(root_of(Hash::all_in(hashes).skip(skipped).take(1 << within)))
    }
}
