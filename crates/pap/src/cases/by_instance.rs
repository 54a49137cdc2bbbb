//! What a case asks for an instance, and in which circumstances.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    AgentName, Amount, Attestation, Binding, BudgetName, DataCategory, Decision, Denial,
    Enforcement, EnvironmentName, GroupName, Label, ObjectPattern, Person, PersonId, PersonState,
    Provenance, PurposeId, RegionName, RiskLevel, ServerName, Spend, Timestamp, ToolRef, UnitName,
};
use pdp::{LABELS_FILE, Snapshot};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{NOW, Tools, point_in_time, then};

/// What an instance asks for, and in which circumstances.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a member of a case by itself")]
pub(super) struct ByInstance {
    /// A call of a tool, or else
    pub(super) call: Option<Call>,
    /// a method.
    pub(super) method: Option<Method>,
    #[serde(default = "some_agent")]
    pub(super) agent: AgentName,
    #[serde(default = "some_purpose")]
    pub(super) purpose: PurposeId,
    /// What data that is for.
    #[serde(default)]
    pub(super) ends: Ends,
    /// On whose behalf it is, if it is on anybody's.
    pub(super) subject: Option<Somebody>,
    /// Who vouches for the instance.
    #[serde(default = "user")]
    pub(super) attestation: Attestation,
    /// How its token is bound.
    #[serde(default = "dpop")]
    pub(super) binding: Binding,
    /// Whether who tells of its sponsor has been silent for too long.
    #[serde(default)]
    pub(super) unconfirmed: bool,
    /// What is said of the instance.
    pub(super) risk: Option<RiskLevel>,
    /// When it is asked; 2026-01-01T00:00:00Z, a Thursday, if it is left out.
    #[serde(default = "then", deserialize_with = "point_in_time")]
    pub(super) now: Timestamp,
    /// In which environment the server acts.
    pub(super) environment: Option<EnvironmentName>,
    /// In which region it keeps data.
    pub(super) region: Option<RegionName>,
    /// Whether the server refuses what does not come from us.
    #[serde(default = "mandatory")]
    pub(super) enforcement: Enforcement,
    /// Whether other agents have called it with the same account.
    #[serde(default)]
    pub(super) shared_account: bool,
    /// Whether a workload behind it was entered as an instance of another agent, too.
    #[serde(default)]
    pub(super) shared_workload: bool,
    /// How often the work was handed on.
    #[serde(default)]
    pub(super) depth: u8,
    /// How many calls of the task were permitted before.
    #[serde(default)]
    pub(super) calls: i64,
    /// What was read before, by the labels that it left.
    #[serde(default)]
    pub(super) labels: BTreeSet<Label>,
    /// The tools that were called before.
    #[serde(default)]
    pub(super) used_tools: BTreeSet<ToolRef>,
    /// How often tools were called before.
    #[serde(default)]
    pub(super) counters: BTreeMap<ToolRef, u32>,
    /// Where the arguments of the call come from; of those that are left out nobody knows.
    #[serde(default)]
    pub(super) provenance: Provenance,
    /// How much was used up of budgets before.
    #[serde(default)]
    pub(super) used: BTreeMap<BudgetName, Amount>,
    /// How long ago the token was issued that is shown, in seconds.
    #[serde(default)]
    pub(super) token_age_s: u64,
    /// Whether that was used before for such a call.
    #[serde(default)]
    pub(super) token_used: bool,
}

fn some_agent() -> AgentName {
    "agent".parse().expect("it is a name")
}

fn some_purpose() -> PurposeId {
    "purpose".parse().expect("it is a name")
}

const fn user() -> Attestation {
    Attestation::User
}

const fn mandatory() -> Enforcement {
    Enforcement::Mandatory
}

const fn dpop() -> Binding {
    Binding::Dpop
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Call {
    pub(super) tool: ToolRef,
    #[serde(default = "no_arguments")]
    pub(super) input: Value,
}

/// A method of a server, whole or of one thing there; or work that is handed on, or taken over.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Method {
    pub(super) name: String,
    pub(super) server: Option<ServerName>,
    /// The resource of the server that it is about, or
    pub(super) uri: Option<String>,
    /// the prompt.
    pub(super) prompt: Option<String>,
    /// The agent to which work is handed on.
    pub(super) agent: Option<AgentName>,
    /// What a `server/request` asks, or a `token/issue` opens.
    #[serde(default)]
    pub(super) input: Value,
}

/// What data a purpose is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ends {
    /// The data objects; whatever there are, if they are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) objects: Option<BTreeSet<ObjectPattern>>,
    /// The categories of data; any, if none is named.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) data: BTreeSet<DataCategory>,
}

/// A person: somebody on whose behalf something is done, who consented to it, or who administers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Somebody {
    id: PersonId,
    #[serde(default)]
    groups: BTreeSet<GroupName>,
    #[serde(default)]
    unit: Option<UnitName>,
    /// Whether they are here.
    #[serde(default = "is_so", skip_serializing_if = "Clone::clone")]
    active: bool,
}

pub(super) const fn is_so() -> bool {
    true
}

impl From<&Person> for Somebody {
    fn from(person: &Person) -> Self {
        let Person { id, groups, unit, .. } = person.clone();
        Self { id, groups, unit, active: person.is_active() }
    }
}

impl From<&Somebody> for Person {
    fn from(somebody: &Somebody) -> Self {
        let Somebody { id, groups, unit, active } = somebody.clone();
        let person = Self { unit, ..Self::new(id, groups) };
        if active { person } else { Self { state: PersonState::Inactive { since: NOW }, ..person } }
    }
}

fn no_arguments() -> Value {
    json!({})
}

impl ByInstance {
    /// Whether the call can be made, and what was read and called before is what can have been.
    pub(super) fn is_possible(&self, (snapshot, tools): (&Snapshot, &Tools)) -> Result<(), String> {
        if let Some(Call { tool, input }) = &self.call {
            let valid = snapshot.validate_arguments(tool, input);
            valid.map_err(|invalid| invalid.to_string())?;
        }
        let declared = snapshot.labels().declared();
        if let Some(label) = self.labels.iter().find(|label| !declared.contains(label)) {
            return Err(format!("`{LABELS_FILE}` declares no label `{label}`"));
        }
        let mut called = self.used_tools.iter().chain(self.counters.keys());
        if let Some(tool) = called.find(|tool| !tools.contains_key(tool)) {
            return Err(format!("`tools` has no `{tool}`"));
        }
        let mut seen = BTreeSet::new();
        let mut named = self.provenance.sets().into_iter().flatten();
        let input = self.call.as_ref().map(|call| &call.input);
        let is_given = |name: &str| input.is_some_and(|input| input.get(name).is_some());
        match named.find(|name| !is_given(name) || !seen.insert(*name)) {
            Some(name) => Err(format!("`provenance` names no argument by `{name}`, or one twice")),
            None => Ok(()),
        }
    }

    /// The decision as its commit would leave it, with what was used up before.
    pub(super) fn counted(
        &self,
        decision: Decision,
        snapshot: &Snapshot,
    ) -> Result<Decision, String> {
        let unknown = self.used.keys().find(|budget| !snapshot.budgets().has(budget));
        if let Some(budget) = unknown {
            return Err(format!("the set has no budget `{budget}`"));
        }
        let Decision::Permit(grant) = &decision else { return Ok(decision) };
        let used = |spend: &Spend| self.used.get(&spend.budget).copied().unwrap_or_default();
        if let Some(Spend { budget, .. }) = grant.over(used) {
            return Ok(Decision::Deny(Denial::BudgetExceeded { budget: budget.clone() }));
        }
        if grant.uses_token && self.token_used {
            return Ok(Decision::Deny(Denial::TokenUsed));
        }
        Ok(decision)
    }
}
