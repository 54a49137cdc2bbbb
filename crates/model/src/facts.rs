//! Facts: what was known when a decision was made, and as of which revision.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    Agent, AgentName, Amount, Answer, Attestation, Binding, DataCategory, Directory, Elevated,
    Elevation, ElevationId, Enrolled, FactKey, Initiator, Instance, KernelRule, Label, Mandate,
    Person, PersonId, Principal, Provenance, Provisioning, Purpose, RiskLevel, Server,
    Sha256Digest, SourceName, Stops, Task, Timestamp, Tool, ToolRef, UnitName,
};

/// The state of everything that decisions read, as a number that every change increases.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Revision(pub u64);

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
    /// Who owns what acts here: of each agent who wants it and who keeps it running, and the owner of the
    /// purpose, as far as they are known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub owners: BTreeMap<PersonId, Person>,
    /// Until when the people of a directory are confirmed, of those that answer for it or on whose behalf
    /// it is, where silence is bounded.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub heard: BTreeMap<SourceName, Timestamp>,
    /// The agents that share a workload behind it: as whose instances it was entered, where those are
    /// several.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub sharing: BTreeSet<AgentName>,
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

    /// Whether nothing but a key vouches for the instance that was in other hands, as its agent's sponsor said
    /// since it was entered.
    pub fn is_by_compromised_key(&self) -> bool {
        let is_by_key = self.instance.device.is_none() && self.attestation() <= Attestation::User;
        is_by_key && self.instance.keys_compromised < self.agent.keys_compromised
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

    /// The greatest risk at `now` that is said of anybody on whom its acts hang: it and its agent, whoever handed
    /// the work on, their sponsors, and the person on whose behalf it is done; and at which the service itself
    /// sees one of these instances.
    pub fn risk(&self, now: Timestamp) -> Option<RiskLevel> {
        let agents = self
            .hops()
            .flat_map(|Hop { instance, agent, .. }| [instance.risk_level(), agent.risk_level()]);
        let sponsors = self.hops().map(|hop| hop.sponsor);
        let people = sponsors.chain(&self.subject).map(Person::risk_level);
        let departed = self.hops().map(|hop| hop.instance.departed.as_ref()?.level_at(now));
        agents.chain(people).chain(departed).max().flatten()
    }

    /// When the first of all ends on which an act of the instance rests: also `elevation`, if it rests on
    /// that.
    pub fn ends(&self, elevation: Option<ElevationId>) -> Timestamp {
        let hops = self.hops().map(|hop| {
            let own = hop.task.deadline.min(hop.agent.acts_until());
            hop.device.map_or(own, |enrolled| own.min(enrolled.device.valid_until))
        });
        let elevations = self.elevations.iter().map(|it| &it.elevation);
        let elevation =
            elevations.filter(|it| Some(it.id) == elevation).filter_map(Elevation::until);
        hops.chain(elevation).fold(self.mandate.valid_until, Timestamp::min)
    }

    /// Whether who tells of the people who answer for it, and of the person on whose behalf it is, has been
    /// heard of late, as far as anybody waits for that.
    pub fn is_confirmed(&self, now: Timestamp) -> bool {
        let people = self.hops().map(|hop| hop.sponsor).chain(&self.subject);
        let mut sources = people.filter_map(|person| person.source.as_ref());
        sources.all(|source| self.heard.get(source).is_none_or(|until| now < *until))
    }

    /// Whether `tool` is declared of who acts: its agent, the purpose and the mandate have it by its name.
    pub fn declares(&self, tool: &ToolRef) -> bool {
        let scopes = [&self.agent.ceiling, &self.purpose.scope, &self.mandate.scope];
        scopes.iter().all(|scope| scope.tools.iter().any(|pattern| pattern.covers(tool)))
    }

    /// The rule of `tool` by which it is called nowhere in this work, whatever the scopes hold.
    pub fn bars(&self, tool: &Tool) -> Option<KernelRule> {
        if tool.requires_subject && self.subject.is_none() {
            return Some(KernelRule::NoOriginator);
        }
        let is_handed_on = !self.delegators.is_empty();
        (tool.not_delegable && is_handed_on).then_some(KernelRule::NotDelegable)
    }

    /// Whether the work is for the categories of data that `tool` touches, as far as anybody said which.
    pub fn is_for(&self, tool: &Tool) -> bool {
        self.purpose.is_for(&tool.data) && self.mandate.is_for(&tool.data)
    }

    /// The categories of data that the work is for, as far as anybody said which; any, where nobody did.
    pub fn data(&self) -> Option<BTreeSet<DataCategory>> {
        let of_purpose = Some(&self.purpose.data).filter(|named| !named.is_empty());
        match (of_purpose, self.mandate.data()) {
            (Some(named), Some(shown)) => Some(named.intersection(shown).cloned().collect()),
            (one, other) => one.or(other).cloned(),
        }
    }

    /// Who own what acts here.
    pub fn named_owners(&self) -> BTreeSet<&PersonId> {
        let of_agents = self.hops().flat_map(|hop| {
            let Agent { business_owner, technical_owner, .. } = hop.agent;
            [business_owner, technical_owner]
        });
        of_agents.chain([&self.purpose.owner]).collect()
    }

    /// Whether all of them are here and still answer for it, and of each agent it is known who set what
    /// it may be given.
    pub fn is_owned(&self) -> bool {
        let owners = &self.owners;
        self.hops().all(|hop| hop.agent.is_owned(owners)) && self.purpose.is_owned(owners)
    }

    /// Where what those have read is kept that have a part in this, as far as anybody told which process,
    /// workload or device each is, with whether that counts: of an agent that forgets, what was read under
    /// this mandate does. That is kept of the others, too: they may come to forget.
    pub fn memory(&self) -> BTreeMap<FactKey, bool> {
        let mut all = BTreeMap::new();
        for hop in self.hops() {
            let keeps = hop.agent.remembers(&self.owners).is_kept();
            for (mandate, counts) in [(None, keeps), (Some(self.mandate.id), true)] {
                for place in hop.instance.memories(mandate) {
                    *all.entry(place).or_insert(false) |= counts;
                }
            }
        }
        all
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
    pub labels: BTreeSet<Label>,
    /// The tools that were called, where policy looks at them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub used_tools: BTreeSet<ToolRef>,
    /// Counters, by name: of all calls, and of those of each tool where policy looks at that.
    #[serde(default)]
    pub counters: BTreeMap<String, i64>,
    /// Of what policy looks at, what was not remembered ever since the session was opened, as policy names it:
    /// `used_tools`, or the tool whose calls it counts.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unremembered: BTreeSet<String>,
    /// Where the arguments of the call come from that is asked about, where policy looks at that.
    #[serde(default, skip_serializing_if = "Provenance::is_empty")]
    pub provenance: Provenance,
    /// What is used up of a budget, by its name and where that is ([`Spend::counter`](crate::Spend::counter)):
    /// only where a commit found that too little is left.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub used: BTreeMap<String, Amount>,
    /// How many whole seconds before the decision the token was issued that was shown, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_age_s: Option<u64>,
}

/// Who acts, with what is known about them.
#[derive(Clone, Debug, PartialEq)]
pub enum PrincipalFacts {
    /// An instance of an agent.
    Instance(Arc<Standing>),
    /// A person who administers.
    Administrator(Person),
    /// A directory, with what it gives a person.
    Directory(Directory, Provisioning),
}

/// An agent that an act concerns, with who answers for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentFacts {
    /// The agent.
    pub agent: Agent,
    /// Its sponsor.
    pub sponsor: Person,
    /// Who may follow its sponsor, where somebody wants to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub succession: Option<Succession>,
}

/// Whom it falls to when the sponsor of an agent is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Succession {
    /// To whom the sponsor reported, the nearest first; at most [`LINE_MAX`].
    pub line: Vec<PersonId>,
    /// The unit of the business owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitName>,
}

/// The most managers of a line that are looked at.
pub const LINE_MAX: usize = 8;

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
    pub tool_owner: Option<Arc<Person>>,
    /// The agent that the act concerns, if it concerns one that is registered.
    pub agent: Option<Arc<AgentFacts>>,
    /// The session.
    pub session: SessionFacts,
    /// How the caller's token is bound.
    pub binding: Binding,
    /// What administrators have stopped.
    pub stops: Arc<Stops>,
}

impl PrincipalFacts {
    /// Whose facts they are.
    pub fn principal(&self) -> Principal {
        match self {
            Self::Instance(standing) => Principal::Instance(standing.instance.id),
            Self::Administrator(person) => Principal::Person(person.id.clone()),
            Self::Directory(directory, _) => Principal::Directory(directory.name.clone()),
        }
    }
}

impl Facts {
    /// What is known where somebody administers: who that is, and the agent that it is done to, if it is to one that is
    /// registered.
    pub fn of_administration(
        (revision, now): (Revision, Timestamp),
        principal: PrincipalFacts,
        agent: Option<Arc<AgentFacts>>,
    ) -> Self {
        Self {
            revision,
            now,
            principal,
            tool: None,
            server: None,
            tool_owner: None,
            agent,
            session: SessionFacts::default(),
            binding: Binding::None,
            stops: Arc::default(),
        }
    }

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
