//! Proofs against another implementation, and against the definition of the tree.

use crate::support::{Published, entry, leaves, naive_root};
use proptest::prelude::*;
use tlog::{
    ConsistencyProof, Hash, InclusionProof, LeafHash, LeafIndex, ProveError, Tree, TreeSize,
    consistency_proof, inclusion_proof, verify_consistency, verify_inclusion,
};
use tlog_tiles::{Error, HashReader, prove_record, prove_tree, stored_hashes, tree_hash};

/// The other implementation's hashes, all kept.
struct Theirs(Vec<tlog_tiles::Hash>);

impl HashReader for Theirs {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, Error> {
        let at = |index: &u64| self.0[usize::try_from(*index).expect("small")];
        Ok(indexes.iter().map(at).collect())
    }
}

impl Theirs {
    fn new(count: u64) -> Self {
        let mut all = Self(Vec::new());
        for index in 0..count {
            let new = stored_hashes(index, &entry(index), &all).expect("stored");
            all.0.extend(new);
        }
        all
    }
}

fn ours(theirs: Vec<tlog_tiles::Hash>) -> Vec<Hash> {
    theirs.into_iter().map(|hash| Hash::from_bytes(hash.0)).collect()
}

fn root(leaves: &[LeafHash]) -> Hash {
    let mut tree = Tree::new();
    tree.extend(leaves.iter().copied());
    tree.root()
}

fn size_and_index() -> impl Strategy<Value = (u64, u64)> {
    (1..=700_u64).prop_flat_map(|size| (Just(size), 0..size))
}

fn sizes() -> impl Strategy<Value = (u64, u64)> {
    (1..=700_u64).prop_flat_map(|new| (1..=new, Just(new)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn roots_and_inclusion_proofs_agree((size, index) in size_and_index()) {
        let (leaves, theirs) = (leaves(size), Theirs::new(size));
        let root = root(&leaves);
        prop_assert_eq!(root, naive_root(&leaves));
        prop_assert_eq!(root, Hash::from_bytes(tree_hash(size, &theirs).expect("a root").0));

        let (size, index) = (TreeSize::new(size), LeafIndex::new(index));
        let proof = inclusion_proof(&Published::of(&leaves), index, size).expect("a proof");
        let other = prove_record(size.get(), index.get(), &theirs).expect("a proof");
        prop_assert_eq!(&proof.0, &ours(other));

        let leaf = leaves[usize::try_from(index.get()).expect("small")];
        prop_assert_eq!(verify_inclusion(leaf, index, size, &proof, root), Ok(()));
        for wrong in [index.get().wrapping_sub(1), index.get() + 1, index.get() ^ 2] {
            let wrong = LeafIndex::new(wrong);
            prop_assert!(verify_inclusion(leaf, wrong, size, &proof, root).is_err());
        }
    }

    #[test]
    fn consistency_proofs_agree((old, new) in sizes()) {
        let (leaves, theirs) = (leaves(new), Theirs::new(new));
        let old_root = root(&leaves[..usize::try_from(old).expect("small")]);
        let new_root = root(&leaves);
        let (old, new) = (TreeSize::new(old), TreeSize::new(new));
        let proof = consistency_proof(&Published::of(&leaves), old, new).expect("a proof");
        let other = prove_tree(new.get(), old.get(), &theirs).expect("a proof");
        prop_assert_eq!(&proof.0, &ours(other));
        prop_assert_eq!(verify_consistency(old, old_root, new, new_root, &proof), Ok(()));

        for at in 0..proof.0.len() {
            let mut wrong = proof.clone();
            wrong.0[at] = old_root;
            let accepted = verify_consistency(old, old_root, new, new_root, &wrong).is_ok();
            prop_assert_eq!(accepted, proof.0[at] == old_root);
            let mut short = proof.clone();
            short.0.remove(at);
            prop_assert!(verify_consistency(old, old_root, new, new_root, &short).is_err());
        }
        let mut long = proof.clone();
        long.0.push(new_root);
        prop_assert!(verify_consistency(old, old_root, new, new_root, &long).is_err());
    }
}

#[test]
fn every_proof_of_every_small_tree_verifies() {
    let leaves = leaves(40);
    for size in 1..=leaves.len() {
        let (published, root) = (Published::of(&leaves[..size]), naive_root(&leaves[..size]));
        let size = TreeSize::new(size as u64);
        for (index, leaf) in (0..size.get()).zip(&leaves) {
            let index = LeafIndex::new(index);
            let proof = inclusion_proof(&published, index, size).expect("a proof");
            assert_eq!(verify_inclusion(*leaf, index, size, &proof, root), Ok(()));
        }
        for old in 0..=size.get() {
            let old_root = naive_root(&leaves[..usize::try_from(old).expect("small")]);
            let old = TreeSize::new(old);
            let proof = consistency_proof(&published, old, size).expect("a proof");
            assert_eq!(verify_consistency(old, old_root, size, root, &proof), Ok(()));
        }
    }
}

#[test]
fn proofs_over_three_levels_of_tiles_verify() {
    let leaves = leaves(70_000);
    let (published, root) = (Published::of(&leaves), naive_root(&leaves));
    let size = TreeSize::new(70_000);
    for at in [0, 255, 256, 65_535, 65_536, 69_887, 69_888, 69_999] {
        let index = LeafIndex::new(at as u64);
        let proof = inclusion_proof(&published, index, size).expect("a proof");
        assert_eq!(verify_inclusion(leaves[at], index, size, &proof, root), Ok(()));
        let (old, old_root) = (TreeSize::new(at as u64), naive_root(&leaves[..at]));
        let proof = consistency_proof(&published, old, size).expect("a proof");
        assert_eq!(verify_consistency(old, old_root, size, root, &proof), Ok(()));
    }
}

#[test]
fn what_is_not_in_the_tree_has_no_proof() {
    let published = Published::of(&leaves(5));
    let (five, six) = (TreeSize::new(5), TreeSize::new(6));
    let missing = inclusion_proof(&published, LeafIndex::new(5), five);
    assert!(matches!(missing, Err(ProveError::NoSuchLeaf { .. })));
    let shrunk = consistency_proof(&published, six, five);
    assert!(matches!(shrunk, Err(ProveError::Shrunk { .. })));
    let unpublished = inclusion_proof(&published, LeafIndex::new(5), six);
    assert!(matches!(unpublished, Err(ProveError::Tile(_))));
}

#[test]
fn the_greatest_sizes_do_not_overflow() {
    let hash = naive_root(&leaves(1));
    let greatest = TreeSize::new(u64::MAX);
    let proof = InclusionProof(vec![hash; 100_000]);
    let leaf = leaves(1)[0];
    for index in [0, 1, u64::MAX / 2, u64::MAX - 1] {
        let index = LeafIndex::new(index);
        assert!(verify_inclusion(leaf, index, greatest, &proof, hash).is_err());
    }
    let proof = ConsistencyProof(vec![hash; 100_000]);
    for old in [1, 2, u64::MAX / 2, 1 << 63, u64::MAX - 1] {
        assert!(verify_consistency(TreeSize::new(old), hash, greatest, hash, &proof).is_err());
    }
    let all = tlog::Tile::in_tree(greatest, 7, 0).expect("a tile");
    assert_eq!(all.width(), 255);
}
