//! A small world: an agent `billing` with one instance, three servers' tools, a few people.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use model::{
    AccessRequest, ActionName, Agent, AgentReview, AgentState, Answer, Answers, Attestation,
    Binding, Decision, DecisionId, Delegation, Delegator, Denial, Enforcement, Facts, Harm,
    InitiatingSystem, Initiator, Instance, InstanceId, InstanceState, Mandate, MandateBasis,
    MandateId, OpenReview, Person, PinDigest, Principal, PrincipalFacts, Purpose, Rated,
    ResourceRef, ReviewId, Revision, Scope, Server, SessionFacts, Sha256Digest, Standing,
    SystemState, Task, TaskId, TaskState, TaskSubject, Thumbprint, Timestamp, Tool, ToolRef,
    ToolState,
};
use serde_json::{Value, json};

use crate::{Bundle, Snapshot, ToolSchema};

pub(super) const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// Permits everything to everybody.
pub(super) const OPEN: &str = r#"@id("open") permit(principal, action, resource);
                      @id("named") permit(principal, action, resource in Server::"crm");"#;

/// The same, compiled once for all cases.
pub(super) static OPENED: LazyLock<Snapshot> = LazyLock::new(|| snapshot(OPEN));

pub(super) fn tool_ref(text: &str) -> ToolRef {
    text.parse().expect("a tool")
}

pub(super) fn person(id: &str, groups: &[&str]) -> Person {
    let groups = groups.iter().map(|group| group.parse().expect("a group")).collect();
    Person::new(id.parse().expect("a person"), groups)
}

pub(super) fn scope(tools: &[&str]) -> Scope {
    Scope {
        tools: tools.iter().map(|tool| tool.parse().expect("a pattern")).collect(),
        harm: Harm::ALL.into_iter().collect(),
        objects: None,
        max_calls: None,
        max_tasks_a_day: None,
    }
}

/// The three servers, all tools: what every scope of the fixture holds unless narrowed.
fn everything() -> Scope {
    scope(&["crm/*", "payments/*", "tickets/*"])
}

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(NOW.as_seconds() + seconds)
}

fn agent() -> Agent {
    Agent {
        name: "billing".parse().expect("an agent"),
        sponsor: "sam".parse().expect("a person"),
        business_owner: "sam".parse().expect("a person"),
        technical_owner: "sam".parse().expect("a person"),
        owned: Some(at(-86_400)),
        bounded_by: Some("ada".parse().expect("a person")),
        backups: BTreeSet::new(),
        purposes: BTreeSet::from(["care".parse().expect("a purpose")]),
        ceiling: everything(),
        key: json!({}),
        key_expires: at(86_400),
        keys_compromised: None,
        valid_until: None,
        host: None,
        workloads: Vec::new(),
        client: None,
        memory: model::Memory::Kept,
        forgets: None,
        declared: model::Declared::default(),
        departed: None,
        registered: at(-86_400),
        affirmed: None,
        review: AgentReview::default(),
        risk: None,
        risk_of_new: None,
        rated: Rated::default(),
        source: None,
        state: AgentState::Active,
    }
}

/// A review of an agent that is due then.
pub(crate) fn open_review(due: Timestamp) -> OpenReview {
    let opened_by = "ada".parse().expect("a person");
    OpenReview { id: ReviewId::from_bytes([5; 16]), due, opened_by }
}

pub(crate) fn standing() -> Standing {
    let agent = agent();
    let mandate = Mandate {
        id: MandateId::from_bytes([3; 16]),
        basis: MandateBasis::Standing { sponsor: agent.sponsor.clone() },
        agent: agent.name.clone(),
        purpose: "care".parse().expect("a purpose"),
        scope: everything(),
        given: at(-3_600),
        valid_until: at(3_600),
        withdrawn: None,
    };
    Standing {
        instance: Instance {
            id: InstanceId::from_bytes([1; 16]),
            agent: agent.name.clone(),
            key: Some(Thumbprint::from_bytes([9; 32])),
            attestation: Attestation::User,
            process: None,
            workload: None,
            device: None,
            keys_compromised: None,
            task: TaskId::from_bytes([2; 16]),
            departed: None,
            started: at(-60),
            risk: None,
            rated: Rated::default(),
            state: InstanceState::Active,
        },
        agent,
        sponsor: person("sam", &["staff"]),
        device: None,
        subject: None,
        task: Task {
            id: TaskId::from_bytes([2; 16]),
            instance: InstanceId::from_bytes([1; 16]),
            delegation: None,
            mandate: mandate.id,
            mandate_digest: mandate.digest(),
            purpose: "care".parse().expect("a purpose"),
            subject: TaskSubject::Autonomous,
            scope: everything(),
            opened: at(-60),
            deadline: at(600),
            state: TaskState::Open,
        },
        delegators: Arc::default(),
        mandate,
        elevations: Vec::new(),
        initiator: None,
        purpose: purpose(),
        owners: [person("sam", &["staff"])].map(|owner| (owner.id.clone(), owner)).into(),
        heard: BTreeMap::new(),
        sharing: BTreeSet::new(),
    }
}

fn purpose() -> Purpose {
    Purpose {
        id: "care".parse().expect("a purpose"),
        owner: "sam".parse().expect("a person"),
        owned: Some(at(-86_400)),
        scope: everything(),
        data: BTreeSet::new(),
        description: String::new(),
    }
}

pub(super) fn tool(name: &str, harm: &[Harm]) -> Tool {
    Tool {
        tool: tool_ref(name),
        pin: PinDigest::from_bytes([7; 32]),
        descriptor: json!({}),
        owner: Some("olga".parse().expect("a person")),
        owned: Some(at(-86_400)),
        harm: harm.iter().copied().collect(),
        objects: None,
        data: BTreeSet::new(),
        requires_subject: false,
        not_delegable: false,
        state: ToolState::Pinned,
    }
}

/// One question with its facts, to be changed before it is asked.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) request: AccessRequest,
    pub(super) standing: Standing,
    pub(super) tool: Option<Tool>,
    pub(super) facts: Facts,
}

impl Case {
    fn new(action: ActionName, resource: ResourceRef, server: &str, input: Value) -> Self {
        let standing = standing();
        let server = Server {
            name: server.parse().expect("a server"),
            enforcement: Enforcement::Mandatory,
            origin: "https://tools.example/mcp".to_owned(),
            added: at(-86_400),
            account: None,
            callers: BTreeSet::new(),
            place: model::Place::default(),
        };
        let principal = Principal::Instance(standing.instance.id);
        let facts = Facts {
            revision: Revision(1),
            now: NOW,
            principal: PrincipalFacts::Instance(Arc::new(standing.clone())),
            tool: None,
            agent: None,
            server: Some(Arc::new(server)),
            tool_owner: Some(Arc::new(person("olga", &[]))),
            session: SessionFacts::default(),
            binding: Binding::Dpop,
            stops: Arc::default(),
        };
        let request = AccessRequest { principal, action, resource, input };
        Self { request, standing, tool: None, facts }
    }

    /// A call of a tool that only reads.
    pub(super) fn call(name: &str, input: Value) -> Self {
        let called = tool_ref(name);
        let (action, server) = (ActionName::tool(&called), called.server.as_str().to_owned());
        let mut case = Self::new(action, ResourceRef::Tool(called), &server, input);
        case.tool = Some(tool(name, &[Harm::ReadsData]));
        case
    }

    /// A method on `resource` of the server `crm`.
    pub(super) fn of(name: &str, resource: ResourceRef) -> Self {
        Self::new(ActionName::method(name), resource, "crm", Value::Null)
    }

    /// A method of the whole server.
    pub(super) fn method(name: &str, server: &str) -> Self {
        let resource = ResourceRef::Server(server.parse().expect("a server"));
        Self::new(ActionName::method(name), resource, server, Value::Null)
    }

    /// An act of an administrator.
    pub(super) fn administer(name: &str, resource: ResourceRef, by: Person) -> Self {
        let mut case = Self::new(ActionName::method(name), resource, "crm", Value::Null);
        case.request.principal = Principal::Person(by.id.clone());
        case.facts.server = None;
        case.facts.tool_owner = None;
        case.facts.principal = PrincipalFacts::Administrator(by);
        case
    }

    /// The same, on behalf of `subject`.
    /// The same act on behalf of `subject`, as a registered system started it.
    pub(super) fn on_behalf_of(mut self, subject: Person) -> Self {
        let Standing { mandate, task, .. } = &mut self.standing;
        let system = InitiatingSystem {
            name: "portal".parse().expect("a system"),
            owner: "olga".parse().expect("a person"),
            key: json!({}),
            key_expires: at(86_400),
            agents: BTreeSet::from([mandate.agent.clone()]),
            purposes: BTreeSet::from([mandate.purpose.clone()]),
            registered: at(-86_400),
            state: SystemState::Active,
        };
        mandate.basis = MandateBasis::Initiated {
            system: system.name.clone(),
            request: Sha256Digest::of(b"what it signed"),
            subject: subject.id.clone(),
        };
        (task.mandate_digest, task.subject) = (mandate.digest(), mandate.basis.subject());
        self.standing.initiator = Some(Initiator { system, owner: person("olga", &[]) });
        self.standing.subject = Some(subject);
        self
    }

    /// The same act in work that was handed on by as many others.
    pub(super) fn handed_on(mut self, times: u8) -> Self {
        for time in 1..=times {
            let own = &mut self.standing;
            let (mut agent, mut sponsor) = (own.agent.clone(), own.sponsor.clone());
            let (mut instance, mut task) = (own.instance.clone(), own.task.clone());
            agent.name = format!("lead-{time}").parse().expect("an agent");
            sponsor.id = format!("sponsor-{time}").parse().expect("a person");
            agent.sponsor = sponsor.id.clone();
            (instance.id, instance.agent) =
                (InstanceId::from_bytes([100 + time; 16]), agent.name.clone());
            (task.id, task.instance) = (TaskId::from_bytes([100 + time; 16]), instance.id);
            instance.task = task.id;
            own.mandate.agent = agent.name.clone();
            if let Some(initiator) = &mut own.initiator {
                initiator.system.agents.insert(agent.name.clone());
            }
            let decision = DecisionId::from_bytes([100 + time; 16]);
            let delegation = Some(Delegation { parent: task.id, by: instance.id, decision });
            match Arc::make_mut(&mut own.delegators).last_mut() {
                Some(last) => last.task.delegation = delegation,
                None => own.task.delegation = delegation,
            }
            task.delegation = None;
            Arc::make_mut(&mut own.delegators).push(Delegator {
                instance,
                agent,
                sponsor,
                device: None,
                task,
            });
        }
        self.mandated()
    }

    /// The same act, in tasks that rest on the mandate as it is.
    pub(super) fn mandated(mut self) -> Self {
        let digest = self.standing.mandate.digest();
        self.standing.task.mandate_digest = digest;
        for delegator in Arc::make_mut(&mut self.standing.delegators) {
            delegator.task.mandate_digest = digest;
        }
        self
    }

    pub(super) fn facts(&self) -> Facts {
        let mut facts = self.facts.clone();
        if let PrincipalFacts::Instance(standing) = &mut facts.principal {
            *standing = Arc::new(self.standing.clone());
        }
        facts.tool = self.tool.clone().map(Arc::new);
        facts
    }

    pub(super) fn decide(&self, snapshot: &Snapshot) -> Decision {
        snapshot.decide(&self.request, &self.facts())
    }

    pub(super) fn could_permit(&self, snapshot: &Snapshot) -> bool {
        snapshot.could_permit(&self.request, &self.facts())
    }
}

/// The tools of the fixture, with the schemas of their arguments.
pub(super) fn tools() -> BTreeMap<ToolRef, ToolSchema> {
    let refund = json!({
        "type": "object",
        "properties": {
            "account": { "type": "string" },
            "amount": { "type": "integer" },
            "price": { "type": "number" },
            "tags": { "type": "array", "items": { "type": "string" } },
            "note": { "type": ["string", "null"] },
            "to": {
                "type": "object",
                "properties": { "iban": { "type": "string" }, "share": { "type": "number" } },
                "required": ["iban"],
            },
        },
    });
    let lookup = json!({
        "type": "object",
        "properties": { "id": { "type": "integer" }, "urgent": { "type": "boolean" } },
        "required": ["id"],
    });
    let schemas = [("payments/refund", refund), ("crm/lookup", lookup)];
    let other = [("tickets/close", json!({ "type": "object" }))];
    let all = schemas.into_iter().chain(other);
    all.map(|(name, input_schema)| (tool_ref(name), ToolSchema { input_schema })).collect()
}

pub(super) fn bundle(policies: &str) -> Bundle {
    Bundle {
        policies: BTreeMap::from([("test.cedar".to_owned(), policies.to_owned())]),
        tools: tools(),
        ..Bundle::default()
    }
}

/// What is wrong with `bundle`, or else what is doubtful in its `file`.
pub(super) fn found_in(file: &str, bundle: Bundle) -> String {
    match Snapshot::compile(bundle) {
        Ok(snapshot) => {
            let shown = snapshot.warnings().iter().map(ToString::to_string);
            let own: Vec<_> = shown.filter(|it| it.starts_with(file)).collect();
            own.join("\n")
        }
        Err(errors) => errors.to_string(),
    }
}

pub(super) fn snapshot(policies: &str) -> Snapshot {
    Snapshot::compile(bundle(policies)).expect("the policies of a test compile")
}

/// A decision as text.
pub(super) fn show(decision: &Decision) -> String {
    match decision {
        Decision::Permit(grant) => {
            let basis: Vec<&str> = grant.basis.iter().map(model::PolicyId::as_str).collect();
            let owed: Vec<&str> = grant.obligations.iter().map(|it| it.0.as_str()).collect();
            let observed: Vec<&str> = grant.observed.iter().map(model::PolicyId::as_str).collect();
            let mut text = format!("permit by {}", basis.join(", "));
            for (title, list) in [("owes", owed), ("observed", observed)] {
                if !list.is_empty() {
                    let _ = write!(text, "; {title} {}", list.join(", "));
                }
            }
            format!("{text}{}", show_answers(grant.answers))
        }
        Decision::Deny(denial) => {
            let answers = match denial {
                Denial::NotGranted { answers } | Denial::Forbidden { answers, .. } => {
                    show_answers(*answers)
                }
                _ => String::new(),
            };
            let remedies = denial.remedies();
            let lifted = if remedies.is_empty() {
                String::new()
            } else {
                format!("; lifted by {remedies:?}")
            };
            format!("deny ({}): {denial}{lifted}{answers}", denial.code())
        }
    }
}

/// The members that the set itself answered.
fn show_answers(answers: Answers) -> String {
    let word = |answer| if answer == Answer::Permit { "yes" } else { "no" };
    let person = answers.person.map(|answer| format!("person {}", word(answer)));
    let instance = answers.instance.map(|answer| format!("instance {}", word(answer)));
    let both: Vec<String> = person.into_iter().chain(instance).collect();
    format!(" [{}]", both.join(", "))
}
