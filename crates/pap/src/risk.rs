//! Risk: what somebody who watches says of an instance, an agent or a person. Policy reads it in every
//! decision that hangs on them, those for calls under way included.
//!
//! INVARIANT: what raises a risk counts at once; what lowers one is a recorded act of somebody else than
//! who answers for the agent, or is the person (`n_096_…`). A restart sheds nothing: the instances of an
//! agent begin with the greatest risk that was said of one, until it is lowered for the agent.

use authority::{Effect, Fact, Reader, Refused};
use model::{
    Agent, Departed, FactKey, Instance, InstanceId, InstanceState, Person, PersonId, ResourceRef,
    Risk, RiskLevel, RiskTarget, Timestamp,
};
use serde_json::{Value, json};

use crate::asked::Command;
use crate::command::{AdminError, Administration};
use crate::instances::{found, stops_those_after};
use crate::register::put;
use crate::words::Acting;

/// As what an instance of high risk is stopped.
const SIGNAL: &str = "risk";

/// The longest reason, in bytes.
const REASON_MAX: usize = 1_024;

impl Administration {
    pub(crate) async fn risks(&self, by: &PersonId, command: Command) -> Result<Value, AdminError> {
        match command {
            Command::RiskRaise { what, level, reason } => {
                self.risk_raise(by, what, (level, reason)).await
            }
            Command::RiskLower { what, level, reason, word } => {
                let said = json!({
                    "do": "risk-lower", "what": what, "level": level, "reason": reason,
                });
                let (by, uses) = self.acting_as_one(by, word.as_deref(), &said).await?;
                let done = self.risk_lower((by, uses.clone()), what, (level, reason)).await;
                self.settled(done, uses).await
            }
            _ => unreachable!("it is none of risks"),
        }
    }

    /// Says that `what` is at a risk no lower than before. An instance of high risk is quarantined.
    async fn risk_raise(
        &self,
        by: &PersonId,
        what: RiskTarget,
        (level, reason): (RiskLevel, String),
    ) -> Result<Value, AdminError> {
        let mut draft = self.draft(by, "risk/raise", governed(&what)).await?;
        let reason = checked(reason)?;
        let risk = Risk { level, since: self.now() };
        let raised = |known: &mut Option<Risk>| {
            if known.as_ref().is_some_and(|known| known.level > level) {
                return Err(AdminError::Invalid(format!(
                    "the risk of `{what}` is higher: lower it"
                )));
            }
            *known = Some(risk.clone());
            Ok(())
        };
        let mut effects = Vec::new();
        let is = match &what {
            RiskTarget::Person(id) => {
                let mut person: Person = known(&mut draft.reader, &what).await?;
                raised(&mut person.risk)?;
                effects.push(put(FactKey::person(id), &person));
                person.risks()
            }
            RiskTarget::Agent(name) => {
                let mut agent: Agent = known(&mut draft.reader, &what).await?;
                raised(&mut agent.risk)?;
                effects.push(put(FactKey::agent(name), &agent));
                agent.risks()
            }
            RiskTarget::Instance(id) => {
                let mut instance = found(&mut draft, *id).await?;
                raised(&mut instance.risk)?;
                effects.extend(passed_on(&mut draft.reader, &instance, &risk).await?);
                if level == RiskLevel::High {
                    let since = risk.since;
                    effects.extend(self.at_high(&mut draft.reader, &mut instance, since).await?);
                }
                effects.push(put(FactKey::instance(*id), &instance));
                instance.risks(self.now())
            }
        };
        // What transmitters say beside may be greater.
        let change = json!({ "what": what, "risk": risk, "is": is, "reason": reason });
        let done = draft.make(change, effects).await?;
        Ok(json!({ "what": what, "risk": risk, "decision": done.decision }))
    }

    /// Says that `what` is at a lower risk than before, or at none. For an agent that holds for the
    /// instances that it will have, too, and for each however transmitters rated it. What is
    /// quarantined stays so until it is released.
    async fn risk_lower(
        &self,
        (by, mut effects): Acting,
        what: RiskTarget,
        (level, reason): (Option<RiskLevel>, String),
    ) -> Result<Value, AdminError> {
        let mut draft = self.draft(&by, "risk/lower", governed(&what)).await?;
        let reason = checked(reason)?;
        let risk = level.map(|level| Risk { level, since: self.now() });
        let lowered = |known: &mut Option<Risk>| {
            let is_lower = known.as_ref().map(|known| known.level) > level;
            if is_lower {
                known.clone_from(&risk);
            }
            is_lower
        };
        let (is_lower, is, effect) = match &what {
            RiskTarget::Person(id) => {
                let mut person: Person = known(&mut draft.reader, &what).await?;
                if *id == by {
                    return Err(self.lowers_their_own(Refused::default()));
                }
                let said = lowered(&mut person.risk);
                let rated = person.rated.lower(level);
                (said || rated, person.risks(), put(FactKey::person(id), &person))
            }
            RiskTarget::Agent(name) => {
                let mut agent: Agent = known(&mut draft.reader, &what).await?;
                self.is_not_its_own(&by, &agent, None)?;
                let (own, of_new) = (lowered(&mut agent.risk), lowered(&mut agent.risk_of_new));
                let rated = agent.rated.lower(level);
                let departed = self.lower_departed(&mut agent.departed, level);
                let is_lower = own || of_new || rated || departed;
                (is_lower, agent.risks(), put(FactKey::agent(name), &agent))
            }
            RiskTarget::Instance(id) => {
                let mut instance = found(&mut draft, *id).await?;
                let agent = RiskTarget::Agent(instance.agent.clone());
                let agent: Agent = known(&mut draft.reader, &agent).await?;
                self.is_not_its_own(&by, &agent, Some(*id))?;
                let own = lowered(&mut instance.risk);
                let rated = instance.rated.lower(level);
                let departed = self.lower_departed(&mut instance.departed, level);
                let is = instance.risks(self.now());
                (own || rated || departed, is, put(FactKey::instance(*id), &instance))
            }
        };
        if !is_lower {
            return Err(AdminError::Invalid(format!(
                "the risk of `{what}` is no higher than that"
            )));
        }
        let change = json!({ "what": what, "risk": risk, "is": is, "reason": reason });
        effects.push(effect);
        let done = draft.make(change, effects).await?;
        Ok(json!({ "what": what, "risk": risk, "decision": done.decision }))
    }

    /// Lowers to `level` the risk at which the service itself sees an instance, or new ones of an agent; says whether
    /// it was higher.
    fn lower_departed(&self, departed: &mut Option<Departed>, level: Option<RiskLevel>) -> bool {
        departed.as_mut().is_some_and(|departed| departed.lower(level, self.now()))
    }

    /// Quarantines `instance`, which is at high risk, from `since` on, or revokes it, if that is what follows here,
    /// unless it is stopped so already; gives what keeps those after it from acting.
    pub(crate) async fn at_high(
        &self,
        reader: &mut Reader<'_>,
        instance: &mut Instance,
        since: Timestamp,
    ) -> Result<Vec<Effect>, AdminError> {
        let why = SIGNAL.to_owned();
        instance.state = match (&instance.state, self.revokes_at_high_risk) {
            (InstanceState::Revoked { .. }, _) | (InstanceState::Quarantined { .. }, false) => {
                return Ok(Vec::new());
            }
            (_, true) => InstanceState::Revoked { reason: why, since },
            (InstanceState::Active, false) => InstanceState::Quarantined { signal: why, since },
        };
        stops_those_after(reader, instance).await
    }

    fn is_not_its_own(
        &self,
        by: &PersonId,
        agent: &Agent,
        instance: Option<InstanceId>,
    ) -> Result<(), AdminError> {
        if agent.sponsor != *by {
            return Ok(());
        }
        let agent = Some(agent.name.clone());
        Err(self.lowers_their_own(Refused { agent, instance, ..Refused::default() }))
    }

    fn lowers_their_own(&self, refused: Refused) -> AdminError {
        let place = ("administration", "lowered_own_risk");
        self.authority.record_refusal(&self.refusals, place, refused);
        let why = "not permitted: nobody lowers their own risk, or that of an agent of theirs";
        AdminError::Refused(why.to_owned())
    }
}

fn governed(what: &RiskTarget) -> ResourceRef {
    match what {
        RiskTarget::Agent(name) => ResourceRef::Agent(name.clone()),
        RiskTarget::Instance(id) => ResourceRef::Instance(*id),
        RiskTarget::Person(id) => ResourceRef::Person(id.clone()),
    }
}

pub(crate) fn checked(reason: String) -> Result<String, AdminError> {
    if (1..=REASON_MAX).contains(&reason.trim().len()) {
        return Ok(reason);
    }
    Err(AdminError::Invalid(format!("the reason has not from 1 to {REASON_MAX} bytes")))
}

async fn known<T: Fact>(reader: &mut Reader<'_>, what: &RiskTarget) -> Result<T, AdminError> {
    crate::register::known(reader, what.key(), &format!("`{what}`")).await
}

/// What makes the instances of the same agent that begin after `instance` begin with its `risk`.
pub(crate) async fn passed_on(
    reader: &mut Reader<'_>,
    instance: &Instance,
    risk: &Risk,
) -> Result<Option<Effect>, AdminError> {
    let mut agent: Agent = known(reader, &RiskTarget::Agent(instance.agent.clone())).await?;
    if agent.risk_of_new.as_ref().is_some_and(|known| known.level >= risk.level) {
        return Ok(None);
    }
    agent.risk_of_new = Some(risk.clone());
    Ok(Some(put(FactKey::agent(&agent.name), &agent)))
}
