//! A store that fails on demand, in front of any real one.
//!
//! Each kind of call can be made to fail, to fail although it was done, to hang until it is
//! released, or to answer what no store should. What is not told to misbehave goes to the store
//! behind it. It does not know what the calls mean.
//!
//! ```text
//! let store = FaultyStore::over(real);
//! store.always(Call::Commit, Fault::Hang);          // every commit, from now on
//! store.once(Call::Load, Fault::Fail);              // the next load only
//! let asked = tokio::spawn(authority.authorize(act));
//! store.hanging(Call::Commit, 1).await;             // wait until one hangs: no sleep
//! store.heal();                                     // release what hangs, misbehave no more
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use model::{FactKey, RecordDigest, Revision, Timestamp};
use store::{
    ChangeListener, CheckpointRow, CommitError, Committed, CounterKey, Facts, LogEntry, NotKept,
    OpenPermit, Page, SealedDisclosure, Store, StoreError, Unit,
};
use tokio::sync::watch;

/// What a garbage answer holds where there should be bytes: no JSON, no UTF-8, no note.
pub const GARBAGE: &[u8] = b"\xff{\"v\":";

/// A kind of call to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// [`Store::load`].
    Load,
    /// [`Store::list`].
    List,
    /// [`Store::list_as_of`].
    ListAsOf,
    /// [`Store::counters`].
    Counters,
    /// [`Store::list_counters`].
    ListCounters,
    /// [`Store::commit`].
    Commit,
    /// [`Store::log_size`].
    LogSize,
    /// [`Store::entries`].
    Entries,
    /// [`Store::find`].
    Find,
    /// [`Store::disclosures`].
    Disclosures,
    /// [`Store::open_permits`].
    OpenPermits,
    /// [`Store::checkpoint`].
    Checkpoint,
    /// [`Store::swap_checkpoint`].
    SwapCheckpoint,
    /// [`Store::forget_expired`].
    ForgetExpired,
}

impl Call {
    /// Every kind of call.
    pub const ALL: [Self; 12] = [
        Self::Load,
        Self::List,
        Self::Counters,
        Self::Commit,
        Self::LogSize,
        Self::Entries,
        Self::Find,
        Self::Disclosures,
        Self::OpenPermits,
        Self::Checkpoint,
        Self::SwapCheckpoint,
        Self::ForgetExpired,
    ];
}

/// How a call misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and nothing was done. A commit says `Unavailable`.
    Fail,
    /// It is done, and yet it fails. A commit says `Lost`.
    FailButPersist,
    /// It does nothing until [`FaultyStore::heal`]; then it is done.
    Hang,
    /// It is done, but its answer comes only after [`FaultyStore::heal`].
    PersistAndHang,
    /// It does nothing and answers nonsense: bytes that mean nothing ([`GARBAGE`]), numbers out of
    /// range, a commit without indices, a swap that says it was made.
    Garbage,
}

#[derive(Debug, Default)]
struct Plan {
    always: BTreeMap<Call, Fault>,
    once: BTreeMap<Call, VecDeque<Fault>>,
    seen: BTreeMap<Call, usize>,
}

/// A store in front of another, which does as it is told.
pub struct FaultyStore {
    behind: Arc<dyn Store>,
    plan: Mutex<Plan>,
    hanging: watch::Sender<BTreeMap<Call, usize>>,
    healed: watch::Sender<u64>,
}

/// Why a call failed: it was told to.
#[derive(Debug, thiserror::Error)]
#[error("told to fail")]
struct Told;

impl FaultyStore {
    /// A store in front of `behind` that does not misbehave yet.
    pub fn over(behind: Arc<dyn Store>) -> Arc<Self> {
        let (hanging, healed) = (watch::Sender::default(), watch::Sender::default());
        Arc::new(Self { behind, plan: Mutex::default(), hanging, healed })
    }

    /// Makes every `call` from now on misbehave, until [`Self::heal`].
    pub fn always(&self, call: Call, fault: Fault) {
        self.plan().always.insert(call, fault);
    }

    /// Makes the next `call` misbehave. Said twice, the next two do.
    pub fn once(&self, call: Call, fault: Fault) {
        self.plan().once.entry(call).or_default().push_back(fault);
    }

    /// Misbehaves no more, and lets everything that hangs go on.
    pub fn heal(&self) {
        let mut plan = self.plan();
        plan.always.clear();
        plan.once.clear();
        self.healed.send_modify(|generation| *generation += 1);
    }

    /// How many `call`s there have been, those that misbehaved among them.
    pub fn count(&self, call: Call) -> usize {
        self.plan().seen.get(&call).copied().unwrap_or(0)
    }

    /// Waits until at least `count` of `call` hang.
    pub async fn hanging(&self, call: Call, count: usize) {
        let mut hanging = self.hanging.subscribe();
        let enough = |now: &BTreeMap<Call, usize>| now.get(&call).copied().unwrap_or(0) >= count;
        hanging.wait_for(enough).await.expect("the store has the other end");
    }

    fn plan(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.plan.lock().expect("no panic while it is held")
    }

    fn fault_of(&self, call: Call) -> Option<Fault> {
        let mut plan = self.plan();
        *plan.seen.entry(call).or_default() += 1;
        let once = plan.once.get_mut(&call).and_then(VecDeque::pop_front);
        once.or_else(|| plan.always.get(&call).copied())
    }

    async fn until_healed(&self, call: Call) {
        let mut healed = self.healed.subscribe();
        self.hanging.send_modify(|hanging| *hanging.entry(call).or_default() += 1);
        // A caller that gives up hangs no longer.
        let _gone = Leave { hanging: &self.hanging, call };
        healed.changed().await.expect("the store has the other end");
    }

    async fn meet<T>(
        &self,
        call: Call,
        real: impl Future<Output = Result<T, StoreError>>,
        garbage: T,
    ) -> Result<T, StoreError> {
        let told = || StoreError { what: "do as it was asked", source: Box::new(Told) };
        match self.fault_of(call) {
            None => real.await,
            Some(Fault::Fail) => Err(told()),
            Some(Fault::FailButPersist) => real.await.and(Err(told())),
            Some(Fault::Hang) => {
                self.until_healed(call).await;
                real.await
            }
            Some(Fault::PersistAndHang) => {
                let answer = real.await;
                self.until_healed(call).await;
                answer
            }
            Some(Fault::Garbage) => Ok(garbage),
        }
    }
}

struct Leave<'a> {
    hanging: &'a watch::Sender<BTreeMap<Call, usize>>,
    call: Call,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let leave = |hanging: &mut BTreeMap<Call, usize>| {
            *hanging.entry(self.call).or_default() -= 1;
        };
        self.hanging.send_modify(leave);
    }
}

fn nonsense(index: u64) -> LogEntry {
    let leaf = RecordDigest::from_bytes([0; 32]);
    LogEntry { index, id: [0xff; 16], bytes: GARBAGE.to_vec(), leaf }
}

#[async_trait]
impl Store for FaultyStore {
    async fn load(&self, keys: &[FactKey]) -> Result<Facts, StoreError> {
        let bodies = vec![Some(GARBAGE.to_vec()); keys.len()];
        let garbage = Facts { bodies, revision: Revision(u64::MAX) };
        self.meet(Call::Load, self.behind.load(keys), garbage).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&FactKey>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let facts = vec![(FactKey::from_text(prefix), GARBAGE.to_vec())];
        let garbage = Page { facts, next: None };
        self.meet(Call::List, self.behind.list(prefix, after, limit), garbage).await
    }

    async fn list_as_of(
        &self,
        (prefix, at): (&str, Timestamp),
        after: Option<&FactKey>,
        limit: usize,
    ) -> Result<Result<Page, NotKept>, StoreError> {
        let facts = vec![(FactKey::from_text(prefix), GARBAGE.to_vec())];
        let garbage = Ok(Page { facts, next: None });
        let listed = self.behind.list_as_of((prefix, at), after, limit);
        self.meet(Call::ListAsOf, listed, garbage).await
    }

    async fn counters(&self, keys: &[CounterKey]) -> Result<Vec<i64>, StoreError> {
        let garbage = vec![i64::MIN; keys.len()];
        self.meet(Call::Counters, self.behind.counters(keys), garbage).await
    }

    async fn list_counters(
        &self,
        prefix: &str,
        after: Option<&CounterKey>,
        limit: usize,
    ) -> Result<Vec<(CounterKey, i64)>, StoreError> {
        let listed = self.behind.list_counters(prefix, after, limit);
        self.meet(Call::ListCounters, listed, Vec::new()).await
    }

    fn announce(&self) -> Box<dyn Send> {
        self.behind.announce()
    }

    async fn commit(&self, unit: Unit) -> Result<Committed, CommitError> {
        match self.fault_of(Call::Commit) {
            None => self.behind.commit(unit).await,
            Some(Fault::Fail) => Err(CommitError::Unavailable(Box::new(Told))),
            Some(Fault::FailButPersist) => {
                self.behind.commit(unit).await.and(Err(CommitError::Lost))
            }
            Some(Fault::Hang) => {
                self.until_healed(Call::Commit).await;
                self.behind.commit(unit).await
            }
            Some(Fault::PersistAndHang) => {
                let answer = self.behind.commit(unit).await;
                self.until_healed(Call::Commit).await;
                answer
            }
            Some(Fault::Garbage) => {
                let (indices, counters) = (Vec::new(), Vec::new());
                Ok(Committed { indices, revision: Revision(0), counters })
            }
        }
    }

    fn on_change(&self, listener: ChangeListener) {
        self.behind.on_change(listener);
    }

    async fn log_size(&self) -> Result<u64, StoreError> {
        self.meet(Call::LogSize, self.behind.log_size(), u64::MAX).await
    }

    async fn entries(&self, index: u64, max: usize) -> Result<Vec<LogEntry>, StoreError> {
        let garbage = vec![nonsense(index)];
        self.meet(Call::Entries, self.behind.entries(index, max), garbage).await
    }

    async fn find(&self, id: &[u8; 16]) -> Result<Option<LogEntry>, StoreError> {
        self.meet(Call::Find, self.behind.find(id), Some(nonsense(u64::MAX))).await
    }

    async fn disclosures(
        &self,
        index: u64,
        max: usize,
    ) -> Result<Vec<(u64, SealedDisclosure)>, StoreError> {
        let data_key = FactKey::from_text("datakey/nobody");
        let garbage = SealedDisclosure { data_key, sealed: GARBAGE.to_vec() };
        let garbage = vec![(index, garbage)];
        self.meet(Call::Disclosures, self.behind.disclosures(index, max), garbage).await
    }

    async fn open_permits(&self) -> Result<Vec<OpenPermit>, StoreError> {
        let garbage = vec![OpenPermit { index: u64::MAX, body: None }];
        self.meet(Call::OpenPermits, self.behind.open_permits(), garbage).await
    }

    async fn checkpoint(&self) -> Result<Option<CheckpointRow>, StoreError> {
        let garbage = CheckpointRow { size: u64::MAX, note: GARBAGE.to_vec() };
        self.meet(Call::Checkpoint, self.behind.checkpoint(), Some(garbage)).await
    }

    async fn swap_checkpoint(
        &self,
        from: Option<u64>,
        to: &CheckpointRow,
    ) -> Result<bool, StoreError> {
        self.meet(Call::SwapCheckpoint, self.behind.swap_checkpoint(from, to), true).await
    }

    async fn forget_expired(&self, now: Timestamp) -> Result<(), StoreError> {
        self.meet(Call::ForgetExpired, self.behind.forget_expired(now), ()).await
    }
}
