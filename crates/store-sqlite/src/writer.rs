//! The one writer: a thread that owns the writing connection and commits in batches.
//!
//! Each batch is one transaction and one sync. An error that leaves unknown whether a batch is
//! durable ends the process; one that surely undid it denies, and the writer goes on.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, RwLock};

use model::{Clock, FactKey, Revision, Timestamp};
use rusqlite::{Connection, ErrorCode};
use store::{ChangeListener, CommitError, Committed, LastChanges, NotDurable};

use crate::batch::{Batch, Head, Refused, Used, signed};
use crate::chores::Chores;
use crate::place::Place;
use crate::queue::{Cause, Job, Next, Queue};
use crate::statements::Statements;

/// Called when durability is lost; it must not return to normal work.
pub type OnFatal = Arc<dyn Fn(NotDurable) + Send + Sync>;

/// What the writer is made of.
pub(crate) struct Writer {
    pub(crate) place: Arc<Place>,
    pub(crate) connection: Connection,
    pub(crate) chores: Chores,
    pub(crate) queue: Arc<Queue>,
    pub(crate) head: Head,
    /// When the last change was made of which what was is kept, in milliseconds.
    pub(crate) kept_until: Arc<AtomicI64>,
    pub(crate) used: Used,
    pub(crate) changes: LastChanges,
    pub(crate) listeners: Arc<RwLock<Vec<ChangeListener>>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) on_fatal: OnFatal,
}

/// What came of one job of a batch.
enum Answer {
    Unit(Result<Committed, CommitError>),
    Swap(Result<bool, Cause>),
}

/// Why a batch was not committed.
enum Failed {
    /// It was undone: nothing of it will ever be there.
    Undone(rusqlite::Error),
    /// It may be there or not, now or after a crash.
    Unknown(rusqlite::Error),
}

/// What a transaction has done before it is committed.
struct Applied {
    /// Where log and facts then are; none if there is nothing to commit.
    head: Option<Head>,
    /// The keys that each unit wrote, and the revision that it made.
    wrote: Vec<(Vec<FactKey>, Revision)>,
    /// What it uses once.
    using: Used,
    answers: Vec<Answer>,
}

/// Whether the writer can go on.
#[derive(PartialEq, Eq)]
enum GoesOn {
    Yes,
    No,
}

impl Writer {
    /// Commits until the store is dropped, or until it no longer knows what is durable.
    pub(crate) fn run(self) {
        let Self { connection, mut chores, queue, head, kept_until, used, changes, .. } = self;
        let (place, listeners) = (self.place, self.listeners);
        let (clock, on_fatal) = (self.clock, self.on_fatal);
        let _end = Ending { queue: queue.clone(), on_fatal: on_fatal.clone() };
        match Statements::prepare(&connection) {
            Ok(sql) => {
                let connection = &connection;
                let mut committing = Committing {
                    place,
                    queue,
                    connection,
                    sql,
                    head,
                    kept_until,
                    clock,
                    used,
                    changes,
                    listeners,
                    on_fatal,
                };
                committing.until_the_end(&mut chores);
            }
            Err(error) => tracing::error!(%error, "the writer could not begin"),
        }
    }
}

/// However the writer ends, nobody waits for it any more.
struct Ending {
    queue: Arc<Queue>,
    on_fatal: OnFatal,
}

impl Drop for Ending {
    fn drop(&mut self) {
        if std::thread::panicking() {
            (self.on_fatal)(NotDurable);
        }
        for job in self.queue.abandon() {
            refuse(job, "the writer has ended");
        }
    }
}

/// The writer at work.
struct Committing<'c> {
    place: Arc<Place>,
    queue: Arc<Queue>,
    connection: &'c Connection,
    sql: Statements<'c>,
    head: Head,
    kept_until: Arc<AtomicI64>,
    clock: Arc<dyn Clock>,
    used: Used,
    changes: LastChanges,
    listeners: Arc<RwLock<Vec<ChangeListener>>>,
    on_fatal: OnFatal,
}

impl Committing<'_> {
    fn until_the_end(&mut self, chores: &mut Chores) {
        let (queue, clock) = (self.queue.clone(), self.clock.clone());
        loop {
            match queue.next(clock.as_ref()) {
                Next::Batch(jobs) => {
                    if self.commit(jobs) == GoesOn::No {
                        return;
                    }
                }
                Next::Chores => {}
                Next::End => return,
            }
            match chores.some(&queue, &mut self.used) {
                Ok(()) => {}
                Err(error) if is_sync_failure(&error) => {
                    return (self.on_fatal)(NotDurable);
                }
                Err(error) => tracing::warn!(%error, "what can wait was not done"),
            }
        }
    }

    fn commit(&mut self, jobs: Vec<Job>) -> GoesOn {
        let mut done = self.transact(&jobs, false);
        if matches!(done, Ok(None)) {
            done = self.transact(&jobs, true);
        }
        match done {
            Ok(answers) => {
                let answers = answers.unwrap_or_default();
                jobs.into_iter().zip(answers).for_each(|(job, answer)| reply(job, answer));
                GoesOn::Yes
            }
            Err(Failed::Undone(error)) => {
                tracing::error!(%error, "a batch was not committed");
                let why = error.to_string();
                for job in jobs {
                    refuse(job, &why);
                }
                GoesOn::Yes
            }
            Err(Failed::Unknown(error)) => {
                tracing::error!(%error, "nobody knows whether a batch is durable");
                (self.on_fatal)(NotDurable);
                jobs.into_iter().for_each(lose);
                GoesOn::No
            }
        }
    }

    /// Runs all jobs in one transaction. `None`: a unit was refused halfway, so the transaction was
    /// rolled back and must be run again, undoably.
    fn transact(&mut self, jobs: &[Job], undoably: bool) -> Result<Option<Vec<Answer>>, Failed> {
        self.place.holds().map_err(known)?;
        self.sql.begin.execute([]).map_err(known)?;
        let applied = self.apply(jobs, undoably);
        let Applied { head, wrote, using, answers } = match applied {
            Ok(Some(applied)) => applied,
            Ok(None) => {
                self.roll_back()?;
                return Ok(None);
            }
            Err(error) => {
                self.roll_back()?;
                return Err(known(error));
            }
        };
        if let Some(head) = head {
            self.seal(head)?;
            self.queue.syncs.fetch_add(1, Ordering::Relaxed);
            self.head = head;
            self.used.extend(using);
            for (keys, revision) in wrote {
                self.changes.record(&keys, revision);
                let listeners = self.listeners.read().expect("no panic while it is held");
                listeners.iter().for_each(|listener| listener(&keys, revision));
            }
        } else {
            // Every job was refused: there is nothing to sync.
            self.roll_back()?;
        }
        Ok(Some(answers))
    }

    /// Applies all jobs; `None` if one was refused halfway.
    fn apply(&mut self, jobs: &[Job], undoably: bool) -> Result<Option<Applied>, rusqlite::Error> {
        // What was is in the order of what changed it, whatever the clock does.
        let now = self.clock.now().as_millis();
        let kept_until = self.kept_until.fetch_max(now, Ordering::SeqCst).max(now);
        let at = (self.head, Timestamp::from_millis(kept_until));
        let mut batch = Batch::on(at, &mut self.sql, &self.changes, &self.used);
        let mut answers = Vec::with_capacity(jobs.len());
        for job in jobs {
            let answer = match job {
                Job::Unit { unit, .. } if undoably => Answer::Unit(batch.apply_undoably(unit)?),
                Job::Unit { unit, .. } => match batch.apply(unit) {
                    Ok(committed) => Answer::Unit(Ok(committed)),
                    Err(Refused::Cleanly(error)) => Answer::Unit(Err(error)),
                    Err(Refused::HalfWay(_)) => return Ok(None),
                },
                Job::Swap { from, to, .. } => match batch.swap(*from, to) {
                    // A checkpoint that the schema refuses costs itself; any other error, all.
                    Err(error) if !is_refusal(&error) => return Err(error),
                    swapped => Answer::Swap(swapped.map_err(Cause::from)),
                },
            };
            answers.push(answer);
        }
        let is_dirty = batch.is_dirty || batch.head != self.head;
        let head = is_dirty.then_some(batch.head);
        Ok(Some(Applied { head, wrote: batch.wrote, using: batch.using, answers }))
    }

    /// Commits the transaction durably.
    fn seal(&mut self, head: Head) -> Result<(), Failed> {
        if let Err(error) = self.sql.head.execute([signed(head.revision.0), signed(head.next)]) {
            self.roll_back()?;
            return Err(known(error));
        }
        if let Err(error) = self.sql.commit.execute([]) {
            if leaves_unknown(&error) {
                return Err(Failed::Unknown(error));
            }
            self.roll_back()?;
            return Err(Failed::Undone(error));
        }
        Ok(())
    }

    /// Undoes the transaction, unless SQLite has done so.
    fn roll_back(&mut self) -> Result<(), Failed> {
        if self.connection.is_autocommit() {
            return Ok(());
        }
        self.sql.rollback.execute([]).map(drop).map_err(Failed::Unknown)
    }
}

/// An error before the commit: nothing is in the database's log but frames without a commit mark,
/// which the next transaction overwrites. Only a failed sync says something about what was there
/// before.
fn known(error: rusqlite::Error) -> Failed {
    if is_sync_failure(&error) { Failed::Unknown(error) } else { Failed::Undone(error) }
}

/// Whether the schema refused a statement, which then is undone by itself.
fn is_refusal(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation)
}

fn extended_code(error: &rusqlite::Error) -> Option<i32> {
    error.sqlite_error().map(|error| error.extended_code)
}

/// Whether it was a sync that failed, after which the page cache cannot be believed: the kernel
/// may have dropped the pages and marked them clean, and the next sync would succeed.
pub(crate) fn is_sync_failure(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{SQLITE_IOERR_DIR_FSYNC, SQLITE_IOERR_FSYNC};
    matches!(extended_code(error), Some(SQLITE_IOERR_FSYNC | SQLITE_IOERR_DIR_FSYNC))
}

/// Whether an error of COMMIT leaves unknown if the transaction is, or will after a crash be, there.
///
/// SQLite (`sqlite3WalFrames`) writes the frames, the last with the commit mark, then syncs, then
/// enters them in the index that readers use. A frame that could not be written (disk full, file
/// too large, read-only, EIO of the write) means that no whole commit mark is there: undone. Any
/// later error (the sync, the index in shared memory, no memory for it) comes after the mark, and
/// a recovery would find it.
fn leaves_unknown(error: &rusqlite::Error) -> bool {
    if extended_code(error) == Some(rusqlite::ffi::SQLITE_IOERR_WRITE) {
        return false;
    }
    let undone = [
        ErrorCode::DiskFull,
        ErrorCode::ReadOnly,
        ErrorCode::DatabaseBusy,
        ErrorCode::DatabaseLocked,
        ErrorCode::ConstraintViolation,
    ];
    error.sqlite_error_code().is_none_or(|code| !undone.contains(&code))
}

fn reply(job: Job, answer: Answer) {
    // Whoever asked may have gone; what was committed is committed all the same.
    match (job, answer) {
        (Job::Unit { reply, .. }, Answer::Unit(answer)) => drop(reply.send(answer)),
        (Job::Swap { reply, .. }, Answer::Swap(answer)) => drop(reply.send(answer)),
        (job, _) => lose(job),
    }
}

fn refuse(job: Job, why: &str) {
    match job {
        Job::Unit { reply, .. } => {
            let _ = reply.send(Err(CommitError::Unavailable(why.to_owned().into())));
        }
        Job::Swap { reply, .. } => drop(reply.send(Err(why.to_owned().into()))),
    }
}

fn lose(job: Job) {
    match job {
        Job::Unit { reply, .. } => drop(reply.send(Err(CommitError::Lost))),
        Job::Swap { reply, .. } => drop(reply.send(Err(CommitError::Lost.into()))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::Revision;
    use rusqlite::{Connection, ffi};
    use store::{CommitError, LastChanges, NewEntry, Unit};
    use tokio::sync::oneshot;

    use super::{Committing, GoesOn, is_sync_failure, leaves_unknown};
    use crate::batch::{Head, Used};
    use crate::place::Place;
    use crate::queue::Job;
    use crate::statements::Statements;

    fn error(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
    }

    #[test]
    fn n_123_only_an_error_before_the_commit_mark_is_survived() {
        let survived = [
            ffi::SQLITE_FULL,
            ffi::SQLITE_READONLY,
            ffi::SQLITE_READONLY_DBMOVED,
            ffi::SQLITE_IOERR_WRITE,
            ffi::SQLITE_BUSY,
        ];
        let fatal = [
            ffi::SQLITE_IOERR_FSYNC,
            ffi::SQLITE_IOERR_DIR_FSYNC,
            ffi::SQLITE_IOERR_SHMMAP,
            ffi::SQLITE_IOERR_SHMSIZE,
            ffi::SQLITE_IOERR_LOCK,
            ffi::SQLITE_IOERR_NOMEM,
            ffi::SQLITE_IOERR_TRUNCATE,
            ffi::SQLITE_IOERR,
            ffi::SQLITE_NOMEM,
            ffi::SQLITE_CORRUPT,
            ffi::SQLITE_PROTOCOL,
        ];
        for code in survived {
            assert!(!leaves_unknown(&error(code)), "{code}");
        }
        for code in fatal {
            assert!(leaves_unknown(&error(code)), "{code}");
        }
        assert!(is_sync_failure(&error(ffi::SQLITE_IOERR_FSYNC)));
        assert!(!is_sync_failure(&error(ffi::SQLITE_IOERR_WRITE)));
    }

    fn large(number: u8) -> Unit {
        let bytes = vec![number; 16 * 1024];
        let leaf = model::RecordDigest::of(&bytes);
        let entry = NewEntry { id: [number; 16], bytes, leaf, disclosure: None };
        Unit { entries: vec![entry], ..Unit::default() }
    }

    #[test]
    fn n_124_a_full_database_denies_the_batch_and_goes_on_when_there_is_space() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("PRAGMA journal_mode = WAL;").unwrap();
        connection.execute_batch(include_str!("../migrations/0001.sql")).unwrap();
        connection.execute_batch(include_str!("../migrations/0002.sql")).unwrap();
        connection.execute_batch(include_str!("../migrations/0003.sql")).unwrap();
        connection.execute_batch("PRAGMA max_page_count = 60;").unwrap();
        let mut committing = Committing {
            place: Arc::new(Place::of(&path).unwrap()),
            queue: Arc::default(),
            connection: &connection,
            sql: Statements::prepare(&connection).unwrap(),
            head: Head { revision: Revision(0), next: 0 },
            kept_until: Arc::default(),
            clock: Arc::new(testkit::ManualClock::new()),
            used: Used::new(),
            changes: LastChanges::since(Revision(0), 16),
            listeners: Arc::default(),
            on_fatal: Arc::new(|_| panic!("a full disk says nothing about what is durable")),
        };
        let mut commit = |numbers: &[u8]| {
            let (mut jobs, mut answers) = (Vec::new(), Vec::new());
            for number in numbers {
                let (reply, answer) = oneshot::channel();
                jobs.push(Job::Unit { unit: large(*number), reply });
                answers.push(answer);
            }
            assert!(committing.commit(jobs) == GoesOn::Yes);
            let got = answers.into_iter().map(|mut answer| answer.try_recv().unwrap());
            got.map(|answer| answer.map(|committed| committed.indices)).collect::<Vec<_>>()
        };
        assert_eq!(commit(&[1])[0].as_ref().unwrap(), &[0]);
        // All of the batch, or those of it that fitted: never one of them halfway.
        let answers = commit(&[2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
        let denied = |answer: &Result<_, _>| matches!(answer, Err(CommitError::Unavailable(_)));
        let fitted = answers.iter().filter(|answer| answer.is_ok()).count() as u64;
        assert!(answers.iter().any(denied));
        assert!(answers.iter().all(|answer| answer.is_ok() || denied(answer)));
        connection.execute_batch("PRAGMA max_page_count = 10000;").unwrap();
        assert_eq!(commit(&[14])[0].as_ref().unwrap(), &[fitted + 1]);
        let size: i64 =
            connection.query_row("SELECT count(*) FROM leaf", [], |row| row.get(0)).unwrap();
        assert_eq!(size.unsigned_abs(), fitted + 2);
    }
}
