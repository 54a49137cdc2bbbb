//! For which calls a budget is by its condition, and what they use of it whose arguments are a list.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use expect_test::{Expect, expect};
use model::{Decision, Denial, Harm, Label, PrincipalFacts};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::fixtures::{Case, bundle, found_in, tool, tool_ref};
use crate::{BUDGETS_FILE, Bundle, Snapshot, ToolSchema};

const POLICY: &str = r#"
    @id("a") permit(principal, action in Action::"tools/call", resource in Server::"crm");
    @id("b") permit(principal, action in Action::"tools/call", resource in Server::"payments");
"#;

/// How many objects of one list are added up.
const LISTED_MAX: usize = 1_000;

/// A set with a budget `it` of these members, and a tool that pays many at once.
fn with(members: &str) -> Bundle {
    let payment = json!({
        "type": "object",
        "properties": {
            "amount": { "type": "number" },
            "currency": { "type": "string" },
            "note": { "type": "string" },
            "fees": { "type": "array", "items": {
                "type": "object",
                "properties": { "amount": { "type": "number" } },
                "required": ["amount"],
            } },
        },
        "required": ["amount", "currency"],
    });
    let input_schema = json!({
        "type": "object",
        "properties": {
            "payments": { "type": "array", "items": payment },
            "currency": { "type": "string" },
            "urgent": { "type": "boolean" },
        },
        "required": ["payments"],
    });
    let budgets = format!("budgets:\n  it: {{ description: x, {members} }}\n");
    let mut bundle = Bundle { budgets: Some(budgets), ..bundle(POLICY) };
    bundle.tools.insert(tool_ref("payments/batch"), ToolSchema { input_schema });
    bundle
}

fn check(members: &str, expected: Expect) {
    expected.assert_eq(&found_in(BUDGETS_FILE, with(members)));
}

/// A budget whose condition is `when`, for these tools.
fn when(tools: &str, when: &str) -> String {
    let when = serde_json::to_string(when).expect("a text");
    format!("match: {{ tools: [{tools}], when: {when} }}, amount: calls, cap: 9, per: task")
}

#[test]
fn what_is_wrong_with_a_condition_is_told_with_its_line() {
    let check = |tools: &str, text: &str, expected: Expect| check(&when(tools, text), expected);
    let (refund, any) = ("payments/refund", "");
    check(refund, "context has subject", expect![""]);
    check(refund, "context.input has price && context.input has to", expect![""]);
    check(any, "context.session.labels.contains(\"private\") // whose }", expect![""]);
    for (tools, text) in [
        // It is checked as a policy is: what may be missing is asked for first.
        (refund, "context.input.price.greaterThan(decimal(\"5.0\"))"),
        (refund, "context.input.pirce == 5"),
        (any, "context.input.id > 5"),
        (refund, "context.purpose"),
        // It is one condition, and ends where it ends.
        (refund, "true };\nforbid (principal, action, resource) when { true"),
        (refund, "context.input has"),
        (refund, "principal in Agent::\"billing\""),
        (refund, "context == context"),
        // What is never so limits nothing.
        (refund, "context.purpose == \"a\" && false"),
        (refund, "context.input has amount && context.input.amount + 1 > 5"),
        ("payments/pay", "true"),
    ] {
        let found = found_in(BUDGETS_FILE, with(&when(tools, text)));
        assert!(found.starts_with("budgets.yaml:2: budget `it`: "), "{text}: {found}");
    }
    check(
        refund,
        "principal in Agent::\"billing\"",
        expect![
            "budgets.yaml:2: budget `it`: in `when`, names `principal`: say whose calls they are with `agents`, which counts who hands work on as well"
        ],
    );
    // What does not parse says what was expected, and where, if it has several lines.
    for (text, told) in [
        ("context.purpose ==", " (expected "),
        ("context.purpose == \"a\" &&\n  context.depth >< 1", "in `when`, on line 2 of it, "),
    ] {
        let found = found_in(BUDGETS_FILE, with(&when(refund, text)));
        assert!(found.contains(told), "{text}: {found}");
    }
    // Calls at once would pass it together.
    for text in [
        "context.session.counters.calls > 1",
        "context.session[\"counters\"][\"payments/refund\"] > 1",
        "(if context.depth > 0 then context.session else context.session).counters.calls > 1",
        "[context.session].containsAll([])",
    ] {
        check(
            refund,
            text,
            expect![
                "budgets.yaml:2: budget `it`: in `when`, looks at `context.session.counters`, which calls at once all see as they were before: count how often by a budget of its own, with `amount: calls` and a `cap`"
            ],
        );
    }
    check(refund, "context.session.used_tools.contains(\"payments/refund\")", expect![""]);
    let long = format!("context.purpose == \"{}\"", "x".repeat(4_096));
    check(
        refund,
        &long,
        expect![
            "budgets.yaml:2: budget `it`: in `when`, it is longer than 4096 bytes: shorten it, or write several budgets"
        ],
    );
}

#[test]
fn where_amounts_are_in_a_list_is_held_against_the_tools() {
    let check = |rest: &str, expected: Expect| {
        let members = format!("match: {{ tools: [payments/batch] }}, cap: 9, per: task, {rest}");
        check(&members, expected);
    };
    check("amount: [/payments, /amount]", expect![""]);
    check(
        "amount: [/payments, /amount], currency: { argument: [/payments, /currency], equals: EUR }",
        expect![""],
    );
    check(
        "amount: [/payments, /fees, /amount], currency: { argument: [/payments, /currency], equals: EUR }",
        expect![
            "budgets.yaml:2: budget `it`: calls of `payments/batch` may leave out `/payments[]/fees[]/amount`, and are denied then"
        ],
    );
    check(
        "amount: [/payments, /amount], currency: { argument: /currency, equals: EUR }",
        expect![
            "budgets.yaml:2: budget `it`: calls of `payments/batch` may leave out `/currency`, and are denied then"
        ],
    );
    // Of a list that may be empty where the other one is not, nothing would be compared.
    check(
        "amount: [/payments, /amount], currency: { argument: [/payments, /fees, /currency], equals: EUR }",
        expect![
            "budgets.yaml:2: budget `it`: its `currency` is in other lists than its amount: name both in the same"
        ],
    );
    check(
        "amount: [/payments, amount]",
        expect![
            "budgets.yaml:2: budget `it`: `amount` is no JSON pointer to an argument: write `/NAME`"
        ],
    );
    for amount in
        ["[/payments, /note, /amount]", "[/payments, /fees]", "/payments", "[/currency, /amount]"]
    {
        let members =
            format!("match: {{ tools: [payments/batch] }}, cap: 9, per: task, amount: {amount}");
        let found = found_in(BUDGETS_FILE, with(&members));
        assert!(found.ends_with("so all are denied"), "{amount}: {found}");
    }
    check(
        "amount: []",
        expect!["budgets.yaml:2: budget `it`: it is a pointer, or up to 4 to lists and one more"],
    );
    check(
        "amount: 5",
        expect![
            "budgets.yaml:2: budget `it`: it is the same of every call: name an argument, or write `calls`"
        ],
    );
}

/// What a case uses, the reason for which it is denied, or `-` if the budget is not for it.
fn used(snapshot: &Snapshot, case: &Case) -> String {
    match case.decide(snapshot) {
        Decision::Permit(grant) => match grant.spends.as_slice() {
            [] => "-".to_owned(),
            [spend] => spend.amount.to_string(),
            more => panic!("{more:?}"),
        },
        Decision::Deny(denial) => denial.code().to_owned(),
    }
}

fn call(name: &str, input: Value) -> Case {
    let mut case = Case::call(name, input);
    case.tool = Some(tool(name, &[Harm::MovesMoney]));
    case
}

/// A budget is for the calls that meet its condition, as a policy would; where nobody can tell, they are denied.
#[test]
fn n_088_a_budget_is_for_the_calls_that_meet_its_condition() {
    let check = |text: &str, expected: &str| {
        let members = when("payments/refund, 'crm/*'", text);
        let snapshot = Snapshot::compile(with(&members)).expect("it compiles");
        let input = json!({ "account": "a", "amount": i64::MAX, "price": 5.5 });
        let mut case = call("payments/refund", input);
        case.facts.session.labels = BTreeSet::from(["private".parse::<Label>().unwrap()]);
        assert_eq!(used(&snapshot, &case), expected, "{text}");
        // What its tools do not cover it is not for, whatever its condition says.
        let other = call("payments/batch", json!({ "payments": [] }));
        assert_eq!(used(&snapshot, &other), "-", "{text}");
    };
    check("true", "1");
    check("context.session.labels.contains(\"private\")", "1");
    check("context.session.labels.contains(\"external\")", "-");
    check("context.purpose == \"care\" && context.depth == 0", "1");
    check("resource.harm.contains(\"moves-money\") && !(context has subject)", "1");
    check("resource has owner && resource.owner == Person::\"olga\"", "1");
    check("action == Action::\"payments/refund\"", "1");
    check("context has elevation", "-");
    let amount = |rest: &str| {
        let is_refund = "action == Action::\"payments/refund\" && context.input has amount";
        format!("{is_refund} && context.input.amount {rest}")
    };
    let members = |rest: &str| when("payments/refund", &amount(rest));
    for (rest, expected) in [("> 5", "1"), ("< 5", "-"), ("+ 1 > 5", "budget_unread")] {
        let snapshot = Snapshot::compile(with(&members(rest))).expect("it compiles");
        let case = call("payments/refund", json!({ "account": "a", "amount": i64::MAX }));
        assert_eq!(used(&snapshot, &case), expected, "{rest}");
    }
    // What has no exact value is not what the condition asks for, nor anything else.
    let price = "context.input has price && context.input.price.lessThan(decimal(\"9.0\"))";
    let snapshot = Snapshot::compile(with(&when("payments/refund", price))).expect("it compiles");
    for (price, expected) in [(json!(5.5), "1"), (json!(9.5), "-"), (json!(1e-5), "budget_unread")]
    {
        let case = call("payments/refund", json!({ "account": "a", "price": price }));
        assert_eq!(used(&snapshot, &case), expected, "{price}");
    }
}

/// What a condition looks at is remembered for it as for a policy, and who did not remember it is not asked.
#[test]
fn a_condition_has_remembered_what_it_looks_at() {
    let compiled = |text: &str| {
        let members = when("payments/refund", text);
        Snapshot::compile(with(&members)).expect("it compiles")
    };
    let after = "context.session.used_tools.contains(\"payments/refund\")";
    let (after, plain) = (compiled(after), compiled("true"));
    assert!(after.remembered().used_tools);
    let case = call("payments/refund", json!({ "account": "a" }));
    let facts = case.facts();
    assert!(matches!(facts.principal, PrincipalFacts::Instance(_)));
    assert!(after.looks_beyond(&plain, &case.request, &facts));
    assert!(!plain.looks_beyond(&after, &case.request, &facts));
    let lookup = call("crm/lookup", json!({ "id": 1 }));
    assert!(!after.looks_beyond(&plain, &lookup.request, &lookup.facts()));
}

fn batch(currency: Option<(&str, &str)>) -> Snapshot {
    let currency =
        currency.map(|(at, text)| format!(", currency: {{ argument: {at}, equals: {text} }}"));
    let members = format!(
        "match: {{ tools: [payments/batch] }}, per: task, places: 2, cap: 100, \
         amount: [/payments, /amount]{}",
        currency.unwrap_or_default()
    );
    Snapshot::compile(with(&members)).expect("it compiles")
}

fn paying(amounts: &[Value]) -> Value {
    let pay = |amount: &Value| json!({ "amount": amount, "currency": "EUR" });
    json!({ "payments": amounts.iter().map(pay).collect::<Vec<_>>(), "currency": "EUR" })
}

#[test]
fn n_088_the_amounts_of_a_list_are_used_together_or_the_call_is_denied() {
    let any = batch(None);
    let check = |amounts: &[Value], expected: &str| {
        let case = call("payments/batch", paying(amounts));
        assert_eq!(used(&any, &case), expected, "{amounts:?}");
    };
    check(&[], "0");
    check(&[json!(1), json!(2.5), json!(2.5)], "6");
    // Nothing is made less by what is below zero, or by what nobody can read.
    check(&[json!(10), json!(-5)], "budget_unread");
    check(&[json!(1), json!(0.001)], "budget_unread");
    check(&[json!(1e300)], "budget_unread");
    let most = json!(922_337_203_685_477_i64);
    check(std::slice::from_ref(&most), "922337203685477");
    check(&[most.clone(), json!(0.58)], "922337203685477.58");
    check(&[most, json!(0.59)], "budget_unread");
    check(&vec![json!(1); LISTED_MAX], "1000");
    check(&vec![json!(1); LISTED_MAX + 1], "budget_unread");
    for input in [
        json!({ "payments": [{ "amount": 1, "currency": "EUR" }, { "currency": "EUR" }] }),
        json!({ "payments": [{ "amount": null, "currency": "EUR" }] }),
        json!({ "payments": {} }),
        json!({ "payments": null }),
    ] {
        // What does not fit the schema comes no further.
        let denied = used(&any, &call("payments/batch", input.clone()));
        assert!(["budget_unread", "malformed"].contains(&denied.as_str()), "{input}: {denied}");
    }
    let each = batch(Some(("[/payments, /currency]", "EUR")));
    let all = batch(Some(("/currency", "EUR")));
    let mut mixed = paying(&[json!(1), json!(2)]);
    assert_eq!(used(&each, &call("payments/batch", mixed.clone())), "3");
    mixed["payments"][1]["currency"] = json!("USD");
    assert_eq!(used(&each, &call("payments/batch", mixed.clone())), "budget_unread");
    assert_eq!(used(&all, &call("payments/batch", mixed.clone())), "3");
    mixed["currency"] = json!("USD");
    assert_eq!(used(&all, &call("payments/batch", mixed)), "budget_unread");
}

/// One amount: whole, with places, or none.
fn amount() -> impl Strategy<Value = (Value, Option<i128>)> {
    prop_oneof![
        (0_i64..1_000_000).prop_map(|whole| (json!(whole), Some(i128::from(whole) * 10_000))),
        (0_i64..10_000).prop_map(|cents| {
            let text = format!("{}.{:02}", cents / 100, cents % 100);
            (serde_json::from_str(&text).unwrap(), Some(i128::from(cents) * 100))
        }),
        (900_000_000_000_000_i64..922_337_203_685_477)
            .prop_map(|whole| (json!(whole), Some(i128::from(whole) * 10_000))),
        (-100_i64..0).prop_map(|below| (json!(below), None)),
        Just((json!(0.001), None)),
    ]
}

/// Compiled once for all cases.
static BATCH: LazyLock<Snapshot> = LazyLock::new(|| batch(None));

proptest! {
    /// Whatever is in the list, the sum is exact, or the call is denied.
    #[test]
    fn a_sum_is_exact_or_the_call_is_denied(amounts in prop::collection::vec(amount(), 0..12)) {
        let (amounts, parts): (Vec<_>, Vec<_>) = amounts.into_iter().unzip();
        let sum = parts.into_iter().sum::<Option<i128>>().and_then(|sum| i64::try_from(sum).ok());
        match (call("payments/batch", paying(&amounts)).decide(&BATCH), sum) {
            (Decision::Permit(grant), Some(sum)) => {
                prop_assert_eq!(grant.spends[0].amount.parts(), sum);
            }
            (Decision::Deny(Denial::BudgetUnread { .. }), None) => {}
            (answer, sum) => prop_assert!(false, "{:?} {:?}", answer, sum),
        }
    }
}
