//! Forgets what no decision reads any more: what was used once and has expired, what was counted in an hour or a day
//! that is past, or of work that is over, what results said in tasks that are, and what processes have read that
//! ended, and workloads and devices that have no work any more.
//!
//! Decisions are made again from their records, so nothing is decided otherwise for it. Little is looked at at
//! once, and goes on from there the next time; what cannot be read stays, and holds nothing else up.
//!
//! INVARIANT: a clock that ran ahead and is set back gives back nothing that is used up
//! (`a_clock_that_ran_ahead_and_is_set_back_gives_nothing_back`): time is past here no sooner than the service ran
//! for as long. What was used once is no part of that: its room is bounded, and it is forgotten as it expires.

use std::time::Duration;

use model::{
    Elevation, FactKey, Instance, Mandate, ProcessMemory, Task, TaskId, TaskState, Timestamp,
};
use store::{CounterKey, Effect, Unit, Urgency};

use crate::counted::{self, Counts};
use crate::reader::Reader;
use crate::{Authority, FactsError};

/// How many counters are looked at at once.
pub const COUNTERS_AT_ONCE: usize = 256;

/// Of how many tasks it is looked at once whether they are over.
const TASKS_AT_ONCE: usize = 32;

/// Of how many processes it is looked at once whether they have ended.
const PROCESSES_AT_ONCE: usize = 32;

/// How long what is over is kept: far longer than a decision or an answer that began before takes, and than work
/// goes on that a process began before it ended.
const KEPT_FOR: Duration = Duration::from_hours(24);

/// How often it is written down which time is reached.
const WRITTEN_EVERY: Duration = Duration::from_mins(1);

/// How the keys begin of what results said.
const SAID: &str = "said/";

/// How the keys begin of what processes have read.
const READ: &str = "memory/";

/// How far it was looked.
#[derive(Debug)]
pub struct Forgetting {
    /// When the process of the host with a number started, if there is one.
    started: fn(u32) -> Option<u64>,
    reached: Option<Reached>,
    counter: Option<CounterKey>,
    said: Option<FactKey>,
    read: Option<FactKey>,
}

/// A time that has come, however far ahead the clock is.
#[derive(Clone, Copy, Debug)]
struct Reached {
    time: Timestamp,
    /// When that was on the boot clock.
    at: Duration,
    /// What is written down of it.
    written: Option<Timestamp>,
}

impl Forgetting {
    /// Nothing was looked at yet; `started` tells when the process with a number started, if there is one.
    pub const fn new(started: fn(u32) -> Option<u64>) -> Self {
        Self { started, reached: None, counter: None, said: None, read: None }
    }
}

impl Authority {
    /// Forgets some of what is over at `now`, and goes on `from` there the next time.
    pub async fn forget_past(
        &self,
        from: &mut Forgetting,
        now: Timestamp,
    ) -> Result<(), FactsError> {
        // By the clock itself: who has no room for one more refuses it, and the time that is reached may lag for ever.
        self.journal.store().forget_expired(now).await?;
        let Some(now) = self.reached(from, now).await? else { return Ok(()) };
        let units = [
            self.past_counters(from, now).await?,
            self.past_said(from, now).await?,
            self.past_memories(from, now).await?,
        ];
        for unit in units.into_iter().filter(|unit| !unit.effects.is_empty()) {
            self.is_committed(unit).await;
        }
        Ok(())
    }

    /// The time that is reached: not after `now`, and no further on than the service ran since one was. None, while
    /// that cannot be written down: who starts next by a clock that is ahead would not know it.
    async fn reached(
        &self,
        from: &mut Forgetting,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, FactsError> {
        let at = self.clock.monotonic();
        let (time, written) = if let Some(Reached { time, at: then, written }) = from.reached {
            (time.plus(at.saturating_sub(then)), written)
        } else {
            let written = self.pip.reader().find::<Timestamp>(FactKey::time_reached()).await;
            let written = undamaged(written)?.flatten();
            (written.unwrap_or(now), written)
        };
        let time = time.min(now);
        let is_written = written.is_some_and(|it| it <= time && time < it.plus(WRITTEN_EVERY));
        if !is_written {
            let (key, body) = (FactKey::time_reached(), json::canonical_of(&time));
            let effects = vec![Effect::Put { key, body }];
            if !self.is_committed(deferred(effects, Unit::default())).await {
                return Ok(None);
            }
        }
        let written = if is_written { written } else { Some(time) };
        from.reached = Some(Reached { time, at, written });
        Ok(Some(time))
    }

    async fn is_committed(&self, unit: Unit) -> bool {
        let committed = self.journal.store().commit(unit).await;
        if let Err(error) = &committed {
            tracing::warn!(%error, "what is past is not forgotten yet");
        }
        committed.is_ok()
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
        let (mut reader, mut effects) = (self.pip.reader(), Vec::new());
        for (counter, value) in listed {
            let Some(counts) = counted::counts(&counter) else { continue };
            if is_past(counts, &mut reader, now).await? {
                // What comes to nothing is kept no longer; what is given back of it at the same time, or later,
                // leaves no less.
                effects.push(Effect::Count { counter, amount: -value, limit: None });
            }
        }
        Ok(deferred(effects, Unit::resting_on(reader.sourced(()))))
    }

    async fn past_said(&self, from: &mut Forgetting, now: Timestamp) -> Result<Unit, FactsError> {
        let page = self.journal.store().list(SAID, from.said.as_ref(), TASKS_AT_ONCE).await?;
        from.said = page.next;
        let (mut reader, mut effects) = (self.pip.reader(), Vec::new());
        for (key, _) in page.facts {
            let id = key.as_str().strip_prefix(SAID).and_then(|id| id.parse::<TaskId>().ok());
            let Some(id) = id else { continue };
            let task = undamaged(reader.find::<Task>(FactKey::task(id)).await)?;
            let is_over =
                |task: &Task| task.state != TaskState::Open || task.deadline.plus(KEPT_FOR) <= now;
            if task.is_some_and(|task| task.as_ref().is_none_or(is_over)) {
                effects.push(Effect::Remove { key });
            }
        }
        Ok(deferred(effects, Unit::resting_on(reader.sourced(()))))
    }

    /// What a process has read stays for as long as work can go on that it began before it ended: whoever has its
    /// key acts on. Nobody tells when a workload or a device ends: it stays as long after the last of its tasks was
    /// over.
    async fn past_memories(
        &self,
        from: &mut Forgetting,
        now: Timestamp,
    ) -> Result<Unit, FactsError> {
        let page = self.journal.store().list(READ, from.read.as_ref(), PROCESSES_AT_ONCE).await?;
        from.read = page.next;
        let (mut reader, mut effects) = (self.pip.reader(), Vec::new());
        for (key, _) in page.facts {
            let Some(whose) = whose(&key) else { continue };
            let known = undamaged(reader.find::<ProcessMemory>(key.clone()).await)?.flatten();
            let Some(known) = known else { continue };
            let runs = match whose {
                Whose::Process { pid, started } => (from.started)(pid) == Some(started),
                Whose::Lasting => has_work(&known, &mut reader, now).await?,
            };
            let ended = match known.ended {
                Some(ended) if !runs && ended.plus(KEPT_FOR) <= now => {
                    effects.push(Effect::Remove { key });
                    continue;
                }
                Some(ended) => (!runs).then_some(ended),
                None => (!runs).then_some(now),
            };
            if ended != known.ended {
                let body = json::canonical_of(&ProcessMemory { ended, ..known });
                effects.push(Effect::Put { key, body });
            }
        }
        Ok(deferred(effects, Unit::resting_on(reader.sourced(()))))
    }
}

/// Whether nothing counts any more, for as long as that is kept, by what counts so.
async fn is_past(
    counts: Counts,
    reader: &mut Reader<'_>,
    now: Timestamp,
) -> Result<bool, FactsError> {
    let task = match counts {
        Counts::Until(until) => return Ok(until.plus(KEPT_FOR) <= now),
        Counts::InTask(task) => Some(Some(task)),
        Counts::ByInstance(id) => {
            let instance = undamaged(reader.find::<Instance>(FactKey::instance(id)).await)?;
            instance.map(|it| it.map(|it| it.task))
        }
        Counts::OnElevation(id) => {
            let elevation = undamaged(reader.find::<Elevation>(FactKey::elevation(id)).await)?;
            elevation.map(|it| it.map(|it| it.task))
        }
        Counts::UnderMandate(id) => {
            let mandate = undamaged(reader.find::<Mandate>(FactKey::mandate(id)).await)?;
            // None is given for longer once it is given: what is given anew is another one.
            let over = |it: &Mandate| it.withdrawn.as_ref().map_or(it.valid_until, |it| it.since);
            let is_over = |it: &Mandate| over(it).plus(KEPT_FOR) <= now;
            return Ok(mandate.is_some_and(|it| it.as_ref().is_none_or(is_over)));
        }
    };
    let Some(task) = task else { return Ok(false) };
    // Of what there is not any more, nothing counts.
    let Some(task) = task else { return Ok(true) };
    let task = undamaged(reader.find::<Task>(FactKey::task(task)).await)?;
    let over = |task: &Task| match task.state {
        TaskState::Open => task.deadline,
        TaskState::Ended { since, .. } => since,
    };
    let is_over = |task: &Task| over(task).plus(KEPT_FOR) <= now;
    Ok(task.is_some_and(|task| task.as_ref().is_none_or(is_over)))
}

/// Who has read something.
#[derive(Clone, Copy, Debug)]
enum Whose {
    /// A process of the host, by its number and when it started.
    Process { pid: u32, started: u64 },
    /// A workload or a device.
    Lasting,
}

/// Whose memory stands at `key`.
fn whose(key: &FactKey) -> Option<Whose> {
    let whose = key.as_str().strip_prefix(READ)?.split('/').next()?;
    if whose.starts_with("workload-") || whose.starts_with("device-") {
        return Some(Whose::Lasting);
    }
    let (_, of_user) = whose.split_once('.')?;
    let (pid, started) = of_user.split_once('.')?;
    Some(Whose::Process { pid: pid.parse().ok()?, started: started.parse().ok()? })
}

/// Whether a task can be open at `now` of those in which something was read that `known` tells apart, the last
/// of all: those before began sooner, and a task is over long before [`KEPT_FOR`].
async fn has_work(
    known: &ProcessMemory,
    reader: &mut Reader<'_>,
    now: Timestamp,
) -> Result<bool, FactsError> {
    let is_open = |task: &Task| task.state == TaskState::Open && now < task.deadline;
    for id in known.tasks.keys().rev() {
        let task = undamaged(reader.find::<Task>(FactKey::task(*id)).await)?;
        if task.is_none_or(|task| task.as_ref().is_some_and(is_open)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What was found; none, if it is damaged: what hangs on it stays, and nothing else waits for it.
fn undamaged<T>(found: Result<T, FactsError>) -> Result<Option<T>, FactsError> {
    match found {
        Err(error @ FactsError::Damaged { .. }) => {
            tracing::warn!(%error, "what hangs on it is not forgotten");
            Ok(None)
        }
        found => found.map(Some),
    }
}

/// These `effects` with what `resting` rests on; nobody waits for them.
fn deferred(effects: Vec<Effect>, resting: Unit) -> Unit {
    Unit { effects, urgency: Urgency::Deferred, ..resting }
}
