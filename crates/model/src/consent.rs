//! Consents: what an agent asks a person to be allowed on their behalf, and what became of it.

use serde::{Deserialize, Serialize};

use crate::{AgentName, ConsentId, MandateId, PurposeId, Scope, Timestamp};

/// What an agent asks some person for. It says what, never who: whoever consents does so for
/// themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// Its id, which nobody can guess.
    pub id: ConsentId,
    /// The agent that asks.
    pub agent: AgentName,
    /// What for.
    pub purpose: PurposeId,
    /// The most that may be done.
    pub scope: Scope,
    /// Until when, at the latest.
    pub until: Timestamp,
    /// When it was asked.
    pub asked: Timestamp,
    /// When it can be answered no longer.
    pub expires: Timestamp,
    /// What became of it.
    pub state: ConsentState,
}

/// What became of a request for consent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum ConsentState {
    /// Nobody has answered.
    Pending,
    /// A person consented.
    Given {
        /// The mandate that they gave.
        mandate: MandateId,
    },
    /// A person refused.
    Refused {
        /// When.
        since: Timestamp,
    },
}

impl Consent {
    /// Whether somebody can still answer at `now`.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.state == ConsentState::Pending && now < self.expires
    }
}
