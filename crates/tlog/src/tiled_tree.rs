//! A tree that says which tiles to publish as it grows.
//!
//! It keeps the partial tile at the right edge of each level, at most 255 hashes per level, and
//! hashes each node once: what completes a subtree is at the same time a hash of a tile.

use crate::hash::{Hash, LeafHash};
use crate::position::TreeSize;
use crate::prove::{PublishedTiles, TileReadError, TileReader};
use crate::tile::{MAX_LEVEL, TILE_HEIGHT, Tile, partial_tiles, tiles_between};
use crate::tree::Tree;

const LEVELS: usize = MAX_LEVEL as usize + 1;

/// A [`Tree`] together with the right edge of its tiles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TiledTree {
    tree: Tree,
    /// The bytes of the partial tile of each level; empty where there is none.
    edge: [Vec<u8>; LEVELS],
}

/// A tile to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTile {
    /// Which tile.
    pub tile: Tile,
    /// Its bytes: its hashes, one after the other.
    pub bytes: Vec<u8>,
}

impl TiledTree {
    /// The tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tree of `size` leaves whose published tiles `reader` reads.
    ///
    /// The tiles are taken as they are: compare [`TiledTree::root`] with a signed checkpoint.
    pub fn load<R: TileReader>(
        size: TreeSize,
        reader: &R,
    ) -> Result<Self, TileReadError<R::Error>> {
        let tiles = PublishedTiles::new(size, reader);
        let tree = Tree::from_peaks(size, tiles.peaks()?).expect("one peak per bit of the size");
        let mut edge = <[Vec<u8>; LEVELS]>::default();
        for tile in partial_tiles(size) {
            edge[usize::from(tile.level())] = tiles.bytes(tile)?;
        }
        Ok(Self { tree, edge })
    }

    /// How many leaves the tree has.
    pub const fn size(&self) -> TreeSize {
        self.tree.size()
    }

    /// The root over all leaves.
    pub fn root(&self) -> Hash {
        self.tree.root()
    }

    /// The tree itself.
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Adds `leaves` at the end; gives the tiles to publish before a checkpoint of the new size.
    pub fn extend(&mut self, leaves: impl IntoIterator<Item = LeafHash>) -> Vec<NewTile> {
        let old = self.size();
        let mut new = Vec::new();
        for leaf in leaves {
            self.push(leaf, &mut new);
        }
        new.extend(self.partial_tiles_since(old));
        new
    }

    fn push(&mut self, leaf: LeafHash, full: &mut Vec<NewTile>) {
        let Self { tree, edge } = self;
        let size = TreeSize::new(tree.size().get() + 1);
        tree.push_telling(leaf.into(), |height, node| {
            if !height.is_multiple_of(TILE_HEIGHT) {
                return;
            }
            let level = (height / TILE_HEIGHT) as usize;
            edge[level].extend_from_slice(node.as_bytes());
            if let Some(tile) = completed(size, level, edge[level].len()) {
                full.push(NewTile { tile, bytes: std::mem::take(&mut edge[level]) });
            }
        });
    }

    fn partial_tiles_since(&self, old: TreeSize) -> impl Iterator<Item = NewTile> {
        let partial = tiles_between(old, self.size()).filter(|tile| !tile.is_full());
        partial.map(|tile| {
            let bytes = self.edge[usize::from(tile.level())].clone();
            assert_eq!(bytes.len(), tile.byte_len(), "the edge holds what the size says");
            NewTile { tile, bytes }
        })
    }
}

/// The full tile at `level` that a tree of `size` has just completed, its edge being `bytes` long.
fn completed(size: TreeSize, level: usize, bytes: usize) -> Option<Tile> {
    let level = u8::try_from(level).ok()?;
    let bits = TILE_HEIGHT * (u32::from(level) + 1);
    let tile = Tile::in_tree(size, level, size.get().checked_shr(bits)?.checked_sub(1)?)?;
    (bytes == tile.byte_len() && tile.is_full()).then_some(tile)
}
