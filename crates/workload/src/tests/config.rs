//! What the operator may write.

use std::sync::Arc;

use serde_json::{Value, json};
use testkit::ManualClock;
use tokio_util::task::TaskTracker;

use super::issuer::Authority;
use super::{US, fetcher, with};
use crate::{Parts, SetupError, Sources, SourcesConfig};

/// What becomes of it: `ok`, or what is wrong.
fn made(config: Value) -> String {
    let config: SourcesConfig = match serde_json::from_value(config) {
        Ok(config) => config,
        Err(_) => return "cannot be read".to_owned(),
    };
    let clock = Arc::new(ManualClock::new());
    let parts = Parts { fetcher: fetcher(&Authority::new()), clock, tasks: TaskTracker::new() };
    Sources::new(config, parts).map_or_else(|error| error.to_string(), |_| "ok".to_owned())
}

fn check(config: Value, expected: &str) {
    assert_eq!(made(config.clone()), expected, "{config}");
}

fn github() -> Value {
    json!({ "issuer": "https://token.actions.githubusercontent.com", "audience": US })
}

fn domain() -> Value {
    json!({ "trust_domain": "example.org", "audience": US, "workload_api": "unix:///run/a.sock" })
}

fn oidc(name: &str, value: impl Into<Value>) -> Value {
    json!({ "oidc": [with(&github(), name, value)] })
}

fn spiffe(name: &str, value: impl Into<Value>) -> Value {
    json!({ "spiffe": [with(&domain(), name, value)] })
}

#[tokio::test]
async fn platforms_are_written_whole_and_once() {
    check(json!({}), "ok");
    check(json!({ "oidc": [github()], "spiffe": [domain()], "keys_last_s": 60 }), "ok");
    check(json!({ "oidc": [], "saml": [] }), "cannot be read");
    let github = github();
    let twice = SetupError::Twice(github["issuer"].as_str().unwrap().to_owned()).to_string();
    check(json!({ "oidc": [github.clone(), github] }), &twice);
    let twice = SetupError::Twice("spiffe://example.org".to_owned()).to_string();
    check(json!({ "spiffe": [domain(), domain()] }), &twice);
    let many = |number: usize| {
        let one = |n| with(&domain(), "trust_domain", format!("d{n}.org"));
        json!({ "spiffe": (0..number).map(one).collect::<Vec<_>>() })
    };
    check(many(64), "ok");
    check(many(65), &SetupError::TooMany.to_string());
}

#[tokio::test]
async fn an_issuer_is_one_whose_keys_can_be_had() {
    check(oidc("audience", Value::Null), "cannot be read");
    check(oidc("more", 1), "cannot be read");
    for name in ["http://issuer.example", "issuer", "https://1.2.3.4", "https://a.example?x=y"] {
        check(oidc("issuer", name), &SetupError::NoMetadata(name.to_owned()).to_string());
        let mut config = oidc("issuer", name);
        config["oidc"][0]["jwks_file"] = json!("keys.json");
        check(config, "ok");
    }
    for name in ["spiffe://example.org", "SPIFFE://example.org", ""] {
        check(oidc("issuer", name), &SetupError::Issuer(name.to_owned()).to_string());
    }
    check(oidc("issuer", "https://a.example/realms/x/"), "ok");
    let named = "https://token.actions.githubusercontent.com".to_owned();
    for audience in [String::new(), "a".repeat(513)] {
        check(oidc("audience", audience), &SetupError::Audience(named.clone()).to_string());
    }
    check(oidc("audience", "a".repeat(512)), "ok");
    check(oidc("algorithms", json!(["RS256"])), "ok");
    for algorithms in [json!([]), json!(["RS384"]), json!(["RS256", "ES512"])] {
        check(oidc("algorithms", algorithms), &SetupError::Algorithms(named.clone()).to_string());
    }
    for unknown in [json!(["none"]), json!(["HS256"]), json!(["rs256"]), json!("RS256")] {
        check(oidc("algorithms", unknown), "cannot be read");
    }
}

#[tokio::test]
async fn a_trust_domain_has_one_source_of_keys() {
    check(spiffe("trust_domain", "spiffe://example.org"), "cannot be read");
    check(spiffe("trust_domain", "Example.org"), "cannot be read");
    check(spiffe("workload_api", "tcp://127.0.0.1:8000"), "cannot be read");
    let keys = SetupError::Keys("example.org".to_owned()).to_string();
    check(spiffe("workload_api", Value::Null), &keys);
    check(spiffe("bundle_file", "bundle.json"), &keys);
    let audience = SetupError::Audience("example.org".to_owned()).to_string();
    check(spiffe("audience", ""), &audience);
}

#[tokio::test]
async fn keys_last_for_a_bounded_time() {
    for (seconds, expected) in [(9, false), (10, true), (86_400, true), (86_401, false)] {
        let wrong = SetupError::KeysLast.to_string();
        let expected = if expected { "ok" } else { &wrong };
        check(json!({ "keys_last_s": seconds }), expected);
    }
    check(json!({ "keys_last_s": -1 }), "cannot be read");
}
