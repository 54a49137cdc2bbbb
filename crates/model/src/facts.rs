//! Facts: what was known when a decision was made, and as of which revision.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    Agent, AgentName, Answer, Attestation, Binding, ConsentId, Elevated, Elevation, ElevationId,
    Enrolled, Initiator, Instance, InstanceId, Mandate, MandateId, Person, PersonId, Purpose,
    PurposeId, Server, ServerName, Sha256Digest, SourceName, StopTarget, Stops, SystemName, Task,
    TaskId, Thumbprint, Timestamp, Tool, ToolRef, WorkloadIdentity,
};

/// How the keys begin of what platforms' tokens were shown with.
pub const SHOWN: &str = "shown/";

/// The state of everything that decisions read, as a number that every change increases.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Revision(pub u64);

/// Names one fact in the store; a decision's read set is made of these.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FactKey(Arc<str>);

impl FactKey {
    /// The key with this text, as a store keeps it.
    pub fn from_text(text: &str) -> Self {
        Self(text.into())
    }

    /// A person of the register.
    pub fn person(id: &PersonId) -> Self {
        Self(format!("person/{id}").into())
    }

    /// The person whom a login joins: who `issuer` says that they are, by `subject`. An e-mail
    /// address never joins anybody.
    pub fn login(issuer: &str, subject: &str) -> Self {
        let login = json::canonical(&serde_json::json!([issuer, subject]));
        Self(format!("login/{}", Sha256Digest::of(&login)).into())
    }

    /// A directory that says who its people are.
    pub fn people_source(name: &SourceName) -> Self {
        Self(format!("people-source/{name}").into())
    }

    /// An agent of the register.
    pub fn agent(name: &AgentName) -> Self {
        Self(format!("agent/{name}").into())
    }

    /// A purpose of the register.
    pub fn purpose(id: &PurposeId) -> Self {
        Self(format!("purpose/{id}").into())
    }

    /// An instance.
    pub fn instance(id: InstanceId) -> Self {
        Self(format!("instance/{id}").into())
    }

    /// The instance that holds a key.
    pub fn key(thumbprint: &Thumbprint) -> Self {
        Self(format!("key/{thumbprint}").into())
    }

    /// Which keys sign and verify tokens, once the first one was exchanged.
    pub fn token_keys() -> Self {
        Self("token-keys".into())
    }

    /// Whose a registered key is: holds the key of the agent's, the system's or the device's own fact.
    pub fn registered(thumbprint: &Thumbprint) -> Self {
        Self(format!("registered/{thumbprint}").into())
    }

    /// A device that vouches for instances of an agent.
    pub fn device(agent: &AgentName, id: &Thumbprint) -> Self {
        Self(format!("device/{agent}/{id}").into())
    }

    /// What the next renewal of an instance's token has to follow.
    pub fn renewal(id: InstanceId) -> Self {
        Self(format!("renewal/{id}").into())
    }

    /// The instances of an agent that are stopped.
    pub fn stopped(agent: &AgentName) -> Self {
        Self(format!("stopped/{agent}").into())
    }

    /// The instances of a workload that are stopped, under the name of whatever agent.
    pub fn stopped_workload(workload: &WorkloadIdentity) -> Self {
        Self(format!("stopped/workload/{}", workload.id()).into())
    }

    /// The agents as whose instances a workload was entered.
    pub fn agents_of(workload: &WorkloadIdentity) -> Self {
        Self(format!("workload/{}", workload.id()).into())
    }

    /// That something is stopped, while it is.
    pub fn stop(what: &StopTarget) -> Self {
        Self(format!("stop/{what}").into())
    }

    /// A system that starts work of agents.
    pub fn system(name: &SystemName) -> Self {
        Self(format!("system/{name}").into())
    }

    /// A mandate.
    pub fn mandate(id: MandateId) -> Self {
        Self(format!("mandate/{id}").into())
    }

    /// The standing mandate of an agent for a purpose: holds the mandate's id.
    pub fn standing_mandate(agent: &AgentName, purpose: &PurposeId) -> Self {
        Self(format!("standing/{agent}/{purpose}").into())
    }

    /// What an agent asks a person for.
    pub fn consent(id: ConsentId) -> Self {
        Self(format!("consent/{id}").into())
    }

    /// What an agent, or a client that is one sent this person for, asked of late and nobody
    /// consented to: until when each can be answered.
    pub fn asked(agent: &AgentName, person: Option<&PersonId>) -> Self {
        match person {
            Some(person) => Self(format!("asked/{agent}/{person}").into()),
            None => Self(format!("asked/{agent}").into()),
        }
    }

    /// The agent that an OAuth client is: holds its name.
    pub fn client(id: &str) -> Self {
        Self(format!("client/{}", Sha256Digest::of(id.as_bytes())).into())
    }

    /// That the code was redeemed which a client got for a consent: holds the instance that began.
    pub fn redeemed(consent: ConsentId) -> Self {
        Self(format!("redeemed/{consent}").into())
    }

    /// What came of one authorization code: all tokens that followed each other. It is named by the
    /// digest of what all their refresh tokens begin with.
    pub fn family(id: &Sha256Digest) -> Self {
        Self(format!("family/{id}").into())
    }

    /// A mandate that a person gave by consent: holds the mandate's id.
    pub fn consented(person: &PersonId, mandate: MandateId) -> Self {
        Self(format!("consented/{person}/{mandate}").into())
    }

    /// A task.
    pub fn task(id: TaskId) -> Self {
        Self(format!("task/{id}").into())
    }

    /// A part of the task `parent` that was handed on: holds the part's id.
    pub fn part(parent: TaskId, part: TaskId) -> Self {
        Self(format!("part/{parent}/{part}").into())
    }

    /// An elevation, whatever became of it.
    pub fn elevation(id: ElevationId) -> Self {
        Self(format!("elevation/{id}").into())
    }

    /// The elevations that somebody approved in a task: holds their ids.
    pub fn elevated(task: TaskId) -> Self {
        Self(format!("elevated/{task}").into())
    }

    /// The labels of a session.
    pub fn session(id: TaskId) -> Self {
        Self(format!("session/{id}").into())
    }

    /// An upstream server.
    pub fn server(name: &ServerName) -> Self {
        Self(format!("server/{name}").into())
    }

    /// The agents that have called with an account of ours at a server.
    pub fn account(credential: &Sha256Digest) -> Self {
        Self(format!("account/{credential}").into())
    }

    /// A tool.
    pub fn tool(tool: &ToolRef) -> Self {
        Self(format!("tool/{tool}").into())
    }

    /// Which policy set is in force.
    pub fn active_policy() -> Self {
        Self("policy/active".into())
    }

    /// A policy set, by digest.
    pub fn policy(digest: &crate::PolicyDigest) -> Self {
        Self(format!("policy/set/{digest}").into())
    }

    /// The mark of an act whose outcome nobody knows.
    pub fn unknown_outcome(act: &crate::ActDigest) -> Self {
        Self(format!("unknown/{act}").into())
    }

    /// The wrapped key under which a person's disclosures are sealed.
    pub fn data_key(id: &PersonId) -> Self {
        Self(format!("datakey/{id}").into())
    }

    /// Whose key a platform's token was shown with, by when it ends: what has ended comes first.
    pub fn shown(expires: Timestamp, token: &Sha256Digest) -> Self {
        Self(format!("{SHOWN}{:013}/{token}", expires.as_millis()).into())
    }

    /// A caller that is no active agent.
    pub fn finding(id: &Sha256Digest) -> Self {
        Self(format!("finding/{id}").into())
    }

    /// The founding of the deployment.
    pub fn deployment() -> Self {
        Self("deployment".into())
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FactKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FactKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

/// A value with the keys that it was read from and the revision at which it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// The facts that it was made from.
    pub keys: Vec<FactKey>,
    /// The revision as of which they were read.
    pub revision: Revision,
}

/// Where an acting instance stands: itself and everybody and everything behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// The instance.
    pub instance: Instance,
    /// Its agent.
    pub agent: Agent,
    /// The agent's sponsor.
    pub sponsor: Person,
    /// The device that vouched for the instance, if one did, with who enrolled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Enrolled>,
    /// The person on whose behalf the task is done, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Person>,
    /// The task.
    pub task: Task,
    /// Who handed it on, the nearest first and the holder of the root task last; nobody, if the
    /// task is a root task itself. All parts of one task share them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delegators: Arc<Vec<Delegator>>,
    /// What the instance may do beyond its task, as somebody approved it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elevations: Vec<Elevated>,
    /// The mandate under which the root task was opened.
    pub mandate: Mandate,
    /// The system that started the task, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initiator: Option<Initiator>,
    /// The purpose.
    pub purpose: Purpose,
}

/// An instance that handed on a part of its task, with who answers for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegator {
    /// The instance.
    pub instance: Instance,
    /// Its agent.
    pub agent: Agent,
    /// The agent's sponsor.
    pub sponsor: Person,
    /// The device that vouched for the instance, if one did, with who enrolled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Enrolled>,
    /// Its task.
    pub task: Task,
}

impl Delegator {
    /// Its place in the chain.
    pub const fn hop(&self) -> Hop<'_> {
        let Self { instance, agent, sponsor, device, task } = self;
        Hop { instance, agent, sponsor, device: device.as_ref(), task }
    }
}

/// One holder of a task in a delegation chain: who acts, or who handed on.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'a> {
    /// The instance.
    pub instance: &'a Instance,
    /// Its agent.
    pub agent: &'a Agent,
    /// The agent's sponsor.
    pub sponsor: &'a Person,
    /// The device that vouched for the instance, if one did, with who enrolled it.
    pub device: Option<&'a Enrolled>,
    /// Its task.
    pub task: &'a Task,
}

impl Hop<'_> {
    /// Who vouches for the instance: never more than when it was entered, and the host or a platform
    /// only while its agent's rules admit the process or the workload.
    fn attestation(&self) -> Attestation {
        let Instance { attestation, process, workload, .. } = self.instance;
        match attestation {
            Attestation::Host if !self.agent.admits(process.as_ref()) => Attestation::User,
            Attestation::Workload if !self.agent.admits_workload(workload.as_ref()) => {
                Attestation::User
            }
            other => *other,
        }
    }
}

impl Standing {
    /// The delegation chain (RFC 8693 §4.1): who acts first, the holder of the root task last.
    pub fn hops(&self) -> impl DoubleEndedIterator<Item = Hop<'_>> {
        let Self { instance, agent, sponsor, device, task, delegators, .. } = self;
        let own = Hop { instance, agent, sponsor, device: device.as_ref(), task };
        std::iter::once(own).chain(delegators.iter().map(Delegator::hop))
    }

    /// The root task: its id names the session that all branches share.
    pub fn root(&self) -> &Task {
        self.delegators.last().map_or(&self.task, |delegator| &delegator.task)
    }

    /// When the first of all ends on which an act of the instance rests: also `elevation`, if it rests on
    /// that.
    pub fn ends(&self, elevation: Option<ElevationId>) -> Timestamp {
        let hops = self.hops().map(|hop| {
            let own = hop.task.deadline.min(hop.agent.key_expires);
            hop.device.map_or(own, |enrolled| own.min(enrolled.device.valid_until))
        });
        let elevations = self.elevations.iter().map(|it| &it.elevation);
        let elevation =
            elevations.filter(|it| Some(it.id) == elevation).filter_map(Elevation::until);
        hops.chain(elevation).fold(self.mandate.valid_until, Timestamp::min)
    }

    /// Who vouches for what is done: the least of who vouches for the instance that acts, and for each
    /// that handed the work on. Nobody gets better vouched for by handing it to somebody who is.
    pub fn attestation(&self) -> Attestation {
        self.hops().map(|hop| hop.attestation()).min().unwrap_or(Attestation::None)
    }
}

/// The root task's shared state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionFacts {
    /// Labels of what was read.
    #[serde(default)]
    pub labels: BTreeSet<String>,
    /// Counters, by name.
    #[serde(default)]
    pub counters: BTreeMap<String, i64>,
}

/// Who acts, with what is known about them.
#[derive(Clone, Debug, PartialEq)]
pub enum PrincipalFacts {
    /// An instance of an agent.
    Instance(Arc<Standing>),
    /// A person who administers.
    Administrator(Person),
}

/// An agent that an act concerns, with who answers for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentFacts {
    /// The agent.
    pub agent: Agent,
    /// Its sponsor.
    pub sponsor: Person,
}

/// Everything a decision may read. `decide` reads nothing else.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// As of which revision.
    pub revision: Revision,
    /// The time of the decision.
    pub now: Timestamp,
    /// Who acts.
    pub principal: PrincipalFacts,
    /// The tool called, if one is.
    pub tool: Option<Arc<Tool>>,
    /// The server that the act concerns, if one does.
    pub server: Option<Arc<Server>>,
    /// The owner of the tool, if it has one.
    pub tool_owner: Option<Person>,
    /// The agent that the act concerns, if it concerns one that is registered.
    pub agent: Option<Arc<AgentFacts>>,
    /// The session.
    pub session: SessionFacts,
    /// How the caller's token is bound.
    pub binding: Binding,
    /// What administrators have stopped.
    pub stops: Arc<Stops>,
}

impl Facts {
    /// The digest of what these facts say about the tool, for records.
    pub fn pin(&self) -> Option<Sha256Digest> {
        self.tool.as_ref().map(|tool| Sha256Digest::from_bytes(*tool.pin.as_bytes()))
    }

    /// Whether the tool called can do more than read.
    pub fn is_consequential(&self) -> bool {
        self.tool.as_ref().is_some_and(|tool| tool.is_consequential())
    }
}

impl From<bool> for Answer {
    fn from(permitted: bool) -> Self {
        if permitted { Self::Permit } else { Self::Deny }
    }
}
