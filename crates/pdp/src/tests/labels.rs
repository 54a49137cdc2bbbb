//! What `labels.yaml` says, and what is wrong with one.

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use model::{AccessRequest, ActionName, ResourceRef};
use serde_json::{Value, json};

use super::fixtures::{Case, bundle, found_in, show};
use crate::{Bundle, LABELS_FILE, LABELS_MAX, Snapshot};

const POLICY: &str = r#"@id("a") permit(principal, action, resource in Server::"crm");"#;

fn with(labels: &str) -> Bundle {
    Bundle { labels: Some(labels.to_owned()), ..bundle(POLICY) }
}

fn check(labels: &str, expected: Expect) {
    expected.assert_eq(&found_in(LABELS_FILE, with(labels)));
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    check(
        "labels: { external: Text of others. }\n\
         servers:\n  crm:\n    resources: [exteranl]\n\
         tools:\n  crm/lookup:\n    carries: [private]\n    reads: account\n    when:\n\
         \x20     - { argument: path, equals: 1, prefix: a, carries: [external] }\n",
        expect![[r#"
            labels.yaml:4: label `exteranl` is not declared: add it to `labels`
            labels.yaml:7: label `private` is not declared: add it to `labels`
            labels.yaml:10: `path` is no JSON pointer to an argument: write `/NAME`
            labels.yaml:10: needs either `equals` or `prefix`: say one of both
            labels.yaml:8: `account` is no JSON pointer to an argument: write `/NAME`"#]],
    );
    check(
        "labels:\n  A: b\n",
        expect![
            "labels.yaml:2: `A` is not a label: expected 1 to 63 characters of a-z, 0-9 and `-` at line 2, column 3: see docs/labels.md"
        ],
    );
    check(
        "labels: {}\ntools:\n  crm/lookup: { carry: [] }\n",
        expect![
            "labels.yaml:3: unknown field `carry`, expected one of carries, when, sink, reads, stores at line 3, column 17: see docs/labels.md"
        ],
    );
    check(
        "labels: {}\ntools:\n  lookup: {}\n",
        expect![
            "labels.yaml:3: `lookup` is not a tool of a server: expected `SERVER/TOOL` at line 3, column 3: see docs/labels.md"
        ],
    );
    check(
        "labels: { a: x }\nlabels: { b: x }\n",
        expect![
            "labels.yaml:2: duplicate mapping key: labels, set DuplicateKeyPolicy in Options if acceptable at line 2, column 1: see docs/labels.md"
        ],
    );
    check(
        "",
        expect!["labels.yaml:1: unexpected end of input at line 1, column 1: see docs/labels.md"],
    );
}

#[test]
fn a_tool_of_which_nothing_is_said_is_told() {
    check(
        "labels: { a: x }\ntools: { crm/*: { carries: [a] } }\n",
        expect![[r#"
        labels.yaml: says nothing of tool `payments/refund`: its results carry no label; say what, under `tools`
        labels.yaml: says nothing of tool `tickets/close`: its results carry no label; say what, under `tools`"#]],
    );
    check(
        "labels: { a: x }\n",
        expect![[r#"
        labels.yaml: says nothing of tool `crm/lookup`: its results carry no label; say what, under `tools`
        labels.yaml: says nothing of tool `payments/refund`: its results carry no label; say what, under `tools`
        labels.yaml: says nothing of tool `tickets/close`: its results carry no label; say what, under `tools`"#]],
    );
}

#[test]
fn i_18_labels_have_a_limit() {
    let of = |count: usize| {
        let mut text = "labels:\n".to_owned();
        for label in 0..count {
            let _ = writeln!(text, "  l-{label}: x");
        }
        Snapshot::compile(with(&text)).map(drop).map_err(|errors| errors.to_string())
    };
    assert_eq!(of(LABELS_MAX), Ok(()));
    let why = "have one stand for what policies tell apart";
    let over = format!("labels.yaml: more than {LABELS_MAX} labels: {why}");
    assert_eq!(of(LABELS_MAX + 1), Err(over));
}

/// A bundle of before there were labels keeps its digest, and what is said of labels has a part in it.
#[test]
fn the_digest_names_what_is_said_of_labels() {
    let without = bundle(POLICY);
    assert!(!String::from_utf8(json::canonical_of(&without)).unwrap().contains("\"labels\""));
    assert_ne!(without.digest(), with("labels: {}").digest());
    assert_ne!(with("labels: { a: x }").digest(), with("labels: {}").digest());
}

fn flow(labels: &str, tool: &str, input: Value) -> String {
    let tool: model::ToolRef = tool.parse().expect("a tool");
    let case = Case::method("tools/list", "crm");
    let request = AccessRequest {
        action: ActionName::tool(&tool),
        resource: ResourceRef::Tool(tool),
        input,
        ..case.request
    };
    let snapshot = Snapshot::compile(with(labels)).expect("it compiles");
    let flow = snapshot.labels().of(&request);
    let carries: Vec<_> = flow.carries.iter().map(ToString::to_string).collect();
    let stores = match flow.stores {
        None => "nothing",
        Some((_, None)) => "unnamed",
        Some((_, Some(_))) => "named",
    };
    format!("{} reads {} stores {stores}", carries.join(" "), flow.reads.len())
}

/// Where the arguments leave open what is meant, all of it is.
#[test]
fn n_085_what_is_left_out_meets_every_condition() {
    let labels = "
labels: { hr: Personal., big: Much., all: Everything. }
tools:
  crm/*: { carries: [all] }
  crm/lookup:
    when:
      - { argument: /folder, prefix: hr/, carries: [hr] }
      - { argument: /amount, equals: 100, carries: [big] }
  crm/keep: { stores: /account }
  crm/dump: { stores: any }
  crm/find: { reads: any }
  crm/open: { reads: /account }
";
    let check = |tool: &str, input: Value, expected: &str| {
        assert_eq!(flow(labels, tool, input.clone()), expected, "{tool} {input}");
    };
    check("crm/lookup", json!({ "folder": "hr/a", "amount": 1 }), "hr reads 0 stores nothing");
    check(
        "crm/lookup",
        json!({ "folder": "sales", "amount": 100.0 }),
        "big reads 0 stores nothing",
    );
    check("crm/lookup", json!({ "folder": "sales", "amount": 1 }), " reads 0 stores nothing");
    check("crm/lookup", json!({}), "big hr reads 0 stores nothing");
    check("crm/lookup", json!({ "folder": 5, "amount": "100" }), "hr reads 0 stores nothing");
    check("crm/other", json!({}), "all reads 0 stores nothing");
    for name in [json!("a"), json!(1), json!(true)] {
        check("crm/keep", json!({ "account": name }), " reads 0 stores named");
        check("crm/open", json!({ "account": name }), " reads 2 stores nothing");
    }
    for none in [json!({}), json!({ "account": null }), json!({ "account": ["a"] })] {
        check("crm/keep", none.clone(), " reads 0 stores unnamed");
        check("crm/open", none, " reads 1 stores nothing");
    }
    check("crm/dump", json!({ "account": "a" }), " reads 0 stores unnamed");
    check("crm/find", json!({ "account": "a" }), " reads 1 stores nothing");
    check("other/tool", json!({}), " reads 0 stores nothing");
}

#[test]
fn policies_see_what_a_tool_is() {
    let policy = r#"@id("a") permit(principal, action in Action::"tools/call", resource in Server::"crm")
        when { resource.sink && resource.carries.contains("hr") };"#;
    let answer = |labels: &str| {
        let bundle = Bundle { labels: Some(labels.to_owned()), ..bundle(policy) };
        let case = Case::call("crm/lookup", json!({ "id": 1 }));
        let snapshot = Snapshot::compile(bundle).expect("it compiles");
        let is_permitted = show(&case.decide(&snapshot)).starts_with("permit");
        (is_permitted, case.could_permit(&snapshot))
    };
    let tool = |said: &str| format!("labels: {{ hr: x }}\ntools: {{ crm/lookup: {said} }}");
    assert_eq!(answer(&tool("{ sink: true, carries: [hr] }")), (true, true));
    assert_eq!(answer(&tool("{ carries: [hr] }")), (false, false));
    assert_eq!(answer(&tool("{ sink: true }")), (false, false));
}

/// What a server sends out otherwise than by a call of a tool, policies see of it, its resources and prompts.
#[test]
fn n_085_policies_see_what_a_server_sends_out() {
    let policy = r#"
        @id("a") permit(principal, action, resource in Server::"crm");
        @id("no-way-out")
        forbid(
            principal,
            action in [
                Action::"completion/complete", Action::"prompts/get", Action::"resources/read",
                Action::"server/request"
            ],
            resource
        )
        when { resource.sink && !context.session.labels.isEmpty() };"#;
    let server: model::ServerName = "crm".parse().expect("a server");
    let prompt = ResourceRef::Prompt { server: server.clone(), name: "sum".to_owned() };
    let uri = "crm://1".to_owned();
    let cases = [
        Case::method("completion/complete", "crm"),
        Case::of("prompts/get", prompt),
        Case::of("resources/read", ResourceRef::Resource { server, uri }),
    ];
    for (sink, labels, expected) in
        [(true, &["a"] as &[&str], false), (true, &[], true), (false, &["a"], true)]
    {
        let said = format!("labels: {{ a: x }}\nservers: {{ crm: {{ sink: {sink} }} }}\n");
        let bundle = Bundle { labels: Some(said), ..bundle(policy) };
        let snapshot = Snapshot::compile(bundle).expect("it compiles");
        for mut case in cases.clone() {
            case.facts.session.labels = labels.iter().map(|it| it.parse().unwrap()).collect();
            let is_permitted = show(&case.decide(&snapshot)).starts_with("permit");
            assert_eq!(is_permitted, expected, "{}", case.request.action);
        }
    }
}

/// The set that a new deployment starts with lets nothing be completed by a server that sends out, once something was read.
#[test]
fn n_085_nothing_is_completed_where_it_would_be_sent_out() {
    let labels = "labels: { a: x }\nservers: { crm: { sink: true } }\n";
    let bundle = Bundle { labels: Some(labels.to_owned()), ..bundle(crate::STARTER_POLICY) };
    let snapshot = Snapshot::compile(bundle).expect("it compiles");
    let mut case = Case::method("completion/complete", "crm");
    assert!(show(&case.decide(&snapshot)).starts_with("permit"));
    case.facts.session.labels = ["a".parse().unwrap()].into();
    assert!(show(&case.decide(&snapshot)).starts_with("deny"));
    case.request.action = ActionName::method("tools/list");
    assert!(show(&case.decide(&snapshot)).starts_with("permit"));
}
