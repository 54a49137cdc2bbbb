//! The ambient world, named once: time, randomness, and the environment.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SecureRandom as _;
use model::{Clock, Entropy, IdPool, Timestamp};

/// The machine's clocks.
#[derive(Debug)]
pub(crate) struct SystemClock {
    started: Instant,
}

impl SystemClock {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// The operating system's randomness.
#[derive(Debug)]
pub(crate) struct SystemEntropy {
    random: aws_lc_rs::rand::SystemRandom,
    ids: IdPool,
}

impl SystemEntropy {
    pub(crate) fn new() -> Self {
        Self { random: aws_lc_rs::rand::SystemRandom::new(), ids: IdPool::new() }
    }
}

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let filled = self.random.fill(bytes);
        filled.expect("the operating system gives randomness, or nothing may go on");
    }

    fn for_id(&self) -> [u8; 10] {
        self.ids.take(|bytes| self.fill(bytes))
    }
}

/// The environment, read once.
pub(crate) fn environment() -> Vec<(String, String)> {
    std::env::vars().collect()
}
