//! How many calls were permitted in each session, as far as that is known without asking the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use moka::sync::Cache;
use store::CounterKey;

use crate::reserved::Reserved;

/// The permitted calls of each session, of all tools and of one, as the newest commit that counted one
/// left them. Policy may see one too many for a moment, where one is given back just as another is counted.
#[derive(Clone)]
pub(crate) struct KnownCalls(Cache<CounterKey, Arc<AtomicI64>>);

impl KnownCalls {
    /// Nothing is known; of `most` counters something is kept.
    pub(crate) fn new(most: u64) -> Self {
        Self(Cache::new(most))
    }

    /// How many `counter` has counted, if that is known.
    pub(crate) fn of(&self, counter: &CounterKey) -> Option<i64> {
        self.0.get(counter).map(|known| known.load(Ordering::Acquire))
    }

    /// Takes note that the store says `calls` for `counter`. As long as none are given back, the most that
    /// anybody was told is the newest. Gives that.
    pub(crate) fn note(&self, counter: CounterKey, calls: i64) -> i64 {
        let known = self.0.get_with(counter, || Arc::new(AtomicI64::new(calls)));
        known.fetch_max(calls, Ordering::AcqRel).max(calls)
    }

    /// Knows no more what the store says where this was given back.
    pub(crate) fn forget(&self, given_back: &Reserved) {
        given_back.counters().for_each(|counter| self.0.invalidate(&counter));
    }
}
