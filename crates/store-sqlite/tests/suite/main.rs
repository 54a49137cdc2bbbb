//! The conformance suite on SQLite, and what is SQLite's own.
#![allow(clippy::disallowed_methods, reason = "tests race, wait and read the clock")]

mod faults;
mod files;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use model::Clock;
use rusqlite::Connection;
use store::Store;
use store::suite::BackEnd;
use store_sqlite::{OpenError, Options, SqliteStore};
use testkit::ManualClock;

/// Opens `path` as a service does, but for the end of the process.
fn open(path: &Path) -> Result<SqliteStore, OpenError> {
    open_by(path, Arc::new(ManualClock::new()))
}

/// The same, by `clock`.
fn open_by(path: &Path, clock: Arc<dyn Clock>) -> Result<SqliteStore, OpenError> {
    let on_fatal = Arc::new(|error| panic!("{error}"));
    SqliteStore::open(path, Options { clock, on_fatal })
}

struct Sqlite {
    directory: tempfile::TempDir,
    store: Arc<dyn Store>,
    clock: Arc<ManualClock>,
    copies: Mutex<Vec<tempfile::TempDir>>,
}

async fn fresh() -> Sqlite {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new());
    let store = Arc::new(open_by(&directory.path().join("db"), clock.clone()).unwrap());
    Sqlite { directory, store, clock, copies: Mutex::default() }
}

impl Sqlite {
    fn path(&self) -> PathBuf {
        self.directory.path().join("db")
    }
}

/// Statements that would change what must not change.
const TAMPERING: [&str; 17] = [
    "UPDATE leaf SET bytes = x'00' WHERE idx = 1",
    "UPDATE leaf SET idx = 9 WHERE idx = 2",
    "UPDATE OR REPLACE leaf SET idx = 0 WHERE idx = 1",
    "DELETE FROM leaf WHERE idx = 2",
    "DELETE FROM leaf",
    "INSERT OR REPLACE INTO leaf VALUES (1, x'00', x'00', x'00')",
    "REPLACE INTO leaf SELECT 0, id, bytes, hash FROM leaf WHERE idx = 1",
    "INSERT INTO leaf VALUES (1, x'00', x'00', x'00') ON CONFLICT (idx) DO UPDATE SET bytes = x'00'",
    "INSERT INTO leaf VALUES (4, x'00', x'00', x'00')",
    "INSERT INTO leaf VALUES (-1, x'00', x'00', x'00')",
    "UPDATE head SET next = 1",
    "UPDATE head SET revision = 0",
    "DELETE FROM head",
    "INSERT OR REPLACE INTO head VALUES (1, 0, 0)",
    "UPDATE checkpoint SET size = 1",
    "DELETE FROM checkpoint",
    "INSERT OR REPLACE INTO checkpoint VALUES (1, 1, x'00')",
];

#[async_trait]
impl BackEnd for Sqlite {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    fn step(&self, by_ms: i64) {
        self.clock.step_wall(by_ms);
    }

    /// What a killed process leaves behind is what its files hold now; its locks go with it.
    async fn killed(&self) -> Arc<dyn Store> {
        let copy = tempfile::tempdir().unwrap();
        for name in ["db", "db-wal"] {
            std::fs::copy(self.directory.path().join(name), copy.path().join(name)).unwrap();
        }
        let store = Arc::new(open_by(&copy.path().join("db"), self.clock.clone()).unwrap());
        self.copies.lock().unwrap().push(copy);
        store
    }

    async fn tampered(&self) -> Vec<String> {
        let connection = Connection::open(self.path()).unwrap();
        let done = |sql: &&&str| connection.execute_batch(sql).is_ok();
        TAMPERING.iter().filter(done).map(|sql| (*sql).to_owned()).collect()
    }
}

mod conformance {
    use super::fresh;

    store::conformance!(fresh);
}
