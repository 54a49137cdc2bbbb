//! Ends a task, and does so because its holder gives it up.

use std::collections::BTreeMap;

use model::{FactKey, Instance, InstanceId, Sha256Digest, Task, TaskEnd, TaskState};
use store::{Effect, Unit};

use crate::quarantine::{NotStopped, again_if_changed};
use crate::refusals::{Stamp, event};
use crate::{Authority, Reader};

/// That the holder of a task gives it up.
#[derive(Clone, Debug)]
pub struct Ending {
    /// The holder.
    pub instance: InstanceId,
    /// How the task ends.
    pub how: TaskEnd,
    /// What saying so uses up.
    pub uses: Vec<Effect>,
    /// The workload that says so, by the digest of who it is, where its platform vouched for it.
    pub workload: Option<Sha256Digest>,
}

impl Authority {
    /// Ends the task of the instance of `ending`, in one transaction with the record of it. One key
    /// is written: every decision in the task, and in what was handed on of it, reads it; and what results
    /// said in it is forgotten. It only takes away, so no policy is asked. A task that is over stays as it ended.
    pub async fn end_task(&self, ending: Ending) -> Result<(), NotStopped> {
        again_if_changed(|| self.try_end_task(&ending)).await
    }

    async fn try_end_task(&self, ending: &Ending) -> Result<(), NotStopped> {
        let mut reader = Reader::new(self.journal.store().as_ref());
        let instance: Instance = reader.need(FactKey::instance(ending.instance)).await?;
        let mut task: Task = reader.need(FactKey::task(instance.task)).await?;
        let read = reader.sourced(());
        let (now, how) = (self.clock.now(), ending.how);
        let mut unit = Unit { effects: ending.uses.clone(), ..Unit::resting_on(read) };
        if task.state == TaskState::Open && task.instance == instance.id {
            let reason = "said by its holder".to_owned();
            task.state = TaskState::Ended { how, reason, since: now };
            let by = (&instance, ending.workload);
            end(task, by, (now, self.entropy.as_ref()), &mut unit);
        }
        self.journal.store().commit(unit).await?;
        Ok(())
    }
}

/// Writes in `unit` that `task` of `holder` has ended, if it has, with the record of it, and forgets what results said
/// in it. A `workload` that said so is told of.
pub(crate) fn end(
    task: Task,
    (holder, workload): (&Instance, Option<Sha256Digest>),
    stamp: Stamp<'_>,
    unit: &mut Unit,
) {
    let TaskState::Ended { how, .. } = &task.state else { return };
    let details = [
        ("agent", holder.agent.to_string()),
        ("instance", holder.id.to_string()),
        ("task", task.id.to_string()),
        ("mandate", task.mandate_digest.to_string()),
        ("how", how.as_str().to_owned()),
    ];
    let workload = workload.map(|workload| ("workload", workload.to_string()));
    let details = details.into_iter().chain(workload);
    let details: BTreeMap<_, _> = details.map(|(name, value)| (name.to_owned(), value)).collect();
    unit.entries.push(event(stamp, "task_ended", details));
    let (key, body) = (FactKey::task(task.id), json::canonical_of(&task));
    unit.effects.push(Effect::Put { key, body });
    unit.effects.push(Effect::Remove { key: FactKey::said(task.id) });
}
