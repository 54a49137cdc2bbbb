//! Records: what is written down, one leaf each, in canonical JSON (RFC 8785), versioned.
//!
//! No leaf holds personal data: members that could are [`Commitment`]s, and their values and salts
//! (the [`Disclosure`]) are kept apart. Members are declared in the order of their names, so that
//! serialising one gives its canonical bytes; a test holds every kind to that.
//!
//! INVARIANT: a decision, outcome or issuance record without sponsor and purpose cannot be built.

mod act;
mod decision;
mod disclosure;
mod other;

pub use act::{ActCommitments, NoSponsor, PeopleCommitments};
pub use decision::{DecisionRecord, FactsRef, HandedOn, ObservedSet, Verdict};
pub use disclosure::{Disclosure, MEMBERS_MAX};
pub use other::{
    AdministrationRecord, FactsRecord, FounderMark, FoundingRecord, IssuanceRecord, OutcomeKind,
    OutcomeRecord, RefusalRecord, SignalRecord, SystemRecord,
};

use serde::Serialize;

/// The version of the record format that this build writes.
pub const VERSION: u32 = 1;

/// The same of records of decisions. Since 2, what does more than read is decided by who owns agents and
/// purposes, too.
pub const DECISION_VERSION: u32 = 2;

/// The most bytes that a record may have.
pub const MAX_RECORD_BYTES: usize = 16 * 1024;

/// Room for a record of usual size, so that writing one allocates once.
const USUAL_BYTES: usize = 2 * 1024;

/// The members of a record that are commitments, by name.
pub type Commitments = std::collections::BTreeMap<String, crate::Commitment>;

/// Something that becomes a leaf.
pub trait Record: Serialize {
    /// The canonical bytes of the record.
    fn to_canonical_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(USUAL_BYTES);
        let written = serde_json::to_writer(&mut bytes, self);
        written.expect("records hold only strings, integers and maps of them");
        bytes
    }
}
