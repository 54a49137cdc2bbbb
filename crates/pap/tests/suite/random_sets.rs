//! Random sets over a real log: whatever was asked under whatever sets, its record is decided again as it was.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::Clock as _;
use pap::{Command, PolicyFiles};
use proptest::prelude::*;
use serde_json::json;

use crate::desk::{Desk, files};
use crate::support::POLICY;

/// What sets may hold besides: they look at the call, and at what was called, read and handed on before. One is under
/// observation, and one can fail.
const POLICIES: [&str; 7] = [
    r#"@id("after") forbid (principal, action == Action::"crm/refund", resource)
       when { context.session.used_tools.contains("crm/lookup") };"#,
    r#"@id("twice") forbid (principal, action == Action::"crm/lookup", resource)
       when { context.session.counters["crm/lookup"] >= 2 };"#,
    r#"@id("private") forbid (principal, action == Action::"crm/refund", resource)
       when { context.session.labels.contains("private") };"#,
    r#"@id("said") @obligation("notify:desk") permit (principal, action == Action::"crm/refund", resource)
       when { !context.provenance.untrusted.contains("amount") && context.depth == 0 };"#,
    r#"@id("fails") forbid (principal, action == Action::"crm/lookup", resource)
       when { context.session.counters.calls * 4611686018427387904 < 0 };"#,
    r#"@id("watched") @mode("observe") forbid (principal, action in Action::"tools/call", resource);"#,
    r#"@id("nobody") forbid (principal, action == Action::"crm/deploy", resource);"#,
];

const LABELS: &str = "labels: { private: Personal. }
tools: { crm/lookup: { carries: [private] } }
outsiders: [private]
";

const BUDGETS: &str =
    "budgets: { few: { description: x, match: {}, amount: calls, cap: 4, per: task } }\n";

const TOOLS: [&str; 3] = ["lookup", "refund", "deploy"];

/// A set, but for its budgets, and what is called under it.
#[derive(Clone, Debug)]
struct Step {
    policies: Vec<&'static str>,
    has_labels: bool,
    calls: Vec<&'static str>,
}

fn step() -> impl Strategy<Value = Step> {
    let policies = prop::sample::subsequence(POLICIES.to_vec(), 0..=POLICIES.len());
    let calls = prop::collection::vec(prop::sample::select(TOOLS.to_vec()), 1..6);
    (policies, any::<bool>(), calls).prop_map(|(policies, has_labels, calls)| {
        // What speaks of labels, or of what outsiders said, is compiled where they are declared.
        let has_labels = has_labels || POLICIES[2..4].iter().any(|it| policies.contains(it));
        Step { policies, has_labels, calls }
    })
}

impl Step {
    fn files(&self, has_budgets: bool) -> BTreeMap<String, String> {
        let mut files = files(&format!("{POLICY}{}", self.policies.concat()));
        let more = [
            (self.has_labels, pdp::LABELS_FILE, LABELS),
            (has_budgets, pdp::BUDGETS_FILE, BUDGETS),
        ];
        let more = more.into_iter().filter(|(is_there, ..)| *is_there);
        files.extend(more.map(|(_, name, text)| (name.to_owned(), text.to_owned())));
        files
    }
}

/// Does all steps, one after the other, and decides again what was recorded; how often a set beside answered in time.
async fn replayed(steps: &[Step], has_budgets: bool) -> u64 {
    let desk = Desk::new().await;
    let mut calls = 0;
    for (at, step) in steps.iter().enumerate() {
        desk.world.clock.advance(Duration::from_secs(1));
        let since = desk.world.clock.now();
        desk.publisher.replace(step.files(has_budgets)).await.expect("it is in force");
        // Another one decides beside it.
        let beside = steps[(at + 1) % steps.len()].files(has_budgets);
        desk.publisher.observe(Some(beside.into())).await.expect("it is observed");
        for tool in &step.calls {
            desk.call(tool).await;
            calls += 1;
        }
        // The set in force, tried since it is, answers as it did.
        let files = PolicyFiles::of(step.files(has_budgets));
        let asked = Command::PolicyReplay { files, from: 0, since: Some(since) };
        let told = desk.run(asked).await.expect("it is tried");
        assert_eq!((&told["flips"], &told["damaged"]), (&json!([]), &json!(0)), "{step:?}: {told}");
    }
    desk.world.drained().await;
    let told = desk.run(Command::LogReplay).await.expect("it is replayed");
    assert_eq!((&told["differ"], &told["erased"]), (&json!([]), &json!(0)), "{steps:?}");
    let count = |name: &str| told[name].as_u64().expect("a number");
    assert!(count("agreed") + count("by_commit") >= calls, "{told}");
    // Of what a budget denied nothing is told of the set beside.
    let beside = count("observed") + count("unanswered") + count("by_commit");
    assert!(has_budgets || beside >= calls, "{told}");
    count("observed")
}

#[test]
fn r_38_what_random_sets_decided_is_decided_again() {
    let config = ProptestConfig { cases: 12, ..ProptestConfig::default() };
    let observed = AtomicU64::new(0);
    let steps = prop::collection::vec(step(), 1..4);
    proptest!(config, |(steps in steps, has_budgets in any::<bool>())| {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let beside = runtime.block_on(Box::pin(replayed(&steps, has_budgets)));
        observed.fetch_add(beside, Ordering::Relaxed);
    });
    assert!(observed.into_inner() > 0, "no set under observation answered in time");
}
