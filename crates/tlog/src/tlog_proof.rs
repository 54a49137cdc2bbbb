//! Offline proofs (C2SP tlog-proof): one file that shows an entry to be in a log.
//!
//! The file is worth nothing without the log's key and, against a log that shows different people
//! different contents, the keys of witnesses; both come from elsewhere.

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::decimal;
use crate::hash::{Hash, leaf_hash};
use crate::note::{MAX_NOTE_BYTES, NoteError, SignedNote, VerifierKey, WrongSignature};
use crate::position::LeafIndex;
use crate::proof::{InclusionProof, MAX_PROOF_HASHES, ProofError, verify_inclusion};

/// The first line of the file.
const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// The most characters of the line with extra bytes.
const MAX_EXTRA_CHARS: usize = 64 << 10;

/// The most bytes of the file.
const MAX_FILE_BYTES: usize = MAX_NOTE_BYTES + MAX_EXTRA_CHARS + 64 * MAX_PROOF_HASHES;

/// A proof as it was received: nothing in it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    /// Bytes that an application sends along. Nothing ever vouches for them.
    pub extra: Option<Vec<u8>>,
    /// Where the entry is said to be.
    pub index: LeafIndex,
    /// The way from the entry to the root.
    pub inclusion: InclusionProof,
    /// The log's checkpoint, with the cosignatures of witnesses.
    pub checkpoint: SignedNote,
}

/// Whom a verifier trusts.
#[derive(Clone, Copy, Debug)]
pub struct Trust<'a> {
    /// The key of the log.
    pub log: &'a VerifierKey,
    /// The keys of the witnesses.
    pub witnesses: &'a [VerifierKey],
    /// How many of them must have cosigned.
    pub quorum: usize,
}

/// What a verified proof shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Included {
    /// Where the entry is.
    pub index: LeafIndex,
    /// The checkpoint under which it is there.
    pub checkpoint: Checkpoint,
}

/// Why bytes are no proof file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlogProofTextError {
    /// It has too many bytes, or one of its parts has.
    #[error("the proof is too large")]
    TooLarge,
    /// It is not text, or does not begin as a proof of this version does.
    #[error("not a `{HEADER}` file")]
    NotAProof,
    /// The line with extra bytes is not base64.
    #[error("the extra line of the proof is malformed")]
    Extra,
    /// The line with the index is missing or malformed.
    #[error("the index line of the proof is malformed")]
    Index,
    /// A line is no hash.
    #[error("a hash of the proof is malformed")]
    Hash,
    /// What follows is no signed note.
    #[error(transparent)]
    Checkpoint(#[from] NoteError),
}

/// Why a proof does not show that the entry is in the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlogProofError {
    /// The checkpoint is not the log's.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Too few witnesses have cosigned.
    #[error("{found} of the {needed} witnesses needed have cosigned")]
    TooFewWitnesses {
        /// How many have.
        found: usize,
        /// How many must.
        needed: usize,
    },
    /// The signature of a trusted witness is wrong.
    #[error(transparent)]
    WrongSignature(#[from] WrongSignature),
    /// The entry is not there.
    #[error(transparent)]
    NotIncluded(#[from] ProofError),
}

impl TlogProof {
    /// Reads a proof file.
    pub fn parse(bytes: &[u8]) -> Result<Self, TlogProofTextError> {
        if bytes.len() > MAX_FILE_BYTES {
            return Err(TlogProofTextError::TooLarge);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| TlogProofTextError::NotAProof)?;
        let (head, checkpoint) = text.split_once("\n\n").ok_or(TlogProofTextError::NotAProof)?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(TlogProofTextError::NotAProof);
        }
        let extra = lines.next_if(|line| line.starts_with("extra "));
        let extra = extra.map(parse_extra).transpose()?;
        let index = lines.next().and_then(|line| decimal::parse(line.strip_prefix("index ")?));
        let index = index.map(LeafIndex::new).ok_or(TlogProofTextError::Index)?;
        let hashes = lines.take(MAX_PROOF_HASHES + 1).map(str::parse::<Hash>);
        let hashes = hashes.collect::<Result<Vec<_>, _>>();
        let hashes = hashes.map_err(|_| TlogProofTextError::Hash)?;
        if hashes.len() > MAX_PROOF_HASHES {
            return Err(TlogProofTextError::TooLarge);
        }
        let checkpoint = SignedNote::parse(checkpoint.as_bytes())?;
        Ok(Self { extra, index, inclusion: InclusionProof(hashes), checkpoint })
    }

    /// Verifies that `entry` is in the log that `trust` names.
    pub fn verify(&self, entry: &[u8], trust: Trust<'_>) -> Result<Included, TlogProofError> {
        let leaf = leaf_hash(entry);
        let checkpoint = Checkpoint::open_note(&self.checkpoint, trust.log)?;
        let found = self.cosigners(trust.witnesses)?;
        if found < trust.quorum {
            return Err(TlogProofError::TooFewWitnesses { found, needed: trust.quorum });
        }
        let (size, root) = (checkpoint.size(), checkpoint.root());
        verify_inclusion(leaf, self.index, size, &self.inclusion, root)?;
        Ok(Included { index: self.index, checkpoint })
    }

    /// How many of `witnesses` have cosigned; one key is one witness, whatever its names.
    fn cosigners(&self, witnesses: &[VerifierKey]) -> Result<usize, WrongSignature> {
        let mut keys = BTreeSet::new();
        for witness in witnesses {
            if self.checkpoint.signed_by(witness)?.is_some() {
                keys.insert(witness.public());
            }
        }
        Ok(keys.len())
    }
}

fn parse_extra(line: &str) -> Result<Vec<u8>, TlogProofTextError> {
    if line.len() > MAX_EXTRA_CHARS {
        return Err(TlogProofTextError::TooLarge);
    }
    let bytes = line.strip_prefix("extra ").and_then(|bytes| STANDARD.decode(bytes).ok());
    bytes.ok_or(TlogProofTextError::Extra)
}

/// Writes the file.
impl fmt::Display for TlogProof {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(formatter, "extra {}", STANDARD.encode(extra))?;
        }
        writeln!(formatter, "index {}", self.index)?;
        self.inclusion.0.iter().try_for_each(|hash| writeln!(formatter, "{hash}"))?;
        write!(formatter, "\n{}", self.checkpoint)
    }
}
