//! Verifies a log offline: its directory, a key, and a checkpoint from elsewhere are enough.
//!
//! What it trusts is the key and, if given, the earlier checkpoint. Everything else is recomputed
//! from the entries: their hashes, the tree, the signed root, and what the records say of each
//! other.

mod records;

use std::fmt;

use tlog::note::VerifierKey;
use tlog::{Checkpoint, EntryBundle, LeafHash, LeafIndex, Tile, Tree, TreeSize, leaf_hash};

use crate::directory::{LogDirectory, LogReadError};

pub use records::{Seen, Totals};

/// The most problems that are listed; after that they are only counted.
pub const PROBLEMS_LISTED_MAX: usize = 1_000;

/// Why a log cannot be verified at all.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file cannot be read.
    #[error(transparent)]
    Unread(#[from] LogReadError),
    /// There is no checkpoint.
    #[error("the log has no checkpoint")]
    NoCheckpoint,
    /// The checkpoint, or the one from elsewhere, is not signed by the key.
    #[error("the {which} is not signed by the key: {why}")]
    NotSigned {
        /// Which checkpoint.
        which: &'static str,
        /// Why.
        why: String,
    },
}

/// Something that is wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The index of the record concerned, where it is one.
    pub index: Option<u64>,
    /// The record's id, where it has one.
    pub id: Option<String>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.index, &self.id) {
            (Some(index), Some(id)) => write!(f, "record {index} ({id}): {}", self.what),
            (Some(index), None) => write!(f, "record {index}: {}", self.what),
            _ => f.write_str(&self.what),
        }
    }
}

/// What a verification found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The size of the tree.
    pub size: u64,
    /// The signed root.
    pub root: String,
    /// How many records of each kind.
    pub totals: Totals,
    /// How many permits have no outcome yet.
    pub open: usize,
    /// What is wrong; empty if the log verifies.
    pub problems: Vec<Problem>,
}

/// Verifies the log in `directory` against `key` and, if given, an earlier checkpoint `since`.
pub fn verify(
    directory: &LogDirectory,
    key: &VerifierKey,
    since: Option<&[u8]>,
) -> Result<Report, VerifyError> {
    let note = directory.checkpoint()?.ok_or(VerifyError::NoCheckpoint)?;
    let checkpoint = opened("checkpoint", &note, key)?;
    let since = since.map(|note| opened("earlier checkpoint", note, key)).transpose()?;
    let mut check = Check::new(directory, checkpoint.size());
    check.earlier(since.as_ref());
    check.entries(since.as_ref());
    let root = check.tree.root();
    if check.tree.size() == checkpoint.size() && root != checkpoint.root() {
        let what = format!("the entries hash to {root}, but {} was signed", checkpoint.root());
        check.problem(None, None, what);
    }
    Ok(Report {
        size: checkpoint.size().get(),
        root: checkpoint.root().to_string(),
        totals: check.seen.totals().clone(),
        open: check.seen.open(),
        problems: check.problems,
    })
}

fn opened(which: &'static str, note: &[u8], key: &VerifierKey) -> Result<Checkpoint, VerifyError> {
    let opened = Checkpoint::open(note, key);
    opened.map_err(|error| VerifyError::NotSigned { which, why: error.to_string() })
}

struct Check<'a> {
    directory: &'a LogDirectory,
    size: TreeSize,
    tree: Tree,
    seen: Seen,
    problems: Vec<Problem>,
}

impl<'a> Check<'a> {
    fn new(directory: &'a LogDirectory, size: TreeSize) -> Self {
        Self { directory, size, tree: Tree::new(), seen: Seen::default(), problems: Vec::new() }
    }

    fn problem(&mut self, index: Option<u64>, id: Option<String>, what: String) {
        if self.problems.len() < PROBLEMS_LISTED_MAX {
            self.problems.push(Problem { index, id, what });
        }
    }

    /// A log never gets shorter than a checkpoint that somebody holds.
    fn earlier(&mut self, since: Option<&Checkpoint>) {
        let Some(since) = since.filter(|since| since.size() > self.size) else { return };
        let (old, new) = (since.size().get(), self.size.get());
        let what = format!("truncated: the earlier checkpoint has {old} records, this one {new}");
        self.problem(Some(new), None, what);
    }

    /// Reads every entry, hashes it, and compares it with the tiles and with what came before.
    fn entries(&mut self, since: Option<&Checkpoint>) {
        let mut next = 0;
        self.compare_since(since);
        while let Some(bundle) = EntryBundle::holding(self.size, LeafIndex::new(next)) {
            let entries = match self.directory.bundle(bundle) {
                Ok(entries) => entries,
                Err(error) => {
                    self.problem(Some(next), None, format!("missing from here on: {error}"));
                    return;
                }
            };
            let tile = self.leaf_tile(bundle);
            for (offset, entry) in entries.iter().enumerate() {
                let leaf = leaf_hash(entry.as_bytes());
                self.tree.push(leaf);
                self.record(next, entry.as_bytes());
                self.compare(next, leaf, tile.as_deref(), offset);
                next += 1;
                self.compare_since(since);
            }
            if next < bundle.first().get() + u64::from(bundle.width()) {
                self.problem(Some(next), None, "missing from here on".to_owned());
                return;
            }
        }
    }

    fn record(&mut self, index: u64, bytes: &[u8]) {
        for (id, what) in self.seen.record(index, bytes) {
            self.problem(Some(index), id, what);
        }
    }

    fn leaf_tile(&self, bundle: EntryBundle) -> Option<Vec<u8>> {
        let tile = Tile::in_tree(self.size, 0, bundle.index())?;
        self.directory.tile(tile).ok()
    }

    /// A record whose hash is not the one that its tile has was changed, moved or removed.
    fn compare(&mut self, index: u64, leaf: LeafHash, tile: Option<&[u8]>, offset: usize) {
        let published = tile.and_then(|tile| tile.get(offset * 32..(offset + 1) * 32));
        if published != Some(leaf.as_bytes().as_slice()) {
            let id = self.seen.last_id();
            self.problem(Some(index), id, "is not what its leaf committed to".to_owned());
        }
    }

    fn compare_since(&mut self, since: Option<&Checkpoint>) {
        let Some(since) = since.filter(|since| since.size() == self.tree.size()) else { return };
        if since.root() != self.tree.root() {
            let size = since.size().get();
            let what =
                format!("forked: the first {size} records are not those of the earlier checkpoint");
            self.problem(Some(size.saturating_sub(1)), None, what);
        }
    }
}
