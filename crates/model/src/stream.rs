//! Streams of shared signals: what transmitters tell, between times, of a directory's people (SSF 1.0).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{DirectoryState, FactKey, PersonState, Sha256Digest, SourceName, Timestamp};

/// A registered stream. It speaks for a directory's people, whether that pushes them itself or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// Its name.
    pub name: SourceName,
    /// Its transmitter: `iss` of all its tokens.
    pub issuer: String,
    /// For whom its tokens are.
    pub audience: String,
    /// By which algorithms its transmitter may sign (JOSE names).
    pub algorithms: BTreeSet<String>,
    /// The directory of whose people it tells, and of nobody else.
    pub directory: SourceName,
    /// Whether an e-mail address names somebody among these people.
    #[serde(default)]
    pub email: bool,
    /// After how many minutes in which nothing was heard of it these people are unconfirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence_min: Option<u32>,
    /// When it was registered.
    pub registered: Timestamp,
    /// Whether it may say anything.
    pub state: DirectoryState,
}

impl Stream {
    /// Whether it counts.
    pub const fn is_active(&self) -> bool {
        matches!(self.state, DirectoryState::Active)
    }
}

/// That a token of a stream was taken: the same once more does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taken {
    /// The digest of the token.
    pub token: Sha256Digest,
    /// Until when it could come once more.
    pub until: Timestamp,
}

/// Which token of a stream need not be remembered any longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakenUntil {
    /// The stream.
    pub stream: SourceName,
    /// Where it is remembered.
    pub taken: FactKey,
}

/// What a transmitter said last of whether its stream tells anything (SSF 1.0 §8.1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamTells {
    /// Since when that is so, by the transmitter.
    pub at: Timestamp,
    /// Whether it does.
    pub enabled: bool,
}

/// The newest that was told of whether a person is there, by their directory or a stream that speaks for
/// it: what happened before does nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalMark {
    /// When it happened, by whoever told it.
    pub at: Timestamp,
    /// Who said, since they were last here, that they left; nobody, if they are here.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub left: BTreeSet<Speaker>,
    /// When one of these put that in force; not, if somebody else did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

impl SignalMark {
    /// That they are here, as was told `at` that time.
    pub const fn here(at: Timestamp) -> Self {
        Self { at, left: BTreeSet::new(), since: None }
    }

    /// What is known of `was`, of whom it was `known` before, once `speaker` told that they left `at` that
    /// time, and that is in force from `now` on, if it is not already.
    pub fn gone(
        known: Option<Self>,
        was: PersonState,
        told: (Speaker, Timestamp),
        now: Timestamp,
    ) -> Self {
        let (speaker, at) = told;
        let since = match was {
            PersonState::Active { .. } => {
                return Self { at, left: [speaker].into(), since: Some(now) };
            }
            PersonState::Inactive { since } => since,
        };
        let Some(known) = known else { return Self { at, left: [speaker].into(), since: None } };
        // Whom somebody else sent away since is gone by that one's word.
        let since = known.since.filter(|known| *known == since);
        let mut left = known.left;
        left.insert(speaker);
        Self { at: at.max(known.at), left, since }
    }

    /// Whether they are gone, `since` then, by the word of `speaker` and of their directory alone.
    pub fn may_be_ended_by(&self, speaker: &Speaker, since: Timestamp) -> bool {
        let directory = Speaker::directory();
        self.since == Some(since) && self.left.iter().all(|it| it == speaker || *it == directory)
    }
}

/// Who tells of a directory's people: itself, or a stream that speaks for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Speaker(String);

impl Speaker {
    /// The directory itself.
    pub fn directory() -> Self {
        Self("directory".to_owned())
    }

    /// A stream.
    pub fn stream(name: &SourceName) -> Self {
        Self(format!("stream/{name}"))
    }
}

impl fmt::Display for Speaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Until when those who tell of a directory's people count as heard, of whom silence is bounded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Heard(pub BTreeMap<Speaker, Timestamp>);

impl Heard {
    /// Until when all of them do: its people are confirmed until then.
    pub fn until(&self) -> Option<Timestamp> {
        self.0.values().min().copied()
    }
}

/// By which signal something changed, for the record of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalRef {
    /// When it happened, by the transmitter.
    pub at: Timestamp,
    /// What it told: `caep/session-revoked`.
    pub event: String,
    /// The digest of its token's `jti`.
    pub jti: Sha256Digest,
    /// The stream by which it came.
    pub stream: SourceName,
}
