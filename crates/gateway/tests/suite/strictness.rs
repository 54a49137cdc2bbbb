//! Calls that want a token of their own, or a new one: what a client is told that has none.

use std::collections::BTreeMap;
use std::time::Duration;

use mcp::Era;
use serde_json::json;

use crate::support::{Answer, Client, World};
use crate::{ERAS, POLICY, before, upstream};

impl World {
    /// Puts `strictness` in force.
    async fn strict(&self, strictness: &str) {
        let files = [
            ("starter.cedar", pdp::STARTER_POLICY),
            ("test.cedar", POLICY),
            (pdp::STRICTNESS_FILE, strictness),
        ];
        let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
        self.publisher.replace(BTreeMap::from(files)).await.expect("it compiles");
    }
}

/// What a client understands that knows nothing of us: its token is good no longer; and what it can show whoever
/// looks at the body.
fn needs_token(client: &Client<'_>, answer: &Answer, why: &str) {
    assert_eq!(answer.status, 401, "{answer:?}");
    let challenge = answer.header("www-authenticate").expect("a challenge");
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    assert!(challenge.contains("resource_metadata=\""), "{challenge}");
    assert!(answer.header("dpop-nonce").is_some());
    assert_eq!(answer.refused().as_deref(), Some("token_needed"));
    let told = answer.result();
    assert_eq!(told["isError"], true);
    assert_eq!(told["resultType"] == "complete", client.era == Era::Stateless);
    assert!(told["structuredContent"]["decision_id"].is_string(), "{told}");
    let text = told["content"][0]["text"].as_str().expect("text");
    assert!(text.contains(why) && text.contains("obtain a new token"), "{text}");
}

#[tokio::test]
async fn who_shows_a_used_token_is_told_to_show_a_new_one() {
    for era in ERAS {
        let up = upstream(era).await;
        let (world, bot) = before(&up, "").await;
        world.strict("calls: [{ description: x, harm: [moves-money], token: once }]").await;
        let client = bot.connected(&world, "up", era).await;
        // What does not want one of its own uses up nothing, nor does what is answered without a decision.
        for _ in 0..2 {
            assert_eq!(client.call("echo", json!({})).await.status, 200);
            assert!(client.tools().await.contains(&"pay".to_owned()));
        }
        let answer = client.call("pay", json!({ "n": 1 })).await;
        assert_eq!((answer.status, answer.refused()), (200, None), "{answer:?}");
        needs_token(&client, &client.call("pay", json!({ "n": 2 })).await, "has been used");
        assert_eq!(client.call("echo", json!({})).await.status, 200, "it is good for all else");
        // Another one of the same agent is used by nobody yet.
        let other = bot.connected(&world, "up", era).await;
        assert_eq!(other.call("pay", json!({ "n": 2 })).await.refused(), None);
        assert_eq!(up.seen_of("tools/call").len(), 5);
        let denied = world.record("it is denied", |it| it["decision"] == "deny").await;
        assert_eq!(denied["reason"], "token_used");
        assert!(denied["commitments"]["token"].is_string(), "{denied}");
    }
}

#[tokio::test]
async fn who_shows_an_old_token_is_told_to_show_a_new_one() {
    let up = upstream(Era::Stateless).await;
    let (world, bot) = before(&up, "").await;
    world.strict("calls: [{ description: x, harm: [moves-money], attested_s: 30 }]").await;
    let client = bot.connected(&world, "up", Era::Stateless).await;
    world.clock.advance(Duration::from_secs(30));
    assert_eq!(client.call("pay", json!({ "n": 1 })).await.refused(), None);
    world.clock.advance(Duration::from_secs(1));
    needs_token(&client, &client.call("pay", json!({ "n": 2 })).await, "older than 30 s");
    assert_eq!(client.call("echo", json!({})).await.refused(), None);
    let other = bot.connected(&world, "up", Era::Stateless).await;
    assert_eq!(other.call("pay", json!({ "n": 3 })).await.refused(), None);
}

/// Who could never call the tool learns nothing of it, whatever is said of its tokens.
#[tokio::test]
async fn that_a_tool_wants_a_token_is_told_to_nobody_who_may_not_call_it() {
    let up = upstream(Era::Stateless).await;
    let (world, bot) = before(&up, "").await;
    world.strict("calls: [{ description: x, attested_s: 5 }]").await;
    let other = world.agent("other", &["up/echo"]).await;
    let client = other.connected(&world, "up", Era::Stateless).await;
    world.clock.advance(Duration::from_secs(6));
    let hidden = client.call("pay", json!({})).await;
    assert_eq!((hidden.status, hidden.refused().as_deref()), (200, Some("unknown_tool")));
    needs_token(&client, &client.call("echo", json!({})).await, "older than 5 s");
    drop(bot);
}
