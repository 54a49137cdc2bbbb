//! The contract's methods: commits go to the writer, everything else reads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::TrySendError;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use model::{FactKey, Revision, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use store::{
    ChangeListener, CheckpointRow, CommitError, Committed, CounterKey, Facts, LogEntry, OpenPermit,
    Page, SealedDisclosure, Store, StoreError, Unit,
};
use tokio::sync::oneshot;

use crate::batch::signed;
use crate::open::{SqliteStore, reader};
use crate::writer::Job;

/// A unit that is on its way.
struct Announced(Arc<AtomicUsize>);

impl Drop for Announced {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl SqliteStore {
    /// Runs `query` on a reading connection, on a thread that may block.
    async fn read<T: Send + 'static>(
        &self,
        what: &'static str,
        query: impl FnOnce(&mut Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (readers, path) = (self.readers.clone(), self.path.clone());
        let task = tokio::task::spawn_blocking(move || {
            let pooled = take(&readers);
            let mut connection = match pooled {
                Some(connection) => connection,
                None => reader(&path)?,
            };
            let answer = query(&mut connection);
            if answer.is_ok() {
                readers.lock().expect("no panic while it is held").push(connection);
            }
            answer
        });
        match task.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(StoreError { what, source: Box::new(error) }),
            Err(error) => Err(StoreError { what, source: Box::new(error) }),
        }
    }
}

fn take(readers: &Mutex<Vec<Connection>>) -> Option<Connection> {
    readers.lock().expect("no panic while it is held").pop()
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn entry(row: &Row<'_>) -> Result<LogEntry, rusqlite::Error> {
    let index: i64 = row.get(0)?;
    Ok(LogEntry { index: unsigned(index), id: row.get(1)?, bytes: row.get(2)? })
}

#[async_trait]
impl Store for SqliteStore {
    async fn load(&self, keys: &[FactKey]) -> Result<Facts, StoreError> {
        let keys = keys.to_vec();
        self.read("read facts", move |connection| {
            let transaction = connection.transaction()?;
            let revision: i64 =
                transaction.query_row("SELECT revision FROM head", [], |row| row.get(0))?;
            let mut query = transaction.prepare_cached("SELECT body FROM fact WHERE key = ?1")?;
            let body = |key: &FactKey| {
                query.query_row(params![key.as_str()], |row| row.get::<_, Vec<u8>>(0)).optional()
            };
            let bodies = keys.iter().map(body).collect::<Result<_, _>>()?;
            Ok(Facts { bodies, revision: Revision(unsigned(revision)) })
        })
        .await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&FactKey>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let from = after.map_or(prefix, FactKey::as_str).to_owned();
        // Keys are text below U+10FFFF: nothing with this prefix sorts after it.
        let to = format!("{prefix}\u{10ffff}");
        let include_first = after.is_none();
        self.read("list facts", move |connection| {
            let sql = "SELECT key, body FROM fact WHERE key >= ?1 AND key < ?2 AND (?3 OR key > ?1) \
                       ORDER BY key LIMIT ?4";
            let mut query = connection.prepare_cached(sql)?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = query.query_map(params![from, to, include_first, limit], |row| {
                Ok((FactKey::from_text(&row.get::<_, String>(0)?), row.get::<_, Vec<u8>>(1)?))
            })?;
            let facts = rows.collect::<Result<Vec<_>, _>>()?;
            let full = i64::try_from(facts.len()).is_ok_and(|count| count == limit);
            let next = facts.last().filter(|_| full).map(|(key, _)| key.clone());
            Ok(Page { facts, next })
        })
        .await
    }

    async fn counters(&self, keys: &[CounterKey]) -> Result<Vec<i64>, StoreError> {
        let keys = keys.to_vec();
        self.read("read counters", move |connection| {
            let mut query =
                connection.prepare_cached("SELECT value FROM counter WHERE name = ?1")?;
            let value = |key: &CounterKey| {
                let found = query.query_row(params![key.0], |row| row.get(0)).optional()?;
                Ok(found.unwrap_or(0))
            };
            keys.iter().map(value).collect()
        })
        .await
    }

    fn announce(&self) -> Box<dyn Send> {
        self.announced.fetch_add(1, Ordering::AcqRel);
        Box::new(Announced(self.announced.clone()))
    }

    async fn commit(&self, unit: Unit) -> Result<Committed, CommitError> {
        let (reply, answer) = oneshot::channel();
        match self.jobs.try_send(Job { unit, reply }) {
            Ok(()) => answer.await.unwrap_or(Err(CommitError::Lost)),
            Err(TrySendError::Full(_)) => Err(CommitError::Overloaded),
            Err(TrySendError::Disconnected(_)) => {
                Err(CommitError::Unavailable("the writer has ended".into()))
            }
        }
    }

    fn on_change(&self, listener: ChangeListener) {
        self.listeners.write().expect("no panic while it is held").push(listener);
    }

    async fn log_size(&self) -> Result<u64, StoreError> {
        self.read("read the size of the log", |connection| {
            connection.query_row("SELECT next FROM head", [], |row| row.get(0)).map(unsigned)
        })
        .await
    }

    async fn entries(&self, index: u64, max: usize) -> Result<Vec<LogEntry>, StoreError> {
        self.read("read entries", move |connection| {
            let sql = "SELECT idx, id, bytes FROM leaf WHERE idx >= ?1 ORDER BY idx LIMIT ?2";
            let mut query = connection.prepare_cached(sql)?;
            let max = i64::try_from(max).unwrap_or(i64::MAX);
            let rows = query.query_map(params![signed(index), max], entry)?;
            rows.collect()
        })
        .await
    }

    async fn find(&self, id: &[u8; 16]) -> Result<Option<LogEntry>, StoreError> {
        let id = *id;
        self.read("find an entry", move |connection| {
            let indexed = connection
                .query_row("SELECT idx FROM leaf_id WHERE id = ?1", params![id], |row| row.get(0))
                .optional()?;
            // What the index has not reached yet is looked for one by one.
            let behind = "SELECT idx FROM leaf WHERE id = ?1 AND idx >= \
                          (SELECT indexed FROM head) LIMIT 1";
            let late = || connection.query_row(behind, params![id], |row| row.get(0)).optional();
            let index: Option<i64> = if indexed.is_some() { indexed } else { late()? };
            let Some(index) = index else { return Ok(None) };
            let sql = "SELECT idx, id, bytes FROM leaf WHERE idx = ?1";
            connection.query_row(sql, params![index], entry).optional()
        })
        .await
    }

    async fn disclosure(&self, index: u64) -> Result<Option<SealedDisclosure>, StoreError> {
        self.read("read a disclosure", move |connection| {
            let sql = "SELECT data_key, sealed FROM disclosure WHERE idx = ?1";
            let sealed = |row: &Row<'_>| {
                let key: String = row.get(0)?;
                Ok(SealedDisclosure { data_key: FactKey::from_text(&key), sealed: row.get(1)? })
            };
            connection.query_row(sql, params![signed(index)], sealed).optional()
        })
        .await
    }

    async fn open_permits(&self) -> Result<Vec<OpenPermit>, StoreError> {
        self.read("read open permits", |connection| {
            let mut query = connection.prepare("SELECT idx FROM open_permit ORDER BY idx")?;
            let rows =
                query.query_map([], |row| Ok(OpenPermit { index: unsigned(row.get(0)?) }))?;
            rows.collect()
        })
        .await
    }

    async fn checkpoint(&self) -> Result<Option<CheckpointRow>, StoreError> {
        self.read("read the checkpoint", |connection| {
            let row = |row: &Row<'_>| {
                Ok(CheckpointRow { size: unsigned(row.get(0)?), note: row.get(1)? })
            };
            connection.query_row("SELECT size, note FROM checkpoint", [], row).optional()
        })
        .await
    }

    async fn swap_checkpoint(
        &self,
        from: Option<u64>,
        to: &CheckpointRow,
    ) -> Result<bool, StoreError> {
        let (path, to) = (self.path.clone(), to.clone());
        self.read("replace the checkpoint", move |_| {
            let connection = Connection::open(path)?;
            connection.busy_timeout(std::time::Duration::from_secs(5))?;
            connection
                .execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;")?;
            let size = signed(to.size);
            let swapped = match from {
                None => {
                    let sql =
                        "INSERT OR IGNORE INTO checkpoint (one, size, note) VALUES (1, ?1, ?2)";
                    connection.execute(sql, params![size, to.note])?
                }
                Some(from) => {
                    let sql = "UPDATE checkpoint SET size = ?1, note = ?2 WHERE size = ?3";
                    connection.execute(sql, params![size, to.note, signed(from)])?
                }
            };
            // Behind the log: the index of ids follows the checkpoint.
            connection.execute(
                "INSERT OR IGNORE INTO leaf_id (id, idx) SELECT id, idx FROM leaf WHERE idx < ?1 \
                 AND idx >= (SELECT indexed FROM head)",
                params![size],
            )?;
            connection.execute("UPDATE head SET indexed = ?1", params![size])?;
            connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
            Ok(swapped == 1)
        })
        .await
    }

    async fn forget_expired(&self, now: Timestamp) -> Result<(), StoreError> {
        let path = self.path.clone();
        self.read("forget what expired", move |_| {
            let connection = Connection::open(path)?;
            connection.busy_timeout(std::time::Duration::from_secs(5))?;
            let sql = "DELETE FROM once WHERE expires < ?1";
            connection.execute(sql, params![now.as_millis()]).map(drop)
        })
        .await
    }
}
