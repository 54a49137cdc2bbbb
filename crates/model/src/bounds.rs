//! Bounds: what may be handed on of a task, at most.
//!
//! Whoever narrows a task and whoever foretells what could be handed on go by the same bounds.

use crate::{Agent, Hop, Mandate, Purpose, Scope, Timestamp};

/// What bounds what an agent is handed of a task: the tasks above, the ceilings of all agents of the
/// chain and its own, mandate and purpose.
#[derive(Clone, Debug)]
pub struct Bounds<'a> {
    scopes: Vec<&'a Scope>,
    /// When the first of all ends that what is handed on may not outlast.
    pub deadline: Timestamp,
}

impl<'a> Bounds<'a> {
    /// The bounds of what `agent` is handed by the nearest of those `above`, whose root task rests on
    /// `mandate`, for `purpose`; none, if it may be handed nothing for that.
    pub fn of(
        above: impl Iterator<Item = Hop<'a>>,
        agent: &'a Agent,
        (mandate, purpose): (&'a Mandate, &'a Purpose),
    ) -> Option<Self> {
        if !agent.purposes.contains(&purpose.id) {
            return None;
        }
        let mut scopes = vec![&agent.ceiling, &mandate.scope, &purpose.scope];
        let mut deadline = mandate.valid_until;
        for hop in above {
            scopes.extend([&hop.task.scope, &hop.agent.ceiling]);
            deadline = deadline.min(hop.task.deadline);
        }
        Some(Self { scopes, deadline })
    }

    /// Whether a task of this `scope` until `deadline` is within them.
    pub fn hold(&self, scope: &Scope, deadline: Timestamp) -> bool {
        deadline <= self.deadline && self.scopes.iter().all(|it| it.includes(scope))
    }

    /// The same `scope`, if it names data objects, or else for those that are within them.
    pub fn for_their_objects(&self, scope: Scope) -> Scope {
        scope.for_objects_of(self.scopes.iter().copied())
    }

    /// The widest scope within them.
    pub fn widest(&self) -> Scope {
        let mut scopes = self.scopes.iter();
        let first = scopes.next().map_or_else(Scope::default, |first| (*first).clone());
        scopes.fold(first, |all, scope| all.meet(scope))
    }
}
