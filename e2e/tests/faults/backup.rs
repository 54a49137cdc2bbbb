//! What is backed up is put back, and what was recorded meanwhile is missed by whoever kept a checkpoint.

use e2e::{Page, Stage, wait_until};

/// The page on what is kept, word by word: of a deployment at work, and put back after more was done.
#[test]
fn n_104_what_is_put_back_works_and_is_told_from_what_was() {
    let mut stage = Stage::set();
    let blocks = Page::read("state.md", &[]).blocks("sh");
    let [back_up, put_back] = blocks.as_slice() else { panic!("two are shown: {blocks:?}") };
    let home = stage.deployment.path("home");
    stage.deployment.shell(back_up);
    let known = stage.decisions().len();
    for _ in 0..3 {
        stage.works();
    }
    let more = stage.deployment.records().len();
    let published = || {
        let checkpoint = std::fs::read_to_string(stage.deployment.log().join("checkpoint")).ok()?;
        let size = checkpoint.lines().nth(1)?.parse::<usize>().ok()?;
        (size >= more).then_some(checkpoint)
    };
    let kept = wait_until("all is published", published);
    let key = std::fs::read(home.join("state/keys/log.pub")).expect("it is published");
    stage.deployment.stop();

    stage.deployment.shell(put_back);
    // The older database with what was published after it.
    let (log, of_before) = (home.join("state/log"), home.join("state-of-before/log"));
    std::fs::rename(&of_before, &log).expect("it can be moved");
    let config = home.join("chancery.yaml");
    let serve = ["serve", "--config", config.to_str().unwrap()];
    let refused = stage.deployment.run_refused(&serve);
    assert!(refused.contains("was the database put back?"), "{refused}");
    std::fs::rename(&log, &of_before).expect("it can be moved");

    stage.deployment.serve();
    assert_eq!(stage.decisions().len(), known, "what was recorded after the backup is gone");
    stage.recovers();
    let own = std::fs::read(home.join("state/keys/log.pub")).expect("it is published");
    assert_eq!(own, key, "the log is signed by the same key");
    let checkpoint = stage.deployment.path("kept");
    std::fs::write(&checkpoint, kept).expect("it can be written");
    let found = stage.deployment.run_refused(&[
        "log",
        "verify",
        log.to_str().unwrap(),
        "--key",
        home.join("state/keys/log.pub").to_str().unwrap(),
        "--since",
        checkpoint.to_str().unwrap(),
    ]);
    assert!(found.contains("the log does not verify"), "{found}");
    let verified = stage.deployment.verify();
    assert!(verified.contains("the log verifies"), "{verified}");
}
