//! Stops an instance because of what was seen of it.

use model::record::{ActCommitments, Disclosure, SignalRecord, VERSION};
use model::{
    Agent, FactKey, Instance, InstanceId, InstanceState, MandateDigest, RecordId, Stopped, Task,
};
use serde_json::Value;
use store::{CommitError, Effect, NewEntry, Unit};

use crate::{Authority, FactsError, Reader};

/// How often it is tried again when what it rests on changed.
const ATTEMPTS_MAX: u32 = 3;

/// Something that was seen of an instance, for which it is stopped.
#[derive(Clone, Debug)]
pub struct Signal {
    /// The instance.
    pub instance: InstanceId,
    /// What was seen, as a stable code.
    pub signal: &'static str,
    /// What was seen, by member of the record: committed to, disclosed apart.
    pub seen: Vec<(&'static str, Value)>,
    /// What saying it uses up.
    pub uses: Vec<Effect>,
}

/// Why an instance was not stopped.
#[derive(Debug, thiserror::Error)]
pub enum NotStopped {
    /// What it rests on could not be read.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// It could not be made durable.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Does `attempt`, and again if what it rests on changed meanwhile.
pub(crate) async fn again_if_changed<T, F>(attempt: impl Fn() -> F) -> Result<T, NotStopped>
where
    F: Future<Output = Result<T, NotStopped>>,
{
    for _ in 1..ATTEMPTS_MAX {
        match attempt().await {
            Err(NotStopped::Commit(CommitError::Changed { .. })) => {}
            answer => return answer,
        }
    }
    attempt().await
}

impl Authority {
    /// Quarantines the instance of `signal` and all that its agent, or its workload under another name,
    /// would start after it, in one transaction with the record of it.
    pub async fn quarantine(&self, signal: Signal) -> Result<RecordId, NotStopped> {
        again_if_changed(|| self.try_quarantine(&signal)).await
    }

    async fn try_quarantine(&self, signal: &Signal) -> Result<RecordId, NotStopped> {
        let mut reader = Reader::new(self.journal.store().as_ref());
        let place = FactKey::instance(signal.instance);
        let mut instance: Instance = reader.need(place.clone()).await?;
        let agent: Agent = reader.need(FactKey::agent(&instance.agent)).await?;
        let mut marks: Vec<(FactKey, Stopped)> = Vec::new();
        for mark in instance.stop_marks() {
            let stopped = reader.find(mark.clone()).await?.unwrap_or_default();
            marks.push((mark, stopped));
        }
        let read = reader.sourced(());
        let now = self.clock.now();

        let what = (signal.signal, "quarantined");
        let who = (&agent, instance.id, self.mandate_behind(&instance).await);
        let (id, entry) = self.signalled(who, what, &signal.seen).await?;

        let mut effects = signal.uses.clone();
        if instance.state == InstanceState::Active {
            let signal = signal.signal.to_owned();
            instance.state = InstanceState::Quarantined { signal, since: now };
            let put = |key, body| Effect::Put { key, body };
            effects.push(put(place, json::canonical_of(&instance)));
            for (mark, mut stopped) in marks {
                stopped.0.insert(instance.id, instance.state.clone());
                effects.push(put(mark, json::canonical_of(&stopped)));
            }
        }
        let unit = Unit { entries: vec![entry], effects, ..Unit::resting_on(read) };
        self.journal.store().commit(unit).await?;
        tracing::warn!(instance = %instance.id, signal = signal.signal, "an instance is quarantined");
        Ok(id)
    }

    /// The mandate behind the task of `instance`, if that can be read: it stays what it is, and no record waits for it.
    pub(crate) async fn mandate_behind(&self, instance: &Instance) -> Option<MandateDigest> {
        let task = self.pip.reader().find::<Task>(FactKey::task(instance.task)).await;
        task.ok().flatten().map(|task| task.mandate_digest)
    }

    /// The record that `signal` was seen of an instance, which works under `mandate` and is in `state` since.
    pub(crate) async fn signalled(
        &self,
        (agent, instance, mandate): (&Agent, InstanceId, Option<MandateDigest>),
        (signal, state): (&str, &str),
        what: &[(&'static str, Value)],
    ) -> Result<(RecordId, NewEntry), CommitError> {
        let now = self.clock.now();
        let mut seed = [0; 32];
        self.entropy.fill(&mut seed);
        let mut disclosure = Disclosure::new(seed);
        let mut commitments = ActCommitments::new(disclosure.commit("sponsor", &agent.sponsor));
        for (member, value) in what {
            commitments.insert(member, disclosure.commit(member, value));
        }
        let id = RecordId::new(now, self.entropy.as_ref());
        let record = SignalRecord {
            agent: agent.name.clone(),
            commitments,
            id,
            instance,
            kind: "signal".to_owned(),
            mandate,
            signal: signal.to_owned(),
            state: state.to_owned(),
            time: now,
            v: VERSION,
        };
        let sealed = self.journal.seal(&agent.sponsor, &disclosure).await?;
        Ok((id, journal::entry(*id.as_bytes(), &record, Some(sealed))))
    }
}
