//! The one writer: a thread that owns the writing connection and commits in batches.
//!
//! A lone caller never waits for company: a batch starts as soon as nothing that was announced is
//! still on its way, or its oldest unit is half a millisecond old. Outcomes alone start one only
//! after 100 ms. A sync that failed ends the process: what is durable would not be known.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use model::Clock;
use rusqlite::Connection;
use store::{ChangeListener, CommitError, Committed, NotDurable, Unit, Urgency};
use tokio::sync::oneshot;

use crate::batch::{Batch, Head, LastChanges, signed};

/// The most units of one batch.
const BATCH_MAX: usize = 256;

/// How long the oldest unit of a batch waits for announced ones.
const COMPANY: Duration = Duration::from_micros(500);

/// How long units that nobody waits for may wait.
const DEFERRED: Duration = Duration::from_millis(100);

/// Called when durability is lost; it must not return to normal work.
pub type OnFatal = Arc<dyn Fn(NotDurable) + Send + Sync>;

/// A unit on its way to the writer.
pub(crate) struct Job {
    pub(crate) unit: Unit,
    pub(crate) reply: oneshot::Sender<Result<Committed, CommitError>>,
}

/// Whoever asked, and what came of it.
type Answer = (oneshot::Sender<Result<Committed, CommitError>>, Result<Committed, CommitError>);

/// The writer's side of the store.
pub(crate) struct Writer {
    pub(crate) connection: Connection,
    pub(crate) jobs: Receiver<Job>,
    pub(crate) head: Head,
    pub(crate) changes: LastChanges,
    pub(crate) announced: Arc<AtomicUsize>,
    pub(crate) listeners: Arc<RwLock<Vec<ChangeListener>>>,
    pub(crate) syncs: Arc<AtomicU64>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) on_fatal: OnFatal,
}

impl Writer {
    /// Commits until the store is dropped.
    pub(crate) fn run(mut self) {
        let mut waiting = Vec::new();
        while self.collect(&mut waiting) {
            let batch = waiting.drain(..waiting.len().min(BATCH_MAX)).collect();
            self.commit(batch);
        }
    }

    /// Waits until a batch should start; false when there will be none any more.
    fn collect(&self, waiting: &mut Vec<Job>) -> bool {
        if waiting.is_empty() {
            match self.jobs.recv() {
                Ok(job) => waiting.push(job),
                Err(_) => return false,
            }
        }
        let since = self.clock.monotonic();
        loop {
            while waiting.len() < BATCH_MAX {
                let Ok(job) = self.jobs.try_recv() else { break };
                waiting.push(job);
            }
            let awaited = waiting.iter().filter(|job| job.unit.urgency == Urgency::Awaited).count();
            let patience = if awaited > 0 { COMPANY } else { DEFERRED };
            let on_the_way = self.announced.load(Ordering::Acquire) > awaited;
            let waited = self.clock.monotonic().saturating_sub(since);
            let full = waiting.len() >= BATCH_MAX;
            if full || waited >= patience || (awaited > 0 && !on_the_way) {
                return true;
            }
            match self.jobs.recv_timeout(patience.saturating_sub(waited)) {
                Ok(job) => waiting.push(job),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return true,
            }
        }
    }

    fn commit(&mut self, jobs: Vec<Job>) {
        if let Err(error) = self.connection.execute_batch("BEGIN IMMEDIATE") {
            return refuse_all(jobs, &error.to_string());
        }
        let (connection, changes) = (&self.connection, &self.changes);
        let mut batch = Batch { connection, changes, head: self.head, fresh: HashMap::new() };
        let mut answers = Vec::with_capacity(jobs.len());
        for job in jobs {
            let applied = batch.apply(&job.unit);
            answers.push((job.reply, applied));
        }
        let (head, fresh) = (batch.head, batch.fresh);
        if let Err(error) = self.seal(head) {
            return self.give_up(answers, &error);
        }
        self.head = head;
        self.syncs.fetch_add(1, Ordering::Relaxed);
        if !fresh.is_empty() {
            self.changes.absorb(&fresh, head.revision);
            let keys: Vec<_> = fresh.into_keys().collect();
            let listeners = self.listeners.read().expect("no panic while it is held");
            listeners.iter().for_each(|listener| listener(&keys, head.revision));
        }
        for (reply, applied) in answers {
            // Whoever asked may have gone; the unit is committed all the same.
            let _ = reply.send(applied);
        }
    }

    fn seal(&self, head: Head) -> Result<(), rusqlite::Error> {
        let mut update =
            self.connection.prepare_cached("UPDATE head SET revision = ?1, next = ?2")?;
        update.execute([signed(head.revision.0), signed(head.next)])?;
        self.connection.prepare_cached("COMMIT")?.execute([]).map(drop)
    }

    /// A batch that was not committed: rolled back if it could not be written, and the end of the
    /// process if it could not be synced.
    fn give_up(&self, answers: Vec<Answer>, error: &rusqlite::Error) {
        if is_sync_failure(error) {
            (self.on_fatal)(NotDurable);
            for (reply, _) in answers {
                let _ = reply.send(Err(CommitError::Lost));
            }
            return;
        }
        if !self.connection.is_autocommit() {
            // Nothing of the transaction counts, whether this succeeds or the next begin fails.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        for (reply, _) in answers {
            let _ = reply.send(Err(CommitError::Unavailable(error.to_string().into())));
        }
    }
}

/// Whether it was the sync that failed, after which the page cache cannot be believed.
fn is_sync_failure(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(code, Some(rusqlite::ffi::SQLITE_IOERR_FSYNC | rusqlite::ffi::SQLITE_IOERR_DIR_FSYNC))
}

fn refuse_all(jobs: Vec<Job>, why: &str) {
    for job in jobs {
        let _ = job.reply.send(Err(CommitError::Unavailable(why.to_owned().into())));
    }
}
