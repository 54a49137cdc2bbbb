//! Who answers for an agent: a sponsor affirms that they still do, renews its lease, and reinstates it when
//! it lapsed; another takes over from one who is gone. Nothing passes to anybody by itself.

use std::collections::BTreeMap;

use authority::{Effect, Reader};
use model::{Agent, AgentName, AgentState, FactKey, Person, PersonId, ResourceRef, Timestamp};
use serde_json::{Value, json};

use crate::asked::Command;
use crate::command::{AdminError, Administration, asked};
use crate::lease::{NewKey, with_lease};
use crate::logged_in::By;
use crate::register::{put, registered};

/// The act by which somebody takes over.
const TAKE_OVER: &str = "agent/take-over";

/// The most agents that somebody is shown at once.
pub const SPONSORED_MAX: usize = 100;

/// The longest reason for taking over or reinstating, in bytes.
pub const REASON_MAX: usize = 512;

/// An agent that somebody answers for, or may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sponsored {
    /// The agent.
    pub agent: Agent,
    /// What they can do about it.
    pub stands: Stands,
}

/// How it stands with who answers for an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// They do.
    Answered,
    /// They do once they affirm it.
    ToAffirm,
    /// Nobody does, and they may.
    Vacant,
    /// Another does: they keep it running.
    Running,
}

impl Administration {
    pub(crate) async fn sponsors(
        &self,
        by: &PersonId,
        command: Command,
    ) -> Result<Value, AdminError> {
        match command {
            Command::AgentTakeOver { name, reason, word } => {
                let said = json!({ "do": "agent-take-over", "name": name, "reason": reason });
                let (by, uses) = self.acting(by, word.as_deref(), &said).await?;
                let done = self.agent_take_over(&by, uses.clone(), (&name, &reason)).await;
                self.settled(done, uses).await
            }
            Command::AgentAffirm { name, word } => {
                let said = json!({ "do": "agent-affirm", "name": name });
                let (by, uses) = self.acting(by, word.as_deref(), &said).await?;
                let done = self.agent_affirm(&by, uses.clone(), &name).await;
                self.settled(done, uses).await
            }
            Command::AgentRenew { name, key, compromised, word } => {
                let said = json!({
                    "do": "agent-renew", "name": name, "key": key, "compromised": compromised,
                });
                let key = NewKey::asked(key, compromised)?;
                let (by, uses) = self.acting(by, word.as_deref(), &said).await?;
                let done = self.agent_renew(&by, uses.clone(), (&name, key)).await;
                self.settled(done, uses).await
            }
            Command::AgentReinstate { name, reason, word } => {
                let said = json!({ "do": "agent-reinstate", "name": name, "reason": reason });
                let (by, uses) = self.acting(by, word.as_deref(), &said).await?;
                let done = self.agent_reinstate(&by, uses.clone(), (&name, &reason)).await;
                self.settled(done, uses).await
            }
            Command::AgentOwners { name, business_owner, technical_owner } => {
                let named = (business_owner.as_deref(), technical_owner.as_deref());
                self.agent_owners(by, &name, named).await
            }
            Command::AgentDeclare { name, calls_an_hour, hours } => {
                self.agent_declare(by, &name, (calls_an_hour, hours.as_deref())).await
            }
            Command::AgentMemory { name, memory, word } => {
                let said = json!({ "do": "agent-memory", "name": name, "memory": memory });
                let (by, uses) = self.acting(by, word.as_deref(), &said).await?;
                let done = self.agent_memory(&by, uses.clone(), (&name, memory)).await;
                self.settled(done, uses).await
            }
            other => unreachable!("{other:?} is about nobody who answers for an agent"),
        }
    }

    /// The sponsor says that they answer for the agent as who they are now. What was under way goes on.
    pub async fn agent_affirm(
        &self,
        by: impl Into<By<'_>>,
        mut effects: Vec<Effect>,
        name: &str,
    ) -> Result<Value, AdminError> {
        let name: AgentName = name.parse().map_err(AdminError::invalid)?;
        let mut draft =
            self.draft(by.into(), "agent/affirm", ResourceRef::Agent(name.clone())).await?;
        let mut agent = registered(&mut draft.reader, &name).await?;
        agent.affirmed = Some(self.now());
        effects.push(put(FactKey::agent(&name), &agent));
        let done = draft.make(json!(agent), effects).await?;
        Ok(json!({ "agent": name, "sponsor": agent.sponsor, "decision": done.decision }))
    }

    /// Makes whoever asks the sponsor of an agent whose own answers for it no longer. What it was given
    /// before is over; it has standing mandates anew for the purposes for which it had some.
    pub async fn agent_take_over(
        &self,
        by: impl Into<By<'_>>,
        mut effects: Vec<Effect>,
        (name, reason): (&str, &str),
    ) -> Result<Value, AdminError> {
        let name: AgentName = name.parse().map_err(AdminError::invalid)?;
        check_reason(reason)?;
        let (by, target) = (by.into(), ResourceRef::Agent(name.clone()));
        let mut draft = self.draft(by, TAKE_OVER, target).await?;
        let mut agent = registered(&mut draft.reader, &name).await?;
        if agent.state != AgentState::Active {
            return Err(AdminError::Invalid(format!("the agent `{name}` is suspended")));
        }
        if is_answered_for(&mut draft.reader, &agent).await? {
            let why = format!("`{}` answers for `{name}`: nobody needs to", agent.sponsor);
            return Err(AdminError::Invalid(why));
        }
        let (now, from) = (self.now(), agent.sponsor.clone());
        agent.sponsor = by.person.clone();
        let lapsed = agent.begin_anew(now);
        agent.backups.remove(by.person);
        inherit(&mut agent, &from, now);
        effects.push(put(FactKey::agent(&name), &agent));
        let (mandates, written) = self.stood_for_anew(&mut draft.reader, &agent, now).await?;
        effects.extend(written);
        let change = json!({
            "agent": agent, "mandates": mandates, "from": from, "reason": reason, "lapsed": lapsed,
        });
        let done = draft.make(change, effects).await?;
        let told = json!({
            "agent": name, "sponsor": by.person, "from": from, "decision": done.decision,
        });
        Ok(with_lease(told, &agent))
    }

    /// The sponsor begins an agent anew that lapsed because nobody answered its review. What it was given
    /// before stays over; it has standing mandates anew for the purposes for which it had some.
    pub async fn agent_reinstate(
        &self,
        by: impl Into<By<'_>>,
        mut effects: Vec<Effect>,
        (name, reason): (&str, &str),
    ) -> Result<Value, AdminError> {
        let name: AgentName = name.parse().map_err(AdminError::invalid)?;
        check_reason(reason)?;
        let target = ResourceRef::Agent(name.clone());
        let mut draft = self.draft(by.into(), "agent/reinstate", target).await?;
        let mut agent = registered(&mut draft.reader, &name).await?;
        let now = self.now();
        if agent.state != AgentState::Active || !agent.has_lapsed(now) {
            return Err(AdminError::Invalid(format!("the agent `{name}` has not lapsed")));
        }
        is_affirmed(&mut draft.reader, &agent).await?;
        let lapsed = agent.begin_anew(now);
        effects.push(put(FactKey::agent(&name), &agent));
        let (mandates, written) = self.stood_for_anew(&mut draft.reader, &agent, now).await?;
        effects.extend(written);
        let change = json!({
            "agent": agent, "mandates": mandates, "reason": reason, "lapsed": lapsed,
        });
        let done = draft.make(change, effects).await?;
        let told = json!({ "agent": name, "sponsor": agent.sponsor, "decision": done.decision });
        Ok(with_lease(told, &agent))
    }

    /// The agents for which somebody answers or that they keep running, and those for which nobody answers and
    /// they may; at most [`SPONSORED_MAX`].
    pub async fn sponsored(&self, by: By<'_>) -> Result<Vec<Sponsored>, AdminError> {
        let agents = authority::all::<Agent>(self.authority.pip().store(), "agent/").await;
        let own = self.reader().find(FactKey::person(by.person)).await;
        let own: Option<Person> = own.map_err(AdminError::unavailable)?;
        let (mut all, mut sponsors, mut follows) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for agent in agents.map_err(AdminError::unavailable)? {
            if all.len() == SPONSORED_MAX {
                break;
            }
            if !sponsors.contains_key(&agent.sponsor) {
                let sponsor = self.reader().find(FactKey::person(&agent.sponsor)).await;
                let sponsor: Option<Person> = sponsor.map_err(AdminError::unavailable)?;
                sponsors.insert(agent.sponsor.clone(), sponsor);
            }
            let Some(Some(sponsor)) = sponsors.get(&agent.sponsor) else { continue };
            let is_answered = agent.is_answered_for_by(sponsor);
            let runs = agent.technical_owner == *by.person
                && own.as_ref().is_some_and(|own| agent.is_owned_by(own));
            let stands = match (agent.sponsor == *by.person, is_answered) {
                (true, true) => Stands::Answered,
                (true, false) if sponsor.answers_for(agent.registered) => Stands::ToAffirm,
                (false, false) => {
                    // Whom it falls to is the same for all agents of the same people.
                    let Agent { sponsor, business_owner, backups, .. } = &agent;
                    let people = (sponsor.clone(), business_owner.clone(), backups.clone());
                    let may = match follows.get(&people) {
                        Some(may) => *may,
                        None => self.may_follow(by, &agent.name).await,
                    };
                    follows.insert(people, may);
                    match (may, runs) {
                        (true, _) => Stands::Vacant,
                        (false, true) => Stands::Running,
                        (false, false) => continue,
                    }
                }
                _ if runs => Stands::Running,
                _ => continue,
            };
            all.push(Sponsored { agent, stands });
        }
        Ok(all)
    }

    /// Whether somebody would be permitted to take an agent over.
    async fn may_follow(&self, by: By<'_>, agent: &AgentName) -> bool {
        let act = asked(by, TAKE_OVER, ResourceRef::Agent(agent.clone()));
        self.authority.would_administer(&act).await
    }
}

/// Whether a reason is there, and not too long.
pub(crate) fn check_reason(reason: &str) -> Result<(), AdminError> {
    if !reason.is_empty() && reason.len() <= REASON_MAX {
        return Ok(());
    }
    Err(AdminError::Invalid(format!("say why, in at most {REASON_MAX} bytes")))
}

/// Demands that its sponsor answers for `agent`: if not, it is affirmed first.
pub(crate) async fn is_affirmed(reader: &mut Reader<'_>, agent: &Agent) -> Result<(), AdminError> {
    if is_answered_for(reader, agent).await? {
        return Ok(());
    }
    let why = format!("`{}` does not answer for `{}`: affirm it first", agent.sponsor, agent.name);
    Err(AdminError::Invalid(why))
}

/// Whether its sponsor answers for `agent`.
async fn is_answered_for(reader: &mut Reader<'_>, agent: &Agent) -> Result<bool, AdminError> {
    let sponsor = reader.need::<Person>(FactKey::person(&agent.sponsor)).await;
    Ok(agent.is_answered_for_by(&sponsor.map_err(AdminError::unavailable)?))
}

/// Whoever takes `agent` over from the sponsor `from` is from `now` on what that one was beside: who wants
/// it, or who keeps it running.
fn inherit(agent: &mut Agent, from: &PersonId, now: Timestamp) {
    let sponsor = agent.sponsor.clone();
    let mut is_all = true;
    for owner in [&mut agent.business_owner, &mut agent.technical_owner] {
        if owner == from {
            owner.clone_from(&sponsor);
        } else {
            is_all = false;
        }
    }
    if is_all {
        agent.owned = Some(now);
    }
}
