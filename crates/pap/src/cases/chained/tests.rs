//! Steps that were found one by one, as those of one task.

use std::cell::Cell;
use std::collections::BTreeMap;

use model::{Decision, Harm};
use testkit::ManualClock;

use super::*;
use crate::cases::{CaseTool, bundle};
use crate::flips::PolicyFiles;

const TOOL: &str = "payments/refund";

/// How long a chain may be tried here.
const TIME: Duration = Duration::from_secs(5);

/// What a solver has where no policy looks at it: the purpose is for no data object.
fn made_up() -> Value {
    json!({ "any_object": false, "objects": [], "any_category": true, "categories": [] })
}

/// Work that is handed on once for each of the `conditions`, until whom the last one is of refunds.
fn set(conditions: &[&str]) -> (Snapshot, Tools) {
    let policy = |(number, condition): (usize, &&str)| {
        let next = number + 1;
        let act = if next < conditions.len() {
            format!(r#"action == Action::"delegate", resource == Agent::"step-{next}""#)
        } else {
            format!(r#"action == Action::"{TOOL}", resource"#)
        };
        format!(
            r#"@id("p{number}") permit (principal in Agent::"step-{number}", {act}) {condition};
            "#
        )
    };
    let policies = conditions.iter().enumerate().map(policy).collect::<Vec<_>>().concat();
    let policies = BTreeMap::from([("chain.cedar".to_owned(), policies)]);
    let tool = CaseTool::described(BTreeSet::from([Harm::MovesMoney]), &json!({}));
    let tools = Tools::from([(TOOL.parse().expect("a tool"), tool)]);
    let files = PolicyFiles { policies, ..PolicyFiles::default() };
    (Snapshot::compile(bundle(&files, &tools)).expect("it compiles"), tools)
}

/// The step at `number`, as a solver has it, in the circumstances that it `found`.
fn step(number: usize, is_last: bool, found: &Value) -> Posed {
    let mut context = json!({
        "input": {}, "attestation": "user", "binding": "dpop", "risk": "none", "confirmed": true, "depth": number,
        "session": { "labels": [], "used_tools": [], "counters": { "calls": 0 } },
    });
    let found = found.as_object().expect("members").clone();
    context.as_object_mut().expect("members").extend(found);
    let (action, resource) = if is_last {
        (TOOL, format!(r#"Tool::"{TOOL}""#))
    } else {
        ("delegate", format!(r#"Agent::"step-{}""#, number + 1))
    };
    let uid = |kind: &str, id: String| json!({ "type": kind, "id": id });
    let agent = uid("Agent", format!("step-{number}"));
    let it = json!({ "uid": uid("Instance", "it".to_owned()), "attrs": {}, "parents": [agent] });
    Posed {
        principal: r#"Instance::"it""#.to_owned(),
        action: format!(r#"Action::"{action}""#),
        resource,
        context,
        entities: json!([it]),
    }
}

/// The cases of a chain of which each step is permitted as long as its condition holds.
fn said(conditions: &[&str], found: &[Value]) -> Result<Vec<Value>, String> {
    assert_eq!(conditions.len(), found.len());
    let (snapshot, tools) = set(conditions);
    let steps: Vec<_> = found
        .iter()
        .enumerate()
        .map(|(number, found)| step(number, number + 1 == conditions.len(), found))
        .collect();
    let decided =
        |_: usize, request: &AccessRequest, facts: &Facts| match snapshot.decide(request, facts) {
            Decision::Permit(_) => Ok(()),
            Decision::Deny(denial) => Err(denial.to_string()),
        };
    chained(&steps, (&snapshot, &tools), &decided, (&ManualClock::new(), TIME))
}

#[test]
fn what_no_step_needs_is_left_out_of_a_chain() {
    let refunds = r#"when { context.purpose == "refunds" }"#;
    let found = |purpose: &str| json!({ "purpose": purpose, "ends": made_up() });
    let check = |conditions: [&str; 2], found: [Value; 2]| {
        let cases = said(&conditions, &found).expect("it is a chain");
        assert_eq!(cases.len(), 2);
        for case in &cases {
            assert_eq!((&case["purpose"], case.get("ends")), (&json!("refunds"), None), "{case}");
        }
    };
    check([refunds, refunds], [found("refunds"), found("refunds")]);
    // What one step needs, the other one does as well.
    check([refunds, ""], [found("refunds"), found("reading")]);
    check(["", refunds], [found("reading"), found("refunds")]);
}

/// All steps are those of one task, whatever each could be by itself.
#[test]
fn what_no_one_task_has_is_no_chain() {
    let purpose = |it: &str| format!(r#"when {{ context.purpose == "{it}" }}"#);
    let found = |purpose: &str| json!({ "purpose": purpose, "ends": made_up() });
    let check = |conditions: [&str; 2], found: [Value; 2]| {
        let why = said(&conditions, &found).expect_err("it is none");
        assert!(why.starts_with("of its step "), "{why}");
    };
    let (reading, refunds) = (purpose("reading"), purpose("refunds"));
    check([reading.as_str(), refunds.as_str()], [found("reading"), found("refunds")]);
    // What the one needs a built-in rule denies to the other.
    let bounded = "when { !context.ends.any_object }";
    check([bounded, ""], [found("refunds"), found("refunds")]);
}

/// What a solver has of the step at `number` where no policy looks at it: in each step something else.
fn made_up_for(number: usize) -> Value {
    let attestation = ["none", "host", "workload"][number % 3];
    json!({
        "subject": { "__entity": { "type": "Person", "id": format!("person-{number}") } },
        "purpose": format!("purpose-{number}"),
        "ends": made_up(),
        "attestation": attestation,
        "session": { "labels": [], "used_tools": [], "counters": { "calls": number + 1 } },
    })
}

/// However many circumstances were made up, that there are none is tried of all of them together.
#[test]
fn what_no_step_of_a_long_chain_needs_is_left_out() {
    const NONE: &str = r#"when { !(context has subject) && context.attestation == "user" && context.session.counters.calls == 0 }"#;
    for steps in [2, 4, 8] {
        let found: Vec<_> = (0..steps).map(made_up_for).collect();
        let cases = said(&vec![NONE; steps], &found).expect("it is a chain");
        assert_eq!(cases.len(), steps);
        let left_out = ["subject", "ends", "attestation", "calls"];
        let is_said = |case: &Value| left_out.iter().any(|member| case.get(member).is_some());
        assert!(!cases.iter().any(is_said), "{cases:?}");
    }
}

/// However long a chain is, that it is none takes no more decisions than there are ways to try, but for the first one.
#[test]
fn a_step_that_fails_is_tried_before_those_that_do_not() {
    const STEPS: usize = 8;
    let (snapshot, tools) = set(&[""; STEPS]);
    let steps: Vec<_> =
        (0..STEPS).map(|number| step(number, number + 1 == STEPS, &made_up_for(number))).collect();
    for failing in [0, STEPS / 2, STEPS - 1] {
        let asked = Cell::new(0);
        let deciding = |number: usize, _: &AccessRequest, _: &Facts| {
            asked.set(asked.get() + 1);
            if number == failing { Err("never".to_owned()) } else { Ok(()) }
        };
        let why = chained(&steps, (&snapshot, &tools), &deciding, (&ManualClock::new(), TIME));
        let why = why.expect_err("it is none");
        assert_eq!(why, format!("of its step {}, never", failing + 1));
        assert!(asked.get() <= WAYS_MAX + failing, "{}", asked.get());
    }
}

/// However long a decision takes: once the time is over, no way is tried any more, and what is found in it counts.
#[test]
fn a_chain_is_tried_no_longer_than_that() {
    let (snapshot, tools) = set(&[""]);
    let steps = [step(0, true, &made_up_for(0))];
    // It is decided so at the way of that number.
    let check = |held_at: u64, expected: (bool, u64)| {
        let (clock, ways) = (ManualClock::new(), Cell::new(0));
        let deciding = |_: usize, _: &AccessRequest, _: &Facts| {
            clock.advance(Duration::from_secs(1));
            ways.set(ways.get() + 1);
            if ways.get() == held_at { Ok(()) } else { Err("never".to_owned()) }
        };
        let found = chained(&steps, (&snapshot, &tools), &deciding, (&clock, TIME));
        assert_eq!((found.is_ok(), ways.get()), expected, "{found:?}");
        if let Err(why) = found {
            assert_eq!(why, "trying it as cases took 5s, which is the most");
        }
    };
    check(TIME.as_secs(), (true, TIME.as_secs()));
    check(TIME.as_secs() + 1, (false, TIME.as_secs()));
}

#[test]
fn each_way_is_tried_once_and_the_first_of_all_first() {
    let all: Vec<_> = ways(&[3, 1, 2]).collect();
    let expected: [[usize; 3]; 6] =
        [[0, 0, 0], [1, 0, 0], [0, 0, 1], [1, 0, 1], [2, 0, 0], [2, 0, 1]];
    assert_eq!(all, expected);
    assert_eq!(ways(&[10; 8]).take(WAYS_MAX).count(), WAYS_MAX);
}
