//! The store as the service sees it, watched: whether the last commit and the last reading failed,
//! for health to tell.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use model::{FactKey, Timestamp};
use store::{
    ChangeListener, CheckpointRow, CommitError, Committed, CounterKey, Effect, Facts, LogEntry,
    NotKept, OpenPermit, Page, SealedDisclosure, Store, StoreError, Unit, Urgency,
};

/// The counter that a probe counts: its commit is the question whether commits are possible.
const PROBE: &str = "probe";

/// A store that remembers whether it works.
pub(crate) struct WatchedStore {
    inner: Arc<dyn Store>,
    unwritable: AtomicBool,
    unreadable: AtomicBool,
}

impl WatchedStore {
    /// Watches `inner`.
    pub(crate) fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, unwritable: AtomicBool::new(false), unreadable: AtomicBool::new(false) }
    }

    /// Whether the last commit or the last reading failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.unwritable.load(Ordering::Relaxed) || self.unreadable.load(Ordering::Relaxed)
    }

    /// Where it was failing, finds out whether it still is.
    pub(crate) async fn probe(&self) {
        if self.unreadable.load(Ordering::Relaxed) {
            let _ = self.log_size().await;
        }
        if self.unwritable.load(Ordering::Relaxed) {
            let counter = CounterKey(PROBE.to_owned());
            let effects = vec![Effect::Count { counter, amount: 1, limit: None }];
            let unit = Unit { effects, urgency: Urgency::Awaited, ..Unit::default() };
            let _ = self.commit(unit).await;
        }
    }

    fn read<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        self.unreadable.store(answer.is_err(), Ordering::Relaxed);
        answer
    }
}

#[async_trait]
impl Store for WatchedStore {
    async fn load(&self, keys: &[FactKey]) -> Result<Facts, StoreError> {
        self.read(self.inner.load(keys).await)
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&FactKey>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.read(self.inner.list(prefix, after, limit).await)
    }

    async fn list_as_of(
        &self,
        (prefix, at): (&str, Timestamp),
        after: Option<&FactKey>,
        limit: usize,
    ) -> Result<Result<Page, NotKept>, StoreError> {
        self.read(self.inner.list_as_of((prefix, at), after, limit).await)
    }

    async fn counters(&self, keys: &[CounterKey]) -> Result<Vec<i64>, StoreError> {
        self.read(self.inner.counters(keys).await)
    }

    async fn list_counters(
        &self,
        prefix: &str,
        after: Option<&CounterKey>,
        limit: usize,
    ) -> Result<Vec<(CounterKey, i64)>, StoreError> {
        self.read(self.inner.list_counters(prefix, after, limit).await)
    }

    fn announce(&self) -> Box<dyn Send> {
        self.inner.announce()
    }

    async fn commit(&self, unit: Unit) -> Result<Committed, CommitError> {
        let answer = self.inner.commit(unit).await;
        // What a unit asked for in vain says nothing about the store.
        let failed = matches!(answer, Err(CommitError::Unavailable(_) | CommitError::Lost));
        self.unwritable.store(failed, Ordering::Relaxed);
        answer
    }

    fn on_change(&self, listener: ChangeListener) {
        self.inner.on_change(listener);
    }

    async fn log_size(&self) -> Result<u64, StoreError> {
        self.read(self.inner.log_size().await)
    }

    async fn entries(&self, index: u64, max: usize) -> Result<Vec<LogEntry>, StoreError> {
        self.read(self.inner.entries(index, max).await)
    }

    async fn find(&self, id: &[u8; 16]) -> Result<Option<LogEntry>, StoreError> {
        self.read(self.inner.find(id).await)
    }

    async fn disclosures(
        &self,
        index: u64,
        max: usize,
    ) -> Result<Vec<(u64, SealedDisclosure)>, StoreError> {
        self.read(self.inner.disclosures(index, max).await)
    }

    async fn open_permits(&self) -> Result<Vec<OpenPermit>, StoreError> {
        self.read(self.inner.open_permits().await)
    }

    async fn checkpoint(&self) -> Result<Option<CheckpointRow>, StoreError> {
        self.read(self.inner.checkpoint().await)
    }

    async fn swap_checkpoint(
        &self,
        from: Option<u64>,
        to: &CheckpointRow,
    ) -> Result<bool, StoreError> {
        self.inner.swap_checkpoint(from, to).await
    }

    async fn forget_expired(&self, now: Timestamp) -> Result<(), StoreError> {
        self.inner.forget_expired(now).await
    }
}
