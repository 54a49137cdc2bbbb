//! What is SQLite's own: its file, its lock, its version, its log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Clock, FactKey, Timestamp};
use rusqlite::Connection;
use store::{
    CommitError, Effect, NewEntry, NotKept, ONCE_MAX, OnceScope, OpenPermit, Store as _, Unit,
    Urgency,
};
use store_sqlite::{OpenError, SCHEMA_VERSION};
use testkit::ManualClock;

use super::{fresh, open, open_by};
use store::suite::BackEnd as _;

/// A unit that writes a fact and, where there is a number, a record of that number.
fn unit(number: Option<u64>) -> Unit {
    let key = FactKey::from_text("a");
    let entry = number.map(|number| {
        let bytes = number.to_string().into_bytes();
        let mut id = [1; 16];
        id[8..].copy_from_slice(&number.to_be_bytes());
        NewEntry { id, leaf: model::RecordDigest::of(&bytes), bytes, disclosure: None }
    });
    let effects = vec![Effect::Put { key, body: b"1".to_vec() }];
    Unit { entries: entry.into_iter().collect(), effects, ..Unit::default() }
}

fn once(number: u64) -> Unit {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let expires = Timestamp::from_millis(5_000);
    let effects = vec![Effect::UseOnce { scope: OnceScope::Proof, id, expires }];
    Unit { effects, ..Unit::default() }
}

#[tokio::test]
async fn a_newer_database_is_refused_with_its_version() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    drop(open(&path).unwrap());
    let newer = SCHEMA_VERSION + 1;
    Connection::open(&path).unwrap().pragma_update(None, "user_version", newer).unwrap();
    let error = open(&path).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found, .. } if found == newer), "{error}");
    assert!(error.to_string().contains("use a newer build"), "{error}");
}

#[tokio::test]
async fn n_104_a_database_in_use_is_not_opened_twice() {
    let back_end = fresh().await;
    let link = back_end.path().with_file_name("link");
    std::os::unix::fs::symlink("db", &link).unwrap();
    for path in [back_end.path(), link] {
        let again = open(&path).map(drop).unwrap_err();
        assert!(matches!(again, OpenError::InUse { .. }), "{again}");
    }
}

/// Where its lock is removed another one opens it: what that one commits, the first one does not go on beside.
#[tokio::test]
async fn n_104_who_was_followed_on_a_database_commits_nothing_more() {
    let back_end = fresh().await;
    let first = back_end.store();
    first.commit(unit(Some(0))).await.unwrap();
    std::fs::remove_file(back_end.path().with_file_name("db.lock")).unwrap();
    let second = open(&back_end.path()).unwrap();
    second.commit(unit(Some(1))).await.unwrap();
    for number in [None, Some(2)] {
        let refused = first.commit(unit(number)).await.unwrap_err();
        assert!(matches!(refused, CommitError::Unavailable(_)), "{refused}");
    }
    second.commit(unit(Some(3))).await.unwrap();
    assert_eq!(second.log_size().await.unwrap(), 3);
}

#[tokio::test]
async fn what_is_no_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    std::fs::write(&path, [b'x'; 4_096]).unwrap();
    let error = open(&path).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::Unusable { .. }), "{error}");
}

#[tokio::test]
async fn a_dropped_store_commits_what_it_took_and_lets_go_of_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    for round in 0..20 {
        let store = open(&path).unwrap();
        assert_eq!(store.log_size().await.unwrap(), round * 2);
        store.commit(unit(Some(round))).await.unwrap();
        // What nobody waits for is not committed before the store is dropped.
        let mut commit = store.commit(Unit { urgency: Urgency::Deferred, ..unit(Some(round)) });
        let polled = std::pin::Pin::new(&mut commit);
        let noop = std::task::Waker::noop();
        let polled = polled.poll(&mut std::task::Context::from_waker(noop));
        assert!(polled.is_pending());
        drop(commit);
        drop(store);
    }
}

#[tokio::test]
async fn the_start_empties_the_log_into_the_database() {
    let back_end = fresh().await;
    for number in 0..20 {
        back_end.store().commit(unit(Some(number))).await.unwrap();
    }
    let wal = back_end.path().with_file_name("db-wal");
    assert!(std::fs::metadata(&wal).unwrap().len() > 0);
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(back_end.path(), copy.path().join("db")).unwrap();
    std::fs::copy(&wal, copy.path().join("db-wal")).unwrap();
    let restarted = open(&copy.path().join("db")).unwrap();
    assert_eq!(std::fs::metadata(copy.path().join("db-wal")).unwrap().len(), 0);
    assert_eq!(restarted.log_size().await.unwrap(), 20);
}

/// What is acknowledged and not in the database yet is in its log alone, which SQLite deletes beside an empty database.
#[tokio::test]
async fn n_124_a_reader_makes_no_database_where_one_is_gone() {
    let back_end = fresh().await;
    back_end.store().commit(unit(Some(0))).await.unwrap();
    let (path, aside) = (back_end.path(), back_end.path().with_file_name("aside"));
    std::fs::rename(&path, &aside).unwrap();
    // Nobody has read before: whoever does opens a connection.
    for is_empty in [false, true] {
        if is_empty {
            std::fs::write(&path, b"").unwrap();
        }
        assert!(back_end.store().load(&[FactKey::from_text("a")]).await.is_err());
        assert!(back_end.store().log_size().await.is_err());
        assert_eq!(path.exists(), is_empty);
        let refused = back_end.store().commit(unit(Some(1))).await.unwrap_err();
        assert!(matches!(refused, CommitError::Unavailable(_)), "{refused}");
    }
    std::fs::rename(&aside, &path).unwrap();
    assert_eq!(back_end.store().log_size().await.unwrap(), 1);
    back_end.store().commit(unit(Some(2))).await.unwrap();
    assert_eq!(back_end.killed().await.log_size().await.unwrap(), 2);
}

/// A log without a name is gone with the process: nothing that is written into it is acknowledged.
#[tokio::test]
async fn n_124_nothing_is_committed_to_a_log_that_is_gone() {
    let back_end = fresh().await;
    back_end.store().commit(unit(Some(0))).await.unwrap();
    let (log, aside) =
        (back_end.path().with_file_name("db-wal"), back_end.path().with_file_name("aside"));
    std::fs::rename(&log, &aside).unwrap();
    for _ in 0..2 {
        let refused = back_end.store().commit(unit(Some(1))).await.unwrap_err();
        assert!(matches!(refused, CommitError::Unavailable(_)), "{refused}");
        std::fs::write(&log, b"another one").unwrap();
    }
    std::fs::rename(&aside, &log).unwrap();
    back_end.store().commit(unit(Some(2))).await.unwrap();
    assert_eq!(back_end.killed().await.log_size().await.unwrap(), 2);
}

/// A link that was led elsewhere is what a restart would follow.
#[tokio::test]
async fn n_124_nothing_is_committed_where_a_restart_would_not_find_it() {
    let directory = tempfile::tempdir().unwrap();
    let (link, path) = (directory.path().join("state"), directory.path().join("state/db"));
    let lead = |to: &str| {
        std::fs::create_dir_all(directory.path().join(to)).unwrap();
        std::fs::remove_file(&link).ok();
        std::os::unix::fs::symlink(to, &link).unwrap();
    };
    lead("other");
    drop(open(&path).unwrap());
    lead("one");
    let store = open(&path).unwrap();
    store.commit(unit(Some(0))).await.unwrap();
    lead("other");
    let refused = store.commit(unit(Some(1))).await.unwrap_err();
    assert!(matches!(refused, CommitError::Unavailable(_)), "{refused}");
    assert!(store.log_size().await.is_err(), "nobody has read before");
    lead("one");
    store.commit(unit(Some(1))).await.unwrap();
    assert_eq!(store.log_size().await.unwrap(), 2);
}

/// What ends well while a file is aside leaves the rest as it is, for when that one is back.
#[tokio::test]
async fn n_124_what_is_closed_while_a_file_is_aside_is_whole_when_it_is_back() {
    for name in ["db", "db-wal"] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        let (file, aside) = (directory.path().join(name), directory.path().join("aside"));
        let store = open(&path).unwrap();
        for number in 0..8 {
            store.commit(unit(Some(number))).await.unwrap();
        }
        assert_eq!(store.log_size().await.unwrap(), 8);
        std::fs::rename(&file, &aside).unwrap();
        drop(store);
        assert!(!file.exists(), "{name}");
        std::fs::rename(&aside, &file).unwrap();
        assert_eq!(open(&path).unwrap().log_size().await.unwrap(), 8, "{name}");
    }
}

/// What empties the log has it open from the start: what it found in its place later it would take for it, and write
/// that into the database.
#[tokio::test]
async fn n_124_what_lies_in_the_place_of_the_log_is_not_emptied_into_the_database() {
    let back_end = fresh().await;
    let store = back_end.store();
    let (path, log) = (back_end.path(), back_end.path().with_file_name("db-wal"));
    let aside = log.with_file_name("aside");
    let mut records = 0..;
    for record in records.by_ref().take(8) {
        store.commit(unit(Some(record))).await.unwrap();
    }
    std::fs::rename(&log, &aside).unwrap();
    // As many batches as let it be emptied, though none is committed.
    for _ in 0..256 {
        store.commit(unit(None)).await.unwrap_err();
    }
    assert!(!log.exists(), "none is made in its place");
    std::fs::rename(&aside, &log).unwrap();
    let written = || std::fs::metadata(&path).unwrap().modified().unwrap();
    let (before, began) = (written(), Instant::now());
    let mut last = 0;
    while written() == before {
        last = records.next().unwrap();
        store.commit(unit(Some(last))).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(30), "it is never emptied");
    }
    assert_eq!(back_end.killed().await.log_size().await.unwrap(), last + 1);
}

/// To make a database where one is gone would delete the log of its changes.
#[tokio::test]
async fn n_124_no_database_is_made_beside_a_log_of_another() {
    let back_end = fresh().await;
    back_end.store().commit(unit(Some(0))).await.unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let (path, log) = (elsewhere.path().join("db"), elsewhere.path().join("db-wal"));
    std::fs::copy(back_end.path().with_file_name("db-wal"), &log).unwrap();
    let links = tempfile::tempdir().unwrap();
    let (link, next) = (links.path().join("db"), links.path().join("next"));
    std::os::unix::fs::symlink("next", &link).unwrap();
    std::os::unix::fs::symlink(&path, next).unwrap();
    for is_empty in [false, true] {
        if is_empty {
            std::fs::write(&path, b"").unwrap();
        }
        for asked in [&path, &link] {
            let refused = open(asked).map(drop).unwrap_err();
            assert!(matches!(refused, OpenError::Gone { .. }), "{refused}");
            assert!(refused.to_string().contains("put the database back"), "{refused}");
        }
    }
    std::fs::copy(back_end.path(), &path).unwrap();
    assert_eq!(open(&path).unwrap().log_size().await.unwrap(), 1);
}

#[tokio::test]
async fn a_database_has_the_pages_that_it_was_made_with() {
    let directory = tempfile::tempdir().unwrap();
    for (before, size) in [(None, 8_192), (Some(4_096), 4_096)] {
        let path = directory.path().join(format!("db-{size}"));
        if let Some(before) = before {
            let made = format!("PRAGMA page_size = {before}; PRAGMA journal_mode = WAL;");
            Connection::open(&path).unwrap().execute_batch(&made).unwrap();
        }
        let store = open(&path).unwrap();
        assert_eq!(store.commit(unit(Some(0))).await.unwrap().indices, [0]);
        drop(store);
        let read = Connection::open(&path).unwrap();
        let found = read.query_row("PRAGMA page_size", [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(found, size);
    }
}

#[tokio::test]
async fn somebody_who_holds_the_write_lock_makes_it_deny_and_not_hang() {
    let back_end = fresh().await;
    let store = back_end.store();
    store.commit(unit(Some(0))).await.unwrap();
    let other = Connection::open(back_end.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let began = Instant::now();
    let denied = store.commit(unit(Some(1))).await.unwrap_err();
    assert!(matches!(denied, CommitError::Unavailable(_)), "{denied:?}");
    // It is waited for a second; a busy machine stands still for a few more.
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(store.commit(unit(Some(2))).await.unwrap().indices, [1]);
}

#[tokio::test]
async fn n_113_a_full_table_of_used_things_refuses_and_forgets_nothing_early() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    drop(open(&path).unwrap());
    let fill = format!(
        "PRAGMA synchronous = OFF; BEGIN; \
         WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {}) \
         INSERT INTO once (scope, id, expires) SELECT 1, CAST(printf('%016d%016d', n, n) AS BLOB), 1000 FROM n; COMMIT;",
        ONCE_MAX - 1
    );
    Connection::open(&path).unwrap().execute_batch(&fill).unwrap();
    let store = open(&path).unwrap();
    store.commit(once(1)).await.unwrap();
    let refused = store.commit(once(2)).await.unwrap_err();
    assert!(matches!(refused, CommitError::Unavailable(_)), "{refused:?}");
    // A unit that uses nothing up is no worse off.
    store.commit(unit(None)).await.unwrap();
    store.forget_expired(Timestamp::from_millis(1_000)).await.unwrap();
    store.commit(once(2)).await.unwrap_err();
    store.forget_expired(Timestamp::from_millis(1_001)).await.unwrap();
    store.commit(once(2)).await.unwrap();
    let again = store.commit(once(1)).await.unwrap_err();
    assert!(matches!(again, CommitError::Used(_)), "{again:?}");
}

/// What the facts of `store` below `agent/` were at `at`, or since when that is kept.
async fn was(store: &dyn store::Store, at: Timestamp) -> Result<Vec<Vec<u8>>, Timestamp> {
    let page = store.list_as_of(("agent/", at), None, 10).await.unwrap();
    let bodies = |page: store::Page| page.facts.into_iter().map(|(_, body)| body).collect();
    page.map(bodies).map_err(|why| match why {
        NotKept::Since(since) => since,
        NotKept::Ahead(until) => panic!("ahead until {until}"),
    })
}

/// A database of before what was is kept begins with what is: of before that, nobody knows.
#[tokio::test]
async fn what_was_is_kept_from_the_migration_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(include_str!("../../migrations/0001.sql")).unwrap();
    let facts = "INSERT INTO fact VALUES ('agent/a', 1, x'6f6c64'), ('other/a', 1, x'00');";
    connection.execute_batch(facts).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    drop(connection);
    let clock = Arc::new(ManualClock::new());
    let migrated = clock.wall();
    let store = open_by(&path, clock.clone()).unwrap();
    let before = Timestamp::from_millis(migrated.as_millis() - 1);
    assert_eq!(was(&store, before).await, Err(migrated));
    assert_eq!(was(&store, migrated).await, Ok(vec![b"old".to_vec()]));
    clock.advance(Duration::from_secs(1));
    drop(store);
    // It began once.
    let store = open_by(&path, clock.clone()).unwrap();
    assert_eq!(was(&store, before).await, Err(migrated));
}

/// Of a permit of before it was kept nothing is known when it is closed.
#[tokio::test]
async fn a_permit_of_before_the_migration_is_open_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(include_str!("../../migrations/0001.sql")).unwrap();
    connection.execute_batch(include_str!("../../migrations/0002.sql")).unwrap();
    connection.execute_batch("INSERT INTO open_permit VALUES (7);").unwrap();
    connection.pragma_update(None, "user_version", 2).unwrap();
    drop(connection);
    let store = open(&path).unwrap();
    assert_eq!(store.open_permits().await.unwrap(), [OpenPermit { index: 7, body: None }]);
    let effects = vec![Effect::ClosePermit { index: 7 }];
    store.commit(Unit { effects, ..unit(Some(0)) }).await.unwrap();
    assert_eq!(store.open_permits().await.unwrap(), []);
}

/// What was is in the order of what changed it, though the wall clock ran back, over a restart too.
#[tokio::test]
async fn a_wall_clock_that_runs_back_puts_nothing_before_what_was() {
    let directory = tempfile::tempdir().unwrap();
    let (path, clock) = (directory.path().join("db"), Arc::new(ManualClock::new()));
    let begun = clock.wall();
    let write = async |store: &dyn store::Store, body: &str| {
        let effects = vec![Effect::Put {
            key: FactKey::from_text("agent/a"),
            body: body.as_bytes().to_vec(),
        }];
        store.commit(Unit { effects, ..Unit::default() }).await.unwrap();
    };
    let store = open_by(&path, clock.clone()).unwrap();
    clock.advance(Duration::from_mins(1));
    write(&store, "1").await;
    clock.step_wall(-1_500);
    write(&store, "2").await;
    drop(store);
    let store = open_by(&path, clock.clone()).unwrap();
    write(&store, "3").await;
    let at = begun.plus(Duration::from_mins(1));
    assert_eq!(was(&store, at).await, Ok(vec![b"3".to_vec()]));
    let before = Timestamp::from_millis(at.as_millis() - 1);
    assert_eq!(was(&store, before).await, Ok(Vec::new()));
}

/// A clock whose wall is wrong, while it tells the time as it was before that.
struct Stepped(ManualClock);

impl Clock for Stepped {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn wall(&self) -> Timestamp {
        self.0.wall().plus(Duration::from_hours(365 * 24))
    }
}

/// What was is kept by the time that records carry, whatever the wall shows.
#[tokio::test]
async fn what_was_is_kept_by_the_time_that_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(Stepped(ManualClock::new()));
    let begun = clock.now();
    let store = open_by(&directory.path().join("db"), clock.clone()).unwrap();
    clock.0.advance(Duration::from_secs(1));
    let effects = vec![Effect::Put { key: FactKey::from_text("agent/a"), body: b"1".to_vec() }];
    store.commit(Unit { effects, ..Unit::default() }).await.unwrap();
    assert_eq!(was(&store, begun).await, Ok(Vec::new()));
    assert_eq!(was(&store, clock.now()).await, Ok(vec![b"1".to_vec()]));
}
