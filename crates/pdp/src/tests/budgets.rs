//! What `budgets.yaml` says, what a call uses of a budget, and what is wrong with one.

use std::fmt::Write as _;
use std::sync::Arc;

use expect_test::{Expect, expect};
use model::{Decision, Denial, Harm, PersonId, PrincipalFacts};
use serde_json::{Value, json};

use super::fixtures::{Case, at, bundle, found_in, person, tool};
use crate::{BUDGETS_FILE, BUDGETS_MAX, Bundle, Snapshot};

const POLICY: &str = r#"
    @id("a") permit(principal, action in Action::"tools/call", resource in Server::"crm");
    @id("b") permit(principal, action in Action::"tools/call", resource in Server::"payments");
    @id("c") permit(principal, action == Action::"tools/list", resource);
"#;

fn with(budgets: &str) -> Bundle {
    Bundle { budgets: Some(budgets.to_owned()), ..bundle(POLICY) }
}

/// A budget `it` with these members.
fn budget(members: &str) -> String {
    format!("budgets:\n  it: {{ description: x, {members} }}\n")
}

fn check(budgets: &str, expected: Expect) {
    expected.assert_eq(&found_in(BUDGETS_FILE, with(budgets)));
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    check(
        "budgets:
  one:
    description: x
    match: { tools: [payments/refund] }
    amount: amount
    places: 5
    currency: { argument: currency, equals: EUR }
    cap: 0.5
    per: agent
  two: { description: x, match: {}, amount: calls, places: 1, cap: 1.55, per: task, every: day }
",
        expect![[r#"
            budgets.yaml:5: budget `one`: `amount` is no JSON pointer to an argument: write `/NAME`
            budgets.yaml:7: budget `one`: `currency` is no JSON pointer to an argument: write `/NAME`
            budgets.yaml:5: budget `one`: more than 4 `places`: say fewer
            budgets.yaml:10: budget `two`: calls have no `places` and no `currency`: take these out
            budgets.yaml:10: budget `two`: its `cap` has more places than its amount: say more `places`, or round it"#]],
    );
    check(
        &budget("match: {}, amount: calls, cap: -1, per: task"),
        expect![
            "budgets.yaml:2: expected an amount as digits, with at most four after a point at line 2, column 56: see docs/budgets.md"
        ],
    );
    check(
        &budget("match: {}, amount: calls, cap: 1, per: everybody"),
        expect![
            "budgets.yaml:2: unknown variant `everybody`, expected one of task, instance, agent, sponsor, mandate, person, deployment at line 2, column 64: see docs/budgets.md"
        ],
    );
    check(
        &budget("match: {}, amount: calls, cap: 1, per: task, evry: day"),
        expect![
            "budgets.yaml:2: unknown field `evry`, expected one of description, match, amount, places, currency, cap, per, every at line 2, column 70: see docs/budgets.md"
        ],
    );
    check(
        &budget("match: { tool: [a/b] }, amount: calls, cap: 1, per: task"),
        expect![
            "budgets.yaml:2: unknown field `tool`, expected one of tools, harm, agents, purposes, when at line 2, column 34: see docs/budgets.md"
        ],
    );
    check(
        &budget("match: { harm: [steals] }, amount: calls, cap: 1, per: task"),
        expect![
            "budgets.yaml:2: unknown variant `steals`, expected one of reads-data, exposes-data, moves-money, changes-production, runs-code at line 2, column 41: see docs/budgets.md"
        ],
    );
    check(
        &budget("match: {}, cap: 1, per: task"),
        expect!["budgets.yaml:2: missing field `amount` at line 2, column 44: see docs/budgets.md"],
    );
    check(
        "budgets: { a: {}, a: {} }",
        expect![
            "budgets.yaml:1: missing field `description` at line 1, column 15: see docs/budgets.md"
        ],
    );
    check(
        "",
        expect!["budgets.yaml:1: unexpected end of input at line 1, column 1: see docs/budgets.md"],
    );
}

#[test]
fn a_budget_is_held_against_the_arguments_of_the_tools() {
    let check = |tools: &str, amount: &str, expected: Expect| {
        let rest = format!("match: {{ tools: [{tools}] }}, amount: {amount}, cap: 1, per: task");
        check(&budget(&rest), expected);
    };
    // What is named by its own name must have the argument.
    check(
        "payments/refund",
        "/amuont",
        expect![
            "budgets.yaml:2: budget `it`: calls of `payments/refund` have no argument `/amuont` of a type that can be counted, so all are denied"
        ],
    );
    check(
        "payments/refund",
        "/tags",
        expect![
            "budgets.yaml:2: budget `it`: calls of `payments/refund` have no argument `/tags` of a type that can be counted, so all are denied"
        ],
    );
    check(
        "payments/refund",
        "/to",
        expect![
            "budgets.yaml:2: budget `it`: calls of `payments/refund` have no argument `/to` of a type that can be counted, so all are denied"
        ],
    );
    check(
        "payments/refund",
        "/amount",
        expect![
            "budgets.yaml:2: budget `it`: calls of `payments/refund` may leave out `/amount`, and are denied then"
        ],
    );
    check(
        "payments/refund",
        "/to/share",
        expect![
            "budgets.yaml:2: budget `it`: calls of `payments/refund` may leave out `/to/share`, and are denied then"
        ],
    );
    check(
        "'payments/*'",
        "/amuont",
        expect![
            "budgets.yaml:2: budget `it`: calls of `payments/refund` have no argument `/amuont` of a type that can be counted, so all are denied"
        ],
    );
    check(
        "payments/pay",
        "/amount",
        expect!["budgets.yaml:2: budget `it`: there is no tool `payments/pay`"],
    );
    check("payments/refund", "calls", expect![[r#""#]]);
}

#[test]
fn i_18_budgets_have_a_limit() {
    let of = |count: usize| {
        let mut text = "budgets:\n".to_owned();
        for budget in 0..count {
            let rest = "match: {}, amount: calls, cap: 1, per: task";
            let _ = writeln!(text, "  b-{budget}: {{ description: x, {rest} }}");
        }
        Snapshot::compile(with(&text)).map(drop).map_err(|errors| errors.to_string())
    };
    assert_eq!(of(BUDGETS_MAX), Ok(()));
    let over =
        format!("budgets.yaml: more than {BUDGETS_MAX} budgets: have one count several tools");
    assert_eq!(of(BUDGETS_MAX + 1), Err(over));
}

/// A bundle of before there were budgets keeps its digest, and what is said of them has a part in it.
#[test]
fn the_digest_names_what_is_said_of_budgets() {
    let without = bundle(POLICY);
    assert!(!String::from_utf8(json::canonical_of(&without)).unwrap().contains("\"budgets\""));
    assert_ne!(without.digest(), with("budgets: {}").digest());
}

/// What a case uses up, one `PLACE AMOUNT/CAP` a line, or why it is denied.
fn spent(budgets: &str, case: &Case) -> String {
    let snapshot = Snapshot::compile(with(budgets)).expect("it compiles");
    match case.decide(&snapshot) {
        Decision::Permit(grant) => {
            let spends = grant.spends.iter().map(|it| {
                let (budget, place) = (&it.budget, &it.place);
                format!("{budget} {place} {}/{}", it.amount, it.cap)
            });
            spends.collect::<Vec<_>>().join("\n")
        }
        Decision::Deny(denial) => format!("{}: {denial}", denial.code()),
    }
}

fn refund(input: Value) -> Case {
    let mut case = Case::call("payments/refund", input);
    case.tool = Some(tool("payments/refund", &[Harm::MovesMoney]));
    case
}

/// What is used is what was decided on, or the call is denied.
#[test]
fn n_088_an_amount_that_cannot_be_read_is_denied() {
    let unread = "budget_unread: what this uses of the budget `it` cannot be read";
    let check = |members: &str, input: Value, expected: &str| {
        let text = budget(&format!("match: {{ harm: [moves-money] }}, per: deployment, {members}"));
        let expected = if expected == "unread" {
            unread.to_owned()
        } else {
            format!("it ever/deployment {expected}")
        };
        assert_eq!(spent(&text, &refund(input.clone())), expected, "{members} {input}");
    };
    let whole = "amount: /amount, cap: 100";
    check(whole, json!({ "account": "a", "amount": 5 }), "5/100");
    check(whole, json!({ "account": "a", "amount": 5.0 }), "5/100");
    check(whole, json!({ "account": "a", "amount": 0 }), "0/100");
    check(whole, json!({ "account": "a", "amount": 1_000_000 }), "1000000/100");
    for input in [
        json!({ "account": "a" }),
        json!({ "account": "a", "amount": -5 }),
        json!({ "account": "a", "amount": 9_223_372_036_854_775_807_i64 }),
    ] {
        check(whole, input, "unread");
    }
    let cents = "amount: /price, places: 2, cap: '100.50'";
    check(cents, json!({ "account": "a", "price": 5.25 }), "5.25/100.5");
    check(cents, json!({ "account": "a", "price": 5.255 }), "unread");
    check(cents, json!({ "account": "a", "price": 5.25555 }), "unread");
    // A text that a tool might read otherwise is no amount.
    let text = "amount: /account, places: 2, cap: 100";
    check(text, json!({ "account": "5.25" }), "5.25/100");
    for account in ["05", "5e1", " 5", "5,0", "-5", ""] {
        check(text, json!({ "account": account }), "unread");
    }
    let euros = "amount: /amount, cap: 100, currency: { argument: /account, equals: EUR }";
    check(euros, json!({ "account": "EUR", "amount": 5 }), "5/100");
    check(euros, json!({ "account": "eur", "amount": 5 }), "unread");
    check(euros, json!({ "account": "USD", "amount": 5 }), "unread");
    check("amount: /to/share, cap: 1", json!({ "account": "a", "amount": 5 }), "unread");
    check("amount: calls, cap: 3", json!({ "account": "a" }), "1/3");
}

/// What a budget is for: all that is said of it must be so.
#[test]
fn a_budget_is_for_the_calls_that_meet_all_that_it_says() {
    let check = |of: &str, applies: bool| {
        let text = budget(&format!("match: {of}, amount: calls, cap: 9, per: deployment"));
        let found = spent(&text, &refund(json!({ "account": "a" })));
        assert_eq!(found, if applies { "it ever/deployment 1/9" } else { "" }, "{of}");
    };
    check("{}", true);
    check("{ tools: [payments/refund] }", true);
    check("{ tools: ['payments/*', crm/lookup] }", true);
    check("{ tools: [crm/lookup] }", false);
    check("{ harm: [moves-money, runs-code] }", true);
    check("{ harm: [runs-code] }", false);
    check("{ agents: [billing] }", true);
    check("{ agents: [other] }", false);
    check("{ purposes: [care] }", true);
    check("{ purposes: [sales] }", false);
    check("{ tools: ['payments/*'], agents: [other] }", false);
    // Listing is no call.
    let text = budget("match: {}, amount: calls, cap: 9, per: deployment");
    assert_eq!(spent(&text, &Case::method("tools/list", "crm")), "");
}

/// Whoever handed the work on uses it up as well, and a window begins at the full hour or day.
#[test]
fn n_088_a_budget_is_used_up_by_all_who_had_a_part_in_it() {
    let check = |members: &str, expected: Expect| {
        let text = budget(&format!("amount: calls, cap: 9, {members}"));
        expected.assert_eq(&spent(&text, &refund(json!({ "account": "a" })).handed_on(2)));
    };
    check("match: {}, per: task", expect!["it ever/task/tsk_66666666666666666666666666666666 1/9"]);
    check(
        "match: {}, per: instance, every: hour",
        expect![[r#"
        it hour-500000/instance/ins_01010101010101010101010101010101 1/9
        it hour-500000/instance/ins_65656565656565656565656565656565 1/9
        it hour-500000/instance/ins_66666666666666666666666666666666 1/9"#]],
    );
    check(
        "match: {}, per: agent, every: day",
        expect![[r#"
        it day-20833/agent/billing 1/9
        it day-20833/agent/lead-1 1/9
        it day-20833/agent/lead-2 1/9"#]],
    );
    check(
        "match: {}, per: sponsor",
        expect![[r#"
        it ever/sponsor/sam 1/9
        it ever/sponsor/sponsor-1 1/9
        it ever/sponsor/sponsor-2 1/9"#]],
    );
    check(
        "match: {}, per: mandate",
        expect!["it ever/mandate/man_03030303030303030303030303030303 1/9"],
    );
    check("match: {}, per: person, every: day", expect!["it day-20833/person/(nobody) 1/9"]);
    check("match: { agents: [lead-2] }, per: person", expect!["it ever/person/(nobody) 1/9"]);
    check("match: { agents: [other] }, per: person", expect![[r#""#]]);
    check("match: {}, per: deployment", expect!["it ever/deployment 1/9"]);
    check("match: { agents: [lead-2] }, per: agent", expect!["it ever/agent/lead-2 1/9"]);
    check(
        "match: { agents: [lead-2] }, per: task",
        expect!["it ever/task/tsk_66666666666666666666666666666666 1/9"],
    );
}

/// Whoever does it, and however often it was handed on; and nobody is a person.
#[test]
fn n_088_a_budget_per_person_is_used_up_by_all_work_on_behalf_of_them() {
    let text = budget("match: {}, amount: calls, cap: 9, per: person");
    let case = || refund(json!({ "account": "a" }));
    for times in 0..=2 {
        let carla = case().on_behalf_of(person("carla", &["staff"])).handed_on(times);
        assert_eq!(spent(&text, &carla), "it ever/person/carla 1/9", "{times}");
        let nobody = spent(&text, &case().handed_on(times));
        assert_eq!(nobody, "it ever/person/(nobody) 1/9", "{times}");
    }
    assert!("(nobody)".parse::<PersonId>().is_err());
}

#[test]
fn a_window_rolls_at_the_full_hour_and_at_midnight() {
    let place = |every: &str, seconds: i64| {
        let text = budget(&format!("match: {{}}, amount: calls, cap: 9, per: task, {every}"));
        let snapshot = Snapshot::compile(with(&text)).expect("it compiles");
        let budgets = snapshot.budgets();
        budgets.all(at(seconds)).next().expect("it has one").1
    };
    let now = at(0).as_seconds();
    for (every, length) in [("every: hour", 3_600), ("every: day", 86_400)] {
        let left = length - now.rem_euclid(length);
        assert_eq!(place(every, 0), place(every, left - 1));
        assert_ne!(place(every, 0), place(every, left));
        assert_eq!(place(every, left), place(every, left + length - 1));
    }
    assert_eq!(place("", 0), "ever");
}

/// What is denied for another reason is denied for that.
#[test]
fn a_budget_is_asked_last() {
    let text = budget("match: {}, amount: /amount, cap: 9, per: task");
    let snapshot = Snapshot::compile(with(&text)).expect("it compiles");
    let case = Case::call("tickets/close", json!({}));
    let denied = case.decide(&snapshot);
    assert!(matches!(denied, Decision::Deny(Denial::NotGranted { .. })), "{denied:?}");
    let mut facts = refund(json!({ "account": "a" })).facts();
    if let PrincipalFacts::Instance(standing) = &mut facts.principal {
        Arc::make_mut(standing).task.scope.tools.clear();
    }
    let request = refund(json!({ "account": "a" })).request;
    assert!(matches!(snapshot.decide(&request, &facts), Decision::Deny(Denial::OutsideScope)));
}
