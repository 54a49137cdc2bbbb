//! Ends tasks on record whose deadline has passed.
//!
//! Nothing waits for it: from its deadline on, a task is over for every decision, and whoever looks at it sees that it
//! is. Tasks are looked at in the order in which they were made, some of them at once, from the oldest on that may be
//! open; where that is, is written down. So what is looked at is what was made within the longest life of a task, and
//! not all that there ever were.
//!
//! INVARIANT: a task ends once (`a_task_that_ran_out_is_ended_on_record_once`): what ends it rests on that it was open,
//! and is in one commit with the record.

use std::time::Duration;

use model::{FactKey, Instance, Task, TaskId, TaskState, Timestamp};
use store::{Effect, Unit, Urgency};

use crate::ending;
use crate::quarantine::NotStopped;
use crate::{Authority, FactsError, Reader};

/// At how many tasks it is looked at once.
pub const TASKS_AT_ONCE: usize = 256;

/// How many tasks are ended at once.
pub const ENDED_AT_ONCE: usize = 32;

/// How often it is begun again to look at all of them.
const ROUND_EVERY: Duration = Duration::from_secs(10);

/// Far longer than opening a task takes: of those made before that, all are there.
const SETTLING: Duration = Duration::from_mins(10);

/// By how much more may be settled than is written down.
const WRITTEN_EVERY: Duration = Duration::from_mins(10);

/// How the keys of tasks begin.
const TASKS: &str = "task/";

/// How far it was looked.
#[derive(Debug, Default)]
pub struct Expiring {
    /// Of what was made before, nothing is open any more, as far as that is known.
    settled: Option<Timestamp>,
    /// What is written down of it.
    written: Option<Timestamp>,
    /// When the last round began, on the boot clock.
    begun: Option<Duration>,
    round: Option<Round>,
}

/// A round, as far as it got.
#[derive(Clone, Debug)]
struct Round {
    /// What comes after it was not looked at yet.
    after: FactKey,
    /// Of what was made before and looked at, nothing is open any more.
    settled: Timestamp,
}

impl Authority {
    /// Ends some of the tasks that have run out at `now`, each with a record of it, and goes on `from` there the next
    /// time.
    pub async fn end_expired(&self, from: &mut Expiring, now: Timestamp) -> Result<(), NotStopped> {
        let at = self.clock.monotonic();
        let is_soon = |begun: Duration| at.saturating_sub(begun) < ROUND_EVERY;
        let mut round = match from.round.clone() {
            Some(round) => round,
            None if from.begun.is_some_and(is_soon) => return Ok(()),
            None => {
                let round = self.round_of_expiring(from, now).await?;
                from.begun = Some(at);
                round
            }
        };
        let (due, is_last) = self.due(&mut round, now).await?;
        let unit = self.unit_of_ends(due, now).await?;
        if !unit.effects.is_empty() {
            self.journal.store().commit(unit).await?;
        }
        if !is_last {
            from.round = Some(round);
            return Ok(());
        }
        from.round = None;
        self.note_settled(from, round.settled).await
    }

    /// A new round: from the oldest on that may be open, by a clock that may have been set back since.
    async fn round_of_expiring(
        &self,
        from: &mut Expiring,
        now: Timestamp,
    ) -> Result<Round, FactsError> {
        if from.settled.is_none() {
            let found = self.pip.reader().find::<Timestamp>(FactKey::tasks_settled()).await;
            from.written = match found {
                Err(FactsError::Damaged { .. }) => None,
                found => found?,
            };
            from.settled = from.written;
        }
        let settled = now.minus(SETTLING);
        let begins = from.settled.unwrap_or(Timestamp::from_millis(0)).min(settled);
        Ok(Round { after: FactKey::task(TaskId::before(begins)), settled })
    }

    /// Which tasks have run out at `now` among those that are the next ones of `round`; and whether these are its last.
    async fn due(
        &self,
        round: &mut Round,
        now: Timestamp,
    ) -> Result<(Vec<FactKey>, bool), FactsError> {
        let page = self.journal.store().list(TASKS, Some(&round.after), TASKS_AT_ONCE).await?;
        let mut due = Vec::new();
        for (key, body) in page.facts {
            if due.len() == ENDED_AT_ONCE {
                return Ok((due, false));
            }
            round.after = key.clone();
            let Ok(task) = serde_json::from_slice::<Task>(&body) else {
                tracing::warn!(%key, "a task cannot be read, and is not ended");
                continue;
            };
            if task.state != TaskState::Open {
                continue;
            }
            if now < task.deadline {
                round.settled = round.settled.min(task.id.made());
            } else {
                due.push(key);
            }
        }
        Ok((due, page.next.is_none()))
    }

    /// What ends those of the tasks at `due` that are open as they are read now.
    async fn unit_of_ends(&self, due: Vec<FactKey>, now: Timestamp) -> Result<Unit, FactsError> {
        let (mut reader, mut ends) = (Reader::new(self.journal.store().as_ref()), Unit::default());
        for key in due {
            let (task, holder) = match held(&mut reader, key).await {
                Err(error @ (FactsError::Damaged { .. } | FactsError::Missing(_))) => {
                    tracing::warn!(%error, "a task that ran out is not ended");
                    continue;
                }
                held => held?,
            };
            if task.state == TaskState::Open {
                let stamp = (now, self.entropy.as_ref());
                ending::end(task.as_of(now), (&holder, None), stamp, &mut ends);
            }
        }
        let Unit { entries, effects, .. } = ends;
        let urgency = Urgency::Deferred;
        Ok(Unit { entries, effects, urgency, ..Unit::resting_on(reader.sourced(())) })
    }

    /// Takes note that of what was made before `settled` nothing is open, and writes that down now and then: whoever
    /// starts next looks at no more than it has to.
    async fn note_settled(
        &self,
        from: &mut Expiring,
        settled: Timestamp,
    ) -> Result<(), NotStopped> {
        from.settled = Some(settled);
        let is_written =
            from.written.is_some_and(|it| it <= settled && settled < it.plus(WRITTEN_EVERY));
        if is_written {
            return Ok(());
        }
        let (key, body) = (FactKey::tasks_settled(), json::canonical_of(&settled));
        let effects = vec![Effect::Put { key, body }];
        let unit = Unit { effects, urgency: Urgency::Deferred, ..Unit::default() };
        self.journal.store().commit(unit).await?;
        from.written = Some(settled);
        Ok(())
    }
}

/// The task at `key` with who holds it.
async fn held(reader: &mut Reader<'_>, key: FactKey) -> Result<(Task, Instance), FactsError> {
    let task: Task = reader.need(key).await?;
    let holder = reader.need(FactKey::instance(task.instance)).await?;
    Ok((task, holder))
}
