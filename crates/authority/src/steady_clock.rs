//! The time that records and tokens carry: the machine's, but it never steps and never runs back.
//!
//! While the wall clock cannot be trusted, time goes on from the last that was, by the boot clock.
//! So what is recorded then (refusals, outcomes, what the service says itself) keeps its place in
//! the log, whatever the wall clock shows. Decisions are refused meanwhile: see [`ClockGuard`].

use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::{Clock, Timestamp};

use crate::ClockGuard;

/// A clock that steps only when the wall clock ran true for a while.
pub struct SteadyClock {
    inner: Arc<dyn Clock>,
    guard: ClockGuard,
    /// The newest time that was told, and when that was on the boot clock.
    told: Mutex<(Timestamp, Duration)>,
}

impl SteadyClock {
    /// Steadies `inner`; `last` is the time of the newest record in the log.
    pub fn new(inner: Arc<dyn Clock>, last: Timestamp) -> Self {
        let guard = ClockGuard::new(inner.as_ref(), last);
        let start = if inner.wall() < last { last } else { inner.wall() };
        let told = Mutex::new((start, inner.monotonic()));
        Self { inner, guard, told }
    }

    /// Goes on from `last`, the time of the newest record, once that is known: what is kept needs a clock
    /// before it can be read.
    pub fn follow(&self, last: Timestamp) {
        self.guard.follow(self.inner.as_ref(), last);
        let mut told = self.told.lock().expect("no panic while it is held");
        *told = (last.max(self.inner.wall()), self.inner.monotonic());
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        // Read while nobody else does: what others told meanwhile would be put at an earlier time of boot.
        let mut told = self.told.lock().expect("no panic while it is held");
        let trusted = self.guard.now(self.inner.as_ref());
        let boot = self.inner.monotonic();
        let (last, at) = *told;
        let now = match trusted {
            Ok(now) => now.max(last),
            Err(_) => last.plus(boot.saturating_sub(at)),
        };
        *told = (now, boot);
        now
    }

    fn monotonic(&self) -> Duration {
        self.inner.monotonic()
    }

    fn wall(&self) -> Timestamp {
        self.inner.wall()
    }

    fn trust(&self) {
        self.guard.trust(self.inner.as_ref());
        let mut told = self.told.lock().expect("no panic while it is held");
        *told = (self.inner.wall(), self.inner.monotonic());
    }
}

#[cfg(test)]
mod tests {
    use testkit::ManualClock;

    use super::*;
    use crate::CLOCK_TRUST_AFTER;

    const SECOND: Duration = Duration::from_secs(1);

    /// Steps the wall clock by `step` seconds; what is told right after it, and once it ran true,
    /// as seconds since before.
    fn check(step: i64, (after, trusted): (i64, i64)) {
        let machine = Arc::new(ManualClock::new());
        let clock = SteadyClock::new(machine.clone(), Timestamp::from_millis(0));
        let before = clock.now();
        let since = |time: Timestamp| time.as_seconds() - before.as_seconds();
        machine.advance(SECOND);
        machine.step_wall(step * 1_000);
        assert_eq!(since(clock.now()), after, "after a step of {step} s");
        machine.advance(CLOCK_TRUST_AFTER);
        assert_eq!(since(clock.now()), trusted, "30 s after a step of {step} s");
    }

    #[test]
    fn n_120_a_step_is_not_followed_until_it_ran_true() {
        check(0, (1, 31));
        check(1, (2, 32));
        check(600, (1, 631));
        // Before what was told already it is never trusted: time goes on by the boot clock.
        check(-600, (1, 31));
    }

    #[test]
    fn n_120_an_administrator_can_say_that_the_clock_is_right() {
        let machine = Arc::new(ManualClock::new());
        let clock = SteadyClock::new(machine.clone(), Timestamp::from_millis(0));
        let guard = ClockGuard::new(&clock, Timestamp::from_millis(0));
        machine.step_wall(-600_000);
        assert!(guard.now(&clock).is_err());
        guard.trust(&clock);
        assert_eq!(guard.now(&clock), Ok(machine.now()));
        assert_eq!(clock.now(), machine.now());
    }

    #[test]
    fn n_120_time_never_runs_back() {
        let machine = Arc::new(ManualClock::new());
        let clock = SteadyClock::new(machine.clone(), Timestamp::from_millis(0));
        let mut last = clock.now();
        for step in [900, -1_900, 5_000, -4_000, 600_000, -700_000, 0, -1] {
            machine.advance(SECOND / 2);
            machine.step_wall(step);
            let now = clock.now();
            assert!(now >= last, "back by a step of {step} ms");
            last = now;
        }
    }

    #[test]
    fn n_120_a_start_behind_the_last_record_goes_on_from_it() {
        let machine = Arc::new(ManualClock::new());
        let last = machine.now().plus(600 * SECOND);
        let clock = SteadyClock::new(machine.clone(), Timestamp::from_millis(0));
        clock.follow(last);
        machine.advance(SECOND);
        assert_eq!(clock.now(), last.plus(SECOND));
        let guard = ClockGuard::new(&clock, last);
        assert!(guard.now(&clock).is_err(), "the wall clock is still behind");
    }
}
