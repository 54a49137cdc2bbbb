//! Offboarding at the real service: who leaves holds nothing any longer, and a report says since when.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::sync::atomic::{AtomicBool, Ordering};

use e2e::scim::Provider;
use e2e::{Caller, Canary, Deployment, Options, Page};
use serde_json::{Value, json};

const POLICY: &str = r#"
@id("canary") permit (principal, action in Action::"tools/call", resource in Server::"canary");
"#;

struct Stage {
    deployment: Deployment,
    provider: Provider,
    canary: Canary,
}

impl Stage {
    /// The agent `bot`, for which `sam` answers, whom a directory knows and who reports to `bob`.
    fn set() -> Self {
        let (canary, port) = (Canary::start(), e2e::free_port());
        let policy = POLICY.to_owned();
        let options = Options { policy, observers: Some(port), ..Options::default() };
        let deployment = Deployment::with_canary(canary.port, "changes-production", options);
        let file = deployment.path("okta.token").display().to_string();
        deployment.run(&["directory", "add", "okta", "--token", &file]);
        let token = std::fs::read_to_string(file).expect("it was written");
        let provider = Provider { base: format!("http://127.0.0.1:{port}/scim/v2"), token };
        deployment.run(&["directory", "adopt", "okta", "sam"]);
        provider.add("sam", Some("bob"));
        Self { deployment, provider, canary }
    }

    fn report(&self, whose: &[&str]) -> (Option<i32>, Value) {
        let report = [&["offboard"], whose, &["--report", "--json"]].concat();
        let (code, printed) = self.deployment.run_told(&report);
        (code, serde_json::from_str(&printed).expect("it is JSON"))
    }
}

/// The credentials of one state in a report.
fn kinds<'a>(report: &'a Value, state: &str) -> Vec<&'a str> {
    let rows = report["credentials"].as_array().expect("there are some").iter();
    let rows = rows.filter(|row| row["state"] == state);
    let mut kinds: Vec<_> = rows.map(|row| row["kind"].as_str().expect("a kind")).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// Somebody leaves by their directory while their agent is at work: before, the report names what counts
/// and ends with 3; afterwards it ends with 0, and every credential has a record and a time.
#[test]
fn r_19_who_left_holds_nothing_and_the_report_says_since_when() {
    let stage = Stage::set();
    let mut first = Caller::new(&stage.deployment, "canary");
    assert!(first.call("touch", "before").is_done());
    let (code, report) = stage.report(&["sam"]);
    assert_eq!(code, Some(3), "{report}");
    let all = ["agent_key", "host_rule", "instance", "standing_mandate", "task", "token"];
    assert_eq!(kinds(&report, "valid"), all, "{report}");
    assert_eq!(report["is_over"], false);

    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for name in ["one", "two", "three"] {
            let (stage, is_over) = (&stage, &is_over);
            scope.spawn(move || {
                let mut caller = Caller::new(&stage.deployment, "canary");
                let mut number = 0;
                while !is_over.load(Ordering::SeqCst) {
                    number += 1;
                    let _ = caller.call("touch", &format!("{name}-{number}"));
                }
            });
        }
        e2e::wait_until("all are at work", || (stage.canary.effects().len() > 12).then_some(()));
        stage.provider.leaves("sam");
        is_over.store(true, Ordering::SeqCst);
    });
    let effects = stage.canary.effects().len();
    let (code, report) = e2e::wait_until("nothing is under way", || {
        let (code, report) = stage.report(&["sam"]);
        (report["under_way"] == 0).then_some((code, report))
    });
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(kinds(&report, "dead"), all, "{report}");
    assert_eq!((&report["valid"], &report["permitted_later"]), (&json!(0), &json!(0)), "{report}");
    let last = report["last_effect_ms"].as_u64().unwrap_or(0);
    // Within a second, and here twice that, on a busy machine.
    assert!(last <= 2_000, "{report}");
    // The last of all is the last by one of the paths, and by none of them does anything go on.
    let paths = report["paths"].as_object().expect("they are told");
    assert!(paths.keys().any(|path| path.ends_with(" tools/call")), "{report}");
    let lasts = paths.values().filter_map(|path| path["last_effect_ms"].as_u64());
    assert_eq!(lasts.max().unwrap_or(0), last, "{report}");
    for (path, told) in paths {
        let goes_on = (&told["under_way"], &told["permitted_later"]);
        assert_eq!(goes_on, (&json!(0), &json!(0)), "{path}");
    }
    for row in report["credentials"].as_array().expect("there are some") {
        assert_eq!(row["by"]["action"], "person/restrict", "{row}");
        assert!(row["died"].as_str().is_some_and(|died| died.starts_with("20")), "{row}");
    }
    assert!(!first.call("touch", "after").is_done());
    assert_eq!(stage.canary.effects().len(), effects, "nothing came after the report");

    // It is on record that it was reported, and what it came to.
    let id = report["decision"].as_str().expect("a decision");
    let shown = stage.deployment.run(&["log", "show", id]);
    let shown: Value = serde_json::from_str(&shown).expect("it is JSON");
    assert_eq!(shown["record"]["action"], "person/offboard");
    assert!(shown["disclosure"].to_string().contains("\"is_over\":true"), "{shown}");
    stage.deployment.verify();
}

/// The report is of one agent too, is written where somebody wants it, and without it the command says
/// what takes something away.
#[test]
fn r_19_a_report_of_an_agent_is_written_and_the_command_takes_nothing_away() {
    let stage = Stage::set();
    let mut caller = Caller::new(&stage.deployment, "canary");
    assert!(caller.call("touch", "before").is_done());
    let (code, printed) = stage.deployment.run_told(&["offboard", "sam"]);
    assert_eq!((code, printed.as_str()), (Some(2), ""));
    let said = stage.deployment.run_any(&["offboard", "--agent", "bot"]);
    assert!(said.contains("takes nothing away") && said.contains("agent suspend"), "{said}");

    let file = stage.deployment.path("report.json");
    let path = file.to_str().expect("a path");
    let report = ["offboard", "--agent", "bot", "--report", path];
    let (code, told) = stage.deployment.run_told(&report);
    assert_eq!(code, Some(3), "{told}");
    assert!(told.contains("NOT over: 6 still count"), "{told}");
    let written = std::fs::read_to_string(&file).expect("it was written");
    let written: Value = serde_json::from_str(&written).expect("it is JSON");
    assert_eq!(written["valid"], 6, "{written}");
    assert!(caller.call("touch", "still").is_done(), "a report takes nothing away");

    stage.deployment.run(&["agent", "suspend", "bot", "--reason", "a test"]);
    let (code, told) = stage.deployment.run_told(&report);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("agent/suspend") && told.contains("actor_not_active"), "{told}");
    let (code, told) = stage.deployment.run_told(&["offboard", "nobody", "--report"]);
    assert_eq!((code, told.as_str()), (Some(1), ""));
}

/// The page's commands, as they stand there.
#[test]
fn the_page_on_offboarding_shows_what_works() {
    let stage = Stage::set();
    assert!(Caller::new(&stage.deployment, "canary").call("touch", "before").is_done());
    let printed = Page::read("offboarding.md", &[]).run(&stage.deployment);
    assert!(printed[0].contains("NOT over"), "{}", printed[0]);
    assert!(printed[1].contains("nothing counts any longer"), "{}", printed[1]);
    assert!(printed[2].contains("Tool::canary/touch returned (record dec_"), "{}", printed[2]);
}
