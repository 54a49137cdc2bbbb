//! Risk: what somebody who watches says of an instance, an agent or a person, for policy to read.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{AgentName, FactKey, InstanceId, InvalidName, PersonId, Speaker, Timestamp};

const TARGET_RULE: &str = "`agent/NAME`, `instance/ID` or `person/NAME`";

/// How likely somebody does not act as they should (CAEP 1.0 §3.8, `current_level`).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RiskLevel {
    /// Looked at, and as it should be.
    Low,
    /// Something is unusual.
    Medium,
    /// Something is wrong.
    High,
}

impl RiskLevel {
    /// Every level, in order.
    pub const ALL: [Self; 3] = [Self::Low, Self::Medium, Self::High];

    /// The level as policies and records spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// What was said last. Why is in the record of it, where it can be erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Risk {
    /// The level.
    pub level: RiskLevel,
    /// Since when.
    pub since: Timestamp,
}

impl Risk {
    /// Whether it stands against `other`, which the same one says: it was said later, or is greater, of two that may
    /// have been at once.
    pub fn holds_against(&self, other: &Self) -> bool {
        (self.since, self.level) > (other.since, other.level)
    }
}

/// How those who tell of a directory's people rate one of them. Each answers for what it said, and takes back
/// nothing that another did: the greatest counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rated {
    /// The greatest level.
    pub level: RiskLevel,
    /// Since when.
    pub since: Timestamp,
    /// What each of them said last. Nothing, where that was not kept yet: then the next one speaks for them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) by: BTreeMap<Speaker, Risk>,
}

impl Rated {
    /// What `by` says comes to.
    fn of(by: BTreeMap<Speaker, Risk>) -> Option<Self> {
        let Risk { level, since } = by.values().max_by_key(|said| (said.level, said.since))?;
        Some(Self { level: *level, since: *since, by })
    }

    /// What `speaker` says.
    pub(crate) fn by(&self, speaker: &Speaker) -> Option<Risk> {
        let Self { level, since, by } = self;
        let unknown = by.is_empty().then_some(Risk { level: *level, since: *since });
        by.get(speaker).cloned().or(unknown)
    }

    /// What it comes to once `speaker` says `risk`.
    pub(crate) fn said(known: Option<Self>, speaker: &Speaker, risk: Option<Risk>) -> Option<Self> {
        let mut by = known.map(|known| known.by).unwrap_or_default();
        by.remove(speaker);
        by.extend(risk.map(|risk| (speaker.clone(), risk)));
        Self::of(by)
    }

    /// The same, in which the level of `risk` stands instead of whatever is greater. Since when each said so stays: by
    /// its clock, what it says next is later than that, and may be earlier than now.
    pub(crate) fn lowered(self, risk: Option<&Risk>) -> Option<Self> {
        let lowered = |said: Risk| {
            let is_greater = Some(said.level) > risk.map(|risk| risk.level);
            if is_greater {
                Some(Risk { level: risk?.level, since: said.since })
            } else {
                Some(said)
            }
        };
        let Self { level, since, by } = self;
        if by.is_empty() {
            let said = lowered(Risk { level, since })?;
            return Some(Self { level: said.level, since: said.since, by });
        }
        Self::of(by.into_iter().filter_map(|(it, said)| Some((it, lowered(said)?))).collect())
    }
}

/// Of what it is said, written `agent/NAME`, `instance/ID` or `person/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RiskTarget {
    /// All instances of an agent, and all to whom they handed work on.
    Agent(AgentName),
    /// One instance, and all to whom it handed work on.
    Instance(InstanceId),
    /// Whatever is done on a person's behalf, and by agents that they sponsor.
    Person(PersonId),
}

impl RiskTarget {
    /// The fact that holds it.
    pub fn key(&self) -> FactKey {
        match self {
            Self::Agent(name) => FactKey::agent(name),
            Self::Instance(id) => FactKey::instance(*id),
            Self::Person(id) => FactKey::person(id),
        }
    }
}

impl fmt::Display for RiskTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(name) => write!(f, "agent/{name}"),
            Self::Instance(id) => write!(f, "instance/{id}"),
            Self::Person(id) => write!(f, "person/{id}"),
        }
    }
}

impl FromStr for RiskTarget {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let unknown = || InvalidName::new(text, "of what a risk is said", TARGET_RULE);
        match text.split_once('/').ok_or_else(unknown)? {
            ("agent", name) => Ok(Self::Agent(name.parse()?)),
            ("instance", id) => id.parse().map(Self::Instance).map_err(|_| unknown()),
            ("person", id) => Ok(Self::Person(id.parse()?)),
            _ => Err(unknown()),
        }
    }
}

impl Serialize for RiskTarget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RiskTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Person;
    use RiskLevel::{High, Low, Medium};

    fn risk(level: RiskLevel, since: i64) -> Risk {
        Risk { level, since: Timestamp::from_millis(since) }
    }

    fn speaker(name: &str) -> Speaker {
        Speaker::stream(&name.parse().expect("a source"))
    }

    fn ann(rated: Option<Rated>) -> Person {
        Person { rated, ..Person::new("ann".parse().expect("a person"), [].into()) }
    }

    /// Of what one says, the later counts, and of the same time the greater.
    #[test]
    fn what_was_said_stands_against_what_is_older() {
        let check = |known: Risk, other: Risk, expected: bool| {
            assert_eq!(known.holds_against(&other), expected, "{known:?} {other:?}");
        };
        check(risk(Low, 2), risk(High, 1), true);
        check(risk(High, 1), risk(Low, 1), true);
        check(risk(High, 1), risk(High, 1), false);
        check(risk(Low, 1), risk(High, 1), false);
        check(risk(High, 1), risk(Low, 2), false);
    }

    /// The greatest of all that are said counts; each is taken back by who said it, or lowered with the rest.
    #[test]
    fn of_what_several_say_the_greatest_counts() {
        let (one, two) = (speaker("one"), speaker("two"));
        let both = ann(None).with_rating(&one, Some(risk(High, 1)));
        let both = both.with_rating(&two, Some(risk(Medium, 2)));
        let level = |person: &Person| person.rated.as_ref().map(|rated| rated.level);
        assert_eq!((level(&both), both.rated_by(&two)), (Some(High), Some(risk(Medium, 2))));
        let lower = both.clone().with_rating(&one, Some(risk(Low, 3)));
        assert_eq!((level(&lower), lower.risk_level()), (Some(Medium), Some(Medium)));
        assert_eq!(level(&both.clone().with_rating(&two, None)), Some(High));
        assert_eq!(ann(None).with_rating(&two, None).rated, None);
        for (to, expected) in [
            (Some(High), (false, [Some(High), Some(Medium)])),
            (Some(Medium), (true, [Some(Medium), Some(Medium)])),
            (Some(Low), (true, [Some(Low), Some(Low)])),
            (None, (true, [None, None])),
        ] {
            let mut lowered = both.clone();
            let is_lower = lowered.lower_ratings(to.map(|to| risk(to, 4)).as_ref());
            let said = [&one, &two].map(|it| lowered.rated_by(it));
            let levels = said.each_ref().map(|it| it.as_ref().map(|said| said.level));
            assert_eq!((is_lower, levels), expected, "{to:?}");
            let since = said.map(|it| it.map_or(0, |said| said.since.as_millis()));
            assert!([[1, 2], [0, 0]].contains(&since), "by their clocks: {since:?}");
        }
    }

    /// What was kept before it was known who said it the next one speaks for.
    #[test]
    fn what_nobody_is_known_to_have_said_is_the_next_ones() {
        let kept = json!({ "level": "high", "since": 1 });
        let before = ann(serde_json::from_value(kept.clone()).expect("it was kept so"));
        assert_eq!(json!(before.rated), kept);
        let one = speaker("one");
        assert_eq!(before.rated_by(&one), Some(risk(High, 1)));
        let lower = before.clone().with_rating(&one, Some(risk(Low, 2)));
        assert_eq!(lower.rated.map(|rated| rated.level), Some(Low));
        let mut lowered = before;
        assert!(lowered.lower_ratings(Some(&risk(Medium, 2))));
        assert_eq!(lowered.risk_level(), Some(Medium));
        assert!(lowered.lower_ratings(None) && lowered.rated.is_none());
    }
}
