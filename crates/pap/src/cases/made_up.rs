//! The facts that cases are decided on: everything behind the instance is in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{
    AccessRequest, ActionName, AgentFacts, AgentName, Agreed, DecisionId, Delegation, Delegator,
    Facts, Harm, HostProcess, HostRule, InstanceId, Mandate, MandateBasis, MandateId, Origin,
    Person, PinDigest, Place, Principal, PrincipalFacts, Provenance, Rated, RegisteredClient,
    ResourceRef, Revision, Risk, Scope, Server, ServerName, SessionFacts, Sha256Digest, Standing,
    TaskId, Thumbprint, Timestamp, Tool, ToolRef, ToolState, WorkloadIdentity, WorkloadRule,
};
use serde_json::json;

use super::Tools;
use super::by_instance::{ByInstance, Call, Method};

/// The task that is worked on.
const TASK: TaskId = TaskId::from_bytes([2; 16]);

/// The method by which somebody takes over the work of another one: of no server.
const RESUME: &str = "task/resume";

impl ByInstance {
    /// What is asked, and the facts that it is decided on.
    pub(super) fn put(&self, tools: &Tools) -> Result<(AccessRequest, Facts), String> {
        let instance = InstanceId::from_bytes([1; 16]);
        let (action, resource, input) = match (&self.call, &self.method) {
            (Some(Call { tool, input }), None) => {
                (ActionName::tool(tool), ResourceRef::Tool(tool.clone()), input.clone())
            }
            (None, Some(method)) => {
                (ActionName::method(&method.name), method.resource()?, method.input.clone())
            }
            _ => return Err("it needs either `call` or `method`, or `act`".to_owned()),
        };
        let tool = self.call.as_ref().map(|call| described(&call.tool, tools)).transpose()?;
        let server = match &resource {
            ResourceRef::Tool(tool) => Some(&tool.server),
            ResourceRef::Server(server)
            | ResourceRef::Resource { server, .. }
            | ResourceRef::Prompt { server, .. } => Some(server),
            _ => None,
        };
        let standing = standing(self, instance, server);
        let agent = match &resource {
            ResourceRef::Agent(name) => Some(handed_to(name, &standing)),
            _ => None,
        };
        let server = server.map(|name| Arc::new(self.server(name)));
        let request =
            AccessRequest { principal: Principal::Instance(instance), action, resource, input };
        let facts = Facts {
            revision: Revision(0),
            now: self.now,
            principal: PrincipalFacts::Instance(Arc::new(standing)),
            tool_owner: tool.is_some().then(|| Arc::new(person("owner"))),
            tool: tool.map(Arc::new),
            agent,
            server,
            session: SessionFacts {
                labels: self.labels.clone(),
                used_tools: self.used_tools.clone(),
                counters: self.counters(),
                unremembered: BTreeSet::new(),
                provenance: self.came_from(),
                used: BTreeMap::new(),
                token_age_s: Some(self.token_age_s),
            },
            binding: self.binding,
            stops: Arc::default(),
        };
        Ok((request, facts))
    }

    fn server(&self, name: &ServerName) -> Server {
        Server {
            name: name.clone(),
            enforcement: self.enforcement,
            origin: String::new(),
            added: self.now,
            account: self.shared_account.then(|| Sha256Digest::of(b"")),
            // Whoever asks, one of them is another.
            callers: ["one", "another"].map(|name| name.parse().expect("it is a name")).into(),
            place: Place { environment: self.environment.clone(), region: self.region.clone() },
        }
    }
}

impl Method {
    /// What it is done to.
    fn resource(&self) -> Result<ResourceRef, String> {
        let Self { name, server, uri, prompt, agent, input: _ } = self.clone();
        match (server, uri, prompt, agent) {
            (Some(server), None, None, None) => Ok(ResourceRef::Server(server)),
            (Some(server), Some(uri), None, None) => Ok(ResourceRef::Resource { server, uri }),
            (Some(server), None, Some(name), None) => Ok(ResourceRef::Prompt { server, name }),
            (None, None, None, Some(agent)) => Ok(ResourceRef::Agent(agent)),
            (None, None, None, None) if name == RESUME => Ok(ResourceRef::Task(TASK)),
            _ => {
                let why = "needs a `server`, or one `uri` or `prompt` there, or an `agent`";
                Err(format!("the method `{name}` {why}"))
            }
        }
    }
}

impl ByInstance {
    fn counters(&self) -> BTreeMap<String, i64> {
        let of_tools = self.counters.iter().map(|(tool, n)| (tool.to_string(), i64::from(*n)));
        of_tools.chain([("calls".to_owned(), self.calls)]).collect()
    }

    /// Where each argument of the call comes from.
    fn came_from(&self) -> Provenance {
        let mut provenance = self.provenance.clone();
        let arguments = self.call.iter().filter_map(|call| call.input.as_object());
        for name in arguments.flat_map(serde_json::Map::keys) {
            if !provenance.sets().iter().any(|names| names.contains(name)) {
                provenance.insert(name.clone(), Origin::Unknown);
            }
        }
        provenance
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
        objects: described.objects.clone(),
        data: described.data.clone(),
        requires_subject: false,
        not_delegable: false,
        state: ToolState::Pinned,
    })
}

/// Somebody who is here.
fn person(id: &str) -> Person {
    Person::new(id.parse().expect("it is a name"), BTreeSet::new())
}

/// Of which workload an instance is, where a case says that its platform vouches for it.
const ISSUER: &str = "https://platform.example";
const SUBJECT: &str = "workload";

/// An instance of the case's agent with everything behind it in order, entitled to all of `server`.
fn standing(case: &ByInstance, instance: InstanceId, server: Option<&ServerName>) -> Standing {
    let everything = everything(server);
    let source: model::SourceName = "directory".parse().expect("it is a name");
    let sponsor = Person { source: Some(source.clone()), ..person("sponsor") };
    let hour = std::time::Duration::from_hours(1);
    let later = case.now.plus(hour);
    let subject = case.subject.as_ref().map(Person::from);
    let standing = MandateBasis::Standing { sponsor: sponsor.id.clone() };
    let mandate = Mandate {
        id: MandateId::from_bytes([3; 16]),
        basis: subject.as_ref().map_or(standing, |person| consented(person, server)),
        agent: if case.depth == 0 { case.agent.clone() } else { lead(case.depth) },
        purpose: case.purpose.clone(),
        scope: everything.clone(),
        given: case.now,
        valid_until: later,
        withdrawn: None,
    };
    let mut task = model::Task {
        id: TASK,
        instance,
        delegation: None,
        mandate: mandate.id,
        mandate_digest: mandate.digest(),
        purpose: case.purpose.clone(),
        subject: mandate.basis.subject(),
        scope: everything.clone(),
        opened: case.now,
        deadline: later,
        state: model::TaskState::Open,
    };
    let owners = BTreeMap::from([(sponsor.id.clone(), sponsor.clone())]);
    let agent = model::Agent {
        purposes: BTreeSet::from([case.purpose.clone()]),
        ..agent((&case.agent, &sponsor), &everything, (case.now, later))
    };
    let instance = entered(case, instance);
    let purpose = model::Purpose {
        id: case.purpose.clone(),
        owner: sponsor.id.clone(),
        owned: Some(case.now),
        scope: Scope { objects: case.ends.objects.clone(), ..everything },
        data: case.ends.data.clone(),
        description: String::new(),
    };
    let delegators = handed_on(case.depth, &mut task, (&instance, &agent, &sponsor));
    Standing {
        instance,
        agent,
        sponsor,
        device: None,
        subject,
        task,
        delegators: Arc::new(delegators),
        elevations: Vec::new(),
        mandate,
        initiator: None,
        purpose,
        owners,
        heard: BTreeMap::from([(source, if case.unconfirmed { case.now } else { later })]),
        sharing: case
            .shared_workload
            .then(|| [case.agent.clone(), lead(0)])
            .into_iter()
            .flatten()
            .collect(),
    }
}

/// The word of `person` that all of `server` may be used, and the work handed on.
fn consented(person: &Person, server: Option<&ServerName>) -> MandateBasis {
    let resources = server.cloned().into_iter().collect();
    MandateBasis::Consented {
        subject: person.id.clone(),
        request: Sha256Digest::of(b""),
        once: false,
        agreed: Agreed { resources, delegable: true, ..Agreed::default() },
        session: None,
    }
}

/// All that can be done at `server`.
pub(super) fn everything(server: Option<&ServerName>) -> Scope {
    let all = |server: &ServerName| format!("{server}/*").parse().expect("it is a pattern");
    Scope {
        tools: server.map(all).into_iter().collect(),
        harm: Harm::ALL.into_iter().collect(),
        objects: None,
        max_calls: None,
        max_tasks_a_day: None,
    }
}

/// The agent `name`, for which `sponsor` answers from `now` until `later`, registered for no purpose.
pub(super) fn agent(
    (name, sponsor): (&AgentName, &Person),
    everything: &Scope,
    (now, later): (Timestamp, Timestamp),
) -> model::Agent {
    let rule = WorkloadRule::new(ISSUER, SUBJECT, BTreeMap::new()).expect("it is a rule");
    model::Agent {
        name: name.clone(),
        business_owner: sponsor.id.clone(),
        technical_owner: sponsor.id.clone(),
        sponsor: sponsor.id.clone(),
        owned: Some(now),
        bounded_by: Some(sponsor.id.clone()),
        backups: BTreeSet::new(),
        purposes: BTreeSet::new(),
        ceiling: everything.clone(),
        key: json!({}),
        key_expires: later,
        keys_compromised: None,
        valid_until: None,
        host: Some(HostRule { exe: None, uid: 0 }),
        workloads: vec![rule],
        client: Some(RegisteredClient { id: ISSUER.to_owned(), bearer: true, since: now }),
        memory: model::Memory::Kept,
        forgets: None,
        declared: model::Declared::default(),
        departed: None,
        registered: now,
        affirmed: None,
        review: model::AgentReview::default(),
        risk: None,
        risk_of_new: None,
        rated: Rated::default(),
        source: None,
        state: model::AgentState::Active,
    }
}

/// The case's instance, for which everybody vouches that may.
fn entered(case: &ByInstance, id: InstanceId) -> model::Instance {
    let (issuer, subject) = (ISSUER.to_owned(), SUBJECT.to_owned());
    model::Instance {
        id,
        agent: case.agent.clone(),
        key: Some(Thumbprint::from_bytes([4; 32])),
        attestation: case.attestation,
        process: Some(HostProcess { exe: None, pid: 1, started: 0, uid: 0 }),
        workload: Some(WorkloadIdentity { issuer, subject, claims: BTreeMap::new() }),
        device: None,
        keys_compromised: None,
        task: TASK,
        departed: None,
        started: case.now,
        risk: case.risk.map(|level| Risk { level, since: case.now }),
        rated: Rated::default(),
        state: model::InstanceState::Active,
    }
}

/// The agent `name` to which work is handed on: but for its name, an equal of who hands it on.
fn handed_to(name: &AgentName, standing: &Standing) -> Arc<AgentFacts> {
    let agent = model::Agent { name: name.clone(), ..standing.agent.clone() };
    Arc::new(AgentFacts { agent, sponsor: standing.sponsor.clone(), succession: None })
}

/// The agent that handed the work on, so many hops above who holds it.
fn lead(hop: u8) -> AgentName {
    format!("lead-{hop}").parse().expect("it is a name")
}

/// Those who handed `task` on, as often as `depth` says: but for their names, equals of who holds it.
fn handed_on(
    depth: u8,
    task: &mut model::Task,
    (instance, agent, sponsor): (&model::Instance, &model::Agent, &Person),
) -> Vec<Delegator> {
    let mut delegators: Vec<Delegator> = Vec::new();
    for hop in 1..=depth {
        let part = delegators.last_mut().map_or(&mut *task, |delegator| &mut delegator.task);
        let mut held = part.clone();
        // Ids that nobody else has.
        let mut id = [0; 16];
        id[0] = hop;
        (held.id, held.instance) = (TaskId::from_bytes(id), InstanceId::from_bytes(id));
        let decision = DecisionId::from_bytes(id);
        part.delegation = Some(Delegation { parent: held.id, by: held.instance, decision });
        let (id, agent_name) = (held.instance, lead(hop));
        delegators.push(Delegator {
            instance: model::Instance {
                id,
                agent: agent_name.clone(),
                task: held.id,
                ..instance.clone()
            },
            agent: model::Agent { name: agent_name, ..agent.clone() },
            sponsor: sponsor.clone(),
            device: None,
            task: held,
        });
    }
    delegators
}
