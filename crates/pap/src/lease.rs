//! Leases: an agent acts, and its key vouches, until a date. Its sponsor says anew that it is to go on, or
//! it ends.

use std::time::Duration;

use authority::{Effect, Reader};
use keys::VerifyingKey;
use model::{
    Agent, AgentName, AgentState, FactKey, LEASE_MAX, Mandate, MandateBasis, MandateId, Purpose,
    ResourceRef, Timestamp,
};
use serde_json::{Value, json};

use crate::command::{AdminError, Administration};
use crate::logged_in::By;
use crate::register::{put, put_new, registered};
use crate::sponsor::is_affirmed;

/// How long an agent's key vouches.
pub(crate) const AGENT_KEY_LIFETIME: Duration = Duration::from_hours(90 * 24);

/// Another key that an agent is known by from now on.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// The public key (JWK).
    pub key: Value,
    /// Whether the last one is in other hands: what that alone vouched for is over.
    pub compromised: bool,
}

impl NewKey {
    /// What was asked for: nobody gives a key up without having another.
    pub(crate) fn asked(key: Option<Value>, compromised: bool) -> Result<Option<Self>, AdminError> {
        if compromised && key.is_none() {
            let why = "say by which key the agent is known from now on";
            return Err(AdminError::Invalid(why.to_owned()));
        }
        Ok(key.map(|key| Self { key, compromised }))
    }

    fn becomes_key_of(self, agent: &mut Agent) {
        agent.key = self.key;
        if self.compromised {
            let before = agent.keys_compromised.unwrap_or(0);
            agent.keys_compromised = Some(before.saturating_add(1));
        }
    }
}

/// The standing mandate of `agent` for `purpose`, from `now` on, as long as its lease.
pub(crate) fn standing_mandate(
    agent: &Agent,
    purpose: &Purpose,
    (id, now): (MandateId, Timestamp),
) -> Mandate {
    Mandate {
        id,
        basis: MandateBasis::Standing { sponsor: agent.sponsor.clone() },
        agent: agent.name.clone(),
        purpose: purpose.id.clone(),
        scope: purpose.scope.clone(),
        given: now,
        valid_until: agent.valid_until.unwrap_or(now),
        withdrawn: None,
    }
}

/// `told`, which is about `agent`, and until when that acts unless its sponsor says anew that it is to.
pub(crate) fn with_lease(mut told: Value, agent: &Agent) -> Value {
    told["lease_until"] = agent.leased_until().to_string().into();
    told["ends_by"] = agent.bound().to_string().into();
    told
}

impl Administration {
    /// Renews the lease of an agent and its key, or replaces that by `key`, and gives it standing
    /// mandates anew for the purposes for which it has some. What was begun under the old ones ends with
    /// them; what a key that is compromised vouched for, with that. One key written: every decision for an
    /// instance reads its agent.
    pub async fn agent_renew(
        &self,
        by: impl Into<By<'_>>,
        mut effects: Vec<Effect>,
        (name, key): (&str, Option<NewKey>),
    ) -> Result<Value, AdminError> {
        let name: AgentName = name.parse().map_err(AdminError::invalid)?;
        let read = key.as_ref().map(|new| VerifyingKey::from_jwk(&new.key)).transpose();
        let replacing = read.map_err(AdminError::invalid)?;
        let target = ResourceRef::Agent(name.clone());
        let mut draft = self.draft(by.into(), "agent/renew", target).await?;
        let mut agent = registered(&mut draft.reader, &name).await?;
        if agent.state != AgentState::Active {
            return Err(AdminError::Invalid(format!("the agent `{name}` is suspended")));
        }
        is_affirmed(&mut draft.reader, &agent).await?;
        let now = self.now();
        if agent.has_lapsed(now) {
            let why = format!("nobody answered the review of `{name}` in time: reinstate it");
            return Err(AdminError::Invalid(why));
        }
        agent.valid_until = Some(now.plus(LEASE_MAX));
        agent.key_expires = now.plus(AGENT_KEY_LIFETIME);
        let compromised = key.as_ref().is_some_and(|new| new.compromised);
        if let Some(new) = key {
            new.becomes_key_of(&mut agent);
        }
        let place = FactKey::agent(&name);
        effects.push(put(place.clone(), &agent));
        if let Some(key) = &replacing {
            effects.push(self.own_key(&mut draft.reader, key, place).await?);
        }
        let (mandates, written) = self.stood_for_anew(&mut draft.reader, &agent, now).await?;
        effects.extend(written);
        let change = json!({
            "agent": agent, "mandates": mandates, "key_replaced": replacing.is_some(),
            "key_compromised": compromised,
        });
        let done = draft.make(change, effects).await?;
        let told = json!({
            "agent": name,
            "key_expires": agent.key_expires.to_string(),
            "decision": done.decision,
        });
        Ok(with_lease(told, &agent))
    }

    /// Standing mandates anew, from `now` on, for the purposes for which `agent` has some; with what
    /// that writes.
    pub(crate) async fn stood_for_anew(
        &self,
        reader: &mut Reader<'_>,
        agent: &Agent,
        now: Timestamp,
    ) -> Result<(Vec<Mandate>, Vec<Effect>), AdminError> {
        let (mut mandates, mut effects) = (Vec::new(), Vec::new());
        for purpose in &agent.purposes {
            let place = FactKey::standing_mandate(&agent.name, purpose);
            let known = reader.find::<MandateId>(place.clone()).await;
            if known.map_err(AdminError::unavailable)?.is_none() {
                continue;
            }
            let purpose = reader.need::<Purpose>(FactKey::purpose(purpose)).await;
            let purpose = purpose.map_err(AdminError::unavailable)?;
            let id = MandateId::new(now, self.authority.entropy().as_ref());
            let mandate = standing_mandate(agent, &purpose, (id, now));
            effects.extend([put_new(FactKey::mandate(id), &mandate), put(place, &id)]);
            mandates.push(mandate);
        }
        Ok((mandates, effects))
    }
}
