//! The tokens that receivers of shared signals get for themselves: what they do, for whom, and how long.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use keys::{KeyAlgorithm, Signer as _, SigningKey};
use mcp::Era;
use model::{Clock as _, Covers, EventAlgorithm, ReceiverKey};
use oauth::{client_assertion, form};
use pap::{Command, ReceiverRegistration};
use serde_json::{Value, json};

use crate::support::{ISSUER, jti, until};
use crate::{Surface, Told, ask, request};

const READ: &str = "ssf.read";
const MANAGE: &str = "ssf.manage";

fn key() -> SigningKey {
    SigningKey::generate(KeyAlgorithm::Es256).expect("a key")
}

fn of(surface: &Surface, key: &SigningKey, read_only: bool) -> ReceiverKey {
    let expires = surface.world.clock.now().plus(Duration::from_hours(24));
    ReceiverKey { jwk: key.public().to_jwk(), expires, read_only }
}

/// Registers the receiver `name` with a key, which is given.
pub(crate) async fn registered(surface: &Surface, name: &str, read_only: bool) -> SigningKey {
    let key = key();
    let receiver = ReceiverRegistration {
        name: name.to_owned(),
        audience: format!("https://{name}.example"),
        covers: Covers::All,
        issuer: None,
        push_host: None,
        algorithm: EventAlgorithm::Es256,
        token: None,
        key: Some(of(surface, &key, read_only)),
    };
    surface.world.run(Command::ReceiverAdd(receiver)).await;
    key
}

fn asserted(surface: &Surface, name: &str, key: &SigningKey, jti: &str) -> String {
    let made = client_assertion::make((name, ISSUER), key, surface.world.now(), jti);
    made.expect("it can be signed")
}

/// What is answered to a form with `assertion`, and what is said beside.
async fn answer(surface: &Surface, assertion: &str, more: &[(&str, &str)]) -> Told {
    let own = [
        ("grant_type", "client_credentials"),
        ("client_assertion_type", client_assertion::TYPE),
        ("client_assertion", assertion),
    ];
    let form = form::form(&[&own[..], more].concat());
    let request = request("POST", "/oauth/token");
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    ask(&surface.agents, request.body(Body::from(form)).expect("a request")).await
}

/// A token of `scope` for the receiver `name`.
pub(crate) async fn token(
    surface: &Surface,
    (name, key): (&str, &SigningKey),
    scope: &str,
) -> String {
    let told = answer(surface, &asserted(surface, name, key, &jti()), &[("scope", scope)]).await;
    let answer: Value = serde_json::from_str(&told.text).expect("JSON");
    assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("Bearer"), &json!(300)));
    // What manages reads, too.
    assert_eq!(answer["scope"], if scope == READ { READ } else { "ssf.read ssf.manage" });
    answer["access_token"].as_str().expect("a token").to_owned()
}

/// The status with which `token` is answered.
async fn shown(surface: &Surface, token: &str, (method, path): (&str, &str), body: &Value) -> u16 {
    let request = request(method, path).header("authorization", format!("Bearer {token}"));
    let request = request.header("content-type", "application/json");
    let accept = "application/json, text/event-stream";
    let request = request.header("accept", accept).body(Body::from(body.to_string()));
    ask(&surface.agents, request.expect("a request")).await.status.as_u16()
}

async fn reads(surface: &Surface, token: &str) -> u16 {
    shown(surface, token, ("GET", "/ssf/streams"), &json!({})).await
}

#[tokio::test]
async fn ss_05_a_receiver_gets_tokens_that_do_what_their_scope_says() {
    let surface = Surface::new().await;
    let key = registered(&surface, "siem", false).await;
    let reading = token(&surface, ("siem", &key), READ).await;
    let managing = token(&surface, ("siem", &key), "ssf.read ssf.manage").await;
    let check = async |token: &str, at: (&str, &str), body: Value, status: u16| {
        assert_eq!(shown(&surface, token, at, &body).await, status, "{at:?}");
    };
    let streams = "/ssf/streams";
    check(&reading, ("POST", streams), json!({}), 403).await;
    check(&managing, ("POST", streams), json!({}), 201).await;
    check(&reading, ("GET", streams), json!({}), 200).await;
    let known = surface.world.administration.clone();
    let listed = known.run(&"alice".parse().unwrap(), Command::ReceiverList).await.expect("a list");
    let mut listed = listed.as_array().expect("a list").iter();
    let id = listed.find_map(|it| it["id"].as_str()).expect("a stream").to_owned();
    let one = format!("{streams}?stream_id={id}");
    let named = json!({ "stream_id": id });
    check(&reading, ("PATCH", streams), named.clone(), 403).await;
    check(&reading, ("PUT", streams), named.clone(), 403).await;
    check(&reading, ("DELETE", &one), json!({}), 403).await;
    check(&reading, ("POST", "/ssf/verify"), named.clone(), 403).await;
    let paused = json!({ "stream_id": id, "status": "paused" });
    check(&reading, ("POST", "/ssf/status"), paused, 403).await;
    let poll = format!("/ssf/poll/{id}");
    check(&reading, ("POST", &poll), json!({ "returnImmediately": true }), 200).await;
    check(&managing, ("POST", "/ssf/verify"), named.clone(), 204).await;
    check(&managing, ("PATCH", streams), named, 200).await;
    // It is one receiver's, and counts for no other.
    let other = registered(&surface, "soar", false).await;
    let others = token(&surface, ("soar", &other), MANAGE).await;
    check(&others, ("GET", &one), json!({}), 404).await;
    check(&others, ("DELETE", &one), json!({}), 404).await;
    check(&others, ("POST", &poll), json!({ "returnImmediately": true }), 404).await;
    // What was given is on record, and no token is.
    let records = surface.world.records().await;
    let given: Vec<_> = records.iter().filter(|it| it["event"] == "receiver_token").collect();
    let said: Vec<_> = given.iter().map(|it| &it["details"]["scope"]).collect();
    assert_eq!(said, [READ, MANAGE, MANAGE]);
    assert_eq!(given[0]["details"]["receiver"], "siem");
    let records = json!(records).to_string();
    assert!(![reading, managing, others].iter().any(|token| records.contains(token)));
    surface.world.clock.advance(Duration::from_mins(5));
    assert_eq!(reads(&surface, &token(&surface, ("siem", &key), READ).await).await, 200);
}

#[tokio::test]
async fn who_asks_for_a_token_of_a_receiver_is_that_receiver_and_asks_once() {
    let surface = Surface::new().await;
    let (siem, soar) =
        (registered(&surface, "siem", false).await, registered(&surface, "soar", true).await);
    // An agent of the same name is somebody else.
    let bot = registered(&surface, "bot", false).await;
    let asks = async |assertion: &str, more: &[(&str, &str)], expected: (u16, &str)| {
        let told = answer(&surface, assertion, more).await;
        let answer: Value = serde_json::from_str(&told.text).expect("JSON");
        let error = answer["error"].as_str().unwrap_or_default();
        assert_eq!((told.status.as_u16(), error), expected, "{more:?} {}", told.text);
    };
    let by = |name: &str, key: &SigningKey| asserted(&surface, name, key, &jti());
    let (read, manage) = (("scope", READ), ("scope", MANAGE));
    let unknown = (401, "invalid_client");
    asks(&by("siem", &soar), &[read], unknown).await;
    asks(&by("nobody", &siem), &[read], unknown).await;
    asks(&by("siem", &siem), &[read, ("client_id", "soar")], unknown).await;
    asks(&by("bot", &surface.bot.key), &[read], unknown).await;
    let elsewhere = ("siem", "https://other.example");
    let made = client_assertion::make(elsewhere, &siem, surface.world.now(), &jti());
    asks(&made.expect("it can be signed"), &[read], unknown).await;
    let once = by("siem", &siem);
    asks(&once, &[read], (200, "")).await;
    asks(&once, &[read], unknown).await;
    asks(&once, &[manage], unknown).await;
    asks(&by("soar", &soar), &[manage], (400, "invalid_scope")).await;
    asks(&by("soar", &soar), &[("scope", "ssf.read ssf.manage")], (400, "invalid_scope")).await;
    asks(&by("soar", &soar), &[read], (200, "")).await;
    let server = format!("{ISSUER}/mcp/up");
    asks(&by("siem", &siem), &[read, ("resource", &server)], (400, "invalid_target")).await;
    let own = format!("{ISSUER}/ssf");
    asks(&by("siem", &siem), &[read, ("resource", &own)], (200, "")).await;
    // Without such a scope it is an agent that asks, and no receiver is one.
    asks(&by("bot", &bot), &[("resource", &server)], (400, "invalid_dpop_proof")).await;
    surface.world.refusal("receiver_unknown").await;
    surface.world.refusal("receiver_reads").await;
    surface.world.refusal("replayed").await;
    let is_named =
        |record: &Value| record["event"] == "replayed" && record["details"]["receiver"] == "siem";
    surface.world.record("whose assertion was replayed is recorded", is_named).await;
    // One that is signed for later, or was long ago, counts for nothing either.
    surface.world.clock.advance(Duration::from_mins(2));
    asks(&once, &[read], unknown).await;
}

#[tokio::test]
async fn a_token_of_a_receiver_counts_nowhere_else_and_an_agents_not_for_streams() {
    let surface = Surface::new().await;
    let key = registered(&surface, "siem", false).await;
    let managing = token(&surface, ("siem", &key), MANAGE).await;
    let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
    assert_eq!(shown(&surface, &managing, ("POST", "/mcp/up"), &ping).await, 401);
    let client = surface.bot.client(&surface.world, "up", Era::Session).await;
    let unbound = surface.world.unbound(&client.token, "up");
    for agents in [&client.token, &unbound] {
        assert_eq!(reads(&surface, agents).await, 401);
        assert_eq!(shown(&surface, agents, ("POST", "/ssf/streams"), &json!({})).await, 401);
    }
    // To an agent it is no token; and a receiver has nothing to ask of others' tokens.
    let form = async |path: &str, (name, by): (&str, &SigningKey), token: &str| {
        let assertion = asserted(&surface, name, by, &jti());
        let form = form::form(&[
            ("client_assertion_type", client_assertion::TYPE),
            ("client_assertion", &assertion),
            ("token", token),
        ]);
        let request = request("POST", path);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let told = ask(&surface.agents, request.body(Body::from(form)).expect("a request")).await;
        (told.status.as_u16(), told.text)
    };
    let bot = ("bot", &surface.bot.key);
    let inactive = (200, r#"{"active":false}"#.to_owned());
    assert_eq!(form("/oauth/introspect", bot, &managing).await, inactive);
    assert_eq!(form("/oauth/revoke", bot, &managing).await.0, 200);
    assert_eq!(reads(&surface, &managing).await, 200, "nobody else gives it up");
    for path in ["/oauth/introspect", "/oauth/revoke"] {
        assert_eq!(form(path, ("siem", &key), &client.token).await.0, 401);
    }
}

#[tokio::test]
async fn a_receiver_that_is_taken_back_has_no_token_any_longer() {
    let surface = Surface::new().await;
    let name = || "siem".to_owned();
    let first = registered(&surface, "siem", false).await;
    let given = token(&surface, ("siem", &first), MANAGE).await;
    let run = async |command| drop(surface.world.run(command).await);
    let asks = async |key: &SigningKey| {
        let assertion = asserted(&surface, "siem", key, &jti());
        answer(&surface, &assertion, &[("scope", READ)]).await.status.as_u16()
    };
    run(Command::ReceiverSuspend { name: name(), reason: "because".to_owned() }).await;
    assert_eq!(reads(&surface, &given).await, 401);
    assert_eq!(asks(&first).await, 401);
    run(Command::ReceiverResume { name: name() }).await;
    assert_eq!(reads(&surface, &given).await, 401, "it gets another one");
    let given = token(&surface, ("siem", &first), MANAGE).await;
    assert_eq!(reads(&surface, &given).await, 200);
    // With another key it is known by that alone.
    let second = key();
    run(Command::ReceiverKey { name: name(), key: Some(of(&surface, &second, false)) }).await;
    assert_eq!(reads(&surface, &given).await, 401);
    assert_eq!(asks(&first).await, 401);
    let given = token(&surface, ("siem", &second), MANAGE).await;
    run(Command::ReceiverRemove { name: name() }).await;
    assert_eq!(reads(&surface, &given).await, 401);
    let third = registered(&surface, "siem", false).await;
    assert_eq!(reads(&surface, &given).await, 401, "what another one of that name had is its own");
    let given = token(&surface, ("siem", &third), READ).await;
    run(Command::ReceiverKey { name: name(), key: None }).await;
    assert_eq!(reads(&surface, &given).await, 401);
}

/// Whoever goes on with a key that was exchanged, or as a receiver that is suspended, is told of.
#[tokio::test]
async fn who_is_no_receiver_any_longer_and_asks_for_a_token_is_found() {
    let surface = Surface::new().await;
    let world = &surface.world;
    let keeper = world.authority.finding_keeper(None, Duration::from_mins(1)).await;
    tokio::spawn(keeper.expect("the register can be read").run());
    for name in ["siem", "soar"] {
        let key = registered(&surface, name, false).await;
        let is_over = if name == "siem" {
            Command::ReceiverKey {
                name: name.to_owned(),
                key: Some(of(&surface, &self::key(), false)),
            }
        } else {
            Command::ReceiverSuspend { name: name.to_owned(), reason: "because".to_owned() }
        };
        world.run(is_over).await;
        let assertion = asserted(&surface, name, &key, &jti());
        let told = answer(&surface, &assertion, &[("scope", READ)]).await;
        assert_eq!(told.status.as_u16(), 401, "{name}");
    }
    let found = async || {
        let found = world.journal.store().list("finding/", None, 10).await.expect("a list").facts;
        let read = |body: &[u8]| serde_json::from_slice::<Value>(body).expect("a finding");
        let found = found.iter().map(|(_, body)| read(body)["stranger"].clone());
        let found = found.filter(|it| it["cause"] == "receiver_unknown");
        found.map(|it| it["claimed"].to_string()).collect::<BTreeSet<_>>()
    };
    let both = BTreeSet::from([r#""siem""#.to_owned(), r#""soar""#.to_owned()]);
    until("both are found", || async { (found().await == both).then_some(()) }).await;
}

/// The body of a request comes after its head: what is taken back in between counts no longer.
#[tokio::test]
async fn a_token_that_is_taken_back_while_the_body_comes_does_nothing() {
    let surface = Surface::new().await;
    let first = registered(&surface, "siem", false).await;
    let second = key();
    let managing = token(&surface, ("siem", &first), MANAGE).await;
    let next = Some(of(&surface, &second, false));
    let administration = surface.world.administration.clone();
    let body = async move {
        let by = "alice".parse().expect("a person");
        let exchange = Command::ReceiverKey { name: "siem".to_owned(), key: next };
        administration.run(&by, exchange).await.expect("it is exchanged");
        Ok::<_, Infallible>("{}")
    };
    let request = request("POST", "/ssf/streams");
    let request = request.header("authorization", format!("Bearer {managing}"));
    let request = request.header("content-type", "application/json");
    let body = Body::from_stream(futures::stream::once(body));
    let told = ask(&surface.agents, request.body(body).expect("a request")).await;
    assert_eq!(told.status.as_u16(), 401, "{}", told.text);
    let managing = token(&surface, ("siem", &second), MANAGE).await;
    let created = shown(&surface, &managing, ("POST", "/ssf/streams"), &json!({})).await;
    assert_eq!(created, 201, "there was none");
}

#[tokio::test]
async fn a_token_of_a_receiver_does_not_outlive_the_key_by_which_it_was_got() {
    let surface = Surface::new().await;
    let key = registered(&surface, "siem", false).await;
    surface.world.clock.advance(Duration::from_mins(24 * 60 - 1));
    let told =
        answer(&surface, &asserted(&surface, "siem", &key, &jti()), &[("scope", READ)]).await;
    let answer: Value = serde_json::from_str(&told.text).expect("JSON");
    assert_eq!(answer["expires_in"], 60);
    let given = answer["access_token"].as_str().expect("a token");
    surface.world.clock.advance(Duration::from_secs(59));
    assert_eq!(reads(&surface, given).await, 200);
    surface.world.clock.advance(Duration::from_secs(1));
    assert_eq!(reads(&surface, given).await, 401);
}

#[tokio::test]
async fn a_receiver_has_as_many_tokens_as_may_be_and_its_key_ends() {
    let surface = Surface::new().await;
    let key = registered(&surface, "siem", false).await;
    let first = token(&surface, ("siem", &key), READ).await;
    for _ in 1..sts::RECEIVER_TOKENS_MAX {
        token(&surface, ("siem", &key), READ).await;
    }
    let asks = async || {
        let assertion = asserted(&surface, "siem", &key, &jti());
        answer(&surface, &assertion, &[("scope", READ)]).await.status.as_u16()
    };
    assert_eq!(asks().await, 503);
    assert_eq!(reads(&surface, &first).await, 200);
    surface.world.clock.advance(Duration::from_secs(299));
    assert_eq!(reads(&surface, &first).await, 200);
    surface.world.clock.advance(Duration::from_secs(1));
    assert_eq!(reads(&surface, &first).await, 401);
    assert_eq!(asks().await, 200);
    surface.world.clock.advance(Duration::from_hours(24));
    assert_eq!(asks().await, 401);
}
