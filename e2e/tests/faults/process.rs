//! The service itself ends, is killed, or is started twice.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use e2e::breaking::FailingCalls;
use e2e::stage::{REQUEST, options_within, outcome};
use e2e::{Caller, Deployment, Mode, Stage, signal, wait_until};

/// Killed between permit and forward: nothing happened, nobody knows, nothing is redone.
#[test]
fn n_040h_killed_before_the_tool_saw_the_call() {
    killed_while_held(Mode::HoldCall, 0);
}

/// Killed between forward and outcome: it happened once, nobody knows, nothing is redone.
#[test]
fn n_040h_killed_before_the_answer_came() {
    killed_while_held(Mode::HoldAnswer, 1);
}

fn killed_while_held(mode: Mode, reaches: usize) {
    // However long it takes until it is killed, the call is under way.
    let patient = (REQUEST, Duration::from_mins(1));
    let mut stage = Stage::set_by(|port| options_within(port, patient, ""));
    stage.relay.set(mode);
    let mark = stage.mark();
    let mut caller = std::mem::replace(&mut stage.caller, Caller::new(&stage.deployment, "canary"));
    let calling = {
        let mark = mark.clone();
        std::thread::spawn(move || caller.call("touch", &mark))
    };
    wait_until("the relay holds the call", || (stage.relay.held() == 1).then_some(()));
    stage.deployment.process.as_mut().expect("it runs").kill();
    let answer = calling.join().expect("the caller gets an answer, or none");
    assert_eq!(answer.code(), "nothing", "{answer:?}");
    stage.relay.close();
    stage.deployment.serve();
    stage.relay.open();
    assert_eq!(stage.reached(&mark), reaches);
    let open = stage.decisions();
    let decision = open.last().and_then(|record| record["id"].as_str()).expect("it is recorded");
    assert_eq!(outcome(&stage.deployment.records(), decision).as_deref(), Some("unknown"));
    // What the relay held may still arrive: it was permitted, and it is the one that is unknown.
    stage.relay.set(Mode::Pass);
    let again = stage.caller.call("touch", &mark);
    assert_eq!(again.code(), "outcome_unknown", "{again:?}");
    let mut settle = vec!["outcome", "settle", decision, "--reason", "looked"];
    settle.extend((reaches == 0).then_some("--did-not-happen"));
    let told = stage.deployment.run(&settle);
    let told: serde_json::Value = serde_json::from_str(told.trim()).expect("it is told");
    assert_eq!(told["given_back"], reaches == 0, "{told}");
    assert!(stage.caller.call("touch", &mark).is_done());
    stage.ends_well();
}

/// N-123: killed within a sync: who waited is denied, and the service comes back.
#[test]
fn n_123_killed_within_a_sync() {
    let mut stage = Stage::set();
    let killing = FailingCalls::begin(stage.pid(), "fdatasync:signal=KILL:when=2");
    let mut process = stage.deployment.process.take().expect("it runs");
    let last = wait_until("the second sync kills it", || {
        let (mark, answer) = stage.touch();
        assert_eq!(stage.reached(&mark), usize::from(answer.is_done()), "{answer:?}");
        (!answer.is_done()).then_some(answer)
    });
    assert_eq!(last.code(), "nothing", "{last:?}");
    wait_until("it has ended", || process.ended());
    drop(killing);
    stage.deployment.serve();
    stage.ends_well();
}

/// N-104: a second service on the same state is refused, and the first one goes on.
#[test]
fn n_104_a_second_service_on_the_same_state_is_refused() {
    let mut stage = Stage::set();
    let config = stage.deployment.path("home/chancery.yaml");
    // A lock file that somebody tidied away protects nothing.
    let _ = std::fs::remove_file(stage.deployment.path("home/state/chancery.db.lock"));
    let said = stage.deployment.run_refused(&["serve", "--config", config.to_str().unwrap()]);
    assert!(said.contains("in use by another process"), "{said}");
    stage.works();
    stage.ends_well();
}

/// N-129: a key that is missing, open to others, or no key: it does not start, and says which.
#[test]
fn n_129_a_key_that_cannot_be_used_keeps_it_from_starting() {
    let mut stage = Stage::set();
    stage.deployment.stop();
    let keys = stage.deployment.path("home/state/keys");
    for name in ["token.pem", "log.pem", "sealing.key"] {
        let (key, aside) = (keys.join(name), keys.join("aside"));
        std::fs::rename(&key, &aside).expect("it is there");
        does_not_start(&stage.deployment, name, "could not read");
        std::fs::write(&key, "nonsense").expect("it can be written");
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).expect("it is ours");
        does_not_start(&stage.deployment, name, "does not hold");
        std::fs::rename(&aside, &key).expect("it is there");
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).expect("it is ours");
        does_not_start(&stage.deployment, name, "chmod 600");
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).expect("it is ours");
    }
    stage.deployment.serve();
    stage.ends_well();
}

fn does_not_start(deployment: &Deployment, name: &str, why: &str) {
    let config = deployment.path("home/chancery.yaml");
    let said = deployment.run_refused(&["serve", "--config", config.to_str().unwrap()]);
    assert!(said.contains(name) && said.contains(why), "{said}");
}

/// N-130: told to stop, it finishes what it accepted and records how each call ended.
#[test]
fn n_130_a_drain_loses_no_call_and_no_outcome() {
    const CALLS: usize = 8;
    let mut stage = Stage::set();
    // All have tokens before the first calls, so that all are under way at once.
    let caller = |_| {
        let mut caller = Caller::new(&stage.deployment, "canary");
        caller.obtain().expect("a token");
        caller
    };
    let callers: Vec<_> = (0..CALLS).map(caller).collect();
    let call = |(number, mut caller): (usize, Caller)| {
        std::thread::spawn(move || caller.call("slow", &format!("slow-{number}")))
    };
    let calls: Vec<_> = callers.into_iter().enumerate().map(call).collect();
    wait_until("the calls are under way", || {
        let effects = stage.canary.effects();
        let slow = effects.iter().filter(|effect| effect.mark.starts_with("slow-"));
        (slow.count() == CALLS).then_some(())
    });
    let mut process = stage.deployment.process.take().expect("it runs");
    signal(process.id(), "TERM");
    for call in calls {
        let answer = call.join().expect("the caller gets an answer");
        assert_eq!(answer.code(), "done", "{answer:?}");
    }
    assert!(process.wait().success());
    // All of it is published before the end.
    let said = stage.deployment.verify();
    assert!(said.contains("       0 permits without an outcome yet"), "{said}");
    stage.deployment.serve();
    let records = stage.deployment.records();
    let slow = |record: &&serde_json::Value| record["action"] == "canary/slow";
    let ids = records.iter().filter(slow).filter_map(|record| record["id"].as_str());
    let outcomes: Vec<_> = ids.map(|id| outcome(&records, id)).collect();
    assert_eq!(outcomes, vec![Some("returned".to_owned()); CALLS]);
    stage.ends_well();
}
