//! Random pairs of sets: what is proved of them is so wherever one looks.

use analysis::Verdict;
use pdp::Posed;
use proptest::prelude::*;
use serde_json::json;

use crate::support::{Asked, report, snapshot};

const PRINCIPALS: [&str; 3] =
    ["principal", r#"principal in Agent::"billing""#, "principal is Instance"];

/// One of them can fail.
const CONDITIONS: [&str; 8] = [
    "",
    "when { context.depth < 2 }",
    "unless { context.depth < 2 }",
    r#"when { context.risk == "high" }"#,
    r#"when { ["low", "none"].contains(context.risk) && context.depth != 1 }"#,
    "when { context.input has id && context.input.id > 3 }",
    "when { context.input has id && context.input.id + 9223372036854775800 > 3 }",
    "when { context.depth > 8 }",
];

type Parts = (bool, usize, usize);

fn set() -> impl Strategy<Value = Vec<Parts>> {
    let policy = (prop::bool::weighted(0.3), 0..PRINCIPALS.len(), 0..CONDITIONS.len());
    prop::collection::vec(policy, 1..4)
}

fn text(set: &[Parts]) -> String {
    let policy = |(number, (forbid, principal, condition)): (usize, &Parts)| {
        let effect = if *forbid { "forbid" } else { "permit" };
        format!(
            "@id(\"p{number}\") {effect} ({}, action == Action::\"crm/lookup\", resource) {};\n",
            PRINCIPALS[*principal], CONDITIONS[*condition]
        )
    };
    set.iter().enumerate().map(policy).collect()
}

/// Calls of `crm/lookup` by an instance, of all kinds that the conditions tell apart.
fn calls() -> Vec<Posed> {
    let mut all = Vec::new();
    for agent in ["billing", "other"] {
        for risk in ["none", "low", "high"] {
            for depth in 0..4 {
                for id in [None, Some(1), Some(5), Some(i64::MAX)] {
                    all.push(call(agent, risk, depth, id));
                }
            }
        }
    }
    all
}

fn call(agent: &str, risk: &str, depth: i64, id: Option<i64>) -> Posed {
    let input = id.map_or_else(|| json!({}), |id| json!({ "id": id }));
    let uid = |kind: &str, id: &str| json!({ "type": kind, "id": id });
    Posed {
        principal: r#"Instance::"it""#.to_owned(),
        action: r#"Action::"crm/lookup""#.to_owned(),
        resource: r#"Tool::"crm/lookup""#.to_owned(),
        context: json!({ "depth": depth, "risk": risk, "input": input }),
        entities: json!([
            { "uid": uid("Instance", "it"), "attrs": {}, "parents": [uid("Agent", agent)] },
            { "uid": uid("Tool", "crm/lookup"), "attrs": {}, "parents": [uid("Server", "crm")] },
        ]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn what_is_proved_is_so(set in set(), against in set()) {
        let (set, against) = (text(&set), text(&against));
        let asked = Asked { set: &set, against: Some(&against), ..Asked::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let report = runtime.expect("a runtime").block_on(report(asked));
        let (set, against) = (snapshot(&set), snapshot(&against));
        // A tool that no permit names is not callable: then no policy is ever asked.
        let is_callable = set.names_tool(&"crm/lookup".parse().unwrap());
        for call in calls() {
            let (new, old) = (set.pose(&call, &[]).unwrap(), against.pose(&call, &[]).unwrap());
            if is_callable && matches!(report.shown[0].verdict, Verdict::Proved) {
                prop_assert!(new.errors.is_empty(), "{call:?}");
            }
            if matches!(report.shown[1].verdict, Verdict::Proved) {
                prop_assert!(!new.is_permitted || old.is_permitted, "{call:?}");
            }
        }
    }
}
