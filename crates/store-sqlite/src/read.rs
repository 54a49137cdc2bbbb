//! The contract's methods: what changes something goes to the writer, everything else reads.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use model::{CLOCK_STEP_MAX, FactKey, RecordDigest, Timestamp};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use store::{
    ChangeListener, CheckpointRow, CommitError, Committed, CounterKey, Facts, LOAD_MAX, LogEntry,
    NotKept, OpenPermit, PAGE_MAX, Page, SealedDisclosure, Store, StoreError, Unit,
};
use tokio::sync::oneshot;

use crate::batch::{OnceKey, once_key, signed, unsigned};
use crate::chores::SLICE;
use crate::open::{Readers, SqliteStore};
use crate::queue::{Forget, Job, NotTaken, Queue};

/// The most slices of expired things that one call forgets.
const SLICES_MAX: u64 = 64;

/// A unit that is on its way.
struct Announced(Arc<Queue>);

impl Drop for Announced {
    fn drop(&mut self) {
        self.0.arrived();
    }
}

impl SqliteStore {
    /// Runs `query` on a reading connection, on a thread that may block. At most as many run as
    /// there are connections; who gives up waiting stops nothing that runs.
    async fn read<T: Send + 'static>(
        &self,
        what: &'static str,
        query: impl FnOnce(&mut Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let failed = |source| StoreError { what, source };
        let place = self.readers.places.clone().acquire_owned().await;
        let place = place.map_err(|error| failed(Box::new(error)))?;
        let readers = self.readers.clone();
        let task = tokio::task::spawn_blocking(move || {
            let answer = readers.run(query);
            drop(place);
            answer
        });
        match task.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(failed(Box::new(error))),
            Err(error) => Err(failed(Box::new(error))),
        }
    }

    fn not_taken(what: &'static str, why: NotTaken) -> StoreError {
        let source = match why {
            NotTaken::Full => "too much waits already",
            NotTaken::Ended => "the writer has ended",
        };
        StoreError { what, source: source.into() }
    }
}

impl Readers {
    pub(crate) fn run<T>(
        &self,
        query: impl FnOnce(&mut Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<T, rusqlite::Error> {
        let idle = self.idle.lock().expect("no panic while it is held").pop();
        let mut connection = idle.map_or_else(|| self.place.reader(), Ok)?;
        let answer = query(&mut connection);
        // What failed may have left the connection as it should not be: the next one is new.
        if answer.is_ok() {
            self.idle.lock().expect("no panic while it is held").push(connection);
        }
        answer
    }
}

fn page(asked: usize) -> i64 {
    i64::try_from(asked.min(PAGE_MAX)).unwrap_or(i64::MAX)
}

/// A page of the facts of a [`Span`].
const FACTS: &str = "SELECT key, body FROM fact WHERE key >= ?1 AND key < ?2 AND (?3 OR key > ?1) \
                     ORDER BY key LIMIT ?4";

/// A page of what the facts of a [`Span`] were.
const FACTS_AS_OF: &str = "SELECT key, body FROM past AS it \
                           WHERE key >= ?1 AND key < ?2 AND (?3 OR key > ?1) \
                           AND at <= ?5 AND body IS NOT NULL \
                           AND revision = (SELECT max(revision) FROM past \
                                           WHERE key = it.key AND at <= ?5) \
                           ORDER BY key LIMIT ?4";

/// A page of the counters of a [`Span`].
const COUNTERS: &str = "SELECT name, value FROM counter \
                        WHERE name >= ?1 AND name < ?2 AND (?3 OR name > ?1) \
                        ORDER BY name LIMIT ?4";

/// What some records disclose, in their order: not each does.
const DISCLOSURES: &str = "SELECT idx, data_key, sealed FROM disclosure \
                           WHERE idx >= ?1 AND idx < ?2 ORDER BY idx";

/// The keys that a list looks at, and no others: what stands behind them is never read.
struct Span {
    from: String,
    /// What is beyond them: a blob is beyond any text.
    end: Value,
    /// Whether `from` itself is one.
    include_first: bool,
}

impl Span {
    /// Those that begin with `prefix`, after `after`.
    fn of(prefix: &str, after: Option<&str>) -> Self {
        // A key before the prefix is not within it, whoever named it.
        let after = after.filter(|after| *after >= prefix);
        let (from, include_first) = (after.unwrap_or(prefix).to_owned(), after.is_none());
        let end = store::prefix_end(prefix).map_or(Value::Blob(Vec::new()), Value::Text);
        Self { from, end, include_first }
    }
}

fn fact(row: &Row<'_>) -> Result<(FactKey, Vec<u8>), rusqlite::Error> {
    Ok((FactKey::from_text(&row.get::<_, String>(0)?), row.get(1)?))
}

/// A page of what was listed; `limit` of them may not be all.
fn listed(
    rows: impl Iterator<Item = Result<(FactKey, Vec<u8>), rusqlite::Error>>,
    limit: i64,
) -> Result<Page, rusqlite::Error> {
    let facts = rows.collect::<Result<Vec<_>, _>>()?;
    let full = i64::try_from(facts.len()).is_ok_and(|count| count == limit);
    let next = facts.last().filter(|_| full).map(|(key, _)| key.clone());
    Ok(Page { facts, next })
}

fn entry(row: &Row<'_>) -> Result<LogEntry, rusqlite::Error> {
    let index: i64 = row.get(0)?;
    let leaf = RecordDigest::from_bytes(row.get(3)?);
    Ok(LogEntry { index: unsigned(index), id: row.get(1)?, bytes: row.get(2)?, leaf })
}

#[async_trait]
impl Store for SqliteStore {
    async fn load(&self, keys: &[FactKey]) -> Result<Facts, StoreError> {
        if keys.len() > LOAD_MAX {
            let source = format!("more than {LOAD_MAX} facts at once").into();
            return Err(StoreError { what: "read facts", source });
        }
        let failed = |source| StoreError { what: "read facts", source };
        let pushed = self.loads.push(keys.to_vec());
        let (waiter, turn) = pushed.map_err(|why| Self::not_taken("read facts", why))?;
        if let Some(turn) = turn {
            let readers = self.readers.clone();
            tokio::task::spawn_blocking(move || turn.read(&readers));
        }
        match waiter.answer().await {
            Ok(Ok(facts)) => Ok(facts),
            Ok(Err(error)) => Err(failed(Box::new(error))),
            Err(error) => Err(failed(Box::new(error))),
        }
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&FactKey>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let (span, limit) = (Span::of(prefix, after.map(FactKey::as_str)), page(limit));
        self.read("list facts", move |connection| {
            let mut query = connection.prepare_cached(FACTS)?;
            let Span { from, end, include_first } = span;
            let rows = query.query_map(params![from, end, include_first, limit], fact)?;
            listed(rows, limit)
        })
        .await
    }

    async fn list_as_of(
        &self,
        (prefix, at): (&str, Timestamp),
        after: Option<&FactKey>,
        limit: usize,
    ) -> Result<Result<Page, NotKept>, StoreError> {
        let (span, limit) = (Span::of(prefix, after.map(FactKey::as_str)), page(limit));
        let kept_until = Timestamp::from_millis(self.kept_until.load(Ordering::SeqCst));
        if kept_until > self.clock.now().plus(CLOCK_STEP_MAX) {
            return Ok(Err(NotKept::Ahead(kept_until)));
        }
        self.read("list what facts were", move |connection| {
            let transaction = connection.transaction()?;
            let since: i64 =
                transaction.query_row("SELECT at FROM kept_since", [], |row| row.get(0))?;
            if at.as_millis() < since {
                return Ok(Err(NotKept::Since(Timestamp::from_millis(since))));
            }
            let mut query = transaction.prepare_cached(FACTS_AS_OF)?;
            let Span { from, end, include_first } = span;
            let rows =
                query.query_map(params![from, end, include_first, limit, at.as_millis()], fact)?;
            listed(rows, limit).map(Ok)
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

    async fn list_counters(
        &self,
        prefix: &str,
        after: Option<&CounterKey>,
        limit: usize,
    ) -> Result<Vec<(CounterKey, i64)>, StoreError> {
        let span = Span::of(prefix, after.map(|counter| counter.0.as_str()));
        let limit = page(limit);
        self.read("list counters", move |connection| {
            let mut query = connection.prepare_cached(COUNTERS)?;
            let Span { from, end, include_first } = span;
            let counter = |row: &Row<'_>| Ok((CounterKey(row.get(0)?), row.get(1)?));
            query.query_map(params![from, end, include_first, limit], counter)?.collect()
        })
        .await
    }

    fn announce(&self) -> Box<dyn Send> {
        self.queue.announce();
        Box::new(Announced(self.queue.clone()))
    }

    async fn commit(&self, unit: Unit) -> Result<Committed, CommitError> {
        let (reply, answer) = oneshot::channel();
        match self.queue.push(Job::Unit { unit, reply }, self.clock.monotonic()) {
            Ok(()) => answer.await.unwrap_or(Err(CommitError::Lost)),
            Err(NotTaken::Full) => Err(CommitError::Overloaded),
            Err(NotTaken::Ended) => Err(CommitError::Unavailable("the writer has ended".into())),
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
            let sql = "SELECT idx, id, bytes, hash FROM leaf WHERE idx >= ?1 ORDER BY idx LIMIT ?2";
            let mut query = connection.prepare_cached(sql)?;
            let rows = query.query_map(params![signed(index), page(max)], entry)?;
            rows.collect()
        })
        .await
    }

    async fn find(&self, id: &[u8; 16]) -> Result<Option<LogEntry>, StoreError> {
        let id = *id;
        self.read("find an entry", move |connection| {
            let sql = "SELECT idx, leaf.id, bytes, hash FROM leaf_id JOIN leaf USING (idx) \
                       WHERE leaf_id.id = ?1";
            connection.prepare_cached(sql)?.query_row([id], entry).optional()
        })
        .await
    }

    async fn disclosures(
        &self,
        index: u64,
        max: usize,
    ) -> Result<Vec<(u64, SealedDisclosure)>, StoreError> {
        self.read("read disclosures", move |connection| {
            let sealed = |row: &Row<'_>| {
                let data_key = FactKey::from_text(&row.get::<_, String>(1)?);
                Ok((unsigned(row.get(0)?), SealedDisclosure { data_key, sealed: row.get(2)? }))
            };
            let (first, most) = (signed(index), page(max));
            let mut query = connection.prepare_cached(DISCLOSURES)?;
            query.query_map([first, first.saturating_add(most)], sealed)?.collect()
        })
        .await
    }

    async fn open_permits(&self) -> Result<Vec<OpenPermit>, StoreError> {
        self.read("read open permits", |connection| {
            let mut query =
                connection.prepare_cached("SELECT idx, body FROM open_permit ORDER BY idx")?;
            let permit =
                |row: &Row<'_>| Ok(OpenPermit { index: unsigned(row.get(0)?), body: row.get(1)? });
            query.query_map([], permit)?.collect()
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
        let what = "replace the checkpoint";
        let (reply, answer) = oneshot::channel();
        let job = Job::Swap { from, to: to.clone(), reply };
        let taken = self.queue.push(job, self.clock.monotonic());
        taken.map_err(|why| Self::not_taken(what, why))?;
        match answer.await {
            Ok(Ok(swapped)) => Ok(swapped),
            Ok(Err(source)) => Err(StoreError { what, source }),
            Err(gone) => Err(StoreError { what, source: Box::new(gone) }),
        }
    }

    async fn forget_expired(&self, now: Timestamp) -> Result<(), StoreError> {
        let what = "forget what expired";
        // Looked for here, where it holds up nobody; the writer only removes.
        let expired = self.read(what, move |connection| {
            let sql = "SELECT seq, scope, id FROM once WHERE expires < ?1 LIMIT ?2";
            let mut query = connection.prepare_cached(sql)?;
            let most = signed(SLICE * SLICES_MAX);
            let rows = query.query_map([now.as_millis(), most], |row| {
                Ok((row.get(0)?, once_key(row.get(1)?, &row.get::<_, Vec<u8>>(2)?)))
            })?;
            rows.collect::<Result<Vec<(i64, OnceKey)>, _>>()
        });
        let slice = usize::try_from(SLICE).unwrap_or(usize::MAX);
        for expired in expired.await?.chunks(slice) {
            let (reply, answer) = oneshot::channel();
            let chore = Forget { expired: expired.to_vec(), before: now, reply };
            self.queue.push_chore(chore).map_err(|why| Self::not_taken(what, why))?;
            match answer.await {
                Ok(Ok(())) => {}
                Ok(Err(source)) => return Err(StoreError { what, source }),
                Err(gone) => return Err(StoreError { what, source: Box::new(gone) }),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    /// How many facts and counters stand behind those that are listed.
    const BEHIND: i64 = 10_000;

    #[test]
    fn what_stands_behind_a_list_is_not_read() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("../migrations/0001.sql")).unwrap();
        connection.execute_batch(include_str!("../migrations/0002.sql")).unwrap();
        connection.execute_batch(include_str!("../migrations/0003.sql")).unwrap();
        let put = |key: &str| {
            let put = "INSERT INTO fact VALUES (?1, 1, x'7b7d')";
            connection.execute(put, [key]).unwrap();
            let put = "INSERT INTO past VALUES (?1, 1, 1, x'7b7d')";
            connection.execute(put, [key]).unwrap();
            connection.execute("INSERT INTO counter VALUES (?1, 1)", [key]).unwrap();
        };
        let put_behind = |index: i64| {
            let put = "INSERT INTO disclosure VALUES (?1, 'datakey/a', x'00')";
            connection.execute(put, [index]).unwrap();
        };
        (0..BEHIND).for_each(put_behind);
        let mut query = connection.prepare(DISCLOSURES).unwrap();
        assert_eq!(query.query_map([-5, 2], |_| Ok(())).unwrap().count(), 2);
        assert!(query.get_status(StatementStatus::VmStep) < 100);
        ["agent/a", "agent/b"].into_iter().for_each(put);
        (0..BEHIND).for_each(|number| put(&format!("person/{number}")));
        for (sql, parameters) in [(FACTS, 4), (FACTS_AS_OF, 5), (COUNTERS, 4)] {
            for (prefix, listed) in [("agent/", 2), ("", BEHIND + 2)] {
                let Span { from, end, include_first } = Span::of(prefix, None);
                let values: [Value; 5] =
                    [from.into(), end, include_first.into(), i64::MAX.into(), 1.into()];
                let mut query = connection.prepare(sql).unwrap();
                let values = rusqlite::params_from_iter(&values[..parameters]);
                let rows = query.query_map(values, |_| Ok(())).unwrap().count();
                assert_eq!(i64::try_from(rows), Ok(listed), "{sql}");
                let steps = i64::from(query.get_status(StatementStatus::VmStep));
                assert!(steps < 100 * listed, "{steps} steps for {listed}: {sql}");
            }
        }
    }
}
