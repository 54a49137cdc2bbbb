//! Verifies inclusion and consistency proofs (RFC 9162 §2.1.3.2 and §2.1.4.2, which RFC 6962 trees
//! share). The work is bounded by the tree's height, however long the proof.

use crate::hash::{Hash, LeafHash, empty_root, node_hash};
use crate::position::{LeafIndex, TreeSize};

/// The most hashes in a proof: one per level of a tree of 64-bit size, and one.
pub const MAX_PROOF_HASHES: usize = 65;

/// Shows that a leaf is in a tree: the siblings on its way to the root, its own first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InclusionProof(pub Vec<Hash>);

/// Shows that a tree is the beginning of another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsistencyProof(pub Vec<Hash>);

/// Why a proof does not show what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The tree has no such leaf.
    #[error("a log of {size} entries has none at {index}")]
    NoSuchLeaf {
        /// The leaf said to be included.
        index: LeafIndex,
        /// The size of the tree.
        size: TreeSize,
    },
    /// The log has lost entries.
    #[error("the log had {old} entries and now has {new}")]
    Shrunk {
        /// The older size.
        old: TreeSize,
        /// The newer size.
        new: TreeSize,
    },
    /// The log shows two contents of one size.
    #[error("the log shows two different roots at {size} entries")]
    SplitView {
        /// The size.
        size: TreeSize,
    },
    /// The checkpoints are of two logs.
    #[error("the checkpoints are of different logs")]
    OtherLog,
    /// The proof has more or fewer hashes than the sizes need.
    #[error("the proof has the wrong number of hashes")]
    WrongLength,
    /// The leaf is not at that place of the tree with that root.
    #[error("the entry is not in the log at that place")]
    NotIncluded,
    /// What the proof starts from is not the older root.
    #[error("the older root is not the beginning that the proof shows")]
    OldRootDiffers,
    /// What the proof leads to is not the newer root.
    #[error("the newer root does not continue the older one")]
    NewRootDiffers,
}

/// Verifies that `leaf` is at `index` of the tree with `size` leaves and this `root`.
pub fn verify_inclusion(
    leaf: LeafHash,
    index: LeafIndex,
    size: TreeSize,
    proof: &InclusionProof,
    root: Hash,
) -> Result<(), ProofError> {
    if !size.contains(index) {
        return Err(ProofError::NoSuchLeaf { index, size });
    }
    let mut climb = Climb::new(index.get(), size.get() - 1);
    let mut node = Hash::from(leaf);
    for sibling in &proof.0 {
        node = match climb.step()? {
            Side::Left => node_hash(*sibling, node),
            Side::Right => node_hash(node, *sibling),
        };
    }
    climb.end()?;
    if node == root { Ok(()) } else { Err(ProofError::NotIncluded) }
}

/// Verifies that the tree with `old` leaves and `old_root` is the beginning of the newer one.
///
/// Of the empty tree, every tree is a continuation, and the proof is empty.
pub fn verify_consistency(
    old: TreeSize,
    old_root: Hash,
    new: TreeSize,
    new_root: Hash,
    proof: &ConsistencyProof,
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::Shrunk { old, new });
    }
    if old == new || old.get() == 0 {
        return verify_without_proof(old, old_root, new, new_root, proof);
    }

    // Climbs from the last complete subtree of the old tree. If that is all of it, the proof leaves
    // it out, for the verifier has it.
    let complete = old.get().is_power_of_two();
    let (start, path) = match proof.0.split_first() {
        _ if complete => (old_root, proof.0.as_slice()),
        Some((first, rest)) => (*first, rest),
        None => return Err(ProofError::WrongLength),
    };
    let subtree = (old.get() - 1).trailing_ones();
    let mut climb = Climb::new((old.get() - 1) >> subtree, (new.get() - 1) >> subtree);
    let (mut old_node, mut new_node) = (start, start);
    for sibling in path {
        match climb.step()? {
            Side::Left => {
                old_node = node_hash(*sibling, old_node);
                new_node = node_hash(*sibling, new_node);
            }
            Side::Right => new_node = node_hash(new_node, *sibling),
        }
    }
    climb.end()?;
    if old_node != old_root {
        return Err(ProofError::OldRootDiffers);
    }
    if new_node == new_root { Ok(()) } else { Err(ProofError::NewRootDiffers) }
}

fn verify_without_proof(
    old: TreeSize,
    old_root: Hash,
    new: TreeSize,
    new_root: Hash,
    proof: &ConsistencyProof,
) -> Result<(), ProofError> {
    if !proof.0.is_empty() {
        return Err(ProofError::WrongLength);
    }
    if old == new && old_root != new_root {
        return Err(ProofError::SplitView { size: old });
    }
    if old.get() == 0 && old_root != empty_root() {
        return Err(ProofError::OldRootDiffers);
    }
    Ok(())
}

/// How many of `leaves` leaves are in the left subtree: the largest power of two below.
pub(crate) const fn split(leaves: u64) -> u64 {
    assert!(leaves > 1, "a leaf has no subtrees");
    1 << (leaves - 1).ilog2()
}

/// On which side of the node the sibling is.
enum Side {
    Left,
    Right,
}

/// The way from a node to the root: the node's position, and that of the last node, at one height.
struct Climb {
    node: u64,
    last: u64,
}

impl Climb {
    const fn new(node: u64, last: u64) -> Self {
        Self { node, last }
    }

    /// Goes up to the next parent with two children.
    fn step(&mut self) -> Result<Side, ProofError> {
        if self.last == 0 {
            return Err(ProofError::WrongLength);
        }
        let is_right_child = self.node & 1 == 1;
        let side = if is_right_child || self.node == self.last { Side::Left } else { Side::Right };
        // The last node of a level without a sibling stands for its parent until it has one.
        while self.node == self.last && self.node & 1 == 0 && self.node != 0 {
            self.up();
        }
        self.up();
        Ok(side)
    }

    const fn up(&mut self) {
        self.node >>= 1;
        self.last >>= 1;
    }

    const fn end(&self) -> Result<(), ProofError> {
        if self.last == 0 { Ok(()) } else { Err(ProofError::WrongLength) }
    }
}
