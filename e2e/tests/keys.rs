//! The key that signs tokens is exchanged at the real service.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use e2e::{Caller, Canary, Deployment, Options, Page};

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
