//! `Mcp-Param-*` (MC-03): headers that repeat arguments say the same as the arguments.

use http::{HeaderMap, HeaderName, HeaderValue};
use mcp::{AnnotationError, EraError, check_param_headers, param_headers};
use proptest::prelude::*;
use serde_json::{Value, json};

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "region": { "type": "string", "x-mcp-header": "Region" },
            "limit": { "type": ["integer", "null"], "x-mcp-header": "Limit" },
            "options": {
                "type": "object",
                "properties": { "dry": { "type": "boolean", "x-mcp-header": "Dry-Run" } },
            },
            "query": { "type": "string" },
        },
    })
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn checked(pairs: &[(&str, &str)], arguments: &Value) -> Result<(), EraError> {
    check_param_headers(&headers(pairs), &schema(), arguments)
}

#[track_caller]
fn take(pairs: &[(&str, &str)], arguments: &Value) {
    assert_eq!(checked(pairs, arguments), Ok(()), "{pairs:?} {arguments}");
}

#[track_caller]
fn refuse(name: &str, pairs: &[(&str, &str)], arguments: &Value) {
    let refused = checked(pairs, arguments);
    assert_eq!(refused, Err(EraError::ParamMismatch(name.to_owned())), "{pairs:?} {arguments}");
}

#[test]
fn mc_03_a_header_is_there_exactly_if_its_argument_is() {
    take(&[], &json!({}));
    take(&[], &json!({ "query": "x" }));
    take(&[], &json!({ "region": null, "limit": null, "options": { "dry": null } }));
    take(&[("mcp-param-region", "eu")], &json!({ "region": "eu" }));
    take(&[("MCP-Param-REGION", "eu")], &json!({ "region": "eu" }));
    take(
        &[("mcp-param-region", "eu"), ("mcp-param-limit", "7"), ("mcp-param-dry-run", "true")],
        &json!({ "region": "eu", "limit": 7, "options": { "dry": true } }),
    );
    refuse("mcp-param-region", &[], &json!({ "region": "eu" }));
    refuse("mcp-param-region", &[], &json!({ "region": "" }));
    refuse("mcp-param-region", &[("mcp-param-region", "eu")], &json!({}));
    refuse("mcp-param-region", &[("mcp-param-region", "")], &json!({ "region": null }));
    refuse("mcp-param-region", &[("mcp-param-region", "null")], &json!({ "region": null }));
    refuse("mcp-param-dry-run", &[], &json!({ "options": { "dry": false } }));
    refuse("mcp-param-dry-run", &[("mcp-param-dry-run", "true")], &json!({ "options": {} }));
    refuse("mcp-param-dry-run", &[("mcp-param-dry-run", "true")], &json!({ "dry": true }));
    refuse("mcp-param-dry-run", &[("mcp-param-dry-run", "true")], &json!({ "options": ["dry"] }));
}

#[test]
fn mc_03_texts_are_compared_byte_for_byte() {
    let region = |value: &str, header: &str| {
        checked(&[("mcp-param-region", header)], &json!({ "region": value })).is_ok()
    };
    assert!(region("us-west1", "us-west1"));
    assert!(region("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="));
    assert!(region(" padded ", "=?base64?IHBhZGRlZCA=?="));
    assert!(region("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="));
    assert!(region("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="));
    assert!(region("us-west1", "=?base64?dXMtd2VzdDE=?="));
    for (value, header) in [
        ("us-west1", "us-west2"),
        ("us-west1", "US-WEST1"),
        ("us-west1", "us-west1,us-west1"),
        ("us-west1", "\"us-west1\""),
        ("us-west1", "=?base64?dXMtd2VzdDI=?="),
        ("us-west1", "=?base64?dXMtd2VzdDE?="),
        ("us-west1", "=?Base64?dXMtd2VzdDE=?="),
        ("=?base64?literal?=", "=?base64?literal?="),
        ("7", "7.0"),
        ("é", "é"),
        ("\u{fffd}", "=?base64?/w==?="),
    ] {
        assert!(!region(value, header), "{value} {header}");
    }
}

#[test]
fn mc_03_integers_are_compared_as_numbers() {
    let limit = |value: Value, header: &str| {
        checked(&[("mcp-param-limit", header)], &json!({ "limit": value })).is_ok()
    };
    for same in ["42", "42.0", "4.2e1", "420e-1", "=?base64?NDI=?="] {
        assert!(limit(json!(42), same), "{same}");
    }
    assert!(limit(json!(-7), "-7") && limit(json!(0), "-0") && limit(json!(0), "0"));
    for other in [
        "43", "42.5", "042", "+42", " 42", "0x2a", "4_2", "42n", "", "NaN", "null", "[42]",
        "\"42\"", "true", "٤٢", "42 42",
    ] {
        assert!(!limit(json!(42), other), "{other}");
    }
    let safe = (1_u64 << 53) - 1;
    assert!(limit(json!(safe), "9007199254740991"));
    assert!(limit(json!(-9_007_199_254_740_991_i64), "-9007199254740991"));
    // Beyond, other languages see another number.
    assert!(!limit(json!(safe + 1), "9007199254740992"));
    assert!(!limit(json!(safe + 1), "9007199254740993"));
    assert!(!limit(json!(1.5), "1.5"));
    assert!(!limit(json!(u64::MAX), "18446744073709551615"));
}

#[test]
fn mc_03_truth_values_are_lower_case() {
    let dry = |value: Value, header: &str| {
        let arguments = json!({ "options": { "dry": value } });
        checked(&[("mcp-param-dry-run", header)], &arguments).is_ok()
    };
    assert!(dry(json!(true), "true") && dry(json!(false), "false"));
    for (value, header) in [(true, "false"), (true, "True"), (true, "1"), (false, ""), (false, "0")]
    {
        assert!(!dry(json!(value), header), "{value} {header}");
    }
}

/// What no header can say is never said by one.
#[test]
fn mc_03_lists_and_objects_have_no_header() {
    for value in [json!([]), json!(["eu"]), json!({}), json!({ "a": 1 })] {
        for header in ["", "eu", &value.to_string()] {
            refuse(
                "mcp-param-region",
                &[("mcp-param-region", header)],
                &json!({ "region": value }),
            );
        }
        refuse("mcp-param-region", &[], &json!({ "region": value }));
    }
    assert!(checked(&[("mcp-param-region", "eu")], &json!(["eu"])).is_err());
    assert!(checked(&[("mcp-param-region", "eu")], &json!(null)).is_err());
}

#[test]
fn n_063_a_repeated_param_header_is_refused() {
    let arguments = json!({ "region": "eu" });
    for pair in [["eu", "eu"], ["eu", "us"], ["us", "eu"]] {
        let pairs = pair.map(|value| ("mcp-param-region", value));
        refuse("mcp-param-region", &pairs, &arguments);
    }
}

/// N-062: a parameter's header has a name of its own, whatever the tool calls it, so it takes the
/// place of no other; and one that no tool asked for says nothing.
#[test]
fn n_062_no_param_header_stands_for_another() {
    for name in ["Authorization", "Host", "Content-Length", "Cookie", "Mcp-Method"] {
        let property = json!({ "type": "string", "x-mcp-header": name });
        let schema = json!({ "properties": { "a": property } });
        let written = param_headers(&schema, &json!({ "a": "evil" })).unwrap();
        let expected = format!("mcp-param-{}", name.to_lowercase());
        assert_eq!(written, [(expected.parse().unwrap(), HeaderValue::from_static("evil"))]);
        let as_header = headers(&[(name, "evil")]);
        assert!(check_param_headers(&as_header, &schema, &json!({ "a": "evil" })).is_err());
    }
    take(&[("mcp-param-other", "x"), ("mcp-param-", "x")], &json!({}));
    let hostile = json!({ "region": "eu\r\nAuthorization: Bearer x\0" });
    let written = param_headers(&schema(), &hostile).unwrap();
    assert!(written[0].1.to_str().unwrap().starts_with("=?base64?"));
}

#[track_caller]
fn invalid(schema: &Value, expected: &AnnotationError) {
    assert_eq!(param_headers(schema, &json!({})), Err(expected.clone()), "{schema}");
    let refused = check_param_headers(&HeaderMap::new(), schema, &json!({}));
    assert_eq!(refused, Err(EraError::Annotation(expected.clone())), "{schema}");
}

fn on(property: Value) -> Value {
    json!({ "type": "object", "properties": { "a": property } })
}

#[test]
fn mc_03_annotations_have_names_of_headers() {
    let name = AnnotationError::Name("a".to_owned());
    let long = "x".repeat(129);
    for bad in [
        json!(""),
        json!(" "),
        json!("a b"),
        json!("a:b"),
        json!("a\r\nb"),
        json!("a\0"),
        json!("é"),
        json!("a/b"),
        json!("(a)"),
        json!(1),
        json!(null),
        json!(["a"]),
        json!(long),
    ] {
        invalid(&on(json!({ "type": "string", "x-mcp-header": bad })), &name);
    }
    for good in ["a", "A-b_c.9", "!#$%&'*+-.^_`|~", &"x".repeat(128)] {
        let schema = on(json!({ "type": "string", "x-mcp-header": good }));
        assert!(param_headers(&schema, &json!({})).is_ok(), "{good}");
    }
}

#[test]
fn mc_03_annotations_are_unique_but_for_case() {
    let region = |name: &str| json!({ "type": "string", "x-mcp-header": name });
    let twice = json!({ "properties": { "a": region("Region"), "b": region("rEGION") } });
    invalid(&twice, &AnnotationError::Twice("mcp-param-region".to_owned()));
    let nested =
        json!({ "properties": { "a": region("R"), "b": { "properties": { "c": region("r") } } } });
    invalid(&nested, &AnnotationError::Twice("mcp-param-r".to_owned()));
}

#[test]
fn mc_03_annotations_are_on_simple_types() {
    let of = AnnotationError::Type("a".to_owned());
    for bad in [
        json!("number"),
        json!("object"),
        json!("array"),
        json!("null"),
        json!("String"),
        json!(null),
        json!([]),
        json!(["null"]),
        json!(["string", "integer"]),
        json!(["number", "null"]),
        json!({}),
    ] {
        invalid(&on(json!({ "type": bad, "x-mcp-header": "A" })), &of);
    }
    invalid(&on(json!({ "x-mcp-header": "A" })), &of);
    for good in [json!("string"), json!("integer"), json!("boolean"), json!(["null", "string"])] {
        let schema = on(json!({ "type": good, "x-mcp-header": "A" }));
        assert!(param_headers(&schema, &json!({})).is_ok(), "{schema}");
    }
}

#[test]
fn mc_03_annotations_are_where_plain_properties_lead() {
    let annotated = || json!({ "type": "string", "x-mcp-header": "A" });
    let below = |name: &str| AnnotationError::Unreachable(name.to_owned());
    invalid(&annotated(), &below(""));
    for keyword in [
        "items",
        "not",
        "if",
        "then",
        "else",
        "additionalProperties",
        "contains",
        "propertyNames",
        "x-own",
    ] {
        invalid(&json!({ keyword: annotated() }), &below(keyword));
        invalid(&on(json!({ keyword: annotated() })), &below(keyword));
        invalid(&json!({ keyword: on(annotated()) }), &below("properties"));
    }
    for keyword in ["oneOf", "anyOf", "allOf", "prefixItems"] {
        invalid(&json!({ keyword: [{}, annotated()] }), &below(keyword));
        invalid(&json!({ keyword: [on(annotated())] }), &below("properties"));
    }
    for keyword in ["$defs", "definitions", "patternProperties", "dependentSchemas"] {
        invalid(&json!({ keyword: { "x": annotated() } }), &below(keyword));
        // A schema of that name, not an annotation.
        assert!(param_headers(&json!({ keyword: { "x-mcp-header": {} } }), &json!({})).is_ok());
    }
    // Data, and a property of that name, are no annotations.
    for data in ["const", "default", "examples", "enum"] {
        let schema = on(json!({ data: { "x-mcp-header": "A" } }));
        assert!(param_headers(&schema, &json!({})).is_ok(), "{schema}");
    }
    let named = json!({ "properties": { "x-mcp-header": { "type": "string" } } });
    assert!(param_headers(&named, &json!({ "x-mcp-header": "x" })).unwrap().is_empty());
    for odd in [
        json!(true),
        json!(null),
        json!([]),
        json!({ "properties": [] }),
        json!({ "properties": { "a": true } }),
    ] {
        assert!(param_headers(&odd, &json!({})).unwrap().is_empty(), "{odd}");
    }
}

#[test]
fn i_18_annotations_have_a_limit() {
    let many = |count: usize| {
        let property = |n: usize| {
            (format!("p{n}"), json!({ "type": "string", "x-mcp-header": format!("P{n}") }))
        };
        json!({ "properties": (0..count).map(property).collect::<serde_json::Map<_, _>>() })
    };
    assert!(param_headers(&many(64), &json!({})).is_ok());
    invalid(&many(65), &AnnotationError::TooMany);
}

#[test]
fn a_mismatch_is_told_with_its_code() {
    let error = checked(&[], &json!({ "region": "eu" })).unwrap_err();
    let (status, body) = error.answer("1");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["error"]["code"]), (400, &json!(-32_020)));
}

fn argument() -> impl Strategy<Value = Value> {
    let integer = -9_007_199_254_740_991_i64..=9_007_199_254_740_991;
    prop_oneof![
        any::<String>().prop_map(Value::from),
        integer.prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ]
}

proptest! {
    /// What is written for a call passes for it, and for no call with another argument.
    #[test]
    fn mc_03_what_is_written_is_what_is_checked(region in argument(), limit in argument(), other in argument()) {
        let call = |region: &Value| json!({ "region": region, "limit": limit });
        let written: HeaderMap = param_headers(&schema(), &call(&region)).unwrap().into_iter().collect();
        prop_assert_eq!(check_param_headers(&written, &schema(), &call(&region)), Ok(()));
        let header = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        };
        let same = header(&region) == header(&other);
        prop_assert!(same || check_param_headers(&written, &schema(), &call(&other)).is_err());
    }
}
