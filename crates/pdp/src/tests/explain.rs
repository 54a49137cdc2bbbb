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
