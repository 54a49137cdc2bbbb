//! Devices: keys that people enrolled by logging in, each of which vouches for instances of one agent.

use serde::{Deserialize, Serialize};

use crate::{AgentName, Instance, Person, PersonId, Thumbprint, Timestamp};

/// What a device asks some person for. It says so itself, and only the key is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceAsked {
    /// The agent for whose instances it would vouch, whether there is such an agent or not.
    pub agent: AgentName,
    /// The thumbprint of its key.
    pub id: Thumbprint,
    /// Its public key (JWK), which it has proven.
    pub key: serde_json::Value,
    /// What it calls itself.
    pub name: String,
    /// From where it asks, if that tells one from another.
    pub from: Option<std::net::IpAddr>,
    /// When it asked.
    pub asked: Timestamp,
}

/// A key that a person enrolled: it vouches for instances of an agent, on that person's word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// The agent.
    pub agent: AgentName,
    /// The thumbprint of its key.
    pub id: Thumbprint,
    /// Its public key (JWK).
    pub key: serde_json::Value,
    /// What it called itself.
    pub name: String,
    /// The person who enrolled it.
    pub by: PersonId,
    /// When: what was begun under an enrolment before is over.
    pub enrolled: Timestamp,
    /// When it vouches no longer, unless somebody enrols it anew.
    pub valid_until: Timestamp,
    /// Where it stands in its life.
    pub state: DeviceState,
}

/// The life of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum DeviceState {
    /// May vouch.
    Active,
    /// Vouches for nothing, for good.
    Revoked {
        /// Why, in a few words.
        reason: String,
        /// Since when.
        since: Timestamp,
    },
}

/// A device with the person who enrolled it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolled {
    /// The device.
    pub device: Device,
    /// The person.
    pub by: Person,
}

impl Enrolled {
    /// Whether it vouches at `now`. A person who has left enrolled nothing, and who comes back
    /// revives nothing.
    pub fn vouches(&self, now: Timestamp) -> bool {
        let Self { device, by } = self;
        device.state == DeviceState::Active
            && now < device.valid_until
            && by.id == device.by
            && by.answers_for(device.enrolled)
    }

    /// Whether it vouches at `now` for `instance`, which it vouched for when that was entered.
    pub fn vouches_for(&self, instance: &Instance, now: Timestamp) -> bool {
        let Device { agent, id, enrolled, .. } = &self.device;
        instance.device == Some(*id)
            && instance.agent == *agent
            && *enrolled <= instance.started
            && self.vouches(now)
    }
}
