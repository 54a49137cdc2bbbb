//! Validation of arguments against the pinned input schema.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::fixtures::{bundle, tool_ref};
use crate::{SCHEMA_NODES_MAX, Snapshot, ToolSchema};

fn compile(schema: Value) -> Snapshot {
    let mut bundle = bundle("");
    bundle.tools.insert(tool_ref("crm/x"), ToolSchema { input_schema: schema });
    Snapshot::compile(bundle).expect("the bundle compiles")
}

fn check(schema: Value, arguments: &Value, expected: Expect) {
    let snapshot = compile(schema);
    let shown = match snapshot.validate_arguments(&tool_ref("crm/x"), arguments) {
        Ok(()) => "valid".to_owned(),
        Err(invalid) => format!("{:?} {}", invalid.pointer, invalid),
    };
    expected.assert_eq(&shown);
}

fn refund() -> Value {
    json!({
        "type": "object",
        "properties": { "amount": { "type": "integer", "maximum": 100 }, "to": { "type": "string" } },
        "required": ["amount"],
        "additionalProperties": false,
    })
}

#[test]
fn n_068_missing_extra_null_and_wrong_arguments_are_refused() {
    check(refund(), &json!({ "amount": 1 }), expect!["valid"]);
    check(refund(), &json!({ "amount": 100.0 }), expect!["valid"]);
    check(refund(), &json!({}), expect![[r#""" "amount" is a required property"#]]);
    check(
        refund(),
        &json!({ "amount": null }),
        expect![[r#""/amount" `/amount`: value is not of type "integer""#]],
    );
    check(
        refund(),
        &json!({ "amount": 101 }),
        expect![[r#""/amount" `/amount`: value is greater than the maximum of 100"#]],
    );
    check(
        refund(),
        &json!({ "amount": 1, "to": ["a", "b"] }),
        expect![[r#""/to" `/to`: value is not of type "string""#]],
    );
    check(
        refund(),
        &json!({ "amount": 1, "more": 1 }),
        expect![[r#""" Additional properties are not allowed ('more' was unexpected)"#]],
    );
    check(refund(), &json!([]), expect![[r#""" value is not of type "object""#]]);
}

#[test]
fn an_unknown_tool_takes_no_arguments() {
    let unknown = compile(refund()).validate_arguments(&tool_ref("crm/y"), &json!({}));
    expect!["the tool has no usable input schema"]
        .assert_eq(&unknown.expect_err("unknown").to_string());
}

#[test]
fn secrets_stay_out_of_messages() {
    let snapshot = compile(json!({ "properties": { "pin": { "type": "integer" } } }));
    let invalid = snapshot.validate_arguments(&tool_ref("crm/x"), &json!({ "pin": "hunter2" }));
    let shown = invalid.expect_err("a string is no integer").to_string();
    assert!(!shown.contains("hunter2"), "{shown}");
}

fn unusable(schema: Value) -> String {
    let snapshot = compile(schema);
    let of_tool = |it: &&crate::Finding| it.message.contains("`crm/x` is not callable");
    snapshot.warnings().iter().find(of_tool).map_or("usable".to_owned(), ToString::to_string)
}

#[test]
fn n_069_references_are_local_and_unfold_to_a_bounded_size() {
    let doubling = |levels: usize| {
        let mut defs = serde_json::Map::new();
        for level in 0..levels {
            let next = json!({ "$ref": format!("#/$defs/l{}", level + 1) });
            defs.insert(format!("l{level}"), json!({ "allOf": [next.clone(), next] }));
        }
        defs.insert(format!("l{levels}"), json!({}));
        json!({ "$defs": defs, "$ref": "#/$defs/l0" })
    };
    expect!["usable"].assert_eq(&unusable(doubling(4)));
    let too_many = unusable(doubling(15));
    assert!(too_many.contains(&format!("more than {SCHEMA_NODES_MAX} nodes")), "{too_many}");
    let values = json!({ "default": { "id": "x", "$ref": "y" }, "properties": { "id": {} } });
    expect!["usable"].assert_eq(&unusable(values));
    let named = json!({ "properties": { "default": { "$ref": "#" } } });
    expect!["tool `crm/x` is not callable: its input schema is recursive, or nests deeper than 64"]
        .assert_eq(&unusable(named));
    let tree = json!({ "properties": { "child": { "$ref": "#" } } });
    expect!["tool `crm/x` is not callable: its input schema is recursive, or nests deeper than 64"]
        .assert_eq(&unusable(tree));
    expect!["tool `crm/x` is not callable: its input schema refers to `file:///etc/passwd`"]
        .assert_eq(&unusable(json!({ "$ref": "file:///etc/passwd" })));
    expect!["tool `crm/x` is not callable: its input schema uses `$id` below its root"]
        .assert_eq(&unusable(json!({ "$id": "x", "$defs": { "a": { "$id": "b" } } })));
    expect!["usable"].assert_eq(&unusable(json!({ "$defs": { "a": { "$anchor": "x" } } })));
    expect!["tool `crm/x` is not callable: its input schema refers to `#x`"]
        .assert_eq(&unusable(json!({ "$anchor": "x", "not": { "$ref": "#x" } })));
    expect!["tool `crm/x` is not callable: its input schema uses `$dynamicRef`"]
        .assert_eq(&unusable(json!({ "$dynamicRef": "#x" })));
    expect![[r#"tool `crm/x` is not callable: its input schema is none: "objekt" is not valid under any of the schemas listed in the 'anyOf' keyword"#]].assert_eq(&unusable(json!({ "type": "objekt" })));
}

#[test]
fn n_115_a_regular_expression_may_backtrack_only_so_far() {
    let schema = json!({
        "properties": { "x": { "type": "string", "pattern": "^(?=(a+)+$)(a|aa)+\\1$" } },
    });
    let snapshot = compile(schema);
    let arguments = json!({ "x": format!("{}b", "a".repeat(4_000)) });
    assert!(snapshot.validate_arguments(&tool_ref("crm/x"), &arguments).is_err());
}

#[test]
fn older_drafts_are_read_as_such() {
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "definitions": { "n": { "type": "integer" } },
        "properties": { "x": { "$ref": "#/definitions/n" } },
    });
    check(schema.clone(), &json!({ "x": 1 }), expect!["valid"]);
    check(schema, &json!({ "x": "1" }), expect![[r#""/x" `/x`: value is not of type "integer""#]]);
}
