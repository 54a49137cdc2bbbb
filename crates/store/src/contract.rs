//! What every back end does.

use std::sync::Arc;

use async_trait::async_trait;
use model::{FactKey, RecordDigest, Revision, Timestamp};

use crate::{CommitError, Committed, SealedDisclosure, Unit};

/// The store could not answer.
#[derive(Debug, thiserror::Error)]
#[error("the store could not {what}")]
pub struct StoreError {
    /// What it could not do.
    pub what: &'static str,
    /// Why.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// A failure that ends the process: what is durable is no longer known.
#[derive(Debug, thiserror::Error)]
#[error("a sync failed: what is durable is no longer known")]
pub struct NotDurable;

/// Facts read at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The bodies, in the order of the keys asked for; `None` where there is no such fact.
    pub bodies: Vec<Option<Vec<u8>>>,
    /// The revision as of which all of them were read.
    pub revision: Revision,
}

/// A page of facts in the order of their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The facts.
    pub facts: Vec<(FactKey, Vec<u8>)>,
    /// The key after which the next page begins; `None` at the end.
    pub next: Option<FactKey>,
}

/// A record of the log, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its index.
    pub index: u64,
    /// Its id.
    pub id: [u8; 16],
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The leaf hash that was stored with it: what its receipt promised.
    pub leaf: RecordDigest,
}

/// A permit without an outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenPermit {
    /// The index of its decision record.
    pub index: u64,
    /// What was to be known when it is closed, if something was.
    pub body: Option<Vec<u8>>,
}

/// The newest checkpoint that was swapped in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointRow {
    /// The size of the tree.
    pub size: u64,
    /// The signed note.
    pub note: Vec<u8>,
}

/// Why a store cannot tell what facts were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotKept {
    /// It began to keep them then: of what was before, nobody knows.
    Since(Timestamp),
    /// It kept changes by a clock that was ahead. Until then what changes is kept as of then, and whoever
    /// asks for a time before would not be told of it.
    Ahead(Timestamp),
}

/// Told of the keys that a unit wrote, and of the revision that it made; units in their order.
pub type ChangeListener = Arc<dyn Fn(&[FactKey], Revision) + Send + Sync>;

/// The storage contract. Every back end passes one suite.
///
/// Methods that answer [`StoreError`] have changed nothing. Futures may be dropped at any time; a
/// unit that was handed to [`Store::commit`] is then committed or not, as if nobody had asked.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Reads up to [`crate::LOAD_MAX`] facts at one moment.
    async fn load(&self, keys: &[FactKey]) -> Result<Facts, StoreError>;

    /// Reads up to `limit` facts (at most [`crate::PAGE_MAX`]) whose keys begin with `prefix`,
    /// after `after`, in the order of the keys' bytes.
    async fn list(
        &self,
        prefix: &str,
        after: Option<&FactKey>,
        limit: usize,
    ) -> Result<Page, StoreError>;

    /// Reads, as [`Store::list`] does, facts of the kinds that are kept ([`crate::is_kept`]) with a prefix
    /// as they were at a time, to the millisecond in which they became durable, by the time that records
    /// carry. If the store began to keep them later, or keeps them by a clock that was ahead, it says until
    /// when it cannot tell.
    async fn list_as_of(
        &self,
        of: (&str, Timestamp),
        after: Option<&FactKey>,
        limit: usize,
    ) -> Result<Result<Page, NotKept>, StoreError>;

    /// The values of counters, in the order asked for.
    async fn counters(&self, keys: &[crate::CounterKey]) -> Result<Vec<i64>, StoreError>;

    /// The first up to `limit` counters (at most [`crate::PAGE_MAX`]) whose names begin with `prefix`, after
    /// `after`, in the order of the names' bytes, with their values. One that came to zero is none.
    async fn list_counters(
        &self,
        prefix: &str,
        after: Option<&crate::CounterKey>,
        limit: usize,
    ) -> Result<Vec<(crate::CounterKey, i64)>, StoreError>;

    /// Says that a unit is on its way, so that a batch may wait a moment for it; call
    /// [`Store::commit`] or drop the guard.
    fn announce(&self) -> Box<dyn Send>;

    /// Commits `unit` durably, or nothing of it. Its effects happen in their order.
    async fn commit(&self, unit: Unit) -> Result<Committed, CommitError>;

    /// Calls `listener` with the keys of every unit that wrote facts, once it is durable and before
    /// its commit returns. It must be quick: commits wait for it.
    fn on_change(&self, listener: ChangeListener);

    /// The next index that the log gives out: its length.
    async fn log_size(&self) -> Result<u64, StoreError>;

    /// Up to `max` entries (at most [`crate::PAGE_MAX`]) from `index` on, in order, without a gap.
    async fn entries(&self, index: u64, max: usize) -> Result<Vec<LogEntry>, StoreError>;

    /// The first entry with this record id, the newest entries included.
    async fn find(&self, id: &[u8; 16]) -> Result<Option<LogEntry>, StoreError>;

    /// The sealed disclosures of up to `max` entries (at most [`crate::PAGE_MAX`]) from `index` on, in order,
    /// each with the index of its entry; those that there are.
    async fn disclosures(
        &self,
        index: u64,
        max: usize,
    ) -> Result<Vec<(u64, SealedDisclosure)>, StoreError>;

    /// The permits that no outcome has closed, oldest first.
    async fn open_permits(&self) -> Result<Vec<OpenPermit>, StoreError>;

    /// The newest checkpoint.
    async fn checkpoint(&self) -> Result<Option<CheckpointRow>, StoreError>;

    /// Replaces the checkpoint of `from` (its size; `None` for the first) by `to`, durably. Answers
    /// false, having written nothing, if the newest is another. A checkpoint never gets smaller.
    async fn swap_checkpoint(
        &self,
        from: Option<u64>,
        to: &CheckpointRow,
    ) -> Result<bool, StoreError>;

    /// Forgets what may be used once and expired before `now`, a bounded number at a time. Nothing
    /// waits for its durability: what is forgotten would be refused as expired.
    async fn forget_expired(&self, now: Timestamp) -> Result<(), StoreError>;
}
