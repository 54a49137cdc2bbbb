//! How strict a policy set is beyond what it permits, at the real program, as the page on it says it.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use e2e::{Caller, Canary, Deployment, Options, Page, wait_until};

const POLICY: &str = r#"
@id("canary") permit (principal, action in Action::"tools/call", resource in Server::"canary");
"#;

const STRICTNESS: &str = "
tokens: [{ description: The bot is looked at every minute, agents: [bot], lasts_s: 60 }]
";

/// For how many milliseconds the newest token was issued.
fn lasts(deployment: &Deployment) -> i64 {
    let records = deployment.records();
    let issued = records.iter().rfind(|record| record["kind"] == "issuance").expect("a token");
    let time = |name: &str| issued[name].as_i64().expect("a time");
    time("expires") - time("time")
}

#[test]
fn r_3_tokens_last_as_long_as_the_policy_set_says() {
    let canary = Canary::start();
    let policy = POLICY.to_owned();
    let options = Options { policy, ..Options::default() };
    let deployment = Deployment::with_canary(canary.port, "reads-data", options);
    assert!(Caller::new(&deployment, "canary").call("touch", "one").is_done());
    assert!((299_000..=300_000).contains(&lasts(&deployment)), "{}", lasts(&deployment));

    let in_force = || {
        let records = deployment.records();
        records.iter().filter(|record| record["event"] == "policy_in_force").count()
    };
    let before = in_force();
    let path = deployment.path("home/policies/strictness.yaml");
    std::fs::write(path, STRICTNESS).expect("it is written");
    wait_until("it is in force", || (in_force() > before).then_some(()));
    assert!(Caller::new(&deployment, "canary").call("touch", "two").is_done());
    assert!((59_000..=60_000).contains(&lasts(&deployment)), "{}", lasts(&deployment));

    let page = Page::read("strictness.md", &[]);
    let example = deployment.path("home/example");
    std::fs::create_dir_all(&example).expect("it can be made");
    std::fs::write(example.join("it.cedar"), POLICY).expect("it can be written");
    let text = page.blocks("yaml").concat();
    std::fs::write(example.join("strictness.yaml"), text).expect("it can be written");
    let told = page.run(&deployment);
    let cost = "strictness: Who can move money is looked at every minute: tokens last 60 s, which \
                costs an instance at work up to 120 renewals an hour for each server, in place of 14";
    assert!(told[0].contains(cost), "{}", told[0]);

    // What is wrong is told with its line.
    std::fs::write(example.join("strictness.yaml"), STRICTNESS.replace("60", "6"))
        .expect("written");
    let told = deployment.run_refused(&["policy", "check", example.to_str().unwrap()]);
    assert!(told.contains("strictness.yaml:2: `lasts_s` is not within 40 and 300"), "{told}");
}
