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
    /// After how many minutes in which nothing was heard of it these people are unconfirmed; without that,
    /// nobody waits for it.
    #[serde(default)]
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

    /// After how many minutes of silence its people are unconfirmed. Whoever may not say anything is not waited for.
    pub fn waited_for(&self) -> Option<u32> {
        self.silence_min.filter(|_| self.is_active())
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

/// The newest that a directory, and each of the streams that speak for it, told of whether a person is there.
/// They are gone while the last word of any of these is that they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalMark {
    /// Who told that they are here, and since when, by their own word.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub here: BTreeMap<Speaker, Timestamp>,
    /// Who told that they left, likewise, and nothing else since.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left: BTreeMap<Speaker, Timestamp>,
    /// When one of these put that in force; not, if somebody else did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

impl SignalMark {
    /// That their directory told at `now` that they are here: nothing that was told before counts.
    pub fn back(now: Timestamp) -> Self {
        Self { here: [(Speaker::directory(), now)].into(), ..Self::default() }
    }

    /// Whether `speaker`, or the directory, told something later than that they left at `at`, by the
    /// speaker's clock; by ours that may have been as late as `late`.
    pub fn has_later(&self, speaker: &Speaker, (at, late): (Timestamp, Timestamp)) -> bool {
        let is_later = |told: Option<&Timestamp>, at| told.is_some_and(|told| *told > at);
        is_later(self.here.get(speaker), at)
            || is_later(self.here.get(&Speaker::directory()), late)
            || is_later(self.left.get(speaker), at)
    }

    /// What is known once `speaker` told that they, who were so at `now`, left `at` that time.
    #[must_use]
    pub fn gone(
        mut self,
        (speaker, at): (Speaker, Timestamp),
        (was, now): (PersonState, Timestamp),
    ) -> Self {
        self.since = match was {
            PersonState::Active { .. } => {
                self.left.clear();
                Some(now)
            }
            // Whom somebody else sent away since is gone by that one's word.
            PersonState::Inactive { since } => self.since.filter(|known| *known == since),
        };
        self.left.insert(speaker, at);
        self
    }

    /// What is known once the stream `speaker` told that they are here `at` that time, if that is new. It takes
    /// back its own word, and what the directory told before; not that of another stream.
    #[must_use]
    pub fn returned(mut self, speaker: Speaker, at: Timestamp) -> Option<Self> {
        let is_known = |told: Option<&Timestamp>| told.is_some_and(|told| *told >= at);
        if is_known(self.here.get(&speaker)) || is_known(self.left.get(&speaker)) {
            return None;
        }
        let directory = Speaker::directory();
        self.left.retain(|it, told| *it != speaker && (*it != directory || *told >= at));
        self.here.insert(speaker, at);
        Some(self)
    }

    /// Whether nobody tells any longer that who is gone `since` then is so, and nobody else sent them away.
    pub fn lets_back(&self, since: Timestamp) -> bool {
        self.left.is_empty() && self.since == Some(since)
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

    /// Somebody, of whom it was not kept who they are.
    pub(crate) fn unknown() -> Self {
        Self("unknown".to_owned())
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
