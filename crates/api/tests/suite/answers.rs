//! Answers that clients do not take.

use axum::body::Body;
use axum::response::Response;
use http_body_util::BodyExt as _;
use mcp::Era;
use serde_json::json;
use tower::ServiceExt as _;

use crate::support::{Act, Client, Setup, Upstream, World, tool};
use crate::{of, receivers, request};

const POLICY: &str =
    r#"@id("up") permit (principal, action in Action::"tools/call", resource in Server::"up");"#;

/// What one answer has in it, in bytes: one subject has room for four of them, and not for five.
const ANSWER: usize = 7 << 20;

/// A call of `client`, up to the head of its answer.
async fn call(agents: &axum::Router, client: &Client<'_>) -> Response {
    let params = json!({ "name": "echo", "_meta": { "progressToken": "t" } });
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
        let up = Upstream::start(Era::Session, vec![tool("echo")]).await;
        let routes = vec![("up", up.target())];
        let setup = Setup { policy: POLICY.to_owned(), routes, ..Setup::default() };
        let world = World::new(setup).await;
        world.onboard("up", &["*=reads-data"]).await;
        let bot = world.agent("bot", &["up/*"]).await;
        let agents = api::agents(of(&world), receivers(&world));
        let client = bot.connected(&world, "up", Era::Session).await;
        let other = bot.connected(&world, "up", Era::Session).await;
        up.on("tools/call", act);
        let mut begun = Vec::new();
        for client in [&other, &client, &client, &client, &client, &client] {
            let mut body = call(&agents, client).await.into_body();
            for _ in 0..bits {
                let bit = body.frame().await.expect("there is more").expect("it is there");
                assert!(bit.into_data().expect("data").len() <= 64 << 10);
            }
            begun.push(body);
        }
        let mut begun = begun.into_iter();
        let (others, oldest) = (begun.next().expect("six"), begun.next().expect("six"));
        assert!(oldest.collect().await.is_err(), "the oldest is cut off");
        world.refusal("answers").await;
        for body in begun.chain([others]) {
            let rest = body.collect().await.expect("it is whole").to_bytes();
            assert!(rest.len() > ANSWER - (64 << 10), "{}", rest.len());
        }
    }
}
