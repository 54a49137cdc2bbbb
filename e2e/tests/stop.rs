//! One administrator stops at once, two start again, at the real service.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use e2e::{Caller, Canary, Deployment, Options, Page, wait_until};

const POLICY: &str = r#"
@id("canary") permit (principal, action in Action::"tools/call", resource in Server::"canary");
"#;

fn deployment(canary: &Canary) -> Deployment {
    let policy = POLICY.to_owned();
    let options = Options { policy, releases: true, ..Options::default() };
    let deployment = Deployment::with_canary(canary.port, "changes-production", options);
    deployment.release();
    deployment
}

fn denied(deployment: &Deployment) -> usize {
    deployment.records().iter().filter(|record| record["reason"] == "stopped").count()
}

/// Whatever is stopped reaches no tool and gets no token, until two have started it.
#[test]
fn n_098_what_one_stopped_runs_again_when_two_have_started_it() {
    let canary = Canary::start();
    let deployment = deployment(&canary);
    let key = |founder: &str| deployment.path(&format!("{founder}.pem")).display().to_string();
    let (alice, bob, url) = (key("alice"), key("bob"), deployment.url());
    let mut caller = Caller::new(&deployment, "canary");
    assert!(caller.call("touch", "before").is_done());
    for target in [&["--all"][..], &["--tool", "canary/touch"], &["--agent", "bot"]] {
        let reason = ["--reason", "test"];
        deployment.run(&[&["stop"], target, &reason].concat());
        let before = denied(&deployment);
        assert_eq!(caller.call("touch", "while").code(), "unknown_tool", "{target:?}");
        assert_eq!(denied(&deployment), before + 1);
        let token = Caller::new(&deployment, "canary").obtain();
        assert_eq!(token.is_ok(), target[0] == "--tool", "{target:?}: {token:?}");
        let start = [&["start"], target, &reason].concat();
        deployment.run(&start);
        let again = deployment.run_refused(&start);
        assert!(again.contains("nobody approves what they asked for themselves"), "{again}");
        // Bob's name with Alice's key is nobody.
        let by =
            |founder, key| [&start[..], &["--as", founder, "--key", key, "--url", &url]].concat();
        let forged = deployment.run_refused(&by("bob", &alice));
        assert!(forged.contains("not signed by an administrator"), "{forged}");
        deployment.run(&by("bob", &bob));
        assert!(caller.call("touch", "after").is_done(), "{target:?}");
    }
    assert_eq!(canary.effects().len(), 4);
    let replayed = deployment.run(&["log", "replay"]);
    assert!(replayed.contains("decisions agree"), "{replayed}");
    deployment.verify();
}

/// At medium risk what does more than read waits for an approval, at high risk there is nothing to call and no
/// token to get, until somebody else says that it is over.
#[test]
fn r_18_a_risk_steps_up_then_cuts_until_it_is_lowered() {
    let canary = Canary::start();
    let deployment = deployment(&canary);
    let (key, url) = (deployment.path("bob.pem").display().to_string(), deployment.url());
    let risk = |step: &str, what: &str, level: &str| {
        let asked = ["risk", step, what, level, "--reason", "test"];
        if step == "raise" {
            return deployment.run(&asked);
        }
        // Whoever is the service's user is anybody: a founder says who they are.
        let told = deployment.run_refused(&asked);
        assert!(told.contains("a founder signs for this"), "{told}");
        deployment.run(&[&asked[..], &["--as", "bob", "--key", &key, "--url", &url]].concat())
    };
    for what in ["agent/bot", "person/sam"] {
        let mut caller = Caller::new(&deployment, "canary");
        assert!(caller.call("touch", "before").is_done(), "{what}");
        risk("raise", what, "medium");
        assert_eq!(caller.call("touch", "medium").code(), "denied", "{what}");
        risk("raise", what, "high");
        assert_eq!(caller.call("touch", "high").code(), "unknown_tool", "{what}");
        let token = Caller::new(&deployment, "canary").obtain();
        assert!(token.is_err(), "{what}: {token:?}");
        risk("lower", what, "none");
        assert!(caller.call("touch", "after").is_done(), "{what}");
    }
    assert_eq!(canary.effects().len(), 4);
    let replayed = deployment.run(&["log", "replay"]);
    assert!(replayed.contains("decisions agree"), "{replayed}");
    deployment.verify();
}

/// An instance at high risk is quarantined, and, where the configuration says so, revoked, though it was quarantined
/// before.
#[test]
fn r_18_the_configuration_says_whether_high_risk_revokes() {
    let canary = Canary::start();
    let mut deployment = deployment(&canary);
    assert!(Caller::new(&deployment, "canary").call("touch", "before").is_done());
    assert_eq!(at_high_risk(&deployment), "quarantined");
    let path = deployment.path("home/chancery.yaml");
    let configuration = std::fs::read_to_string(&path).expect("it is ours");
    deployment.stop();
    let revokes = format!("{configuration}policy: {{ revoke_at_high_risk: true }}\n");
    std::fs::write(&path, revokes).expect("it is ours");
    deployment.serve();
    assert_eq!(at_high_risk(&deployment), "revoked");
    deployment.stop();
    std::fs::write(&path, configuration).expect("it is ours");
    deployment.serve();
    assert_eq!(at_high_risk(&deployment), "revoked", "for good");
}

/// The state of the one instance that there is, once it is said to be at high risk.
fn at_high_risk(deployment: &Deployment) -> String {
    let instance = || -> serde_json::Value {
        let listed = deployment.run(&["instance", "list"]);
        assert_eq!(listed.lines().count(), 1, "{listed}");
        serde_json::from_str(&listed).expect("JSON")
    };
    let what = format!("instance/{}", instance()["id"].as_str().expect("an id"));
    deployment.run(&["risk", "raise", &what, "high", "--reason", "test"]);
    instance()["state"]["is"].as_str().expect("a state").to_owned()
}

/// An instance that asks again and again for tools that are not declared of it is at medium risk, and so is what
/// starts after it, until somebody else says that it is over.
#[test]
fn r_48_who_asks_for_undeclared_tools_is_stepped_up() {
    let canary = Canary::start();
    let deployment = deployment(&canary);
    let purpose = ["purpose", "add", "narrow", "--owner", "alice", "--tool", "canary/touch"];
    deployment.run(&[&purpose[..], &["--harm", "changes-production"]].concat());
    let (file, uid) = (deployment.agent_key("narrow"), nix::unistd::geteuid().to_string());
    let agent = ["agent", "add", "narrow", "--sponsor", "sam", "--owner", "sam"];
    let rest = ["--purpose", "narrow", "--host-uid", &uid, "--key", file.to_str().expect("text")];
    deployment.run(&[&agent[..], &rest].concat());

    let mut caller = Caller::of(&deployment, "narrow", "canary");
    for (mark, expected) in [("one", None), ("two", None), ("three", Some("denied"))] {
        assert_eq!(caller.call("erase", mark).code(), "unknown_tool", "{mark}");
        let answer = caller.call("touch", mark);
        match expected {
            None => assert!(answer.is_done(), "{mark}"),
            Some(code) => assert_eq!(answer.code(), code, "{mark}"),
        }
    }
    let records = deployment.records();
    let signals = records.iter().filter(|record| record["signal"] == "departed_tool");
    let [signal] = signals.collect::<Vec<_>>().try_into().expect("it is raised once");
    let found = || deployment.run(&["finding", "list"]).contains("departed_tool").then_some(());
    wait_until("it is found", found);

    let (key, url) = (deployment.path("bob.pem").display().to_string(), deployment.url());
    let lower = |what: &str| {
        let asked = ["risk", "lower", what, "none", "--reason", "test", "--as", "bob"];
        deployment.run(&[&asked[..], &["--key", &key, "--url", &url]].concat())
    };
    lower(&format!("instance/{}", signal["instance"].as_str().expect("an id")));
    assert!(caller.call("touch", "after").is_done());
    let mut next = Caller::of(&deployment, "narrow", "canary");
    assert_eq!(next.call("touch", "next").code(), "denied", "a restart sheds nothing");
    lower("agent/narrow");
    assert!(Caller::of(&deployment, "narrow", "canary").call("touch", "last").is_done());
    assert_eq!(canary.effects().len(), 4);
    let replayed = deployment.run(&["log", "replay"]);
    assert!(replayed.contains("decisions agree"), "{replayed}");
    deployment.verify();
}

/// The page's commands, as they stand there.
#[test]
fn the_page_on_risk_shows_what_works() {
    let canary = Canary::start();
    let deployment = deployment(&canary);
    let (kept, home) = (deployment.path("alice.pem"), deployment.path("home/alice.pem"));
    std::fs::copy(kept, home).expect("it can be copied");
    Page::read("risk.md", &[]).run(&deployment);
}

/// The page's commands, as they stand there.
#[test]
fn the_page_on_stopping_shows_what_works() {
    let canary = Canary::start();
    let deployment = deployment(&canary);
    let (kept, home) = (deployment.path("alice.pem"), deployment.path("home/alice.pem"));
    std::fs::copy(kept, home).expect("it can be copied");
    assert_eq!(Page::read("stop.md", &[]).run(&deployment).len(), 2);
    let acts = deployment.records();
    let acts: Vec<_> = acts.iter().filter_map(|record| record["action"].as_str()).collect();
    assert_eq!(acts.iter().filter(|act| **act == "agent/stop").count(), 1);
    assert_eq!(acts.iter().filter(|act| **act == "agent/start").count(), 2);
    assert!(Caller::new(&deployment, "canary").call("touch", "after").is_done());
    deployment.run(&["stop", "--all", "--reason", "a drill"]);
    let config = deployment.path("home/chancery.yaml").display().to_string();
    let told = deployment.run_any(&["doctor", "--config", &config]);
    assert!(told.contains("`all` is stopped since"), "{told}");
    assert!(told.contains("by bootstrap-administrator: a drill"), "{told}");
    assert!(deployment.run(&["agent", "list"]).contains(r#""stopped":["all"]"#));
}
