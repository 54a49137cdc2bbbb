//! What the log says was taken away: by which record, and when.

use std::collections::{BTreeMap, BTreeSet};

use authority::LogEntry;
use model::record::{AdministrationRecord, Disclosure, SignalRecord, SystemRecord, Verdict};
use model::{
    Agent, AgentName, AgentState, Certification, Device, ElevationId, InstanceId, MandateId,
    Person, PersonId, PersonState, ResourceRef, RiskLevel, RiskTarget, SessionDigest, SignalRef,
    StopTarget, SystemName, TaskId, Thumbprint, Timestamp,
};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::command::{AdminError, Administration};
use crate::log::Disclosed;

/// The most records of one page.
pub(super) const PAGE: usize = 1_000;

/// The acts that tell of people as they are from then on.
pub(crate) const OF_PEOPLE: [&str; 5] =
    ["founder/remove", "people/apply", "person/deactivate", "person/provision", "person/restrict"];

/// The other acts that take something away, or say whose it is.
const OF_THINGS: [&str; 20] = [
    "agent/affirm",
    "agent/client",
    "agent/reinstate",
    "agent/renew",
    "agent/restrict",
    "agent/stop",
    "agent/suspend",
    "agent/take-over",
    "consent/withdraw",
    "deployment/stop",
    "device/enrol",
    "device/revoke",
    "elevation/revoke",
    "instance/quarantine",
    "instance/revoke",
    "mandate/withdraw",
    "review/import",
    "risk/raise",
    "system/suspend",
    "task/end",
];

/// A record that took something away.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Signal {
    /// The record.
    pub(super) record: String,
    /// The act, or what was seen.
    pub(super) action: String,
    /// When.
    #[serde(serialize_with = "text")]
    pub(super) time: Timestamp,
    /// What a transmitter told, if it was that, as the record has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<SignalRef>,
    /// Where it is in the log.
    #[serde(skip)]
    pub(super) index: u64,
}

/// A time as people read it.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "`serialize_with` gives a reference")]
pub(super) fn text<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(time)
}

/// On what a credential can depend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Root {
    /// That a person is here.
    Left(PersonId),
    /// That their unit and manager are as they were.
    Moved(PersonId),
    /// That an agent is answered for by whom it was, and was not begun anew.
    TakenOver(AgentName),
    /// That a sponsor's word for an agent counts; what is taken away is the doubt.
    Affirmed(AgentName),
    /// That an agent is not suspended.
    Agent(AgentName),
    /// That its OAuth client is what it was.
    Client(AgentName),
    /// That its key is the one that it was.
    Key(AgentName),
    /// That a key of its was in nobody else's hands.
    Compromised(AgentName),
    Device(AgentName, Thumbprint),
    Elevation(ElevationId),
    Instance(InstanceId),
    Mandate(MandateId),
    Stop(StopTarget),
    System(SystemName),
    Task(TaskId),
}

/// Everything that was taken away, in the order of the log.
#[derive(Debug, Default)]
pub(super) struct Signals {
    all: BTreeMap<Root, Vec<Signal>>,
    /// Who answered for an agent until somebody took it over.
    taken_over: BTreeMap<AgentName, Vec<(Timestamp, PersonId)>>,
    /// When nobody had answered its review, of agents that were begun anew after that.
    lapsed: BTreeMap<AgentName, Vec<Timestamp>>,
    /// When each last moved, as far as it was read.
    moved: BTreeMap<PersonId, Timestamp>,
    /// Until when each one's login sessions are over, by which record.
    logged_out: BTreeMap<PersonId, Vec<LoggedOut>>,
}

/// Login sessions that a record ended.
#[derive(Debug)]
struct LoggedOut {
    /// Which; all, if it is none.
    session: Option<SessionDigest>,
    until: Timestamp,
    signal: Signal,
}

impl Signals {
    /// The first record that took `root` away at or after `since`. A fact says since when it is as it is
    /// by a clock that was read before its record was made.
    pub(super) fn first(&self, root: &Root, since: Timestamp) -> Option<&Signal> {
        self.all.get(root)?.iter().find(|signal| signal.time >= since)
    }

    /// The last one from `since` until `until`.
    pub(super) fn last(&self, root: &Root, since: Timestamp, until: Timestamp) -> Option<&Signal> {
        let mut signals = self.all.get(root)?.iter().rev();
        signals.find(|signal| signal.time >= since && signal.time < until)
    }

    /// The first record that ended the login `session` of `person` in which something was `begun` then; where none is
    /// known, any.
    pub(super) fn logged_out(
        &self,
        person: &PersonId,
        (begun, session): (Timestamp, Option<SessionDigest>),
    ) -> Option<&Signal> {
        let mut all = self.logged_out.get(person)?.iter();
        let is_that = |ended: &&LoggedOut| {
            let is_of = ended.session.is_none() || session.is_none() || ended.session == session;
            is_of && ended.until >= begun
        };
        all.find(is_that).map(|ended| &ended.signal)
    }

    /// Those from whom `agent` was taken over after `since`, the first of them first, each with when.
    pub(super) fn sponsors_after(
        &self,
        agent: &AgentName,
        since: Timestamp,
    ) -> impl Iterator<Item = &(Timestamp, PersonId)> {
        let all = self.taken_over.get(agent).into_iter().flatten();
        // What is given as somebody takes over is theirs.
        all.filter(move |(at, _)| *at > since)
    }

    /// When `agent` lapsed after `since`, and was begun anew after that.
    pub(super) fn lapses_after(
        &self,
        agent: &AgentName,
        since: Timestamp,
    ) -> impl Iterator<Item = Timestamp> {
        let all = self.lapsed.get(agent).into_iter().flatten();
        all.copied().filter(move |at| *at > since)
    }

    fn note(&mut self, root: Root, signal: &Signal) {
        self.all.entry(root).or_default().push(signal.clone());
    }

    /// That `agent` has another key, if a renewal gave it one.
    fn note_key(&mut self, agent: AgentName, change: &Value, signal: &Signal) {
        if change["key_compromised"] == true {
            self.note(Root::Compromised(agent.clone()), signal);
        }
        if change["key_replaced"] == true {
            self.note(Root::Key(agent), signal);
        }
    }

    fn note_act(&mut self, own: &Disclosure, signal: &Signal) {
        let change = own.value("change").cloned().unwrap_or_default();
        if OF_PEOPLE.contains(&signal.action.as_str()) {
            for person in people(&change) {
                self.note_person(person, signal);
            }
        }
        let target = own.value("target").cloned().map(serde_json::from_value::<ResourceRef>);
        let Some(Ok(target)) = target else { return };
        let lapsed = serde_json::from_value::<Timestamp>(change["lapsed"].clone());
        if let (ResourceRef::Agent(agent), Ok(at)) = (&target, lapsed) {
            self.lapsed.entry(agent.clone()).or_default().push(at);
        }
        match (signal.action.as_str(), target) {
            ("agent/affirm", ResourceRef::Agent(agent)) => {
                self.note(Root::Affirmed(agent), signal);
            }
            ("agent/client", ResourceRef::Agent(agent)) => self.note(Root::Client(agent), signal),
            ("agent/renew", ResourceRef::Agent(agent)) => self.note_key(agent, &change, signal),
            // A risk that is not high takes nothing away by itself.
            ("risk/raise", _) if change["risk"]["level"] != json!(RiskLevel::High) => {}
            ("agent/restrict", _) if !has_ended(&change) => {
                // What a transmitter rates high is quarantined.
                if let Some(RiskTarget::Instance(id)) = rated(&change)
                    && change["rated"]["level"] == json!(RiskLevel::High)
                {
                    self.note(Root::Instance(id), signal);
                }
            }
            ("agent/suspend" | "agent/restrict", ResourceRef::Agent(agent)) => {
                self.note(Root::Agent(agent), signal);
            }
            ("agent/stop", ResourceRef::Agent(agent)) => {
                self.note(Root::Stop(StopTarget::Agent(agent)), signal);
            }
            ("agent/reinstate", ResourceRef::Agent(agent)) => {
                self.note(Root::TakenOver(agent), signal);
            }
            ("review/import", _) => {
                for agent in revoked(&change) {
                    self.note(Root::Agent(agent), signal);
                }
            }
            ("deployment/stop", _) => self.note(Root::Stop(StopTarget::All), signal),
            ("agent/take-over", ResourceRef::Agent(agent)) => {
                let is = serde_json::from_value::<Agent>(change["agent"].clone());
                let from = serde_json::from_value::<PersonId>(change["from"].clone());
                if let (Ok(is), Ok(from)) = (is, from) {
                    let all = self.taken_over.entry(agent.clone()).or_default();
                    all.push((is.registered, from));
                }
                self.note(Root::TakenOver(agent), signal);
            }
            ("device/enrol" | "device/revoke", ResourceRef::Agent(agent)) => {
                let device = change.get("device").unwrap_or(&change).clone();
                if let Ok(device) = serde_json::from_value::<Device>(device) {
                    self.note(Root::Device(agent, device.id), signal);
                }
            }
            ("elevation/revoke", ResourceRef::Elevation(id)) => {
                self.note(Root::Elevation(id), signal);
            }
            (_, ResourceRef::Instance(id)) => self.note(Root::Instance(id), signal),
            (_, ResourceRef::Mandate(id)) => self.note(Root::Mandate(id), signal),
            (_, ResourceRef::System(name)) => self.note(Root::System(name), signal),
            (_, ResourceRef::Task(id)) => self.note(Root::Task(id), signal),
            _ => {}
        }
    }

    fn note_person(&mut self, person: Person, signal: &Signal) {
        if let PersonState::Inactive { .. } = person.state {
            self.note(Root::Left(person.id.clone()), signal);
        }
        let ended = person.sessions_over.iter().map(|(session, until)| (Some(*session), *until));
        for (session, until) in
            person.sessions_cutoff.map(|until| (None, until)).into_iter().chain(ended)
        {
            let all = self.logged_out.entry(person.id.clone()).or_default();
            // Records tell of what was ended again and again: the first one ended it.
            if !all.iter().any(|known| known.session == session && known.until >= until) {
                all.push(LoggedOut { session, until, signal: signal.clone() });
            }
        }
        // Records tell of a move again and again: the first one is of it.
        if let Some(moved) = person.moved
            && self.moved.insert(person.id.clone(), moved) != Some(moved)
        {
            self.note(Root::Moved(person.id), signal);
        }
    }
}

/// The people in what a record says was changed, as they are from then on.
pub(crate) fn people(change: &Value) -> Vec<Person> {
    let listed = change["people"].as_array().into_iter().flatten();
    let told = listed.map(|it| &it["person"]).chain([change, &change["person"]]);
    told.filter_map(|person| serde_json::from_value(person.clone()).ok()).collect()
}

/// Of whom a record says that a transmitter rates them, if that is an agent or an instance.
pub(crate) fn rated(change: &Value) -> Option<RiskTarget> {
    change.get("rated").and_then(|_| serde_json::from_value(change["what"].clone()).ok())
}

/// Whether the agent, as a record says it is from then on, acts no more.
pub(crate) fn has_ended(change: &Value) -> bool {
    let agent = serde_json::from_value::<Agent>(change["agent"].clone());
    agent.is_ok_and(|agent| agent.state != AgentState::Active)
}

/// The agents that the decisions on a review, as a record says them, revoke.
pub(crate) fn revoked(change: &Value) -> BTreeSet<AgentName> {
    let decided = change["decided"].as_array().into_iter().flatten();
    let revoked = decided.filter(|it| it["decision"] == json!(Certification::Revoke));
    revoked.filter_map(|it| it["agent"].as_str()?.parse().ok()).collect()
}

impl Administration {
    /// Reads the whole log for what was taken away.
    pub(super) async fn signals(&self) -> Result<Signals, AdminError> {
        let (mut signals, mut from) = (Signals::default(), 0);
        loop {
            let entries = self.authority.journal().store().entries(from, PAGE).await;
            let entries = entries.map_err(AdminError::unavailable)?;
            for entry in &entries {
                self.note_entry(entry, &mut signals).await?;
            }
            if entries.is_empty() {
                return Ok(signals);
            }
            from += entries.len() as u64;
        }
    }

    async fn note_entry(&self, entry: &LogEntry, signals: &mut Signals) -> Result<(), AdminError> {
        let (index, bytes) = (entry.index, &entry.bytes);
        if let Ok(record) = serde_json::from_slice::<AdministrationRecord>(bytes) {
            let mut acts = OF_PEOPLE.iter().chain(&OF_THINGS);
            let is_act = acts.any(|act| *act == record.action);
            if record.decision == Verdict::Permit && is_act {
                // What was erased tells nothing any longer of when: that something is dead it is asked of
                // the facts.
                let disclosed = self.disclosed(index, &record.commitments).await?;
                let Disclosed::Values(own) = disclosed else { return Ok(()) };
                let AdministrationRecord { action, id, signal, time, .. } = record;
                let record = id.to_string();
                signals.note_act(&own, &Signal { record, action, time, signal, index });
            }
        } else if let Ok(record) = serde_json::from_slice::<SignalRecord>(bytes) {
            let SignalRecord { id, instance, signal: action, state, time, .. } = record;
            if state == "quarantined" {
                let record = id.to_string();
                let signal = Signal { record, action, time, signal: None, index };
                signals.note(Root::Instance(instance), &signal);
            }
        } else if let Ok(record) = serde_json::from_slice::<SystemRecord>(bytes) {
            let SystemRecord { id, event: action, details, time, .. } = record;
            let task = details.get("task").and_then(|task| task.parse().ok());
            if let (Some(task), "task_ended") = (task, action.as_str()) {
                let record = id.to_string();
                let signal = Signal { record, action, time, signal: None, index };
                signals.note(Root::Task(task), &signal);
            }
        }
        Ok(())
    }
}
