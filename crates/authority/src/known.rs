//! Facts that were read before, each good for as long as the store's own reports say that it has not
//! changed; the commit of whatever rests on one checks the same once more.

use std::sync::Arc;

use model::{Delegator, FactKey, Revision, Sourced, TaskId};
use moka::sync::Cache;

use crate::changes::Changes;

/// The most that is kept of facts, in bytes.
const FACTS_MAX: u64 = 64 * 1024 * 1024;

/// The most that is kept of delegation chains, in bytes as they would be written.
const CHAINS_MAX: u64 = 64 * 1024 * 1024;

/// What each of them takes besides what it says, and each key, in bytes, also where there is no such fact.
const EACH: usize = 128;

/// A fact as it was read.
#[derive(Clone)]
pub(crate) struct Read {
    /// Its body; none if there was no such fact.
    pub(crate) body: Option<Arc<[u8]>>,
    /// As of when.
    pub(crate) revision: Revision,
}

/// The facts that were read before.
pub(crate) struct KnownFacts {
    changes: Arc<Changes>,
    facts: Cache<FactKey, Read>,
    /// By task, who holds it and who handed it on: what was made of facts, for all parts of the task.
    chains: Cache<TaskId, Arc<Sourced<Vec<Delegator>>>>,
}

impl KnownFacts {
    /// Nothing was read; `changes` tells what becomes of what is.
    pub(crate) fn new(changes: Arc<Changes>) -> Self {
        Self::within(changes, (FACTS_MAX, CHAINS_MAX))
    }

    /// The same, of which no more is kept than so many bytes of facts, and of chains.
    fn within(changes: Arc<Changes>, (facts, chains): (u64, u64)) -> Self {
        let facts = Cache::builder().max_capacity(facts).weigher(size).build();
        let chains = Cache::builder().max_capacity(chains).weigher(size_of_chain).build();
        Self { changes, facts, chains }
    }

    /// The fact at `key`, if it was read and has not changed since: as of now, then.
    pub(crate) fn get(&self, key: &FactKey) -> Option<Read> {
        let Read { body, revision } = self.facts.get(key)?;
        let now = self.changes.fresh_as_of(&[(std::slice::from_ref(key), revision)])?;
        Some(Read { body, revision: now })
    }

    /// Keeps the fact at `key` as it was read.
    pub(crate) fn keep(&self, key: FactKey, read: Read) {
        self.facts.insert(key, read);
    }

    /// Who holds `task` and who handed it on, if that is known and has not changed since: as of now.
    pub(crate) fn chain(&self, task: TaskId) -> Option<Sourced<Vec<Delegator>>> {
        let known = self.chains.get(&task)?;
        let now = self.changes.fresh_as_of(&[(&known.keys, known.revision)])?;
        Some(Sourced { revision: now, ..Sourced::clone(&known) })
    }

    /// Keeps who holds `task` and who handed it on.
    pub(crate) fn keep_chain(&self, task: TaskId, chain: &Sourced<Vec<Delegator>>) {
        self.chains.insert(task, Arc::new(chain.clone()));
    }

    /// Forgets the fact at `key`.
    pub(crate) fn forget(&self, key: &FactKey) {
        self.facts.invalidate(key);
    }
}

fn size(key: &FactKey, read: &Read) -> u32 {
    bytes(size_of_key(key) + read.body.as_ref().map_or(0, |body| body.len()))
}

fn size_of_chain(_: &TaskId, chain: &Arc<Sourced<Vec<Delegator>>>) -> u32 {
    let keys: usize = chain.keys.iter().map(size_of_key).sum();
    bytes(EACH + keys + json::canonical_of(&chain.value).len())
}

fn size_of_key(key: &FactKey) -> usize {
    key.as_str().len() + EACH
}

fn bytes(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is kept of `count` of them in what `fits` take; each takes as much as the first, which says
    /// more than a thousand bytes.
    fn kept<K, V>(
        cache: impl Fn(u64) -> Cache<K, V>,
        each: impl Fn(u8) -> (K, V),
        (fits, count): (u64, u8),
    ) -> u64
    where
        K: std::hash::Hash + Eq + Send + Sync + 'static,
        V: Clone + Send + Sync + 'static,
    {
        let one = cache(u64::MAX);
        let (key, value) = each(0);
        one.insert(key, value);
        one.run_pending_tasks();
        assert!(one.weighted_size() > 1_000, "it is weighed by what it says");
        let cache = cache(fits * one.weighted_size());
        for (key, value) in (0..count).map(each) {
            cache.insert(key, value);
        }
        cache.run_pending_tasks();
        cache.entry_count()
    }

    fn within(max: u64) -> KnownFacts {
        KnownFacts::within(Arc::new(Changes::since(Revision(1))), (max, max))
    }

    #[test]
    fn i_18_what_was_read_before_is_kept_up_to_so_many_bytes() {
        let revision = Revision(1);
        let fact = |number: u8| {
            let body = Some(Arc::from([number; 1_000]));
            (FactKey::from_text(&format!("test/{number:03}")), Read { body, revision })
        };
        let chain = |number: u8| {
            let keys = (0..20).map(|key| FactKey::from_text(&format!("test/{key:03}"))).collect();
            let chain = Sourced { value: Vec::new(), keys, revision };
            (TaskId::from_bytes([number; 16]), Arc::new(chain))
        };
        for (count, expected) in [(8, 8), (9, 8)] {
            assert_eq!(kept(|max| within(max).facts, fact, (8, count)), expected, "facts");
            assert_eq!(kept(|max| within(max).chains, chain, (8, count)), expected, "chains");
        }
    }
}
