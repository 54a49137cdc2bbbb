//! Stops: what an administrator has stopped at once, until two of them start it again.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{AgentName, InvalidName, PersonId, Thumbprint, Timestamp, ToolRef};

/// How long an administrator's wish to start something again waits for another one's.
pub const WISH_LIFETIME: Duration = Duration::from_mins(15);

const STOP_RULE: &str = "`all`, `tool/SERVER/TOOL` or `agent/NAME`";

/// What can be stopped, written `all`, `tool/SERVER/TOOL` or `agent/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopTarget {
    /// Whatever any instance does.
    All,
    /// Calls of one tool.
    Tool(ToolRef),
    /// Whatever instances of one agent do, and all to whom they handed work on.
    Agent(AgentName),
}

impl fmt::Display for StopTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Tool(tool) => write!(f, "tool/{tool}"),
            Self::Agent(agent) => write!(f, "agent/{agent}"),
        }
    }
}

impl FromStr for StopTarget {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match text.split_once('/') {
            Some(("tool", tool)) => Ok(Self::Tool(tool.parse()?)),
            Some(("agent", agent)) => Ok(Self::Agent(agent.parse()?)),
            None if text == "all" => Ok(Self::All),
            _ => Err(InvalidName::new(text, "what can be stopped", STOP_RULE)),
        }
    }
}

impl Serialize for StopTarget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StopTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::spelt::read(deserializer)
    }
}

/// That something is stopped: while this stands, it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// What.
    pub what: StopTarget,
    /// Who stopped it.
    pub by: PersonId,
    /// Why, in a few words.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// That somebody wants it started again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wish: Option<StartWish>,
}

/// That an administrator wants to start something again, for which it takes another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartWish {
    /// Who.
    pub by: PersonId,
    /// The key by which they were known, if by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Thumbprint>,
    /// Why, in a few words.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

impl StartWish {
    /// Whether it still waits at `now`.
    pub fn waits(&self, now: Timestamp) -> bool {
        now < self.at.plus(WISH_LIFETIME)
    }
}

/// What is stopped, of all that an act may need.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stops(pub BTreeSet<StopTarget>);
