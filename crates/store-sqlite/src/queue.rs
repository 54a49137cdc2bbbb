//! What waits for the writer, and when a batch starts.
//!
//! A lone caller never waits for company: a batch starts as soon as nothing that was announced is
//! still on its way, or its oldest unit is half a millisecond old; five, where all of them are of those
//! that come by the many. What nobody waits for starts one only after 100 ms. The writer is woken when a
//! batch is due, not for each unit of it.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use model::{Clock, Timestamp};
use store::{CheckpointRow, CommitError, Committed, QUEUE_MAX, Unit, Urgency};
use tokio::sync::oneshot;

use crate::batch::OnceKey;

/// The most jobs of one batch.
pub(crate) const BATCH_MAX: usize = 256;

/// How long the oldest unit of a batch waits for announced ones.
const COMPANY: Duration = Duration::from_micros(500);

/// How long units that come by the many wait for announced ones.
const GATHERING: Duration = Duration::from_millis(5);

/// How long units that nobody waits for may wait.
const DEFERRED: Duration = Duration::from_millis(100);

/// Why the store could not do something.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What takes part in a batch.
pub(crate) enum Job {
    /// Commit a unit.
    Unit { unit: Unit, reply: oneshot::Sender<Result<Committed, CommitError>> },
    /// Replace the checkpoint.
    Swap { from: Option<u64>, to: CheckpointRow, reply: oneshot::Sender<Result<bool, Cause>> },
}

impl Job {
    /// How long it may wait for company.
    const fn urgency(&self) -> Urgency {
        match self {
            Self::Unit { unit, .. } => unit.urgency,
            Self::Swap { .. } => Urgency::Awaited,
        }
    }
}

/// Things used once that have expired, to be forgotten between two batches.
pub(crate) struct Forget {
    pub(crate) expired: Vec<(i64, OnceKey)>,
    pub(crate) before: Timestamp,
    pub(crate) reply: oneshot::Sender<Result<(), Cause>>,
}

/// Why a job, or a load, was not taken.
#[derive(Debug)]
pub(crate) enum NotTaken {
    /// Too many wait.
    Full,
    /// The writer has ended.
    Ended,
}

/// What the writer does next.
pub(crate) enum Next {
    /// Commit these.
    Batch(Vec<Job>),
    /// What can wait: nothing else is to be done.
    Chores,
    /// End: there will be nothing any more.
    End,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<(Job, Duration)>,
    chores: VecDeque<Forget>,
    /// How many of the jobs somebody waits for.
    awaited: usize,
    /// How many of these come by the many.
    gathered: usize,
    /// How many requests said that a unit of theirs is on its way.
    announced: usize,
    /// The writer sleeps.
    sleeping: bool,
    closed: bool,
}

impl State {
    /// Whether a batch is due whatever its age.
    fn is_due(&self) -> bool {
        self.jobs.len() >= BATCH_MAX || (self.awaited > 0 && self.awaited >= self.announced)
    }

    /// How old the oldest job becomes at most before a batch starts.
    const fn patience(&self) -> Duration {
        if self.awaited > self.gathered {
            COMPANY
        } else if self.awaited > 0 {
            GATHERING
        } else {
            DEFERRED
        }
    }

    /// Puts `job` at the end, at `now`; whether a batch starts sooner because of it.
    fn push(&mut self, job: Job, now: Duration) -> bool {
        let (before, urgency) = (self.patience(), job.urgency());
        self.awaited += usize::from(urgency != Urgency::Deferred);
        self.gathered += usize::from(urgency == Urgency::Gathered);
        self.jobs.push_back((job, now));
        self.jobs.len() == 1 || self.patience() < before
    }

    /// Takes the jobs of the next batch.
    fn take(&mut self) -> Vec<Job> {
        let count = self.jobs.len().min(BATCH_MAX);
        let jobs: Vec<_> = self.jobs.drain(..count).map(|(job, _)| job).collect();
        let are = |urgency| jobs.iter().filter(|job| job.urgency() == urgency).count();
        self.gathered -= are(Urgency::Gathered);
        self.awaited -= are(Urgency::Gathered) + are(Urgency::Awaited);
        jobs
    }
}

/// The queue between those who commit and the writer.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    /// How many batches were synced.
    pub(crate) syncs: AtomicU64,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while it is held")
    }

    /// Says that a unit is on its way.
    pub(crate) fn announce(&self) {
        self.state().announced += 1;
    }

    /// Says that what was announced has arrived, or will not.
    pub(crate) fn arrived(&self) {
        let mut state = self.state();
        state.announced -= 1;
        if state.sleeping && state.is_due() {
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Puts `job` in the queue, at `now`.
    pub(crate) fn push(&self, job: Job, now: Duration) -> Result<(), NotTaken> {
        let mut state = self.state();
        if state.closed {
            return Err(NotTaken::Ended);
        }
        if state.jobs.len() >= QUEUE_MAX {
            return Err(NotTaken::Full);
        }
        // The first of all, and the first that hurries more, set the time; the last one starts the batch.
        let sets_time = state.push(job, now);
        if state.sleeping && (sets_time || state.is_due()) {
            drop(state);
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Asks for something to be forgotten between two batches.
    pub(crate) fn push_chore(&self, chore: Forget) -> Result<(), NotTaken> {
        let mut state = self.state();
        if state.closed {
            return Err(NotTaken::Ended);
        }
        if state.chores.len() >= QUEUE_MAX {
            return Err(NotTaken::Full);
        }
        state.chores.push_back(chore);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// The next chore, if there is one.
    pub(crate) fn chore(&self) -> Option<Forget> {
        self.state().chores.pop_front()
    }

    /// Takes no more; the writer ends once the queue is empty.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.wake.notify_one();
    }

    /// Takes no more and gives up what waits: the writer will not commit it.
    pub(crate) fn abandon(&self) -> Vec<Job> {
        let mut state = self.state();
        state.closed = true;
        state.chores.clear();
        (state.awaited, state.gathered) = (0, 0);
        state.jobs.drain(..).map(|(job, _)| job).collect()
    }

    /// Waits for what the writer does next.
    pub(crate) fn next(&self, clock: &dyn Clock) -> Next {
        let mut state = self.state();
        loop {
            let Some((_, since)) = state.jobs.front() else {
                if !state.chores.is_empty() {
                    return Next::Chores;
                }
                if state.closed {
                    return Next::End;
                }
                (state, _) = self.sleep(state, None);
                continue;
            };
            let patience = state.patience();
            let waited = clock.monotonic().saturating_sub(*since);
            if state.closed || state.is_due() || waited >= patience {
                return Next::Batch(state.take());
            }
            let (woken, timed_out) = self.sleep(state, Some(patience.saturating_sub(waited)));
            state = woken;
            if timed_out && !state.jobs.is_empty() {
                return Next::Batch(state.take());
            }
        }
    }

    fn sleep<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        most: Option<Duration>,
    ) -> (MutexGuard<'a, State>, bool) {
        state.sleeping = true;
        let (mut state, timed_out) = match most {
            Some(most) => {
                let woken = self.wake.wait_timeout(state, most);
                let (state, why) = woken.expect("no panic while it is held");
                (state, why.timed_out())
            }
            None => (self.wake.wait(state).expect("no panic while it is held"), false),
        };
        state.sleeping = false;
        (state, timed_out)
    }
}

#[cfg(test)]
mod tests {
    use store::Urgency::{Awaited, Deferred, Gathered};

    use super::*;

    fn job(urgency: Urgency) -> Job {
        Job::Unit { unit: Unit { urgency, ..Unit::default() }, reply: oneshot::channel().0 }
    }

    #[test]
    fn whoever_hurries_most_says_how_long_a_batch_waits() {
        let check = |urgencies: &[Urgency], patience: Duration, sooner: &[bool]| {
            let mut state = State { announced: 9, ..State::default() };
            let pushed = urgencies.iter().map(|urgency| state.push(job(*urgency), Duration::ZERO));
            assert_eq!(pushed.collect::<Vec<_>>(), sooner, "{urgencies:?}");
            assert_eq!(state.patience(), patience, "{urgencies:?}");
            assert!(!state.is_due(), "nine are on their way");
            assert_eq!(state.take().len(), urgencies.len());
            assert_eq!((state.awaited, state.gathered, state.patience()), (0, 0, DEFERRED));
        };
        check(&[Deferred, Deferred], DEFERRED, &[true, false]);
        check(&[Gathered, Gathered, Deferred], GATHERING, &[true, false, false]);
        check(&[Deferred, Gathered, Awaited], COMPANY, &[true, true, true]);
        check(&[Awaited, Gathered], COMPANY, &[true, false]);
    }

    #[test]
    fn what_a_full_batch_leaves_waits_as_long_as_it_may() {
        let check = |first: Urgency, last: Urgency, patience: Duration| {
            let mut state = State { announced: BATCH_MAX + 1, ..State::default() };
            for urgency in std::iter::repeat_n(first, BATCH_MAX).chain([last]) {
                state.push(job(urgency), Duration::ZERO);
            }
            assert!(state.is_due(), "it is full");
            assert_eq!(state.take().len(), BATCH_MAX);
            let left = (state.jobs.len(), state.patience(), state.is_due());
            assert_eq!(left, (1, patience, false), "{first:?}, {last:?}");
        };
        check(Gathered, Awaited, COMPANY);
        check(Awaited, Gathered, GATHERING);
        check(Deferred, Gathered, GATHERING);
        check(Gathered, Deferred, DEFERRED);
    }

    #[test]
    fn who_comes_alone_waits_for_nobody() {
        for urgency in [Awaited, Gathered] {
            let mut state = State { announced: 1, ..State::default() };
            state.push(job(urgency), Duration::ZERO);
            assert!(state.is_due(), "{urgency:?}");
        }
    }
}
