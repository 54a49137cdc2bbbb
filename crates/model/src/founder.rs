//! Founders: people who are known by a key of their own, and what it takes that somebody has one, or another one.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{PersonId, Sha256Digest, Timestamp};

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
    /// When.
    pub at: Timestamp,
    /// Since when whoever asked does it alone, if ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alone_from: Option<Timestamp>,
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

    /// Whether it takes nobody else than `by` at `now`: they are another than who asked, or it has waited long enough.
    pub fn is_agreed(&self, by: &PersonId, now: Timestamp) -> bool {
        self.by != *by || self.alone_from.is_some_and(|from| from <= now)
    }
}

/// A key by which somebody was known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FormerKey {
    /// Its public half (JWK).
    pub key: Value,
    /// Until when it was theirs.
    pub until: Timestamp,
}

/// The keys by which somebody was known, the last one last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FormerKeys(pub Vec<FormerKey>);

impl FormerKeys {
    /// Those that were theirs at `at`, or are since.
    pub fn as_of(&self, at: Timestamp) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |former| at <= former.until).map(|former| &former.key)
    }

    /// Whether what they signed at `at` and what still waits counts: no key was taken from them since.
    pub fn counts(&self, at: Timestamp) -> bool {
        self.0.last().is_none_or(|last| at > last.until)
    }
}

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
            at: at(10),
            alone_from: alone.map(at),
        };
        assert!(asked(None).is_agreed(&bob, at(10)));
        assert!(!asked(None).is_agreed(&alice, at(i64::from(u32::MAX))));
        assert!(!asked(Some(20)).is_agreed(&alice, at(19)));
        assert!(asked(Some(20)).is_agreed(&alice, at(20)));
        let waits = i64::try_from(FOUNDER_WAITS.as_secs()).expect("a few days");
        assert!(asked(None).waits(at(9 + waits)) && !asked(None).waits(at(10 + waits)));
        assert!(asked(Some(20)).waits(at(19 + waits)) && !asked(Some(20)).waits(at(20 + waits)));
    }

    #[test]
    fn what_a_former_key_signed_is_known_and_no_longer_waits() {
        let key = |name: &str, until: i64| FormerKey { key: name.into(), until: at(until) };
        let former = FormerKeys(vec![key("first", 10), key("second", 20)]);
        let check = |when: i64, expected: &[&str], counts: bool| {
            assert_eq!(former.as_of(at(when)).collect::<Vec<_>>(), expected);
            assert_eq!(former.counts(at(when)), counts);
        };
        check(10, &["first", "second"], false);
        check(11, &["second"], false);
        check(20, &["second"], false);
        check(21, &[], true);
        assert!(FormerKeys::default().counts(at(0)));
    }
}
