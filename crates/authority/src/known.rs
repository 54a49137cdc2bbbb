//! Facts that were read before, each good for as long as the store's own reports say that it has not
//! changed; the commit of whatever rests on one checks the same once more.

use std::any::Any;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Arc, OnceLock};

use model::{Delegator, FactKey, Revision, Sourced, TaskId};
use moka::sync::Cache;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, MutexGuard};

use crate::changes::Changes;

/// The most that is kept of facts, in bytes.
const FACTS_MAX: u64 = 64 * 1024 * 1024;

/// The most that is kept of delegation chains, in bytes as they would be written.
const CHAINS_MAX: u64 = 64 * 1024 * 1024;

/// What each of them takes besides what it says, and each key, in bytes, also where there is no such fact.
const EACH: usize = 128;

/// How many times its bytes a body takes with what it was parsed into.
const PARSED: usize = 4;

/// How many things are read at once at most.
const TURNS: usize = 64;

/// What a fact is parsed into.
pub trait Fact: DeserializeOwned + Clone + Send + Sync + 'static {}

impl<T: DeserializeOwned + Clone + Send + Sync + 'static> Fact for T {}

/// A fact as it was read.
#[derive(Clone)]
pub(crate) struct Read {
    /// Its body; none if there was no such fact.
    pub(crate) body: Option<Arc<Body>>,
    /// As of when.
    pub(crate) revision: Revision,
}

/// The body of a fact, parsed once for all who ask for it as the same.
pub(crate) struct Body {
    bytes: Vec<u8>,
    parsed: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Body {
    pub(crate) const fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, parsed: OnceLock::new() }
    }

    pub(crate) fn parse<T: Fact>(&self) -> Result<T, serde_json::Error> {
        if let Some(known) = self.parsed.get().and_then(|parsed| parsed.downcast_ref::<T>()) {
            return Ok(known.clone());
        }
        let fact: T = serde_json::from_slice(&self.bytes)?;
        self.parsed.get_or_init(|| Box::new(fact.clone()));
        Ok(fact)
    }
}

/// Who holds a task and who handed it on, with what that was read from.
pub(crate) type Chain = Sourced<Arc<Vec<Delegator>>>;

/// The facts that were read before.
pub(crate) struct KnownFacts {
    changes: Arc<Changes>,
    facts: Cache<FactKey, Read>,
    /// By task, who holds it and who handed it on: what was made of facts, for all parts of the task.
    chains: Cache<TaskId, Chain>,
    reading_facts: Turns,
    reading_chains: Turns,
}

/// Turns to read: of many who miss the same thing at once, one reads it and the others find it known.
struct Turns {
    hasher: RandomState,
    turns: [Mutex<()>; TURNS],
}

impl Turns {
    fn new() -> Self {
        Self { hasher: RandomState::new(), turns: std::array::from_fn(|_| Mutex::default()) }
    }

    /// Waits for the turn to read `what`; it ends when it is dropped.
    async fn of(&self, what: &impl Hash) -> MutexGuard<'_, ()> {
        let places = TURNS as u64;
        let place = usize::try_from(self.hasher.hash_one(what) % places).expect("there are few");
        self.turns[place].lock().await
    }
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
        Self { changes, facts, chains, reading_facts: Turns::new(), reading_chains: Turns::new() }
    }

    /// The fact at `key`, if it was read and has not changed since: as of now, then.
    pub(crate) fn get(&self, key: &FactKey) -> Option<Read> {
        let Read { body, revision } = self.facts.get(key)?;
        let now = self.changes.fresh_as_of(&[(std::slice::from_ref(key), revision)])?;
        Some(Read { body, revision: now })
    }

    /// The turn to read the fact at `key`: look again whether it is known once it comes.
    pub(crate) async fn turn_to_read(&self, key: &FactKey) -> MutexGuard<'_, ()> {
        self.reading_facts.of(key).await
    }

    /// Keeps the fact at `key` as it was read.
    pub(crate) fn keep(&self, key: FactKey, read: Read) {
        self.facts.insert(key, read);
    }

    /// Who holds `task` and who handed it on, if that is known and has not changed since: as of now.
    pub(crate) fn chain(&self, task: TaskId) -> Option<Chain> {
        let known = self.chains.get(&task)?;
        let now = self.changes.fresh_as_of(&[(&known.keys, known.revision)])?;
        Some(Sourced { revision: now, ..known })
    }

    /// The turn to read who holds `task` and who handed it on: look again whether it is known once
    /// it comes.
    pub(crate) async fn turn_to_read_chain(&self, task: TaskId) -> MutexGuard<'_, ()> {
        self.reading_chains.of(&task).await
    }

    /// Keeps who holds `task` and who handed it on.
    pub(crate) fn keep_chain(&self, task: TaskId, chain: Chain) {
        self.chains.insert(task, chain);
    }

    /// Forgets the fact at `key`.
    pub(crate) fn forget(&self, key: &FactKey) {
        self.facts.invalidate(key);
    }
}

fn size(key: &FactKey, read: &Read) -> u32 {
    bytes(size_of_key(key) + PARSED * read.body.as_ref().map_or(0, |body| body.bytes.len()))
}

fn size_of_chain(_: &TaskId, chain: &Chain) -> u32 {
    let keys: usize = chain.keys.iter().map(size_of_key).sum();
    bytes(EACH + keys + json::canonical_of(chain.value.as_ref()).len())
}

fn size_of_key(key: &FactKey) -> usize {
    key.as_str().len() + EACH
}

fn bytes(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_body_is_parsed_as_what_it_is_asked_for() {
        let body = Body::new(br#"{"a":1}"#.to_vec());
        for _ in 0..2 {
            assert_eq!(body.parse::<Value>().unwrap(), json!({ "a": 1 }));
            assert_eq!(body.parse::<BTreeMap<String, u8>>().unwrap().get("a"), Some(&1));
            assert!(body.parse::<Vec<u8>>().is_err());
        }
    }

    /// What is kept of `count` of them in what `fits` take; each takes as much as the first, which says
    /// more than a thousand bytes.
    fn kept<K, V>(
        cache: impl Fn(u64) -> Cache<K, V>,
        each: impl Fn(u8) -> (K, V),
        (fits, count): (u64, u8),
    ) -> u64
    where
        K: Hash + Eq + Send + Sync + 'static,
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
            let body = Some(Arc::new(Body::new(vec![number; 1_000])));
            (FactKey::from_text(&format!("test/{number:03}")), Read { body, revision })
        };
        let chain = |number: u8| {
            let keys = (0..20).map(|key| FactKey::from_text(&format!("test/{key:03}"))).collect();
            let chain = Sourced { value: Arc::default(), keys, revision };
            (TaskId::from_bytes([number; 16]), chain)
        };
        for (count, expected) in [(8, 8), (9, 8)] {
            assert_eq!(kept(|max| within(max).facts, fact, (8, count)), expected, "facts");
            assert_eq!(kept(|max| within(max).chains, chain, (8, count)), expected, "chains");
        }
    }
}
