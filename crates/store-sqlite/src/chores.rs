//! What the writer does between two batches, and nobody waits for: forgetting what expired. And, on
//! a thread of its own, emptying SQLite's log into the database.
//!
//! Chores have a connection whose commits do not sync: the next batch's sync covers them, and if
//! they are lost they are done again. Each is short: at most [`SLICE`] rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use rusqlite::Connection;
use store::NotDurable;

use crate::batch::{OnceKey, Used};
use crate::place::Place;
use crate::queue::{Forget, Queue};
use crate::writer::{OnFatal, is_sync_failure};

/// The most rows of one chore.
pub(crate) const SLICE: u64 = 256;

/// After how many batches the log of the database is emptied into it.
const BATCHES_PER_CHECKPOINT: u32 = 64;

/// The thread that empties the log; none once it was told to end.
struct Keeper {
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.wake.take());
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the thread that empties the database's log panicked");
        }
    }
}

/// How many pages the log of the database may have before the writer itself empties the rest,
/// after which it begins at its beginning again.
const LOG_PAGES_MAX: i64 = 8_192;

/// Empties what it can without waiting; gives busy, pages in the log, pages emptied.
const EMPTY: &str = "PRAGMA wal_checkpoint(PASSIVE)";

/// The writer's chores.
pub(crate) struct Chores {
    connection: Connection,
    batches: u32,
    keeper: Keeper,
    /// Set by the keeper: the writer must stop for a moment, or the log will only grow.
    is_long: Arc<AtomicBool>,
}

impl Chores {
    /// Opens the connection for chores, and starts the thread that empties the log.
    pub(crate) fn open(place: &Place, on_fatal: OnFatal) -> Result<Self, rusqlite::Error> {
        let connection = place.connection()?;
        connection.execute_batch("PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0;")?;
        let (wake, woken) = sync_channel(1);
        let emptying = place.connection()?;
        let is_long = Arc::new(AtomicBool::new(false));
        let long = is_long.clone();
        #[expect(clippy::disallowed_methods, reason = "it ends with the writer")]
        let thread = std::thread::spawn(move || keep(&emptying, &woken, &long, &on_fatal));
        let keeper = Keeper { wake: Some(wake), thread: Some(thread) };
        Ok(Self { connection, batches: 0, keeper, is_long })
    }

    /// Does one slice of each chore that is due.
    pub(crate) fn some(&mut self, queue: &Queue, used: &mut Used) -> Result<(), rusqlite::Error> {
        self.batches += 1;
        if self.batches >= BATCHES_PER_CHECKPOINT {
            self.batches = 0;
            // Full: it is at it. Disconnected: it has told why.
            if let Some(wake) = &self.keeper.wake {
                let (Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(()))) =
                    wake.try_send(());
            }
        }
        if self.is_long.swap(false, Ordering::Relaxed) {
            self.connection.query_row(EMPTY, [], |_| Ok(()))?;
        }
        queue.chore().map_or(Ok(()), |forget| self.forget(forget, used))
    }

    fn forget(&mut self, forget: Forget, used: &mut Used) -> Result<(), rusqlite::Error> {
        let done = self.delete(&forget);
        // Whoever asked may have gone.
        let _ = forget.reply.send(match &done {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string().into()),
        });
        for key in done? {
            used.remove(&key);
        }
        Ok(())
    }

    fn delete(&mut self, forget: &Forget) -> Result<Vec<OnceKey>, rusqlite::Error> {
        let transaction = self.connection.transaction()?;
        let mut gone = Vec::with_capacity(forget.expired.len());
        {
            let sql = "DELETE FROM once WHERE seq = ?1 AND expires < ?2";
            let mut delete = transaction.prepare_cached(sql)?;
            for (seq, key) in &forget.expired {
                if delete.execute([*seq, forget.before.as_millis()])? == 1 {
                    gone.push(*key);
                }
            }
        }
        transaction.commit()?;
        Ok(gone)
    }
}

/// Empties the log of the database into it when told to, without holding up the writer.
fn keep(connection: &Connection, wake: &Receiver<()>, is_long: &AtomicBool, on_fatal: &OnFatal) {
    while wake.recv().is_ok() {
        match connection.query_row(EMPTY, [], |row| row.get::<_, i64>(1)) {
            Ok(pages) => is_long.store(pages > LOG_PAGES_MAX, Ordering::Relaxed),
            // What was synced into the log may not be in the database: it may not be emptied again.
            Err(error) if is_sync_failure(&error) => return on_fatal(NotDurable),
            Err(error) => tracing::warn!(%error, "the database's log was not emptied"),
        }
    }
}
