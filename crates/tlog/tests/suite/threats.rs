//! What an operator of the log, or whoever serves it, may try.

use crate::support::{Published, Signer, checkpoint, entry, leaves, naive_root};
use tlog::{
    Checkpoint, ConsistencyProof, LeafIndex, ProofError, TiledTree, TreeSize, consistency_proof,
    inclusion_proof, leaf_hash, verify_consistency, verify_inclusion,
};

/// All ways to flip one bit of `bytes`.
fn flips(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len() * 8).map(|bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped
    })
}

#[test]
fn n_100_a_flipped_bit_of_an_entry_is_found() {
    let leaves = leaves(300);
    let (index, size, root) = (LeafIndex::new(123), TreeSize::new(300), naive_root(&leaves));
    let proof = inclusion_proof(&Published::of(&leaves), index, size).expect("a proof");
    assert_eq!(verify_inclusion(leaf_hash(&entry(123)), index, size, &proof, root), Ok(()));
    for flipped in flips(&entry(123)) {
        let verified = verify_inclusion(leaf_hash(&flipped), index, size, &proof, root);
        assert_eq!(verified, Err(ProofError::NotIncluded));
    }
}

#[test]
fn n_100_a_flipped_bit_of_a_proof_is_found() {
    let leaves = leaves(300);
    let (index, size, root) = (LeafIndex::new(299), TreeSize::new(300), naive_root(&leaves));
    let proof = inclusion_proof(&Published::of(&leaves), index, size).expect("a proof");
    for at in 0..proof.0.len() {
        for flipped in flips(proof.0[at].as_bytes()) {
            let mut wrong = proof.clone();
            wrong.0[at] = tlog::Hash::from_bytes(flipped.try_into().expect("32 bytes"));
            let verified = verify_inclusion(leaves[299], index, size, &wrong, root);
            assert_eq!(verified, Err(ProofError::NotIncluded));
        }
    }
}

#[test]
fn n_100_a_flipped_bit_of_a_tile_is_found() {
    let leaves = leaves(300);
    let (published, root) = (Published::of(&leaves), naive_root(&leaves));
    // Level 0 full, level 0 partial, level 1 partial: a reader that checks all three finds any.
    assert_eq!(published.0.len(), 3);
    for (tile, bytes) in &published.0 {
        for flipped in flips(bytes).step_by(31) {
            let mut tampered = published.clone();
            tampered.0.insert(*tile, flipped.clone());
            let loaded = TiledTree::load(TreeSize::new(300), &tampered).expect("readable");
            // The full tile is not loaded: the tile above holds its root.
            let above = tile.is_full().then(|| tile.root(&flipped));
            let found = above.is_some_and(|above| above != tile.root(bytes));
            assert!(loaded.root() != root || found, "{tile}");
        }
    }
}

#[test]
fn n_100_a_flipped_bit_of_a_checkpoint_is_found() {
    let key = Signer::log().key;
    let note = checkpoint(&leaves(9)).sign(&Signer::log()).expect("signed").to_string();
    assert!(Checkpoint::open(note.as_bytes(), &key).is_ok());
    for flipped in flips(note.as_bytes()) {
        assert!(Checkpoint::open(&flipped, &key).is_err(), "{}", String::from_utf8_lossy(&flipped));
    }
}

#[test]
fn n_101_a_log_that_lost_its_tail_is_refused() {
    let leaves = leaves(50);
    let (seen, restored) = (checkpoint(&leaves), checkpoint(&leaves[..40]));
    let (published, old) = (Published::of(&leaves), restored.size());
    let proof = consistency_proof(&published, old, seen.size()).expect("a proof");
    assert_eq!(seen.verify_continues(&restored, &proof), Ok(()));
    let shrunk = ProofError::Shrunk { old: seen.size(), new: old };
    assert_eq!(restored.verify_continues(&seen, &proof), Err(shrunk));
    assert_eq!(restored.verify_continues(&seen, &ConsistencyProof::default()), Err(shrunk));
}

#[test]
fn n_101_a_log_that_lost_its_tail_and_grew_again_is_refused() {
    let seen = leaves(50);
    let mut grown = seen[..40].to_vec();
    grown.extend((0..20).map(|index| leaf_hash(format!("other {index}").as_bytes())));
    let (earlier, later) = (checkpoint(&seen), checkpoint(&grown));
    // The best that the operator can offer: a proof from the new tree.
    let proof = consistency_proof(&Published::of(&grown), earlier.size(), later.size());
    let proof = proof.expect("a proof");
    assert_eq!(later.verify_continues(&earlier, &proof), Err(ProofError::OldRootDiffers));
    // Or one from the old tree, which does not lead to the new root.
    let mut both = seen.clone();
    both.extend((0..10).map(|index| leaf_hash(format!("other {index}").as_bytes())));
    let proof = consistency_proof(&Published::of(&both), earlier.size(), later.size());
    let proof = proof.expect("a proof");
    assert_eq!(later.verify_continues(&earlier, &proof), Err(ProofError::NewRootDiffers));
}

#[test]
fn n_103_two_roots_of_one_size_are_a_split_view() {
    let one = leaves(64);
    let mut other = one.clone();
    other[17] = leaf_hash(b"shown to somebody else");
    let size = TreeSize::new(64);
    let (first, second) = (checkpoint(&one), checkpoint(&other));
    let split = Err(ProofError::SplitView { size });
    assert_eq!(second.verify_continues(&first, &ConsistencyProof::default()), split);
    assert_eq!(first.verify_continues(&first, &ConsistencyProof::default()), Ok(()));
    // No proof helps either.
    let padded = ConsistencyProof(vec![first.root()]);
    assert_eq!(second.verify_continues(&first, &padded), Err(ProofError::WrongLength));
}

#[test]
fn n_103_checkpoints_of_two_logs_are_not_compared() {
    let ours = checkpoint(&leaves(3));
    let theirs =
        Checkpoint::new("other.example".parse().expect("a name"), ours.size(), ours.root());
    let compared = ours.verify_continues(&theirs, &ConsistencyProof::default());
    assert_eq!(compared, Err(ProofError::OtherLog));
}

#[test]
fn an_empty_log_is_continued_by_every_log_and_proves_nothing() {
    let (empty, five) = (checkpoint(&[]), checkpoint(&leaves(5)));
    assert_eq!(five.verify_continues(&empty, &ConsistencyProof::default()), Ok(()));
    let (zero, size) = (TreeSize::new(0), five.size());
    let none = ConsistencyProof::default();
    let wrong = verify_consistency(zero, five.root(), size, five.root(), &none);
    assert_eq!(wrong, Err(ProofError::OldRootDiffers));
    let proof = ConsistencyProof(vec![five.root()]);
    assert_eq!(five.verify_continues(&empty, &proof), Err(ProofError::WrongLength));
}
