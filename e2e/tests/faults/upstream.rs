//! Tool servers that cannot be reached, that say nothing, or that say something else.

use e2e::canary::{effects, stdio_canary};
use e2e::stage::{REQUEST, UPSTREAM, assert_permitted, options, outcome, permits};
use e2e::{Answer, Caller, Deployment, Mode, Stage, wait_until};

/// The tool cannot be reached: the permit stands and its outcome is *failed*, each time.
#[test]
fn r_32_an_unreachable_tool_is_a_failed_outcome() {
    let mut stage = Stage::set();
    stage.relay.close();
    let (mark, answer) = stage.touch();
    assert_eq!(answer.code(), "upstream_failed", "{answer:?}");
    assert!(answer.took < 2 * UPSTREAM, "{answer:?}");
    assert_eq!(stage.outcome(&decision(&answer)), "failed");
    let again = stage.is_refused("upstream_failed");
    assert_eq!(stage.outcome(&decision(&again)), "failed");
    stage.relay.open();
    stage.recovers();
    assert_eq!(stage.reached(&mark), 0, "nothing is tried again");
    stage.ends_well();
}

/// The call reached the tool, or may have, and no answer that holds came back: the outcome is
/// *unknown*, and an equal act is refused until somebody looked.
#[test]
fn r_32_an_answer_that_does_not_hold_is_an_unknown_outcome() {
    let mut stage = Stage::set();
    let modes =
        [Mode::Garbage, Mode::OtherAnswer, Mode::Half, Mode::Reset, Mode::Status500, Mode::Silent];
    for mode in modes {
        println!("{mode:?}");
        let reaches = usize::from(mode != Mode::Silent);
        stage.relay.set(mode);
        let mark = stage.mark();
        let answer = stage.caller.call("touch", &mark);
        assert_eq!(answer.code(), "outcome_unknown", "{mode:?}: {answer:?}");
        assert!(answer.took < 2 * UPSTREAM, "{mode:?}: {answer:?}");
        assert_eq!(stage.reached(&mark), reaches, "{mode:?}: once at most");
        let decision = decision(&answer);
        assert_eq!(stage.outcome(&decision), "unknown", "{mode:?}");
        stage.relay.set(Mode::Pass);
        let again = stage.caller.call("touch", &mark);
        assert_eq!(again.code(), "outcome_unknown", "{mode:?}: {again:?}");
        assert_eq!(stage.reached(&mark), reaches, "{mode:?}: an equal act is not done");
        stage.deployment.run(&["outcome", "settle", &decision, "--reason", "looked"]);
        let settled = stage.caller.call("touch", &mark);
        assert_eq!(settled.code(), "done", "{mode:?}: {settled:?}");
        stage.works();
    }
    stage.ends_well();
}

/// A server that Chancery starts dies within a call: the outcome is *unknown*; the next call gets
/// a new process.
#[test]
fn r_32_a_server_process_that_dies_is_an_unknown_outcome() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let file = dir.path().join("calls");
    let mut wanted = options(1, REQUEST, "");
    // An interpreter takes its time to start.
    wanted.configuration = "timeouts: { decision_ms: 10000, upstream_ms: 20000 }\n".to_owned();
    wanted.servers = vec![("canary".to_owned(), stdio_canary(&file))];
    let deployment = Deployment::start(&wanted);
    deployment.onboard(&["canary"], "changes-production");
    let mut caller = Caller::new(&deployment, "canary");
    assert_eq!(caller.call("touch", "first").code(), "done");
    let answer = caller.call("die", "last");
    assert_eq!(answer.code(), "outcome_unknown", "{answer:?}");
    let died = decision(&answer);
    wait_until("the outcome is recorded", || {
        outcome(&deployment.records(), &died).map(|outcome| assert_eq!(outcome, "unknown"))
    });
    assert_eq!(caller.call("die", "last").code(), "outcome_unknown");
    wait_until("a new process answers", || {
        let answer = caller.call("touch", "after");
        answer.is_done().then_some(())
    });
    let marks: Vec<_> = effects(&file).into_iter().map(|effect| effect.mark).collect();
    assert_eq!(marks, ["first", "last", "after"]);
    let permitted = permits(&deployment.records());
    assert!(permitted.len() >= marks.len());
    assert_permitted(&[], &permitted);
    assert!(deployment.verify().contains("the log verifies"));
}

fn decision(answer: &Answer) -> String {
    answer.told("decision_id").as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}
