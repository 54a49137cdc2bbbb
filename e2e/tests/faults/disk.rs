//! The log cannot grow: full disks, a file-size limit, a disk that can only be read.

use e2e::Stage;
use e2e::breaking::{Mount, fill, limit};

/// N-124: database and log on one full disk.
#[test]
fn n_124_a_full_disk_denies_until_there_is_room() {
    let mut stage = Stage::set();
    let _memory = stage.remount("home/state", |at| Mount::in_memory(at, "8m"));
    stage.works();
    let filler = fill(&stage.deployment.path("home/state"));
    stage.is_refused_soon("unavailable");
    let ready = stage.told("chancery_store_failing 1");
    assert!(ready.contains("503"), "{ready}");
    stage.is_refused_soon("unavailable");
    drop(filler);
    stage.recovers();
    let ready = stage.told("chancery_store_failing 0");
    assert!(ready.contains("200 OK"), "{ready}");
    stage.ends_well();
}

/// N-124: the database alone on a full disk, while what is published could still grow.
#[test]
fn n_124_a_full_database_denies_until_there_is_room() {
    let mut stage = Stage::set();
    let _memory = stage.remount("home/state", |at| Mount::in_memory(at, "8m"));
    let _log = stage.remount("home/state/log", |at| Mount::in_memory(at, "4m"));
    let filler = fill(&stage.deployment.path("home/state"));
    stage.is_refused_soon("unavailable");
    stage.told("chancery_store_failing 1");
    stage.is_refused_soon("unavailable");
    drop(filler);
    stage.recovers();
    stage.told("chancery_store_failing 0");
    stage.ends_well();
}

/// N-124: a database that cannot grow, by a limit on the size of files; SIGXFSZ kills nobody.
#[test]
fn n_124_a_file_size_limit_denies_until_it_is_lifted() {
    let mut stage = Stage::set();
    limit(stage.pid(), "--fsize=4096:unlimited");
    stage.is_refused_soon("unavailable");
    stage.told("chancery_store_failing 1");
    limit(stage.pid(), "--fsize=unlimited:unlimited");
    stage.recovers();
    stage.told("chancery_store_failing 0");
    stage.ends_well();
}

/// N-124: only what is published cannot grow. Records are durable in the database, so calls go on;
/// what is stuck is told, and published when there is room.
#[test]
fn n_124_a_full_published_log_is_told_and_catches_up() {
    let mut stage = Stage::set();
    let _memory = stage.remount("home/state/log", |at| Mount::in_memory(at, "1m"));
    let filler = fill(&stage.deployment.log());
    stage.works();
    let ready = stage.told("chancery_log_stuck 1");
    assert!(ready.contains("503") && ready.contains("log"), "{ready}");
    stage.works();
    drop(filler);
    let ready = stage.told("chancery_log_stuck 0");
    assert!(ready.contains("200 OK"), "{ready}");
    stage.ends_well();
}

/// N-125: the disk can only be read any more, as after an error of its own. When it is mended and
/// the service started again, all that was acknowledged is there.
#[test]
fn n_125_a_read_only_disk_denies() {
    let mut stage = Stage::set();
    let image = stage.deployment.path("disk");
    let disk = stage.remount("home/state", |at| Mount::on_disk(at, &image));
    stage.works();
    disk.make_read_only();
    // The service may deny, or have ended because a sync failed: nothing happens either way.
    let (mark, answer) = stage.touch();
    assert!(["unavailable", "nothing"].contains(&answer.code().as_str()), "{answer:?}");
    assert_eq!(stage.reached(&mark), 0);
    let before = stage.canary.effects().len();
    stage.deployment.process = None;
    disk.mend();
    stage.deployment.serve();
    assert_eq!(stage.canary.effects().len(), before, "nothing is redone");
    stage.ends_well();
}
