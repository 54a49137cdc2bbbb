//! Cases: what a policy set must answer, written beside it and run before it is relied on.
//!
//! A case is decided by the very [`Snapshot::decide`] that decides in service, on made-up facts: an
//! active agent with an active sponsor, an open task, and the tools that the file itself describes.

mod made_up;
mod recorded;
mod result;
#[cfg(test)]
mod tests;
mod varied;
mod would;

use std::collections::{BTreeMap, BTreeSet};

use model::{
    AgentName, Amount, Attestation, Binding, BudgetName, Decision, Denial, Enforcement,
    EnvironmentName, GroupName, Harm, Label, Obligation, PersonId, PolicyId, Provenance, PurposeId,
    RegionName, Remedy, RiskLevel, ServerName, Spend, Timestamp, Tool, ToolRef, UnitName,
};
use pdp::{AskedPolicy, Bundle, Explanation, LABELS_FILE, Snapshot, ToolSchema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

use crate::flips::PolicyFiles;
pub(crate) use recorded::recorded;
pub use result::{CaseError, CaseResult};
use varied::varied;
pub use would::ask;

/// The cases that a new deployment starts with, in YAML.
pub const STARTER_CASES: &str = include_str!("../../../policies/cases/starter.yaml");

/// The instant at which a case is decided that names none: 2026-01-01T00:00:00Z.
const NOW: Timestamp = Timestamp::from_seconds(1_767_225_600);

/// A file of cases.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    /// The tools that its cases call, beside those that the set describes.
    #[serde(default)]
    tools: Tools,
    /// The members that each of its cases has which does not say otherwise.
    #[serde(default)]
    given: Map<String, Value>,
    /// The cases, each as it is written.
    cases: Vec<Map<String, Value>>,
}

/// Tools as cases see them: what they can do, and their arguments.
pub type Tools = BTreeMap<ToolRef, CaseTool>;

/// The most cases of one file, each combination of what varies counted.
const CASES_MAX: usize = 10_000;

/// The member of a case that names it.
const NAME: &str = "name";

/// A tool as a case sees it: pinned, with an active owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseTool {
    /// What it can do.
    pub harm: BTreeSet<Harm>,
    /// The schema of its arguments; any object if it is left out.
    #[serde(default = "any_object")]
    pub input: Value,
}

impl From<&Tool> for CaseTool {
    fn from(tool: &Tool) -> Self {
        Self::described(tool.harm.clone(), &tool.descriptor)
    }
}

impl CaseTool {
    /// A tool that is described so (MCP), and can do so much.
    pub fn described(harm: BTreeSet<Harm>, descriptor: &Value) -> Self {
        let input = descriptor.get("inputSchema").cloned();
        Self { harm, input: input.unwrap_or_else(any_object) }
    }
}

/// The schema of the arguments of a tool that has none.
pub(crate) fn any_object() -> Value {
    json!({ "type": "object" })
}

/// One question, and what must be answered.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// A call of a tool, or else
    call: Option<Call>,
    /// a method.
    method: Option<Method>,
    #[serde(default = "some_agent")]
    agent: AgentName,
    #[serde(default = "some_purpose")]
    purpose: PurposeId,
    /// On whose behalf it is, if it is on anybody's.
    subject: Option<Subject>,
    /// Who vouches for the instance.
    #[serde(default = "user")]
    attestation: Attestation,
    /// How its token is bound.
    #[serde(default = "dpop")]
    binding: Binding,
    /// Whether who tells of its sponsor has been silent for too long.
    #[serde(default)]
    unconfirmed: bool,
    /// What is said of the instance.
    risk: Option<RiskLevel>,
    /// When it is asked; 2026-01-01T00:00:00Z, a Thursday, if it is left out.
    #[serde(default = "then", deserialize_with = "point_in_time")]
    now: Timestamp,
    /// In which environment the server acts.
    environment: Option<EnvironmentName>,
    /// In which region it keeps data.
    region: Option<RegionName>,
    /// Whether the server refuses what does not come from us.
    #[serde(default = "mandatory")]
    enforcement: Enforcement,
    /// Whether other agents have called it with the same account.
    #[serde(default)]
    shared_account: bool,
    /// How often the work was handed on.
    #[serde(default)]
    depth: u8,
    /// How many calls of the task were permitted before.
    #[serde(default)]
    calls: i64,
    /// What was read before, by the labels that it left.
    #[serde(default)]
    labels: BTreeSet<Label>,
    /// The tools that were called before.
    #[serde(default)]
    used_tools: BTreeSet<ToolRef>,
    /// How often tools were called before.
    #[serde(default)]
    counters: BTreeMap<ToolRef, u32>,
    /// Where the arguments of the call come from; of those that are left out nobody knows.
    #[serde(default)]
    provenance: Provenance,
    /// How much was used up of budgets before.
    #[serde(default)]
    used: BTreeMap<BudgetName, Amount>,
    /// How long ago the token was issued that is shown, in seconds.
    #[serde(default)]
    token_age_s: u64,
    /// Whether that was used before for such a call.
    #[serde(default)]
    token_used: bool,
    expect: Expected,
    /// Policies that are among those that decide.
    by: Option<BTreeSet<PolicyId>>,
    /// All policies that decide.
    only: Option<BTreeSet<PolicyId>>,
    /// What the permit owes; whatever it does, if it is left out.
    obligations: Option<BTreeSet<Obligation>>,
    /// The code of the denial (`not_granted`, `forbidden`, …); any, if it is left out.
    reason: Option<String>,
    /// What would lift the denial; whatever does, if it is left out.
    remedies: Option<BTreeSet<Remedy>>,
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

const fn then() -> Timestamp {
    NOW
}

fn point_in_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}

const fn mandatory() -> Enforcement {
    Enforcement::Mandatory
}

const fn dpop() -> Binding {
    Binding::Dpop
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    tool: ToolRef,
    #[serde(default = "no_arguments")]
    input: Value,
}

/// A method of a server, whole or of one thing there; or work that is handed on, or taken over.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Method {
    name: String,
    server: Option<ServerName>,
    /// The resource of the server that it is about, or
    uri: Option<String>,
    /// the prompt.
    prompt: Option<String>,
    /// The agent to which work is handed on.
    agent: Option<AgentName>,
    /// What a `server/request` asks.
    #[serde(default)]
    input: Value,
}

/// A person on whose behalf something is done: they are here, and consented to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    id: PersonId,
    #[serde(default)]
    groups: BTreeSet<GroupName>,
    #[serde(default)]
    unit: Option<UnitName>,
}

fn no_arguments() -> Value {
    json!({})
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Expected {
    Permit,
    Deny,
}

impl CaseFile {
    /// Its tools, with those that are described beside it: the file's own come first.
    pub fn tools(&self, beside: &Tools) -> Tools {
        let mut tools = beside.clone();
        tools.extend(self.tools.clone());
        tools
    }

    /// Adds `case`, as it was made of a recorded decision, with the `tools` that it calls.
    ///
    /// # Errors
    /// It is there already, or other cases of the file call a tool that is described otherwise.
    pub fn add(&mut self, case: Map<String, Value>, tools: Tools) -> Result<(), String> {
        let name = case.get(NAME);
        if self.cases.iter().any(|known| known.get(NAME) == name) {
            return Err("it is there already".to_owned());
        }
        for (name, tool) in tools {
            let known = self.tools.entry(name.clone()).or_insert_with(|| tool.clone());
            if *known != tool {
                return Err(format!("its other cases call another `{name}`"));
            }
        }
        self.cases.push(case);
        Ok(())
    }

    /// Decides every case by the set `policies`, beside whose tools there are those of the file.
    ///
    /// # Errors
    /// The set does not compile with these tools, or there are too many cases.
    pub fn run(&self, set: &PolicyFiles, beside: &Tools) -> Result<Vec<CaseResult>, String> {
        let tools = self.tools(beside);
        let bundle = bundle(set, &tools);
        let snapshot = Snapshot::compile(bundle).map_err(|errors| errors.to_string())?;
        let mut results = Vec::new();
        for case in &self.cases {
            match varied(self.whole(case)) {
                Ok(all) if results.len() + all.len() > CASES_MAX => {
                    return Err(format!("more than {CASES_MAX} cases"));
                }
                Ok(all) => {
                    results.extend(all.into_iter().map(|it| result(it, (&snapshot, &tools))));
                }
                Err(why) => results.push(CaseResult::unaskable(case.get("name"), why)),
            }
        }
        Ok(results)
    }

    /// A case with what is given for all.
    fn whole(&self, case: &Map<String, Value>) -> Map<String, Value> {
        let mut whole = self.given.clone();
        whole.extend(case.clone());
        whole
    }
}

/// The bundle of a set with these tools.
pub fn bundle(set: &PolicyFiles, tools: &Tools) -> Bundle {
    let schema = |tool: &CaseTool| ToolSchema { input_schema: tool.input.clone() };
    let tools = tools.iter().map(|(name, tool)| (name.clone(), schema(tool))).collect();
    Bundle { tools, ..set.clone().into() }
}

fn result(mut case: Map<String, Value>, set: (&Snapshot, &Tools)) -> CaseResult {
    let Some(Value::String(name)) = case.remove(NAME) else {
        return CaseResult::unaskable(None, "it has no `name`".to_owned());
    };
    let read: Result<Case, _> = serde_json::from_value(Value::Object(case));
    let answered = read.map_err(|error| error.to_string()).and_then(|case| case.answered(set));
    match answered {
        Ok((held, asked)) => CaseResult { name, held, asked },
        Err(why) => CaseResult::unaskable(Some(&name.into()), why),
    }
}

/// Whether a case holds, with what was asked for it.
type Answered = (Result<(), CaseError>, Vec<AskedPolicy>);

impl Case {
    fn answered(&self, (snapshot, tools): (&Snapshot, &Tools)) -> Result<Answered, String> {
        if let Some(Call { tool, input }) = &self.call {
            let valid = snapshot.validate_arguments(tool, input);
            valid.map_err(|invalid| invalid.to_string())?;
        }
        self.was_possible((snapshot, tools))?;
        let (request, facts) = self.question(tools)?;
        let Explanation { decision, asked, .. } = snapshot.explain(&request, &facts);
        if matches!(decision, Decision::Deny(Denial::Malformed)) {
            return Err("nobody can ask so: it is denied before any policy".to_owned());
        }
        let decision = self.counted(decision, snapshot)?;
        let held = if self.holds(&decision) {
            Ok(())
        } else {
            Err(CaseError::Differs { expected: self.expected(), answer: told(&decision) })
        };
        Ok((held, asked))
    }

    /// Whether what was read and called before is what can have been.
    fn was_possible(&self, (snapshot, tools): (&Snapshot, &Tools)) -> Result<(), String> {
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
    fn counted(&self, decision: Decision, snapshot: &Snapshot) -> Result<Decision, String> {
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

    fn holds(&self, decision: &Decision) -> bool {
        let (answer, by, reason) = match decision {
            Decision::Permit(grant) => (Expected::Permit, grant.basis.clone(), "granted"),
            Decision::Deny(denial) => (Expected::Deny, denial.policies(), denial.code()),
        };
        let (obligations, remedies) = match decision {
            Decision::Permit(grant) => (grant.obligations.clone(), BTreeSet::new()),
            Decision::Deny(denial) => (BTreeSet::new(), denial.remedies()),
        };
        answer == self.expect
            && self.by.as_ref().is_none_or(|wanted| wanted.is_subset(&by))
            && self.only.as_ref().is_none_or(|wanted| *wanted == by)
            && self.reason.as_ref().is_none_or(|wanted| wanted == reason)
            && self.obligations.as_ref().is_none_or(|wanted| *wanted == obligations)
            && self.remedies.as_ref().is_none_or(|wanted| *wanted == remedies)
    }

    fn expected(&self) -> String {
        let Self { expect, by, only, reason, obligations, remedies, .. } = self;
        let mut text = if *expect == Expected::Permit { "permit" } else { "deny" }.to_owned();
        for (by, only) in [(by, ""), (only, " only")] {
            let Some(by) = by else { continue };
            let by: Vec<_> = by.iter().map(PolicyId::as_str).collect();
            text = format!("{text} by {}{only}", by.join(", "));
        }
        if let Some(obligations) = obligations {
            text = format!("{text}, owing {}", json!(obligations));
        }
        if let Some(reason) = reason {
            text = format!("{text} ({reason})");
        }
        if let Some(remedies) = remedies {
            text = format!("{text}, lifted by {}", json!(remedies));
        }
        text
    }
}

fn told(decision: &Decision) -> String {
    match decision {
        Decision::Permit(grant) => {
            let basis: Vec<_> = grant.basis.iter().map(PolicyId::as_str).collect();
            let owed = &grant.obligations;
            let owed =
                if owed.is_empty() { String::new() } else { format!(", owing {}", json!(owed)) };
            format!("permit, by {}{owed}", basis.join(", "))
        }
        Decision::Deny(denial) => format!("deny ({}): {denial}", denial.code()),
    }
}
