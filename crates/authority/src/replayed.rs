//! Ends what a credential stood for that was shown a second time: somebody has it who should not,
//! and nobody can tell who of the two that is.
//!
//! Not the whole agent is stopped, as for a copied key ([`Authority::quarantine`]): many people use
//! one client, and whose credential leaked is one of them.

use model::{Agent, FactKey, Instance, Mandate, Task, TaskEnd, TaskState, Withdrawn};
use store::{Effect, Unit};

use crate::quarantine::{NotStopped, Signal, again_if_changed};
use crate::{Authority, Reader};

impl Authority {
    /// Ends the task of the instance of `signal` and withdraws the mandate that it rests on, in one
    /// transaction with the record of it. It only takes away, so no policy is asked. What has ended
    /// already stays as it is, and is not recorded again.
    pub async fn end_replayed(&self, signal: Signal) -> Result<(), NotStopped> {
        again_if_changed(|| self.try_end_replayed(&signal)).await
    }

    async fn try_end_replayed(&self, signal: &Signal) -> Result<(), NotStopped> {
        let mut reader = Reader::new(self.journal.store().as_ref());
        let instance: Instance = reader.need(FactKey::instance(signal.instance)).await?;
        let agent: Agent = reader.need(FactKey::agent(&instance.agent)).await?;
        let mut task: Task = reader.need(FactKey::task(instance.task)).await?;
        let mut mandate: Mandate = reader.need(FactKey::mandate(task.mandate)).await?;
        let read = reader.sourced(());
        let (now, reason) = (self.clock.now(), signal.signal.to_owned());
        if task.state != TaskState::Open && mandate.withdrawn.is_some() {
            return Ok(());
        }
        let what = (signal.signal, "revoked");
        let who = (&agent, instance.id, Some(task.mandate_digest));
        let (_, entry) = self.signalled(who, what, &signal.seen).await?;
        let mut effects = signal.uses.clone();
        if task.state == TaskState::Open {
            let reason = reason.clone();
            task.state = TaskState::Ended { how: TaskEnd::Revoked, reason, since: now };
            effects
                .push(Effect::Put { key: FactKey::task(task.id), body: json::canonical_of(&task) });
            effects.push(Effect::Remove { key: FactKey::said(task.id) });
        }
        if mandate.withdrawn.is_none() {
            mandate.withdrawn = Some(Withdrawn { reason, since: now });
            let key = FactKey::mandate(mandate.id);
            effects.push(Effect::Put { key, body: json::canonical_of(&mandate) });
        }
        let unit = Unit { entries: vec![entry], effects, ..Unit::resting_on(read) };
        self.journal.store().commit(unit).await?;
        tracing::warn!(instance = %instance.id, signal = signal.signal, "a credential was replayed");
        Ok(())
    }
}
