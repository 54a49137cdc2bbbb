//! Budgets at the real program, as the page on them says it: used up, over a restart, and shown.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use e2e::{Caller, Canary, Deployment, Options, Page};
use serde_json::{Value, json};

const POLICY: &str = r#"
@id("canary") permit (principal, action in Action::"tools/call", resource in Server::"canary");
"#;

/// The canary's one tool has one argument, a text.
const BUDGETS: &str = "
budgets:
  touches:
    description: How much may be touched.
    match: { tools: [canary/touch] }
    amount: /mark
    places: 2
    cap: 100
    per: agent
";

/// What is used and left of the budget, and by whom.
fn left(deployment: &Deployment) -> Value {
    let told = deployment.run(&["budget", "list"]);
    let budget: Value = serde_json::from_str(told.trim()).expect("there is one");
    assert_eq!(budget["budget"], "touches");
    budget["used"].clone()
}

/// What was used up stays so over a restart, and two instances of one agent use it up together.
#[test]
fn n_088_a_budget_is_used_up_by_all_instances_of_an_agent() {
    let canary = Canary::start();
    let policy = POLICY.to_owned();
    let options = Options { policy, ..Options::default() };
    let mut deployment = Deployment::with_canary(canary.port, "moves-money", options);
    let mut caller = Caller::new(&deployment, "canary");
    assert!(caller.call("touch", "as much as you like").is_done(), "there is no budget yet");
    deployment.put_in_force("budgets.yaml", BUDGETS);

    assert_eq!(left(&deployment), json!([]));
    assert!(caller.call("touch", "60.50").is_done());
    let denied = caller.call("touch", "39.51");
    assert_eq!(denied.code(), "denied");
    let text = denied.body["result"].to_string();
    assert!(text.contains("`touches`") && !text.contains("39.5"), "{text}");
    for mark in ["as much as you like", "-1", "1e1", "1.001", "01"] {
        assert_eq!(caller.call("touch", mark).code(), "denied", "{mark}");
    }
    deployment.stop();
    deployment.serve();
    let mut other = Caller::new(&deployment, "canary");
    assert_eq!(other.call("touch", "39.51").code(), "denied");
    assert!(other.call("touch", "39.50").is_done());
    assert_eq!(caller.call("touch", "0.01").code(), "denied");
    assert_eq!(left(&deployment), json!([{ "by": "agent/bot", "used": "100", "left": "0" }]));
    assert_eq!(canary.effects().len(), 3);

    let records = deployment.records();
    let calls = records.iter().filter(|record| record["action"] == "canary/touch");
    let reasons: Vec<_> = calls.map(|it| (it["reason"].clone(), it["budget"].clone())).collect();
    let of = |reason: &str| reasons.iter().filter(|(it, _)| it == reason).count();
    assert_eq!((of("granted"), of("budget_exceeded"), of("budget_unread")), (3, 3, 5));
    assert!(reasons.iter().all(|(reason, budget)| reason == "granted" || budget == "touches"));
    assert!(deployment.run(&["log", "replay"]).contains("decisions agree"));
    the_page_shows_what_works(&deployment);
}

fn the_page_shows_what_works(deployment: &Deployment) {
    let page = Page::read("budgets.md", &[]);
    let example = deployment.path("home/example");
    std::fs::create_dir_all(example.join("cases")).expect("it can be made");
    let [budgets, cases] = page.blocks("yaml").try_into().expect("the page has two");
    let policy = page.blocks("cedar").concat();
    for (name, text) in [("budgets.yaml", budgets), ("cases/it.yaml", cases), ("it.cedar", policy)]
    {
        std::fs::write(example.join(name), text).expect("it can be written");
    }
    let told = page.run(deployment);
    assert!(told[0].contains("8 cases, 0 of which do not hold"), "{}", told[0]);
    assert!(!told[0].contains("budgets.yaml"), "{}", told[0]);
    assert!(told[1].contains("\"agent/bot\""), "{}", told[1]);

    // What is wrong is told with its line.
    let wrong = BUDGETS.replace("[canary/touch]", "[crm/refund]");
    std::fs::write(example.join("budgets.yaml"), wrong).expect("it can be written");
    let told = deployment.run_refused(&["policy", "check", example.to_str().unwrap()]);
    let expected =
        "budgets.yaml:5: budget `touches`: calls of `crm/refund` have no argument `/mark`";
    assert!(told.contains(expected), "{told}");
}
