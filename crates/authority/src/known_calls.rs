//! How many calls were permitted in each session, as far as that is known without asking the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use moka::sync::Cache;
use store::CounterKey;

use crate::reserved::Reserved;

/// The permitted calls of each session, of all tools and of one, as the newest commit that counted one
/// left them.
///
/// As long as none are given back, the most that anybody was told is the newest. What was counted, or read,
/// before some were given back and is told after that may be too much, or too little: it is not kept.
#[derive(Clone)]
pub(crate) struct KnownCalls {
    known: Cache<CounterKey, Arc<AtomicI64>>,
    /// How often some were given back, of whichever session.
    given_back: Arc<AtomicU64>,
}

/// How often some were given back when somebody began to count, or to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Since(u64);

impl KnownCalls {
    /// Nothing is known; of `most` counters something is kept.
    pub(crate) fn new(most: u64) -> Self {
        Self { known: Cache::new(most), given_back: Arc::default() }
    }

    /// How many `counter` has counted, if that is known.
    pub(crate) fn of(&self, counter: &CounterKey) -> Option<i64> {
        self.known.get(counter).map(|known| known.load(Ordering::Acquire))
    }

    /// To be asked before the store is, and told with what it says.
    pub(crate) fn since(&self) -> Since {
        Since(self.given_back.load(Ordering::Acquire))
    }

    /// Takes note that the store, which was asked `since`, says `calls` for `counter`. Gives the most that is known.
    pub(crate) fn note(&self, counter: &CounterKey, calls: i64, since: Since) -> i64 {
        let known = self.known.get_with_by_ref(counter, || Arc::new(AtomicI64::new(calls)));
        let most = known.fetch_max(calls, Ordering::AcqRel).max(calls);
        // Looked at after it is kept: whoever gives some back later forgets it.
        if self.since() != since {
            self.known.invalidate(counter);
        }
        most
    }

    /// Knows no more what the store says where this was given back.
    pub(crate) fn forget(&self, given_back: &Reserved) {
        self.given_back.fetch_add(1, Ordering::AcqRel);
        given_back.counters().for_each(|counter| self.known.invalidate(&counter));
    }

    /// Knows no more what the store says: some may be given back, of whichever session.
    pub(crate) fn forget_all(&self) {
        self.given_back.fetch_add(1, Ordering::AcqRel);
        self.known.invalidate_all();
    }
}

#[cfg(test)]
mod tests {
    use store::Effect;

    use super::*;

    /// What is told late of before is not taken for what is.
    #[test]
    fn what_was_counted_before_some_were_given_back_is_not_kept_after() {
        let (calls, counter) = (KnownCalls::new(8), || CounterKey("task/calls".to_owned()));
        let taken = Effect::Count { counter: counter(), amount: 1, limit: None };
        let (one, all) = (Reserved::by(&[taken]), Reserved::default());
        for given_back in [&one, &all] {
            let before = calls.since();
            assert_eq!(calls.note(&counter(), 6, before), 6);
            assert_eq!(calls.note(&counter(), 5, before), 6, "the most is the newest");
            assert_eq!(calls.of(&counter()), Some(6));
            if given_back.is_empty() {
                calls.forget_all();
            } else {
                calls.forget(given_back);
            }
            assert_eq!(calls.of(&counter()), None);
            for late in [7, 4] {
                assert_eq!(calls.note(&counter(), late, before), late);
                assert_eq!(calls.of(&counter()), None);
            }
            assert_eq!(calls.note(&counter(), 5, calls.since()), 5);
            assert_eq!(calls.of(&counter()), Some(5));
            calls.forget_all();
        }
    }
}
