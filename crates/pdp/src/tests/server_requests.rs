//! What a server asks of its clients: the one method whose parameters are input to policy.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::fixtures::{Case, show, snapshot};

const FORMS: &str = r#"@id("forms") permit(principal, action == Action::"server/request",
                       resource == Server::"crm") when { context.input.mode == "form" };
                       @id("login") permit(principal, action == Action::"server/request",
                       resource == Server::"crm")
                       when { context.input has host && context.input.host == "login.example" };
                       @id("reading") permit(principal, action in Action::"tools/call",
                       resource in Server::"crm");"#;

fn check(policies: &str, server: &str, input: Value, expected: Expect) {
    let mut case = Case::method("server/request", server);
    case.request.input = input;
    expected.assert_eq(&show(&case.decide(&snapshot(policies))));
}

fn elicitation(mode: &str) -> Value {
    json!({ "method": "elicitation/create", "mode": mode, "params": "sha256:00" })
}

#[test]
fn n_084_policy_tells_what_is_asked_apart() {
    let denied = || expect!["deny (not_granted): no policy grants this access [instance no]"];
    check(FORMS, "crm", elicitation("form"), expect!["permit by forms [instance yes]"]);
    check(FORMS, "crm", elicitation("url"), denied());
    let mut login = elicitation("url");
    login["host"] = "login.example".into();
    check(FORMS, "crm", login, expect!["permit by login [instance yes]"]);
    for method in ["sampling/createMessage", "roots/list"] {
        check(FORMS, "crm", json!({ "method": method, "mode": "none" }), denied());
    }
    check(FORMS, "payments", elicitation("form"), denied());
    check(crate::STARTER_POLICY, "crm", elicitation("form"), denied());
}

#[test]
fn what_does_not_say_what_is_asked_is_denied() {
    let malformed = || expect!["deny (malformed): the request does not fit the policy schema"];
    check(FORMS, "crm", Value::Null, malformed());
    check(FORMS, "crm", json!({ "method": 1, "mode": "form" }), malformed());
}

#[test]
fn a_server_may_ask_if_some_permit_could_match() {
    let asks = |policies: &str, server: &str| {
        snapshot(policies).lets_ask(&server.parse().expect("a server"))
    };
    assert!(asks(FORMS, "crm"));
    assert!(!asks(FORMS, "payments"));
    assert!(!asks(crate::STARTER_POLICY, "crm"));
    assert!(asks(r#"@id("a") permit(principal, action, resource in Server::"crm");"#, "crm"));
    let observed = r#"@id("a") @mode("observe") permit(principal, action, resource);"#;
    assert!(!asks(observed, "crm"));
    assert!(!asks(r#"@id("a") forbid(principal, action, resource);"#, "crm"));
}
