//! Transparency log arithmetic: RFC 6962 Merkle trees, C2SP tiles, signed checkpoints and proofs.
//!
//! A [`TiledTree`] grows a log and says which tiles to publish; [`inclusion_proof`] and
//! [`consistency_proof`] make proofs from published tiles; [`verify_inclusion`],
//! [`verify_consistency`], [`Checkpoint::open`] and [`TlogProof::verify`] need nothing but bytes and
//! a key, so an outsider can check what the log's owner says.
//!
//! INVARIANT: what a verification accepts follows from the signed root alone. Whoever serves tiles
//! or proofs can withhold them, and can change nothing.
//!
//! It knows only bytes: no IO, no clock, no record format.

mod bundle;
mod checkpoint;
mod decimal;
mod entry;
mod hash;
pub mod note;
mod position;
mod proof;
mod prove;
mod tile;
mod tiled_tree;
mod tlog_proof;
mod tree;

pub use bundle::{BundleError, EntryBundle, bundles_between};
pub use checkpoint::{Checkpoint, CheckpointError, CheckpointTextError};
pub use entry::{Entry, EntryTooLarge, MAX_ENTRY_BYTES};
pub use hash::{HASH_BYTES, Hash, HashTextError, LeafHash, empty_root, leaf_hash, node_hash};
pub use position::{LeafIndex, TreeSize};
pub use proof::{
    ConsistencyProof, InclusionProof, MAX_PROOF_HASHES, ProofError, verify_consistency,
    verify_inclusion,
};
pub use prove::{ProveError, TileReadError, TileReader, consistency_proof, inclusion_proof};
pub use tile::{MAX_LEVEL, TILE_WIDTH, Tile, TilePathError, tiles_between};
pub use tiled_tree::{NewTile, TiledTree};
pub use tlog_proof::{Included, TlogProof, TlogProofError, TlogProofTextError, Trust};
pub use tree::{Tree, WrongPeaks};
