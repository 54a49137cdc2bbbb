//! Cases: what a policy set must answer, written beside it and run before it is relied on.
//!
//! A case is decided by the very [`Snapshot::decide`] that decides in service, on made-up facts: an
//! active agent with an active sponsor, an open task, and the tools that the file itself describes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{
    AccessRequest, ActionName, AgentName, Attestation, Binding, Decision, Enforcement, Facts, Harm,
    HostProcess, HostRule, InstanceId, Mandate, MandateId, Person, PinDigest, Principal,
    PrincipalFacts, PurposeId, RegisteredClient, ResourceRef, Revision, Scope, Server, ServerName,
    SessionFacts, Standing, TaskId, Thumbprint, Timestamp, Tool, ToolRef, ToolState,
    WorkloadIdentity, WorkloadRule,
};
use pdp::{Bundle, Snapshot, ToolSchema};
use serde::Deserialize;
use serde_json::{Value, json};

/// The cases that a new deployment starts with, in YAML.
pub const STARTER_CASES: &str = include_str!("../../../policies/cases/starter.yaml");

/// The instant at which every case is decided: 2026-01-01T00:00:00Z.
const NOW: Timestamp = Timestamp::from_seconds(1_767_225_600);

/// A file of cases.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    /// The tools that its cases call.
    #[serde(default)]
    tools: BTreeMap<ToolRef, CaseTool>,
    /// The cases.
    cases: Vec<Case>,
}

/// A tool as a case sees it: pinned, with an active owner.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseTool {
    harm: BTreeSet<Harm>,
    /// The schema of its arguments; any object if it is left out.
    #[serde(default = "any_object")]
    input: Value,
}

fn any_object() -> Value {
    json!({ "type": "object" })
}

/// One question, and what must be answered.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
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
    expect: Expected,
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

/// Why cases do not hold.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// The set does not compile with the tools of the file.
    #[error("the policy set does not compile with the tools that the cases describe:\n{0}")]
    Uncompilable(String),
    /// A case describes something that cannot be.
    #[error("the case `{case}` cannot be asked: {why}")]
    Unaskable {
        /// The case.
        case: String,
        /// Why.
        why: String,
    },
    /// The answer is another.
    #[error("the case `{case}` expects {expected}, the set answers: {answer}")]
    Differs {
        /// The case.
        case: String,
        /// What it expects.
        expected: &'static str,
        /// What was answered, and why.
        answer: String,
    },
}

impl CaseFile {
    /// Decides every case against the policy files `policies`; gives how many hold.
    pub fn run(&self, policies: &BTreeMap<String, String>) -> Result<usize, CaseError> {
        let schema = |tool: &CaseTool| ToolSchema { input_schema: tool.input.clone() };
        let tools = self.tools.iter().map(|(name, tool)| (name.clone(), schema(tool))).collect();
        let bundle = Bundle { policies: policies.clone(), tools, ..Bundle::default() };
        let snapshot = Snapshot::compile(bundle)
            .map_err(|errors| CaseError::Uncompilable(errors.to_string()))?;
        self.cases.iter().try_for_each(|case| self.check(case, &snapshot))?;
        Ok(self.cases.len())
    }

    fn check(&self, case: &Case, snapshot: &Snapshot) -> Result<(), CaseError> {
        let unaskable = |why: String| CaseError::Unaskable { case: case.name.clone(), why };
        if let Some(Call { tool, input }) = &case.call {
            let valid = snapshot.validate_arguments(tool, input);
            valid.map_err(|invalid| unaskable(invalid.to_string()))?;
        }
        let (request, facts) = self.question(case).map_err(unaskable)?;
        let (answered, answer) = match snapshot.decide(&request, &facts) {
            Decision::Permit(grant) => {
                let basis: Vec<_> = grant.basis.iter().map(ToString::to_string).collect();
                (Expected::Permit, format!("permit, by {}", basis.join(", ")))
            }
            Decision::Deny(denial) => (Expected::Deny, format!("deny: {denial}")),
        };
        if answered == case.expect {
            return Ok(());
        }
        let expected = if case.expect == Expected::Permit { "permit" } else { "deny" };
        Err(CaseError::Differs { case: case.name.clone(), expected, answer })
    }

    fn question(&self, case: &Case) -> Result<(AccessRequest, Facts), String> {
        let instance = InstanceId::from_bytes([1; 16]);
        let (action, resource, input, server) = match (&case.call, &case.method) {
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
        let tool = case.call.as_ref().map(|call| self.tool(&call.tool)).transpose()?;
        let standing = standing(case, instance, &server);
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
            session: SessionFacts::default(),
            binding: case.binding,
            stops: Arc::default(),
        };
        Ok((request, facts))
    }

    fn tool(&self, name: &ToolRef) -> Result<Tool, String> {
        let described = self.tools.get(name).ok_or_else(|| format!("`tools` has no `{name}`"))?;
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
}

fn person(id: &str) -> Person {
    Person::new(id.parse().expect("it is a name"), BTreeSet::new())
}

/// Of which workload an instance is, where a case says that its platform vouches for it.
const ISSUER: &str = "https://platform.example";
const SUBJECT: &str = "workload";

/// An instance of the case's agent with everything behind it in order, entitled to all of `server`.
fn standing(case: &Case, instance: InstanceId, server: &ServerName) -> Standing {
    let everything = Scope {
        tools: BTreeSet::from([format!("{server}/*").parse().expect("it is a pattern")]),
        harm: Harm::ALL.into_iter().collect(),
        max_calls: None,
        max_tasks_a_day: None,
    };
    let source: model::SourceName = "directory".parse().expect("it is a name");
    let sponsor = Person { source: Some(source.clone()), ..person("sponsor") };
    let hour = std::time::Duration::from_hours(1);
    let later = NOW.plus(hour);
    let mandate = Mandate {
        id: MandateId::from_bytes([3; 16]),
        basis: model::MandateBasis::Standing { sponsor: sponsor.id.clone() },
        agent: case.agent.clone(),
        purpose: case.purpose.clone(),
        scope: everything.clone(),
        given: NOW,
        valid_until: later,
        withdrawn: None,
    };
    let task = model::Task {
        id: TaskId::from_bytes([2; 16]),
        instance,
        delegation: None,
        mandate: mandate.id,
        mandate_digest: mandate.digest(),
        purpose: case.purpose.clone(),
        subject: model::TaskSubject::Autonomous,
        scope: everything.clone(),
        opened: NOW,
        deadline: later,
        state: model::TaskState::Open,
    };
    let rule = WorkloadRule::new(ISSUER, SUBJECT, BTreeMap::new()).expect("it is a rule");
    let owners = BTreeMap::from([(sponsor.id.clone(), sponsor.clone())]);
    let agent = model::Agent {
        name: case.agent.clone(),
        business_owner: sponsor.id.clone(),
        technical_owner: sponsor.id.clone(),
        sponsor: sponsor.id.clone(),
        owned: Some(NOW),
        bounded_by: Some(sponsor.id.clone()),
        backups: BTreeSet::new(),
        purposes: BTreeSet::from([case.purpose.clone()]),
        ceiling: everything.clone(),
        key: json!({}),
        key_expires: later,
        valid_until: None,
        host: Some(HostRule { exe: None, uid: 0 }),
        workloads: vec![rule],
        client: Some(RegisteredClient { id: ISSUER.to_owned(), bearer: true, since: NOW }),
        registered: NOW,
        affirmed: None,
        review: model::AgentReview::default(),
        risk: None,
        risk_of_new: None,
        source: None,
        state: model::AgentState::Active,
    };
    let (issuer, subject) = (ISSUER.to_owned(), SUBJECT.to_owned());
    let workload = WorkloadIdentity { issuer, subject, claims: BTreeMap::new() };
    let instance = model::Instance {
        id: instance,
        agent: case.agent.clone(),
        key: Some(Thumbprint::from_bytes([4; 32])),
        attestation: case.attestation,
        process: Some(HostProcess { exe: None, pid: 1, started: 0, uid: 0 }),
        workload: Some(workload),
        device: None,
        task: task.id,
        started: NOW,
        risk: None,
        state: model::InstanceState::Active,
    };
    let purpose = model::Purpose {
        id: case.purpose.clone(),
        owner: sponsor.id.clone(),
        owned: Some(NOW),
        scope: everything,
        data: BTreeSet::new(),
        description: String::new(),
    };
    let (subject, initiator) = (None, None);
    Standing {
        instance,
        agent,
        sponsor,
        device: None,
        subject,
        task,
        delegators: Arc::default(),
        elevations: Vec::new(),
        mandate,
        initiator,
        purpose,
        owners,
        heard: BTreeMap::from([(source, if case.unconfirmed { NOW } else { later })]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"
        @id("reading") permit (principal, action in Action::"tools/call", resource in Server::"crm")
        when { resource.harm == ["reads-data"] };
        @id("not-nine") forbid (principal, action == Action::"crm/lookup", resource)
        when { context.input.id == 9 };
    "#;

    fn check(expect: &str, tool: &str, id: i64) -> Result<usize, CaseError> {
        let lookup = json!({
            "harm": ["reads-data"],
            "input": {
                "type": "object",
                "properties": { "id": { "type": "integer" } },
                "required": ["id"],
            },
        });
        let call = json!({ "tool": tool, "input": { "id": id } });
        let case = json!({ "name": "it", "call": call, "expect": expect });
        let file = json!({ "tools": { "crm/lookup": lookup }, "cases": [case] });
        let file: CaseFile = serde_json::from_value(file).expect("a case file");
        file.run(&BTreeMap::from([("test.cedar".to_owned(), POLICY.to_owned())]))
    }

    /// A case says who vouches, how the token is bound, and whether the people behind it are confirmed;
    /// what does more than read is forbidden where nobody but a key vouches, by a bearer token whoever
    /// does, and while nobody has told of the people for too long.
    #[test]
    fn a_case_says_who_vouches_for_the_instance_and_how_its_token_is_bound() {
        let permit =
            r#"@id("deploy") permit (principal, action == Action::"crm/deploy", resource);"#;
        let policies = [pdp::STARTER_POLICY, permit].concat();
        let policies = BTreeMap::from([("test.cedar".to_owned(), policies)]);
        for (attestation, binding, unconfirmed, expect) in [
            ("none", "dpop", false, "deny"),
            ("user", "dpop", false, "deny"),
            ("host", "dpop", false, "permit"),
            ("host", "dpop", true, "deny"),
            ("workload", "dpop", false, "permit"),
            ("workload", "dpop", true, "deny"),
            ("host", "none", false, "deny"),
            ("workload", "none", false, "deny"),
        ] {
            let file: CaseFile = serde_json::from_value(json!({
                "tools": { "crm/deploy": { "harm": ["changes-production"] } },
                "cases": [{
                    "name": attestation,
                    "call": { "tool": "crm/deploy" },
                    "attestation": attestation,
                    "binding": binding,
                    "unconfirmed": unconfirmed,
                    "expect": expect,
                }],
            }))
            .expect("it is a file of cases");
            let held = file.run(&policies);
            assert_eq!(held.map_err(|error| error.to_string()), Ok(1), "{attestation} {binding}");
        }
    }

    #[test]
    fn a_case_holds_only_if_the_set_answers_as_it_says() {
        assert_eq!(check("permit", "crm/lookup", 1).expect("it holds"), 1);
        assert_eq!(check("deny", "crm/lookup", 9).expect("it holds"), 1);
        assert!(matches!(check("deny", "crm/lookup", 1), Err(CaseError::Differs { .. })));
        assert!(matches!(check("permit", "crm/lookup", 9), Err(CaseError::Differs { .. })));
    }

    #[test]
    fn a_tool_that_the_file_does_not_describe_cannot_be_asked_about() {
        assert!(matches!(check("deny", "crm/other", 1), Err(CaseError::Unaskable { .. })));
    }
}
