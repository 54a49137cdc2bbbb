//! What a platform says of the workload that an instance is, when that changes.

use model::{Agent, FactKey, Instance, InstanceId, RecordId, WorkloadIdentity};
use serde_json::json;
use store::{Effect, Unit};

use crate::quarantine::again_if_changed;
use crate::{Authority, NotStopped, Reader};

impl Authority {
    /// Enters `workload` as what the platform says of `instance` by now, in one transaction with the
    /// record of it: whatever is decided next is decided on that.
    pub async fn note_workload(
        &self,
        instance: InstanceId,
        workload: WorkloadIdentity,
    ) -> Result<RecordId, NotStopped> {
        again_if_changed(|| self.try_note_workload(instance, &workload)).await
    }

    async fn try_note_workload(
        &self,
        instance: InstanceId,
        workload: &WorkloadIdentity,
    ) -> Result<RecordId, NotStopped> {
        let mut reader = Reader::new(self.journal.store().as_ref());
        let place = FactKey::instance(instance);
        let mut instance: Instance = reader.need(place.clone()).await?;
        let agent: Agent = reader.need(FactKey::agent(&instance.agent)).await?;
        let read = reader.sourced(());
        let seen = [("first", json!(instance.workload)), ("second", json!(workload))];
        let what = ("workload_changed", "attested");
        let who = (&agent, instance.id, self.mandate_behind(&instance).await);
        let (id, entry) = self.signalled(who, what, &seen).await?;
        instance.workload = Some(workload.clone());
        let effects = vec![Effect::Put { key: place, body: json::canonical_of(&instance) }];
        let unit = Unit { entries: vec![entry], effects, ..Unit::resting_on(read) };
        self.journal.store().commit(unit).await?;
        tracing::info!(instance = %instance.id, "what its platform says of an instance changed");
        Ok(id)
    }
}
