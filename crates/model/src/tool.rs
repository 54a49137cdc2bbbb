//! Servers and tools: what can be called, what harm it can do, and who answers for it.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    AgentName, DataCategory, EnvironmentName, Objects, Person, PersonId, PinDigest, RegionName,
    ServerName, Sha256Digest, Timestamp, ToolRef,
};

/// What a tool can do to the world. A tool with any class but the first is *consequential*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Harm {
    /// Reads data.
    ReadsData,
    /// Sends data where others can read it.
    ExposesData,
    /// Moves money, or binds somebody to pay.
    MovesMoney,
    /// Changes production state.
    ChangesProduction,
    /// Runs code.
    RunsCode,
}

impl Harm {
    /// Every class, in order.
    pub const ALL: [Self; 5] = [
        Self::ReadsData,
        Self::ExposesData,
        Self::MovesMoney,
        Self::ChangesProduction,
        Self::RunsCode,
    ];

    /// The class that policies and records spell so, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == name)
    }

    /// The class as policies and records spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadsData => "reads-data",
            Self::ExposesData => "exposes-data",
            Self::MovesMoney => "moves-money",
            Self::ChangesProduction => "changes-production",
            Self::RunsCode => "runs-code",
        }
    }
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether the tool itself refuses what does not come from us. Stands in every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enforcement {
    /// The tool refuses calls without our assertion.
    Mandatory,
    /// The tool can be called around us.
    Bypassable,
    /// The enforcement point runs inside the agent's own process.
    Cooperative,
}

impl Enforcement {
    /// The value as policies and records spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mandatory => "mandatory",
            Self::Bypassable => "bypassable",
            Self::Cooperative => "cooperative",
        }
    }
}

/// An upstream MCP server as somebody onboarded it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Its name in the configuration and in every action.
    pub name: ServerName,
    /// What was found when it was asked to refuse us.
    pub enforcement: Enforcement,
    /// Where it is served from: its URL, or the digest of its executable.
    pub origin: String,
    /// When it was onboarded.
    pub added: Timestamp,
    /// The account of ours with which it is called instead of our assertion, by the digest of its
    /// credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Sha256Digest>,
    /// The agents that have called with that account, here or at another server: kept with the
    /// account, for all of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub callers: BTreeSet<AgentName>,
    /// Where it acts, as whoever onboarded it said.
    #[serde(default, skip_serializing_if = "Place::is_unsaid")]
    pub place: Place,
}

/// Where a server acts; policies see `none` for what was not said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// In which environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
    /// In which region it keeps data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<RegionName>,
}

impl Place {
    /// Whether nothing was said.
    pub const fn is_unsaid(&self) -> bool {
        self.environment.is_none() && self.region.is_none()
    }
}

impl Server {
    /// Whose the account is with which `agent` calls, as policies spell it: `none` where there is
    /// none, `own` as long as nobody else has called with it, else `shared`.
    pub fn account_of(&self, agent: Option<&AgentName>) -> &'static str {
        let is_other = |caller: &AgentName| Some(caller) != agent;
        match self.account {
            None => "none",
            Some(_) if self.callers.iter().any(is_other) => "shared",
            Some(_) => "own",
        }
    }
}

/// A tool with the descriptor that somebody pinned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// Server and name.
    pub tool: ToolRef,
    /// The digest of descriptor and origin that was approved.
    pub pin: PinDigest,
    /// The descriptor itself, as the server listed it: what is shown to agents.
    pub descriptor: serde_json::Value,
    /// Who answers for exposing the tool; without one it is not callable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<PersonId>,
    /// When it was said that they do: an owner who came back since answers for it no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owned: Option<Timestamp>,
    /// What it can do; without a class it is not callable.
    #[serde(default)]
    pub harm: BTreeSet<Harm>,
    /// Where its arguments name the data objects that it is used on (JSON pointers): none, where it is used on none.
    /// Nothing, where nobody said so: then it may be used on any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<BTreeSet<String>>,
    /// The categories of data that it touches, as far as anybody said.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub data: BTreeSet<DataCategory>,
    /// Whether it may be called on behalf of a person only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub requires_subject: bool,
    /// Whether only the holder of a root task may call it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_delegable: bool,
    /// Whether the server still lists what was pinned.
    pub state: ToolState,
}

/// Whether a pinned tool is still what was pinned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum ToolState {
    /// The server lists exactly what was approved.
    Pinned,
    /// The server lists something else: not callable until somebody pins it again.
    Changed {
        /// What the server lists now.
        descriptor: serde_json::Value,
        /// When that was seen.
        seen: Timestamp,
    },
    /// The server no longer lists it.
    Gone {
        /// When that was seen.
        seen: Timestamp,
    },
}

impl Tool {
    /// Says at `now` that `owner` answers for exposing the tool.
    pub fn give_to(&mut self, owner: PersonId, now: Timestamp) {
        (self.owner, self.owned) = (Some(owner), Some(now));
    }

    /// Whether `person` is the owner, and still answers for the tool.
    pub fn is_answered_for_by(&self, person: &Person) -> bool {
        // Of what was said before it was kept when, nobody knows that it was after anything.
        let owned = self.owned.unwrap_or(Timestamp::from_millis(0));
        self.owner.as_ref() == Some(&person.id) && person.answers_for(owned)
    }

    /// The data objects that a call with these arguments is used on.
    pub fn objects_of(&self, input: &serde_json::Value) -> Objects {
        let pointers = self.objects.as_ref();
        pointers.map_or(Objects::Any, |pointers| Objects::named(pointers, input))
    }

    /// Whether the tool can do more than read.
    pub fn is_consequential(&self) -> bool {
        self.harm.iter().any(|class| *class != Harm::ReadsData)
    }

    /// Whether the descriptor that was approved is still the one served.
    pub const fn is_pinned(&self) -> bool {
        matches!(self.state, ToolState::Pinned)
    }
}
