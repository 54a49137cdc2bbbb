//! The eras: which one a message belongs to, and what it must say twice (MC-01 to MC-04).

use http::{HeaderMap, HeaderName, HeaderValue};
use mcp::{
    Era, EraError, Limits, Message, SESSION_VERSIONS, check_era, decode_header_value,
    encode_header_value, era_of, era_of_headers, negotiate, parse_message,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// Headers in the order in which they stand.
fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn message(method: &str, params: &Value) -> Message {
    let text = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    parse_message(text.to_string().as_bytes(), &Limits::default()).unwrap()
}

fn meta(version: impl Into<Value>) -> Value {
    json!({ VERSION: version.into(), CAPABILITIES: {} })
}

fn call() -> Value {
    json!({ "_meta": meta("2026-07-28"), "name": "refund", "arguments": {} })
}

const CALL: [(&str, &str); 3] =
    [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "refund")];

fn with(mut value: Value, name: &str, member: impl Into<Value>) -> Value {
    value[name] = member.into();
    value
}

/// The right headers with `name` set to each of `values`.
fn with_header(name: &str, values: &[&str]) -> HeaderMap {
    let others = CALL.iter().copied().filter(|(known, _)| *known != name);
    headers(&others.chain(values.iter().map(|value| (name, *value))).collect::<Vec<_>>())
}

#[track_caller]
fn check(headers: &HeaderMap, message: &Message, expected: Result<(), EraError>) {
    assert_eq!(era_of(headers, message), Era::Stateless, "{headers:?}");
    assert_eq!(check_era(headers, message, Era::Stateless), expected, "{headers:?}");
}

#[track_caller]
fn mismatch(name: &'static str, values: &[&str]) {
    let headers = with_header(name, values);
    check(&headers, &message("tools/call", &call()), Err(EraError::HeaderMismatch(name)));
}

#[test]
fn a_message_that_says_the_same_twice_is_taken() {
    check(&headers(&CALL), &message("tools/call", &call()), Ok(()));
    let upper = [
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", "tools/call"),
        ("MCP-NAME", "refund"),
    ];
    check(&headers(&upper), &message("tools/call", &call()), Ok(()));
}

/// MC-01, and the benign half of N-045: a greeting of the stateless era has no name.
#[test]
fn n_045_discovery_passes() {
    let params = json!({ "_meta": meta("2026-07-28") });
    let said = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "server/discover")];
    check(&headers(&said), &message("server/discover", &params), Ok(()));
    let with_session = [said[0], said[1], ("mcp-session-id", "x"), ("last-event-id", "7")];
    check(&headers(&with_session), &message("server/discover", &params), Ok(()));
}

#[test]
fn mc_01_meta_is_needed() {
    let headers = headers(&CALL);
    let refused = |meta: Value, missing: &'static str| {
        let message = message("tools/call", &with(call(), "_meta", meta));
        let error = check_era(&headers, &message, era_of(&headers, &message)).unwrap_err();
        assert_eq!(error, EraError::MissingMeta(missing));
        let (status, body) = error.answer("1");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &body["error"]["code"]), (400, &json!(-32_602)));
    };
    refused(json!({}), VERSION);
    refused(json!(null), VERSION);
    refused(json!([]), VERSION);
    refused(json!({ VERSION: "2026-07-28" }), CAPABILITIES);
    refused(json!({ VERSION: "2026-07-28", CAPABILITIES: null }), CAPABILITIES);
    refused(json!({ VERSION: "2026-07-28", CAPABILITIES: [] }), CAPABILITIES);
    refused(json!({ VERSION: 20_260_728, CAPABILITIES: {} }), VERSION);
    refused(json!({ VERSION: null, CAPABILITIES: {} }), VERSION);
    refused(json!({ VERSION: ["2026-07-28"], CAPABILITIES: {} }), VERSION);
}

#[test]
fn n_045_headers_and_body_say_the_same() {
    for name in ["mcp-protocol-version", "mcp-method", "mcp-name"] {
        mismatch(name, &[]);
        mismatch(name, &[""]);
        mismatch(name, &["other"]);
    }
    mismatch("mcp-method", &["tools/list"]);
    mismatch("mcp-method", &["Tools/Call"]);
    mismatch("mcp-method", &["tools/call, tools/list"]);
    mismatch("mcp-name", &["Refund"]);
    mismatch("mcp-name", &["refund2"]);
    mismatch("mcp-name", &["refund\t"]);
    mismatch("mcp-protocol-version", &["2026-07-29"]);
    mismatch("mcp-protocol-version", &["2025-11-25"]);
}

/// The names of other methods are the members that the specification says.
#[test]
fn n_045_every_method_with_a_name_repeats_it() {
    for (method, member) in [("resources/read", "uri"), ("prompts/get", "name")] {
        let params = json!({ "_meta": meta("2026-07-28"), member: "the one" });
        let said = |name| headers(&[CALL[0], ("mcp-method", method), ("mcp-name", name)]);
        check(&said("the one"), &message(method, &params), Ok(()));
        let refused = Err(EraError::HeaderMismatch("mcp-name"));
        check(&said("another"), &message(method, &params), refused);
    }
}

/// Names may be encoded; what routes by version or method does not decode them.
#[test]
fn n_045_encoded_headers() {
    let named = |name: &str| message("tools/call", &with(call(), "name", name));
    let cases = [
        ("refund", "=?base64?cmVmdW5k?=", true),
        ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?=", true),
        (" padded ", "=?base64?IHBhZGRlZCA=?=", true),
        ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?=", true),
        ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=", true),
        ("=?base64?literal?=", "=?base64?literal?=", false),
        ("refund", "=?base64?cmVmdW5j?=", false),
        ("refund", "=?BASE64?cmVmdW5k?=", false),
        ("refund", "=?base64?cmVmdW5k", false),
        ("refund", "=?base64?cmVmdW5k==?=", false),
        ("refund", "=?base64?cmVm dW5k?=", false),
        ("refun", "=?base64?cmVmdW4?=", false),
        ("refun", "=?base64?cmVmdW5=?=", false),
        ("\u{fffd}", "=?base64?/w==?=", false),
        ("", "=?base64??=", true),
        ("=?base64?=", "=?base64?=", true),
    ];
    for (name, header, taken) in cases {
        let result = if taken { Ok(()) } else { Err(EraError::HeaderMismatch("mcp-name")) };
        check(&with_header("mcp-name", &[header]), &named(name), result);
    }
    mismatch("mcp-method", &["=?base64?dG9vbHMvY2FsbA==?="]);
    mismatch("mcp-protocol-version", &["=?base64?MjAyNi0wNy0yOA==?="]);
}

/// First, last or joined: readers differ on a header that stands twice, so it stands once.
#[test]
fn n_063_a_repeated_header_is_refused() {
    for (name, value) in CALL {
        mismatch(name, &[value, value]);
        mismatch(name, &[value, "other"]);
        mismatch(name, &["other", value]);
    }
    let twice =
        headers(&[("mcp-protocol-version", "2025-11-25"), ("mcp-protocol-version", "2025-11-25")]);
    let ping = message("ping", &json!({}));
    assert_eq!(era_of(&twice, &ping), Era::Session);
    let refused = Err(EraError::HeaderMismatch("mcp-protocol-version"));
    assert_eq!(check_era(&twice, &ping, Era::Session), refused);
}

/// A header value with CR, LF or NUL cannot be built; other bytes beyond ASCII are refused.
#[test]
fn n_062_header_values_are_plain_ascii() {
    for bytes in [&b"refund\r\nAuthorization: x"[..], b"refund\n", b"refund\0"] {
        assert!(HeaderValue::from_bytes(bytes).is_err());
    }
    mismatch("mcp-name", &["refünd"]);
    mismatch("mcp-method", &["tools/call\u{a0}"]);
    for text in ["a\r\nb: c", "a\0", "\u{85}", "é", "\u{7f}", "\t", " a", "a "] {
        let encoded = encode_header_value(text);
        assert!(encoded.starts_with("=?base64?") && HeaderValue::from_str(&encoded).is_ok());
        assert_eq!(decode_header_value(&encoded).as_deref(), Some(text));
    }
}

#[test]
fn mc_04_other_versions_are_refused_with_those_that_we_speak() {
    for version in ["2026-07-29", "2027-01-01", "9999", "draft", "2026"] {
        let message = message("tools/call", &with(call(), "_meta", meta(version)));
        let headers = with_header("mcp-protocol-version", &[version]);
        check(&headers, &message, Err(EraError::UnsupportedVersion(version.to_owned())));
    }
    for version in ["2024-11-05", "2025-01-01", "1", "0"] {
        let headers = headers(&[("mcp-protocol-version", version)]);
        let ping = message("ping", &json!({}));
        assert_eq!(era_of(&headers, &ping), Era::Session);
        let refused = check_era(&headers, &ping, Era::Session);
        assert_eq!(refused, Err(EraError::UnsupportedVersion(version.to_owned())));
    }
    let (status, body) = EraError::UnsupportedVersion("2027-01-01".to_owned()).answer("\"a\"");
    let body: Value = serde_json::from_str(&body).unwrap();
    let supported = json!(["2026-07-28", "2025-11-25", "2025-06-18"]);
    assert_eq!((status, &body["id"]), (400, &json!("a")));
    assert_eq!(body["error"]["code"], -32_022);
    assert_eq!(body["error"]["data"], json!({ "supported": supported, "requested": "2027-01-01" }));
}

#[test]
fn mc_04_what_is_repeated_of_a_version_is_cut() {
    let long = format!("2027{}", "x".repeat(5_000));
    let message = message("tools/call", &with(call(), "_meta", meta(long.as_str())));
    let headers = with_header("mcp-protocol-version", &[&long]);
    let error = check_era(&headers, &message, Era::Stateless).unwrap_err();
    assert_eq!(error, EraError::UnsupportedVersion(long[..80].to_owned()));
}

/// MC-04 and MA-08: the methods of an extension are for clients that declare it.
#[test]
fn mc_04_tasks_need_the_declared_extension() {
    let tasks = "io.modelcontextprotocol/tasks";
    for method in ["tasks/get", "tasks/update", "tasks/cancel", "tasks/result"] {
        let said = headers(&[CALL[0], ("mcp-method", method), ("mcp-name", "t")]);
        let with_capabilities = |capabilities: Value| {
            let meta = json!({ VERSION: "2026-07-28", CAPABILITIES: capabilities });
            let message = message(method, &json!({ "_meta": meta, "taskId": "t" }));
            check_era(&said, &message, Era::Stateless)
        };
        assert_eq!(with_capabilities(json!({ "extensions": { tasks: {} } })), Ok(()));
        for missing in [
            json!({}),
            json!({ tasks: {} }),
            json!({ "extensions": { tasks: null } }),
            json!({ "extensions": [tasks] }),
        ] {
            assert_eq!(with_capabilities(missing), Err(EraError::MissingCapability(tasks)));
        }
    }
    let (status, body) = EraError::MissingCapability(tasks).answer("1");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["error"]["code"]), (400, &json!(-32_021)));
    let required = json!({ "requiredCapabilities": { "extensions": { tasks: {} } } });
    assert_eq!(body["error"]["data"], required);
}

#[test]
fn the_session_era_is_that_of_what_says_nothing_newer() {
    for version in SESSION_VERSIONS.into_iter().chain(["2025-03-26"]) {
        let headers = headers(&[("mcp-protocol-version", version)]);
        let list = message("tools/list", &json!({}));
        assert_eq!(era_of(&headers, &list), Era::Session);
        assert_eq!(check_era(&headers, &list, Era::Session), Ok(()));
    }
    let initialize =
        json!({ "protocolVersion": "2026-07-28", "capabilities": {}, "clientInfo": {} });
    let greeting = message("initialize", &initialize);
    assert_eq!(era_of(&HeaderMap::new(), &greeting), Era::Session);
    assert_eq!(check_era(&HeaderMap::new(), &greeting, Era::Session), Ok(()));
}

/// No message chooses the laxer rules by saying two things.
#[test]
fn n_042_whatever_says_stateless_is_held_to_it() {
    let session = ("mcp-protocol-version", "2025-11-25");
    let plain = message("tools/call", &json!({ "name": "refund" }));
    for extra in [("mcp-method", "tools/call"), ("mcp-name", "refund"), ("mcp-param-region", "eu")]
    {
        check(&headers(&[session, extra]), &plain, Err(EraError::MissingMeta(VERSION)));
        check(&headers(&[extra]), &plain, Err(EraError::MissingMeta(VERSION)));
        assert_eq!(era_of_headers(&headers(&[extra])), Era::Stateless);
    }
    let in_body = message("tools/call", &call());
    let refused = Err(EraError::HeaderMismatch("mcp-protocol-version"));
    check(&headers(&[session, ("mcp-session-id", "x")]), &in_body, refused.clone());
    check(&HeaderMap::new(), &in_body, refused);
    let in_header = headers(&[("mcp-protocol-version", "2026-07-28")]);
    check(&in_header, &plain, Err(EraError::MissingMeta(VERSION)));
    // A session version in the body is still the way in which the stateless era says it.
    let older = message("tools/call", &with(call(), "_meta", meta("2025-11-25")));
    let refused = Err(EraError::UnsupportedVersion("2025-11-25".to_owned()));
    check(&with_header("mcp-protocol-version", &["2025-11-25"]), &older, refused);
}

#[test]
fn a_session_version_is_negotiated() {
    assert_eq!(negotiate(Some("2025-06-18")), "2025-06-18");
    assert_eq!(negotiate(Some("2025-11-25")), "2025-11-25");
    for other in [None, Some("2026-07-28"), Some("2024-11-05"), Some(""), Some("2025-11-25 ")] {
        assert_eq!(negotiate(other), "2025-11-25", "{other:?}");
    }
}

proptest! {
    /// Every text has a header value that stands for it, and only for it.
    #[test]
    fn a_header_value_stands_for_its_text(text in "\\PC*|[ -~]*|=\\?base64\\?[ -~]*\\?=", other in "\\PC*") {
        let value = encode_header_value(&text);
        prop_assert!(HeaderValue::from_str(&value).is_ok());
        prop_assert!(value.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
        prop_assert_eq!(decode_header_value(&value), Some(text.clone()));
        prop_assert_eq!(encode_header_value(&other) == value, other == text);
    }

    /// A stateless request is taken exactly if its headers say what its body says.
    #[test]
    fn n_045_taken_exactly_if_equal(
        methods in prop::array::uniform2("tools/call|prompts/get"),
        names in prop::array::uniform2("[a-b]{1,2}|é"),
        versions in prop::array::uniform2("2026-07-28|2025-11-25"),
    ) {
        let params = json!({ "_meta": meta(versions[0].as_str()), "name": names[0] });
        let message = message(&methods[0], &params);
        let name = encode_header_value(&names[1]);
        let headers = headers(&[
            ("mcp-protocol-version", &versions[1]),
            ("mcp-method", &methods[1]),
            ("mcp-name", &name),
        ]);
        let same = methods[0] == methods[1] && names[0] == names[1] && versions[0] == versions[1];
        let taken = same && versions[0] == "2026-07-28";
        prop_assert_eq!(check_era(&headers, &message, Era::Stateless).is_ok(), taken);
    }
}
