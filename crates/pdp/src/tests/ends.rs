//! R41: what is done to anything that the work is not for is denied, whatever a policy says.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use expect_test::expect;
use model::{Decision, ObjectPattern, ResourceRef, Scope};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::elevations::elevated;
use super::fixtures::{Case, OPEN, scope, show, snapshot};
use super::kernel::{Change, outcome};

/// Permits every call at `payments`.
const PAYMENTS: &str =
    r#"@id("payments") permit(principal, action, resource in Server::"payments");"#;

fn patterns(all: &[&str]) -> BTreeSet<ObjectPattern> {
    all.iter().map(|pattern| pattern.parse().expect("a pattern")).collect()
}

fn bound(scope: &mut Scope, all: &[&str]) {
    scope.objects = Some(patterns(all));
}

/// The places of `tool` that name objects.
fn places(case: &mut Case, all: &[&str]) {
    let tool = case.tool.as_mut().expect("a tool");
    tool.objects = Some(all.iter().map(|&place| place.to_owned()).collect());
}

/// As if it had been the mandate from the beginning.
fn mandated(case: &mut Case, all: &[&str]) {
    bound(&mut case.standing.mandate.scope, all);
    *case = case.clone().mandated();
}

/// That the tool touches `own` categories, and the purpose is for `registered`.
fn categories(case: &mut Case, own: &[&str], registered: &[&str]) {
    let read = |all: &[&str]| all.iter().map(|name| name.parse().expect("a category")).collect();
    if let Some(tool) = &mut case.tool {
        tool.data = read(own);
    }
    case.standing.purpose.data = read(registered);
}

const BOUNDS: &[(&str, Change)] = &[
    ("nothing named", |_| {}),
    ("purpose for it", |case| {
        bound(&mut case.standing.purpose.scope, &["crm/7", "crm/crm://customers/7"]);
    }),
    ("purpose for customers", |case| {
        bound(&mut case.standing.purpose.scope, &["crm/crm://customers/*"]);
    }),
    ("purpose for all of the server", |case| bound(&mut case.standing.purpose.scope, &["crm/*"])),
    ("purpose for another server", |case| {
        bound(&mut case.standing.purpose.scope, &["payments/*"]);
    }),
    ("purpose for no object", |case| bound(&mut case.standing.purpose.scope, &[])),
    ("mandate for it", |case| mandated(case, &["crm/7"])),
    ("task for it", |case| bound(&mut case.standing.task.scope, &["crm/7"])),
    ("ceiling for it", |case| bound(&mut case.standing.agent.ceiling, &["crm/7"])),
    ("purpose for it, mandate for another", |case| {
        bound(&mut case.standing.purpose.scope, &["crm/7"]);
        mandated(case, &["crm/8"]);
    }),
    ("category of another purpose", |case| categories(case, &["customers"], &["orders"])),
    ("one category of another purpose", |case| {
        categories(case, &["customers", "orders"], &["orders"]);
    }),
    ("category of the purpose", |case| categories(case, &["customers"], &["customers", "orders"])),
    ("purpose without categories", |case| categories(case, &["customers"], &[])),
    ("tool without categories", |case| categories(case, &[], &["orders"])),
];

/// Each bound × {call on 7, call on 8, call of a tool of which nobody said, of one that is used on no object, a
/// resource, a prompt, a list}.
#[test]
fn r_41_the_matrix_of_what_work_is_for() {
    let snapshot = snapshot(OPEN);
    let call = |id: i64, all: Option<&[&str]>| {
        let mut case = Case::call("crm/lookup", json!({ "id": id }));
        if let Some(all) = all {
            places(&mut case, all);
        }
        case
    };
    let crm = || "crm".parse().expect("a server");
    let (uri, name) = ("crm://customers/7".to_owned(), "summary".to_owned());
    #[expect(clippy::useless_vec, reason = "it is too large for the stack")]
    let acts = vec![
        call(7, Some(&["/id"])),
        call(8, Some(&["/id"])),
        call(7, None),
        call(7, Some(&[])),
        Case::of("resources/read", ResourceRef::Resource { server: crm(), uri }),
        Case::of("prompts/get", ResourceRef::Prompt { server: crm(), name }),
        Case::method("tools/list", "crm"),
    ];
    let mut table = String::new();
    for (name, change) in BOUNDS {
        let outcomes = acts.iter().map(|case| {
            let mut case = case.clone();
            change(&mut case);
            outcome(&case, &snapshot)
        });
        let outcomes: Vec<_> = outcomes.collect();
        writeln!(table, "{name}: {}", outcomes.join(" | ")).expect("text");
    }
    expect![[r#"
        nothing named: permit | permit | permit | permit | permit | permit | permit
        purpose for it: permit | outside_purpose | object_unknown (hidden) | permit | permit | object_unknown (hidden) | permit
        purpose for customers: outside_purpose | outside_purpose | object_unknown (hidden) | permit | permit | object_unknown (hidden) | permit
        purpose for all of the server: permit | permit | permit | permit | permit | permit | permit
        purpose for another server: outside_purpose | outside_purpose | object_unknown (hidden) | permit | outside_purpose (hidden) | object_unknown (hidden) | permit
        purpose for no object: outside_purpose | outside_purpose | object_unknown (hidden) | permit | outside_purpose (hidden) | object_unknown (hidden) | permit
        mandate for it: permit | outside_purpose | object_unknown (hidden) | permit | outside_purpose (hidden) | object_unknown (hidden) | permit
        task for it: permit | outside_purpose | object_unknown (hidden) | permit | outside_purpose (hidden) | object_unknown (hidden) | permit
        ceiling for it: permit | outside_purpose | object_unknown (hidden) | permit | outside_purpose (hidden) | object_unknown (hidden) | permit
        purpose for it, mandate for another: outside_purpose | outside_purpose | object_unknown (hidden) | permit | outside_purpose (hidden) | object_unknown (hidden) | permit
        category of another purpose: outside_purpose (hidden) | outside_purpose (hidden) | outside_purpose (hidden) | outside_purpose (hidden) | permit | permit | permit
        one category of another purpose: outside_purpose (hidden) | outside_purpose (hidden) | outside_purpose (hidden) | outside_purpose (hidden) | permit | permit | permit
        category of the purpose: permit | permit | permit | permit | permit | permit | permit
        purpose without categories: permit | permit | permit | permit | permit | permit | permit
        tool without categories: permit | permit | permit | permit | permit | permit | permit
    "#]]
    .assert_eq(&table);
}

/// Whoever asks for one object cannot make the tool take it for another, nor leave open which it is.
#[test]
fn r_41_an_argument_that_leads_elsewhere_or_names_nothing_is_outside() {
    let snapshot = snapshot(PAYMENTS);
    let check = |all: &[&str], input: Value, expected: &str| {
        let mut case = Case::call("payments/refund", input.clone());
        places(&mut case, all);
        bound(&mut case.standing.purpose.scope, &["payments/acc/*", "payments/one/../two"]);
        assert_eq!(outcome(&case, &snapshot), expected, "{input}");
    };
    for (name, expected) in [
        ("acc/1", "permit"),
        ("acc/a b", "permit"),
        ("acc/a%20b", "permit"),
        ("acc/1..2", "permit"),
        // Exactly as it is registered.
        ("one/../two", "permit"),
        ("two", "outside_purpose"),
        ("other", "outside_purpose"),
        ("ACC/1", "outside_purpose"),
        ("acc", "outside_purpose"),
        (" acc/1", "outside_purpose"),
        ("acc/../other", "outside_purpose"),
        ("acc/1/../../other", "outside_purpose"),
        ("acc/./1", "outside_purpose"),
        ("acc/..", "outside_purpose"),
        ("acc/..;/other", "outside_purpose"),
        ("acc/..\\other", "outside_purpose"),
        ("acc/%2e%2E/other", "outside_purpose"),
        ("acc/..%2fother", "outside_purpose"),
        ("acc/%252e%252e/other", "outside_purpose"),
        ("acc/1\n", "outside_purpose"),
        ("acc/1\0", "outside_purpose"),
        ("acc/%C0%AE%c0%ae/other", "outside_purpose"),
        ("acc/%e0%80%ae./other", "outside_purpose"),
        ("acc/%u002e%u002e/other", "outside_purpose"),
        ("acc/.%09./other", "outside_purpose"),
        ("acc/\u{ff0e}\u{ff0e}/other", "outside_purpose"),
        ("acc/..\u{ff0f}other", "outside_purpose"),
        ("acc/\u{2025}/other", "outside_purpose"),
        ("acc/k\u{e4}se %c3%a4", "permit"),
        ("", "object_unknown"),
    ] {
        check(&["/account"], json!({ "account": name }), expected);
    }
    check(&["/account"], json!({}), "object_unknown");
    check(&["/note"], json!({ "note": null }), "object_unknown");
    check(&["/to"], json!({ "to": { "iban": "acc/1" } }), "object_unknown");
    check(&["/to/iban"], json!({ "to": { "iban": "acc/1" } }), "permit");
    check(&["/tags"], json!({ "tags": ["acc/1", "acc/2"] }), "permit");
    check(&["/tags"], json!({ "tags": ["acc/1", "other"] }), "outside_purpose");
    check(&["/tags"], json!({ "tags": ["acc/1", ""] }), "object_unknown");
    check(&["/tags"], json!({ "tags": [] }), "object_unknown");
    // One of a list says nothing of the others, and of two names that differ in case alone nobody knows which counts.
    check(&["/tags/0"], json!({ "tags": ["acc/1", "other"] }), "object_unknown");
    check(&["/account"], json!({ "account": "acc/1", "Account": "other" }), "object_unknown");
    check(&["/to/iban"], json!({ "to": { "iban": "acc/1", "IBAN": "other" } }), "object_unknown");
    let long_s = json!({ "tags": ["acc/1"], "tag\u{17f}": ["other"] });
    check(&["/tags"], long_s, "object_unknown");
    let both = ["/account", "/note"];
    check(&both, json!({ "account": "acc/1", "note": "acc/2" }), "permit");
    check(&both, json!({ "account": "acc/1", "note": "other" }), "outside_purpose");
    check(&both, json!({ "account": "acc/1" }), "object_unknown");
    let many = |count: usize| json!({ "tags": (0..count).map(|n| format!("acc/{n}")).collect::<Vec<_>>() });
    check(&["/tags"], many(model::OBJECTS_OF_CALL_MAX), "permit");
    check(&["/tags"], many(model::OBJECTS_OF_CALL_MAX + 1), "object_unknown");
}

/// A policy says that an approval would lift it; that it would be permitted, none can say.
#[test]
fn r_41_what_is_outside_is_sent_to_approval_where_a_policy_says_so() {
    let ask = r#"@id("ask") @remedy("approval")
        forbid (principal, action in Action::"tools/call", resource) when { context.ends.outside_purpose };"#;
    let yes = r#"@id("yes") permit (principal, action == Action::"payments/refund", resource)
        when { context.ends.outside_purpose };"#;
    let large = r#"@id("large") @remedy("approval")
        forbid (principal, action == Action::"payments/refund", resource);"#;
    let never =
        r#"@id("never") forbid (principal, action == Action::"payments/refund", resource);"#;
    let check = |policies: &[&str], account: &str, expected: &str| {
        let snapshot = snapshot(&format!("{PAYMENTS}{}", policies.concat()));
        let mut case = Case::call("payments/refund", json!({ "account": account }));
        places(&mut case, &["/account"]);
        bound(&mut case.standing.purpose.scope, &["payments/a*"]);
        let shown = show(&case.decide(&snapshot));
        assert!(shown.starts_with(expected), "{policies:?}: {shown}");
    };
    check(&[], "a1", "permit");
    check(&[], "b1", "deny (outside_purpose): on data outside the purpose of the task");
    check(&[yes], "b1", "deny (outside_purpose)");
    check(&[ask], "a1", "permit");
    check(&[ask], "b1", "deny (forbidden): forbidden by policy `ask`; lifted by {Approval}");
    check(&[yes, ask], "b1", "deny (forbidden): forbidden by policy `ask`; lifted by {Approval}");
    // An approval of something else lifts nothing of this.
    check(&[large], "a1", "deny (forbidden): forbidden by policy `large`; lifted by {Approval}");
    check(&[large], "b1", "deny (outside_purpose)");
    check(&[ask, never], "b1", "deny (outside_purpose)");
}

/// What a policy sees of the purpose is what is registered.
#[test]
fn r_41_policies_see_what_a_purpose_is_for() {
    let check = |condition: &str, change: Change, expected: bool| {
        let policy = format!(
            r#"@id("if") permit (principal, action == Action::"payments/refund", resource)
               when {{ {condition} }};"#
        );
        let snapshot = snapshot(&policy);
        let mut case = Case::call("payments/refund", json!({ "account": "a1" }));
        places(&mut case, &["/account"]);
        change(&mut case);
        let is_permitted = matches!(case.decide(&snapshot), Decision::Permit(_));
        assert_eq!(is_permitted, expected, "{condition}");
        assert!(!is_permitted || case.could_permit(&snapshot), "{condition}");
    };
    let named: Change = |case| {
        bound(&mut case.standing.purpose.scope, &["payments/a*"]);
        categories(case, &["customers"], &["customers", "orders"]);
    };
    check("context.ends.any_object", |_| {}, true);
    check("context.ends.any_object", named, false);
    check(r#"context.ends.objects == ["payments/a*"]"#, named, true);
    check("context.ends.any_category", |_| {}, true);
    check("context.ends.any_category", named, false);
    check(r#"context.ends.categories.contains("orders")"#, named, true);
    check("context.ends.categories.containsAll(resource.data)", named, true);
    check(r#"resource.data.contains("customers")"#, named, true);
    check(r#"resource.data.contains("customers")"#, |_| {}, false);
    check("!context.ends.outside_purpose", named, true);
}

/// An elevation is of tools: it lifts no bound of data.
#[test]
fn r_41_an_elevation_opens_no_other_object() {
    let snapshot = snapshot(OPEN);
    let mut case = Case::call("crm/lookup", json!({ "id": 8 }));
    places(&mut case, &["/id"]);
    case.standing.task.scope = scope(&["tickets/*"]);
    case.standing.elevations = vec![elevated(&case, 9, &["crm/lookup"])];
    assert_eq!(outcome(&case, &snapshot), "permit");
    bound(&mut case.standing.task.scope, &["crm/7"]);
    assert_eq!(outcome(&case, &snapshot), "outside_purpose");
}

/// Whether a pattern is for the object, as it is written.
fn is_for(pattern: &str, name: &str) -> bool {
    let object = format!("payments/{name}");
    match pattern.strip_suffix('*') {
        Some(beginning) => object.starts_with(beginning),
        None => object == pattern,
    }
}

/// Permits payments; compiled once for all cases.
static PAYING: LazyLock<crate::Snapshot> = LazyLock::new(|| snapshot(PAYMENTS));

proptest! {
    /// Whatever bounds hold, of purpose, mandate, ceilings and tasks, however often the work was handed on: what is
    /// permitted is within all of them.
    #[test]
    fn r_41_nothing_is_permitted_outside_of_any_bound(
        bounds in prop::collection::vec(
            prop::option::of(prop::sample::subsequence(
                vec!["payments/a", "payments/a*", "payments/ab*", "payments/*", "crm/*"], 0..=5,
            )),
            8,
        ),
        names in prop::collection::vec("[ab]{1,3}", 1..3),
        depth in 0..3_u8,
    ) {
        let mut case = Case::call("payments/refund", json!({ "tags": names })).handed_on(depth);
        places(&mut case, &["/tags"]);
        let objects = |at: usize| bounds[at].as_ref().map(|all| patterns(all));
        case.standing.purpose.scope.objects = objects(0);
        case.standing.mandate.scope.objects = objects(1);
        case.standing.task.scope.objects = objects(2);
        case.standing.agent.ceiling.objects = objects(3);
        let delegators = Arc::make_mut(&mut case.standing.delegators);
        for (position, delegator) in delegators.iter_mut().enumerate() {
            delegator.task.scope.objects = objects(4 + 2 * position);
            delegator.agent.ceiling.objects = objects(5 + 2 * position);
        }
        let case = case.mandated();
        let hold = bounds.iter().take(4 + 2 * usize::from(depth)).flatten().all(|all| {
            names.iter().all(|name| all.iter().any(|pattern| is_for(pattern, name)))
        });
        let is_permitted = matches!(case.decide(&PAYING), Decision::Permit(_));
        prop_assert_eq!(is_permitted, hold);
        prop_assert!(!is_permitted || case.could_permit(&PAYING));
    }
}
