//! Proofs of possession, at the gateway: bound, fresh, for this request, once.

use std::time::Duration;

use http::HeaderMap;
use keys::{KeyAlgorithm, SigningKey};
use mcp::Era;
use model::{AgentName, Finding, Stranger};
use serde_json::{Value, json};

use crate::identity::claims;
use crate::support::{Answer, Client, Setup, World, jti, set, until};
use crate::{POLICY, before, upstream, with};

/// Sends a call with these headers, which must not be taken.
async fn refused(client: &Client<'_>, headers: &HeaderMap, cause: &str) -> Answer {
    let (_, body) = client.request("tools/call", json!({ "name": "echo", "arguments": {} }));
    let answer = client.post_raw(headers, body).await;
    assert_eq!(answer.status, 401, "{cause}: {answer:?}");
    let challenge = answer.header("www-authenticate").expect("a challenge");
    assert!(challenge.starts_with("DPoP "), "{challenge}");
    assert!(challenge.contains("resource_metadata=\""), "{challenge}");
    client.world.refusal(cause).await;
    answer
}

async fn nothing_was_decided(world: &World) {
    assert_eq!(world.decisions("up/echo", "permit").await, 0);
    assert_eq!(world.decisions("up/echo", "deny").await, 0);
}

#[tokio::test]
async fn n_140_a_bound_token_without_a_proof_is_refused() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let client = bot.connected(&world, "up", Era::Session).await;
    let mut headers = client.headers("POST");
    headers.remove("dpop");
    refused(&client, &headers, "header_missing").await;
    nothing_was_decided(&world).await;
}

/// The instance that has the token.
fn instance(client: &Client<'_>) -> Value {
    claims(&client.token)["sub"].clone()
}

/// What is found of tokens in other hands.
async fn found(world: &World) -> Vec<Stranger> {
    let store = world.authority.pip().store();
    let all: Vec<Finding> = authority::all(store, "finding/").await.expect("it can be read");
    all.into_iter().map(|finding| finding.stranger).collect()
}

/// What is found of a token that these instances share.
async fn shared(world: &World, instances: &[Value]) -> Stranger {
    let same = |stranger: &Stranger| json!(stranger.instances) == json!(instances);
    until("it is found", || async { found(world).await.into_iter().find(same) }).await
}

/// R5, R7: in other hands a token is worth nothing: neither in those of another instance of its agent, nor of the
/// agent that its holder handed work on to, each with the key that it has, nor of nobody that is known. R11: it is
/// found, with all that it was in the hands of.
#[tokio::test]
async fn r_5_r_7_a_token_is_of_its_own_instance_alone() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let keeper = world.authority.finding_keeper(None, Duration::from_mins(1)).await;
    tokio::spawn(keeper.expect("the register can be read").run());
    let client = bot.connected(&world, "up", Era::Session).await;
    let child = world.agent("child", &["up/*"]).await;
    for (other, agents) in [(&bot, &["bot"][..]), (&child, &["bot", "child"][..])] {
        let mut thief = other.client(&world, "up", Era::Session).await;
        let both = [instance(&client), instance(&thief)];
        thief.token.clone_from(&client.token);
        let mut headers = client.headers("POST");
        set(&mut headers, "dpop", &thief.proof("POST", &jti()));
        refused(&client, &headers, "proof_of_other_key").await;
        let found = shared(&world, &both).await;
        assert_eq!(found.cause, "proof_of_other_key");
        assert_eq!(found.holder.as_deref(), both[0].as_str());
        assert_eq!(found.proven.as_ref().map(AgentName::as_str), Some(other.name.as_str()));
        let named: Vec<_> = found.agents.iter().map(AgentName::as_str).collect();
        assert_eq!(named, agents);
        assert!(found.credential.is_some() && found.server.is_some());
    }
    // However many keys nobody knows it is shown with.
    for _ in 0..2 {
        let mut thief = client.again(Era::Session);
        thief.key = SigningKey::generate(KeyAlgorithm::Es256).expect("a key");
        let mut headers = client.headers("POST");
        set(&mut headers, "dpop", &thief.proof("POST", &jti()));
        refused(&client, &headers, "proof_of_other_key").await;
        let found = shared(&world, &[instance(&client)]).await;
        assert_eq!((found.proven, found.agents.len()), (None, 1));
    }
    assert_eq!(found(&world).await.len(), 3);
    nothing_was_decided(&world).await;
    assert_eq!(client.call("echo", json!({})).await.status, 200, "its holder goes on");
    assert_eq!(world.decisions("up/echo", "permit").await, 1);
}

#[tokio::test]
async fn n_141_a_bound_token_under_bearer_is_refused() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let client = bot.connected(&world, "up", Era::Session).await;
    let mut headers = client.headers("POST");
    set(&mut headers, "authorization", &format!("Bearer {}", client.token));
    refused(&client, &headers, "not_dpop").await;
    set(&mut headers, "authorization", &client.token);
    refused(&client, &headers, "header_invalid").await;
    nothing_was_decided(&world).await;
}

/// One that is bound to no key is taken alone, and of nobody but an agent whose client may have one: the
/// kernel denies it otherwise, whatever policy says.
#[tokio::test]
async fn n_141_a_bearer_token_is_of_no_use_to_an_agent_that_may_have_none() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let mut client = bot.connected(&world, "up", Era::Session).await;
    let token = world.unbound(&client.token, "up");
    let mut headers = client.headers("POST");
    set(&mut headers, "authorization", &format!("DPoP {token}"));
    refused(&client, &headers, "not_bound").await;
    set(&mut headers, "authorization", &format!("Bearer {token}"));
    refused(&client, &headers, "not_dpop").await;
    headers.remove("dpop");
    client.token = token;
    let (_, body) = client.request("tools/call", json!({ "name": "echo", "arguments": {} }));
    let answer = client.post_raw(&headers, body).await;
    assert_eq!(answer.status, 200, "it is who it says: {answer:?}");
    assert_eq!(world.decisions("up/echo", "permit").await, 0);
    let denied = world.records().await;
    let denied =
        denied.iter().rev().find(|it| it["action"] == "up/echo").expect("it is decided on");
    assert_eq!(
        (&denied["reason"], &denied["binding"]),
        (&"bearer_not_admitted".into(), &"none".into())
    );
    world.clock.advance(Duration::from_mins(2));
    let (_, body) = client.request("tools/call", json!({ "name": "echo", "arguments": {} }));
    assert_eq!(client.post_raw(&headers, body).await.status, 401, "it is over");
}

#[tokio::test]
async fn n_142_a_proof_is_taken_once_whatever_it_was_used_for() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let client = bot.connected(&world, "up", Era::Session).await;
    for first in ["tools/call", "ping"] {
        for second in ["tools/call", "ping"] {
            let params = json!({ "name": "echo", "arguments": {} });
            let (headers, body) = client.request(first, params.clone());
            assert_eq!(client.post_raw(&headers, body).await.status, 200, "{first}");
            let (_, body) = client.request(second, params);
            let again = client.post_raw(&headers, body).await;
            assert_eq!(again.status, 401, "{first}, then {second}");
            assert!(again.header("www-authenticate").unwrap().contains("invalid_dpop_proof"));
        }
    }
    world.refusal("proof_replayed").await;
    assert_eq!(world.decisions("up/echo", "permit").await, 2);
    assert_eq!(up.seen_of("tools/call").len(), 2);
}

/// Two gateways over one store stand for two replicas, or two starts.
#[tokio::test]
async fn n_143_the_commit_finds_a_proof_that_another_gateway_took() {
    let up = upstream(Era::Session).await;
    let setup =
        Setup { policy: POLICY.to_owned(), routes: vec![("up", up.target())], ..Setup::default() };
    let again = Setup { routes: vec![("up", up.target())], ..Setup::default() };
    let (world, bot) = with(setup).await;
    let other = world.restarted(&again, crate::support::OTHER_BOOT);
    let client = bot.client(&world, "up", Era::Stateless).await;
    let (headers, body) = client.request("tools/call", json!({ "name": "echo", "arguments": {} }));
    let arrived = Duration::ZERO;
    let call = |body| gateway::HttpCall {
        server: "up",
        headers: &headers,
        body,
        room: None,
        arrived,
        peer: None,
        sender: None,
    };
    let (first, second) =
        tokio::join!(world.gateway.post(call(body.clone())), other.post(call(body)));
    let (first, second) = (Answer::of(first).await, Answer::of(second).await);
    let mut both = [first.status, second.status];
    both.sort_unstable();
    assert_eq!(both, [200, 401], "{first:?} {second:?}");
    assert_eq!(up.seen_of("tools/call").len(), 1);
    other.close();
}

#[tokio::test]
async fn n_144_a_proof_is_for_this_url() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let client = bot.connected(&world, "up", Era::Session).await;
    for url in [
        "http://chancery.test:8421/mcp/up",
        "http://chancery.test/mcp/up",
        "http://other.test:8420/mcp/up",
        "https://chancery.test:8420/mcp/up",
        "http://chancery.test:8420/mcp/up/",
        "http://chancery.test:8420/mcp/UP",
        "http://chancery.test:8420/mcp/%75p",
        "http://chancery.test:8420/mcp/../mcp/up",
        "http://user@chancery.test:8420/mcp/up",
        "http://[::1]:8420/mcp/up",
    ] {
        let mut headers = client.headers("POST");
        set(&mut headers, "dpop", &client.proof_at("POST", url, world.now(), &jti()));
        set(&mut headers, "x-forwarded-host", "other.test:8420");
        set(&mut headers, "x-forwarded-proto", "https");
        set(&mut headers, "host", "other.test:8420");
        refused(&client, &headers, "proof_invalid").await;
    }
    nothing_was_decided(&world).await;
    // Query, fragment and the case of scheme and host mean nothing (RFC 9449 §4.3).
    let same = "HTTP://Chancery.Test:8420/mcp/up?x=1#y";
    let (mut headers, body) = client.request("tools/call", json!({ "name": "echo" }));
    set(&mut headers, "dpop", &client.proof_at("POST", same, world.now(), &jti()));
    assert_eq!(client.post_raw(&headers, body).await.status, 200);
}

#[tokio::test]
async fn n_145_a_proof_is_for_this_method() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let client = bot.connected(&world, "up", Era::Session).await;
    for method in ["GET", "DELETE", "post", "Post", ""] {
        let mut headers = client.headers("POST");
        set(&mut headers, "dpop", &client.proof(method, &jti()));
        refused(&client, &headers, "proof_invalid").await;
    }
    nothing_was_decided(&world).await;
}

#[tokio::test]
async fn n_146_a_proof_is_of_this_minute() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let client = bot.connected(&world, "up", Era::Session).await;
    for (off, taken) in [(-61, false), (61, false), (-60, true), (60, true), (0, true)] {
        let (mut headers, body) = client.request("tools/call", json!({ "name": "echo" }));
        let proof = client.proof_at("POST", &client.url(), world.now() + off, &jti());
        set(&mut headers, "dpop", &proof);
        let status = client.post_raw(&headers, body).await.status;
        assert_eq!(status, if taken { 200 } else { 401 }, "off by {off} s");
    }
}

/// After a start, what no decision's commit would find as used needs this boot's nonce, until every
/// proof of before is too old.
#[tokio::test]
async fn n_146_after_a_start_an_undecided_request_needs_a_nonce_of_this_boot() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let mut client = bot.connected(&world, "up", Era::Session).await;
    for nonce in [None, Some("stale".to_owned())] {
        client.nonce = nonce;
        let answer = client.ask("ping", json!({})).await;
        assert_eq!(answer.status, 401);
        assert!(answer.header("www-authenticate").unwrap().contains("use_dpop_nonce"));
        client.nonce = answer.header("dpop-nonce").map(str::to_owned);
        assert_eq!(client.ask("ping", json!({})).await.status, 200);
        client.nonce = None;
        // Where a decision uses the proof up in its commit, none is needed.
        assert_eq!(client.call("echo", json!({})).await.refused(), None);
        let unknown = client.ask("no/such", json!({})).await;
        assert_eq!(unknown.status, 401, "nothing is decided on an unknown method");
        let told = client.tell("notifications/initialized", json!({})).await;
        assert_eq!(told.status, 401);
        assert_eq!(client.delete().await.expect("a session era").status, 401);
    }
    world.refusal("nonce_missing").await;
    world.clock.advance(Duration::from_mins(2));
    assert_eq!(client.ask("ping", json!({})).await.status, 200);
}

#[tokio::test]
async fn n_110_headers_beyond_their_limit_are_refused_before_they_are_looked_at() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let client = bot.connected(&world, "up", Era::Session).await;
    for (name, scheme) in [("authorization", "DPoP "), ("dpop", "")] {
        let mut headers = client.headers("POST");
        set(&mut headers, name, &format!("{scheme}{}", "a".repeat(64 * 1024)));
        refused(&client, &headers, "header_too_large").await;
    }
    nothing_was_decided(&world).await;
}

#[tokio::test]
async fn n_147_a_proof_is_for_this_token() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let client = bot.connected(&world, "up", Era::Session).await;
    let mut other = bot.client(&world, "up", Era::Session).await;
    std::mem::swap(&mut other.key, &mut bot.client(&world, "up", Era::Session).await.key);
    let mut headers = client.headers("POST");
    set(&mut headers, "dpop", &other.proof("POST", &jti()));
    refused(&client, &headers, "proof_invalid").await;
    nothing_was_decided(&world).await;
}
