//! The decision record: who wanted what, on which facts and policy, and what was answered.

use serde::{Deserialize, Serialize};

use super::{ActCommitments, Record};
use crate::{
    AgentName, Answers, Attestation, Binding, BudgetName, DecisionId, ElevationId, Enforcement,
    Harm, InstanceId, MandateDigest, Obligation, PolicyDigest, PolicyId, PurposeId, RecordDigest,
    RecordId, Remedy, Revision, Sha256Digest, Standing, TaskId, Timestamp,
};

/// Permit or deny, as records spell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It may happen.
    Permit,
    /// It may not.
    Deny,
}

/// Which facts a decision used: the leaf that commits to them, and as of which revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactsRef {
    /// The id of the facts record, by which it is found.
    pub id: RecordId,
    /// The hash of the facts leaf.
    pub leaf: RecordDigest,
    /// The revision as of which they were read.
    pub revision: Revision,
}

/// What a policy set under observation would have answered. It is no part of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObservedSet {
    /// Permit or deny; nothing, if it came to no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Verdict>,
    /// The policies that would have determined it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PolicyId>,
    /// The set.
    pub policy: PolicyDigest,
    /// Why, as a stable code; `late` or `failed`, if it came to no answer.
    pub reason: String,
}

/// An instance that handed on a part of its task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HandedOn {
    /// Its agent.
    pub agent: AgentName,
    /// The decision that permitted it to.
    pub decision: DecisionId,
    /// The instance.
    pub instance: InstanceId,
    /// Its task.
    pub task: TaskId,
}

impl HandedOn {
    /// Who handed on the work of `standing`, the nearest first.
    pub fn all(standing: &Standing) -> Vec<Self> {
        let handed = standing.hops().map(|hop| hop.task.delegation).zip(standing.delegators.iter());
        let told = handed.filter_map(|(delegation, delegator)| {
            Some(Self {
                agent: delegator.agent.name.clone(),
                decision: delegation?.decision,
                instance: delegator.instance.id,
                task: delegator.task.id,
            })
        });
        told.collect()
    }
}

/// One decision on an act of an instance.
///
/// In clear: what an auditor needs without asking anybody. As commitments: `arguments`, `object`
/// (a resource's URI or a prompt's name), `session`, `sponsor`, `subject`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionRecord {
    /// The action asked for.
    pub action: String,
    /// The agent that the instance is an execution of.
    pub agent: AgentName,
    /// What each member of the conjunction answered.
    pub answers: Answers,
    /// Who vouched for the instance.
    pub attestation: Attestation,
    /// How its token is bound.
    pub binding: Binding,
    /// The budget that has too little left, or of which it cannot be read what the act uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetName>,
    /// Commitments to what is not in clear.
    pub commitments: ActCommitments,
    /// Permit or deny.
    pub decision: Verdict,
    /// Who handed the work on, the nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delegators: Vec<HandedOn>,
    /// The elevation on which it rests, if it is beyond the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elevation: Option<ElevationId>,
    /// Whether the tool refuses what does not come from us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<Enforcement>,
    /// The facts used.
    pub facts: FactsRef,
    /// The tool's harm classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub harm: Vec<Harm>,
    /// Names this decision.
    pub id: DecisionId,
    /// The instance that acts.
    pub instance: InstanceId,
    /// Always `decision`.
    pub kind: String,
    /// Microseconds from the request's arrival to the decision.
    pub latency_us: u64,
    /// The mandate behind the task.
    pub mandate: MandateDigest,
    /// What the enforcement point owes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub obligations: Vec<Obligation>,
    /// Policies under observation that would have changed the answer, that could not be evaluated, or that forbid what
    /// is denied as well; none, if they would make the record too large.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observed: Vec<PolicyId>,
    /// What the set under observation would have answered, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_set: Option<ObservedSet>,
    /// The pinned descriptor of the tool called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Sha256Digest>,
    /// The enforcement point and its kind.
    pub point: String,
    /// The policies that determined the answer.
    pub policies: Vec<PolicyId>,
    /// The policy set in force.
    pub policy: PolicyDigest,
    /// What for.
    pub purpose: PurposeId,
    /// Why, as a stable code.
    pub reason: String,
    /// What would lift a denial.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remedies: Vec<Remedy>,
    /// The kind of resource and, where it is not personal, which (`Tool::crm/lookup`).
    pub resource: String,
    /// The task.
    pub task: TaskId,
    /// When.
    pub time: Timestamp,
    /// The W3C trace id of the request, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// The version of the format.
    pub v: u32,
}

impl Record for DecisionRecord {}
