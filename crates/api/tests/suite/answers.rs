//! Answers that clients do not take.

use axum::body::Body;
use axum::response::Response;
use http_body_util::BodyExt as _;
use mcp::Era;
use serde_json::json;
use tower::ServiceExt as _;

use crate::support::{Act, Agent, Client, Setup, Upstream, World, tool};
use crate::{of, receivers, request};

const POLICY: &str =
    r#"@id("up") permit (principal, action in Action::"tools/call", resource in Server::"up");"#;

/// What one answer has in it, in bytes: one subject has room for four of them, and not for five.
const ANSWER: usize = 7 << 20;

/// A server with two tools, and an agent that may call them.
async fn before() -> (Upstream, World, Agent) {
    let up = Upstream::start(Era::Session, vec![tool("echo"), tool("pay")]).await;
    let routes = vec![("up", up.target())];
    let world = World::new(Setup { policy: POLICY.to_owned(), routes, ..Setup::default() });
    let world = Box::pin(world).await;
    world.onboard("up", &["*=reads-data"]).await;
    let bot = world.agent("bot", &["up/*"]).await;
    (up, world, bot)
}

/// A call of `tool` by `client`, up to the head of its answer.
async fn call(agents: &axum::Router, client: &Client<'_>, tool: &str) -> Response {
    let params = json!({ "name": tool, "_meta": { "progressToken": "t" } });
    let (headers, body) = client.request("tools/call", params);
    let mut sent = request("POST", "/mcp/up").header("content-type", "application/json");
    sent.headers_mut().expect("a request").extend(headers);
    let sent = sent.body(Body::from(body)).expect("a request");
    agents.clone().oneshot(sent).await.expect("it answers")
}

/// Who does not take answers loses the oldest of them, and nobody else waits or loses anything.
#[tokio::test]
async fn answers_that_are_not_taken_make_room_for_others() {
    let text = "x".repeat(ANSWER);
    let result = json!({ "content": [{ "type": "text", "text": text }] });
    let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":1}}"#;
    let streamed = format!(r#"{{"jsonrpc":"2.0","id":$id,"result":{result}}}"#);
    let streamed = Act::Events(vec![progress.to_owned(), streamed]);
    for (act, bits) in [(Act::Result(result), 1), (streamed, 2)] {
        let (up, world, bot) = before().await;
        let agents = api::agents(of(&world), receivers(&world));
        let client = bot.connected(&world, "up", Era::Session).await;
        let other = bot.connected(&world, "up", Era::Session).await;
        up.on("tools/call", act);
        // In the same second, so much else is refused that the rest of that is only counted.
        for _ in 0..200 {
            world.gateway.note_refusal("connections");
        }
        let mut begun = Vec::new();
        for client in [&other, &client, &client, &client, &client, &client] {
            let mut body = call(&agents, client, "echo").await.into_body();
            for _ in 0..bits {
                let bit = body.frame().await.expect("there is more").expect("it is there");
                assert!(bit.into_data().expect("data").len() <= 64 << 10);
            }
            begun.push(body);
        }
        // It is recorded also if nobody asks for it any more.
        world.refusal("answers").await;
        let lost = world.record("whose it was", |record| record["event"] == "answers").await;
        let calls = world.records().await.into_iter();
        let mut calls = calls.filter(|it| it["kind"] == "decision" && it["action"] == "up/echo");
        assert_eq!(Some(&lost["details"]["decision"]), calls.nth(1).as_ref().map(|it| &it["id"]));
        let mut begun = begun.into_iter();
        let (others, oldest) = (begun.next().expect("six"), begun.next().expect("six"));
        assert!(oldest.collect().await.is_err(), "the oldest is cut off");
        for body in begun.chain([others]) {
            let rest = body.collect().await.expect("it is whole").to_bytes();
            assert!(rest.len() > ANSWER - (64 << 10), "{}", rest.len());
        }
    }
}

/// Of what a server says before it answers, what has no room is lost, and no answer to another call.
#[tokio::test]
async fn what_a_server_says_takes_no_answer_from_its_client() {
    let text = "x".repeat(ANSWER);
    let result = json!({ "content": [{ "type": "text", "text": text }] });
    let params = json!({ "progressToken": "t", "progress": 1, "message": text });
    let says = json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params });
    let last = r#"{"jsonrpc":"2.0","id":$id,"result":{"content":[]}}"#;
    let (up, world, bot) = before().await;
    let agents = api::agents(of(&world), receivers(&world));
    let client = bot.connected(&world, "up", Era::Session).await;
    up.on("tools/call:echo", Act::Result(result));
    up.on(
        "tools/call:pay",
        Act::Events([vec![says.to_string(); 5], vec![last.to_owned()]].concat()),
    );
    let answer = call(&agents, &client, "echo").await.into_body();
    let stream = call(&agents, &client, "pay").await.into_body();
    world.refusal("messages").await;
    let answer = answer.collect().await.expect("it is whole").to_bytes();
    assert!(answer.len() > ANSWER);
    let stream = stream.collect().await.expect("it is whole").to_bytes();
    assert!(stream.len() > ANSWER && stream.ends_with(b"\"result\":{\"content\":[]}}\n\n"));
}
