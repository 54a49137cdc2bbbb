//! Integration under faults: whatever fails, what is published is one history, and it goes on.

use std::sync::Arc;

use journal::{IntegrateError, Integrator};
use testkit::{Call, Fault, FaultyStore};

use super::support::{Log, append, records, verify_as_outsider};

/// What is broken while one step is made.
#[derive(Clone, Copy, Debug)]
enum Broken {
    /// A call to the store.
    Call(Call, Fault),
    /// A call that hangs, until whoever waits gives the step up.
    GivenUp(Call, Fault),
    /// A path in the log's directory that cannot be written.
    Path(&'static str),
}

fn kind(error: &IntegrateError) -> &'static str {
    match error {
        IntegrateError::Unread(_) => "unread",
        IntegrateError::Unpublished(_) => "unpublished",
        IntegrateError::Unseen(_) => "unseen",
        IntegrateError::Unsignable(_) => "unsignable",
        IntegrateError::Lost(_) => "lost",
        IntegrateError::NotAsCommitted(_) => "not as committed",
        IntegrateError::Inconsistent(_) => "inconsistent",
    }
}

/// Each step × how it fails, and what the step then says.
const ROWS: [(Broken, &str); 16] = [
    (Broken::Call(Call::Entries, Fault::Fail), "unread"),
    (Broken::Call(Call::Entries, Fault::FailButPersist), "unread"),
    (Broken::Call(Call::Entries, Fault::Garbage), "not as committed"),
    (Broken::Call(Call::Entries, Fault::Hang), "hangs"),
    (Broken::GivenUp(Call::Entries, Fault::Hang), "given up"),
    (Broken::Path("tile/entries"), "unpublished"),
    (Broken::Path("tile/0"), "unpublished"),
    (Broken::Call(Call::SwapCheckpoint, Fault::Fail), "lost"),
    (Broken::Call(Call::SwapCheckpoint, Fault::FailButPersist), "lost"),
    (Broken::Call(Call::SwapCheckpoint, Fault::Hang), "hangs"),
    (Broken::Call(Call::SwapCheckpoint, Fault::PersistAndHang), "hangs"),
    (Broken::GivenUp(Call::SwapCheckpoint, Fault::Hang), "given up"),
    (Broken::GivenUp(Call::SwapCheckpoint, Fault::PersistAndHang), "given up"),
    (Broken::Path("checkpoint"), "unpublished"),
    (Broken::Call(Call::Checkpoint, Fault::Fail), "done"),
    (Broken::Call(Call::Load, Fault::Fail), "done"),
];

/// How many records are integrated before, and how many come then: the first checkpoint, within a
/// bundle, to its end, and over it.
const STATES: [(u64, u64); 4] = [(0, 5), (3, 5), (250, 6), (250, 20)];

/// Makes `path` a thing that cannot be written as the log wants to; gives what puts it back.
fn block(log: &Log, path: &str) -> impl FnOnce() {
    let (path, aside) = (log.file(path), log.file("aside"));
    let was_there = path.exists();
    if was_there {
        std::fs::rename(&path, &aside).unwrap();
    }
    if path.ends_with("checkpoint") {
        std::fs::create_dir_all(path.join("in the way")).unwrap();
    } else {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "in the way").unwrap();
    }
    move || {
        if path.is_dir() {
            std::fs::remove_dir_all(&path).unwrap();
        } else {
            std::fs::remove_file(&path).unwrap();
        }
        if was_there {
            std::fs::rename(&aside, &path).unwrap();
        }
    }
}

/// Makes one step with `broken`; gives what it said, and the integrator.
async fn broken_step(
    log: &Log,
    store: &Arc<FaultyStore>,
    mut integrator: Integrator,
    broken: Broken,
) -> (String, Integrator) {
    let said = |step: Result<Option<Vec<u8>>, IntegrateError>| match step {
        Ok(_) => "done".to_owned(),
        Err(error) => kind(&error).to_owned(),
    };
    match broken {
        Broken::Path(path) => {
            let put_back = block(log, path);
            let step = integrator.step().await;
            put_back();
            (said(step), integrator)
        }
        Broken::Call(call, fault @ (Fault::Hang | Fault::PersistAndHang)) => {
            store.once(call, fault);
            let step = tokio::spawn(async move {
                let step = integrator.step().await;
                (step, integrator)
            });
            store.hanging(call, 1).await;
            store.heal();
            let (step, integrator) = step.await.unwrap();
            assert_eq!(said(step), "done");
            ("hangs".to_owned(), integrator)
        }
        Broken::GivenUp(call, fault) => {
            store.once(call, fault);
            tokio::select! {
                step = integrator.step() => panic!("it should hang: {step:?}"),
                () = store.hanging(call, 1) => {}
            }
            store.heal();
            ("given up".to_owned(), integrator)
        }
        Broken::Call(call, fault) => {
            store.once(call, fault);
            let step = integrator.step().await;
            store.heal();
            (said(step), integrator)
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i_15_whatever_fails_the_checkpoints_stay_consistent_and_it_goes_on() {
    for (before, more) in STATES {
        for (broken, expected) in ROWS {
            let row = format!("{before} + {more}, {broken:?}");
            let log = Log::new();
            let store = FaultyStore::over(log.store());
            let all = records(before + more);
            let (old, new) = all.split_at(usize::try_from(before).unwrap());
            append(store.as_ref(), old).await;
            let mut integrator = log.integrator(store.clone()).await;
            let seen = integrator.step().await.unwrap();
            if before > 0 {
                append(store.as_ref(), new).await;
            } else {
                // The first checkpoint is of an empty log.
                append(store.as_ref(), &all).await;
            }
            let (said, mut integrator) = broken_step(&log, &store, integrator, broken).await;
            assert_eq!(said, expected, "{row}");
            // Whoever looks now sees one history that continues what was seen before.
            verify_as_outsider(&log, seen.as_deref());

            integrator.step().await.unwrap();
            assert_eq!(integrator.step().await.unwrap(), None, "{row}");
            assert_eq!(verify_as_outsider(&log, seen.as_deref()), before + more, "{row}");

            drop((integrator, store));
            let mut reopened = log.integrator(log.store()).await;
            assert_eq!(reopened.step().await.unwrap(), None, "{row}");
            assert_eq!(verify_as_outsider(&log, seen.as_deref()), before + more, "{row}");
        }
    }
}

/// A swap that the store only says it made: the log stops, and does not fork.
#[tokio::test]
async fn i_15_a_store_that_lies_about_the_swap_stops_the_log() {
    let log = Log::new();
    let store = FaultyStore::over(log.store());
    append(store.as_ref(), &records(5)).await;
    let mut integrator = log.integrator(store.clone()).await;
    store.once(Call::SwapCheckpoint, Fault::Garbage);
    let seen = integrator.step().await.unwrap();
    append(store.as_ref(), &records(7)[5..]).await;
    assert_eq!(kind(&integrator.step().await.unwrap_err()), "lost");
    for _ in 0..3 {
        assert_eq!(kind(&integrator.step().await.unwrap_err()), "inconsistent");
        assert_eq!(verify_as_outsider(&log, seen.as_deref()), 5);
    }
}

/// Two that integrate one log, each sure to be the only one.
#[tokio::test]
async fn n_104_of_two_integrators_one_makes_the_checkpoint() {
    let log = Log::new();
    let store = log.store();
    append(store.as_ref(), &records(3)).await;
    let mut one = log.integrator(store.clone()).await;
    one.step().await.unwrap();
    let mut other = log.integrator(store.clone()).await;
    append(store.as_ref(), &records(9)[3..]).await;
    let seen = one.step().await.unwrap();
    assert_eq!(kind(&other.step().await.unwrap_err()), "lost");
    assert_eq!(verify_as_outsider(&log, seen.as_deref()), 9);
    assert_eq!(other.step().await.unwrap(), None, "it has read the newest again");
    append(store.as_ref(), &records(12)[9..]).await;
    other.step().await.unwrap().unwrap();
    assert_eq!(kind(&one.step().await.unwrap_err()), "lost");
    assert_eq!(verify_as_outsider(&log, seen.as_deref()), 12);
}

/// A database put back to an older state would sign another history of sizes already published.
#[tokio::test]
async fn n_104_a_database_put_back_does_not_fork_the_log() {
    let log = Log::of(&records(4)).await;
    let backup = std::fs::read(log.database()).unwrap();
    let store = log.store();
    append(store.as_ref(), &records(8)[4..]).await;
    let mut integrator = log.integrator(store.clone()).await;
    let seen = integrator.step().await.unwrap();
    drop((integrator, store));
    std::fs::write(log.database(), backup).unwrap();
    std::fs::remove_file(log.database().with_file_name("db-wal")).ok();
    let error = log.try_integrator(log.store()).await.map(drop).unwrap_err();
    assert_eq!(kind(&error), "inconsistent", "{error}");
    assert!(error.to_string().contains("put back"), "{error}");
    assert_eq!(verify_as_outsider(&log, seen.as_deref()), 8);
}

/// A checkpoint that cannot be read may be one of a newer database: nothing is published over it.
#[tokio::test]
async fn n_104_what_is_published_is_not_replaced_unread() {
    let log = Log::of(&records(4)).await;
    let (store, seen) = (log.store(), log.read("checkpoint"));
    log.write("checkpoint", b"example.com/log\n");
    let error = log.try_integrator(store.clone()).await.map(drop).unwrap_err();
    assert_eq!(kind(&error), "inconsistent", "{error}");
    let put_back = block(&log, "checkpoint");
    let error = log.try_integrator(store.clone()).await.map(drop).unwrap_err();
    assert_eq!(kind(&error), "unseen", "{error}");
    put_back();
    assert_eq!(log.read("checkpoint"), b"example.com/log\n");
    log.write("checkpoint", &seen);
    drop(log.integrator(store).await);
    assert_eq!(verify_as_outsider(&log, Some(&seen)), 4);
}

/// Tiles are a function of the records: lost or damaged ones are made again.
#[tokio::test]
async fn tiles_that_are_gone_or_damaged_are_made_again() {
    let damage: [fn(&Log); 3] = [
        |log| std::fs::remove_dir_all(log.file("tile")).unwrap(),
        |log| std::fs::remove_dir_all(log.path()).unwrap(),
        |log| {
            let name = "tile/0/001.p/44";
            let mut bytes = log.read(name);
            bytes[40] ^= 1;
            log.write(name, &bytes);
        },
    ];
    for damage in damage {
        let log = Log::of(&records(300)).await;
        let seen = log.read("checkpoint");
        damage(&log);
        drop(log.integrator(log.store()).await);
        assert_eq!(verify_as_outsider(&log, Some(&seen)), 300);
    }
}

/// What is published while the log is gone from its place has no holes, which no later start would fill.
#[tokio::test]
async fn a_log_that_is_taken_away_while_it_grows_is_made_again() {
    let log = Log::new();
    let store = log.store();
    let mut integrator = log.integrator(store.clone()).await;
    let all = records(1_101);
    append(store.as_ref(), &all[..300]).await;
    let seen = integrator.step().await.unwrap().unwrap();
    for (from, to) in [(300, 300), (300, 600), (600, 900)] {
        std::fs::remove_dir_all(log.path()).unwrap();
        append(store.as_ref(), &all[from..to]).await;
        assert_eq!(integrator.step().await.unwrap().is_some(), to > from);
        assert_eq!(verify_as_outsider(&log, Some(&seen)), to as u64);
    }
    // Where all that is around it is gone, too, nothing is made in its place.
    let elsewhere = tempfile::tempdir().unwrap();
    let (aside, path) = (elsewhere.path().join("aside"), log.path());
    let around = path.parent().unwrap();
    std::fs::rename(around, &aside).unwrap();
    assert_eq!(kind(&integrator.step().await.unwrap_err()), "unpublished");
    assert!(!around.exists());
    std::fs::rename(&aside, around).unwrap();
    append(store.as_ref(), &all[900..901]).await;
    let seen = integrator.step().await.unwrap().unwrap();
    assert_eq!(verify_as_outsider(&log, Some(&seen)), 901);
    // It is put back where another one was made meanwhile: what it lacks is made, too.
    std::fs::rename(log.path(), &aside).unwrap();
    append(store.as_ref(), &all[901..1_100]).await;
    assert!(integrator.step().await.unwrap().is_some());
    std::fs::remove_dir_all(log.path()).unwrap();
    std::fs::rename(&aside, log.path()).unwrap();
    append(store.as_ref(), &all[1_100..]).await;
    assert!(integrator.step().await.unwrap().is_some());
    assert_eq!(verify_as_outsider(&log, Some(&seen)), 1_101);
}

/// Partial tiles and bundles go once the full one is published; older checkpoints still hold.
#[tokio::test]
async fn partial_files_are_removed_once_the_full_one_is_published() {
    let log = Log::new();
    let store = log.store();
    let mut integrator = log.integrator(store.clone()).await;
    let (all, mut seen) = (records(600), Vec::new());
    for (from, to) in [(0, 3), (3, 200), (200, 255), (255, 256), (256, 520), (520, 600)] {
        append(store.as_ref(), &all[from..to]).await;
        seen.push(integrator.step().await.unwrap().unwrap());
        for note in &seen {
            assert_eq!(verify_as_outsider(&log, Some(note)), to as u64);
        }
    }
    let files = log.files();
    assert!(!files.iter().any(|name| name.contains("000.p") && !name.contains("/1/")), "{files:?}");
    for name in ["tile/0/000", "tile/entries/001", "tile/0/002.p/88", "tile/1/000.p/2"] {
        assert!(files.iter().any(|file| file == name), "{name}: {files:?}");
    }
}

/// The trigger keeps entries; whoever gets past it is found before anything is signed.
#[tokio::test]
async fn n_100_a_record_altered_before_it_was_integrated_is_not_signed() {
    let log = Log::of(&records(4)).await;
    let store = log.store();
    append(store.as_ref(), &records(8)[4..]).await;
    drop(store);
    let connection = rusqlite::Connection::open(log.database()).unwrap();
    let alter = "DROP TRIGGER leaf_is_not_updated; \
                 UPDATE leaf SET bytes = CAST(replace(CAST(bytes AS TEXT), 'support', 'Support') AS BLOB) \
                 WHERE idx = 6;";
    connection.execute_batch(alter).unwrap();
    drop(connection);
    let mut integrator = log.integrator(log.store()).await;
    let error = integrator.step().await.unwrap_err();
    assert!(matches!(error, IntegrateError::NotAsCommitted(6)), "{error}");
    assert_eq!(verify_as_outsider(&log, None), 4);
}
