//! A tree of which only the right edge is kept: enough to grow it and to know its root.
//!
//! INVARIANT: one peak per bit that is set in the size, the largest first.

use crate::hash::{Hash, LeafHash, empty_root, node_hash};
use crate::position::TreeSize;

/// An RFC 6962 tree, kept as the roots of its largest complete subtrees ("peaks").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    peaks: Vec<Hash>,
}

/// A tree of this size has another number of peaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tree of {size} leaves does not have {peaks} peaks")]
pub struct WrongPeaks {
    /// The size of the tree.
    pub size: TreeSize,
    /// How many peaks were given.
    pub peaks: usize,
}

impl Tree {
    /// The tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tree of `size` leaves with these peaks, the largest first.
    pub fn from_peaks(size: TreeSize, peaks: Vec<Hash>) -> Result<Self, WrongPeaks> {
        if peaks.len() != size.get().count_ones() as usize {
            return Err(WrongPeaks { size, peaks: peaks.len() });
        }
        Ok(Self { size: size.get(), peaks })
    }

    /// How many leaves the tree has.
    pub const fn size(&self) -> TreeSize {
        TreeSize::new(self.size)
    }

    /// The roots of the largest complete subtrees, the largest first.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// The root over all leaves.
    pub fn root(&self) -> Hash {
        let peaks = self.peaks.iter().rev().copied();
        peaks.reduce(|right, left| node_hash(left, right)).unwrap_or_else(empty_root)
    }

    /// Adds a leaf at the end.
    pub fn push(&mut self, leaf: LeafHash) {
        self.push_telling(leaf.into(), |_, _| {});
    }

    /// Adds a leaf at the end, and tells of each subtree that it completes: height and root.
    pub(crate) fn push_telling(&mut self, leaf: Hash, mut on_complete: impl FnMut(u32, Hash)) {
        let mut node = leaf;
        on_complete(0, node);
        // Each bit carried into stands for a peak of the height reached, which the node completes.
        for height in 1..=self.size.trailing_ones() {
            let left = self.peaks.pop().expect("one peak per bit set in the size");
            node = node_hash(left, node);
            on_complete(height, node);
        }
        self.peaks.push(node);
        self.size += 1;
    }
}

impl Extend<LeafHash> for Tree {
    fn extend<I: IntoIterator<Item = LeafHash>>(&mut self, leaves: I) {
        leaves.into_iter().for_each(|leaf| self.push(leaf));
    }
}

/// The root of the tree that has `hashes` in place of leaves.
pub(crate) fn root_of(hashes: impl Iterator<Item = Hash>) -> Hash {
    let mut tree = Tree::new();
    hashes.for_each(|hash| tree.push_telling(hash, |_, _| {}));
    tree.root()
}
