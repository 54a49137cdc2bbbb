//! Results between the eras: the envelope changes, what was said does not.

use mcp::{
    Era, discover_from_initialize, forced_private, initialize_from_discover, only_passed_on,
    to_stateless,
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Members that only the stateless era has.
const ENVELOPE: [&str; 3] = ["resultType", "ttlMs", "cacheScope"];

#[test]
fn what_is_not_passed_on_is_not_promised() {
    let capabilities = json!({
        "tools": { "listChanged": true },
        "prompts": { "listChanged": true },
        "resources": { "listChanged": true, "subscribe": true },
        "tasks": { "list": {} },
        "extensions": { "io.modelcontextprotocol/tasks": {}, "io.example/other": {} },
        "logging": {},
        "odd": 1,
    });
    let check = |(client, server), resources, versions| {
        let mut expected = json!({
            "capabilities": {
                "tools": {},
                "prompts": {},
                "resources": resources,
                "extensions": { "io.example/other": {} },
                "logging": {},
                "odd": 1,
            },
        });
        if client != server {
            expected["capabilities"].as_object_mut().unwrap().remove("logging");
        }
        if !Value::is_null(&versions) {
            expected["supportedVersions"] = versions;
        }
        let said = json!({ "capabilities": capabilities });
        assert_eq!(only_passed_on(said, client, server), expected);
    };
    let versions = json!(["2026-07-28", "2025-11-25", "2025-06-18"]);
    check((Era::Session, Era::Session), json!({ "subscribe": true }), Value::Null);
    check((Era::Session, Era::Stateless), json!({}), Value::Null);
    check((Era::Stateless, Era::Session), json!({}), versions.clone());
    check((Era::Stateless, Era::Stateless), json!({}), versions);
    assert_eq!(only_passed_on(json!({}), Era::Session, Era::Session), json!({}));
}

#[test]
fn a_result_says_that_it_is_complete_once() {
    assert_eq!(to_stateless(json!({ "a": 1 })), json!({ "a": 1, "resultType": "complete" }));
    let asks = json!({ "resultType": "input_required", "inputRequests": {} });
    assert_eq!(to_stateless(asks.clone()), asks);
    for other in [json!(null), json!([]), json!("x"), json!(1)] {
        assert_eq!(to_stateless(other.clone()), other);
        assert_eq!(forced_private(other.clone()), other);
    }
}

/// N-066: what depends on the caller is for the caller alone, whatever the server says.
#[test]
fn n_066_a_result_is_never_public() {
    for scope in [json!("public"), json!("private"), json!(null), json!(7), json!(["public"])] {
        let result = forced_private(json!({ "tools": [], "cacheScope": scope, "ttlMs": 9 }));
        assert_eq!(result, json!({ "tools": [], "cacheScope": "private", "ttlMs": 9 }));
    }
    let unsaid = forced_private(json!({ "tools": [] }));
    assert_eq!(unsaid, json!({ "tools": [], "cacheScope": "private", "ttlMs": 0 }));
}

#[test]
fn a_greeting_of_one_era_is_one_of_the_other() {
    let initialize = json!({
        "protocolVersion": "2025-11-25",
        "capabilities": { "tools": { "listChanged": true } },
        "serverInfo": { "name": "payments", "version": "1.2.3" },
        "instructions": "be careful",
    });
    let discover = discover_from_initialize(&initialize);
    assert_eq!(
        discover,
        json!({
            "supportedVersions": ["2026-07-28"],
            "capabilities": { "tools": { "listChanged": true } },
            "instructions": "be careful",
            "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "payments", "version": "1.2.3" } },
            "resultType": "complete",
            "cacheScope": "private",
            "ttlMs": 0,
        })
    );
    assert_eq!(initialize_from_discover(&discover, "2025-11-25"), initialize);
    let older = initialize_from_discover(&discover, "2025-06-18");
    assert_eq!(older["protocolVersion"], "2025-06-18");
    // A version that we do not speak is answered with ours.
    for other in ["2026-07-28", "1", ""] {
        assert_eq!(initialize_from_discover(&discover, other)["protocolVersion"], "2025-11-25");
    }
}

#[test]
fn a_server_that_says_little_of_itself_is_greeted_all_the_same() {
    let discover = discover_from_initialize(&json!({}));
    assert_eq!(discover["capabilities"], json!({}));
    assert!(discover.get("instructions").is_none() && discover.get("_meta").is_none());
    let initialize = initialize_from_discover(&json!({}), "2025-11-25");
    assert_eq!(initialize["capabilities"], json!({}));
    assert_eq!(initialize["serverInfo"], json!({ "name": "server", "version": "0" }));
}

fn result() -> impl Strategy<Value = Value> {
    let value = prop_oneof![
        any::<i32>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        Just(json!([{ "type": "text", "text": "hello" }])),
        Just(json!({ "resultType": "inner", "cacheScope": "inner", "ttlMs": 1 })),
    ];
    let name = "[a-z]{1,6}|_meta|structuredContent|isError";
    prop::collection::btree_map(name, value, 0..6)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

fn without_envelope(mut result: Value) -> Value {
    result.as_object_mut().unwrap().retain(|name, _| !ENVELOPE.contains(&name.as_str()));
    result
}

proptest! {
    /// There and back again is the same; and nothing but the envelope ever differs.
    #[test]
    fn translation_changes_the_envelope_alone(result in result(), scope in "public|private") {
        let stateless = to_stateless(result.clone());
        prop_assert_eq!(without_envelope(stateless.clone()), result.clone());
        let mut cached = forced_private(stateless);
        prop_assert_eq!(without_envelope(cached.clone()), result.clone());
        cached["cacheScope"] = scope.into();
    }
}
