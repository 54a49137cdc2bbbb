//! What is listed is what could be called.

use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::fixtures::{Case, person, snapshot};
use crate::Outlook;

/// Conditions on arguments; each on members of its own, so that those of two policies can always
/// be satisfied, or not, independently.
const ON_INPUT: [&str; 6] = [
    "true",
    "context.input has amount && context.input.amount > 1",
    r#"context.input has account && context.input.account == "a""#,
    r#"context.input has tags && context.input.tags.contains("t")"#,
    r#"context.input has to && context.input.to.iban like "D*""#,
    r#"context.input has price && context.input.price.lessThan(decimal("1.0"))"#,
];
/// Conditions that are known before the arguments are.
const KNOWN: [&str; 5] = [
    "true",
    "false",
    r#"context.purpose == "care""#,
    r#"context.session.labels.contains("external")"#,
    "context.session.counters.calls * 2 > 3",
];

fn arguments() -> Vec<Value> {
    let choices = |name: &str, values: &[Value]| -> Vec<Option<(String, Value)>> {
        let some = values.iter().map(|value| Some((name.to_owned(), value.clone())));
        std::iter::once(None).chain(some).collect()
    };
    let members = [
        choices("amount", &[json!(1), json!(2)]),
        choices("account", &[json!("a"), json!("b")]),
        choices("tags", &[json!([]), json!(["t"])]),
        choices("to", &[json!({ "iban": "DE" }), json!({ "iban": "FR" })]),
        choices("price", &[json!(0.5), json!(1)]),
    ];
    members.iter().fold(vec![json!({})], |all, choices| {
        let extend = |base: Value| {
            choices.iter().map(move |choice| {
                let mut extended = base.clone();
                if let (Value::Object(object), Some((name, value))) = (&mut extended, choice) {
                    object.insert(name.clone(), value.clone());
                }
                extended
            })
        };
        all.into_iter().flat_map(extend).collect()
    })
}

fn case() -> impl Strategy<Value = Case> {
    let calls = prop_oneof![0_i64..4, Just(i64::MAX)];
    (any::<bool>(), any::<bool>(), calls).prop_map(|(subject, external, calls)| {
        let mut case = Case::call("payments/refund", Value::Null);
        if subject {
            case = case.on_behalf_of(person("carla", &["clerks"]));
        }
        if external {
            case.facts.session.labels.insert("external".parse().unwrap());
        }
        case.facts.session.counters.insert("calls".to_owned(), calls);
        case
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Both ways: hidden is never permitted, and listed is permitted for some arguments.
    #[test]
    fn i_24_list_equals_callable(
        permits in prop::collection::vec((0..ON_INPUT.len(), 0..KNOWN.len()), 0..3),
        // Each member is asked about by one forbid at most, and permits are few enough to leave
        // some arguments over.
        forbid in prop::option::of((1..ON_INPUT.len(), 0..KNOWN.len())),
        case in case(),
    ) {
        let mut text = String::from(
            r#"@id("names") @mode("observe") forbid(principal, action, resource);"#,
        );
        for (n, (input, known)) in permits.iter().enumerate() {
            let both = format!("{} && ({})", KNOWN[*known], ON_INPUT[*input]);
            let _ = write!(
                text,
                r#"@id("p{n}") permit(principal, action == Action::"payments/refund", resource)
                   when {{ {both} }};"#
            );
        }
        // A forbid on what a permit asks for would need a solver to see through.
        let clash = |input: &usize| permits.iter().any(|(asked, _)| asked == input);
        if let Some((input, known)) = forbid.filter(|(input, _)| !clash(input)) {
            let _ = write!(
                text,
                r#"@id("f") forbid(principal, action == Action::"payments/refund", resource)
                   when {{ {} && ({}) }};"#,
                KNOWN[known], ON_INPUT[input]
            );
        }
        let snapshot = snapshot(&text);
        let bases = arguments().into_iter().filter_map(|input| {
            let mut case = case.clone();
            case.request.input = input;
            match case.decide(&snapshot) {
                model::Decision::Permit(grant) => Some(grant.basis),
                model::Decision::Deny(_) => None,
            }
        });
        // A few of them will do.
        let bases: Vec<_> = bases.take(16).collect();
        prop_assert_eq!(case.could_permit(&snapshot), !bases.is_empty(), "{}", text);
        // What permits some call is foreseen, and nothing is where none is permitted.
        let foreseen = snapshot.foresee(&case.request, &case.facts()).basis;
        prop_assert!(bases.iter().all(|basis| basis.is_subset(&foreseen)), "{}", text);
        prop_assert_eq!(foreseen.is_empty(), bases.is_empty(), "{}", text);
    }
}

#[test]
fn n_044_a_hidden_tool_is_never_permitted() {
    let snapshot = snapshot(
        r#"@id("a") permit(principal, action == Action::"crm/lookup", resource)
           when { context.input.id > 5 };
           @id("b") forbid(principal, action == Action::"crm/lookup", resource)
           when { context.session.labels.contains("external") };"#,
    );
    let mut case = Case::call("crm/lookup", json!({ "id": 6 }));
    assert!(case.could_permit(&snapshot));
    assert!(matches!(case.decide(&snapshot), model::Decision::Permit(_)));
    case.facts.session.labels.insert("external".parse().unwrap());
    assert!(!case.could_permit(&snapshot));
    assert!(matches!(case.decide(&snapshot), model::Decision::Deny(_)));
    let unnamed = Case::call("tickets/close", json!({}));
    assert!(!unnamed.could_permit(&snapshot));
}

/// Who may not do it as things are, and could with somebody's approval, is told so when they ask.
#[test]
fn what_something_could_lift_is_shown_and_denied() {
    let set = |annotation: &str| {
        snapshot(&format!(
            r#"@id("a") permit(principal, action == Action::"crm/lookup", resource);
               @id("b") {annotation} forbid(principal, action == Action::"crm/lookup", resource);"#
        ))
    };
    let case = Case::call("crm/lookup", json!({ "id": 6 }));
    assert!(!case.could_permit(&set("")));
    let liftable = set(r#"@remedy("approval")"#);
    assert!(case.could_permit(&liftable));
    let model::Decision::Deny(denial) = case.decide(&liftable) else { panic!("it is forbidden") };
    assert_eq!(denial.remedies().len(), 1);
}

#[test]
fn r_49_what_something_could_lift_is_told_apart_from_what_could_be_done() {
    let check = |forbid: &str, expected: Outlook| {
        let snapshot = snapshot(&format!(
            r#"@id("a") permit(principal, action == Action::"crm/lookup", resource); {forbid}"#
        ));
        let case = Case::call("crm/lookup", Value::Null);
        let foreseen = snapshot.foresee(&case.request, &case.facts());
        assert_eq!(foreseen.outlook, expected, "{forbid}");
        // What is denied rests on nothing.
        let basis: Vec<_> = foreseen.basis.iter().map(ToString::to_string).collect();
        let named: &[&str] = if expected == Outlook::Denied { &[] } else { &["a"] };
        assert_eq!(basis, named, "{forbid}");
    };
    let forbid = r#"forbid(principal, action == Action::"crm/lookup", resource)"#;
    check("", Outlook::Possible);
    check(&format!(r#"@id("b") {forbid};"#), Outlook::Denied);
    check(&format!(r#"@id("b") @remedy("approval") {forbid};"#), Outlook::Liftable);
    let on_input =
        format!(r#"@id("b") @remedy("approval") {forbid} when {{ context.input.id > 5 }};"#);
    check(&on_input, Outlook::Possible);
    check(&format!(r#"@id("b") @mode("observe") {forbid};"#), Outlook::Possible);
}

/// What is named by URI could be read, whatever the URI, by whom a permit could be for.
#[test]
fn r_49_what_could_be_read_beside_tools_is_told_by_server_and_agent() {
    let check = |scope: &str, expected: bool| {
        let snapshot = snapshot(&format!(r#"@id("a") permit({scope});"#));
        let [agent, server] = ["billing", "crm"];
        let place = ("resources/read", &server.parse().expect("a server"));
        let told = snapshot.could_touch(&agent.parse().expect("an agent"), place);
        assert_eq!(told, expected, "{scope}");
    };
    check(r#"principal, action == Action::"resources/read", resource"#, true);
    check(r#"principal, action == Action::"resources/read", resource in Server::"crm""#, true);
    check(r#"principal, action == Action::"resources/read", resource == Resource::"crm/a""#, true);
    check(r#"principal in Agent::"billing", action, resource"#, true);
    check(r#"principal is Instance, action, resource is Resource in Server::"crm""#, true);
    check(r#"principal in Agent::"other", action, resource"#, false);
    check(r#"principal in Group::"administrators", action, resource"#, false);
    check(r#"principal, action == Action::"resources/read", resource in Server::"other""#, false);
    check(r#"principal, action == Action::"prompts/get", resource"#, false);
}

#[test]
fn methods_are_shown_as_they_are_decided() {
    let snapshot = snapshot(
        r#"@id("a") permit(principal, action == Action::"tools/list", resource == Server::"crm");"#,
    );
    assert!(Case::method("tools/list", "crm").could_permit(&snapshot));
    assert!(!Case::method("tools/list", "payments").could_permit(&snapshot));
}

/// A permit names a tool by its action, by the tool, or by the server for calls in general.
#[test]
fn what_names_a_tool() {
    let names = |scope: &str| {
        let snapshot = snapshot(&format!(r#"@id("a") permit(principal, {scope});"#));
        snapshot.names_tool(&super::fixtures::tool_ref("crm/lookup"))
    };
    assert!(names(r#"action == Action::"crm/lookup", resource"#));
    assert!(names(r#"action in [Action::"crm/lookup", Action::"tools/list"], resource"#));
    assert!(names(r#"action, resource == Tool::"crm/lookup""#));
    assert!(names(r#"action in Action::"tools/call", resource in Server::"crm""#));
    assert!(names(r#"action, resource is Tool in Server::"crm""#));
    assert!(!names("action, resource"));
    assert!(!names(r#"action in Action::"tools/call", resource"#));
    assert!(!names(r#"action in Action::"tools/call", resource in Server::"payments""#));
    assert!(!names(r#"action == Action::"tools/list", resource in Server::"crm""#));
    assert!(!names(r#"action, resource == Server::"crm""#));
    let observed = snapshot(
        r#"@id("a") @mode("observe") permit(principal, action == Action::"crm/lookup", resource);"#,
    );
    assert!(!observed.names_tool(&super::fixtures::tool_ref("crm/lookup")));
}
