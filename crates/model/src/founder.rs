//! Founders: people who are known by a key of their own, and what it takes that somebody has one, or another one.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{PersonId, Sha256Digest, Thumbprint, Timestamp};

/// How long what one founder asked for waits for another, and how long the code that comes of it is good.
pub const FOUNDER_WAITS: Duration = Duration::from_hours(7 * 24);

/// How long another key waits at least where one founder alone asks for it, whatever waits how long otherwise: who
/// lost none has that time to say so.
pub const REKEY_ALONE_MIN: Duration = Duration::from_hours(24);

/// The most keys that one person had before: whoever had as many is given no other.
pub const FORMER_KEYS_MAX: usize = 32;

/// What is to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FounderChange {
    /// Somebody becomes a founder.
    Add,
    /// A founder has another key.
    Rekey,
}

impl FounderChange {
    /// The act, as policy names it.
    pub const fn action(self) -> &'static str {
        match self {
            Self::Add => "founder/add",
            Self::Rekey => "founder/rekey",
        }
    }

    /// The command, as who signs names it.
    pub const fn command(self) -> &'static str {
        match self {
            Self::Add => "founder-add",
            Self::Rekey => "founder-rekey",
        }
    }
}

/// What one founder asked for, and for which it takes another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FounderAsked {
    /// Whose key it is about.
    pub founder: PersonId,
    /// What is to change.
    pub change: FounderChange,
    /// The digest of the half of the code that whoever asked keeps.
    pub code: Sha256Digest,
    /// Why, in a few words.
    pub reason: String,
    /// Who asked.
    pub by: PersonId,
    /// The key by which they were known who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Thumbprint>,
    /// When.
    pub at: Timestamp,
    /// Since when whoever asked does it alone, if ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alone_from: Option<Timestamp>,
    /// Since when whose key it is are gone, if they are: with it, they are back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<Timestamp>,
}

impl FounderAsked {
    /// Until when it waits.
    pub fn until(&self) -> Timestamp {
        self.alone_from.unwrap_or(self.at).plus(FOUNDER_WAITS)
    }

    /// Whether it still waits at `now`.
    pub fn waits(&self, now: Timestamp) -> bool {
        now < self.until()
    }

    /// Whether it takes nobody else than `by` at `now`: they are another than who asked, or it has waited as long as
    /// it was told to, and as long as who is alone waits by what is said `now`, if they do it at all.
    pub fn is_agreed(&self, by: &PersonId, (now, alone): (Timestamp, Option<Duration>)) -> bool {
        let is_over = |from: Option<Timestamp>| from.is_some_and(|from| from <= now);
        let by_now = alone.map(|alone| self.at.plus(alone));
        self.by != *by || (is_over(self.alone_from) && is_over(by_now))
    }
}

/// The public halves (JWK) of the keys by which somebody was known, the last one last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FormerKeys(pub Vec<Value>);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    /// Two, or one who has waited; and for neither without end.
    #[test]
    fn it_takes_another_or_time() {
        let [alice, bob] = ["alice", "bob"].map(|id| id.parse::<PersonId>().expect("a person"));
        let asked = |alone: Option<i64>| FounderAsked {
            founder: "carol".parse().expect("a person"),
            change: FounderChange::Rekey,
            code: Sha256Digest::of(b"half"),
            reason: "lost".to_owned(),
            by: alice.clone(),
            key: None,
            at: at(10),
            alone_from: alone.map(at),
            gone: None,
        };
        let ten = Some(Duration::from_secs(10));
        assert!(asked(None).is_agreed(&bob, (at(10), None)));
        assert!(!asked(None).is_agreed(&alice, (at(i64::from(u32::MAX)), ten)));
        assert!(!asked(Some(20)).is_agreed(&alice, (at(19), ten)));
        assert!(asked(Some(20)).is_agreed(&alice, (at(20), ten)));
        // What is said since counts too, if it is longer, and neither if there is no such time any more.
        assert!(!asked(Some(15)).is_agreed(&alice, (at(19), ten)));
        assert!(!asked(Some(20)).is_agreed(&alice, (at(20), None)));
        let waits = i64::try_from(FOUNDER_WAITS.as_secs()).expect("a few days");
        assert!(asked(None).waits(at(9 + waits)) && !asked(None).waits(at(10 + waits)));
        assert!(asked(Some(20)).waits(at(19 + waits)) && !asked(Some(20)).waits(at(20 + waits)));
    }
}
