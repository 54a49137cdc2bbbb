//! What a policy set answers to one question.

use expect_test::{Expect, expect};
use model::Harm;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::fixtures::{Case, bundle, scope, show, snapshot, tool_ref};
use crate::candidates::OBSERVED_MAX;
use crate::{Bundle, CANDIDATES_MAX, Snapshot, ToolSchema};

const ALL: &str = r#"@id("all") permit(principal, action, resource in Server::"payments");"#;

fn check(policies: &str, input: Value, expected: Expect) {
    let case = Case::call("payments/refund", input);
    expected.assert_eq(&show(&case.decide(&snapshot(policies))));
}

#[test]
fn i_03_absence_never_permits() {
    check("", json!({}), expect!["deny (not_granted): no policy grants this access [instance no]"]);
    let case = Case::call("payments/refund", json!({}));
    expect!["deny (malformed): the request does not fit the policy schema"]
        .assert_eq(&show(&case.decide(&Snapshot::empty())));
    let list = Case::method("tools/list", "crm");
    expect!["deny (not_granted): no policy grants this access [instance no]"]
        .assert_eq(&show(&list.decide(&Snapshot::empty())));
    let mut unknown = Case::call("payments/refund", json!({}));
    unknown.tool = None;
    expect!["deny (tool_not_pinned): denied by the built-in rule `tool_not_pinned`"]
        .assert_eq(&show(&unknown.decide(&snapshot(ALL))));
}

#[test]
fn a_tool_that_is_not_in_the_set_is_denied() {
    let case = Case::call("payments/unheard-of", json!({}));
    expect!["deny (malformed): the request does not fit the policy schema"]
        .assert_eq(&show(&case.decide(&snapshot(ALL))));
}

#[test]
fn a_tool_that_no_policy_names_is_denied() {
    check(
        r#"@id("broad") permit(principal, action in Action::"tools/call", resource);"#,
        json!({}),
        expect!["deny (not_granted): no policy grants this access [instance no]"],
    );
}

#[test]
fn permits_name_their_basis_and_what_is_owed() {
    check(
        r#"@id("b") @obligation("redact:iban; notify:desk")
           permit(principal in Agent::"billing", action == Action::"payments/refund", resource);
           @id("a") permit(principal, action, resource == Tool::"payments/refund")
           when { context.input has amount && context.input.amount <= 100 };"#,
        json!({ "amount": 100 }),
        expect!["permit by a, b; owes notify:desk, redact:iban [instance yes]"],
    );
}

#[test]
fn forbids_override_and_say_what_lifts_them() {
    let guarded = |remedy: &str| {
        format!(
            r#"{ALL} @id("guard") {remedy} forbid(principal, action, resource is Tool)
               when {{ resource.harm.contains("reads-data") }};"#
        )
    };
    check(
        &guarded(r#"@remedy("approval")"#),
        json!({}),
        expect![
            "deny (forbidden): forbidden by policy `guard`; lifted by {Approval} [instance no]"
        ],
    );
    check(
        &guarded(""),
        json!({}),
        expect!["deny (forbidden): forbidden by policy `guard` [instance no]"],
    );
}

#[test]
fn i_04_any_evaluation_error_denies() {
    let broken = |effect: &str, mode: &str| {
        format!(
            r#"{ALL} @id("broken") {mode} {effect}(principal, action == Action::"payments/refund",
               resource) when {{ context.input has amount && context.input.amount * 2 > 0 }};"#
        )
    };
    let huge = json!({ "amount": i64::MAX });
    for effect in ["permit", "forbid"] {
        check(
            &broken(effect, ""),
            huge.clone(),
            expect!["deny (unevaluable): could not evaluate policy `broken`"],
        );
    }
    check(
        &broken("forbid", r#"@mode("observe")"#),
        huge,
        expect!["permit by all; observed broken [instance yes]"],
    );
}

#[test]
fn observed_policies_never_change_the_answer() {
    check(
        &format!(r#"{ALL} @id("try") @mode("observe") forbid(principal, action, resource);"#),
        json!({}),
        expect!["permit by all; observed try [instance yes]"],
    );
    check(
        r#"@id("try") @mode("observe")
           permit(principal, action, resource in Server::"payments");"#,
        json!({}),
        expect!["deny (not_granted): no policy grants this access [instance no]"],
    );
}

#[test]
fn r_42_role_permits_but_condition_denies() {
    let role = r#"@id("role") permit(principal in Group::"clerks", action,
                  resource in Server::"payments");
                  @id("agent") permit(principal in Agent::"billing", action,
                  resource in Server::"payments");
                  @id("hours") forbid(principal, action in Action::"tools/call", resource)
                  when { context.session.labels.contains("external") };"#;
    let clerk = super::fixtures::person("carla", &["clerks"]);
    let mut case = Case::call("payments/refund", json!({})).on_behalf_of(clerk);
    let snapshot = snapshot(role);
    expect!["permit by agent, role [person yes, instance yes]"]
        .assert_eq(&show(&case.decide(&snapshot)));
    case.facts.session.labels.insert("external".parse().unwrap());
    expect!["deny (forbidden): forbidden by policy `hours` [person no, instance no]"]
        .assert_eq(&show(&case.decide(&snapshot)));
}

/// What an agent may at all is not what it may in a task: of ten operations, one that needs two has these.
#[test]
fn r_40_of_ten_operations_a_task_that_needs_two_has_two() {
    let names = (0..10).map(|number| format!("payments/operation-{number}"));
    let names: Vec<String> = names.collect();
    let schema = ToolSchema { input_schema: json!({ "type": "object" }) };
    let tools = names.iter().map(|name| (tool_ref(name), schema.clone())).collect();
    let snapshot = Snapshot::compile(Bundle { tools, ..bundle(ALL) }).expect("it compiles");
    let permitted = |needed: &[&str]| -> Vec<String> {
        let may = |name: &&String| {
            let mut case = Case::call(name, json!({}));
            case.standing.task.scope = scope(needed);
            let answer = show(&case.decide(&snapshot));
            let is_outside = answer.starts_with("deny (outside_scope)");
            assert_ne!(is_outside, answer.starts_with("permit"), "{name}: {answer}");
            !is_outside
        };
        names.iter().filter(may).cloned().collect()
    };
    assert_eq!(permitted(&["payments/*"]), names);
    let two = ["payments/operation-3", "payments/operation-7"];
    assert_eq!(permitted(&two), two);
}

#[test]
fn an_argument_without_exact_value_denies_only_where_it_is_read() {
    let reads = |path: &str| {
        format!(
            r#"{ALL} @id("reads") forbid(principal, action == Action::"payments/refund",
                   resource) when {{ {path} }};"#
        )
    };
    let price = json!({ "price": 0.12345, "amount": 1 });
    check(
        &reads(r#"context.input has price && context.input.price.greaterThan(decimal("9.0"))"#),
        price.clone(),
        expect!["deny (unread): policy reads an argument that has no exact value: /price"],
    );
    check(
        &reads("!(context.input has price)"),
        price.clone(),
        expect!["deny (unread): policy reads an argument that has no exact value: /price"],
    );
    check(
        &reads("context.input has amount && context.input.amount > 5"),
        price,
        expect!["permit by all [instance yes]"],
    );
    let nested = json!({ "to": { "iban": "x", "share": 0.00001 } });
    check(
        &reads(r#"context.input has to && context.input.to.iban == "evil""#),
        nested.clone(),
        expect!["permit by all [instance yes]"],
    );
    check(
        &reads("context.input has to.share"),
        nested.clone(),
        expect!["deny (unread): policy reads an argument that has no exact value: /to/share"],
    );
    check(
        &reads("context.input has to && context.input.to == context.input.to"),
        nested,
        expect!["deny (unread): policy reads an argument that has no exact value: /to/share"],
    );
}

#[test]
fn policies_may_ask_what_was_left_out() {
    check(
        &format!(
            r#"{ALL} @id("exact") forbid(principal, action in Action::"tools/call", resource)
                    when {{ context.unread.contains("/note") }};"#
        ),
        json!({ "note": null }),
        expect!["deny (forbidden): forbidden by policy `exact` [instance no]"],
    );
}

#[test]
fn arguments_that_were_never_validated_are_refused() {
    for input in [json!({ "amount": "100" }), json!({ "to": {} }), json!([1])] {
        check(ALL, input, expect!["deny (malformed): the request does not fit the policy schema"]);
    }
}

#[test]
fn spelling_of_a_number_and_order_of_keys_are_the_same_act() {
    let policies = r#"@id("small") permit(principal, action == Action::"payments/refund", resource)
                      when { context.input.amount == 100 && context.input.account == "a" };"#;
    // Members are optional, so the policy asks first.
    let policies = policies.replace(
        "context.input.amount ==",
        "context.input has amount && context.input has account && context.input.amount ==",
    );
    for text in [
        r#"{"amount":100,"account":"a"}"#,
        r#"{"account":"a","amount":100.0}"#,
        r#"{"account":"a","amount":1e2}"#,
        r#"{"amount":1.0E+2,"account":"a"}"#,
    ] {
        let input = serde_json::from_str(text).expect("JSON");
        check(&policies, input, expect!["permit by small [instance yes]"]);
    }
}

#[test]
fn the_number_of_candidates_has_a_limit() {
    let case = Case::call("payments/refund", json!({}));
    let answer = |count| show(&case.decide(&snapshot(&crowd(count))));
    let shown = answer((CANDIDATES_MAX, 0));
    assert!(shown.starts_with("permit by p0, p1, p10"), "{shown}");
    expect!["deny (too_many_candidates): too many candidate policies"]
        .assert_eq(&answer((CANDIDATES_MAX + 1, 0)));
}

/// Those under observation are too many for themselves alone: what is not asked is told.
#[test]
fn the_number_of_observed_candidates_has_a_limit_of_its_own() {
    let case = Case::call("payments/refund", json!({}));
    let answer = |count| show(&case.decide(&snapshot(&crowd(count))));
    let shown = answer((CANDIDATES_MAX, 1));
    assert!(shown.starts_with("permit by p0, p1, p10"), "{shown}");
    expect!["permit by p0 [instance yes]"].assert_eq(&answer((1, OBSERVED_MAX)));
    let beyond = expect!["permit by p0; observed o256 [instance yes]"];
    beyond.assert_eq(&answer((1, OBSERVED_MAX + 1)));
    beyond.assert_eq(&answer((1, OBSERVED_MAX + 2)));
}

/// So many permits in force, and forbids under observation that never hold, about one act.
fn crowd((in_force, observed): (usize, usize)) -> String {
    let scope = r#"(principal, action == Action::"payments/refund", resource)"#;
    let permits = (0..in_force).map(|n| format!(r#"@id("p{n}") permit{scope};"#));
    let forbids = (0..observed).map(|n| {
        format!(r#"@mode("observe") @id("o{n}") forbid{scope} when {{ context.depth > 9 }};"#)
    });
    permits.chain(forbids).collect()
}

#[test]
fn administrators_administer_and_agents_do_not() {
    let snapshot = Snapshot::compile(Bundle {
        policies: [("starter.cedar".to_owned(), crate::STARTER_POLICY.to_owned())].into(),
        ..Bundle::default()
    })
    .expect("the starter policy compiles");
    let resource = || model::ResourceRef::Agent("new".parse().expect("an agent"));
    let ask = |groups: &[&str]| {
        let by = super::fixtures::person("ada", groups);
        show(&Case::administer("agent/add", resource(), by).decide(&snapshot))
    };
    expect!["permit by starter-administration [instance yes]"].assert_eq(&ask(&["administrators"]));
    expect!["deny (not_granted): no policy grants this access [instance no]"]
        .assert_eq(&ask(&["staff"]));
    let list = Case::method("tools/list", "crm");
    expect!["permit by starter-methods [instance yes]"].assert_eq(&show(&list.decide(&snapshot)));
}

#[test]
fn the_starter_policy_needs_a_tool_to_be_named() {
    let named = |more: &str| snapshot(&format!("{}{more}", crate::STARTER_POLICY));
    let mut case = Case::call("crm/lookup", json!({ "id": 1 }));
    expect!["deny (not_granted): no policy grants this access [instance no]"]
        .assert_eq(&show(&case.decide(&named(""))));
    let by_name = named(
        r#"@id("crm") permit(principal, action in Action::"tools/call", resource in Server::"crm")
           when { context.purpose == "care" && resource.harm == ["reads-data"] };"#,
    );
    expect!["permit by crm, starter-reading [instance yes]"]
        .assert_eq(&show(&case.decide(&by_name)));
    case.tool = Some(super::fixtures::tool("crm/lookup", &[Harm::ReadsData, Harm::RunsCode]));
    expect!["deny (forbidden): forbidden by policy `starter-attested`; lifted by {Approval} [instance no]"]
        .assert_eq(&show(&case.decide(&by_name)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// One policy that fails, wherever it stands among others and whatever its effect.
    #[test]
    fn i_04_any_evaluation_error_denies_among_any_policies(
        others in prop::collection::vec(0..4_usize, 0..6),
        position in any::<prop::sample::Index>(),
        forbids in any::<bool>(),
        calls in (i64::MAX / 3 * 2)..i64::MAX,
    ) {
        let effect = if forbids { "forbid" } else { "permit" };
        let broken = format!(
            r#"@id("broken") {effect}(principal, action in Action::"tools/call", resource)
               when {{ context.session.counters.calls * 2 > 0 }};"#
        );
        let mut texts: Vec<String> = others.iter().enumerate().map(|(n, kind)| {
            let scope = r#"(principal, action in Action::"tools/call", resource)"#;
            match kind {
                0 => format!(r#"@id("o{n}") permit{scope};"#),
                1 => format!(r#"@id("o{n}") forbid{scope};"#),
                2 => format!(r#"@id("o{n}") permit{scope} when {{ context.depth > 1 }};"#),
                _ => format!(r#"@id("o{n}") forbid{scope} when {{ context.depth > 1 }};"#),
            }
        }).collect();
        texts.insert(position.index(texts.len() + 1), broken);
        let mut case = Case::call("payments/refund", json!({}));
        case.facts.session.counters.insert("calls".to_owned(), calls);
        let snapshot = snapshot(&format!("{ALL}{}", texts.concat()));
        prop_assert_eq!(
            show(&case.decide(&snapshot)),
            "deny (unevaluable): could not evaluate policy `broken`"
        );
        prop_assert!(!case.could_permit(&snapshot));
    }

    /// Whatever order policies, entities or members come in, and however often it is asked.
    #[test]
    fn i_05_decide_is_a_function_of_request_facts_and_snapshot(
        order in Just(vec![0_usize, 1, 2, 3]).prop_shuffle(),
        amount in -10_i64..200,
        label in any::<bool>(),
    ) {
        let policies = [
            ALL,
            r#"@id("less") forbid(principal, action == Action::"payments/refund", resource)
               when { context.input.amount < 0 };"#,
            r#"@id("more") forbid(principal, action == Action::"payments/refund", resource)
               when { context.input.amount > 100 || context.session.labels.contains("x") };"#,
            r#"@id("sum") forbid(principal, action == Action::"payments/refund", resource)
               when { context.input.amount * 100 > 15000 };"#,
        ]
        .map(|it| it.replace("context.input.amount", "context.input has amount && context.input.amount"));
        let shuffled: String = order.iter().map(|n| policies[*n].as_str()).collect();
        let mut case = Case::call("payments/refund", json!({ "amount": amount, "account": "a" }));
        if label {
            case.facts.session.labels.insert("x".parse().unwrap());
        }
        let first = case.decide(&snapshot(&policies.concat()));
        let other = snapshot(&shuffled);
        prop_assert_eq!(&case.decide(&other), &first);
        prop_assert_eq!(&case.decide(&other), &first);
    }
}

/// What a pattern character means is the policy's to say: in an argument it is that character.
#[test]
fn n_055_a_pattern_character_in_an_argument_is_itself() {
    let policy = r#"
        @id("own") permit(principal, action, resource in Server::"payments")
        when { context.input has account && context.input.account like "own-*" };
        @id("not-that") forbid(principal, action == Action::"payments/refund", resource)
        when { context.input has account && context.input.account == "own-7" };
    "#;
    let not_granted = expect!["deny (not_granted): no policy grants this access [instance no]"];
    for account in ["*", "?", "own", "\\own-*", "%", "own?*", ".*", "[own]-1"] {
        let case = Case::call("payments/refund", json!({ "account": account }));
        not_granted.assert_eq(&show(&case.decide(&snapshot(policy))));
    }
    check(policy, json!({ "account": "own-*" }), expect!["permit by own [instance yes]"]);
    check(policy, json!({ "account": "own-?" }), expect!["permit by own [instance yes]"]);
}
