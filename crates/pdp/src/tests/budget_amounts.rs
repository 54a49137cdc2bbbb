//! What a call uses of a budget whose amount is a product or a sum of its arguments.

use std::sync::LazyLock;

use expect_test::{Expect, expect};
use model::{Decision, Denial, Harm};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::fixtures::{Case, NOW, bundle, found_in, tool, tool_ref};
use crate::{BUDGETS_FILE, Bundle, Snapshot, ToolSchema};

const POLICY: &str = r#"
    @id("a") permit(principal, action in Action::"tools/call", resource in Server::"payments");
"#;

/// A set with a budget `it` of this amount and these members, and a tool that orders.
fn with(amount: &str, rest: &str) -> Bundle {
    let line = json!({
        "type": "object",
        "properties": {
            "quantity": { "type": "integer" },
            "price": { "type": "number" },
            "parts": { "type": "array", "items": {
                "type": "object", "properties": { "price": { "type": "number" } },
                "required": ["price"],
            } },
        },
        "required": ["quantity", "price", "parts"],
    });
    let input_schema = json!({
        "type": "object",
        "properties": {
            "quantity": { "type": "integer" },
            "price": { "type": "number" },
            "fee": { "type": "string" },
            "shipping": { "type": "number" },
            "urgent": { "type": "boolean" },
            "currency": { "type": "string" },
            "lines": { "type": "array", "items": line },
        },
        "required": ["quantity", "price", "fee", "currency", "lines"],
    });
    let tools = "match: { tools: [payments/order] }";
    let members = format!("description: x, {tools}, amount: {amount}, per: deployment, {rest}");
    let budgets = format!("budgets:\n  it: {{ {members} }}\n");
    let mut bundle = Bundle { budgets: Some(budgets), ..bundle(POLICY) };
    bundle.tools.insert(tool_ref("payments/order"), ToolSchema { input_schema });
    bundle
}

/// What is quantity × price, of an order and of each of its lines.
const ORDER: &str = "{ product: [/quantity, /price] }";
const LINES: &str = "[/lines, { product: [/quantity, /price] }]";

#[test]
fn what_is_wrong_with_an_amount_is_told_with_its_line() {
    let check = |amount: &str, expected: &str| {
        let found = found_in(BUDGETS_FILE, with(amount, "places: 2, cap: 9"));
        let expected = match expected {
            "" => String::new(),
            what => format!("budgets.yaml:2: budget `it`: {what}"),
        };
        assert_eq!(found, expected, "{amount}");
    };
    for right in [
        ORDER,
        LINES,
        "{ sum: [/price, /fee] }",
        "{ sum: [[/lines, { product: [/quantity, /price] }], /fee, 2.5, '0.05'] }",
        "[/lines, { sum: [/price, 0.05] }]",
        "[/lines, /parts, { product: [/price, 1.19] }]",
        "{ product: [[/lines, /price], 1.19] }",
        "{ product: [/quantity, { sum: [/price, 1] }] }",
        "[/price]",
    ] {
        check(right, "");
    }
    let expected = "an amount is `calls`, a JSON pointer (`/NAME`), `[/LIST, AMOUNT]`, `{ product: [AMOUNT, …] }` or \
                    `{ sum: [AMOUNT, …] }`; in these it is a constant, too";
    for wrong in [
        "true",
        "{}",
        "{ sum: /price }",
        "{ quotient: [/price, /quantity] }",
        "{ sum: [/price, 1], product: [/price, 2] }",
        "{ sum: [/price, true] }",
        "[{ sum: [/price, 1] }, /price]",
    ] {
        check(wrong, expected);
    }
    let constant = "is no constant: write digits, above zero, with at most 4 after a point";
    check("{ product: [/price, 0] }", &format!("`0` {constant}"));
    check("{ product: [/price, -1] }", &format!("`-1` {constant}"));
    check("{ product: [/price, 1.00001] }", &format!("`1.00001` {constant}"));
    check("{ sum: [/price, 0.005] }", "`0.005` has more places than the amount: say more `places`");
    check("{ product: [/price, 0.005] }", "");
    let pointer = "is no JSON pointer to an argument: write `/NAME`";
    check("{ product: [/price, quantity] }", &format!("`quantity` {pointer}"));
    check("{ sum: [/price, calls] }", &format!("`calls` {pointer}"));
    check("{ product: [/price, '1,5'] }", &format!("`1,5` {pointer}"));
    let two = "a `sum` or `product` has two parts or more: take it out";
    check("{ sum: [/price] }", two);
    check("{ product: [] }", two);
    check(
        "{ product: [2, 3] }",
        "it is the same of every call: name an argument, or write `calls`",
    );
    check("[/lines, 1]", "it is the same of every object of a list: name an argument there");
    check(
        "[/lines, { sum: [/price, [/parts, /price]] }]",
        "has a list of the objects of a list within what is added up there: write `[/LIST, /LIST, AMOUNT]`",
    );
    let doubled = found_in(BUDGETS_FILE, with("{ sum: [/price, 1], sum: [/price, 2] }", "cap: 9"));
    assert!(doubled.starts_with("budgets.yaml:2: "), "{doubled}");
}

#[test]
fn i_18_an_amount_has_a_limit() {
    let check = |amount: &str, expected: Expect| {
        expected.assert_eq(&found_in(BUDGETS_FILE, with(amount, "cap: 9, places: 2")));
    };
    let of = |count: usize| format!("{{ sum: [{}] }}", vec!["/price"; count].join(", "));
    check(&of(16), expect![""]);
    check(
        &of(17),
        expect![
            "budgets.yaml:2: budget `it`: more than 16 arguments and constants: write several budgets"
        ],
    );
    let deep = |depth: usize| {
        let (before, after) = ("{ sum: [1, ".repeat(depth), "] }".repeat(depth));
        format!("{before}/price{after}")
    };
    check(&deep(8), expect![""]);
    check(
        &deep(9),
        expect!["budgets.yaml:2: budget `it`: it is more than 8 deep: write several budgets"],
    );
}

/// Each argument has to be there and of a type that can be counted; what is never there comes before what may be
/// left out.
#[test]
fn each_argument_of_an_amount_is_held_against_the_tools() {
    let check = |amount: &str, rest: &str, expected: &str| {
        let found = found_in(BUDGETS_FILE, with(amount, &format!("places: 2, cap: 9{rest}")));
        let told = "budgets.yaml:2: budget `it`: ";
        assert_eq!(found.strip_prefix(told).unwrap_or(&found), expected, "{amount} {rest}");
    };
    let always = |at: &str| {
        format!(
            "calls of `payments/order` have no argument `{at}` of a type that can be counted, so all are denied"
        )
    };
    let sometimes =
        |at: &str| format!("calls of `payments/order` may leave out `{at}`, and are denied then");
    check("{ product: [/quantity, /prise] }", "", &always("/prise"));
    check("{ product: [/quantity, /urgent] }", "", &always("/urgent"));
    check("{ sum: [/price, /shipping] }", "", &sometimes("/shipping"));
    check("{ sum: [/shipping, /prise] }", "", &always("/prise"));
    check("[/lines, { product: [/quantity, /prise] }]", "", &always("/lines[]/prise"));
    check("{ sum: [/price, [/urgent, /price]] }", "", &always("/urgent[]/price"));
    let of = |at: &str| format!(", currency: {{ argument: {at}, equals: EUR }}");
    check(LINES, &of("/currency"), "");
    check(LINES, &of("[/lines, /currency]"), &always("/lines[]/currency"));
    // Where there are no lines, the fee would be of no currency.
    check(
        "{ sum: [[/lines, /price], /fee] }",
        &of("[/lines, /currency]"),
        "its `currency` is in other lists than its amount: name both in the same",
    );
}

/// What a call uses, or the reason for which it is denied.
fn used(snapshot: &Snapshot, input: Value) -> String {
    let mut case = Case::call("payments/order", input);
    case.tool = Some(tool("payments/order", &[Harm::MovesMoney]));
    match case.decide(snapshot) {
        Decision::Permit(grant) => grant.spends[0].amount.to_string(),
        Decision::Deny(denial) => denial.code().to_owned(),
    }
}

fn compiled(amount: &str) -> Snapshot {
    Snapshot::compile(with(amount, "places: 2, cap: 100")).expect("it compiles")
}

/// An order of one thing, with these members besides.
fn order(members: Value) -> Value {
    let mut order =
        json!({ "quantity": 1, "price": 1, "fee": "0", "currency": "EUR", "lines": [] });
    let (Value::Object(all), Value::Object(members)) = (&mut order, members) else {
        panic!("no members");
    };
    all.extend(members);
    order
}

fn line(quantity: &Value, price: &Value) -> Value {
    json!({ "quantity": quantity, "price": price, "parts": [] })
}

#[test]
fn n_088_what_an_order_comes_to_is_exact_or_the_call_is_denied() {
    const ALL: &str = "{ sum: [[/lines, { product: [/quantity, /price] }], /fee, 2.5] }";
    let check = |amount: &str, members: Value, expected: &str| {
        let snapshot = compiled(amount);
        assert_eq!(used(&snapshot, order(members.clone())), expected, "{amount} {members}");
    };
    check(ORDER, json!({ "quantity": 3, "price": 9.99 }), "29.97");
    check(ORDER, json!({ "quantity": 0, "price": 9.99 }), "0");
    // A part may be finer than what it comes to.
    check(ORDER, json!({ "quantity": 200, "price": 0.005 }), "1");
    check(ORDER, json!({ "quantity": 3, "price": 0.005 }), "budget_unread");
    check("{ sum: [/price, /fee] }", json!({ "price": 0.005, "fee": "0.01" }), "budget_unread");
    // Two who are below zero would come to what is above.
    check(ORDER, json!({ "quantity": -3, "price": -9.99 }), "budget_unread");
    check(ORDER, json!({ "quantity": 3, "price": -9.99 }), "budget_unread");
    check(ORDER, json!({ "quantity": i64::MAX, "price": 0 }), "budget_unread");
    check(ORDER, json!({ "quantity": 922_337_203_685_477_i64, "price": 1 }), "922337203685477");
    check(ORDER, json!({ "quantity": 922_337_203_685_477_i64, "price": 2 }), "budget_unread");
    check("{ product: [/price, /fee] }", json!({ "price": 2, "fee": "1.5" }), "3");
    check("{ product: [/price, /fee] }", json!({ "price": 2, "fee": "01.5" }), "budget_unread");
    check("{ product: [/price, /shipping] }", json!({ "price": 2 }), "budget_unread");
    check("{ product: [/price, 1.19] }", json!({ "price": 100 }), "119");
    // A factor below 1 makes less of it; nothing else does.
    check("{ product: [/price, 0.5] }", json!({ "price": 100 }), "50");
    check("{ product: [/price, /fee] }", json!({ "price": 100, "fee": "0.5" }), "50");
    check("{ product: [/price, /fee] }", json!({ "price": 100, "fee": "0" }), "0");
    let lines = json!([line(&json!(2), &json!(1.25)), line(&json!(3), &json!(0.5))]);
    check(LINES, json!({ "lines": lines }), "4");
    check(ALL, json!({ "lines": lines, "fee": "0.05" }), "6.55");
    check(ALL, json!({}), "2.5");
    let many = |count: usize| json!({ "lines": vec![line(&json!(1), &json!(1)); count] });
    check(LINES, many(1_000), "1000");
    check(LINES, many(1_001), "budget_unread");
    let parts = json!([
        { "quantity": 1, "price": 1, "parts": [{ "price": 1 }, { "price": 2 }] },
        { "quantity": 1, "price": 1, "parts": [{ "price": 3 }] },
    ]);
    check("[/lines, /parts, { product: [/price, 2] }]", json!({ "lines": parts }), "12");
}

/// What is shown of an amount says the same as what is written.
#[test]
fn an_amount_is_shown_as_it_is_calculated() {
    let check = |amount: &str, expected: &str| {
        let snapshot = compiled(amount);
        let shown = snapshot.budgets().all(NOW).next().expect("it has one").0;
        assert_eq!(shown.amount, expected);
    };
    check(ORDER, "/quantity * /price");
    check(
        "{ sum: [[/lines, { product: [/quantity, /price] }], /fee, 2.50] }",
        "/lines[](/quantity * /price) + /fee + 2.5",
    );
    check("{ product: [/quantity, { sum: [/price, 1] }] }", "/quantity * (/price + 1)");
    check("[/lines, /parts, /price]", "/lines[]/parts[]/price");
}

/// A number with up to four places, in ten-thousandths.
fn number() -> impl Strategy<Value = (Value, i128)> {
    let below = prop_oneof![
        (-3_i64..1_000_000).prop_map(|whole| (whole, 10_000)),
        (0_i64..1_000_000).prop_map(|cents| (cents, 100)),
        (0_i64..1_000_000).prop_map(|parts| (parts, 1)),
        (1_i64..900_000_000_000_000).prop_map(|whole| (whole, 10_000)),
    ];
    below.prop_map(|(number, parts)| {
        let exact = i128::from(number) * i128::from(parts);
        let text = match parts {
            10_000 => number.to_string(),
            parts => {
                let (unit, width) = (10_000 / parts, if parts == 1 { 4 } else { 2 });
                format!("{}.{:0width$}", number / unit, number % unit)
            }
        };
        (serde_json::from_str(&text).expect("a number"), exact)
    })
}

/// Quantity and price, each as it is written and in ten-thousandths.
type Line = ((Value, i128), (Value, i128));

/// What the whole comes to, in ten-thousandths: no part is below zero, and it has two places and is no more than an
/// amount can be.
fn exact(lines: &[Line]) -> Option<i128> {
    let mut sum = 0_i128;
    for ((_, quantity), (_, price)) in lines {
        let product = (*quantity >= 0 && *price >= 0).then(|| quantity * price)?;
        sum += (product % (10_000 * 100) == 0).then_some(product / 10_000)?;
    }
    (sum <= i128::from(i64::MAX)).then_some(sum)
}

/// Compiled once for all cases.
static ORDERS: LazyLock<Snapshot> = LazyLock::new(|| compiled(LINES));

proptest! {
    /// Whatever is ordered, what it comes to is exact, or the call is denied.
    #[test]
    fn an_order_is_exact_or_the_call_is_denied(
        lines in prop::collection::vec((number(), number()), 0..5),
    ) {
        // A quantity is whole.
        let whole: Vec<_> = lines.iter().filter(|((it, _), _)| it.is_i64()).cloned().collect();
        let listed: Vec<_> = whole.iter().map(|((a, _), (b, _))| line(a, b)).collect();
        let mut case = Case::call("payments/order", order(json!({ "lines": listed })));
        case.tool = Some(tool("payments/order", &[Harm::MovesMoney]));
        match (case.decide(&ORDERS), exact(&whole)) {
            (Decision::Permit(grant), Some(sum)) => {
                prop_assert_eq!(i128::from(grant.spends[0].amount.parts()), sum);
            }
            (Decision::Deny(Denial::BudgetUnread { .. }), None) => {}
            (answer, sum) => prop_assert!(false, "{:?} {:?}", answer, sum),
        }
    }
}
