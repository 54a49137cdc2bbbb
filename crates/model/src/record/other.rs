//! The records beside decisions: facts, outcomes, refusals, issuance, administration, founding.

use serde::{Deserialize, Serialize};

use super::{ActCommitments, Commitments, HandedOn, ObservedSet, Record, Verdict};
use crate::{
    AgentName, Attestation, Binding, DecisionId, InstanceId, MandateDigest, PolicyDigest, PolicyId,
    PurposeId, RecordId, Revision, Sha256Digest, SignalRef, TaskId, Thumbprint, Timestamp,
};

/// What happened after a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// The tool answered.
    Returned,
    /// There was an answer, and nothing of it was let go: the session does not hold what it carries, or has
    /// read what it may not be told with.
    Withheld,
    /// The tool, or the way to it, said that it failed.
    Failed,
    /// The call was stopped in flight.
    Cut,
    /// The permit was not begun in time, so nothing was done.
    NotStarted,
    /// Nobody knows: the call may or may not have acted.
    Unknown,
}

/// The facts that decisions at one revision used, each member a commitment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactsRecord {
    /// Commitments to `standing` and, where a tool is called, `tool`, `server` and `tool_owner`.
    pub commitments: Commitments,
    /// Names this record.
    pub id: RecordId,
    /// Always `facts`.
    pub kind: String,
    /// The revision as of which they were read.
    pub revision: Revision,
    /// When.
    pub time: Timestamp,
    /// The version of the format.
    pub v: u32,
}

/// Closes a decision record that permitted a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutcomeRecord {
    /// The agent that acted.
    pub agent: AgentName,
    /// The commitments of the decision that name people: `sponsor` and, if there is one, `subject`.
    pub commitments: ActCommitments,
    /// The decision that this closes.
    pub decision: DecisionId,
    /// Milliseconds from the decision to the outcome.
    pub duration_ms: u64,
    /// Whether what the permit took of limits and budgets was given back: it is sure that nothing happened.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub given_back: bool,
    /// Names this record.
    pub id: RecordId,
    /// The instance that acted.
    pub instance: InstanceId,
    /// Always `outcome`.
    pub kind: String,
    /// The mandate behind the task. Earlier builds did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mandate: Option<MandateDigest>,
    /// What happened.
    pub outcome: OutcomeKind,
    /// What for.
    pub purpose: PurposeId,
    /// The digest of the bytes that came back, if any did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Sha256Digest>,
    /// The task.
    pub task: TaskId,
    /// When.
    pub time: Timestamp,
    /// The version of the format.
    pub v: u32,
}

/// A request that was refused before anything could be decided. It has no arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusalRecord {
    /// The agent, where the caller was authenticated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentName>,
    /// Why, as a stable code.
    pub cause: String,
    /// How many refusals of this cause the record stands for.
    pub count: u64,
    /// Names this record.
    pub id: RecordId,
    /// The instance, where the caller was authenticated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// Always `refusal`.
    pub kind: String,
    /// The mandate that the caller's token names, where the caller was authenticated. Earlier builds did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mandate: Option<MandateDigest>,
    /// Where it was refused.
    pub point: String,
    /// When.
    pub time: Timestamp,
    /// The version of the format.
    pub v: u32,
}

/// A token that was minted under a permit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuanceRecord {
    /// The agent.
    pub agent: AgentName,
    /// Who vouched for the instance.
    pub attestation: Attestation,
    /// The one service that the token is for.
    pub audience: String,
    /// How the token is bound.
    pub binding: Binding,
    /// Commitments to `sponsor`, to `source` (from where it was asked for) and, if there is one, to
    /// `subject`.
    pub commitments: ActCommitments,
    /// The decision that permitted it.
    pub decision: DecisionId,
    /// Who handed the work on, the nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delegators: Vec<HandedOn>,
    /// When the token ends.
    pub expires: Timestamp,
    /// Names this record.
    pub id: RecordId,
    /// The instance to which it is bound.
    pub instance: InstanceId,
    /// The digest of the token's `jti`.
    pub jti: Sha256Digest,
    /// The thumbprint of the key to which it is bound; none for a bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Thumbprint>,
    /// Always `issuance`.
    pub kind: String,
    /// The mandate behind the task. Earlier builds did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mandate: Option<MandateDigest>,
    /// What for.
    pub purpose: PurposeId,
    /// The task.
    pub task: TaskId,
    /// When.
    pub time: Timestamp,
    /// The version of the format.
    pub v: u32,
}

/// An act of administration, decided and, if permitted, done in the same transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdministrationRecord {
    /// The act (`agent/add`).
    pub action: String,
    /// Commitments to `administrator`, `change` and `target`.
    pub commitments: Commitments,
    /// Permit or deny.
    pub decision: Verdict,
    /// Names this decision.
    pub id: DecisionId,
    /// Always `administration`.
    pub kind: String,
    /// What the set under observation would have answered, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_set: Option<ObservedSet>,
    /// The policies that determined the answer.
    pub policies: Vec<PolicyId>,
    /// The policy set in force.
    pub policy: PolicyDigest,
    /// Why, as a stable code.
    pub reason: String,
    /// The revision as of which the facts were read.
    pub revision: Revision,
    /// By which signal, if one told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<SignalRef>,
    /// When.
    pub time: Timestamp,
    /// The version of the format.
    pub v: u32,
}

/// Something that was seen of an instance: for which it was stopped, attested anew, or put at risk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalRecord {
    /// The agent.
    pub agent: AgentName,
    /// Commitments to `sponsor` and to what was seen: of a copied key `first` and `second`, the two
    /// sources; of a workload that changed, what its platform said before and says now; of a departure, what it
    /// follows from and until when it counts.
    pub commitments: ActCommitments,
    /// Names this record.
    pub id: RecordId,
    /// The instance.
    pub instance: InstanceId,
    /// Always `signal`.
    pub kind: String,
    /// The mandate behind the instance's task, where that could be read. Earlier builds did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mandate: Option<MandateDigest>,
    /// What was seen, as a stable code.
    pub signal: String,
    /// In which state it is since: `quarantined`, `attested`, or `at_risk`.
    pub state: String,
    /// When.
    pub time: Timestamp,
    /// The version of the format.
    pub v: u32,
}

/// Something that the service itself found or did: a start, an alarm, a drill, a policy reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemRecord {
    /// Details, in clear: nothing personal.
    pub details: std::collections::BTreeMap<String, String>,
    /// What, as a stable code.
    pub event: String,
    /// Names this record.
    pub id: RecordId,
    /// Always `system`.
    pub kind: String,
    /// When.
    pub time: Timestamp,
    /// The version of the format.
    pub v: u32,
}

/// A founder, without a name: a key, or a commitment to issuer and subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FounderMark {
    /// A commitment to the founder's person id.
    pub founder: crate::Commitment,
    /// The thumbprint of the founder's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Thumbprint>,
}

/// Leaf 0: how the deployment began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FoundingRecord {
    /// The digest of the configuration at founding.
    pub configuration: Sha256Digest,
    /// Whether this is a development log, which is never promoted.
    pub development: bool,
    /// Who founded it.
    pub founders: Vec<FounderMark>,
    /// Names this record.
    pub id: RecordId,
    /// The thumbprints of the service's keys, by use.
    pub keys: std::collections::BTreeMap<String, Thumbprint>,
    /// Always `founding`.
    pub kind: String,
    /// The log's origin.
    pub origin: String,
    /// The first policy set.
    pub policy: PolicyDigest,
    /// When.
    pub time: Timestamp,
    /// The version of the format.
    pub v: u32,
}

impl Record for FactsRecord {}
impl Record for OutcomeRecord {}
impl Record for RefusalRecord {}
impl Record for IssuanceRecord {}
impl Record for AdministrationRecord {}
impl Record for SignalRecord {}
impl Record for SystemRecord {}
impl Record for FoundingRecord {}
