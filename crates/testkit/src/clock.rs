//! The manual clock: time passes when a test says so.

use std::sync::Mutex;
use std::time::Duration;

use model::{Clock, Timestamp};

/// When every manual clock starts: 2026-01-01T00:00:00Z.
const START_MS: i64 = 1_767_225_600_000;

/// A clock that stands still until a test moves it; the wall and the monotonic clock apart.
#[derive(Debug)]
pub struct ManualClock(Mutex<(i64, Duration)>);

impl ManualClock {
    /// Makes a clock that shows 2026-01-01T00:00:00Z and zero.
    pub fn new() -> Self {
        Self(Mutex::new((START_MS, Duration::ZERO)))
    }

    /// Lets `by` pass on both clocks.
    pub fn advance(&self, by: Duration) {
        self.change(|wall, monotonic| {
            *wall += i64::try_from(by.as_millis()).expect("tests move by less than ages");
            *monotonic += by;
        });
    }

    /// Steps the wall clock alone by `by_ms` milliseconds, as a wrong time server does.
    pub fn step_wall(&self, by_ms: i64) {
        self.change(|wall, _| *wall += by_ms);
    }

    fn change<T>(&self, apply: impl FnOnce(&mut i64, &mut Duration) -> T) -> T {
        let mut state = self.0.lock().expect("no test panics while it holds the clock");
        let (wall, monotonic) = &mut *state;
        apply(wall, monotonic)
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.change(|wall, _| *wall))
    }

    fn monotonic(&self) -> Duration {
        self.change(|_, monotonic| *monotonic)
    }
}
