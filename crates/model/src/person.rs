//! People: the only ones who can answer for what an agent does.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{GroupName, PersonId, Timestamp};

/// A natural person known to this deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// The name under which everything here refers to the person.
    pub id: PersonId,
    /// The groups that the person belongs to; policy may refer to them.
    #[serde(default)]
    pub groups: BTreeSet<GroupName>,
    /// Whether the person still stands behind anything.
    pub state: PersonState,
}

/// Whether a person is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum PersonState {
    /// Present; nothing granted before `authorization_cutoff` counts.
    Active {
        /// What was granted before this instant stays dead, whoever comes back.
        authorization_cutoff: Option<Timestamp>,
    },
    /// Gone; everything that hangs on the person stops.
    Inactive {
        /// Since when.
        since: Timestamp,
    },
}

impl Person {
    /// Whether the person is active and what was granted at `granted` still counts.
    pub fn answers_for(&self, granted: Timestamp) -> bool {
        match self.state {
            PersonState::Active { authorization_cutoff } => {
                authorization_cutoff.is_none_or(|cutoff| granted > cutoff)
            }
            PersonState::Inactive { .. } => false,
        }
    }

    /// Whether the person is active now.
    pub fn is_active(&self) -> bool {
        matches!(self.state, PersonState::Active { .. })
    }
}
