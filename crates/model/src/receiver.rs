//! Receivers of shared signals: who is told, by us, when instances and agents stop (SSF 1.0).

use std::collections::BTreeSet;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AgentName, DirectoryState, SourceName, Timestamp};

/// A registered receiver. It is told of the agents that an administrator named, and of nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receiver {
    /// Its name.
    pub name: SourceName,
    /// Who it is: `aud` of all tokens for it.
    pub audience: String,
    /// Of whom it is told.
    pub covers: Covers,
    /// The issuer of the streams by which it tells us: what came by these alone it is not told back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The host to which it may have signals pushed; without one it polls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push_host: Option<String>,
    /// By which algorithm what it is told is signed.
    #[serde(default, skip_serializing_if = "EventAlgorithm::is_default")]
    pub algorithm: EventAlgorithm,
    /// The key by which it gets tokens for itself; without one, it has those that an administrator gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<ReceiverKey>,
    /// When it was registered.
    pub registered: Timestamp,
    /// Whether it is told anything.
    pub state: DirectoryState,
}

impl Receiver {
    /// Whether it counts.
    pub const fn is_active(&self) -> bool {
        matches!(self.state, DirectoryState::Active)
    }
}

/// The key of a receiver, by which the token service knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceiverKey {
    /// Its public half (JWK).
    pub jwk: serde_json::Value,
    /// When it stops counting, in milliseconds since the epoch.
    #[schemars(with = "i64")]
    pub expires: Timestamp,
    /// Whether tokens that are got by it read only.
    pub read_only: bool,
}

/// By which algorithm events are signed (JOSE names).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EventAlgorithm {
    /// By the key that signs tokens.
    #[default]
    #[serde(rename = "ES256")]
    Es256,
    /// By an RSA key that signs nothing else, as the CAEP interoperability profile wants it.
    #[serde(rename = "RS256")]
    Rs256,
}

impl EventAlgorithm {
    /// Whether it is what nobody has to ask for.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl FromStr for EventAlgorithm {
    type Err = UnknownEventAlgorithm;

    fn from_str(text: &str) -> Result<Self, UnknownEventAlgorithm> {
        match text {
            "ES256" => Ok(Self::Es256),
            "RS256" => Ok(Self::Rs256),
            _ => Err(UnknownEventAlgorithm),
        }
    }
}

/// Events are not signed by such an algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("events are signed by ES256 or RS256")]
pub struct UnknownEventAlgorithm;

/// Of which agents, and of whose instances, a receiver is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Covers {
    /// Of all that there are and will be.
    All,
    /// Of these: of none, unless somebody named one.
    These(#[schemars(with = "BTreeSet<String>")] BTreeSet<AgentName>),
}

impl Covers {
    /// Whether `agent` is one of them.
    pub fn has(&self, agent: &AgentName) -> bool {
        match self {
            Self::All => true,
            Self::These(agents) => agents.contains(agent),
        }
    }
}

/// The stream of a receiver, as it asked for it (SSF 1.0 §8.1.1). It has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiverStream {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub receiver: SourceName,
    /// How signals reach it.
    pub delivery: Delivery,
    /// The events that it asked for, by their URIs.
    pub requested: BTreeSet<String>,
    /// What it says of the stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Since when there is one.
    pub created: Timestamp,
    /// Whether it is told anything.
    pub status: TellingStatus,
    /// Since when that is so.
    pub since: Timestamp,
    /// Why not, or why again, in a few words of whoever said so last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How signals reach a receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
pub enum Delivery {
    /// It asks for them (RFC 8936).
    Poll,
    /// They are pushed to it (RFC 8935). What shows it who pushes is kept sealed, elsewhere.
    Push {
        /// Where.
        url: String,
    },
}

/// Whether a stream of ours tells anything (SSF 1.0 §8.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TellingStatus {
    /// It does.
    Enabled,
    /// What it would tell is kept until it does again.
    Paused,
    /// It does not, and nothing is kept.
    Disabled,
}

/// How far a stream has told what the log holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telling {
    /// The stream.
    pub stream: String,
    /// What comes next.
    pub next: LogPlace,
    /// What is signed and not acknowledged yet, the oldest first.
    pub waiting: Vec<Waiting>,
    /// When its receiver last took something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<Timestamp>,
    /// When its receiver last asked that it be verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Timestamp>,
}

/// A place in the log: a record, and how far what it means was told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogPlace {
    /// The record.
    pub index: u64,
    /// The last agent of which it was told what the record means, if that was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<AgentName>,
}

impl LogPlace {
    /// The beginning of a record.
    pub const fn at(index: u64) -> Self {
        Self { index, after: None }
    }
}

/// A signal that is signed and not acknowledged yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiting {
    /// Its id.
    pub jti: String,
    /// The token, the same each time that it is delivered while its key signs.
    pub set: String,
    /// By which key, and when, it was signed.
    pub signed: (String, Timestamp),
    /// Since when it waits.
    pub since: Timestamp,
    /// Since when its receiver takes others and not it, if that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed: Option<Timestamp>,
    /// What it tells; none, if that is of the stream itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Recorded>,
}

/// Of which agent a signal tells, by which record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// The agent, or that of the instance.
    pub agent: AgentName,
    /// The record.
    pub record: String,
}
