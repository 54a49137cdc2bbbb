//! When instances last asked for something, as far as this process has seen it.
//!
//! It is in memory alone: a call costs no write for it. It decides nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use model::{InstanceId, Timestamp};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

/// The most instances of which it is remembered: those that asked last.
const SEEN_MAX: u64 = 100_000;

/// When each instance last asked for a decision.
pub(crate) struct LastSeen(Cache<InstanceId, Arc<AtomicI64>>);

impl LastSeen {
    pub(crate) fn new() -> Self {
        let lru = EvictionPolicy::lru();
        Self(Cache::builder().max_capacity(SEEN_MAX).eviction_policy(lru).build())
    }

    /// Takes note that `instance` asked `at` that time. The last one counts, not the latest: the clock may have been
    /// ahead, and set back.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(number: u64) -> InstanceId {
        let mut id = [0; 16];
        id[8..].copy_from_slice(&number.to_be_bytes());
        InstanceId::from_bytes(id)
    }

    /// Who asked last is remembered, however often others asked before.
    #[test]
    fn whoever_asked_last_is_remembered_of_more_than_can_be() {
        let (seen, at) = (LastSeen::new(), Timestamp::from_millis(1));
        for _ in 0..2 {
            for number in 0..SEEN_MAX {
                seen.note(instance(number), at);
            }
        }
        seen.note(instance(SEEN_MAX), at);
        seen.0.run_pending_tasks();
        assert_eq!(seen.of(instance(SEEN_MAX)), Some(at));
    }

    /// What a clock said that was ahead does not stay.
    #[test]
    fn the_last_time_counts_though_the_clock_went_back() {
        let seen = LastSeen::new();
        for at in [2, 1].map(Timestamp::from_millis) {
            seen.note(instance(0), at);
            assert_eq!(seen.of(instance(0)), Some(at));
        }
    }
}
