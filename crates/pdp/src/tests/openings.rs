//! What a token opens: the other input of a method.

use expect_test::{Expect, expect};
use model::{Decision, Opens};
use serde_json::{Value, json};

use super::fixtures::{Case, bundle, found_in, snapshot};

/// What is answered where one policy permits tokens, and this one stands beside it.
fn answer(forbid: &str, input: Value) -> &'static str {
    let permit = r#"@id("tokens") permit(principal, action == Action::"token/issue", resource);"#;
    let mut case = Case::method("token/issue", "crm");
    case.request.input = input;
    match case.decide(&snapshot(&format!("{permit}\n{forbid}"))) {
        Decision::Permit(_) => "permit",
        Decision::Deny(denial) => denial.code(),
    }
}

/// What is answered where nothing may be opened of which `condition` holds.
fn check(condition: &str, input: Value, expected: &str) {
    let scope = r#"@id("frozen") forbid(principal, action == Action::"token/issue", resource)"#;
    let forbid = format!("{scope} when {{ {condition} }};");
    assert_eq!(answer(&forbid, input), expected, "{condition}");
}

/// What the page shows keeps new work from beginning, and nothing else.
#[test]
fn what_the_page_on_policies_shows_forbids_opening() {
    let page = include_str!("../../../../docs/policy-schema.md");
    let blocks = page.split("```cedar\n").skip(1).filter_map(|rest| rest.split("```").next());
    let shown: Vec<_> = blocks.filter(|block| block.contains("no-new-work")).collect();
    let [forbid] = shown.as_slice() else { panic!("it is shown once: {shown:?}") };
    assert_eq!(answer(forbid, Value::Null), "permit");
    for opens in Opens::ALL {
        assert_eq!(answer(forbid, json!({ "opens": opens })), "forbidden");
    }
}

#[test]
fn policy_tells_what_is_opened_apart_from_what_goes_on() {
    let [task, part] = Opens::ALL.map(|opens| json!({ "opens": opens }));
    let any = "context.input has opens";
    // So were those recorded that earlier builds decided, whatever they opened.
    check(any, Value::Null, "permit");
    check(any, task.clone(), "forbidden");
    check(any, part.clone(), "forbidden");
    let parts = r#"context.input has opens && context.input.opens == "part""#;
    check(parts, Value::Null, "permit");
    check(parts, task, "permit");
    check(parts, part, "forbidden");
    check(any, json!({ "opens": 1 }), "malformed");
}

#[test]
fn what_nothing_ever_opens_is_found() {
    let found = |opens: &str, expected: Expect| {
        let policy = format!(
            "@id(\"a\") forbid(principal, action == Action::\"token/issue\", resource)
             when {{ context.input has opens && context.input.opens == \"{opens}\" }};"
        );
        expected.assert_eq(&found_in("test.cedar", bundle(&policy)));
    };
    found("part", expect![""]);
    found(
        "child",
        expect![[
            r#"test.cedar:1: policy `a`: compares the argument `/opens` with "child", which it never is: name one of "part", "task", or leave that out"#
        ]],
    );
}
