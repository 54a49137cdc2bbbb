//! Opens a database: checked, migrated, exclusively ours, and durable before the first receipt.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock, mpsc};
use std::time::Duration;

use model::{Clock, Revision};
use rusqlite::Connection;
use store::ChangeListener;

use crate::batch::{Head, LastChanges};
use crate::writer::{Job, OnFatal, Writer};

/// The version of the schema that this build writes.
pub const SCHEMA_VERSION: i64 = 1;

/// Every migration, the first making the schema of version 1.
const MIGRATIONS: [&str; 1] = [include_str!("../migrations/0001.sql")];

/// How many connections read at once.
const READERS: usize = 4;

/// How long one writing connection waits for the other, which replaces checkpoints.
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
    #[error("could not lock the database `{path}`")]
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
    /// The log of what is not yet in the database could not be emptied into it.
    #[error("the database `{path}` could not be brought up to date with its log")]
    NotCheckpointed {
        /// The file.
        path: PathBuf,
    },
}

/// How a database is used.
pub struct Options {
    /// The monotonic clock by which batches wait.
    pub clock: Arc<dyn Clock>,
    /// Called when a sync failed; it must not return to normal work.
    pub on_fatal: OnFatal,
}

/// The storage contract on one SQLite file.
pub struct SqliteStore {
    pub(crate) jobs: mpsc::SyncSender<Job>,
    pub(crate) announced: Arc<AtomicUsize>,
    pub(crate) listeners: Arc<RwLock<Vec<ChangeListener>>>,
    pub(crate) readers: Arc<Mutex<Vec<Connection>>>,
    pub(crate) path: PathBuf,
    syncs: Arc<AtomicU64>,
    /// Held as long as the store is used.
    _lock: File,
}

impl SqliteStore {
    /// Opens the database at `path`, made if it does not exist.
    pub fn open(path: &Path, options: Options) -> Result<Self, OpenError> {
        let lock = lock(path)?;
        let unusable = |source| OpenError::Unusable { path: path.to_owned(), source };
        let connection = Connection::open(path).map_err(unusable)?;
        configure(&connection).map_err(unusable)?;
        migrate(&connection, path)?;
        truncate_wal(&connection, path)?;
        let head = head(&connection).map_err(unusable)?;

        let (jobs, queue) = mpsc::sync_channel(store::QUEUE_MAX);
        let announced = Arc::new(AtomicUsize::new(0));
        let listeners = Arc::new(RwLock::new(Vec::new()));
        let syncs = Arc::new(AtomicU64::new(0));
        let writer = Writer {
            connection,
            jobs: queue,
            head,
            changes: LastChanges { floor: head.revision, ..LastChanges::default() },
            announced: announced.clone(),
            listeners: listeners.clone(),
            syncs: syncs.clone(),
            clock: options.clock,
            on_fatal: options.on_fatal,
        };
        std::thread::spawn(move || writer.run());
        let readers = (0..READERS).map(|_| reader(path)).collect::<Result<_, _>>();
        let readers = Arc::new(Mutex::new(readers.map_err(unusable)?));
        let path = path.to_owned();
        Ok(Self { jobs, announced, listeners, readers, path, syncs, _lock: lock })
    }

    /// How many batches were synced since it was opened.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
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

fn configure(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.set_prepared_statement_cache_capacity(64);
    connection.busy_timeout(BUSY)?;
    // FULL: with NORMAL, a power cut loses acknowledged commits. The log of changes is emptied into
    // the database by another connection, never within a commit.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; \
         PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA cache_size = -16384;",
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

fn truncate_wal(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let unusable = |source| OpenError::Unusable { path: path.to_owned(), source };
    let busy: i64 = connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        .map_err(unusable)?;
    if busy == 0 { Ok(()) } else { Err(OpenError::NotCheckpointed { path: path.to_owned() }) }
}

fn head(connection: &Connection) -> Result<Head, rusqlite::Error> {
    connection.query_row("SELECT revision, next FROM head", [], |row| {
        let (revision, next): (i64, i64) = (row.get(0)?, row.get(1)?);
        Ok(Head { revision: Revision(revision.unsigned_abs()), next: next.unsigned_abs() })
    })
}

/// A connection that only reads.
pub(crate) fn reader(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(1))?;
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA trusted_schema = OFF;")?;
    Ok(connection)
}
