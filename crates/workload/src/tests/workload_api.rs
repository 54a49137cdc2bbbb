//! Bundles from a real Workload API on a Unix socket.

use std::path::Path;
use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;
use tonic::Code;

use super::agent::Agent;
use super::issuer::Authority;
use super::signing::TestKey;
use super::{NOW, US, World, is_unknown, token, told, until, with, workload};
use crate::{Endpoint, FetchError, fetch_jwt_svid};

const DOMAIN: &str = "example.org";

/// An agent with one key, `k1`, of ours, and sources that trust it.
fn start() -> (Agent, TestKey, World) {
    let key = TestKey::new("ES256");
    let agent = Agent::start(&[(DOMAIN, &[key.svid_jwk("k1")])]);
    let world = World::new(agent.config(DOMAIN), &Authority::new());
    (agent, key, world)
}

/// Claims of a JWT-SVID that is good for as long as one may be.
fn lasting() -> Value {
    with(&workload(), "exp", NOW + 86_400)
}

async fn check(world: &World, token: &str, expected: &str) {
    assert_eq!(told(&world.svid(token).await), expected);
}

#[tokio::test]
async fn a_bundle_is_asked_for_when_a_token_needs_it() {
    let (agent, key, world) = start();
    assert_eq!(agent.streams(), 0);
    for _ in 0..20 {
        check(&world, &token("k1", &lasting(), &key), "ok").await;
    }
    assert_eq!(agent.streams(), 1);
}

#[tokio::test]
async fn n_029_a_bundle_that_is_sent_counts_at_once() {
    let (agent, old, world) = start();
    let new = TestKey::new("RS512");
    let [by_old, by_new] =
        [("k1", &old), ("k2", &new)].map(|(kid, key)| token(kid, &lasting(), key));
    world.keep_fresh();
    until(async || told(&world.svid(&by_old).await) == "ok").await;
    // Both, then the new one alone, then none: the trust domain is gone from what we may trust.
    agent.rotate(&[(DOMAIN, &[old.svid_jwk("k1"), new.svid_jwk("k2")])]);
    until(async || told(&world.svid(&by_new).await) == "ok").await;
    check(&world, &by_old, "ok").await;
    agent.rotate(&[(DOMAIN, &[new.svid_jwk("k2")])]);
    until(async || is_unknown(&world.svid(&by_old).await)).await;
    check(&world, &by_new, "ok").await;
    agent.rotate(&[("other.org", &[new.svid_jwk("k2")])]);
    until(async || is_unknown(&world.svid(&by_new).await)).await;
    // One that is followed, and perhaps one that the first token asked for.
    assert!(agent.streams() <= 2, "{} streams", agent.streams());
    world.stopped.cancel();
    world.tasks.close();
    world.tasks.wait().await;
}

/// One stream brings the bundles of all trust domains: each verifies its own.
#[tokio::test]
async fn n_037_a_federated_bundle_verifies_nothing_of_ours() {
    let (ours, theirs) = (TestKey::new("ES256"), TestKey::new("ES256"));
    let bundles: [(&str, &[Value]); 2] = [
        (DOMAIN, &[ours.svid_jwk("k1")]),
        ("other.org", &[theirs.svid_jwk("k1"), theirs.svid_jwk("k2")]),
    ];
    let agent = Agent::start(&bundles);
    let world = World::new(agent.config(DOMAIN), &Authority::new());
    check(&world, &token("k1", &lasting(), &ours), "ok").await;
    check(&world, &token("k1", &lasting(), &theirs), "signature").await;
    check(&world, &token("k2", &lasting(), &theirs), "key_unasked").await;
    let foreign = with(&lasting(), "sub", "spiffe://other.org/ns/payments/sa/bot");
    check(&world, &token("k1", &foreign, &theirs), "foreign_trust_domain").await;
    check(&world, &token("k1", &foreign, &ours), "foreign_trust_domain").await;
}

#[tokio::test]
async fn an_agent_that_comes_back_is_followed_again() {
    let (agent, old, world) = start();
    let new = TestKey::new("ES256");
    let [by_old, by_new] =
        [("k1", &old), ("k2", &new)].map(|(kid, key)| token(kid, &lasting(), key));
    world.keep_fresh();
    until(async || told(&world.svid(&by_old).await) == "ok").await;
    let folder = agent.folder();
    drop(agent);
    check(&world, &by_old, "ok").await;
    let agent = Agent::start_again(folder, &[(DOMAIN, &[new.svid_jwk("k2")])]);
    // Without a token that asks for it: the clock stands, so no token may ask.
    until(async || agent.streams() > 0 && told(&world.svid(&by_new).await) == "ok").await;
    check(&world, &by_old, "key_unasked").await;
}

#[tokio::test]
async fn n_029_without_the_agent_known_keys_count_until_their_bound() {
    let (agent, key, world) = start();
    let good = token("k1", &lasting(), &key);
    check(&world, &good, "ok").await;
    let folder = agent.folder();
    drop(agent);
    world.pass(3_600);
    check(&world, &good, "ok").await;
    world.clock.advance(Duration::from_millis(1));
    check(&world, &good, "keys_unavailable").await;
    let _agent = Agent::start_again(folder, &[(DOMAIN, &[key.svid_jwk("k1")])]);
    world.pass(10);
    check(&world, &good, "ok").await;
}

#[tokio::test]
async fn many_tokens_by_unknown_keys_open_one_stream_in_ten_seconds() {
    let (agent, key, world) = start();
    for expected in 1..=3 {
        let tokens: Vec<_> = (0..100).map(|n| token(&format!("x{n}"), &lasting(), &key)).collect();
        let found = join_all(tokens.iter().map(|token| world.svid(token))).await;
        assert!(found.iter().all(is_unknown));
        assert_eq!(agent.streams(), expected);
        world.pass(10);
    }
}

/// A stream that says nothing may have a hanging end: that nothing has changed has to be said. No
/// token is shown meanwhile, so none asks.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_silent_is_opened_anew() {
    let (agent, key, world) = start();
    world.keep_fresh();
    until(async || agent.streams() > 0).await;
    for _ in 0..20 {
        // Until the message is read: before that, waiting for it would time out.
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        let streams = agent.streams();
        world.pass(301);
        tokio::time::advance(Duration::from_secs(301)).await;
        until(async || agent.streams() > streams).await;
    }
    check(&world, &token("k1", &lasting(), &key), "ok").await;
}

/// A refusal is no bundle: also that this machine is no workload of theirs (any more).
#[tokio::test]
async fn who_is_refused_has_no_keys_until_it_is_not() {
    let (agent, key, world) = start();
    let good = token("k1", &lasting(), &key);
    for code in [Code::PermissionDenied, Code::Unavailable, Code::Unimplemented] {
        agent.give(Err(code));
        check(&world, &good, "keys_unavailable").await;
        world.pass(10);
    }
    agent.rotate(&[(DOMAIN, &[key.svid_jwk("k1")])]);
    check(&world, &good, "ok").await;
}

#[tokio::test]
async fn a_bundle_that_cannot_be_read_is_none() {
    let right = TestKey::new("ES256");
    let good = token("k1", &lasting(), &right);
    let bundle = format!(r#"{{"keys":[{}]}}"#, right.svid_jwk("k1"));
    for (name, bundle, expected) in [
        ("spiffe://example.org", bundle.clone(), "ok"),
        ("example.org", bundle.clone(), "ok"),
        ("spiffe://example.org/", bundle.clone(), "unknown_key"),
        ("spiffe://EXAMPLE.org", bundle.clone(), "unknown_key"),
        ("spiffe://example.org", "{}".to_owned(), "keys_unavailable"),
        ("spiffe://example.org", String::new(), "keys_unavailable"),
        ("spiffe://example.org", bundle.replacen('{', r#"{"keys":[],"#, 1), "keys_unavailable"),
        ("spiffe://example.org", bundle.clone() + &" ".repeat(256 << 10), "keys_unavailable"),
        ("spiffe://other.org", " ".repeat(4 << 20), "keys_unavailable"),
    ] {
        let agent = Agent::start(&[]);
        agent.give(Ok([(name.to_owned(), bundle.clone().into_bytes())].into()));
        let world = World::new(agent.config(DOMAIN), &Authority::new());
        let found = world.svid(&good).await;
        assert_eq!(told(&found), expected, "{name}: {} bytes", bundle.len());
    }
}

/// SPIRE leaves `use` out; who says one says the right one.
#[tokio::test]
async fn a_key_of_the_workload_api_is_for_jwt_svids_unless_it_says_otherwise() {
    let key = TestKey::new("ES256");
    for (name, value, expected) in [
        ("use", Value::Null, "ok"),
        ("use", "jwt-svid".into(), "ok"),
        ("use", "sig".into(), "ok"),
        ("use", "x509-svid".into(), "unknown_key"),
        ("use", "wit-svid".into(), "unknown_key"),
        ("use", "enc".into(), "unknown_key"),
        ("kid", Value::Null, "unknown_key"),
    ] {
        let agent = Agent::start(&[(DOMAIN, &[with(&key.svid_jwk("k1"), name, value.clone())])]);
        let world = World::new(agent.config(DOMAIN), &Authority::new());
        let found = world.svid(&token("k1", &lasting(), &key)).await;
        assert_eq!(told(&found), expected, "{name} = {value}");
    }
}

/// What was given is taken back, on the stream that is followed and where a token asks.
#[tokio::test]
async fn who_is_no_workload_any_more_has_no_keys_any_more() {
    let (agent, key, world) = start();
    let good = token("k1", &lasting(), &key);
    check(&world, &good, "ok").await;
    agent.give(Err(Code::Unavailable));
    world.pass(10);
    check(&world, &token("k2", &lasting(), &key), "key_unasked").await;
    check(&world, &good, "ok").await;
    agent.give(Err(Code::PermissionDenied));
    world.pass(10);
    check(&world, &token("k2", &lasting(), &key), "keys_unavailable").await;
    check(&world, &good, "keys_unavailable").await;

    let (agent, key, world) = start();
    let good = token("k1", &lasting(), &key);
    world.keep_fresh();
    until(async || told(&world.svid(&good).await) == "ok").await;
    agent.give(Err(Code::PermissionDenied));
    until(async || told(&world.svid(&good).await) == "keys_unavailable").await;
}

#[tokio::test]
async fn nobody_at_the_socket_is_no_bundle() {
    let (agent, key, world) = start();
    drop(agent);
    check(&world, &token("k1", &lasting(), &key), "keys_unavailable").await;
}

#[test]
fn the_socket_is_written_as_the_standard_says() {
    let path = |text| Endpoint::parse(text).map(|endpoint| endpoint.path().to_owned()).ok();
    assert_eq!(path("unix:///run/a.sock").as_deref(), Some(Path::new("/run/a.sock")));
    for wrong in [
        "",
        "/run/a.sock",
        "unix:/run/a.sock",
        "unix://run/a.sock",
        "unix:///",
        "unix://",
        "tcp://127.0.0.1:8000",
        "unix:///run/a.sock?x",
        "unix:///run/a.sock#x",
        "unix:///run/a%20b",
        "unix:///run/a\nb",
    ] {
        assert_eq!(path(wrong), None, "{wrong}");
    }
}

/// What a workload asks for itself, of the same socket.
#[tokio::test]
async fn a_workload_asks_for_its_own_svid() {
    let agent = Agent::start(&[]);
    let endpoint = Endpoint::parse(&format!("unix://{}", agent.socket().display())).unwrap();
    let svid = fetch_jwt_svid(&endpoint, US).await.unwrap();
    assert_eq!(svid, format!("svid-for-{US}"), "the first is that of the default identity");
    let none = fetch_jwt_svid(&endpoint, "").await;
    assert!(matches!(none, Err(FetchError::Silent)), "{none:?}");
    agent.give(Err(Code::PermissionDenied));
    let refused = fetch_jwt_svid(&endpoint, US).await;
    assert!(matches!(refused, Err(FetchError::Refused(Code::PermissionDenied))), "{refused:?}");
    drop(agent);
    let unreached = fetch_jwt_svid(&endpoint, US).await;
    assert!(matches!(unreached, Err(FetchError::Unreached(_))), "{unreached:?}");
}
