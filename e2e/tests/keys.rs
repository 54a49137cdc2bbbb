//! The keys that sign tokens, and by which agents are known, are exchanged at the real service.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use e2e::{Caller, Canary, Client, Deployment, Door, Options, Page, Sdk};
use serde_json::{Value, json};

const POLICY: &str = r#"
@id("canary") permit (principal, action in Action::"tools/call", resource in Server::"canary");
"#;

/// The page's commands, as they stand there: who has a token goes on with it until its key is in other
/// hands; and a key that was exchanged is the one after the service was killed.
#[test]
fn r_9_a_key_that_was_exchanged_is_the_one_after_a_restart() {
    let canary = Canary::start();
    let policy = POLICY.to_owned();
    let options = Options { policy, ..Options::default() };
    let mut deployment = Deployment::with_canary(canary.port, "changes-production", options);
    let mut before = Caller::new(&deployment, "canary");
    assert!(before.call("touch", "first").is_done());
    deployment.run(&["keys", "rotate", "--reason", "every quarter"]);
    assert!(before.call("touch", "second").is_done());
    deployment.stop();
    deployment.serve();
    // Verified by the key that is retired, which the service found written.
    assert!(before.call("touch", "third").is_done());
    let mut during = Caller::new(&deployment, "canary");
    assert!(during.call("touch", "fourth").is_done());
    assert_eq!(Page::read("keys.md", &[]).run(&deployment).len(), 2);
    assert_eq!(during.copied().call("touch", "never").status, 401);
    let mut after = Caller::new(&deployment, "canary");
    assert!(after.call("touch", "fifth").is_done());
    assert_eq!(canary.effects().len(), 5);
    deployment.verify();
}

/// R8: the agent has another key, where the last one lay, and the token of its client counts no longer. The client goes
/// on in the same processes, as the same instance; who has the last key is nobody.
#[test]
fn r_8_a_client_goes_on_when_its_agents_key_is_exchanged() {
    let canary = Canary::start();
    let options = Options { policy: POLICY.to_owned(), ..Options::default() };
    let deployment = Deployment::with_canary(canary.port, "changes-production", options);
    let uid = nix::unistd::geteuid().to_string();
    deployment.agent(("clerk", "alice"), &["--host-uid", &uid]);
    let whose = ("clerk", "canary");
    let mut client = Client::start(&deployment, whose, (Sdk::PythonStateless, Door::Stdio));
    let mut touch = |mark: &str| {
        let told = client.ask(&json!({ "call": "touch", "arguments": { "mark": mark } }));
        assert_eq!(told["isError"], false, "{mark}: {told}");
    };
    let mut last = Caller::of(&deployment, "clerk", "canary");
    touch("before");
    assert!(last.call("touch", "by the last key").is_done());

    let text = |path: std::path::PathBuf| path.display().to_string();
    let (new, alice, url) =
        (text(deployment.path("new.pem")), text(deployment.path("alice.pem")), deployment.url());
    let renew = ["agent", "renew", "clerk", "--new-key", &new, "--as", "alice", "--key", &alice];
    deployment.run(&[&renew[..], &["--url", &url]].concat());
    std::fs::rename(&new, deployment.agent_key("clerk")).expect("it is ours");
    deployment.run(&["keys", "rotate", "--compromised", "--reason", "as in the hour"]);
    touch("after");
    let refused = last.obtain().expect_err("its key is nobody's");
    assert_eq!(refused.code(), "invalid_client");
    assert_eq!(canary.effects().len(), 3);
    let records = deployment.records();
    let is_call = |it: &&Value| it["kind"] == "decision" && it["action"] == "canary/touch";
    let by: Vec<_> = records.iter().filter(is_call).map(|it| &it["instance"]).collect();
    assert_eq!((by.len(), by[0] == by[2], by[0] == by[1]), (3, true, false), "{by:?}");
    deployment.verify();
}
