//! Undoing a mistaken signal: one person asks for it and names the event, another approves it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    DecisionId, Person, PersonId, PersonState, RecordId, Sha256Digest, SignalMark, SourceName,
    Speaker, Thumbprint, Timestamp,
};

/// How long what was asked for waits for somebody to approve it.
pub const UNDO_WAITS: Duration = Duration::from_hours(1);

/// The most people whom one such act brings back.
pub const UNDONE_MAX: usize = 1_000;

/// That an event is undone, or that somebody asked for that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Undo {
    /// Its id.
    pub id: RecordId,
    /// The event.
    pub event: Mistake,
    /// Who told it.
    pub speaker: Speaker,
    /// The directory whose people it is about.
    pub directory: SourceName,
    /// Whom it suspended, each with how.
    pub people: BTreeMap<PersonId, Suspended>,
    /// Why, in a few words.
    pub reason: String,
    /// Who asked for it.
    pub asked_by: PersonId,
    /// The key by which they were known who asked, if by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Thumbprint>,
    /// When.
    pub asked: Timestamp,
    /// Where it stands in its life.
    pub state: UndoState,
}

/// What is undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum Mistake {
    /// What one record tells.
    Record {
        /// The record.
        record: DecisionId,
    },
    /// What a directory, or a stream for it, told for a time.
    Span {
        /// The directory.
        directory: SourceName,
        /// The stream, if it is not the directory itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stream: Option<SourceName>,
        /// From when.
        from: Timestamp,
        /// Until when.
        until: Timestamp,
    },
}

/// How an event suspended a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suspended {
    /// Since when they are gone by it.
    pub since: Timestamp,
    /// The latest, by the clock of who told it, at which it tells that they left.
    pub told: Timestamp,
}

/// The life of an undoing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum UndoState {
    /// Somebody asked for it.
    Asked,
    /// Somebody approved it, and it is done for those up to a person.
    Approved {
        /// Who.
        by: PersonId,
        /// When.
        at: Timestamp,
        /// The last one who was looked at.
        after: PersonId,
        /// How many are back.
        restored: usize,
    },
    /// It is done.
    Done {
        /// Who approved it.
        by: PersonId,
        /// When.
        at: Timestamp,
        /// How many are back; the others are gone by something else too, or were back already.
        restored: usize,
    },
}

impl Undo {
    /// The digest of what was asked for.
    pub fn digest(&self) -> Sha256Digest {
        let asked = Self { state: UndoState::Asked, ..self.clone() };
        Sha256Digest::of(&json::canonical_of(&asked))
    }

    /// Whether it waits at `now` for somebody to approve it.
    pub fn waits(&self, now: Timestamp) -> bool {
        self.state == UndoState::Asked && now < self.asked.plus(UNDO_WAITS)
    }

    /// Whether `person`, of whom `mark` is known, is gone by the event, and by nothing else, before or since.
    pub fn suspended(&self, person: &Person, mark: &SignalMark) -> bool {
        let Some(Suspended { since, told }) = self.people.get(&person.id) else { return false };
        let is_own = person.source.as_ref() == Some(&self.directory);
        let is_by_it = person.state == PersonState::Inactive { since: *since };
        // Whoever is told to be back waits for nothing but that.
        let is_told_back = person.waits.returns.is_some();
        let only = mark.left.iter().all(|(speaker, at)| *speaker == self.speaker && at <= told);
        is_own && is_by_it && (is_told_back || (mark.since == Some(*since) && only))
    }
}

impl SignalMark {
    /// What is known once what told that they left is undone: it counts no longer, and nothing later is
    /// taken for older because of that.
    #[must_use]
    pub fn undone(self) -> Self {
        Self { here: self.here, ..Self::default() }
    }
}
