//! A small published log, a naive tree to compare with, and keys with fixed seeds.

use std::collections::BTreeMap;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use tlog::note::{Algorithm, KeyId, Name, NoteSigner, VerifierKey};
use tlog::{
    Checkpoint, Hash, LeafHash, Tile, TileReader, TiledTree, TreeSize, empty_root, leaf_hash,
    node_hash,
};

/// The name of the log in all tests.
pub(crate) const ORIGIN: &str = "chancery.example/log";

/// Makes the entry at `index`.
pub(crate) fn entry(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

/// Hashes the first `count` entries.
pub(crate) fn leaves(count: u64) -> Vec<LeafHash> {
    (0..count).map(|index| leaf_hash(&entry(index))).collect()
}

/// The root as RFC 6962 §2.1 defines it.
pub(crate) fn naive_root(leaves: &[LeafHash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => Hash::from(*leaf),
        leaves => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(naive_root(left), naive_root(right))
        }
    }
}

/// The tiles of a log as published.
#[derive(Clone, Default)]
pub(crate) struct Published(pub(crate) BTreeMap<Tile, Vec<u8>>);

impl Published {
    /// The tiles of a log that reached each of `sizes` in turn, and the tree that made them.
    pub(crate) fn growing(leaves: &[LeafHash], sizes: &[usize]) -> (Self, TiledTree) {
        let (mut published, mut tree) = (Self::default(), TiledTree::new());
        let mut from = 0;
        for size in sizes {
            let new = tree.extend(leaves[from..*size].iter().copied());
            published.0.extend(new.into_iter().map(|new| (new.tile, new.bytes)));
            from = *size;
        }
        (published, tree)
    }

    /// The tiles of a log of all `leaves`.
    pub(crate) fn of(leaves: &[LeafHash]) -> Self {
        Self::growing(leaves, &[leaves.len()]).0
    }
}

impl TileReader for Published {
    type Error = &'static str;

    fn tile(&self, tile: Tile) -> Result<Vec<u8>, &'static str> {
        let found = self.0.get(&tile).or_else(|| self.0.get(&tile.full()));
        found.cloned().ok_or("not published")
    }
}

/// A key pair with a fixed seed.
pub(crate) struct Signer {
    pair: Ed25519KeyPair,
    /// The public half.
    pub(crate) key: VerifierKey,
}

impl Signer {
    /// The key named `name` whose seed is `seed` throughout.
    pub(crate) fn new(name: &str, algorithm: Algorithm, seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a seed");
        let public = pair.public_key().as_ref().try_into().expect("32 bytes");
        let key = VerifierKey::new(name.parse().expect("a name"), algorithm, public);
        Self { pair, key }
    }

    /// The log's own key.
    pub(crate) fn log() -> Self {
        Self::new(ORIGIN, Algorithm::Ed25519, 7)
    }

    /// Signs `text` with the bare key.
    pub(crate) fn sign_bytes(&self, text: &[u8]) -> [u8; 64] {
        self.pair.sign(text).as_ref().try_into().expect("64 bytes")
    }
}

impl NoteSigner for Signer {
    fn name(&self) -> &Name {
        self.key.name()
    }

    fn key_id(&self) -> KeyId {
        self.key.id()
    }

    fn sign(&self, text: &[u8]) -> [u8; 64] {
        self.sign_bytes(text)
    }
}

/// The checkpoint of a log with these leaves.
pub(crate) fn checkpoint(leaves: &[LeafHash]) -> Checkpoint {
    let size = TreeSize::new(leaves.len() as u64);
    Checkpoint::new(ORIGIN.parse().expect("a name"), size, naive_root(leaves))
}

/// Steps a xorshift generator: the same numbers in every run.
pub(crate) fn next(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    usize::try_from(*state >> 33).expect("31 bits")
}
