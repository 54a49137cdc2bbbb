//! What receivers are answered that manage their streams (SSF 1.0), and poll them (RFC 8936).

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Body;
use model::{Clock as _, Covers, EventAlgorithm, Sha256Digest};
use pap::{Command, NewToken, ReceiverRegistration};
use serde_json::{Value, json};

use crate::{Surface, Told, ask, request};

const TOKEN: &str = "siem.secret";
const READS: &str = "siem.reads";

/// A deployment with the receiver `siem`, which has a token that manages, and one that reads.
async fn surface() -> Surface {
    let surface = Surface::new().await;
    let world = &surface.world;
    let expires = world.clock.now().plus(Duration::from_hours(24));
    let token = |text: &str, read_only| {
        let digest = Sha256Digest::of(text.as_bytes());
        NewToken { digest, expires, read_only }
    };
    let receiver = ReceiverRegistration {
        name: "siem".to_owned(),
        audience: "https://siem.example".to_owned(),
        covers: Covers::All,
        issuer: None,
        push_host: None,
        algorithm: EventAlgorithm::Es256,
        token: Some(token(TOKEN, false)),
        key: None,
    };
    world.run(Command::ReceiverAdd(receiver)).await;
    let (name, token) = ("siem".to_owned(), token(READS, true));
    world.run(Command::ReceiverToken { name, token, alone: false }).await;
    surface
}

async fn asked(
    surface: &Surface,
    (method, path): (&str, &str),
    token: &str,
    body: impl Into<Body>,
) -> Told {
    let request = request(method, path).header("authorization", format!("Bearer {token}"));
    let request = request.header("content-type", "application/json").body(body.into());
    ask(&surface.agents, request.expect("a request")).await
}

/// The metadata of the transmitter, as they are served.
async fn metadata(surface: &Surface) -> Value {
    let request = request("GET", "/.well-known/ssf-configuration").body(Body::empty());
    let told = ask(&surface.agents, request.unwrap()).await;
    serde_json::from_str(&told.text).expect("JSON")
}

/// A receiver of ours reads of the metadata which members of a subject it has to understand: those by which our
/// transmitter says which instance it is.
#[tokio::test]
async fn the_members_that_have_to_be_understood_are_read_of_what_is_served() {
    let served = metadata(&Surface::new().await).await;
    let issuer = crate::support::ISSUER;
    let told = secevent::About::Instance { issuer, agent: "bot", instance: "i" }.to_json();
    let members = told.as_object().expect("a subject").keys().filter(|name| *name != "format");
    let members: BTreeSet<_> = members.cloned().collect();
    assert_eq!(members.len(), 2, "{told}");
    assert_eq!(secevent::critical_members(&served[secevent::CRITICAL]), members);
}

#[tokio::test]
async fn ss_02_the_transmitter_says_where_streams_are_managed() {
    let surface = Surface::new().await;
    let metadata = metadata(&surface).await;
    let at = |path: &str| format!("{}{path}", crate::support::ISSUER);
    let expected = json!({
        "spec_version": "1_0",
        "issuer": crate::support::ISSUER,
        "jwks_uri": at("/oauth/jwks"),
        "delivery_methods_supported": ["urn:ietf:rfc:8935", "urn:ietf:rfc:8936"],
        "configuration_endpoint": at("/ssf/streams"),
        "status_endpoint": at("/ssf/status"),
        "verification_endpoint": at("/ssf/verify"),
        "authorization_schemes": [{ "spec_urn": "urn:ietf:rfc:6750" }, { "spec_urn": "urn:ietf:rfc:6749" }],
        "critical_subject_members": ["application", "session"],
        "default_subjects": "ALL",
    });
    assert_eq!(metadata, expected);
}

#[tokio::test]
async fn ss_03_a_receiver_is_answered_as_the_framework_has_it() {
    let surface = surface().await;
    let check = async |(method, path): (&str, &str), token: &str, body: Value, status: u16| {
        let told = asked(&surface, (method, path), token, body.to_string()).await;
        assert_eq!(told.status.as_u16(), status, "{method} {path} {body}: {}", told.text);
        if status >= 400 {
            let error: Value = serde_json::from_str(&told.text).expect("JSON");
            assert!(error["err"].is_string() && error["description"].is_string(), "{error}");
        }
        told
    };
    let streams = "/ssf/streams";
    let told = check(("POST", streams), "siem.other", json!({}), 401).await;
    assert_eq!(told.headers["www-authenticate"], "Bearer realm=\"ssf\"");
    check(("POST", streams), READS, json!({}), 403).await;
    let push = json!({
        "method": "urn:ietf:rfc:8935", "endpoint_url": "https://siem.example/",
        "authorization_header": "Bearer x",
    });
    check(("POST", streams), TOKEN, json!({ "delivery": push }), 400).await;
    check(("POST", streams), TOKEN, json!({ "delivery": { "method": "smtp" } }), 400).await;
    check(("POST", streams), TOKEN, json!([]), 400).await;
    let told = check(("POST", streams), TOKEN, json!({}), 201).await;
    assert_eq!(told.headers["cache-control"], "no-store");
    let created: Value = serde_json::from_str(&told.text).expect("JSON");
    let id = created["stream_id"].as_str().expect("an id");
    check(("POST", streams), TOKEN, json!({}), 409).await;
    let one = format!("{streams}?stream_id={id}");
    let read = check(("GET", &one), READS, json!({}), 200).await;
    assert_eq!(serde_json::from_str::<Value>(&read.text).unwrap(), created);
    let all = check(("GET", streams), READS, json!({}), 200).await;
    assert_eq!(serde_json::from_str::<Value>(&all.text).unwrap(), json!([created]));
    check(("GET", "/ssf/streams?stream_id=x"), TOKEN, json!({}), 404).await;
    check(("GET", &format!("{one}&stream_id={id}")), TOKEN, json!({}), 400).await;
    check(("PATCH", streams), TOKEN, json!({ "stream_id": id, "description": "x" }), 200).await;
    check(("PATCH", streams), TOKEN, json!({ "stream_id": id, "aud": "x" }), 400).await;
    check(("PUT", streams), TOKEN, json!({ "stream_id": id }), 200).await;
    check(("PUT", streams), TOKEN, json!({ "stream_id": "x" }), 404).await;
    let status = format!("/ssf/status?stream_id={id}");
    check(("GET", &status), READS, json!({}), 200).await;
    check(("GET", "/ssf/status"), READS, json!({}), 400).await;
    let paused = json!({ "stream_id": id, "status": "paused" });
    check(("POST", "/ssf/status"), READS, paused.clone(), 403).await;
    check(("POST", "/ssf/status"), TOKEN, json!({ "stream_id": id, "status": "off" }), 400).await;
    check(("POST", "/ssf/status"), TOKEN, paused, 200).await;
    let verify = json!({ "stream_id": id, "state": "x" });
    check(("POST", "/ssf/verify"), TOKEN, verify.clone(), 204).await;
    let told = check(("POST", "/ssf/verify"), TOKEN, verify, 429).await;
    assert_eq!(told.headers["retry-after"], "11");
    let poll = format!("/ssf/poll/{id}");
    let polled = check(("POST", &poll), READS, json!({ "returnImmediately": true }), 200).await;
    let polled: Value = serde_json::from_str(&polled.text).expect("JSON");
    assert_eq!(polled["sets"].as_object().map(serde_json::Map::len), Some(1));
    assert_eq!(polled["moreAvailable"], false);
    let none = json!({ "maxEvents": 0 });
    let polled = check(("POST", &poll), READS, none, 200).await;
    let polled: Value = serde_json::from_str(&polled.text).expect("JSON");
    assert_eq!(polled, json!({ "sets": {}, "moreAvailable": true }));
    check(("POST", &poll), READS, json!({ "maxEvents": -1 }), 400).await;
    check(("POST", "/ssf/poll/x"), READS, json!({ "returnImmediately": true }), 404).await;
    check(("DELETE", &one), READS, json!({}), 403).await;
    check(("DELETE", &one), TOKEN, json!({}), 204).await;
    check(("DELETE", &one), TOKEN, json!({}), 404).await;
    // Whatever is larger than a request of these may be is not read.
    let long = format!(r#"{{"description":"{}"}}"#, "x".repeat(secevent::REQUEST_BYTES_MAX));
    let told = asked(&surface, ("POST", streams), TOKEN, long).await;
    assert_eq!(told.status.as_u16(), 400, "{}", told.text);
}
