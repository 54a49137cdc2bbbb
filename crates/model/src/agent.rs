//! Agents (the class) and their instances (one running execution each).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    AgentName, AgentReview, CLOCK_STEP_MAX, Declared, Departed, FactKey, HostProcess, HostRule,
    InstanceId, MandateId, Person, PersonId, PurposeId, Rated, Risk, RiskLevel, Risks, Scope,
    Sha256Digest, SourceName, TaskId, Thumbprint, Timestamp, WorkloadIdentity, WorkloadRule,
};

/// How long a lease lasts, from when the sponsor gave it on: what ends further ahead is none.
pub const LEASE_MAX: Duration = Duration::from_hours(30 * 24);

/// How long what has ended may still be under way anywhere: whatever has not heard for so long what
/// holds denies by itself.
pub const PROPAGATION_MAX: Duration = Duration::from_secs(5);

/// The most people of one agent who may follow its sponsor by name.
pub const BACKUPS_MAX: usize = 3;

/// Registered software that acts, and the people who answer for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// Its name; also its OAuth `client_id`.
    pub name: AgentName,
    /// The one accountable, active person. Not a team: a team cannot leave.
    pub sponsor: PersonId,
    /// Who wants what it does.
    pub business_owner: PersonId,
    /// Who keeps it running.
    pub technical_owner: PersonId,
    /// When these two were last named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owned: Option<Timestamp>,
    /// Who is asked to follow the sponsor when they are gone: policy may refer to them, and nothing
    /// passes to them by itself. At most [`BACKUPS_MAX`].
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub backups: BTreeSet<PersonId>,
    /// The purposes for which it may be given a task.
    pub purposes: BTreeSet<PurposeId>,
    /// The most it may ever be given.
    pub ceiling: Scope,
    /// Who set that: who registered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounded_by: Option<PersonId>,
    /// The public key (JWK) with which it says which instances are its own.
    pub key: serde_json::Value,
    /// When that key stops vouching.
    pub key_expires: Timestamp,
    /// How many keys of its were in other hands, as its sponsor said, if any was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_compromised: Option<u32>,
    /// When its lease ends: its sponsor says before that it is to go on, or it does nothing from then
    /// on. One that was registered before there were leases has its key's time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
    /// Which processes of the service's host the kernel may vouch for; without it, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostRule>,
    /// Which workloads a platform may vouch for; without one, none. At most
    /// [`crate::workload::RULES_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workloads: Vec<WorkloadRule>,
    /// The OAuth client that people use as this agent over HTTP, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<RegisteredClient>,
    /// What its processes are to remember from one task to the next; see [`Agent::remembers`].
    #[serde(default, skip_serializing_if = "Memory::is_kept")]
    pub memory: Memory,
    /// Who said that they forget, if anybody did who answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forgets: Option<Forgets>,
    /// How often, and when, its instances act, as far as that is declared.
    #[serde(default, skip_serializing_if = "Declared::is_none")]
    pub declared: Declared,
    /// At what risk new ones begin, because one departed from what is declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub departed: Option<Departed>,
    /// When it was registered, last taken over, or last reinstated: what it was given before is over.
    pub registered: Timestamp,
    /// When its sponsor last affirmed that they answer for it, if they did since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affirmed: Option<Timestamp>,
    /// How it stands with its reviews.
    #[serde(default, skip_serializing_if = "AgentReview::is_none")]
    pub review: AgentReview,
    /// The risk that is said of it, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<Risk>,
    /// The greatest risk that was said of one of its instances: new ones begin with it, so that a
    /// restart sheds nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk_of_new: Option<Risk>,
    /// How transmitters rate it, each as it last did.
    #[serde(default, skip_serializing_if = "Rated::is_by_nobody")]
    pub rated: Rated,
    /// The directory that registered it, if one did: it may say that it is gone, and no other may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceName>,
    /// Where it stands in its life.
    pub state: AgentState,
}

impl Agent {
    /// Whether `sponsor`, whom it names, answers for it: as who they are now, and since nothing of
    /// theirs was cut off.
    pub fn is_answered_for_by(&self, sponsor: &Person) -> bool {
        let answered = self.answered();
        sponsor.answers_for(self.registered) && sponsor.moved.is_none_or(|moved| answered > moved)
    }

    /// When its sponsor last said that they answer for it.
    pub fn answered(&self) -> Timestamp {
        self.affirmed.unwrap_or(self.registered).max(self.registered)
    }

    /// Whether `person`, who is to want it or to keep it running, does so still.
    pub fn is_owned_by(&self, person: &Person) -> bool {
        // Of what was said before it was kept when, nobody knows that it was after anything.
        person.answers_for(self.owned.unwrap_or(Timestamp::from_millis(0)))
    }

    /// Whether those of `people` who want it and who keep it running are here, and somebody set what it
    /// may be given.
    pub fn is_owned(&self, people: &BTreeMap<PersonId, Person>) -> bool {
        let is_here = |id| people.get(id).is_some_and(|person| self.is_owned_by(person));
        self.bounded_by.is_some() && is_here(&self.business_owner) && is_here(&self.technical_owner)
    }

    /// What its processes remember from one task to the next: they forget only as long as its technical
    /// owner is among `people`, has said so, and has not left since then, nor since they were named.
    pub fn remembers(&self, people: &BTreeMap<PersonId, Person>) -> Memory {
        let is_answered = |said: &Forgets| {
            let still =
                |person: &Person| self.is_owned_by(person) && person.answers_for(said.since);
            said.by == self.technical_owner && people.get(&said.by).is_some_and(still)
        };
        if self.forgets.as_ref().is_some_and(is_answered) { self.memory } else { Memory::Kept }
    }

    /// Who answers for it that its processes forget, as `people` are; none where they remember all.
    pub fn answers_for_memory(&self, people: &BTreeMap<PersonId, Person>) -> Option<&PersonId> {
        match self.remembers(people) {
            Memory::Kept => None,
            Memory::PerTask => Some(&self.technical_owner),
        }
    }

    /// The greatest risk that anybody says of it.
    pub fn risk_level(&self) -> Option<RiskLevel> {
        self.rated.level_beside(self.risk.as_ref())
    }

    /// What is said of its risk, by whomever.
    pub fn risks(&self) -> Risks {
        Risks { risk: self.risk.clone(), rated: self.rated.clone(), departed: None }
    }

    /// When its lease ends, with its key at the latest.
    pub fn leased_until(&self) -> Timestamp {
        self.valid_until.map_or(self.key_expires, |until| until.min(self.key_expires))
    }

    /// Whether its lease runs at `now`. One that ends further ahead than a lease lasts was not given by
    /// a clock that ran true, and bounds nothing.
    pub fn is_leased(&self, now: Timestamp) -> bool {
        let farthest = now.plus(LEASE_MAX).plus(CLOCK_STEP_MAX);
        now < self.leased_until() && self.valid_until.is_none_or(|until| until <= farthest)
    }

    /// Whether nobody had said at `now`, by the date of its review, that it is to keep what it has.
    pub fn has_lapsed(&self, now: Timestamp) -> bool {
        self.review.due().is_some_and(|due| due <= now)
    }

    /// Until when it acts, if nobody says anything anew: its sponsor of its lease, or a reviewer.
    pub fn acts_until(&self) -> Timestamp {
        let leased = self.leased_until();
        self.review.due().map_or(leased, |due| due.min(leased))
    }

    /// Begins it anew at `now`, on the word of its sponsor: with a lease, and with nothing of what it was
    /// given before. A review that is still open awaits its answer. Gives when it had lapsed, if it had.
    pub fn begin_anew(&mut self, now: Timestamp) -> Option<Timestamp> {
        let lapsed = self.review.due().filter(|due| *due <= now);
        if lapsed.is_some() {
            self.review.open = None;
        }
        (self.registered, self.affirmed) = (now, None);
        self.valid_until = Some(now.plus(LEASE_MAX));
        lapsed
    }

    /// Suspends it for `reason` from `now` on. Who is stopped already is so since when, and for what, they
    /// first were.
    pub fn suspend(&mut self, reason: String, now: Timestamp) {
        if self.state == AgentState::Active {
            self.state = AgentState::Suspended { reason, since: now };
        }
    }

    /// Ends it for good, from `now` on, or from when it was stopped on.
    pub fn retire(&mut self, now: Timestamp) {
        let since = self.state.stopped().unwrap_or(now);
        self.state = AgentState::Retired { since };
    }

    /// Names what is decided on by whoever decides whether it keeps what it has: who answers for it, for
    /// what, what it may be given at most, and what is taken for an instance of it. That its lease is
    /// renewed, or its sponsor affirms it, is not of that.
    pub fn version(&self) -> Sha256Digest {
        let Self { name, sponsor, business_owner, technical_owner, backups, purposes, .. } = self;
        let Self { ceiling, bounded_by, key, host, workloads, client, registered, .. } = self;
        let people = json!([sponsor, business_owner, technical_owner, backups, bounded_by]);
        let instances = json!([key, host, workloads, client]);
        let decided_on = json!([name, registered, people, purposes, ceiling, instances]);
        Sha256Digest::of(&json::canonical(&decided_on))
    }

    /// By when nothing of it acts any more, if whoever answers for it left and nobody ever said so: the
    /// end of the lease, or the date of its review, what clocks may differ, and how long what has ended may still be under way.
    pub fn bound(&self) -> Timestamp {
        self.acts_until().plus(CLOCK_STEP_MAX).plus(PROPAGATION_MAX)
    }

    /// Whether the host may vouch for `process`.
    pub fn admits(&self, process: Option<&HostProcess>) -> bool {
        self.host.as_ref().zip(process).is_some_and(|(rule, process)| rule.admits(process))
    }

    /// Whether a platform may vouch for `workload`.
    pub fn admits_workload(&self, workload: Option<&WorkloadIdentity>) -> bool {
        workload.is_some_and(|workload| self.workloads.iter().any(|rule| rule.admits(workload)))
    }

    /// Whether its instances may use tokens that are bound to no key.
    pub fn takes_bearer(&self) -> bool {
        self.client.as_ref().is_some_and(|client| client.bearer)
    }

    /// Whether `instance` may: it began since its client was registered as it is.
    pub fn takes_bearer_of(&self, instance: &Instance) -> bool {
        self.client.as_ref().is_some_and(|it| it.bearer && it.since <= instance.started)
    }

    /// Whether its client is `id`, by the registration of `since`.
    pub fn has_client(&self, id: &str, since: Timestamp) -> bool {
        self.client.as_ref().is_some_and(|client| client.id == id && client.since == since)
    }
}

/// An OAuth client that an administrator registered as an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisteredClient {
    /// Its `client_id`: the URL of the document that describes it
    /// (draft-ietf-oauth-client-id-metadata-document).
    pub id: String,
    /// Whether it may be given tokens that are bound to no key (RFC 6750).
    pub bearer: bool,
    /// When it was registered so: what came of it before is over.
    pub since: Timestamp,
}

/// The life of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum AgentState {
    /// May have instances.
    Active,
    /// Stopped until somebody takes responsibility.
    Suspended {
        /// Why, in a few words.
        reason: String,
        /// Since when.
        since: Timestamp,
    },
    /// Ended for good.
    Retired {
        /// Since when it may have no instances: it may have been suspended before.
        since: Timestamp,
    },
}

impl AgentState {
    /// Since when it is stopped, if it is.
    pub const fn stopped(&self) -> Option<Timestamp> {
        match self {
            Self::Active => None,
            Self::Suspended { since, .. } | Self::Retired { since } => Some(*since),
        }
    }
}

/// What the processes of an agent remember from one task to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Memory {
    /// Whatever they ever read.
    #[default]
    Kept,
    /// Nothing of what they read under another mandate: in force once its technical owner says so.
    PerTask,
}

/// The word of somebody that the processes of an agent forget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forgets {
    /// Who.
    pub by: PersonId,
    /// When.
    pub since: Timestamp,
}

impl Memory {
    /// Whether they remember all.
    pub const fn is_kept(&self) -> bool {
        match self {
            Self::Kept => true,
            Self::PerTask => false,
        }
    }
}

/// Who vouches that this process is an instance of that agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attestation {
    /// Nobody.
    None,
    /// A registered key or a login.
    User,
    /// The machine's kernel.
    Host,
    /// SPIFFE or an OIDC workload token.
    Workload,
}

impl Attestation {
    /// Every value.
    pub const ALL: [Self; 4] = [Self::None, Self::User, Self::Host, Self::Workload];

    /// The value as policies and records spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::User => "user",
            Self::Host => "host",
            Self::Workload => "workload",
        }
    }
}

/// How a token is bound to who may use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Binding {
    /// Whoever holds it may use it.
    None,
    /// A proof by the instance's key with each request (RFC 9449).
    Dpop,
    /// The instance's client certificate (RFC 8705).
    Mtls,
}

impl Binding {
    /// Every value.
    pub const ALL: [Self; 3] = [Self::None, Self::Dpop, Self::Mtls];

    /// The value as policies and records spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Dpop => "dpop",
            Self::Mtls => "mtls",
        }
    }
}

/// One running execution of an agent, with its own key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// Its id, the `sub` of its tokens.
    pub id: InstanceId,
    /// The agent that it is an execution of.
    pub agent: AgentName,
    /// The thumbprint of the key that only this execution holds; none for one whose tokens are bound
    /// to no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Thumbprint>,
    /// Who vouched for it when it was entered; see [`crate::Standing::attestation`].
    pub attestation: Attestation,
    /// The process that the host vouched for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<HostProcess>,
    /// The workload that its platform vouched for, as it was last shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadIdentity>,
    /// The device that vouched for it, by the thumbprint of its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Thumbprint>,
    /// How many keys of its agent were known to be in other hands when it was entered, if any was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_compromised: Option<u32>,
    /// The root task that it works on.
    pub task: TaskId,
    /// At what risk it is because it departed from what is declared of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub departed: Option<Departed>,
    /// When it first proved its key.
    pub started: Timestamp,
    /// The risk that is said of it, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<Risk>,
    /// How transmitters rate it, each as it last did.
    #[serde(default, skip_serializing_if = "Rated::is_by_nobody")]
    pub rated: Rated,
    /// Where it stands in its life.
    pub state: InstanceState,
}

impl Instance {
    /// The greatest risk that anybody says of it.
    pub fn risk_level(&self) -> Option<RiskLevel> {
        self.rated.level_beside(self.risk.as_ref())
    }

    /// What is said of its risk, by whomever, and at which the service itself sees it at `now`.
    pub fn risks(&self, now: Timestamp) -> Risks {
        let departed = self.departed.as_ref().and_then(|departed| departed.level_at(now));
        Risks { risk: self.risk.clone(), rated: self.rated.clone(), departed }
    }

    /// Where it is kept what it has read in all its tasks, or in those under one mandate: for each that was
    /// told of who it is, the process, the workload and the device. None where only a key vouches, which is
    /// of one task.
    pub fn memories(&self, mandate: Option<MandateId>) -> Vec<FactKey> {
        let process = self.process.iter().map(|it| FactKey::memory(it, mandate));
        let workload = self.workload.iter().map(|it| FactKey::memory_of_workload(it, mandate));
        let device = self.device.iter().map(|it| FactKey::memory_of_device(it, mandate));
        process.chain(workload).chain(device).collect()
    }

    /// Where it stands that the instance is stopped, while it is, so that what starts after it is too:
    /// with its agent, and with its workload, whichever agent that says it is.
    pub fn stop_marks(&self) -> Vec<FactKey> {
        let own = self.workload.as_ref().map(FactKey::stopped_workload);
        std::iter::once(FactKey::stopped(&self.agent)).chain(own).collect()
    }
}

/// The life of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum InstanceState {
    /// May act.
    Active,
    /// Stopped until an administrator has looked.
    Quarantined {
        /// What was seen, as a stable code or in a few words.
        signal: String,
        /// Since when.
        since: Timestamp,
    },
    /// Stopped for good.
    Revoked {
        /// Why, in a few words.
        reason: String,
        /// Since when.
        since: Timestamp,
    },
}

/// The instances of one agent, or of one workload, that are stopped: until an administrator releases
/// each, no new one may act.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stopped(pub BTreeMap<InstanceId, InstanceState>);

impl Stopped {
    /// The state in which a new instance starts: that of the worst of those that are stopped.
    pub fn state_of_new(&self) -> InstanceState {
        let revoked = |state: &&InstanceState| matches!(state, InstanceState::Revoked { .. });
        let mut all = self.0.values();
        let worst = all.clone().find(revoked).or_else(|| all.next());
        worst.cloned().unwrap_or(InstanceState::Active)
    }
}
