//! Systems that start work of agents on behalf of people.

use std::collections::BTreeSet;
use std::time::Duration;

use keys::VerifyingKey;
use model::{
    Agent, AgentName, FactKey, InitiatingSystem, PersonId, Purpose, PurposeId, ResourceRef,
    SystemName, SystemState,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::command::{AdminError, Administration};
use crate::register::{active, known, put, put_new};

/// How long a system's key counts.
const KEY_LIFETIME: Duration = Duration::from_hours(90 * 24);

/// The most agents, and the most purposes, of one system.
const NAMED_MAX: usize = 1_024;

/// What a registration of a system names.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the members are those of the command line, documented there")]
pub struct SystemRegistration {
    pub name: String,
    pub owner: String,
    pub agents: Vec<String>,
    pub purposes: Vec<String>,
    /// The system's public key (JWK).
    pub key: Value,
}

impl Administration {
    pub(crate) async fn system_add(
        &self,
        by: &PersonId,
        registration: SystemRegistration,
    ) -> Result<Value, AdminError> {
        let SystemRegistration { name, owner, agents, purposes, key } = registration;
        let name: SystemName = name.parse().map_err(AdminError::invalid)?;
        let signs = VerifyingKey::from_jwk(&key).map_err(AdminError::invalid)?;
        let agents: BTreeSet<AgentName> = names(&agents)?;
        let purposes: BTreeSet<PurposeId> = names(&purposes)?;
        let mut draft = self.draft(by, "system/add", ResourceRef::System(name.clone())).await?;
        let owner = active(&mut draft.reader, &owner, "owner").await?.id;
        for agent in &agents {
            known::<Agent>(&mut draft.reader, FactKey::agent(agent), &format!("agent `{agent}`"))
                .await?;
        }
        // An agent that signs for the system would fill in what it asks.
        let place = FactKey::system(&name);
        let keeps = self.own_key(&mut draft.reader, &signs, place.clone()).await?;
        for purpose in &purposes {
            known::<Purpose>(
                &mut draft.reader,
                FactKey::purpose(purpose),
                &format!("purpose `{purpose}`"),
            )
            .await?;
        }
        let registered = self.now();
        let (key_expires, state) = (registered.plus(KEY_LIFETIME), SystemState::Active);
        let system = InitiatingSystem {
            name: name.clone(),
            owner,
            key,
            key_expires,
            agents,
            purposes,
            registered,
            state,
        };
        let effects = vec![put_new(place, &system), keeps];
        let done = draft.make(json!(system), effects).await?;
        Ok(json!({ "system": name, "decision": done.decision }))
    }

    /// One key written: every decision for what the system started reads it.
    pub(crate) async fn system_suspend(
        &self,
        by: &PersonId,
        name: &str,
        reason: String,
    ) -> Result<Value, AdminError> {
        let name: SystemName = name.parse().map_err(AdminError::invalid)?;
        let target = ResourceRef::System(name.clone());
        let mut draft = self.draft(by, "system/suspend", target).await?;
        let key = FactKey::system(&name);
        let mut system =
            known::<InitiatingSystem>(&mut draft.reader, key.clone(), &format!("system `{name}`"))
                .await?;
        let change = json!(reason);
        system.state = SystemState::Suspended { reason, since: self.now() };
        let done = draft.make(change, vec![put(key, &system)]).await?;
        Ok(json!({ "system": name, "decision": done.decision }))
    }
}

/// The names in `texts`, of which there is at least one.
fn names<T: std::str::FromStr<Err = model::InvalidName> + Ord>(
    texts: &[String],
) -> Result<BTreeSet<T>, AdminError> {
    if !(1..=NAMED_MAX).contains(&texts.len()) {
        let why = format!("name 1 to {NAMED_MAX} agents, and as many purposes");
        return Err(AdminError::Invalid(why));
    }
    texts.iter().map(|text| text.parse().map_err(AdminError::invalid)).collect()
}
