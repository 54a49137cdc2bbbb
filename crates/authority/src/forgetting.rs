//! Forgets what no decision reads any more: what was used once and has expired, what was counted in an hour or a day
//! that is past, and what results said in tasks that are over.
//!
//! Decisions are made again from their records, so nothing is decided otherwise for it. Little is looked at at
//! once, and goes on from there the next time.

use std::time::Duration;

use model::{FactKey, Task, TaskId, TaskState, Timestamp};
use store::{CounterKey, Effect, Unit, Urgency};

use crate::counted;
use crate::{Authority, FactsError};

/// How many counters are looked at at once.
pub const COUNTERS_AT_ONCE: usize = 256;

/// Of how many tasks it is looked at once whether they are over.
const TASKS_AT_ONCE: usize = 32;

/// How long what is over is kept: far longer than a decision or an answer that began before takes.
const KEPT_FOR: Duration = Duration::from_hours(24);

/// How the keys begin of what results said.
const SAID: &str = "said/";

/// How far it was looked.
#[derive(Debug, Default)]
pub struct Forgetting {
    counter: Option<CounterKey>,
    said: Option<FactKey>,
}

impl Authority {
    /// Forgets some of what is over at `now`, and goes on `from` there the next time.
    pub async fn forget_past(
        &self,
        from: &mut Forgetting,
        now: Timestamp,
    ) -> Result<(), FactsError> {
        self.journal.store().forget_expired(now).await?;
        let units = [self.past_counters(from, now).await?, self.past_said(from, now).await?];
        for unit in units.into_iter().filter(|unit| !unit.effects.is_empty()) {
            if let Err(error) = self.journal.store().commit(unit).await {
                tracing::warn!(%error, "what is past is not forgotten yet");
            }
        }
        Ok(())
    }

    async fn past_counters(
        &self,
        from: &mut Forgetting,
        now: Timestamp,
    ) -> Result<Unit, FactsError> {
        let store = self.journal.store();
        let listed = store.list_counters("", from.counter.as_ref(), COUNTERS_AT_ONCE).await?;
        let all = listed.len() < COUNTERS_AT_ONCE;
        from.counter = listed.last().map(|(counter, _)| counter.clone()).filter(|_| !all);
        let is_past = |counter: &CounterKey| {
            counted::counted_until(counter).is_some_and(|until| until.plus(KEPT_FOR) <= now)
        };
        let past = listed.into_iter().filter(|(counter, _)| is_past(counter));
        // What comes to nothing is kept no longer.
        let effects = past
            .map(|(counter, value)| Effect::Count { counter, amount: -value, limit: None })
            .collect();
        Ok(Unit { effects, urgency: Urgency::Deferred, ..Unit::default() })
    }

    async fn past_said(&self, from: &mut Forgetting, now: Timestamp) -> Result<Unit, FactsError> {
        let page = self.journal.store().list(SAID, from.said.as_ref(), TASKS_AT_ONCE).await?;
        from.said = page.next;
        let (mut reader, mut effects) = (self.pip.reader(), Vec::new());
        for (key, _) in page.facts {
            let id = key.as_str().strip_prefix(SAID).and_then(|id| id.parse::<TaskId>().ok());
            let Some(id) = id else { continue };
            let task: Option<Task> = reader.find(FactKey::task(id)).await?;
            let is_over =
                |task: &Task| task.state != TaskState::Open || task.deadline.plus(KEPT_FOR) <= now;
            if task.as_ref().is_none_or(is_over) {
                effects.push(Effect::Remove { key });
            }
        }
        let read = reader.sourced(());
        Ok(Unit { effects, urgency: Urgency::Deferred, ..Unit::resting_on(read) })
    }
}
