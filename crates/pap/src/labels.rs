//! Taking labels off: of the session of a task, or of what a server keeps.
//!
//! INVARIANT: what was read is not unread. Only a person takes a label off, by a recorded act with a
//! reason, and not of work of which an agent that they sponsor has a part (`n_085_…`). It goes from what
//! the processes, workloads and devices that work on the task remember of that task, and of no other.

use std::collections::BTreeSet;

use authority::{Effect, FactsError, Reader, Refused};
use model::{
    Agent, FactKey, Instance, Label, Marked, PersonId, ProcessMemory, SessionFacts, Task, TaskId,
};
use serde_json::{Value, json};

use crate::command::{AdminError, Administration};
use crate::register::{known, put};
use crate::risk::checked;
use crate::words::Acting;

/// The most parts of a task that are looked through for who answers for them.
const PARTS_MAX: usize = 10_000;

impl Administration {
    /// Takes `label` off what it is on.
    pub(crate) async fn label_remove(
        &self,
        by: &PersonId,
        (label, what): (&Label, &Marked),
        (reason, word): (String, Option<String>),
    ) -> Result<Value, AdminError> {
        let said = json!({ "do": "label-remove", "label": label, "what": what, "reason": reason });
        let (by, uses) = self.acting_as_one(by, word.as_deref(), &said).await?;
        let done = self.remove_label((by, uses.clone()), (label, what), reason).await;
        self.settled(done, uses).await
    }

    async fn remove_label(
        &self,
        (by, mut effects): Acting,
        (label, what): (&Label, &Marked),
        reason: String,
    ) -> Result<Value, AdminError> {
        let mut draft = self.draft(&by, "label/remove", what.resource()).await?;
        let reason = checked(reason)?;
        let key = what.key();
        let is_on = match what {
            Marked::Session(task) => {
                let memory = match self.memory_of(*task, &by).await? {
                    Ok(memory) => memory,
                    Err(agent) => return Err(self.takes_off_their_own(agent)),
                };
                let session = draft.reader.find::<SessionFacts>(key.clone()).await;
                let mut session = session.map_err(AdminError::unavailable)?.unwrap_or_default();
                let is_on = session.labels.remove(label);
                effects.push(put(key, &session));
                for place in memory {
                    let known = draft.reader.find::<ProcessMemory>(place.clone()).await;
                    let known = known.map_err(AdminError::unavailable)?.unwrap_or_default();
                    effects.extend(known.without(*task, label).map(|left| put(place, &left)));
                }
                is_on
            }
            Marked::Kept(..) | Marked::Unnamed(_) => {
                let taken = taken_off(&mut draft.reader, key, label).await?;
                let is_on = taken.is_some();
                effects.extend(taken);
                is_on
            }
        };
        if !is_on {
            return Err(AdminError::Missing(format!("label `{label}` on `{what}`")));
        }
        let change = json!({ "label": label, "what": what, "reason": reason });
        let done = draft.make(change, effects).await?;
        Ok(json!({ "label": label, "what": what, "decision": done.decision }))
    }

    /// Where what those have read is kept that work on the root task `id`, or on a part of it; an
    /// agent among them for which `by` answers, if there is one.
    async fn memory_of(
        &self,
        id: TaskId,
        by: &PersonId,
    ) -> Result<Result<BTreeSet<FactKey>, Agent>, AdminError> {
        let mut reader = self.reader();
        let root = known::<Task>(&mut reader, FactKey::task(id), &format!("task `{id}`")).await?;
        if let Some(part) = &root.delegation {
            let parent = part.parent;
            let why = format!("task `{id}` is a part of task `{parent}`: the labels are on that");
            return Err(AdminError::Invalid(why));
        }
        let (mut tasks, mut looked_at, mut memory) = (vec![id], 0, BTreeSet::new());
        while let Some(id) = tasks.pop() {
            looked_at += 1;
            if looked_at > PARTS_MAX {
                let why = "the task has too many parts to tell who answers for them: end it";
                return Err(AdminError::Invalid(why.to_owned()));
            }
            let held = holder(&mut reader, id).await.map_err(AdminError::unavailable)?;
            let (instance, agent) = held;
            if agent.sponsor == *by {
                return Ok(Err(agent));
            }
            let under = [None, Some(root.mandate)];
            memory.extend(under.into_iter().flat_map(|mandate| instance.memories(mandate)));
            let store = self.authority.pip().store();
            let parts = authority::all::<TaskId>(store, &format!("part/{id}/")).await;
            tasks.extend(parts.map_err(AdminError::unavailable)?);
        }
        Ok(Ok(memory))
    }

    fn takes_off_their_own(&self, agent: Agent) -> AdminError {
        let place = ("administration", "removed_own_label");
        let refused = Refused { agent: Some(agent.name), ..Refused::default() };
        self.authority.record_refusal(&self.refusals, place, refused);
        let why =
            "not permitted: nobody takes a label off work of which an agent of theirs has a part";
        AdminError::Refused(why.to_owned())
    }
}

/// The instance that holds the task `id`, and its agent.
async fn holder(reader: &mut Reader<'_>, id: TaskId) -> Result<(Instance, Agent), FactsError> {
    let task: Task = reader.need(FactKey::task(id)).await?;
    let instance: Instance = reader.need(FactKey::instance(task.instance)).await?;
    let agent = reader.need(FactKey::agent(&instance.agent)).await?;
    Ok((instance, agent))
}

/// What takes `label` off those at `key`, if it is among them.
async fn taken_off(
    reader: &mut Reader<'_>,
    key: FactKey,
    label: &Label,
) -> Result<Option<Effect>, AdminError> {
    let labels = reader.find::<BTreeSet<Label>>(key.clone()).await;
    let mut labels = labels.map_err(AdminError::unavailable)?.unwrap_or_default();
    if !labels.remove(label) {
        return Ok(None);
    }
    Ok(Some(if labels.is_empty() { Effect::Remove { key } } else { put(key, &labels) }))
}
