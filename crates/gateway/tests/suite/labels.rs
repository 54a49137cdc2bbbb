//! What only a result reveals: on the session before anything of the result is let go, or withheld.

use mcp::Era;
use model::SessionFacts;
use serde_json::{Value, json};

use crate::support::{Act, World};
use crate::{ERAS, POLICY, before, upstream};

const LABELS: &str = "
labels: { external: Text of others., private: Personal data. }
servers:
  up: { reveals: [private] }
tools:
  up/echo: { carries: [external] }
  up/pay: { sink: true }
";

const FORBID: &str = r#"
    @id("no-way-out")
    forbid (principal, action in Action::"tools/call", resource)
    when { resource.sink && context.session.labels.contains("private") };
"#;

impl World {
    /// Puts `labels` in force, with a policy that lets nothing out that is private.
    async fn labelled(&self, labels: &str) {
        let files = [
            ("starter.cedar", pdp::STARTER_POLICY.to_owned()),
            ("test.cedar", format!("{POLICY} {FORBID}")),
            (pdp::LABELS_FILE, labels.to_owned()),
        ];
        let files = files.map(|(name, text)| (name.to_owned(), text));
        self.publisher.replace(std::collections::BTreeMap::from(files)).await.expect("it compiles");
    }

    /// The labels of the one session that there is.
    async fn labels(&self) -> Vec<String> {
        let store = self.authority.pip().store();
        let facts: Vec<SessionFacts> = authority::all(store, "session/").await.expect("it is read");
        facts.iter().flat_map(|it| &it.labels).map(ToString::to_string).collect()
    }
}

fn revealing(labels: &Value) -> Act {
    Act::Result(json!({
        "content": [{ "type": "text", "text": "the-secret" }],
        "resultType": "complete",
        "_meta": { "chancery/labels": labels, "other": 1 },
    }))
}

#[tokio::test]
async fn n_085_what_a_result_reveals_is_on_before_it_is_let_go() {
    for era in ERAS {
        let up = upstream(era).await;
        let (world, bot) = before(&up, "").await;
        world.labelled(LABELS).await;
        let client = bot.connected(&world, "up", era).await;
        assert_eq!(client.call("pay", json!({})).await.refused(), None);
        up.on("tools/call", revealing(&json!(["private"])));
        assert_eq!(client.call("echo", json!({})).await.refused(), None);
        assert_eq!(world.labels().await, ["external", "private"]);
        let sent = up.seen_of("tools/call").len();
        assert!(client.call("pay", json!({ "n": 2 })).await.refused().is_some());
        assert_eq!(up.seen_of("tools/call").len(), sent, "nothing was sent");
    }
}

/// A server that reveals what it may not, or what nobody can read, has said nothing.
#[tokio::test]
async fn n_085_what_cannot_be_put_on_the_session_is_withheld() {
    for labels in [json!(["external"]), json!(["private", "A"]), json!("private"), json!([1])] {
        let up = upstream(Era::Session).await;
        let (world, bot) = before(&up, "").await;
        world.labelled(LABELS).await;
        let client = bot.connected(&world, "up", Era::Session).await;
        up.on("tools/call", revealing(&labels));
        let answer = client.call("echo", json!({})).await;
        assert_eq!(answer.refused().as_deref(), Some("outcome_unknown"), "{labels}");
        assert!(!format!("{answer:?}").contains("the-secret"), "{labels}");
    }
}

/// Who may reveal nothing is not listened to: it could mark every session.
#[tokio::test]
async fn who_may_reveal_nothing_marks_nobody() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    world.labelled(&LABELS.replace("reveals: [private]", "")).await;
    let client = bot.connected(&world, "up", Era::Session).await;
    up.on("tools/call", revealing(&json!(["private"])));
    assert_eq!(client.call("echo", json!({})).await.refused(), None);
    assert_eq!(world.labels().await, ["external"]);
}
