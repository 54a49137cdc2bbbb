//! Who calls comes from the credential alone, and the credential goes no further.

use std::time::Duration;

use authority::{Effect, Unit};
use keys::{KeyAlgorithm, SigningKey};
use mcp::Era;
use model::FactKey;
use pap::Command;
use serde_json::json;

use crate::support::{Act, set};
use crate::{ERAS, before, upstream};

#[tokio::test]
async fn n_001_identity_comes_only_from_the_credential() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let other = world.agent("other", &["up/*"]).await;
    let (client, someone) =
        (bot.connected(&world, "up", Era::Session).await, other.client(&world, "up", Era::Session));
    let someone = someone.await;
    let params = json!({
        "name": "echo",
        "arguments": { "agent_id": "other", "sub": "other" },
        "_meta": { "clientInfo": { "name": "other" }, "agent_id": "other", "sub": "other" },
    });
    let (mut headers, body) = client.request("tools/call", params);
    for name in ["x-agent-id", "x-forwarded-user", "x-chancery-instance", "from", "x-mcp-agent"] {
        set(&mut headers, name, "other");
    }
    let answer = client.post_raw(&headers, body).await;
    assert_eq!(answer.refused(), None);
    let decided = world.record("the call is decided", |r| r["action"] == "up/echo").await;
    assert_eq!(decided["agent"], "bot");

    // Another's token with one's own proof is nobody's.
    let mut stolen = client.headers("POST");
    set(&mut stolen, "authorization", &format!("DPoP {}", someone.token));
    let (_, body) = client.request("tools/call", json!({ "name": "echo", "arguments": {} }));
    assert_eq!(client.post_raw(&stolen, body).await.status, 401);
    assert_eq!(world.decisions("up/echo", "permit").await, 1);
}

/// The keys that sign tokens are exchanged under a client that goes on with its token; if the last one
/// is in other hands, no token of before counts any more, however well it is known.
#[tokio::test]
async fn n_029_keys_are_exchanged_while_calls_go_on() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let client = bot.connected(&world, "up", Era::Session).await;
    let call = async || client.ask("tools/call", json!({ "name": "echo", "arguments": {} })).await;
    let rotate = async |compromised| {
        world.run(Command::KeysRotate { reason: "due".to_owned(), compromised }).await
    };
    let listed = || world.tokens.jwks()["keys"].as_array().expect("a set").len();
    assert_eq!((call().await.status, listed()), (200, 1));
    rotate(false).await;
    assert_eq!((call().await.status, listed()), (200, 2));
    let later = bot.connected(&world, "up", Era::Session).await;
    assert_ne!(kid(&client.token), kid(&later.token));
    // What upstreams are shown is signed by the new key too.
    let called = later.ask("tools/call", json!({ "name": "echo", "arguments": {} })).await;
    assert_eq!(called.status, 200);
    let seen = up.seen_of("tools/call").pop().expect("it was called");
    let shown = seen.header("authorization").expect("an assertion").replace("Bearer ", "");
    assert_eq!(kid(&shown), kid(&later.token));
    rotate(true).await;
    assert_eq!((call().await.status, listed()), (401, 1));
    world.refusal("token_invalid").await;
}

fn kid(token: &str) -> String {
    let header = token.split('.').next().and_then(keys::from_base64url).expect("base64url");
    let header: serde_json::Value = serde_json::from_slice(&header).expect("JSON");
    header["kid"].as_str().expect("it names its key").to_owned()
}

#[tokio::test]
async fn n_063_a_header_that_stands_twice_is_refused() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let client = bot.connected(&world, "up", Era::Session).await;
    for name in ["authorization", "dpop"] {
        let (mut headers, body) = client.request("tools/call", json!({ "name": "echo" }));
        let value = headers.get(name).expect("it is set").clone();
        headers.append(name, value);
        assert_eq!(client.post_raw(&headers, body).await.status, 401, "{name}");
    }
    let (mut headers, body) = client.request("tools/call", json!({ "name": "echo" }));
    let value = headers.get("mcp-session-id").expect("it is set").clone();
    headers.append("mcp-session-id", value);
    assert_eq!(client.post_raw(&headers, body).await.status, 404);
    world.refusal("header_repeated").await;
    assert!(up.seen_of("tools/call").is_empty());
}

/// N-013 of the invariants: the canaries of a whole conversation reach no upstream byte.
#[tokio::test]
async fn i_13_no_inbound_credential_reaches_an_upstream() {
    for era in ERAS {
        for server in ERAS {
            let up = upstream(server).await;
            let (world, bot) = before(&up, "").await;
            let client = bot.connected(&world, "up", era).await;
            let (mut headers, body) =
                client.request("tools/call", json!({ "name": "echo", "arguments": { "a": 1 } }));
            let inner = ["x-mcp-canary", "x-forwarded-host", "x-agent-canary", "router-key"];
            for name in inner.into_iter().chain(["cookie", "traceparent", "mcp-init-host"]) {
                set(&mut headers, name, "canary-of-a-header");
            }
            let proof = headers["dpop"].to_str().unwrap().to_owned();
            assert_eq!(client.post_raw(&headers, body).await.refused(), None);
            let read = client.ask("resources/read", json!({ "uri": "file:///a" })).await;
            assert_eq!(read.refused(), None);
            client.tools().await;

            let bytes = String::from_utf8_lossy(&up.bytes()).into_owned();
            let signature = |jws: &str| jws.rsplit('.').next().expect("a part").to_owned();
            let session = client.session.clone().unwrap_or_else(|| "no session".to_owned());
            let canaries = [signature(&client.token), client.token.clone(), signature(&proof)];
            for canary in canaries.iter().chain([&session, &"canary-of-a-header".to_owned()]) {
                assert!(!bytes.contains(canary.as_str()), "{era:?} → {server:?}: {canary} leaked");
            }
            assert!(!bytes.to_ascii_lowercase().contains("dpop"), "{era:?} → {server:?}");
            // What it is shown instead is ours, for it alone.
            let call = &up.seen_of("tools/call")[0];
            let shown = call.header("authorization").expect("an assertion");
            assert!(shown.starts_with("Bearer "));
            assert_eq!(claims(shown)["aud"], "upstream:up");
            assert_eq!(claims(shown)["client_id"], "bot");
        }
    }
}

#[tokio::test]
async fn n_075_no_answer_of_an_upstream_makes_the_token_go_there() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let client = bot.connected(&world, "up", Era::Session).await;
    let asks = "www-authenticate: DPoP error=\"use_dpop_nonce\"\r\ndpop-nonce: x\r\n";
    up.on("tools/call", Act::Http(401, asks, String::new()));
    let answer = client.call("echo", json!({})).await;
    assert_eq!(answer.refused().as_deref(), Some("upstream_failed"));
    assert_eq!(answer.header("www-authenticate"), None);
    assert_eq!(world.outcome("up/echo").await, "failed");
    assert_eq!(up.seen_of("tools/call").len(), 1, "it is not tried again");
    assert!(!String::from_utf8_lossy(&up.bytes()).contains(&client.token));
}

/// R10: whichever way an agent shows a person's own token, it is refused as any other and told apart.
#[tokio::test]
async fn r_10_a_persons_own_token_calls_nothing() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let client = bot.connected(&world, "up", Era::Session).await;
    let login = FactKey::login("https://idp.example", "00u1");
    let body = json::canonical_of(&"carla");
    let unit = Unit { effects: vec![Effect::Put { key: login, body }], ..Unit::default() };
    world.journal.store().commit(unit).await.expect("it commits");
    let keeper = world.authority.finding_keeper(None, Duration::from_mins(1)).await;
    tokio::spawn(keeper.expect("the register can be read").run());
    let idp = SigningKey::generate(KeyAlgorithm::Es256).expect("a key");
    let shows = async |scheme: &str, subject: &str| {
        let said = json!({ "iss": "https://idp.example", "sub": subject, "aud": "chancery" });
        let token = oauth::jws::sign("JWT", &said, &idp).expect("it can be signed");
        let (mut headers, body) =
            client.request("tools/call", json!({ "name": "echo", "arguments": {} }));
        set(&mut headers, "authorization", &format!("{scheme} {token}"));
        let answer = client.post_raw(&headers, body).await;
        assert_eq!(answer.status, 401, "{scheme} {subject}");
        (answer.header("www-authenticate").map(str::to_owned), answer.text)
    };
    for scheme in ["Bearer", "DPoP"] {
        let other = shows(scheme, "00u2").await;
        world.refusal("token_invalid").await;
        assert_eq!(shows(scheme, "00u1").await, other, "{scheme}");
    }
    let is_told = |record: &serde_json::Value| record["details"]["cause"] == "human_credential";
    world.record("the person's own token is told apart", is_told).await;
    // And so is the refusal of it, for whoever reads the log.
    let is_reason = |record: &serde_json::Value| record["event"] == "human_credential";
    let reason = world.record("the refusal has its reason", is_reason).await;
    let is_refused = |record: &serde_json::Value| {
        record["kind"] == "refusal" && record["id"] == reason["details"]["refusal"]
    };
    assert_eq!(world.record("it is one", is_refused).await["cause"], "token_invalid");
    assert_eq!(world.decisions("up/echo", "permit").await, 0);
}

/// What an assertion says.
pub(crate) fn claims(bearer: &str) -> serde_json::Value {
    let part = bearer.split('.').nth(1).expect("claims");
    let bytes = base64url(part);
    serde_json::from_slice(&bytes).expect("JSON")
}

/// Decodes base64url, as far as tests need it.
fn base64url(text: &str) -> Vec<u8> {
    let value = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'-' => 62,
        _ => 63,
    };
    let mut bytes = Vec::new();
    for group in text.as_bytes().chunks(4) {
        let bits = group.iter().fold(0_u32, |bits, c| bits << 6 | u32::from(value(*c)));
        let bits = bits << (6 * (4 - group.len()));
        bytes.extend(&bits.to_be_bytes()[1..group.len()]);
    }
    bytes
}
