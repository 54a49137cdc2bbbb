//! Cases: what a policy set must answer, written beside it and run before it is relied on.
//!
//! A case is decided by the very [`Snapshot::decide`] that decides in service, on made-up facts: an
//! active agent with an active sponsor, an open task, and the tools that the file itself describes.

mod made_up;
mod recorded;
#[cfg(test)]
mod tests;
mod would;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{
    AccessRequest, ActionName, AgentName, Attestation, Binding, Decision, Enforcement, Facts, Harm,
    InstanceId, Label, PinDigest, PolicyId, Principal, PrincipalFacts, PurposeId, Remedy,
    ResourceRef, Revision, RiskLevel, Server, ServerName, SessionFacts, Timestamp, Tool, ToolRef,
    ToolState,
};
use pdp::{AskedPolicy, Bundle, Explanation, Snapshot, ToolSchema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::flips::PolicyFiles;
use made_up::{person, standing};
pub(crate) use recorded::recorded;
pub use would::ask;

/// The cases that a new deployment starts with, in YAML.
pub const STARTER_CASES: &str = include_str!("../../../policies/cases/starter.yaml");

/// The instant at which every case is decided: 2026-01-01T00:00:00Z.
const NOW: Timestamp = Timestamp::from_seconds(1_767_225_600);

/// A file of cases.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    /// The tools that its cases call, beside those that the set describes.
    #[serde(default)]
    tools: Tools,
    /// The cases, each as it is written.
    cases: Vec<Map<String, Value>>,
}

/// Tools as cases see them: what they can do, and their arguments.
pub type Tools = BTreeMap<ToolRef, CaseTool>;

/// The most cases of one file, each combination of what varies counted.
const CASES_MAX: usize = 10_000;

/// The member of a case that names it.
const NAME: &str = "name";

/// The member of a case that holds what varies.
const VARY: &str = "vary";

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
        let input = tool.descriptor.get("inputSchema").cloned();
        Self { harm: tool.harm.clone(), input: input.unwrap_or_else(any_object) }
    }
}

fn any_object() -> Value {
    json!({ "type": "object" })
}

/// One question, and what must be answered.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// A call of a tool, or else
    call: Option<Call>,
    /// a method of a whole server.
    method: Option<Method>,
    #[serde(default = "some_agent")]
    agent: AgentName,
    #[serde(default = "some_purpose")]
    purpose: PurposeId,
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
    /// How many calls of the task were permitted before.
    #[serde(default)]
    calls: i64,
    /// What was read before, by the labels that it left.
    #[serde(default)]
    labels: BTreeSet<Label>,
    /// The tools that were called before.
    #[serde(default)]
    used_tools: BTreeSet<ToolRef>,
    expect: Expected,
    /// The policies that decide; any, if it is left out.
    by: Option<BTreeSet<PolicyId>>,
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

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Method {
    name: String,
    server: ServerName,
    /// What a `server/request` asks.
    #[serde(default)]
    input: Value,
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

/// What came of one case.
#[derive(Debug)]
pub struct CaseResult {
    /// Its name, with what varies.
    pub name: String,
    /// Why it does not hold, if it does not.
    pub held: Result<(), CaseError>,
    /// The policies that were asked, and what each saw.
    pub asked: Vec<AskedPolicy>,
}

/// Why a case does not hold.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaseError {
    /// It describes something that cannot be.
    #[error("cannot be asked: {0}")]
    Unaskable(String),
    /// The answer is another.
    #[error("expects {expected}, the set answers: {answer}")]
    Differs {
        /// What it expects.
        expected: String,
        /// What was answered, and why.
        answer: String,
    },
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
        let cases = self.cases.iter().flat_map(varied);
        let cases: Vec<_> = cases.take(CASES_MAX + 1).collect();
        if cases.len() > CASES_MAX {
            return Err(format!("more than {CASES_MAX} cases"));
        }
        Ok(cases.into_iter().map(|case| result(case, (&snapshot, &tools))).collect())
    }
}

/// The bundle of a set with these tools.
pub fn bundle(set: &PolicyFiles, tools: &Tools) -> Bundle {
    let schema = |tool: &CaseTool| ToolSchema { input_schema: tool.input.clone() };
    let tools = tools.iter().map(|(name, tool)| (name.clone(), schema(tool))).collect();
    Bundle { tools, ..set.clone().into() }
}

/// A case once for each combination of what varies in it, its name saying which.
fn varied(case: &Map<String, Value>) -> Vec<Map<String, Value>> {
    let mut case = case.clone();
    let Some(Value::Object(vary)) = case.remove(VARY) else { return vec![case] };
    let mut all = vec![case];
    for (member, values) in &vary {
        let values = values.as_array().cloned().unwrap_or_else(|| vec![values.clone()]);
        let with = |case: &Map<String, Value>, value: &Value| {
            let mut case = case.clone();
            let name = case.get(NAME).and_then(Value::as_str).unwrap_or_default();
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let name = format!("{name} [{member}: {shown}]");
            case.insert(NAME.to_owned(), name.into());
            case.insert(member.clone(), value.clone());
            case
        };
        all = all.iter().flat_map(|case| values.iter().map(|it| with(case, it))).collect();
        all.truncate(CASES_MAX + 1);
    }
    all
}

fn result(mut case: Map<String, Value>, set: (&Snapshot, &Tools)) -> CaseResult {
    let Some(Value::String(name)) = case.remove(NAME) else {
        let held = Err(CaseError::Unaskable("it has no `name`".to_owned()));
        return CaseResult { name: String::new(), held, asked: Vec::new() };
    };
    let read: Result<Case, _> = serde_json::from_value(Value::Object(case));
    let answered = read.map_err(|error| error.to_string()).and_then(|case| case.answered(set));
    match answered {
        Ok((held, asked)) => CaseResult { name, held, asked },
        Err(why) => CaseResult { name, held: Err(CaseError::Unaskable(why)), asked: Vec::new() },
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
        let (request, facts) = self.question(tools)?;
        let Explanation { decision, asked } = snapshot.explain(&request, &facts);
        let held = if self.holds(&decision) {
            Ok(())
        } else {
            Err(CaseError::Differs { expected: self.expected(), answer: told(&decision) })
        };
        Ok((held, asked))
    }

    fn holds(&self, decision: &Decision) -> bool {
        let (answer, by, reason, remedies) = match decision {
            Decision::Permit(grant) => {
                (Expected::Permit, grant.basis.clone(), "granted", BTreeSet::new())
            }
            Decision::Deny(denial) => {
                (Expected::Deny, denial.policies(), denial.code(), denial.remedies())
            }
        };
        answer == self.expect
            && self.by.as_ref().is_none_or(|wanted| *wanted == by)
            && self.reason.as_ref().is_none_or(|wanted| wanted == reason)
            && self.remedies.as_ref().is_none_or(|wanted| *wanted == remedies)
    }

    fn expected(&self) -> String {
        let Self { expect, by, reason, remedies, .. } = self;
        let mut text = if *expect == Expected::Permit { "permit" } else { "deny" }.to_owned();
        if let Some(by) = by {
            let by: Vec<_> = by.iter().map(PolicyId::as_str).collect();
            text = format!("{text} by {}", by.join(", "));
        }
        if let Some(reason) = reason {
            text = format!("{text} ({reason})");
        }
        if let Some(remedies) = remedies {
            text = format!("{text}, lifted by {}", json!(remedies));
        }
        text
    }

    fn question(&self, tools: &Tools) -> Result<(AccessRequest, Facts), String> {
        let instance = InstanceId::from_bytes([1; 16]);
        let (action, resource, input, server) = match (&self.call, &self.method) {
            (Some(Call { tool, input }), None) => {
                let resource = ResourceRef::Tool(tool.clone());
                (ActionName::tool(tool), resource, input.clone(), tool.server.clone())
            }
            (None, Some(Method { name, server, input })) => {
                let resource = ResourceRef::Server(server.clone());
                (ActionName::method(name), resource, input.clone(), server.clone())
            }
            _ => return Err("it needs either `call` or `method`".to_owned()),
        };
        let tool = self.call.as_ref().map(|call| described(&call.tool, tools)).transpose()?;
        let standing = standing(self, instance, &server);
        let server = Server {
            name: server,
            enforcement: Enforcement::Mandatory,
            origin: String::new(),
            added: NOW,
            account: None,
            callers: BTreeSet::new(),
        };
        let request =
            AccessRequest { principal: Principal::Instance(instance), action, resource, input };
        let facts = Facts {
            revision: Revision(0),
            now: NOW,
            principal: PrincipalFacts::Instance(Arc::new(standing)),
            tool_owner: tool.is_some().then(|| person("owner")),
            tool: tool.map(Arc::new),
            agent: None,
            server: Some(Arc::new(server)),
            session: SessionFacts {
                labels: self.labels.clone(),
                used_tools: self.used_tools.clone(),
                counters: BTreeMap::from([("calls".to_owned(), self.calls)]),
            },
            binding: self.binding,
            stops: Arc::default(),
        };
        Ok((request, facts))
    }
}

fn described(name: &ToolRef, tools: &Tools) -> Result<Tool, String> {
    let described = tools.get(name).ok_or_else(|| format!("`tools` has no `{name}`"))?;
    Ok(Tool {
        tool: name.clone(),
        pin: PinDigest::of(b""),
        descriptor: json!({ "inputSchema": described.input }),
        owner: Some(person("owner").id),
        owned: None,
        harm: described.harm.clone(),
        requires_subject: false,
        not_delegable: false,
        state: ToolState::Pinned,
    })
}

fn told(decision: &Decision) -> String {
    match decision {
        Decision::Permit(grant) => {
            let basis: Vec<_> = grant.basis.iter().map(PolicyId::as_str).collect();
            format!("permit, by {}", basis.join(", "))
        }
        Decision::Deny(denial) => format!("deny ({}): {denial}", denial.code()),
    }
}
