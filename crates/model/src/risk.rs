//! Risk: what somebody who watches says of an instance, an agent or a person, for policy to read.

use std::collections::{BTreeMap, BTreeSet};
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

/// What those who tell of a directory's people say of the risk of one of these, or of an agent or an instance for
/// which these answer. Each answers for what it said, and takes back nothing that another did: the greatest counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Kept")]
pub struct Rated(BTreeMap<Speaker, Said>);

/// What one of them said last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    /// The level; none, once it was lowered to nothing. When it was said stays until something later is: whatever is
    /// older, and is delivered only then, does not count anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    level: Option<RiskLevel>,
    /// Since when, by the clock of who said it.
    since: Timestamp,
}

/// How it is kept, and how it was.
#[derive(Deserialize)]
#[serde(untagged)]
enum Kept {
    /// Of people: the greatest, and what each said, which was not kept at first.
    Greatest {
        level: RiskLevel,
        since: Timestamp,
        #[serde(default)]
        by: BTreeMap<Speaker, Said>,
    },
    /// What each said.
    Each(BTreeMap<Speaker, Said>),
}

impl From<Kept> for Rated {
    fn from(kept: Kept) -> Self {
        match kept {
            Kept::Greatest { level, since, by } if by.is_empty() => {
                Self([(Speaker::unknown(), Said { level: Some(level), since })].into())
            }
            Kept::Greatest { by, .. } | Kept::Each(by) => Self(by),
        }
    }
}

impl Rated {
    /// Nobody says anything.
    pub const fn by_nobody() -> Self {
        Self(BTreeMap::new())
    }

    /// Whether nobody ever said anything.
    pub fn is_by_nobody(&self) -> bool {
        self.0.is_empty()
    }

    /// What `speaker` says. Whoever it was of whom that is not known, it is whoever is asked for.
    pub fn by(&self, speaker: &Speaker) -> Option<Risk> {
        let Said { level, since } = self.last(speaker)?;
        level.map(|level| Risk { level, since: *since })
    }

    /// Whether `speaker` said something later than `risk`, or something greater of what may have been at once.
    pub fn has_later(&self, speaker: &Speaker, risk: &Risk) -> bool {
        let last = self.last(speaker);
        last.is_some_and(|last| (last.since, last.level) > (risk.since, Some(risk.level)))
    }

    /// The greatest of what is said, here as `own`, and by all of them.
    pub(crate) fn level_beside(&self, own: Option<&Risk>) -> Option<RiskLevel> {
        own.map(|risk| risk.level).max(self.level())
    }

    /// That `speaker` says `risk`, or that it never said anything.
    pub fn say(&mut self, speaker: &Speaker, risk: Option<Risk>) {
        // Of whom it is not known who they were, whoever says something next speaks for them.
        self.0.remove(&Speaker::unknown());
        self.0.remove(speaker);
        let said = risk.map(|Risk { level, since }| Said { level: Some(level), since });
        self.0.extend(said.map(|said| (speaker.clone(), said)));
    }

    /// Lowers to `level` whatever is greater; says whether anything was. Since when each said so stays: by its clock,
    /// what it says next is later than that, and may be earlier than now.
    pub fn lower(&mut self, level: Option<RiskLevel>) -> bool {
        let mut is_lower = false;
        for said in self.0.values_mut().filter(|said| said.level > level) {
            said.level = level;
            is_lower = true;
        }
        is_lower
    }

    /// What of `is`, which it becomes, lowers nothing that any of them said.
    pub(crate) fn raised_to(&self, is: &Self) -> Self {
        // Of what it is not known who said it, there is no more than the greatest.
        if let Some(said) = self.0.get(&Speaker::unknown()) {
            return if said.level > is.level() { self } else { is }.clone();
        }
        let level_by = |speaker: &Speaker| is.last(speaker).and_then(|said| said.level);
        let lowered = self.0.iter().filter(|(speaker, said)| level_by(speaker) < said.level);
        let lowered = lowered.map(|(speaker, said)| (speaker.clone(), said.clone()));
        let mut raised = is.clone();
        raised.0.extend(lowered);
        raised
    }

    fn last(&self, speaker: &Speaker) -> Option<&Said> {
        self.0.get(speaker).or_else(|| self.0.get(&Speaker::unknown()))
    }

    fn level(&self) -> Option<RiskLevel> {
        self.0.values().filter_map(|said| said.level).max()
    }
}

/// All that is said of the risk of somebody, as records have it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Risks {
    /// What is said here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<Risk>,
    /// What transmitters say.
    #[serde(default, skip_serializing_if = "Rated::is_by_nobody")]
    pub rated: Rated,
    /// At which the service itself sees them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub departed: Option<RiskLevel>,
}

impl Risks {
    /// The greatest of what all say but `speakers`: people and transmitters. What our own detector sees is said by
    /// nobody, and ends without a word.
    pub fn level_without(&self, speakers: &BTreeSet<Speaker>) -> Option<RiskLevel> {
        let others = self.rated.0.iter().filter(|(speaker, _)| !speakers.contains(*speaker));
        let others = others.filter_map(|(_, said)| said.level).max();
        self.risk.as_ref().map(|risk| risk.level).max(others)
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
        crate::spelt::read(deserializer)
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

    fn ann() -> Person {
        Person::new("ann".parse().expect("a person"), [].into())
    }

    fn rated(said: &[(&str, Risk)]) -> Rated {
        let mut rated = Rated::default();
        for (name, risk) in said {
            rated.say(&speaker(name), Some(risk.clone()));
        }
        rated
    }

    /// Of what one says, the later counts, and of the same time the greater.
    #[test]
    fn what_was_said_stands_against_what_is_older() {
        let check = |known: Risk, other: Risk, expected: bool| {
            let known = rated(&[("one", known)]);
            assert_eq!(known.has_later(&speaker("one"), &other), expected, "{known:?} {other:?}");
            assert!(!known.has_later(&speaker("two"), &other), "that is another one's");
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
        let both = ann().with_rating(&one, Some(risk(High, 1)));
        let both = both.with_rating(&two, Some(risk(Medium, 2)));
        assert_eq!((both.risk_level(), both.rated.by(&two)), (Some(High), Some(risk(Medium, 2))));
        let lower = both.clone().with_rating(&one, Some(risk(Low, 3)));
        assert_eq!(lower.risk_level(), Some(Medium));
        assert_eq!(both.clone().with_rating(&two, None).risk_level(), Some(High));
        assert_eq!(ann().with_rating(&two, None), ann());
        for (to, expected) in [
            (Some(High), (false, [Some(High), Some(Medium)])),
            (Some(Medium), (true, [Some(Medium), Some(Medium)])),
            (Some(Low), (true, [Some(Low), Some(Low)])),
            (None, (true, [None, None])),
        ] {
            let mut lowered = both.rated.clone();
            let is_lower = lowered.lower(to);
            let said = [&one, &two].map(|it| lowered.by(it));
            let levels = said.each_ref().map(|it| it.as_ref().map(|said| said.level));
            assert_eq!((is_lower, levels), expected, "{to:?}");
            let since = said.map(|it| it.map_or(0, |said| said.since.as_millis()));
            assert!([[1, 2], [0, 0]].contains(&since), "by their clocks: {since:?}");
            assert!(!lowered.lower(to), "nothing is greater");
        }
    }

    /// What was lowered to nothing is no risk, and what was said before that is older still.
    #[test]
    fn what_was_lowered_to_nothing_is_later_than_what_was_said_before() {
        let (one, two) = (speaker("one"), speaker("two"));
        let mut said = rated(&[("one", risk(High, 2))]);
        assert!(said.lower(None));
        assert_eq!(json!(said), json!({ "stream/one": { "since": 2 } }));
        let mut read: Rated = serde_json::from_value(json!(said)).expect("it is kept so");
        assert_eq!((&read, read.by(&one), read.level()), (&said, None, None));
        let has_later = |rated: &Rated, speaker: &Speaker, at| {
            [Low, High].map(|level| rated.has_later(speaker, &risk(level, at)))
        };
        assert_eq!(has_later(&read, &one, 1), [true; 2]);
        assert_eq!(has_later(&read, &one, 2), [false; 2], "they may have been at once");
        assert_eq!(has_later(&read, &one, 3), [false; 2]);
        assert_eq!(has_later(&read, &two, 1), [false; 2], "that is another one's");
        read.say(&one, Some(risk(Low, 3)));
        assert_eq!((read.by(&one), has_later(&read, &one, 2)), (Some(risk(Low, 3)), [true; 2]));
    }

    /// What was kept before it was known who said it the next one speaks for.
    #[test]
    fn what_nobody_is_known_to_have_said_is_the_next_ones() {
        let mut kept = json!(ann());
        kept["rated"] = json!({ "level": "high", "since": 1 });
        let before: Person = serde_json::from_value(kept).expect("it was kept so");
        assert_eq!(before.risk_level(), Some(High));
        let one = speaker("one");
        assert_eq!(before.rated.by(&one), Some(risk(High, 1)));
        let lower = before.clone().with_rating(&one, Some(risk(Low, 2)));
        assert_eq!(lower.risk_level(), Some(Low));
        assert_eq!(before.restricted_to(&lower).rated, before.rated, "it lowers what was said");
        let as_great = before.clone().with_rating(&one, Some(risk(High, 2)));
        assert_eq!(before.restricted_to(&as_great).rated, as_great.rated);
        let mut lowered = before;
        assert!(lowered.rated.lower(Some(Medium)));
        assert_eq!(lowered.risk_level(), Some(Medium));
        assert!(lowered.rated.lower(None));
        assert_eq!(lowered.risk_level(), None);
    }

    /// However it was kept, of people, agents and instances, it is read, and kept in one way.
    #[test]
    fn whatever_was_kept_is_read() {
        let check = |kept: serde_json::Value, expected: &Rated| {
            let read: Rated = serde_json::from_value(kept.clone()).expect("it was kept so");
            assert_eq!(&read, expected, "{kept}");
            let again: Rated = serde_json::from_value(json!(read)).expect("it is kept so");
            assert_eq!(&again, expected, "{kept}");
        };
        let each = json!({
            "stream/one": { "level": "high", "since": 1 },
            "stream/two": { "level": "low", "since": 2 },
        });
        let two = rated(&[("one", risk(High, 1)), ("two", risk(Low, 2))]);
        check(json!({ "level": "high", "since": 1, "by": each }), &two);
        check(each, &two);
        let unknown = Said { level: Some(Medium), since: Timestamp::from_millis(3) };
        let unknown = Rated([(Speaker::unknown(), unknown)].into());
        check(json!({ "level": "medium", "since": 3 }), &unknown);
        check(json!({}), &Rated::default());
    }
}
