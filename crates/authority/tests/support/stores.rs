//! A store that stands between: it can fail, hang, answer damaged facts, or change a fact between
//! the moment at which it was read and the commit that rests on it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use model::{FactKey, Timestamp};
use store::{
    ChangeListener, CheckpointRow, CommitError, Committed, CounterKey, Facts, LogEntry, NotKept,
    OpenPermit, Page, SealedDisclosure, Store, StoreError, Unit, Urgency,
};
use store_sqlite::SqliteStore;
use tokio::sync::{Notify, watch};

use super::until;

/// What becomes of a commit that somebody waits for.
pub(crate) enum OnCommit {
    /// It fails like this, and nothing is written.
    Refuse(CommitError),
    /// It is written, and the answer is that nobody knows.
    WrittenButLost,
    /// It never answers, and nothing is written.
    Hang,
    /// It never answers, and is written.
    WrittenAndSilent,
    /// It is held until [`Interposed::release`], then written.
    Hold,
    /// Another unit is committed first.
    After(Unit),
}

/// What becomes of a reading of facts.
#[derive(Clone, Copy)]
pub(crate) enum OnLoad {
    Fail,
    Hang,
    Damage,
}

/// The real store, and what it is to do instead.
pub(crate) struct Interposed {
    inner: SqliteStore,
    commits: Mutex<VecDeque<OnCommit>>,
    loads: Mutex<VecDeque<OnLoad>>,
    /// How often facts were read.
    loaded: AtomicUsize,
    /// How often counters were read.
    counters_read: AtomicUsize,
    /// How often agents were listed.
    agents_listed: AtomicUsize,
    /// How often people were.
    people_listed: AtomicUsize,
    /// How many units are on their way, as far as that was announced.
    announced: Arc<AtomicUsize>,
    /// How many units that somebody waits for came while none was.
    unannounced: AtomicUsize,
    released: Notify,
    /// How many units that nobody waits for are refused.
    deferred: AtomicUsize,
    /// The record whose disclosure is answered as another's.
    swapped: Mutex<Option<(u64, u64)>>,
    /// The record that is not there any more.
    lost: Mutex<Option<u64>>,
    /// What is committed once records were read.
    after_reading: Mutex<Option<Unit>>,
    /// Whether units that nobody waits for hang.
    hanging: watch::Sender<bool>,
}

/// A unit that was announced.
struct OnItsWay {
    announced: Arc<AtomicUsize>,
    _inner: Box<dyn Send>,
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.announced.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Interposed {
    pub(crate) fn over(inner: SqliteStore) -> Self {
        Self {
            inner,
            commits: Mutex::new(VecDeque::new()),
            loads: Mutex::new(VecDeque::new()),
            loaded: AtomicUsize::new(0),
            counters_read: AtomicUsize::new(0),
            agents_listed: AtomicUsize::new(0),
            people_listed: AtomicUsize::new(0),
            announced: Arc::default(),
            unannounced: AtomicUsize::new(0),
            released: Notify::const_new(),
            deferred: AtomicUsize::new(0),
            swapped: Mutex::new(None),
            lost: Mutex::new(None),
            after_reading: Mutex::new(None),
            hanging: watch::Sender::new(false),
        }
    }

    /// What the next commits that somebody waits for do.
    pub(crate) fn on_commit(&self, acts: impl IntoIterator<Item = OnCommit>) {
        self.commits.lock().expect("no test panics while it holds it").extend(acts);
    }

    /// How many commits are yet to come of which something was said.
    pub(crate) fn commits_left(&self) -> usize {
        self.commits.lock().expect("no test panics while it holds it").len()
    }

    /// Waits until the last commit has come of which something was said.
    pub(crate) async fn commits_came(&self) {
        until("the commits come", || async { self.commits_left() == 0 }).await;
    }

    /// What the next readings do.
    pub(crate) fn on_load(&self, acts: impl IntoIterator<Item = OnLoad>) {
        self.loads.lock().expect("no test panics while it holds it").extend(acts);
    }

    /// How often facts were read by now.
    pub(crate) fn loaded(&self) -> usize {
        self.loaded.load(Ordering::SeqCst)
    }

    /// How often counters were read by now.
    pub(crate) fn counters_read(&self) -> usize {
        self.counters_read.load(Ordering::SeqCst)
    }

    /// How often a page of agents was listed by now.
    pub(crate) fn agents_listed(&self) -> usize {
        self.agents_listed.load(Ordering::SeqCst)
    }

    /// How often a page of people was listed by now.
    pub(crate) fn people_listed(&self) -> usize {
        self.people_listed.load(Ordering::SeqCst)
    }

    /// How many units that somebody waits for came by now while none was announced.
    pub(crate) fn unannounced(&self) -> usize {
        self.unannounced.load(Ordering::SeqCst)
    }

    /// Lets a commit that is held go on.
    pub(crate) fn release(&self) {
        self.released.notify_one();
    }

    /// Refuses the next `count` units that nobody waits for.
    pub(crate) fn fail_deferred(&self, count: usize) {
        self.deferred.store(count, Ordering::SeqCst);
    }

    pub(crate) fn deferred_failures_left(&self) -> usize {
        self.deferred.load(Ordering::SeqCst)
    }

    /// Lets units that nobody waits for hang, or go on.
    pub(crate) fn hang_deferred(&self, hang: bool) {
        self.hanging.send_replace(hang);
    }

    /// Answers the disclosure of the record at `index` with that of another one.
    pub(crate) fn swap_disclosure(&self, index: u64, other: u64) {
        *self.swapped.lock().expect("no test panics while it holds it") = Some((index, other));
    }

    /// Reads the log without the record at `index`; with all, if none is named.
    pub(crate) fn lose(&self, index: Option<u64>) {
        *self.lost.lock().expect("no test panics while it holds it") = index;
    }

    /// Commits `unit` once records were next read, before they are told.
    pub(crate) fn after_reading(&self, unit: Unit) {
        *self.after_reading.lock().expect("no test panics while it holds it") = Some(unit);
    }

    fn failed() -> StoreError {
        StoreError { what: "read facts", source: "the disk is gone".into() }
    }
}

#[async_trait]
impl Store for Interposed {
    async fn load(&self, keys: &[FactKey]) -> Result<Facts, StoreError> {
        self.loaded.fetch_add(1, Ordering::SeqCst);
        let act = self.loads.lock().expect("no test panics while it holds it").pop_front();
        match act {
            None => self.inner.load(keys).await,
            Some(OnLoad::Fail) => Err(Self::failed()),
            Some(OnLoad::Hang) => std::future::pending().await,
            Some(OnLoad::Damage) => {
                let mut facts = self.inner.load(keys).await?;
                facts.bodies.iter_mut().flatten().for_each(|body| body.truncate(body.len() / 2));
                Ok(facts)
            }
        }
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&FactKey>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.agents_listed.fetch_add(usize::from(prefix == "agent/"), Ordering::SeqCst);
        self.people_listed.fetch_add(usize::from(prefix == "person/"), Ordering::SeqCst);
        self.inner.list(prefix, after, limit).await
    }

    async fn list_as_of(
        &self,
        (prefix, at): (&str, Timestamp),
        after: Option<&FactKey>,
        limit: usize,
    ) -> Result<Result<Page, NotKept>, StoreError> {
        self.inner.list_as_of((prefix, at), after, limit).await
    }

    async fn counters(&self, keys: &[CounterKey]) -> Result<Vec<i64>, StoreError> {
        self.counters_read.fetch_add(1, Ordering::SeqCst);
        self.inner.counters(keys).await
    }

    async fn list_counters(
        &self,
        prefix: &str,
        after: Option<&CounterKey>,
        limit: usize,
    ) -> Result<Vec<(CounterKey, i64)>, StoreError> {
        self.inner.list_counters(prefix, after, limit).await
    }

    fn announce(&self) -> Box<dyn Send> {
        self.announced.fetch_add(1, Ordering::SeqCst);
        Box::new(OnItsWay { announced: self.announced.clone(), _inner: self.inner.announce() })
    }

    async fn commit(&self, unit: Unit) -> Result<Committed, CommitError> {
        if unit.urgency == Urgency::Deferred {
            let _ = self.hanging.subscribe().wait_for(|hang| !hang).await;
        }
        let one_less = |left: usize| left.checked_sub(1);
        if unit.urgency == Urgency::Deferred
            && self.deferred.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok()
        {
            return Err(CommitError::Unavailable("the disk is full".into()));
        }
        let awaited = unit.urgency != Urgency::Deferred && !unit.entries.is_empty();
        let is_alone = awaited && self.announced.load(Ordering::SeqCst) == 0;
        self.unannounced.fetch_add(usize::from(is_alone), Ordering::SeqCst);
        let act = awaited
            .then(|| self.commits.lock().expect("no test panics while it holds it").pop_front());
        match act.flatten() {
            None => self.inner.commit(unit).await,
            Some(OnCommit::Refuse(error)) => Err(error),
            Some(OnCommit::WrittenButLost) => {
                self.inner.commit(unit).await?;
                Err(CommitError::Lost)
            }
            Some(OnCommit::Hang) => std::future::pending().await,
            Some(OnCommit::WrittenAndSilent) => {
                self.inner.commit(unit).await?;
                std::future::pending().await
            }
            Some(OnCommit::Hold) => {
                self.released.notified().await;
                self.inner.commit(unit).await
            }
            Some(OnCommit::After(first)) => {
                self.inner.commit(first).await?;
                self.inner.commit(unit).await
            }
        }
    }

    fn on_change(&self, listener: ChangeListener) {
        self.inner.on_change(listener);
    }

    async fn log_size(&self) -> Result<u64, StoreError> {
        self.inner.log_size().await
    }

    async fn entries(&self, index: u64, max: usize) -> Result<Vec<LogEntry>, StoreError> {
        let lost = *self.lost.lock().expect("no test panics while it holds it");
        let mut found = self.inner.entries(index, max).await?;
        found.retain(|entry| lost != Some(entry.index));
        let next = self.after_reading.lock().expect("no test panics while it holds it").take();
        if let Some(unit) = next {
            self.inner.commit(unit).await.expect("it is committed");
        }
        Ok(found)
    }

    async fn find(&self, id: &[u8; 16]) -> Result<Option<LogEntry>, StoreError> {
        self.inner.find(id).await
    }

    async fn disclosures(
        &self,
        index: u64,
        max: usize,
    ) -> Result<Vec<(u64, SealedDisclosure)>, StoreError> {
        let swapped = *self.swapped.lock().expect("no test panics while it holds it");
        let mut found = self.inner.disclosures(index, max).await?;
        let Some((asked, other)) = swapped else { return Ok(found) };
        if let Some(at) = found.iter().position(|(index, _)| *index == asked) {
            let others = self.inner.disclosures(other, 1).await?;
            found.splice(at..=at, others.into_iter().map(|(_, sealed)| (asked, sealed)));
        }
        Ok(found)
    }

    async fn open_permits(&self) -> Result<Vec<OpenPermit>, StoreError> {
        self.inner.open_permits().await
    }

    async fn checkpoint(&self) -> Result<Option<CheckpointRow>, StoreError> {
        self.inner.checkpoint().await
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
