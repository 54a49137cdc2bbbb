//! Taking labels off: of the session of a task, or of what a server keeps.
//!
//! INVARIANT: what was read is not unread. Only a person takes a label off, by a recorded act with a
//! reason, and not of the work of an agent that they sponsor (`n_085_…`).

use std::collections::BTreeSet;

use authority::{Effect, Refused};
use model::{Agent, FactKey, Instance, Label, Marked, PersonId, SessionFacts, Task, TaskId};
use serde_json::{Value, json};

use crate::command::{AdminError, Administration, Draft};
use crate::register::{known, put};
use crate::risk::checked;
use crate::words::Acting;

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
        effects.push(match what {
            Marked::Session(task) => {
                let agent = whose(&mut draft, *task).await?;
                if agent.sponsor == by {
                    return Err(self.takes_off_their_own(agent));
                }
                let session = draft.reader.find::<SessionFacts>(key.clone()).await;
                let mut session = session.map_err(AdminError::unavailable)?.unwrap_or_default();
                taken_off(&mut session.labels, (label, what))?;
                put(key, &session)
            }
            Marked::Kept(..) => {
                let labels = draft.reader.find::<BTreeSet<Label>>(key.clone()).await;
                let mut labels = labels.map_err(AdminError::unavailable)?.unwrap_or_default();
                taken_off(&mut labels, (label, what))?;
                if labels.is_empty() { Effect::Remove { key } } else { put(key, &labels) }
            }
        });
        let change = json!({ "label": label, "what": what, "reason": reason });
        let done = draft.make(change, effects).await?;
        Ok(json!({ "label": label, "what": what, "decision": done.decision }))
    }

    fn takes_off_their_own(&self, agent: Agent) -> AdminError {
        let place = ("administration", "removed_own_label");
        let refused = Refused { agent: Some(agent.name), ..Refused::default() };
        self.authority.record_refusal(&self.refusals, place, refused);
        let why = "not permitted: nobody takes a label off the work of an agent of theirs";
        AdminError::Refused(why.to_owned())
    }
}

/// The agent whose task it is; the session is the root task's.
async fn whose(draft: &mut Draft<'_>, id: TaskId) -> Result<Agent, AdminError> {
    let reader = &mut draft.reader;
    let task = known::<Task>(reader, FactKey::task(id), &format!("task `{id}`")).await?;
    if let Some(part) = &task.delegation {
        let why =
            format!("task `{id}` is a part of task `{}`: the labels are on that", part.parent);
        return Err(AdminError::Invalid(why));
    }
    let holder = FactKey::instance(task.instance);
    let holder: Instance = reader.need(holder).await.map_err(AdminError::unavailable)?;
    let agent = reader.need(FactKey::agent(&holder.agent)).await;
    agent.map_err(AdminError::unavailable)
}

fn taken_off(
    labels: &mut BTreeSet<Label>,
    (label, what): (&Label, &Marked),
) -> Result<(), AdminError> {
    if labels.remove(label) {
        return Ok(());
    }
    Err(AdminError::Missing(format!("label `{label}` on `{what}`")))
}
