//! What was read decides on what is sent, at the real program, as the page on labels says it.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use e2e::{Caller, Canary, Deployment, Options, Page};

/// The canary's one tool tells what others wrote, and sends out.
const LABELS: &str = "
labels: { external: Text of others. }
tools: { canary/touch: { carries: [external], sink: true } }
";

const POLICY: &str = r#"
@id("canary") permit (principal, action in Action::"tools/call", resource in Server::"canary");

@id("no-way-out") forbid (principal, action in Action::"tools/call", resource)
when { resource.sink && context.session.labels.contains("external") };
"#;

fn deployment(canary: &Canary) -> Deployment {
    let policy = POLICY.to_owned();
    let options = Options { policy, ..Options::default() };
    Deployment::with_canary(canary.port, "reads-data", options)
}

/// R45: each call is permitted by itself. Once something was read, what would send it out does not reach the tool, in the
/// same task or the next one, and what sends nothing out does.
#[test]
fn r_45_calls_that_are_harmful_in_sequence_are_not_made() {
    let canary = Canary::start();
    let deployment = deployment(&canary);
    let reads = "canary/touch: { carries: [external] }, canary/slow: { sink: true }";
    let labels = format!("labels: {{ external: Text of others. }}\ntools: {{ {reads} }}\n");
    deployment.put_in_force("labels.yaml", &labels);
    let mut caller = Caller::new(&deployment, "canary");
    assert!(caller.call("slow", "sends").is_done());
    assert!(caller.call("touch", "reads").is_done());
    assert_eq!(caller.call("slow", "sends what it read").code(), "unknown_tool");
    assert!(caller.call("touch", "reads again").is_done());
    let mut later = Caller::new(&deployment, "canary");
    assert_eq!(later.call("slow", "sends it later").code(), "unknown_tool");
    let reached: Vec<_> = canary.effects().into_iter().map(|effect| effect.mark).collect();
    assert_eq!(reached, ["sends", "reads", "reads again"]);
    let records = deployment.records();
    let by_guard = records.iter().filter(|record| record["policies"][0] == "no-way-out");
    assert_eq!(by_guard.count(), 1, "the later task may not even have its server asked");
}

/// A label is on from the first call, over a restart, until a person takes it off, as the page shows.
#[test]
fn n_085_what_was_read_is_on_until_a_person_takes_it_off() {
    let canary = Canary::start();
    let mut deployment = deployment(&canary);
    let mut caller = Caller::new(&deployment, "canary");
    for mark in ["one", "two"] {
        assert!(caller.call("touch", mark).is_done(), "nothing is labelled");
    }
    deployment.put_in_force("labels.yaml", LABELS);
    assert!(caller.call("touch", "three").is_done());
    assert_eq!(caller.call("touch", "four").code(), "unknown_tool");
    deployment.stop();
    deployment.serve();
    assert_eq!(caller.call("touch", "five").code(), "unknown_tool");
    assert_eq!(canary.effects().len(), 3);

    let records = deployment.records();
    let call = records.iter().rfind(|record| record["action"] == "canary/touch").expect("a call");
    assert_eq!(call["policies"][0], "no-way-out");
    let task = call["task"].as_str().expect("a task").to_owned();
    let page = Page::read("labels.md", &[("$TASK", &task)]);
    let example = deployment.path("home/example");
    std::fs::create_dir_all(example.join("cases")).expect("it can be made");
    let [labels, cases] = page.blocks("yaml").try_into().expect("the page has two");
    let policy = page.blocks("cedar").concat();
    for (name, text) in [("labels.yaml", labels), ("cases/it.yaml", cases), ("it.cedar", policy)] {
        std::fs::write(example.join(name), text).expect("it can be written");
    }
    let key = deployment.path("bob.pem");
    std::fs::copy(key, deployment.path("home/bob.pem")).expect("it can be copied");
    let told = page.run(&deployment);
    assert!(told[0].contains("6 cases, 0 of which do not hold"), "{}", told[0]);
    assert!(told[1].contains("\"external\""), "{}", told[1]);
    assert!(caller.call("touch", "six").is_done());
    assert_eq!(caller.call("touch", "seven").code(), "unknown_tool");
    // Another task of the same process begins with what that has read.
    let mut later = Caller::new(&deployment, "canary");
    assert_eq!(later.call("touch", "eight").code(), "unknown_tool");
    let replayed = deployment.run(&["log", "replay"]);
    assert!(replayed.contains("decisions agree"), "{replayed}");

    // What is wrong is told with its line, and what was in force stays.
    let wrong = "labels: { a: x }\ntools:\n  canary/touch: { carries: [b] }\n";
    std::fs::write(example.join("labels.yaml"), wrong).expect("it can be written");
    let told = deployment.run_refused(&["policy", "check", example.to_str().unwrap()]);
    assert!(told.contains("labels.yaml:3: label `b` is not declared"), "{told}");
}
