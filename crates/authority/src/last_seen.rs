//! When instances last asked for something, as far as this process has seen it.
//!
//! It is in memory alone: a call costs no write for it. It decides nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use model::{InstanceId, Timestamp};
use moka::sync::Cache;

/// The most instances of which it is remembered.
const SEEN_MAX: u64 = 100_000;

/// When each instance last asked for a decision.
pub(crate) struct LastSeen(Cache<InstanceId, Arc<AtomicI64>>);

impl LastSeen {
    pub(crate) fn new() -> Self {
        Self(Cache::new(SEEN_MAX))
    }

    /// Takes note that `instance` asked `at` that time.
    pub(crate) fn note(&self, instance: InstanceId, at: Timestamp) {
        let known = self.0.get_with(instance, || Arc::new(AtomicI64::new(at.as_millis())));
        known.store(at.as_millis(), Ordering::Relaxed);
    }

    /// When `instance` last asked, if it did since the start.
    pub(crate) fn of(&self, instance: InstanceId) -> Option<Timestamp> {
        let known = self.0.get(&instance)?;
        Some(Timestamp::from_millis(known.load(Ordering::Relaxed)))
    }
}
