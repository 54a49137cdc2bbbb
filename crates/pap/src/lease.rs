//! Leases: an agent works for nobody, and its key vouches, until a date. Somebody says anew that it
//! is to go on, or it ends.

use std::time::Duration;

use authority::{Effect, Reader};
use keys::VerifyingKey;
use model::{
    Agent, AgentName, AgentState, FactKey, Mandate, MandateBasis, MandateId, PersonId, Purpose,
    ResourceRef, Timestamp,
};
use serde_json::{Value, json};

use crate::register::{active, put, put_new, registered};
use crate::{AdminError, Administration};

/// How long an agent's key vouches.
pub(crate) const AGENT_KEY_LIFETIME: Duration = Duration::from_hours(90 * 24);

/// How long a standing mandate lasts.
const LEASE: Duration = Duration::from_hours(30 * 24);

/// The standing mandate of `agent` for `purpose`, from `now` on.
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
        valid_until: now.plus(LEASE),
        withdrawn: None,
    }
}

impl Administration {
    /// Renews the key of an agent, or replaces it by `key`, and gives it standing mandates anew for
    /// the purposes for which it has some. What was begun under the old ones ends with them.
    pub(crate) async fn agent_renew(
        &self,
        by: &PersonId,
        name: &str,
        key: Option<Value>,
    ) -> Result<Value, AdminError> {
        let name: AgentName = name.parse().map_err(AdminError::invalid)?;
        let read = key.as_ref().map(VerifyingKey::from_jwk).transpose();
        let replacing = read.map_err(AdminError::invalid)?;
        let mut draft = self.draft(by, "agent/renew", ResourceRef::Agent(name.clone())).await?;
        let mut agent = registered(&mut draft.reader, &name).await?;
        if agent.state != AgentState::Active {
            return Err(AdminError::Invalid(format!("the agent `{name}` is suspended")));
        }
        active(&mut draft.reader, agent.sponsor.as_str(), "sponsor").await?;
        let now = self.now();
        agent.key_expires = now.plus(AGENT_KEY_LIFETIME);
        agent.key = key.unwrap_or(agent.key);
        let place = FactKey::agent(&name);
        let mut effects = vec![put(place.clone(), &agent)];
        if let Some(key) = &replacing {
            effects.push(self.own_key(&mut draft.reader, key, place).await?);
        }
        let (mandates, written) = self.stood_for_anew(&mut draft.reader, &agent, now).await?;
        effects.extend(written);
        let change =
            json!({ "agent": agent, "mandates": mandates, "key_replaced": replacing.is_some() });
        let done = draft.make(change, effects).await?;
        let (expires, until) = (agent.key_expires, mandates.first().map(|it| it.valid_until));
        Ok(json!({
            "agent": name,
            "key_expires": expires.to_string(),
            "lease_until": until.map(|until| until.to_string()),
            "decision": done.decision,
        }))
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
