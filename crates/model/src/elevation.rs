//! Elevations: what somebody may do beyond the scope of their task, for a while, because one person asked
//! for it and another approved it.
//!
//! INVARIANT: an elevation lifts the scope of one task, and of the tasks above it, for the tools that it
//! names, while that instance holds it (`r_54_…`). What anything else says stands.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    ElevationId, ElevationName, Harm, InstanceId, Person, PersonId, ServerName, Sha256Digest, Task,
    TaskId, Thumbprint, Timestamp, ToolRef,
};

/// The longest that an elevation lasts.
pub const ELEVATION_MAX: Duration = Duration::from_hours(1);

/// How long what was asked for waits for somebody to approve it.
pub const ELEVATION_WAITS: Duration = Duration::from_hours(1);

/// The most elevations of one task at a time.
pub const ELEVATIONS_MAX: usize = 4;

/// The most tools that one elevation names.
pub const ELEVATED_TOOLS_MAX: usize = 16;

/// That an instance may call some tools beyond the scope of its task, or that somebody asked for that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Elevation {
    /// Its id.
    pub id: ElevationId,
    /// Its name; policy may refer to it.
    pub name: ElevationName,
    /// The task.
    pub task: TaskId,
    /// The instance that held it: nobody who takes the task over has it.
    pub instance: InstanceId,
    /// The tools, each with the harm classes that it had when it was asked for.
    pub tools: BTreeMap<ToolRef, BTreeSet<Harm>>,
    /// The most calls that are permitted by it, if there is a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_calls: Option<u64>,
    /// For how long, in seconds from its approval.
    pub lasts_s: u64,
    /// What for, in a few words.
    pub reason: String,
    /// Who asked for it.
    pub asked_by: PersonId,
    /// The key by which they were known who asked, if by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Thumbprint>,
    /// When.
    pub asked: Timestamp,
    /// Where it stands in its life.
    pub state: ElevationState,
}

/// The life of an elevation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum ElevationState {
    /// Somebody asked for it.
    Asked,
    /// Somebody approved it.
    Approved {
        /// Who.
        by: PersonId,
        /// When.
        at: Timestamp,
        /// When it ends by itself.
        until: Timestamp,
    },
    /// Somebody took it back.
    Revoked {
        /// Who.
        by: PersonId,
        /// Why, in a few words.
        reason: String,
        /// Since when.
        since: Timestamp,
    },
}

impl Elevation {
    /// The digest of what was asked for, whatever became of it.
    pub fn digest(&self) -> Sha256Digest {
        let asked = Self { state: ElevationState::Asked, ..self.clone() };
        Sha256Digest::of(&json::canonical_of(&asked))
    }

    /// Whether it can be approved at `now`.
    pub fn waits(&self, now: Timestamp) -> bool {
        self.state == ElevationState::Asked && now < self.asked.plus(ELEVATION_WAITS)
    }

    /// When it ends by itself; never, if nobody approved it or somebody took it back.
    pub const fn until(&self) -> Option<Timestamp> {
        match &self.state {
            ElevationState::Approved { until, .. } => Some(*until),
            ElevationState::Asked | ElevationState::Revoked { .. } => None,
        }
    }

    /// Whether it names `tool`, and that has no harm classes that it did not have then.
    pub fn covers(&self, tool: &ToolRef, harm: &BTreeSet<Harm>) -> bool {
        self.tools.get(tool).is_some_and(|known| harm.is_subset(known))
    }

    /// Whether it names a tool of `server`: what opening a connection there and listing its tools need.
    pub fn touches(&self, server: &ServerName) -> bool {
        self.tools.keys().any(|tool| tool.server == *server)
    }
}

/// An elevation that was approved, with those who answer for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Elevated {
    /// The elevation.
    pub elevation: Elevation,
    /// Who asked for it.
    pub asked_by: Person,
    /// Who approved it.
    pub approved_by: Person,
}

impl Elevated {
    /// Whether it counts in `task` as of `now`: it has not ended, the task is still held by whom it is for,
    /// and both who wanted it are still here. Who comes back revives nothing.
    pub fn is_in_force(&self, task: &Task, now: Timestamp) -> bool {
        let Self { elevation, asked_by, approved_by } = self;
        let ElevationState::Approved { by, at, until } = &elevation.state else { return false };
        elevation.task == task.id
            && elevation.instance == task.instance
            && now < *until
            && asked_by.id == elevation.asked_by
            && asked_by.answers_for(elevation.asked)
            && approved_by.id == *by
            && approved_by.answers_for(*at)
    }
}
