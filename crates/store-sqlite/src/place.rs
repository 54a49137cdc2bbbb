//! Where a database lies: its file and the log of its changes, which must stay those that were opened.
//!
//! INVARIANT: no batch is committed, and no connection opened, where one of them is gone or another one. What would be
//! written there could never be found again; and SQLite deletes the log beside an empty database, and with it what was
//! acknowledged last, and takes for the log whatever lies in its place
//! (`n_124_a_reader_makes_no_database_where_one_is_gone`, `n_124_nothing_is_committed_to_a_log_that_is_gone`,
//! `n_124_what_lies_in_the_place_of_the_log_is_not_emptied_into_the_database`).

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, ffi};

use crate::open::BUSY;

/// How many links the kernel follows, one after the other.
const LINKS_MAX: usize = 40;

/// The files of an open database.
pub(crate) struct Place {
    database: Placed,
    log: Placed,
}

/// A file where it was found, with its device and its inode there.
struct Placed {
    path: PathBuf,
    identity: (u64, u64),
}

impl Place {
    /// Where whoever opens `path` next finds the database that was opened at it, and its log.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        Ok(Self { log: Placed::at(log_of(&led_to(&path)))?, database: Placed::at(path)? })
    }

    /// That both files are where they were.
    pub(crate) fn holds(&self) -> Result<(), rusqlite::Error> {
        self.database.holds()?;
        self.log.holds()
    }

    /// One more connection to these files, which makes none.
    pub(crate) fn connection(&self) -> Result<Connection, rusqlite::Error> {
        self.holds()?;
        let flags = OpenFlags::default().difference(OpenFlags::SQLITE_OPEN_CREATE);
        let connection = Connection::open_with_flags(&self.database.path, flags)?;
        connection.busy_timeout(BUSY)?;
        connection.execute_batch("PRAGMA trusted_schema = OFF;")?;
        // SQLite opens the log, or makes one, only when the database is first read.
        connection.pragma_query_value(None, "schema_version", |_| Ok(()))?;
        self.holds()?;
        Ok(connection)
    }

    /// One that only reads.
    pub(crate) fn reader(&self) -> Result<Connection, rusqlite::Error> {
        let connection = self.connection()?;
        connection.execute_batch("PRAGMA query_only = ON;")?;
        Ok(connection)
    }
}

impl Placed {
    fn at(path: PathBuf) -> io::Result<Self> {
        let identity = identity(&path)?;
        Ok(Self { path, identity })
    }

    fn holds(&self) -> Result<(), rusqlite::Error> {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            return Ok(());
        }
        let moved = ffi::Error::new(ffi::SQLITE_READONLY_DBMOVED);
        let path = self.path.display();
        let why = format!(
            "`{path}` is gone or was replaced: put it back; to replace it, stop the service first"
        );
        Err(rusqlite::Error::SqliteFailure(moved, Some(why)))
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Where `path` leads to, though nothing be there: the database is made there, and its log lies beside that.
pub(crate) fn led_to(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let Ok(target) = std::fs::read_link(&path) else { break };
        path.pop();
        path.push(target);
    }
    path
}

/// The log of the changes of the database at `path`.
fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Whether there is a log with changes at `path`, but no database that they are of: to open it would delete them.
pub(crate) fn is_log_alone(path: &Path) -> bool {
    let is_empty = |path: &Path| std::fs::metadata(path).map_or(true, |found| found.len() == 0);
    is_empty(path) && !is_empty(&log_of(path))
}
