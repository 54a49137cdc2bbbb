//! Checkpoints (C2SP tlog-checkpoint v1.0.0): what a log commits to with its signature.
//!
//! The text is the log's origin, its size and its root, one to a line; further lines are carried
//! and mean nothing here.

use std::fmt;
use std::str::FromStr;

use crate::decimal;
use crate::hash::{Hash, empty_root};
use crate::note::{
    Name, NoteError, NoteSigner, SignedNote, TextError, VerifierKey, WrongSignature,
};
use crate::position::TreeSize;
use crate::proof::{ConsistencyProof, ProofError, verify_consistency};

/// The most extension lines of a checkpoint.
const MAX_EXTENSIONS: usize = 16;

/// The size and root of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: Name,
    size: TreeSize,
    root: Hash,
    extensions: Vec<String>,
}

/// Why a text is no checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointTextError {
    /// It does not have three lines that are ended.
    #[error("a checkpoint has at least three lines, each ended")]
    TooShort,
    /// The first line names no log.
    #[error("the first line of the checkpoint is not the name of a log")]
    Origin,
    /// The second line is no size.
    #[error("the second line of the checkpoint is not a size")]
    Size,
    /// The third line is no root, or not the one root that an empty log has.
    #[error("the third line of the checkpoint is not a root of that size")]
    Root,
    /// An extension line is empty, or there are too many.
    #[error("a checkpoint has at most {MAX_EXTENSIONS} further lines, none of them empty")]
    Extension,
}

/// Why a checkpoint is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// It is no signed note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Its text is no checkpoint.
    #[error(transparent)]
    Text(#[from] CheckpointTextError),
    /// It is of another log than the one whose key is trusted.
    #[error("the checkpoint is of log `{found}`, not of `{expected}`")]
    OtherLog {
        /// The log whose key is trusted.
        expected: Name,
        /// The log that it names.
        found: Name,
    },
    /// The log has not signed it.
    #[error("the checkpoint is not signed by `{log}`")]
    Unsigned {
        /// The log whose key is trusted.
        log: Name,
    },
    /// A signature of a trusted key is wrong.
    #[error(transparent)]
    WrongSignature(#[from] WrongSignature),
}

impl Checkpoint {
    /// What the log named `origin` commits to at `size` with `root`.
    pub const fn new(origin: Name, size: TreeSize, root: Hash) -> Self {
        Self { origin, size, root, extensions: Vec::new() }
    }

    /// Reads a signed checkpoint and believes it if the log whose key is `log` signed it.
    pub fn open(bytes: &[u8], log: &VerifierKey) -> Result<Self, CheckpointError> {
        Self::open_note(&SignedNote::parse(bytes)?, log)
    }

    pub(crate) fn open_note(note: &SignedNote, log: &VerifierKey) -> Result<Self, CheckpointError> {
        let signed = note.signed_by(log)?;
        let checkpoint: Self = note.text().parse()?;
        if checkpoint.origin != *log.name() {
            let (expected, found) = (log.name().clone(), checkpoint.origin);
            return Err(CheckpointError::OtherLog { expected, found });
        }
        signed.ok_or_else(|| CheckpointError::Unsigned { log: log.name().clone() })?;
        Ok(checkpoint)
    }

    /// Signs the checkpoint.
    ///
    /// Whoever calls this must know that the log never signed another root of this size, nor a
    /// tree that this one does not continue.
    pub fn sign(&self, signer: &dyn NoteSigner) -> Result<SignedNote, TextError> {
        SignedNote::sign(&self.to_string(), signer)
    }

    /// The name of the log.
    pub const fn origin(&self) -> &Name {
        &self.origin
    }

    /// How many leaves the log has.
    pub const fn size(&self) -> TreeSize {
        self.size
    }

    /// The root over them.
    pub const fn root(&self) -> Hash {
        self.root
    }

    /// Further lines, for those who know what they mean.
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }

    /// Verifies that the log has only grown from `earlier` to this checkpoint.
    pub fn verify_continues(
        &self,
        earlier: &Self,
        proof: &ConsistencyProof,
    ) -> Result<(), ProofError> {
        if self.origin != earlier.origin {
            return Err(ProofError::OtherLog);
        }
        verify_consistency(earlier.size, earlier.root, self.size, self.root, proof)
    }
}

/// Writes the text that is signed.
impl fmt::Display for Checkpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}\n{}\n{}\n", self.origin, self.size, self.root)?;
        self.extensions.iter().try_for_each(|line| writeln!(formatter, "{line}"))
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointTextError;

    fn from_str(text: &str) -> Result<Self, CheckpointTextError> {
        let text = text.strip_suffix('\n').ok_or(CheckpointTextError::TooShort)?;
        let mut lines = text.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(CheckpointTextError::TooShort);
        };
        let origin = origin.parse().map_err(|_| CheckpointTextError::Origin)?;
        let size = decimal::parse(size).map(TreeSize::new).ok_or(CheckpointTextError::Size)?;
        let root: Hash = root.parse().map_err(|_| CheckpointTextError::Root)?;
        if size.get() == 0 && root != empty_root() {
            return Err(CheckpointTextError::Root);
        }
        let extensions: Vec<_> = lines.take(MAX_EXTENSIONS + 1).map(str::to_owned).collect();
        if extensions.len() > MAX_EXTENSIONS || extensions.iter().any(String::is_empty) {
            return Err(CheckpointTextError::Extension);
        }
        Ok(Self { origin, size, root, extensions })
    }
}
