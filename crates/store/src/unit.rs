//! The unit of work: records, what they rest on, and every state change that they cause.

use model::{FactKey, RecordDigest, Revision, Sourced, Timestamp};

/// What is committed together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Unit {
    /// The records, in the order in which they get their indices.
    pub entries: Vec<NewEntry>,
    /// The facts that were read to decide on it.
    pub reads: Vec<FactKey>,
    /// The revision as of which they were read. One that the store has not reached is refused.
    pub revision: Revision,
    /// The state changes.
    pub effects: Vec<Effect>,
    /// How long it may wait for company.
    pub urgency: Urgency,
}

impl Unit {
    /// Nothing yet, which rests on what was `read`.
    pub fn resting_on(read: Sourced<()>) -> Self {
        Self { reads: read.keys, revision: read.revision, ..Self::default() }
    }
}

/// Whether somebody waits for the unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Urgency {
    /// An answer waits for it.
    #[default]
    Awaited,
    /// An answer waits for it, as for many others at the same time (an import): it may wait for those that were
    /// announced, at most 5 ms.
    Gathered,
    /// Nobody waits: it may travel with a later batch, at most 100 ms.
    Deferred,
}

/// A record on its way into the log.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// The record's id, by which it is found again.
    pub id: [u8; 16],
    /// The canonical bytes; at most [`model::record::MAX_RECORD_BYTES`].
    pub bytes: Vec<u8>,
    /// The RFC 6962 leaf hash of `bytes`.
    pub leaf: RecordDigest,
    /// The values behind its commitments, sealed.
    pub disclosure: Option<SealedDisclosure>,
}

/// Disclosed values, sealed under the key of the person whom they concern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedDisclosure {
    /// The fact key of the data key: erasing that fact erases the disclosure.
    pub data_key: FactKey,
    /// The sealed bytes.
    pub sealed: Vec<u8>,
}

/// What kind of thing is used once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OnceScope {
    /// The `jti` of a DPoP proof.
    Proof = 1,
    /// The `jti` of a client assertion.
    Assertion = 2,
    /// A code that redeems a founder.
    Founder = 3,
    /// A `requestState` handed to a client.
    RequestState = 4,
    /// The word of an administrator.
    Word = 5,
    /// The `jti` of an access token that is good for one call.
    Token = 6,
}

/// One thing that is used once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Once {
    /// What kind of thing.
    pub scope: OnceScope,
    /// Its digest.
    pub id: [u8; 32],
}

/// Names a counter of a session (`TASK/NAME`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CounterKey(pub String);

impl Unit {
    /// How many counters it adds to.
    pub fn counts(&self) -> usize {
        self.effects.iter().filter(|effect| matches!(effect, Effect::Count { .. })).count()
    }

    /// This unit with `next` behind it, as one that commits with both or not at all; none if either has
    /// read what the other writes.
    pub fn and(mut self, next: Self) -> Option<Self> {
        if self.has_read_of(&next) || next.has_read_of(&self) {
            return None;
        }
        let before = self.entries.len();
        self.effects.extend(next.effects.into_iter().map(|effect| match effect {
            Effect::OpenPermit { entry, body } => {
                Effect::OpenPermit { entry: before + entry, body }
            }
            other => other,
        }));
        self.entries.extend(next.entries);
        self.reads.extend(next.reads);
        self.reads.sort_unstable();
        self.reads.dedup();
        self.revision = self.revision.min(next.revision);
        Some(self)
    }

    /// Whether it has read something that `other` writes.
    fn has_read_of(&self, other: &Self) -> bool {
        let mut writes = other.effects.iter().filter_map(Effect::writes);
        writes.any(|key| self.reads.contains(key))
    }
}

/// One state change of a unit.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Writes a fact; its key's revision becomes the one of this commit.
    Put {
        /// The fact.
        key: FactKey,
        /// Its canonical JSON.
        body: Vec<u8>,
    },
    /// Writes a fact that must not exist yet, else [`CommitError::Exists`].
    PutNew {
        /// The fact.
        key: FactKey,
        /// Its canonical JSON.
        body: Vec<u8>,
    },
    /// Demands that there is no such fact, else [`CommitError::Exists`].
    Lacks {
        /// The fact.
        key: FactKey,
    },
    /// Removes a fact.
    Remove {
        /// The fact.
        key: FactKey,
    },
    /// Uses something up, else [`CommitError::Used`].
    UseOnce {
        /// What kind of thing.
        scope: OnceScope,
        /// Its digest.
        id: [u8; 32],
        /// After this instant it need not be remembered.
        expires: Timestamp,
    },
    /// Adds to a counter, else [`CommitError::OverLimit`]; commutes with others.
    Count {
        /// The counter; zero if it does not exist, and gone when it comes to that.
        counter: CounterKey,
        /// What to add; may be negative to give back, which leaves no less than nothing.
        amount: i64,
        /// The value that it may not exceed.
        limit: Option<i64>,
    },
    /// Opens a permit at the index of one of the unit's entries; it stays open until it is closed.
    OpenPermit {
        /// Which of the entries: the first is 0.
        entry: usize,
        /// What is to be known when it is closed, if something is: canonical JSON.
        body: Option<Vec<u8>>,
    },
    /// Closes the permit that was opened at `index`; closing it twice is [`CommitError::Used`].
    ClosePermit {
        /// The index of the decision record.
        index: u64,
    },
}

impl Effect {
    /// The key of the fact that it writes or removes, if it does.
    pub const fn writes(&self) -> Option<&FactKey> {
        match self {
            Self::Put { key, .. } | Self::PutNew { key, .. } | Self::Remove { key } => Some(key),
            Self::Lacks { .. }
            | Self::UseOnce { .. }
            | Self::Count { .. }
            | Self::OpenPermit { .. }
            | Self::ClosePermit { .. } => None,
        }
    }
}

/// Where a unit ended up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The index of each entry, in order.
    pub indices: Vec<u64>,
    /// The revision after the commit.
    pub revision: Revision,
    /// What each [`Effect::Count`] left its counter at, in the order of the effects.
    pub counters: Vec<i64>,
}

/// Why a unit was not committed. Nothing of it was written, unless it is [`CommitError::Lost`].
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A fact that it read has changed since: gather again and decide again.
    #[error("the fact {key:?} has changed since it was read")]
    Changed {
        /// The fact.
        key: FactKey,
    },
    /// Something that may be used once was used before: this thing, the first of the unit, or a permit that was
    /// closed.
    #[error("it was used before")]
    Used(Option<Once>),
    /// A counter would pass its limit.
    #[error("the limit of the counter `{}` is reached", counter.0)]
    OverLimit {
        /// The counter.
        counter: CounterKey,
    },
    /// A fact exists that must not.
    #[error("the fact {key:?} exists already")]
    Exists {
        /// The fact.
        key: FactKey,
    },
    /// More units wait than may wait.
    #[error("too many units wait to be committed")]
    Overloaded,
    /// The store refused it or could not be reached; nothing was written.
    #[error("the store could not commit")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nobody can tell whether it was written. Whoever waits must deny.
    #[error("the store did not say whether it committed")]
    Lost,
}
