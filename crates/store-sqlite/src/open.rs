//! Opens a database: checked, migrated, exclusively ours, and durable before the first receipt.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use model::{Clock, Revision, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, params};
use store::{ChangeListener, LastChanges};
use tokio::sync::Semaphore;

use crate::batch::{Head, Used, once_key};
use crate::chores::Chores;
use crate::loads::Loads;
use crate::place::{self, Place};
use crate::queue::Queue;
use crate::statements::Statements;
use crate::writer::{OnFatal, Writer};

/// The version of the schema that this build writes.
pub const SCHEMA_VERSION: i64 = 3;

/// Every migration, the first making the schema of version 1.
const MIGRATIONS: [&str; 3] = [
    include_str!("../migrations/0001.sql"),
    include_str!("../migrations/0002.sql"),
    include_str!("../migrations/0003.sql"),
];

/// How many connections read at once what is no load of facts.
const READERS: usize = 4;

/// The most keys whose last change a generation remembers.
const CHANGED_MAX: usize = 131_072;

/// How long a connection waits for another process that looks into the file.
pub(crate) const BUSY: Duration = Duration::from_secs(1);

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be used as a database.
    #[error("could not open the database `{path}`")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The directory cannot be written.
    #[error("could not lock or sync the database `{path}`")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another process has it.
    #[error("the database `{path}` is in use by another process")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A later version wrote it.
    #[error(
        "the database `{path}` has schema version {found}, this build knows {SCHEMA_VERSION}: use a newer build"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// The log of its changes is there, but not the database.
    #[error(
        "the database `{path}` is gone, but the log of its changes is there: put the database back beside it, or move \
         the log away"
    )]
    Gone {
        /// The file.
        path: PathBuf,
    },
    /// The log of what is not yet in the database could not be emptied into it.
    #[error("the database `{path}` could not be brought up to date with its log")]
    NotCheckpointed {
        /// The file.
        path: PathBuf,
    },
}

/// How a database is used.
pub struct Options {
    /// The clock by which batches wait, and whose time, as records carry it, what facts were is kept by.
    pub clock: Arc<dyn Clock>,
    /// Called when a sync failed; it must not return to normal work.
    pub on_fatal: OnFatal,
}

/// The storage contract on one SQLite file.
pub struct SqliteStore {
    pub(crate) queue: Arc<Queue>,
    pub(crate) clock: Arc<dyn Clock>,
    /// When the last change was made of which what was is kept, in milliseconds.
    pub(crate) kept_until: Arc<AtomicI64>,
    pub(crate) listeners: Arc<RwLock<Vec<ChangeListener>>>,
    pub(crate) readers: Arc<Readers>,
    /// The facts that are asked for.
    pub(crate) loads: Arc<Loads>,
    writer: Option<JoinHandle<()>>,
    /// Held as long as the store is used.
    _lock: File,
}

/// The connections that read: at most [`READERS`], and those of loads.
pub(crate) struct Readers {
    pub(crate) place: Arc<Place>,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) idle: Mutex<Vec<Connection>>,
}

impl SqliteStore {
    /// Opens the database at `path`, made if it does not exist.
    pub fn open(path: &Path, options: Options) -> Result<Self, OpenError> {
        let (asked, path) = (path, place::led_to(path));
        let path = path.as_path();
        let lock = lock(path)?;
        let unusable = |source| OpenError::Unusable { path: path.to_owned(), source };
        if place::is_log_alone(path) {
            return Err(OpenError::Gone { path: path.to_owned() });
        }
        let connection = Connection::open(path).map_err(unusable)?;
        configure(&connection).map_err(unusable)?;
        migrate(&connection, path)?;
        let kept_until = keep(&connection, options.clock.now()).map_err(unusable)?;
        let kept_until = Arc::new(AtomicI64::new(kept_until.as_millis()));
        truncate_wal(&connection, path)?;
        sync_directory(path)?;
        let place = Place::of(asked);
        let unwritable = |source| OpenError::Unwritable { path: path.to_owned(), source };
        let place = Arc::new(place.map_err(unwritable)?);
        let head = head(&connection).map_err(unusable)?;
        Statements::prepare(&connection).map(drop).map_err(unusable)?;

        let queue = Arc::new(Queue::default());
        let listeners = Arc::new(RwLock::new(Vec::new()));
        let writer = Writer {
            place: place.clone(),
            used: used(&connection).map_err(unusable)?,
            connection,
            chores: Chores::open(&place, options.on_fatal.clone()).map_err(unusable)?,
            queue: queue.clone(),
            head,
            kept_until: kept_until.clone(),
            changes: LastChanges::since(head.revision, CHANGED_MAX),
            listeners: listeners.clone(),
            clock: options.clock.clone(),
            on_fatal: options.on_fatal,
        };
        #[expect(clippy::disallowed_methods, reason = "the one writer; it ends with the store")]
        let writer = std::thread::spawn(move || writer.run());
        let readers = Arc::new(Readers {
            place,
            places: Arc::new(Semaphore::new(READERS)),
            idle: Mutex::new(Vec::with_capacity(READERS)),
        });
        let clock = options.clock;
        let writer = Some(writer);
        let loads = Arc::new(Loads::default());
        Ok(Self { queue, clock, kept_until, listeners, readers, loads, writer, _lock: lock })
    }

    /// How many batches were synced since it was opened.
    pub fn syncs(&self) -> u64 {
        self.queue.syncs.load(Ordering::Relaxed)
    }
}

impl Drop for SqliteStore {
    /// Lets the writer commit what it took, so that whoever opens the file next is alone.
    fn drop(&mut self) {
        self.queue.close();
        let writer = self.writer.take().filter(|writer| {
            // A listener may have held the last of the store.
            writer.thread().id() != std::thread::current().id()
        });
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            tracing::error!("the writer panicked");
        }
    }
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let unwritable = |source| OpenError::Unwritable { path: path.to_owned(), source };
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(name);
    let file = file.map_err(unwritable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(unwritable(source)),
    }
}

/// A file that was just made is there after a crash only if its directory says so.
fn sync_directory(path: &Path) -> Result<(), OpenError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let synced = File::open(parent.unwrap_or(Path::new("."))).and_then(|parent| parent.sync_all());
    synced.map_err(|source| OpenError::Unwritable { path: path.to_owned(), source })
}

fn configure(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(BUSY)?;
    // A page is two writes into the log of changes and two on the way from there: of 8 KiB fewer are written than of
    // the usual 4 (docs/adr/0004-sqlite-writer.md). A database keeps those that it was made with.
    //
    // FULL: with NORMAL, a power cut loses acknowledged commits. The log of changes is emptied into
    // the database by another connection, never within a commit.
    connection.execute_batch(
        "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
         PRAGMA wal_autocheckpoint = 0; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; \
         PRAGMA cache_size = -16384;",
    )
}

fn migrate(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let unusable = |source| OpenError::Unusable { path: path.to_owned(), source };
    let found: i64 =
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(unusable)?;
    if found > SCHEMA_VERSION {
        return Err(OpenError::Newer { path: path.to_owned(), found });
    }
    for (number, migration) in (1_i64..).zip(MIGRATIONS).skip_while(|(n, _)| *n <= found) {
        let sql = format!("BEGIN IMMEDIATE; {migration} PRAGMA user_version = {number}; COMMIT;");
        connection.execute_batch(&sql).map_err(unusable)?;
    }
    Ok(())
}

/// Begins to keep what facts were, if that was not begun, with what they are at `now`; gives the time of
/// the last change that is kept.
fn keep(connection: &Connection, now: Timestamp) -> Result<Timestamp, rusqlite::Error> {
    let begun = connection.query_row("SELECT at FROM kept_since", [], |row| row.get::<_, i64>(0));
    let Some(begun) = begun.optional()? else {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        connection.execute("INSERT INTO kept_since VALUES (1, ?1)", [now.as_millis()])?;
        for prefix in store::KEPT {
            let sql = "INSERT INTO past SELECT key, revision, ?1, body FROM fact \
                       WHERE key >= ?2 AND key < ?3";
            connection.execute(sql, params![now.as_millis(), prefix, store::prefix_end(prefix)])?;
        }
        connection.execute_batch("COMMIT")?;
        return Ok(now);
    };
    let last = "SELECT max(at) FROM past";
    let last: Option<i64> = connection.query_row(last, [], |row| row.get(0))?;
    Ok(Timestamp::from_millis(last.unwrap_or(begun).max(begun)))
}

fn truncate_wal(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let unusable = |source| OpenError::Unusable { path: path.to_owned(), source };
    let busy: i64 = connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        .map_err(unusable)?;
    if busy == 0 { Ok(()) } else { Err(OpenError::NotCheckpointed { path: path.to_owned() }) }
}

fn head(connection: &Connection) -> Result<Head, rusqlite::Error> {
    connection.query_row("SELECT revision, next FROM head", [], |row| {
        let number = |column| row.get(column).map(i64::unsigned_abs);
        Ok(Head { revision: Revision(number(0)?), next: number(1)? })
    })
}

/// What was used once and is not forgotten.
fn used(connection: &Connection) -> Result<Used, rusqlite::Error> {
    let mut query = connection.prepare("SELECT scope, id FROM once")?;
    let rows = query.query_map([], |row| Ok(once_key(row.get(0)?, &row.get::<_, Vec<u8>>(1)?)))?;
    rows.collect()
}
