//! How many calls were permitted in each session, as far as that is known without asking the store.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use moka::sync::Cache;
use store::CounterKey;

use crate::reserved::Reserved;

/// The permitted calls of each session, of all tools and of one, as the newest commit that counted one
/// left them.
///
/// As long as none are given back, the most that anybody was told is the newest. What was counted, or read,
/// before some were given back and is told after that may be too much, or too little: it is not kept. Nor is what
/// others began to read, or to count, before something was told that is not kept: it may be less.
#[derive(Clone)]
pub(crate) struct KnownCalls {
    known: Cache<CounterKey, Arc<Mutex<Known>>>,
    /// How often it came about that what somebody was told before does not count any more.
    now: Arc<AtomicU64>,
    /// When some were given back last, of whichever session.
    given_back: Arc<AtomicU64>,
}

/// What is known of one counter.
#[derive(Debug, Default)]
struct Known {
    calls: Option<i64>,
    /// What was asked before that is told late.
    from: u64,
}

/// When somebody began to count, or to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Since(u64);

impl KnownCalls {
    /// Nothing is known; of `most` counters something is kept.
    pub(crate) fn new(most: u64) -> Self {
        Self { known: Cache::new(most), now: Arc::default(), given_back: Arc::default() }
    }

    /// How many `counter` has counted, if that is known.
    pub(crate) fn of(&self, counter: &CounterKey) -> Option<i64> {
        let known = self.known.get(counter)?;
        let known = known.lock().expect("no panic while it is held");
        known.calls
    }

    /// To be asked before the store is, and told with what it says.
    pub(crate) fn since(&self) -> Since {
        Since(self.now.load(Ordering::Acquire))
    }

    /// Takes note that the store, which was asked `since`, says `calls` for `counter`. Gives the most that is known.
    pub(crate) fn read(&self, counter: &CounterKey, calls: i64, since: Since) -> i64 {
        let known = self.known.get_with_by_ref(counter, Arc::default);
        let mut known = known.lock().expect("no panic while it is held");
        if self.is_late(&known, since) { calls } else { known.told(calls) }
    }

    /// Takes note that a commit, which was made `since`, has counted up to `calls` by `counter`.
    pub(crate) fn counted(&self, counter: &CounterKey, calls: i64, since: Since) {
        let known = self.known.get_with_by_ref(counter, Arc::default);
        let mut known = known.lock().expect("no panic while it is held");
        if self.is_late(&known, since) {
            // Nobody else tells of this call: who has read without it, or counted before it, is late as well.
            *known = Known { calls: None, from: self.next() };
        } else {
            known.told(calls);
        }
    }

    /// Knows no more what the store says where this was given back.
    pub(crate) fn forget(&self, given_back: &Reserved) {
        self.given_back.fetch_max(self.next(), Ordering::AcqRel);
        given_back.counters().for_each(|counter| self.known.invalidate(&counter));
    }

    /// Knows no more what the store says: some may be given back, of whichever session.
    pub(crate) fn forget_all(&self) {
        self.given_back.fetch_max(self.next(), Ordering::AcqRel);
        self.known.invalidate_all();
    }

    /// Looked at once `known` is found: whoever gives some back later forgets it.
    fn is_late(&self, known: &Known, since: Since) -> bool {
        since.0 < known.from.max(self.given_back.load(Ordering::Acquire))
    }

    fn next(&self) -> u64 {
        self.now.fetch_add(1, Ordering::AcqRel) + 1
    }
}

impl Known {
    /// Takes note of `calls`. Gives the most that is known.
    fn told(&mut self, calls: i64) -> i64 {
        let most = self.calls.map_or(calls, |known| known.max(calls));
        self.calls = Some(most);
        most
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
            calls.counted(&counter(), 6, before);
            assert_eq!(calls.read(&counter(), 5, before), 6, "the most is the newest");
            assert_eq!(calls.of(&counter()), Some(6));
            if given_back.is_empty() {
                calls.forget_all();
            } else {
                calls.forget(given_back);
            }
            assert_eq!(calls.of(&counter()), None);
            for late in [7, 4] {
                assert_eq!(calls.read(&counter(), late, before), late);
                assert_eq!(calls.of(&counter()), None);
                calls.counted(&counter(), late, before);
                assert_eq!(calls.of(&counter()), None);
            }
            assert_eq!(calls.read(&counter(), 5, calls.since()), 5);
            assert_eq!(calls.of(&counter()), Some(5));
            calls.forget_all();
        }
    }

    /// Of a call that is told late nobody else tells: what was read without it is less, and so is what was counted before
    /// it. What is known is not forgotten for what is read late.
    #[test]
    fn what_is_told_late_leaves_nothing_known_that_is_less() {
        let (calls, counter) = (KnownCalls::new(8), CounterKey("task/calls".to_owned()));
        for is_read in [true, false] {
            let counting = calls.since();
            calls.forget_all();
            let before = calls.since();
            calls.counted(&counter, 6, counting);
            if is_read {
                assert_eq!(calls.read(&counter, 5, before), 5);
            } else {
                calls.counted(&counter, 5, before);
            }
            assert_eq!(calls.of(&counter), None);
            assert_eq!(calls.read(&counter, 6, calls.since()), 6);
            for late in [counting, before] {
                assert_eq!(calls.read(&counter, 5, late), 5);
                assert_eq!(calls.of(&counter), Some(6));
            }
        }
    }
}
