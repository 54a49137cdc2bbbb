//! Work is done to what its purpose names, at the real program, as the page on purposes says it.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use e2e::{Caller, Canary, Deployment, Options, Page};

const POLICY: &str = r#"
@id("canary") permit (principal, action in Action::"tools/call", resource in Server::"canary");
"#;

/// What is outside waits for a person.
const ASK: &str = r#"
@id("outside") @remedy("approval") forbid (principal, action in Action::"tools/call", resource is Tool)
when { context.ends.outside_purpose };
"#;

/// What the tool is used on is what it was, until the page's commands say what the purpose is for.
#[test]
fn r_41_a_tool_is_used_on_what_the_purpose_names_and_on_nothing_else() {
    let canary = Canary::start();
    let options = Options { policy: POLICY.to_owned(), ..Options::default() };
    let deployment = Deployment::with_canary(canary.port, "reads-data", options);
    let config = deployment.path("home/chancery.yaml").display().to_string();
    let doctor = || deployment.run_any(&["doctor", "--config", &config]);
    assert!(doctor().contains("`work` names no data objects"));
    let mut caller = Caller::new(&deployment, "canary");
    for mark in ["customer-1", "order-2"] {
        assert!(caller.call("touch", mark).is_done(), "nothing is named");
    }

    let example = deployment.path("home/example");
    std::fs::create_dir_all(example.join("cases")).expect("it can be made");
    let page = Page::read("purposes.md", &[]);
    let files = [("cases/it.yaml", page.blocks("yaml")), ("it.cedar", page.blocks("cedar"))];
    for (name, blocks) in files {
        std::fs::write(example.join(name), blocks.concat()).expect("it can be written");
    }
    let here = [
        ("crm/lookup", "canary/touch"),
        ("crm/", "canary/"),
        ("--object /id", "--object /mark"),
        (" care", " work"),
    ];
    let told = Page::read("purposes.md", &here).run(&deployment);
    assert!(told[0].contains(r#""objects":["canary/customer-*"]"#), "{}", told[0]);
    assert!(told[1].contains(r#""canary/order-1""#), "{}", told[1]);
    assert!(told[2].contains("3 cases, 0 of which do not hold"), "{}", told[2]);
    assert!(doctor().contains("`work` says on which data work is done"));

    // The same task, from then on.
    for mark in ["customer-2", "order-1"] {
        assert!(caller.call("touch", mark).is_done(), "{mark} is named");
    }
    for mark in ["order-2", "order-11", "customer-1/../order-2", "Customer-1"] {
        let refused = caller.call("touch", mark);
        assert_eq!(refused.code(), "denied", "{mark}");
        assert_eq!(refused.told("requestable"), false);
        let text = refused.body["result"]["content"][0]["text"].as_str().expect("it is told");
        assert!(text.contains("on data outside the purpose of the task"), "{text}");
    }
    let refused = caller.call("touch", "");
    let text = refused.body["result"]["content"][0]["text"].as_str().expect("it is told");
    assert!(text.contains("the act names none"), "{text}");
    // A mandate that was given since names what the purpose did.
    let uid = nix::unistd::geteuid().to_string();
    deployment.agent(("clerk", "sam"), &["--host-uid", &uid]);
    deployment.run(&["purpose", "widen", "work", "--object", "canary/order-3"]);
    let mut clerk = Caller::of(&deployment, "clerk", "canary");
    assert!(clerk.call("touch", "order-1").is_done());
    assert_eq!(clerk.call("touch", "order-3").code(), "denied");
    assert!(caller.call("touch", "order-3").is_done(), "its mandate names nothing");

    deployment.put_in_force("ask.cedar", ASK);
    let refused = caller.call("touch", "order-2");
    assert_eq!((refused.code().as_str(), refused.told("requestable")), ("denied", &true.into()));
    assert!(caller.call("touch", "customer-3").is_done());

    let marks: Vec<_> = canary.effects().into_iter().map(|effect| effect.mark).collect();
    let reached =
        ["customer-1", "order-2", "customer-2", "order-1", "order-1", "order-3", "customer-3"];
    assert_eq!(marks, reached);
    let records = deployment.records();
    let outside = records.iter().filter(|record| record["reason"] == "outside_purpose");
    assert_eq!(outside.count(), 5);
    let replayed = deployment.run(&["log", "replay"]);
    assert!(replayed.contains("decisions agree"), "{replayed}");
}
