//! One bundle of entries beside the tile of its leaves: which entry is not what its leaf says.

use std::collections::HashMap;

use tlog::{Entry, EntryBundle, LeafHash, Tile, TreeSize, leaf_hash};

use crate::directory::LogDirectory;

/// The entries of a bundle and the leaves of its tile, as they are published.
pub(super) struct Leaves {
    bundle: EntryBundle,
    entries: Vec<Entry>,
    /// What the entries hash to.
    actual: Vec<LeafHash>,
    /// What the tile says; empty if it cannot be read.
    published: Vec<LeafHash>,
    /// Where each published leaf stands.
    places: HashMap<LeafHash, u64>,
    /// Why there are no more entries.
    ended: Option<String>,
}

impl Leaves {
    pub(super) fn read(directory: &LogDirectory, size: TreeSize, bundle: EntryBundle) -> Self {
        let width = usize::from(bundle.width());
        let (entries, ended) = match directory.bundle_readable(bundle) {
            Ok((entries, damaged)) => (entries, damaged.map(|error| error.to_string())),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let tile = Tile::in_tree(size, 0, bundle.index());
        let tile = tile.and_then(|tile| directory.tile(tile).ok()).unwrap_or_default();
        let published: Vec<_> =
            tile.as_chunks().0.iter().copied().map(LeafHash::from_bytes).take(width).collect();
        let published = if published.len() == width { published } else { Vec::new() };
        let places = published.iter().copied().zip(0..).collect();
        let actual = entries.iter().map(|entry| leaf_hash(entry.as_bytes())).collect();
        Self { bundle, entries, actual, published, places, ended }
    }

    pub(super) const fn bundle(&self) -> EntryBundle {
        self.bundle
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The leaves: as the tile has them or, where it cannot be read, as the entries hash.
    pub(super) fn hashes(&self) -> &[LeafHash] {
        if self.published.is_empty() { &self.actual } else { &self.published }
    }

    /// What is wrong with the entry at `offset`, beside what it says.
    pub(super) fn wrong(&self, offset: u64) -> Option<String> {
        let at = usize::try_from(offset).ok()?;
        let (actual, published) = (self.actual.get(at)?, self.published.get(at)?);
        if actual == published {
            return None;
        }
        let moved = self.places.get(actual).map(|place| self.bundle.first().get() + place);
        Some(match moved {
            Some(from) => format!("is not what its leaf committed to: record {from} stands here"),
            None => "is not what its leaf committed to".to_owned(),
        })
    }

    /// The entries that are not there: which leaves nothing hashes to, and where the bundle ends.
    pub(super) fn missing(&self) -> Vec<(u64, String)> {
        let mut missing = Vec::new();
        for (offset, leaf) in (0_u64..).zip(&self.published) {
            let at = usize::try_from(offset).unwrap_or(usize::MAX);
            let actual = self.actual.get(at);
            // An entry that is none of the bundle's stands for the one that was altered.
            let altered = actual.is_some_and(|actual| !self.places.contains_key(actual));
            if actual != Some(leaf) && !altered && !self.actual.contains(leaf) {
                missing.push((offset, "is gone".to_owned()));
            }
        }
        if let Some(why) = &self.ended {
            let offset = (self.entries.len() as u64).min(u64::from(self.bundle.width()) - 1);
            missing.push((offset, format!("the entries are damaged here: {why}")));
        }
        missing
    }
}
