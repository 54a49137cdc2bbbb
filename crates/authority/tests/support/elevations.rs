//! What somebody may do beyond their task, as two people would have it.

use std::time::Duration;

use model::{Clock as _, Elevation, ElevationId, ElevationState, FactKey, Harm, Task, ToolRef};
use store::{Store as _, Unit};

use super::{World, put};

impl World {
    /// An elevation for a minute of the holder of `task` for `tools`, as the sponsor asked for it and the
    /// other person approved it.
    pub(crate) fn elevation(&self, task: &Task, tools: &[&str]) -> Elevation {
        let now = self.clock.now();
        let until = now.plus(Duration::from_mins(1));
        let tool = |name: &&str| format!("crm/{name}").parse::<ToolRef>().expect("a tool");
        Elevation {
            id: ElevationId::new(now, self.entropy.as_ref()),
            name: "month-end".parse().expect("a name"),
            task: task.id,
            instance: task.instance,
            tools: tools.iter().map(|name| (tool(name), Harm::ALL.into())).collect(),
            max_calls: None,
            lasts_s: 60,
            reason: "test".to_owned(),
            asked_by: self.standing.sponsor.id.clone(),
            key: None,
            asked: now,
            state: ElevationState::Approved { by: self.standing.other.id.clone(), at: now, until },
        }
    }

    /// Writes such an elevation, in place of any other of the task.
    pub(crate) async fn elevate(&self, task: &Task, tools: &[&str]) -> Elevation {
        let elevation = self.elevation(task, tools);
        self.store.commit(approving(&elevation)).await.expect("it commits");
        elevation
    }
}

/// A unit that approves `elevation`.
pub(crate) fn approving(elevation: &Elevation) -> Unit {
    let effects = vec![
        put(FactKey::elevation(elevation.id), elevation),
        put(FactKey::elevated(elevation.task), &[elevation.id]),
    ];
    Unit { effects, ..Unit::default() }
}

/// A unit that takes `elevation` back.
pub(crate) fn revoking(elevation: &Elevation) -> Unit {
    let (by, since) = (elevation.asked_by.clone(), elevation.asked);
    let state = ElevationState::Revoked { by, reason: "done".to_owned(), since };
    let revoked = Elevation { state, ..elevation.clone() };
    Unit { effects: vec![put(FactKey::elevation(elevation.id), &revoked)], ..Unit::default() }
}
