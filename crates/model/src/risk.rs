//! Risk: what somebody who watches says of an instance, an agent or a person, for policy to read.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{AgentName, FactKey, InstanceId, InvalidName, PersonId, Timestamp};

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
