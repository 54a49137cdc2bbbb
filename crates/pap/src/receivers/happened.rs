//! What a record of the log means to receivers: who stopped by it, and who is at which risk.

use std::collections::{BTreeMap, BTreeSet};

use authority::LogEntry;
use model::record::{AdministrationRecord, Disclosure, SignalRecord, Verdict};
use model::{
    Agent, AgentName, FactKey, Instance, InstanceId, Person, PersonId, ResourceRef, RiskLevel,
    RiskTarget, Timestamp,
};
use secevent::Initiator;
use serde_json::json;

use super::horizon::Rating;
use crate::command::{AdminError, Administration};
use crate::log::Disclosed;
use crate::offboard::{OF_PEOPLE, has_ended, people, rated, revoked};

/// The other acts of which receivers are told.
const OF_THINGS: [&str; 12] = [
    "agent/provision",
    "agent/reinstate",
    "agent/restrict",
    "agent/stop",
    "agent/suspend",
    "agent/take-over",
    "deployment/stop",
    "instance/quarantine",
    "instance/revoke",
    "review/import",
    "risk/lower",
    "risk/raise",
];

/// Something of which receivers are told.
#[derive(Clone, Debug)]
pub(super) struct Happened {
    /// The record of it.
    pub(super) record: String,
    /// When.
    pub(super) at: Timestamp,
    /// By whom.
    pub(super) by: Initiator,
    /// The act, or what was seen.
    pub(super) why: String,
    /// Those who stopped.
    pub(super) stopped: Option<Stopped>,
    /// Who is at another risk.
    pub(super) risk: Option<(Whom, Rating)>,
}

/// Who stopped.
#[derive(Clone, Debug)]
pub(super) enum Stopped {
    /// One.
    One(Whom),
    /// These agents.
    These(BTreeSet<AgentName>),
    /// Each agent that there was.
    All,
    /// Each agent that one of these people sponsors and does not answer for, as they are now.
    Of(BTreeMap<PersonId, Person>),
}

/// An agent, or one of its instances.
#[derive(Clone, Debug)]
pub(super) struct Whom {
    pub(super) agent: AgentName,
    pub(super) instance: Option<InstanceId>,
}

impl Stopped {
    /// Whether `agent` is one of several that stopped at `at`. Who was registered or taken over since was not:
    /// that it was taken over is told by itself.
    pub(super) fn has(&self, agent: &Agent, at: Timestamp) -> bool {
        match self {
            Self::One(_) => false,
            Self::These(agents) => agents.contains(&agent.name),
            Self::All | Self::Of(_) if agent.registered > at => false,
            Self::All => true,
            Self::Of(people) => {
                let sponsor = people.get(&agent.sponsor);
                sponsor.is_some_and(|sponsor| !agent.is_answered_for_by(sponsor))
            }
        }
    }
}

impl Administration {
    /// What `entry` means to receivers, if it does.
    pub(super) async fn happened(&self, entry: &LogEntry) -> Result<Option<Happened>, AdminError> {
        // Nearly all of the log is about calls.
        let text = String::from_utf8_lossy(&entry.bytes);
        let of_kind = |kind: &str| text.contains(&format!(r#""kind":"{kind}""#));
        if of_kind("administration") {
            if let Ok(record) = serde_json::from_str::<AdministrationRecord>(&text) {
                return self.by_act(entry.index, record).await;
            }
        } else if of_kind("signal")
            && let Ok(record) = serde_json::from_str::<SignalRecord>(&text)
        {
            return Ok(by_signal(record));
        }
        Ok(None)
    }

    async fn by_act(
        &self,
        index: u64,
        record: AdministrationRecord,
    ) -> Result<Option<Happened>, AdminError> {
        let of_people = OF_PEOPLE.contains(&record.action.as_str());
        let is_told = of_people || OF_THINGS.contains(&record.action.as_str());
        if record.decision != Verdict::Permit || !is_told {
            return Ok(None);
        }
        let own = match self.disclosed(index, &record.commitments).await? {
            Disclosed::Values(own) => own,
            Disclosed::Erased => {
                tracing::warn!(record = %record.id, "nobody is told of what was erased");
                return Ok(None);
            }
            Disclosed::Damaged(why) => return Err(AdminError::Unavailable(why)),
        };
        let is_ours = ["founder/remove", "person/deactivate"].contains(&record.action.as_str());
        let is_directorys = of_people && !is_ours;
        let is_of_agents = ["agent/provision", "agent/restrict"].contains(&record.action.as_str());
        let is_admins = record.signal.is_none() && !is_directorys && !is_of_agents;
        let by = if is_admins { Initiator::Admin } else { Initiator::System };
        let (stopped, risk) = if of_people {
            let change = own.value("change").cloned().unwrap_or_default();
            let was = serde_json::from_value::<Person>(change["was"].clone()).ok();
            let gone = people(&change).into_iter().filter(|is| has_gone(was.as_ref(), is));
            let gone: BTreeMap<_, _> = gone.map(|person| (person.id.clone(), person)).collect();
            ((!gone.is_empty()).then_some(Stopped::Of(gone)), None)
        } else {
            self.by_target((&record.action, record.time), &own).await?
        };
        let (id, at, why) = (record.id.to_string(), record.time, record.action);
        Ok(Some(Happened { record: id, at, by, why, stopped, risk }))
    }

    /// What an act on an agent, an instance or all of them means.
    async fn by_target(
        &self,
        (action, at): (&str, Timestamp),
        own: &Disclosure,
    ) -> Result<(Option<Stopped>, Option<(Whom, Rating)>), AdminError> {
        let change = own.value("change").cloned().unwrap_or_default();
        let target = match rated(&change) {
            Some(RiskTarget::Instance(id)) => Ok(ResourceRef::Instance(id)),
            Some(RiskTarget::Agent(agent)) => Ok(ResourceRef::Agent(agent)),
            _ => serde_json::from_value(own.value("target").cloned().unwrap_or_default()),
        };
        let whom = match target {
            Ok(ResourceRef::Agent(agent)) => Whom { agent, instance: None },
            Ok(ResourceRef::Instance(id)) => {
                let instance = self.reader().need::<Instance>(FactKey::instance(id)).await;
                let agent = instance.map_err(AdminError::unavailable)?.agent;
                Whom { agent, instance: Some(id) }
            }
            _ if action == "deployment/stop" => return Ok((Some(Stopped::All), None)),
            _ if action == "review/import" => {
                let revoked = revoked(&change);
                return Ok(((!revoked.is_empty()).then_some(Stopped::These(revoked)), None));
            }
            // People are told of by who knows them.
            _ => return Ok((None, None)),
        };
        let is_risk = action.starts_with("risk/") || rated(&change).is_some();
        // What a directory says of an agent otherwise, its name for one, stops nothing.
        let is_told = ["agent/provision", "agent/restrict"].contains(&action);
        if is_told && !is_risk && !has_ended(&change) {
            return Ok((None, None));
        }
        if !is_risk {
            return Ok((Some(Stopped::One(whom)), None));
        }
        // An instance of which a high risk is said is quarantined.
        let said = change.get("rated").unwrap_or(&change["risk"]);
        let quarantined = said["level"] == json!(RiskLevel::High);
        let stopped = whom.instance.filter(|_| quarantined).map(|_| Stopped::One(whom.clone()));
        Ok((stopped, Some((whom, Rating::of(&change, at)?))))
    }
}

/// Whether who `is` so has gone, or moved, and not by a record before: of what was taken away and what was given
/// there are two.
fn has_gone(was: Option<&Person>, is: &Person) -> bool {
    let stood = |person: &Person| (person.is_active(), person.moved);
    (!is.is_active() || is.moved.is_some()) && was.map(stood) != Some(stood(is))
}

fn by_signal(record: SignalRecord) -> Option<Happened> {
    let SignalRecord { agent, id, instance, signal: why, state, time: at, .. } = record;
    if state != "quarantined" {
        return None;
    }
    let whom = Whom { agent, instance: Some(instance) };
    let (record, by) = (id.to_string(), Initiator::Policy);
    Some(Happened { record, at, by, why, stopped: Some(Stopped::One(whom)), risk: None })
}
