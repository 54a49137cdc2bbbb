//! What is in reach of an agent at work, and what it was given and does not use, at the real program, as the page says it.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use e2e::{Caller, Canary, Deployment, Options, Page};
use serde_json::{Value, json};

/// The bot may do one thing itself, and the reader another, to which it may hand work on.
const POLICY: &str = r#"
@id("bot") permit (principal in Agent::"bot", action in Action::"tools/call", resource == Tool::"canary/slow");
@id("reader") permit (principal in Agent::"reader", action in Action::"tools/call", resource in Server::"canary");
@id("hands-on") permit (principal in Agent::"bot", action == Action::"delegate", resource == Agent::"reader");
"#;

fn deployment(canary: &Canary) -> Deployment {
    let policy = POLICY.to_owned();
    let options = Options { policy, ..Options::default() };
    let deployment = Deployment::with_canary(canary.port, "changes-production", options);
    deployment.agent(("reader", "sam"), &["--host-uid", &nix::unistd::geteuid().to_string()]);
    deployment
}

fn reach(deployment: &Deployment, more: &[&str]) -> Value {
    let told = deployment.run(&[&["reach"], more, &["--json"]].concat());
    serde_json::from_str(&told).expect("JSON")
}

/// R49: what was told to be in reach by another is what the other does, and nothing is done that was not.
#[test]
fn r_49_the_page_on_reach_shows_what_works() {
    let canary = Canary::start();
    let deployment = deployment(&canary);
    let mut bot = Caller::new(&deployment, "canary");
    assert!(bot.call("slow", "itself").is_done());
    assert_eq!(bot.call("touch", "itself").code(), "unknown_tool");
    let records = deployment.records();
    let call = records.iter().rfind(|record| record["action"] == "canary/slow").expect("a call");
    let instance = call["instance"].as_str().expect("an instance").to_owned();

    let told = reach(&deployment, &[&instance]);
    let (slow, touch) = (&told["tools"]["canary/slow"], &told["tools"]["canary/touch"]);
    assert_eq!((&slow["direct"], &slow["chain"]), (&json!("now"), &Value::Null), "{told}");
    assert_eq!(
        (&touch["direct"], &touch["by_delegation"]),
        (&Value::Null, &json!("now")),
        "{told}"
    );
    assert_eq!(touch["chain"], json!(["reader"]));
    let until = call["time"].as_i64().expect("a time") / 1_000 + 600;
    let part = json!({
        "type": "agent_task", "purpose": "work", "tools": ["canary/*"],
        "harm": ["changes-production"], "until": until,
    });
    let mut reader = Caller::of(&deployment, "reader", "canary");
    let answer = bot.delegate(&mut reader, &part);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(reader.call("touch", "by another").is_done());

    let printed = Page::read("reach.md", &[("$INSTANCE", &instance)]).run(&deployment);
    assert!(printed[0].contains("changes-production\n  canary/slow\n"), "{}", printed[0]);
    assert!(printed[0].contains("  canary/touch: by reader\n"), "{}", printed[0]);
    assert!(printed[1].contains("forbid ("), "{}", printed[1]);
    assert!(printed[1].contains("Tool::\"canary/slow\""), "{}", printed[1]);

    let nothing_said = "data: for objects any, categories any\nunknown: work any_object\nunknown: work any_category\n\
                        unknown: labels no_labels\nunknown: canary/slow any_object\n";
    assert!(printed[0].contains(nothing_said), "{}", printed[0]);
    for told in [
        "bot: sponsor sam, business owner sam, technical owner sam\n",
        "  canary/slow (changes-production), owned by alice: used 1 times, last ",
        "    for work, owned by alice, by bot\n",
        "reader: sponsor sam, business owner sam, technical owner sam\n",
        "  canary/die (changes-production), owned by alice: not used\n",
        "    for work, owned by alice, by reader\n",
        "unknown: policy unowned\n",
    ] {
        assert!(printed[2].contains(told), "{told}: {}", printed[2]);
    }
    let remove = "  not used, to be removed by `chancery suggest reader --since ";
    let remove = printed[2].lines().find(|line| line.starts_with(remove));
    assert!(remove.is_some_and(|it| it.ends_with(": canary/die canary/slow")), "{}", printed[2]);

    // Of what was used before, nothing may be left: that is told.
    let since = told["at"].as_str().expect("a time");
    let (code, suggested) = deployment.run_told(&["suggest", "bot", "--since", since]);
    assert_eq!(code, Some(3), "{suggested}");
    assert!(!suggested.contains("canary/slow"), "{suggested}");

    // What can come back is told once it is said.
    let labels =
        "labels: { private: Personal data. }\ntools: { canary/touch: { carries: [private] } }\n";
    deployment.put_in_force("labels.yaml", labels);
    let marked = reach(&deployment, &[&instance]);
    let private = json!([{ "label": "private", "direct": [], "by_delegation": ["canary/touch"] }]);
    assert_eq!(marked["data"]["labels"], private, "{marked}");

    // What goes is told with why.
    let policy = POLICY.replace("@id(\"hands-on\")", "@id(\"hands-on\") @mode(\"observe\")");
    deployment.put_in_force("test.cedar", &policy);
    let told = reach(&deployment, &[&instance, "--since", since]);
    let lost =
        json!(["canary/die", "canary/touch"].map(|tool| json!({ "tool": tool, "by": "policy" })));
    assert_eq!((&told["change"]["lost"], &told["change"]["gained"]), (&lost, &json!([])), "{told}");
    let refused = deployment.run_refused(&["reach", "ins_00000000000000000000000000000000"]);
    assert!(refused.contains("there is no instance"), "{refused}");
    assert!(deployment.run(&["log", "replay"]).contains("decisions agree"));
}

/// R44: what nobody is asked about and nobody uses is gone once what is proposed is in force; what is used goes on.
#[test]
fn r_44_what_is_unattended_and_not_used_is_removed() {
    let canary = Canary::start();
    let deployment = deployment(&canary);
    let mut reader = Caller::of(&deployment, "reader", "canary");
    assert!(reader.call("touch", "itself").is_done());
    let unattended = || -> Value {
        let told = deployment.run(&["unattended", "reader", "--since", "1d", "--json"]);
        let told: Value = serde_json::from_str(&told).expect("JSON");
        told["agents"][0].clone()
    };
    let tools = |told: &Value| -> Vec<Value> {
        told["acts"].as_array().expect("acts").iter().map(|act| act["tool"].clone()).collect()
    };
    let told = unattended();
    assert_eq!(tools(&told), ["canary/die", "canary/slow", "canary/touch"], "{told}");
    assert_eq!(told["unused"], json!(["canary/die", "canary/slow"]));
    let touch = &told["acts"][2];
    assert_eq!((&touch["used"], &touch["owner"]), (&json!(1), &json!("alice")));
    let rests = json!([{ "purpose": "work", "owner": "alice", "basis": ["reader"], "by": [] }]);
    assert_eq!(touch["rests"], rests);

    let suggested = deployment.run(&["suggest", "reader", "--since", "1d"]);
    deployment.put_in_force("used-by-reader.cedar", &suggested);
    let told = unattended();
    assert_eq!(tools(&told), ["canary/touch"], "{told}");
    assert_eq!((&told["unused"], &told["remove"]), (&json!([]), &Value::Null));
    assert!(reader.call("touch", "again").is_done());
    assert!(!reader.call("die", "again").is_done());
}
