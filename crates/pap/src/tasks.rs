//! Tasks and mandates: shown, and taken away.
//!
//! Taking one away is one key written: every decision in the task, and in whatever was handed on of
//! it, reads that key.

use authority::{Effect, FactsError, Reader};
use model::{
    FactKey, Instance, Mandate, MandateBasis, MandateId, PersonId, ResourceRef, SessionFacts, Task,
    TaskEnd, TaskId, TaskState, Withdrawn,
};
use serde_json::{Value, json};

use crate::command::{AdminError, Administration};
use crate::register::{known, put};

/// The most tasks of one tree that are shown.
const SHOWN_MAX: usize = 10_000;

impl Administration {
    pub(crate) async fn task_end(
        &self,
        by: &PersonId,
        id: &str,
        reason: String,
    ) -> Result<Value, AdminError> {
        let id: TaskId = id.parse().map_err(AdminError::invalid)?;
        let mut draft = self.draft(by, "task/end", ResourceRef::Task(id)).await?;
        let mut task =
            known::<Task>(&mut draft.reader, FactKey::task(id), &format!("task `{id}`")).await?;
        // As it is written down: by a clock that runs ahead it would have ended, and go on once that is set back.
        if let TaskState::Ended { how, .. } = task.state {
            let why = format!("task `{id}` has ended: {}", how.as_str());
            return Err(AdminError::Invalid(why));
        }
        let change = json!(reason);
        task.state = TaskState::Ended { how: TaskEnd::Revoked, reason, since: self.now() };
        let said = Effect::Remove { key: FactKey::said(id) };
        let done = draft.make(change, vec![put(FactKey::task(id), &task), said]).await?;
        Ok(json!({ "task": id, "decision": done.decision }))
    }

    /// Withdraws a mandate: with it all tasks that rest on it. A standing mandate makes room for
    /// another one.
    pub(crate) async fn mandate_withdraw(
        &self,
        by: &PersonId,
        id: &str,
        reason: String,
    ) -> Result<Value, AdminError> {
        let id: MandateId = id.parse().map_err(AdminError::invalid)?;
        let mut draft = self.draft(by, "mandate/withdraw", ResourceRef::Mandate(id)).await?;
        let mut mandate =
            known::<Mandate>(&mut draft.reader, FactKey::mandate(id), &format!("mandate `{id}`"))
                .await?;
        if mandate.withdrawn.is_some() {
            return Err(AdminError::Invalid(format!("mandate `{id}` is withdrawn")));
        }
        let change = json!(reason);
        mandate.withdrawn = Some(Withdrawn { reason, since: self.now() });
        let mut effects = vec![put(FactKey::mandate(id), &mandate)];
        if let MandateBasis::Standing { .. } = mandate.basis {
            let place = FactKey::standing_mandate(&mandate.agent, &mandate.purpose);
            let standing = draft.reader.find::<MandateId>(place.clone()).await;
            if standing.map_err(AdminError::unavailable)? == Some(id) {
                effects.push(Effect::Remove { key: place });
            }
        }
        let done = draft.make(change, effects).await?;
        Ok(json!({ "mandate": id, "decision": done.decision }))
    }

    /// All tasks, as they are by now.
    pub(crate) async fn task_list(&self, by: &PersonId) -> Result<Value, AdminError> {
        self.may_read(by, "task/").await?;
        let tasks = authority::all::<Task>(self.authority.pip().store(), "task/").await;
        let (tasks, now) = (tasks.map_err(AdminError::unavailable)?, self.now());
        Ok(tasks.into_iter().map(|task| json!(task.as_of(now))).collect())
    }

    /// A task, and below it all that was handed on of it.
    pub(crate) async fn task_show(&self, by: &PersonId, id: &str) -> Result<Value, AdminError> {
        let id: TaskId = id.parse().map_err(AdminError::invalid)?;
        self.may_read(by, "task").await?;
        let mut shown = 0;
        let tree = self.tree(id, &mut shown).await.map_err(AdminError::unavailable)?;
        let mut tree = tree.ok_or_else(|| AdminError::Missing(format!("task `{id}`")))?;
        let session = self.reader().find::<SessionFacts>(FactKey::session(id)).await;
        if let Some(session) = session.map_err(AdminError::unavailable)? {
            tree["session"] = json!({ "labels": session.labels, "used_tools": session.used_tools });
        }
        Ok(tree)
    }

    async fn tree(&self, id: TaskId, shown: &mut usize) -> Result<Option<Value>, FactsError> {
        let store = self.authority.pip().store();
        let mut reader = Reader::new(store);
        let Some(task) = reader.find::<Task>(FactKey::task(id)).await? else { return Ok(None) };
        let task = task.as_of(self.now());
        let instance: Instance = reader.need(FactKey::instance(task.instance)).await?;
        let elevations = authority::elevations(&mut reader, id).await?;
        let in_force = elevations.iter().filter(|it| it.is_in_force(&task, self.now()));
        let elevations: Vec<_> = in_force.map(|it| &it.elevation).collect();
        let mut tree = json!({
            "agent": instance.agent, "holder": instance.state, "task": task,
            "elevations": elevations,
        });
        let parts = authority::all::<TaskId>(store, &format!("part/{id}/")).await?;
        let mut below = Vec::new();
        for part in parts {
            if *shown >= SHOWN_MAX {
                tree["more"] = true.into();
                break;
            }
            *shown += 1;
            below.extend(Box::pin(self.tree(part, shown)).await?);
        }
        tree["parts"] = below.into();
        Ok(Some(tree))
    }
}
