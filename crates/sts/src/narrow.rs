//! Narrowing: what may be handed on of a task.
//!
//! INVARIANT: what is [`Narrowed`] holds nothing that any task or ceiling above it does not hold, and
//! ends no later than any (`i_08_…`). Nothing else becomes the scope of a task that was handed on.

use model::{Agent, Bounds, Harm, Hop, Mandate, OBJECT_PATTERNS_MAX, Purpose, Scope, Timestamp};
use oauth::initiation::AskedTask;

/// The part of a task that may be handed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Narrowed {
    scope: Scope,
    deadline: Timestamp,
}

/// It is not a part of the task, or more than the other agent may ever have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooWide;

impl Narrowed {
    /// The scope and the deadline.
    pub(crate) fn into_parts(self) -> (Scope, Timestamp) {
        (self.scope, self.deadline)
    }
}

/// On what the part of a task rests, beside those who handed it on.
pub(crate) struct Basis<'a> {
    /// The agent that it is handed on to.
    pub(crate) agent: &'a Agent,
    /// The mandate under which the root task was opened.
    pub(crate) mandate: &'a Mandate,
    /// The purpose.
    pub(crate) purpose: &'a Purpose,
}

/// Narrows the tasks `above` to what is `asked` for the agent of `basis`.
pub(crate) fn narrow<'a>(
    above: impl Iterator<Item = Hop<'a>>,
    basis: &Basis<'a>,
    asked: &AskedTask,
) -> Result<Narrowed, TooWide> {
    let scope = scope(asked).ok_or(TooWide)?;
    let deadline = Timestamp::from_seconds(asked.until);
    let Basis { agent, mandate, purpose } = basis;
    let bounds = Bounds::of(above, agent, (mandate, purpose)).ok_or(TooWide)?;
    let scope = bounds.for_their_objects(scope);
    let fits = asked.purpose == purpose.id.as_str() && bounds.hold(&scope, deadline);
    if fits { Ok(Narrowed { scope, deadline }) } else { Err(TooWide) }
}

/// The scope that `task` asks for, if it is one. Where it names no data objects, it is for those of what bounds it.
pub(crate) fn scope(task: &AskedTask) -> Option<Scope> {
    if task.tools.is_empty() || task.tools.len() > model::MAX_PATTERNS {
        return None;
    }
    let tools = task.tools.iter().map(|tool| tool.parse()).collect::<Result<_, _>>().ok()?;
    let harm = task.harm.iter().map(|name| Harm::named(name)).collect::<Option<_>>()?;
    if task.objects.len() > OBJECT_PATTERNS_MAX {
        return None;
    }
    let objects =
        task.objects.iter().map(|object| object.parse()).collect::<Result<_, _>>().ok()?;
    let objects = (!task.objects.is_empty()).then_some(objects);
    let AskedTask { max_calls, max_tasks_a_day, .. } = *task;
    Some(Scope { tools, harm, objects, max_calls, max_tasks_a_day })
}
