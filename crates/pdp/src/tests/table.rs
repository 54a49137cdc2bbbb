//! JSON Schema → Cedar: one test for each row of `docs/policy-schema.md`.

use cedar_policy::Context;
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::shape::{Converter, Misfit, UNREAD_MAX, of_arguments, record_type};

/// The Cedar type of a member `x` with this schema, then each value's Cedar form.
fn check(schema: &Value, values: &[Value], expected: Expect) {
    let arguments = json!({
        "type": "object", "properties": { "x": schema }, "$defs": { "label": { "type": "string" } },
    });
    let members = of_arguments(&arguments);
    let mut lines = vec![match members.get("x") {
        Some(_) => record_type(&members)["attributes"]["x"].to_string(),
        None => "left out".to_owned(),
    }];
    for value in values {
        let mut converter = Converter::default();
        let result = converter.arguments(&members, &json!({ "x": value }));
        let shown = match result {
            Ok(input) => {
                let context = Context::from_pairs([("input".to_owned(), input)]);
                context.expect("exact values are values").to_string()
            }
            Err(Misfit) => "misfit".to_owned(),
        };
        let unread: Vec<String> = converter.unread.into_iter().collect();
        lines.push(format!("{value} => {shown} {}", unread.join(" ")).trim_end().to_owned());
    }
    expected.assert_eq(&lines.join("\n"));
}

#[test]
fn row_string() {
    check(
        &json!({ "type": "string" }),
        &[json!("a*"), json!(1), json!(null)],
        expect![[r#"
        {"type":"String","required":false}
        "a*" => {input: {x: "a*"}}
        1 => misfit
        null => {input: {}} /x"#]],
    );
}

#[test]
fn row_string_with_a_format() {
    let date = json!({ "type": "string", "format": "date" });
    check(
        &date,
        &[json!("2026-11-24")],
        expect![[r#"
        {"type":"String","required":false}
        "2026-11-24" => {input: {x: "2026-11-24"}}"#]],
    );
}

fn formatted(format: &str, texts: &[&str], expected: Expect) {
    let texts: Vec<Value> = texts.iter().map(|text| json!(text)).collect();
    check(&json!({ "type": "string", "format": format }), &texts, expected);
}

#[test]
fn row_date_time() {
    formatted(
        "date-time",
        &[
            "2026-11-24T00:00:00Z",
            "2026-11-24T01:30:00.5+01:30",
            "2026-11-24T00:00:00-05:00",
            "2026-11-24T00:00:00.0001Z",
            "2026-11-24 00:00:00Z",
            "2026-11-24T00:00:60Z",
            "2026-02-30T00:00:00Z",
            "2026-11-24T00:00:00+24:00",
            "0000-01-01T00:00:00+01:00",
            "2026-11-24",
            "tomorrow",
        ],
        expect![[r#"
        {"type":"Extension","name":"datetime","required":false}
        "2026-11-24T00:00:00Z" => {input: {x: datetime("2026-11-24T00:00:00.000Z")}}
        "2026-11-24T01:30:00.5+01:30" => {input: {x: datetime("2026-11-24T00:00:00.500Z")}}
        "2026-11-24T00:00:00-05:00" => {input: {x: datetime("2026-11-24T05:00:00.000Z")}}
        "2026-11-24T00:00:00.0001Z" => {input: {}} /x
        "2026-11-24 00:00:00Z" => {input: {}} /x
        "2026-11-24T00:00:60Z" => {input: {}} /x
        "2026-02-30T00:00:00Z" => {input: {}} /x
        "2026-11-24T00:00:00+24:00" => {input: {}} /x
        "0000-01-01T00:00:00+01:00" => {input: {}} /x
        "2026-11-24" => {input: {}} /x
        "tomorrow" => {input: {}} /x"#]],
    );
}

#[test]
fn row_decimal() {
    formatted(
        "decimal",
        &["12.50", "0", "-3.25", "1e2", "+1", "01", "1.23456", "1,5", " 1", "1000000000000000"],
        expect![[r#"
        {"type":"Extension","name":"decimal","required":false}
        "12.50" => {input: {x: decimal("12.5")}}
        "0" => {input: {x: decimal("0.0")}}
        "-3.25" => {input: {x: decimal("-3.25")}}
        "1e2" => {input: {}} /x
        "+1" => {input: {}} /x
        "01" => {input: {}} /x
        "1.23456" => {input: {}} /x
        "1,5" => {input: {}} /x
        " 1" => {input: {}} /x
        "1000000000000000" => {input: {}} /x"#]],
    );
    let text = json!({ "type": "string", "format": "decimal" });
    let misfit = expect![[r#"
        {"type":"Extension","name":"decimal","required":false}
        5 => misfit"#]];
    check(&text, &[json!(5)], misfit);
}

/// A policy that looks for addresses in a range would not find one that is spelt as one of the other version.
#[test]
fn row_addresses() {
    formatted(
        "ipv4",
        &["10.0.0.1", "010.0.0.1", "10.0.0.0/8", "10.1", "::1", ""],
        expect![[r#"
        {"type":"Extension","name":"ipaddr","required":false}
        "10.0.0.1" => {input: {x: ip("10.0.0.1")}}
        "010.0.0.1" => {input: {}} /x
        "10.0.0.0/8" => {input: {}} /x
        "10.1" => {input: {}} /x
        "::1" => {input: {}} /x
        "" => {input: {}} /x"#]],
    );
    formatted(
        "ipv6",
        &[
            "::1",
            "2001:DB8::1",
            "::ffff:10.0.0.1",
            "::ffff:0:1",
            "::10.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::a00:1",
            "::ffff:0:10.0.0.1",
            "2002:a00:1::",
            "2001::a00:1",
            "2001:db8::5efe:10.0.0.1",
            "fe80::1%eth0",
            "::/0",
            "10.0.0.1",
        ],
        expect![[r#"
        {"type":"Extension","name":"ipaddr","required":false}
        "::1" => {input: {x: ip("0:0:0:0:0:0:0:1")}}
        "2001:DB8::1" => {input: {x: ip("2001:db8:0:0:0:0:0:1")}}
        "::ffff:10.0.0.1" => {input: {}} /x
        "::ffff:0:1" => {input: {}} /x
        "::10.0.0.1" => {input: {}} /x
        "64:ff9b::a00:1" => {input: {}} /x
        "64:ff9b:1::a00:1" => {input: {}} /x
        "::ffff:0:10.0.0.1" => {input: {}} /x
        "2002:a00:1::" => {input: {}} /x
        "2001::a00:1" => {input: {}} /x
        "2001:db8::5efe:10.0.0.1" => {input: {}} /x
        "fe80::1%eth0" => {input: {}} /x
        "::/0" => {input: {}} /x
        "10.0.0.1" => {input: {}} /x"#]],
    );
}

#[test]
fn row_string_enum() {
    check(
        &json!({ "enum": ["a", "b"] }),
        &[json!("a")],
        expect![[r#"
        {"type":"String","required":false}
        "a" => {input: {x: "a"}}"#]],
    );
    check(
        &json!({ "type": "string", "enum": ["a"] }),
        &[json!("a")],
        expect![[r#"
        {"type":"String","required":false}
        "a" => {input: {x: "a"}}"#]],
    );
    check(
        &json!({ "enum": ["a", 1] }),
        &[json!("a")],
        expect![[r#"
        left out
        "a" => {input: {}} /x"#]],
    );
}

#[test]
fn n_067_row_integer() {
    let values = ["100", "100.0", "1e2", "-0", "9007199254740993", "1e300", "1.5", "\"100\""];
    let values = values.map(|text| serde_json::from_str(text).expect("JSON"));
    check(
        &json!({ "type": "integer" }),
        &values,
        expect![[r#"
        {"type":"Long","required":false}
        100 => {input: {x: 100}}
        100.0 => {input: {x: 100}}
        100.0 => {input: {x: 100}}
        -0.0 => {input: {x: 0}}
        9007199254740993 => {input: {x: 9007199254740993}}
        1e+300 => {input: {}} /x
        1.5 => {input: {}} /x
        "100" => misfit"#]],
    );
}

#[test]
fn n_067_row_number() {
    let values = [
        "100",
        "100.001",
        "0.1",
        "1e-4",
        "0.00001",
        "-0.5",
        "-0.0",
        "922337203685477",
        "922337203685478",
        "1e20",
        "1e300",
    ];
    let values = values.map(|text| serde_json::from_str(text).expect("JSON"));
    check(
        &json!({ "type": "number" }),
        &values,
        expect![[r#"
        {"type":"Extension","name":"decimal","required":false}
        100 => {input: {x: decimal("100.0")}}
        100.001 => {input: {x: decimal("100.001")}}
        0.1 => {input: {x: decimal("0.1")}}
        0.0001 => {input: {x: decimal("0.0001")}}
        0.00001 => {input: {}} /x
        -0.5 => {input: {x: decimal("-0.5")}}
        -0.0 => {input: {x: decimal("0.0")}}
        922337203685477 => {input: {x: decimal("922337203685477.0")}}
        922337203685478 => {input: {}} /x
        1e+20 => {input: {}} /x
        1e+300 => {input: {}} /x"#]],
    );
}

#[test]
fn row_boolean() {
    check(
        &json!({ "type": "boolean" }),
        &[json!(true), json!("true")],
        expect![[r#"
        {"type":"Boolean","required":false}
        true => {input: {x: true}}
        "true" => misfit"#]],
    );
}

#[test]
fn n_068_row_array() {
    let numbers = json!({ "type": "array", "items": { "type": "number" } });
    let values = [json!([]), json!([1, 2.5]), json!([1, 0.00001]), json!(1)];
    check(
        &numbers,
        &values,
        expect![[r#"
        {"type":"Set","element":{"type":"Extension","name":"decimal"},"required":false}
        [] => {input: {x: []}}
        [1,2.5] => {input: {x: [decimal("1.0"), decimal("2.5")]}}
        [1,0.00001] => {input: {}} /x
        1 => misfit"#]],
    );
    check(
        &json!({ "type": "array" }),
        &[json!([1])],
        expect![[r#"
        left out
        [1] => {input: {}} /x"#]],
    );
    let tuple = json!({ "type": "array", "prefixItems": [{}], "items": { "type": "string" } });
    check(&tuple, &[], expect!["left out"]);
}

#[test]
fn row_object() {
    let object = json!({
        "type": "object",
        "properties": { "a": { "type": "string" }, "b": { "type": "number" } },
        "required": ["a"],
    });
    let values = [
        json!({ "a": "x" }),
        json!({ "b": 1 }),
        json!({ "a": "x", "b": 0.00001, "c/d": 1 }),
        json!(null),
    ];
    check(
        &object,
        &values,
        expect![[r#"
        {"type":"Record","attributes":{"a":{"type":"String","required":true},"b":{"type":"Extension","name":"decimal","required":false}},"required":false}
        {"a":"x"} => {input: {x: {a: "x"}}}
        {"b":1} => misfit
        {"a":"x","b":0.00001,"c/d":1} => {input: {x: {a: "x"}}} /x/b /x/c~1d
        null => {input: {}} /x"#]],
    );
    check(
        &json!({ "type": "object" }),
        &[json!({ "a": 1 })],
        expect![[r#"
        left out
        {"a":1} => {input: {}} /x"#]],
    );
}

#[test]
fn row_local_reference() {
    check(
        &json!({ "$ref": "#/$defs/label" }),
        &[json!("a")],
        expect![[r#"
        {"type":"String","required":false}
        "a" => {input: {x: "a"}}"#]],
    );
    check(&json!({ "$ref": "#/$defs/none" }), &[], expect!["left out"]);
    check(&json!({ "$ref": "https://schemas.example/x" }), &[], expect!["left out"]);
    check(&json!({ "$ref": "#/properties/x" }), &[], expect!["left out"]);
}

#[test]
fn row_left_out() {
    for schema in [
        json!({}),
        json!(true),
        json!({ "type": ["string", "null"] }),
        json!({ "type": "null" }),
        json!({ "anyOf": [{ "type": "string" }, { "type": "null" }] }),
        json!({ "oneOf": [{ "type": "string" }] }),
        json!({ "allOf": [{ "type": "string" }], "type": "string" }),
        json!({ "if": {}, "type": "string" }),
        json!({ "const": "a" }),
    ] {
        check(&schema, &[], expect!["left out"]);
    }
    check(&json!({ "type": ["string"] }), &[], expect![[r#"{"type":"String","required":false}"#]]);
}

#[test]
fn the_number_of_unread_arguments_has_a_limit() {
    let members = of_arguments(&json!({ "type": "object" }));
    let arguments = |count: usize| -> Value {
        let extra = (0..count).map(|n| (format!("k{n}"), Value::Null));
        Value::Object(extra.collect())
    };
    let convert = |count| Converter::default().arguments(&members, &arguments(count));
    assert!(convert(UNREAD_MAX).is_ok());
    assert!(convert(UNREAD_MAX + 1).is_err());
}
