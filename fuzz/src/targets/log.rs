//! The log's formats: each has one spelling.

use tlog::note::{SignedNote, VerifierKey};
use tlog::{Checkpoint, EntryBundle, Tile, TlogProof};

/// A signed note.
pub fn note(bytes: &[u8]) -> bool {
    let Ok(note) = SignedNote::parse(bytes) else { return false };
    assert_eq!(note.to_string().as_bytes(), bytes);
    true
}

/// The text of a checkpoint.
pub fn checkpoint(bytes: &[u8]) -> bool {
    super::is_written_back::<Checkpoint>(bytes)
}

/// A verifier key, as people pass it on.
pub fn verifier_key(bytes: &[u8]) -> bool {
    super::is_written_back::<VerifierKey>(bytes)
}

/// The path of a tile or a bundle.
pub fn tile_path(bytes: &[u8]) -> bool {
    let Some(path) = super::text(bytes) else { return false };
    let (tile, bundle) = (Tile::from_path(path).ok(), EntryBundle::from_path(path).ok());
    assert!(tile.is_none() || bundle.is_none(), "a path names one thing");
    assert!(tile.is_none_or(|tile| tile.to_string() == path));
    assert!(bundle.is_none_or(|bundle| bundle.to_string() == path));
    tile.is_some() || bundle.is_some()
}

/// A tile: its bytes are whole hashes, as many as it is said to have.
pub fn tile(bytes: &[u8]) -> bool {
    let whole = (1..=tlog::TILE_WIDTH).find(|width| {
        let tile = Tile::new(0, 0, *width).expect("a width of a tile");
        tile.root(bytes).is_some()
    });
    assert_eq!(whole.map(usize::from), whole.map(|_| bytes.len() / tlog::HASH_BYTES));
    assert!(whole.is_none() || bytes.len().is_multiple_of(tlog::HASH_BYTES));
    whole.is_some()
}

/// A bundle of entries, of one width only.
pub fn bundle(bytes: &[u8]) -> bool {
    let mut taken = 0;
    for width in 1..=8 {
        let bundle = EntryBundle::new(0, width).expect("a width of a bundle");
        if let Ok(entries) = bundle.decode(bytes) {
            assert_eq!(entries.len(), usize::from(width));
            assert_eq!(EntryBundle::encode(&entries), bytes);
            taken += 1;
        }
    }
    assert!(taken <= 1, "a bundle has one width");
    taken == 1
}

/// An offline proof.
pub fn proof(bytes: &[u8]) -> bool {
    let Ok(proof) = TlogProof::parse(bytes) else { return false };
    assert_eq!(proof.to_string().as_bytes(), bytes);
    true
}
