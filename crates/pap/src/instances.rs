//! Instances: listed, stopped, released.
//!
//! While an instance of an agent is stopped, every new one of that agent starts as it: a restart
//! sheds nothing. Which host the new one runs on makes no difference, because a key alone does not
//! tell on which host it is. Nor does a workload shed anything by another agent's name.

use authority::{Effect, Reader, Refused};
use model::{Agent, FactKey, Instance, InstanceId, InstanceState, PersonId, ResourceRef, Stopped};
use serde_json::{Value, json};

use crate::asked::Command;
use crate::command::{AdminError, Administration, Draft};
use crate::register::{known, put};
use crate::words::Acting;

impl Administration {
    pub(crate) async fn instances(
        &self,
        by: &PersonId,
        command: Command,
    ) -> Result<Value, AdminError> {
        let since = self.now();
        match command {
            Command::InstanceRevoke { id, reason } => {
                let state = InstanceState::Revoked { reason, since };
                self.instance_stop(by, (&id, "instance/revoke"), state).await
            }
            Command::InstanceQuarantine { id, reason } => {
                let state = InstanceState::Quarantined { signal: reason, since };
                self.instance_stop(by, (&id, "instance/quarantine"), state).await
            }
            Command::InstanceRelease { id, reason, word } => {
                let said = json!({ "do": "instance-release", "id": id, "reason": reason });
                let (by, uses) = self.acting_as_one(by, word.as_deref(), &said).await?;
                let done = self.instance_release((by, uses.clone()), &id, reason).await;
                self.settled(done, uses).await
            }
            _ => self.list(by, "instance/", "").await,
        }
    }

    /// Stops an instance: one key written, which every decision of its reads; and all that its agent
    /// would start after it.
    async fn instance_stop(
        &self,
        by: &PersonId,
        (id, action): (&str, &'static str),
        state: InstanceState,
    ) -> Result<Value, AdminError> {
        let id: InstanceId = id.parse().map_err(AdminError::invalid)?;
        let mut draft = self.draft(by, action, ResourceRef::Instance(id)).await?;
        let mut instance = found(&mut draft, id).await?;
        let revoked = |state: &InstanceState| matches!(state, InstanceState::Revoked { .. });
        if revoked(&instance.state) && !revoked(&state) {
            return Err(AdminError::Invalid(format!("instance `{id}` is revoked")));
        }
        instance.state = state;
        let mut effects = vec![put(FactKey::instance(id), &instance)];
        effects.extend(stops_those_after(&mut draft.reader, &instance).await?);
        let done = draft.make(json!(instance.state), effects).await?;
        Ok(json!({ "instance": id, "decision": done.decision }))
    }

    /// Lets a quarantined instance act again, and in any case those that would start after it. What
    /// was revoked stays so. The agent's own sponsor has no say in it.
    async fn instance_release(
        &self,
        (by, mut effects): Acting,
        id: &str,
        reason: String,
    ) -> Result<Value, AdminError> {
        let id: InstanceId = id.parse().map_err(AdminError::invalid)?;
        let target = ResourceRef::Instance(id);
        let mut draft = self.draft(&by, "instance/release", target).await?;
        let mut instance = found(&mut draft, id).await?;
        let marks = marks(&mut draft.reader, &instance).await?;
        if !marks.iter().any(|(_, stopped)| stopped.0.contains_key(&id)) {
            return Err(AdminError::Invalid(format!("instance `{id}` is not stopped")));
        }
        let agent = draft.reader.need::<Agent>(FactKey::agent(&instance.agent)).await;
        if agent.map_err(AdminError::unavailable)?.sponsor == by {
            let refused = Refused { instance: Some(id), ..Refused::default() };
            let place = ("administration", "released_by_own_sponsor");
            self.authority.record_refusal(&self.refusals, place, refused);
            let why = "not permitted: who answers for an agent does not release its instances";
            return Err(AdminError::Refused(why.to_owned()));
        }
        for (key, mut stopped) in marks {
            stopped.0.remove(&id);
            let none_left = stopped.0.is_empty();
            effects.push(if none_left { Effect::Remove { key } } else { put(key, &stopped) });
        }
        if let InstanceState::Quarantined { .. } = instance.state {
            instance.state = InstanceState::Active;
            effects.push(put(FactKey::instance(id), &instance));
        }
        let done = draft.make(reason.into(), effects).await?;
        Ok(json!({ "instance": id, "state": instance.state, "decision": done.decision }))
    }
}

pub(crate) async fn found(draft: &mut Draft<'_>, id: InstanceId) -> Result<Instance, AdminError> {
    known::<Instance>(&mut draft.reader, FactKey::instance(id), &format!("instance `{id}`")).await
}

/// What is written so that whatever starts after `instance` is as that is now.
pub(crate) async fn stops_those_after(
    reader: &mut Reader<'_>,
    instance: &Instance,
) -> Result<Vec<Effect>, AdminError> {
    let mark = |(key, mut stopped): (FactKey, Stopped)| {
        stopped.0.insert(instance.id, instance.state.clone());
        put(key, &stopped)
    };
    Ok(marks(reader, instance).await?.into_iter().map(mark).collect())
}

/// The instances that are stopped of those that start after `instance`, by where that stands.
async fn marks(
    reader: &mut Reader<'_>,
    instance: &Instance,
) -> Result<Vec<(FactKey, Stopped)>, AdminError> {
    let mut marks = Vec::new();
    for mark in instance.stop_marks() {
        let found = reader.find::<Stopped>(mark.clone()).await;
        marks.push((mark, found.map_err(AdminError::unavailable)?.unwrap_or_default()));
    }
    Ok(marks)
}
