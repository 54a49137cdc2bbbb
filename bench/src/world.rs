//! The machine's time and randomness, for what is measured in this process.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use model::{Clock, Entropy, Timestamp};

/// The machine's clocks.
#[derive(Debug)]
pub(crate) struct WallClock {
    begun: Instant,
    /// What time it was taken to be then, if it is not the machine's.
    from: Option<Timestamp>,
}

impl WallClock {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), from: None }
    }

    /// It goes as the machine's do, from `time` on.
    pub(crate) fn set_to(time: Timestamp) -> Self {
        Self { from: Some(time), ..Self::new() }
    }
}

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        if let Some(from) = self.from {
            return from.plus(self.begun.elapsed());
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.begun.elapsed()
    }
}

/// The operating system's randomness.
#[derive(Debug)]
pub(crate) struct Random;

impl Entropy for Random {
    fn fill(&self, bytes: &mut [u8]) {
        SystemRandom::new().fill(bytes).expect("the operating system gives randomness");
    }
}
