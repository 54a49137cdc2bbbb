//! The gateway, driven as the network drives it, before upstreams that misbehave.
#![allow(clippy::disallowed_methods, reason = "tests race, wait and read the clock")]

#[path = "../support/mod.rs"]
mod support;

mod arguments;
mod asks;
mod asks_limits;
mod differential;
mod envelope;
mod eras;
mod flight;
mod identity;
mod input;
mod labels;
mod manipulation;
mod outbound;
mod pins;
mod proofs;
mod properties;
mod routes;
mod sessions;
mod stateless;
mod stdio;
mod strictness;

use mcp::Era;
use serde_json::json;
use support::{Agent, Answer, Client, Setup, Upstream, World, tool, until};

/// Permits every tool and method of the server `up`.
const POLICY: &str = r#"
@id("up-tools")
permit (principal, action in Action::"tools/call", resource in Server::"up");

@id("up-methods")
permit (
  principal,
  action in [
    Action::"resources/read", Action::"resources/subscribe", Action::"resources/unsubscribe",
    Action::"prompts/get", Action::"tasks/get", Action::"tasks/list", Action::"tasks/result",
    Action::"tasks/cancel", Action::"tasks/update", Action::"subscriptions/listen"
  ],
  resource in Server::"up"
);
"#;

/// A deployment before the server `up`, which has the tools `echo` and `pay`, the second one
/// consequential, and an agent `bot` that may call them.
async fn before(upstream: &Upstream, policy: &str) -> (World, Agent) {
    let routes = vec![("up", upstream.target())];
    let policy = format!("{POLICY}\n{policy}");
    with(Setup { policy, routes, ..Setup::default() }).await
}

async fn with(setup: Setup) -> (World, Agent) {
    onboarded(setup, &["*=reads-data", "pay=moves-money"]).await
}

/// The same, where this is said of what the tools of `up` can do.
async fn onboarded(setup: Setup, harm: &[&str]) -> (World, Agent) {
    let world = Box::pin(World::new(setup)).await;
    world.onboard("up", harm).await;
    let bot = world.agent("bot", &["up/*"]).await;
    (world, bot)
}

async fn upstream(era: Era) -> Upstream {
    Upstream::start(era, vec![tool("echo"), tool("pay")]).await
}

/// Both eras, for tests that hold in either.
const ERAS: [Era; 2] = [Era::Session, Era::Stateless];

/// What a greeting of the session era is answered.
async fn greeted(client: &Client<'_>) -> Answer {
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {} });
    client.ask("initialize", params).await
}

/// The conversation that `client` wants to begin is refused, on the record.
async fn is_one_too_many(world: &World, client: &Client<'_>) {
    let answer = greeted(client).await;
    assert_eq!((answer.status, answer.error()), (503, Some(-32_603)));
    world.refusal("too_many").await;
}

/// Of the eight conversations that `bot` may have, each of its instances has two and no more.
async fn is_shared_by_instances(world: &World, bot: &Agent) {
    for _ in 0..2 {
        let one = bot.client(world, "up", Era::Session).await;
        for _ in 0..2 {
            assert_eq!(greeted(&one).await.status, 200);
        }
        is_one_too_many(world, &one).await;
    }
}

/// Waits until `client` may begin a conversation.
async fn has_room_again(client: &Client<'_>) {
    until("there is room again", || async { (greeted(client).await.status == 200).then_some(()) })
        .await;
}
