//! Systems of the organisation that start work of agents on behalf of people.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{AgentName, Mandate, Person, PersonId, PurposeId, SystemName, Timestamp};

/// A registered system that says, under its signature, on whose behalf an agent is to work and what
/// for: a ticket system, a workflow engine, a bank's own portal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitiatingSystem {
    /// Its name; also the `iss` of what it signs.
    pub name: SystemName,
    /// Who answers for what it starts.
    pub owner: PersonId,
    /// The public key (JWK) by which it signs.
    pub key: serde_json::Value,
    /// When that key stops counting.
    pub key_expires: Timestamp,
    /// The agents that it may start.
    pub agents: BTreeSet<AgentName>,
    /// What for.
    pub purposes: BTreeSet<PurposeId>,
    /// When it was registered.
    pub registered: Timestamp,
    /// Where it stands in its life.
    pub state: SystemState,
}

/// The life of an initiating system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum SystemState {
    /// May start work.
    Active,
    /// May not, and what it started is over.
    Suspended {
        /// Why, in a few words.
        reason: String,
        /// Since when.
        since: Timestamp,
    },
}

/// The system that started a task, and who answers for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Initiator {
    /// The system.
    pub system: InitiatingSystem,
    /// Its owner.
    pub owner: Person,
}

impl Initiator {
    /// Whether the system may still have given `mandate`, as of `now`.
    pub fn answers_for(&self, mandate: &Mandate, now: Timestamp) -> bool {
        self.owner.id == self.system.owner
            && self.owner.answers_for(mandate.given)
            && self.system.state == SystemState::Active
            && now < self.system.key_expires
            && self.system.agents.contains(&mandate.agent)
            && self.system.purposes.contains(&mandate.purpose)
    }
}
