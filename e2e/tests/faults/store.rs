//! The store cannot be read, or not be written: system calls that fail, files that are gone.

use e2e::breaking::FailingCalls;
use e2e::stage::DECISION;
use e2e::{Caller, Stage, wait_until};

/// The store cannot be read: what a decision needs and is not known yet is not guessed.
#[test]
fn i_03_an_unreadable_store_denies() {
    let mut stage = Stage::set();
    let mut stranger = Caller::new(&stage.deployment, "canary");
    let failing = FailingCalls::begin(stage.pid(), "pread64:error=EIO");
    let answer = stranger.call("touch", "of-a-stranger");
    assert_eq!(answer.code(), "temporarily_unavailable", "{answer:?}");
    assert!(answer.took < 2 * DECISION, "{answer:?}");
    let ready = stage.told("chancery_store_failing 1");
    assert!(ready.contains("503"), "{ready}");
    drop(failing);
    assert_eq!(stage.reached("of-a-stranger"), 0);
    wait_until("a new instance is let in again", || {
        stranger.call("touch", "of-a-stranger").is_done().then_some(())
    });
    stage.recovers();
    stage.told("chancery_store_failing 0");
    stage.ends_well();
}

/// N-124: a write that fails is rolled back and denied; the next that succeeds is answered.
#[test]
fn n_124_a_failed_write_denies() {
    let mut stage = Stage::set();
    let failing = FailingCalls::begin(stage.pid(), "pwrite64:error=EIO");
    stage.is_refused("unavailable");
    stage.is_refused("unavailable");
    drop(failing);
    stage.recovers();
    stage.ends_well();
}

/// N-123: after a sync that failed nobody knows what is durable, so the process ends, and who
/// waited is denied. It never tries the sync again.
#[test]
fn n_123_a_failed_sync_ends_the_process() {
    let mut stage = Stage::set();
    let failing = FailingCalls::begin(stage.pid(), "fdatasync:error=EIO");
    let (mark, answer) = stage.touch();
    assert_eq!(answer.code(), "nothing", "{answer:?}");
    assert_eq!(stage.reached(&mark), 0);
    let mut process = stage.deployment.process.take().expect("it ran");
    let status = wait_until("the process ends", || process.ended());
    assert!(!status.success());
    drop(failing);
    stage.deployment.serve();
    stage.ends_well();
}

/// A sync that hangs: the answer is a denial in time, and what was committed too late is not begun.
#[test]
fn n_119_a_slow_sync_denies_in_time() {
    let mut stage = Stage::set();
    let beyond = (3 * DECISION).as_micros();
    let slow = FailingCalls::begin(stage.pid(), &format!("fdatasync:delay_enter={beyond}"));
    stage.is_refused("unavailable");
    drop(slow);
    stage.recovers();
    stage.ends_well();
}

/// The database is gone when it starts: none is made in its place, in which nothing would be revoked.
#[test]
fn n_124_a_service_makes_no_database() {
    let mut stage = Stage::set();
    stage.works();
    stage.deployment.stop();
    let config = stage.deployment.path("home/chancery.yaml");
    let database = stage.deployment.path("home/state/chancery.db");
    let aside = stage.deployment.path("aside");
    std::fs::rename(&database, &aside).expect("it can be moved");
    let said = stage.deployment.run_refused(&["serve", "--config", config.to_str().unwrap()]);
    assert!(said.contains("chancery.db` is gone: put it back"), "{said}");
    assert!(!database.exists(), "none is made");
    std::fs::rename(&aside, &database).expect("it can be moved");
    stage.deployment.serve();
    stage.ends_well();
}

/// The database, or the log of its changes, is gone from its place: what would be written there could never be found
/// again. However many look for it meanwhile, all that was acknowledged is there when it is back, after a crash, too.
#[test]
fn n_124_a_database_that_is_gone_denies() {
    let mut stage = Stage::set();
    for name in ["home/state/chancery.db", "home/state/chancery.db-wal"] {
        let (file, aside) = (stage.deployment.path(name), stage.deployment.path("aside"));
        std::fs::rename(&file, &aside).expect("it can be moved");
        stage.is_refused("unavailable");
        stage.told("chancery_store_failing 1");
        let strangers = (0..8).map(|_| Caller::new(&stage.deployment, "canary"));
        let asking = |mut stranger: Caller| {
            std::thread::spawn(move || stranger.call("touch", "of-a-stranger").is_done())
        };
        let asking: Vec<_> = strangers.map(asking).collect();
        assert!(asking.into_iter().all(|asked| !asked.join().expect("it is answered")));
        assert!(!file.exists(), "nothing is made in its place");
        std::fs::rename(&aside, &file).expect("it can be moved");
        stage.recovers();
    }
    let known = stage.decisions().len();
    stage.deployment.process.as_mut().expect("it runs").kill();
    stage.deployment.serve();
    stage.recovers();
    assert!(stage.decisions().len() > known);
    assert_eq!(stage.reached("of-a-stranger"), 0);
    stage.ends_well();
}
