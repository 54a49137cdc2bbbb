//! Notices when the wall clock cannot be trusted: deadlines and expiries would mean nothing.

use std::sync::Mutex;
use std::time::Duration;

use model::{CLOCK_STEP_MAX, Clock, Timestamp};

/// After a step the clock must run true for this long to be trusted again.
pub const CLOCK_TRUST_AFTER: Duration = Duration::from_secs(30);

/// Within how much time both clocks are read: what is read farther apart says nothing of their offset.
const READ_WITHIN: Duration = Duration::from_millis(100);

/// The wall clock stepped, or runs before what was already recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the clock cannot be trusted: it stepped or runs behind the last record")]
pub struct ClockUnsure;

/// Compares the wall clock with the boot clock at every decision.
#[derive(Debug)]
pub struct ClockGuard(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Wall clock minus boot clock, in milliseconds, as last accepted or last seen.
    offset: i64,
    /// Since when, on the boot clock, the offset has been steady after a step.
    unsure_since: Option<Duration>,
    /// The time of the newest record: the wall clock never runs before it.
    last: Timestamp,
}

/// What both clocks show at one time.
struct Reading {
    wall: Timestamp,
    boot: Duration,
}

impl State {
    fn begin(clock: &dyn Clock, last: Timestamp) -> Self {
        let read = Reading::of(clock);
        let unsure_since = (read.wall < last).then_some(read.boot);
        Self { offset: read.offset(), unsure_since, last }
    }
}

impl Reading {
    /// Reads `clock`, and again if the thread stood still in between: on a busy machine that is no step.
    fn of(clock: &dyn Clock) -> Self {
        loop {
            let (boot, wall) = (clock.monotonic(), clock.wall());
            if clock.monotonic().saturating_sub(boot) <= READ_WITHIN {
                return Self { wall, boot };
            }
        }
    }

    /// Wall clock minus boot clock, in milliseconds.
    fn offset(&self) -> i64 {
        let boot = i64::try_from(self.boot.as_millis()).unwrap_or(i64::MAX);
        self.wall.as_millis().saturating_sub(boot)
    }
}

impl ClockGuard {
    /// Begins to watch `clock`; `last` is the time of the newest record in the log.
    pub fn new(clock: &dyn Clock, last: Timestamp) -> Self {
        Self(Mutex::new(State::begin(clock, last)))
    }

    /// Begins anew, once it is known that `last` is the time of the newest record.
    pub(crate) fn follow(&self, clock: &dyn Clock, last: Timestamp) {
        *self.0.lock().expect("no panic while it is held") = State::begin(clock, last);
    }

    /// The time now, if it can be trusted.
    pub fn now(&self, clock: &dyn Clock) -> Result<Timestamp, ClockUnsure> {
        // Read while nobody else looks: beside what they saw meanwhile, it would have run back.
        let mut state = self.0.lock().expect("no panic while it is held");
        // What is told is the clock's own time; whether it can be trusted is judged by the wall's.
        let (told, read) = (clock.now(), Reading::of(clock));
        let step = read.offset().abs_diff(state.offset);
        if u128::from(step) > CLOCK_STEP_MAX.as_millis() {
            state.offset = read.offset();
            state.unsure_since = Some(read.boot);
        }
        let behind = read.wall.plus(CLOCK_STEP_MAX) < state.last;
        if behind {
            state.unsure_since = Some(read.boot);
        }
        match state.unsure_since {
            Some(since) if read.boot.saturating_sub(since) < CLOCK_TRUST_AFTER => Err(ClockUnsure),
            _ => {
                state.unsure_since = None;
                state.last = state.last.max(told);
                Ok(told)
            }
        }
    }

    /// Trusts the clock as it is: an administrator's word, recorded by whoever passes it on.
    pub fn trust(&self, clock: &dyn Clock) {
        clock.trust();
        let mut state = self.0.lock().expect("no panic while it is held");
        let read = Reading::of(clock);
        *state = State { offset: read.offset(), unsure_since: None, last: read.wall };
    }
}
