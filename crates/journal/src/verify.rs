//! Verifies a log offline: its directory, a key, and a checkpoint from elsewhere are enough.
//!
//! What it trusts is the key and, if given, the earlier checkpoints. Everything else is recomputed
//! from the entries: their hashes, every tile, the signed root, and what the records say of each
//! other. It passes only if each record hashes to its leaf, the leaves hash to every tile, the
//! tiles to the signed root, and every earlier checkpoint to a beginning of the same tree.

mod bundles;
mod earlier;
mod records;
mod tiles;

use std::fmt;

use tlog::note::VerifierKey;
use tlog::{Checkpoint, EntryBundle, LeafHash, Tree, TreeSize};

use crate::directory::{LogDirectory, LogReadError};
use bundles::Leaves;
use earlier::Earlier;
use tiles::Tiles;

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

/// One line, whatever the record holds (N-107).
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = Visible(&self.what);
        match (self.index, &self.id) {
            (Some(index), Some(id)) => write!(f, "record {index} ({}): {what}", Visible(id)),
            (Some(index), None) => write!(f, "record {index}: {what}"),
            _ => write!(f, "{what}"),
        }
    }
}

/// Text in which nothing moves the cursor or turns the direction of writing.
struct Visible<'a>(&'a str);

impl fmt::Display for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        for c in self.0.chars() {
            let turns = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}' | '\u{61c}' | '\u{feff}');
            if c.is_control() || turns {
                write!(f, "{}", c.escape_unicode())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
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
    /// How many records that need a sponsor and a purpose lack one (R62).
    pub control_failures: u64,
    /// How many checkpoints from elsewhere the log was compared with.
    pub compared: usize,
    /// What is no fault of the log, and yet worth knowing.
    pub remarks: Vec<String>,
    /// What is wrong; empty if the log verifies.
    pub problems: Vec<Problem>,
}

/// Verifies the log in `directory` against `key` and, if given, `since`: an earlier checkpoint, or
/// a file of anchors with many.
pub fn verify(
    directory: &LogDirectory,
    key: &VerifierKey,
    since: Option<&[u8]>,
) -> Result<Report, VerifyError> {
    let note = directory.checkpoint()?.ok_or(VerifyError::NoCheckpoint)?;
    let checkpoint = Checkpoint::open(&note, key)
        .map_err(|error| VerifyError::NotSigned { which: "checkpoint", why: error.to_string() })?;
    let earlier = since.map(|bytes| Earlier::read(bytes, key)).transpose()?.unwrap_or_default();
    let mut check = Check {
        directory,
        size: checkpoint.size(),
        tree: Tree::new(),
        tiles: Tiles::list(directory, checkpoint.size())?,
        earlier,
        seen: Seen::default(),
        problems: Vec::new(),
    };
    check.all(&checkpoint);
    Ok(Report {
        size: checkpoint.size().get(),
        root: checkpoint.root().to_string(),
        totals: check.seen.totals().clone(),
        open: check.seen.open(),
        control_failures: check.seen.control_failures(),
        compared: check.earlier.count(),
        remarks: [check.earlier.remarks(), check.tiles.remarks()].concat(),
        problems: check.problems,
    })
}

struct Check<'a> {
    directory: &'a LogDirectory,
    size: TreeSize,
    tree: Tree,
    tiles: Tiles,
    earlier: Earlier,
    seen: Seen,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn problem(&mut self, index: Option<u64>, id: Option<String>, what: String) {
        if self.problems.len() < PROBLEMS_LISTED_MAX {
            self.problems.push(Problem { index, id, what });
        }
    }

    fn all(&mut self, checkpoint: &Checkpoint) {
        if let Some((index, what)) = self.earlier.cut_off(self.size) {
            self.problem(Some(index), None, what);
        }
        let empty = self.earlier.differs(&self.tree);
        self.fork(empty);
        while let Some(bundle) = EntryBundle::holding(self.size, self.tree.size().next_index()) {
            if !self.bundle(bundle) {
                return;
            }
        }
        for (index, what) in self.tiles.check_upper(self.directory) {
            self.problem(index, None, what);
        }
        let root = self.tree.root();
        if root != checkpoint.root() {
            let what = format!("the tiles hash to {root}, but {} was signed", checkpoint.root());
            self.problem(None, None, what);
        }
    }

    /// Checks one bundle and the tile of its leaves; false if neither says what the leaves are, so
    /// that nothing after them can be checked.
    fn bundle(&mut self, bundle: EntryBundle) -> bool {
        let first = bundle.first().get();
        let leaves = Leaves::read(self.directory, self.size, bundle);
        for (offset, entry) in (0_u64..).zip(leaves.entries()) {
            let found = self.seen.record(first + offset, entry.as_bytes());
            let id = self.seen.last_id();
            match leaves.wrong(offset) {
                Some(what) => self.problem(Some(first + offset), id, what),
                // What an altered record says of others is no evidence.
                None => {
                    for (id, what) in found {
                        self.problem(Some(first + offset), id, what);
                    }
                }
            }
        }
        for (offset, what) in leaves.missing() {
            self.problem(Some(first + offset), None, what);
        }
        for (index, what) in self.tiles.check_leaves(self.directory, &leaves) {
            self.problem(index, None, what);
        }
        for leaf in leaves.hashes() {
            self.push(*leaf);
        }
        if leaves.hashes().len() < usize::from(bundle.width()) {
            let index = first + leaves.hashes().len() as u64;
            self.problem(Some(index), None, "nothing from here on can be checked".to_owned());
            return false;
        }
        true
    }

    fn push(&mut self, leaf: LeafHash) {
        self.tree.push(leaf);
        let differs = self.earlier.differs(&self.tree);
        self.fork(differs);
    }

    fn fork(&mut self, differs: Option<(u64, String)>) {
        if let Some((index, what)) = differs {
            self.problem(Some(index), None, what);
        }
    }
}
