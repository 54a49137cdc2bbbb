//! How an answer came about.

use serde_json::json;

use super::fixtures::{Case, snapshot};
use crate::Snapshot;

/// What is told of the one policy with a condition, of a call of `crm/lookup`.
fn check(condition: &str, met: Option<bool>, saw: &[(&str, Option<&str>)]) {
    let text = format!(
        r#"@id("it") permit (principal, action in Action::"tools/call", resource in Server::"crm") {condition};"#
    );
    let snapshot: Snapshot = snapshot(&text);
    let case = Case::call("crm/lookup", json!({ "id": 7 }));
    let explained = snapshot.explain(&case.request, &case.facts());
    let of_instance = explained.asked.iter().find(|it| it.of == "instance").expect("it is asked");
    let [condition] = of_instance.conditions.as_slice() else { panic!("{of_instance:?}") };
    assert_eq!(condition.met, met, "{condition:?}");
    let told: Vec<_> =
        condition.saw.iter().map(|(path, value)| (path.as_str(), value.as_deref())).collect();
    assert_eq!(told, saw);
}

#[test]
fn each_condition_tells_whether_it_is_met_and_what_it_saw() {
    check("when { context.depth == 0 }", Some(true), &[("context.depth", Some("0"))]);
    check("when { context.depth > 3 }", Some(false), &[("context.depth", Some("0"))]);
    check("unless { context.depth > 3 }", Some(true), &[("context.depth", Some("0"))]);
    check("when { context.input.id == 7 }", Some(true), &[("context.input.id", Some("7"))]);
    check("when { context.sponsor has unit }", Some(false), &[("context.sponsor.unit", None)]);
}

/// What could not be evaluated says why: it failed, or the policy never came to it.
#[test]
fn what_is_not_evaluated_says_why() {
    let check = |condition: &str, of_policy: Option<&str>, of_last: Option<&str>| {
        let text = format!(
            r#"@id("it") permit (principal, action == Action::"crm/lookup", resource) when {{ {condition} }};"#
        );
        let snapshot: Snapshot = snapshot(&text);
        let case = Case::call("crm/lookup", json!({ "id": 7 }));
        let explained = snapshot.explain(&case.request, &case.facts());
        let it = explained.asked.iter().find(|it| it.of == "instance").expect("it is asked");
        let last = it.conditions.last().expect("it has conditions");
        for (why, is_told, expected) in
            [(&it.why, it.applies.is_none(), of_policy), (&last.why, last.met.is_none(), of_last)]
        {
            assert_eq!(why.is_some(), is_told, "{it:?}");
            assert_eq!(why.is_some(), expected.is_some(), "{it:?}");
            let why = why.as_deref().unwrap_or_default();
            assert!(why.contains(expected.unwrap_or_default()), "{why}");
        }
    };
    let overflows = "context.depth - 9223372036854775807 - 2 > 0";
    check(overflows, Some("overflow"), Some("overflow"));
    check(&format!("context.depth > 3 && {overflows}"), None, Some("never come to"));
    check(&format!("context.depth == 0 && {overflows}"), Some("overflow"), Some("overflow"));
    check("context.depth == 0 && context.input.id > 0", None, None);
}

/// It is there, and whoever only observes is not taken to have looked at nothing.
#[test]
fn an_argument_without_an_exact_value_is_not_told_as_missing() {
    let text = r#"
        @id("all") permit (principal, action == Action::"payments/refund", resource);
        @id("tried") @mode("observe") forbid (principal, action == Action::"payments/refund", resource)
        when { context.input has price && context.input.price.greaterThan(decimal("5.0")) };"#;
    let inexact = Some("a value that policies cannot see exactly");
    let check = |price: serde_json::Value, applies: Option<bool>| {
        let snapshot: Snapshot = snapshot(text);
        let case = Case::call("payments/refund", json!({ "price": price }));
        let explained = snapshot.explain(&case.request, &case.facts());
        let tried = explained.asked.iter().find(|it| it.policy.as_str() == "tried");
        let tried = tried.expect("it is asked");
        assert_eq!((tried.applies, tried.why.is_some()), (applies, applies.is_none()), "{tried:?}");
        for condition in &tried.conditions {
            assert_eq!(condition.met.is_none(), applies.is_none(), "{condition:?}");
            let [(path, value)] = condition.saw.as_slice() else { panic!("{condition:?}") };
            assert_eq!((path.as_str(), value.is_some()), ("context.input.price", true));
            assert_eq!(value.as_deref() == inexact, applies.is_none(), "{condition:?}");
        }
    };
    check(json!(1e-5), None);
    check(json!(5.5), Some(true));
}

#[test]
fn every_condition_of_a_set_is_told_as_it_is_when_it_is_asked() {
    let text = r#"
        @id("asked") permit (principal, action in Action::"tools/call", resource in Server::"crm")
        when { context.depth == 0 && context.input.id == 7 } unless { context.depth > 3 };
        @id("other") forbid (principal, action == Action::"payments/refund", resource)
        when { context.depth > 9 };"#;
    let snapshot: Snapshot = snapshot(text);
    let all: Vec<_> =
        snapshot.conditions().map(|(id, text)| (id.as_str().to_owned(), text)).collect();
    let case = Case::call("crm/lookup", json!({ "id": 7 }));
    let explained = snapshot.explain(&case.request, &case.facts());
    let of_instance = explained.asked.iter().find(|it| it.of == "instance").expect("it is asked");
    let asked = of_instance.conditions.iter().map(|it| ("asked".to_owned(), it.text.clone()));
    let mut expected: Vec<_> = asked.collect();
    assert_eq!(expected.len(), 3, "{expected:?}");
    expected.push(("other".to_owned(), "!(context.depth <= 9)".to_owned()));
    assert_eq!(all, expected);
}

/// A denial of what others are permitted does not say that nobody is.
#[test]
fn permits_that_are_about_others_are_told_with_whom_they_are_about() {
    let policies = [
        r#"@id("others") permit (principal in Agent::"other", action == Action::"crm/lookup", resource);"#,
        r#"@id("desk") permit (principal is Person in Group::"desk", action == Action::"crm/lookup", resource);"#,
        r#"@id("refunds") permit (principal in Agent::"other", action == Action::"payments/refund", resource);"#,
        r#"@id("tried") @mode("observe") permit (principal in Agent::"other", action == Action::"crm/lookup", resource);"#,
        r#"@id("never") forbid (principal in Agent::"other", action == Action::"crm/lookup", resource);"#,
        r#"@id("own") permit (principal, action == Action::"crm/lookup", resource) when { context.depth > 9 };"#,
    ];
    let snapshot: Snapshot = snapshot(&policies.concat());
    let case = Case::call("crm/lookup", json!({ "id": 7 }));
    let explained = snapshot.explain(&case.request, &case.facts());
    let told = explained.for_others.iter().map(|it| (it.policy.as_str(), it.whom.as_str()));
    let expected = [
        ("others", r#"principal in Agent::"other""#),
        ("desk", r#"principal is Person in Group::"desk""#),
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    assert!(explained.asked.iter().all(|it| it.policy.as_str() == "own"), "{:?}", explained.asked);
}
