//! What policies look at of a session that is remembered for them alone.

use expect_test::{Expect, expect};
use model::{Decision, Denial, Origin};
use serde_json::{Value, json};

use super::fixtures::{Case, bundle, show, tool_ref};
use crate::{Bundle, Snapshot};

const PERMIT: &str = r#"@id("all") permit(principal, action in Action::"tools/call",
    resource in Server::"payments");"#;

const LABELS: &str = "labels: { out: Others. }\noutsiders: [out]\n";

fn compiled(policy: &str, labels: Option<&str>) -> Result<Snapshot, crate::CompileErrors> {
    let labels = labels.map(str::to_owned);
    Snapshot::compile(Bundle { labels, ..bundle(&format!("{PERMIT} {policy}")) })
}

#[test]
fn a_counter_is_typed_for_each_tool_of_the_set() {
    let counting = |name: &str| {
        format!(
            r#"@id("few") forbid(principal, action == Action::"payments/refund", resource)
               when {{ context.session.counters["{name}"] >= 3 }};"#
        )
    };
    assert!(compiled(&counting("crm/gone"), None).is_err());
    let snapshot = compiled(&counting("crm/lookup"), None).expect("it compiles");
    assert_eq!(snapshot.remembered().counted, [tool_ref("crm/lookup")].into());
    let (text, _) = crate::schema_text(snapshot.bundle()).expect("it has a text");
    assert!(text.contains(r#""payments/refund": "#));
    let mut case = Case::call("payments/refund", json!({}));
    for (count, is_permitted) in [(0, true), (2, true), (3, false)] {
        case.facts.session.counters.insert("crm/lookup".to_owned(), count);
        let answer = show(&case.decide(&snapshot));
        assert_eq!(answer.starts_with("permit"), is_permitted, "{count}: {answer}");
        case.request.input = Value::Null;
        assert_eq!(case.could_permit(&snapshot), is_permitted, "{count}");
        case.request.input = json!({});
    }
}

#[test]
fn where_arguments_come_from_is_looked_at_where_somebody_is_an_outsider() {
    let policy = r#"@id("known") forbid(principal, action == Action::"payments/refund", resource)
        unless { context.provenance.mandate.contains("account") };"#;
    let check = |labels: Option<&str>, expected: Expect| {
        let found = compiled(policy, labels).map(drop).map_err(|errors| errors.to_string());
        expected.assert_eq(&found.err().unwrap_or_default());
    };
    let wrong = expect![
        "labels.yaml: a policy looks at `provenance`: say which labels others' texts have, in `outsiders`"
    ];
    check(None, wrong);
    check(
        Some("labels: { out: Others. }\noutsiders: [others]\n"),
        expect!["labels.yaml:2: label `others` is not declared: add it to `labels`"],
    );
    check(Some(LABELS), expect![""]);
}

/// It is unknown while the arguments are: what is listed could be called.
#[test]
fn where_arguments_come_from_hides_no_tool() {
    let policy = r#"@id("known") forbid(principal, action == Action::"payments/refund", resource)
        unless { context.provenance.mandate.contains("account") };"#;
    let snapshot = compiled(policy, Some(LABELS)).expect("it compiles");
    assert!(snapshot.remembered().said.is_some());
    assert!(Case::call("payments/refund", Value::Null).could_permit(&snapshot));
    let mut case = Case::call("payments/refund", json!({ "account": "a" }));
    for (origin, is_permitted) in [(Origin::Unknown, false), (Origin::Mandate, true)] {
        case.facts.session.provenance.insert("account".to_owned(), origin);
        let answer = show(&case.decide(&snapshot));
        assert_eq!(answer.starts_with("permit"), is_permitted, "{origin:?}: {answer}");
    }
}

/// An argument of that name is an argument.
#[test]
fn what_is_called_alike_is_not_remembered() {
    let policy = r#"@id("alike") forbid(principal, action == Action::"payments/refund", resource)
        when { {provenance: 1}.provenance == 2 };"#;
    assert_eq!(compiled(policy, None).expect("it compiles").remembered().said, None);
}

/// As a whole it could not be told while the arguments are unknown.
#[test]
fn where_arguments_come_from_is_looked_at_by_its_members_alone() {
    let whole = r#"@id("whole") forbid(principal, action == Action::"payments/refund", resource)
        when { context.provenance == context.provenance };"#;
    let errors = compiled(whole, Some(LABELS)).expect_err("it is refused").to_string();
    assert!(errors.contains("`context.provenance` as a whole"), "{errors}");
    let is_there = r#"@id("there") forbid(principal, action == Action::"payments/refund", resource)
        when { context has provenance && context.provenance.untrusted.contains("account") };"#;
    assert!(compiled(is_there, Some(LABELS)).is_ok());
}

/// It names none of the tools that were called, and hangs on them all the same.
#[test]
fn a_session_as_a_whole_is_looked_at_with_what_was_called() {
    let whole =
        r#"context.session == {labels: ["out"], used_tools: ["crm/lookup"], counters: {calls: 1}}"#;
    // Of a record that is made up the members are no attributes.
    let part = "context.session.counters == {calls: 1}";
    for (condition, looks) in [(whole, true), (part, false)] {
        let policy = format!(
            r#"@id("it") forbid(principal, action == Action::"payments/refund", resource)
               when {{ {condition} }};"#
        );
        let snapshot = compiled(&policy, Some(LABELS)).expect("it compiles");
        assert_eq!(snapshot.remembered().used_tools, looks, "{policy}");
        let mut case = Case::call("payments/refund", json!({}));
        case.facts.session.unremembered.insert("used_tools".to_owned());
        let is_denied = case.decide(&snapshot) == Decision::Deny(Denial::Unremembered);
        assert_eq!(is_denied, looks, "{policy}");
    }
}

/// What was remembered by other labels is another thing.
#[test]
fn what_was_remembered_by_other_labels_was_not_remembered() {
    let looks = r#"@id("known") forbid(principal, action == Action::"payments/refund", resource)
        unless { context.provenance.trusted.contains("account") };"#;
    let [now, same, other] =
        [LABELS, LABELS, "labels: { out: Others., in: Ours. }\noutsiders: [out]\n"]
            .map(|labels| compiled(looks, Some(labels)).expect("it compiles"));
    let silent = compiled("", Some(LABELS)).expect("it compiles");
    let case = Case::call("payments/refund", json!({ "account": "a" }));
    let facts = case.facts();
    let beyond = |then: &Snapshot| now.looks_beyond(then, &case.request, &facts);
    assert_eq!([&same, &other, &silent].map(beyond), [false, true, true]);
    assert!(!silent.looks_beyond(&now, &case.request, &facts));
}

/// What nobody remembers may have been done: whoever looks at it denies, and nobody else does.
#[test]
fn what_is_not_remembered_of_a_session_is_not_taken_for_not_done() {
    let crm = r#"@id("crm") permit(principal, action in Action::"tools/call", resource in Server::"crm");"#;
    let used = "context.session.used_tools.contains(\"crm/lookup\")";
    let counted = "context.session.counters[\"crm/lookup\"] > 2";
    for (name, condition) in [("used_tools", used), ("crm/lookup", counted)] {
        for (mode, denies) in [("", true), ("@mode(\"observe\")", false)] {
            let policy = format!(
                r#"{crm} @id("after") {mode} forbid(principal, action == Action::"payments/refund", resource)
                   when {{ {condition} }};"#
            );
            let snapshot = compiled(&policy, None).expect("it compiles");
            let mut case = Case::call("payments/refund", json!({}));
            assert!(matches!(case.decide(&snapshot), Decision::Permit(_)), "{name} {mode}");
            case.facts.session.unremembered.insert(name.to_owned());
            let is_denied = case.decide(&snapshot) == Decision::Deny(Denial::Unremembered);
            assert_eq!(is_denied, denies, "{name} {mode}");
            case.request.input = Value::Null;
            assert_eq!(case.could_permit(&snapshot), !denies, "{name} {mode}");
            let mut other = Case::call("crm/lookup", json!({ "id": 1 }));
            other.facts.session.unremembered.insert(name.to_owned());
            assert!(matches!(other.decide(&snapshot), Decision::Permit(_)), "{name} {mode}");
        }
    }
}
