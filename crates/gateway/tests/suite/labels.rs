//! What only a result reveals: on the session before anything of the result is let go, or withheld.

use mcp::Era;
use model::SessionFacts;
use serde_json::{Value, json};
use testkit::{Call, Fault};

use crate::asks::{begin, everything, form, next, request, told};
use crate::flight;
use crate::support::{Act, World, until};
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
    @id("up-asks")
    permit (principal, action == Action::"server/request", resource == Server::"up");
    @id("nothing-answered")
    forbid (principal, action == Action::"server/request", resource)
    when { context.session.labels.contains("private") };
    @id("no-way-out")
    forbid (principal, action in Action::"tools/call", resource)
    when { resource.sink && context.session.labels.contains("private") };
"#;

impl World {
    /// Puts `labels` in force, with a policy that lets nothing out that is private.
    async fn labelled(&self, labels: &str) {
        self.in_force(labels, FORBID).await;
    }

    /// Puts `labels` in force, with these rules.
    pub(crate) async fn in_force(&self, labels: &str, rules: &str) {
        let files = [
            ("starter.cedar", pdp::STARTER_POLICY.to_owned()),
            ("test.cedar", format!("{POLICY} {rules}")),
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

fn secret(labels: &Value) -> Value {
    json!({
        "content": [{ "type": "text", "text": "the-secret" }],
        "resultType": "complete",
        "_meta": { "chancery/labels": labels, "other": 1 },
    })
}

fn revealing(labels: &Value) -> Act {
    Act::Result(secret(labels))
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

/// What is answered by a stream is cut as soon as another call has read what forbids it, and one that its
/// client has heard nothing of goes on.
#[tokio::test]
async fn r_36_a_stream_is_cut_when_another_call_has_read_what_forbids_it() {
    for era in ERAS {
        let up = upstream(era).await;
        let (world, bot) = before(&up, "").await;
        world.labelled(LABELS).await;
        let client = bot.connected(&world, "up", era).await;
        let result = r#"{"jsonrpc":"2.0","id":$id,"result":{"content":[]}}"#.to_owned();
        up.on("tools/call", Act::HeldEvents(vec![result]));
        let silent = async {
            let answer = client.call("pay", json!({ "n": 1 })).await;
            assert_eq!(answer.refused(), None, "nothing of it was told before");
        };
        let stream = async {
            until("it is called", || async { up.seen_of("tools/call").pop() }).await;
            up.on("tools/call", flight::held());
            let (mut events, _) = flight::begin(&client, "pay").await;
            up.on("tools/call", revealing(&json!(["private"])));
            assert_eq!(client.call("echo", json!({})).await.refused(), None);
            let last = next(&mut events).await;
            assert_eq!(last["result"]["structuredContent"]["code"], "outcome_unknown");
            let is_cut = |record: &Value| record["kind"] == "outcome" && record["outcome"] == "cut";
            world.record("the stream is cut", is_cut).await;
            // By now the other one would have been cut, too.
            up.release();
        };
        tokio::join!(silent, stream);
    }
}

/// What a result of outsiders says is known before any of it is let go, however it is spelt.
#[tokio::test]
async fn what_a_result_says_is_known_before_it_is_let_go() {
    let labels = format!("{LABELS}outsiders: [external]\n");
    let rule = r#"@id("not-to-them") forbid (principal, action == Action::"up/pay", resource)
        when { context.provenance.untrusted.contains("to") };"#;
    for era in ERAS {
        let up = upstream(era).await;
        let (world, bot) = before(&up, "").await;
        world.in_force(&labels, rule).await;
        let client = bot.connected(&world, "up", era).await;
        let pay = async |to: &str| client.call("pay", json!({ "to": to })).await.refused();
        assert_eq!(pay("de12 EVE").await, None);
        let text = json!({ "text": { "iban": "DE12 Eve" } }).to_string();
        let content = json!([{ "type": "text", "text": text }]);
        up.on("tools/call", Act::Result(json!({ "content": content, "resultType": "complete" })));
        assert_eq!(client.call("echo", json!({})).await.refused(), None);
        let sent = up.seen_of("tools/call").len();
        assert!(pay("DE12 Eve").await.is_some() && pay(" de12 EVE").await.is_some());
        assert_eq!(up.seen_of("tools/call").len(), sent, "nothing was sent");
        assert_eq!(pay("FR34").await, None);
    }
}

/// Of which no outsider has a part, and who is only paid if it is trusted.
const OURS: &str = "
labels: { external: Text of others. }
outsiders: [external]
tools:
  up/echo: {}
  up/pay: {}
";

pub(crate) const TO_TRUSTED: &str = r#"
    @id("up-asks")
    permit (principal, action == Action::"server/request", resource == Server::"up");
    @id("to-trusted")
    forbid (principal, action == Action::"up/pay", resource)
    unless { context.provenance.trusted.contains("to") };
"#;

fn saying(what: &str) -> Act {
    let content = json!([{ "type": "text", "text": what }]);
    Act::Result(json!({ "content": content, "resultType": "complete" }))
}

pub(crate) fn wanting() -> Act {
    Act::Result(json!({
        "resultType": "input_required",
        "inputRequests": { "city": { "method": "elicitation/create", "params": form() } },
    }))
}

/// What a server says is trusted by what it was told: not if a client has answered what it asked.
#[tokio::test]
async fn what_a_server_says_that_was_answered_is_not_trusted() {
    for era in ERAS {
        let up = upstream(era).await;
        let (world, bot) = before(&up, "").await;
        world.in_force(OURS, TO_TRUSTED).await;
        let client = bot.declaring(&world, ("up", Era::Session), everything()).await;
        let pay = async |to: &str| client.call("pay", json!({ "to": to })).await.refused();
        up.on("tools/call", saying("ann"));
        assert_eq!(client.call("echo", json!({})).await.refused(), None);
        assert_eq!(pay("ann").await, None);
        up.on(
            "tools/call",
            match era {
                Era::Session => Act::Asks(vec![request("s1", "elicitation/create", &form())]),
                Era::Stateless => wanting(),
            },
        );
        let mut events = begin(&client, "echo").await;
        let asked = next(&mut events).await;
        if era == Era::Stateless {
            up.on("tools/call", saying("eve"));
        }
        let given = json!({ "action": "accept", "content": { "city": "eve" } });
        assert_eq!(client.respond(&asked["id"], given).await.status, 202);
        let answer = next(&mut events).await.to_string();
        assert!(answer.contains("eve"), "{answer}");
        up.on("tools/call", saying("done"));
        assert!(pay("eve").await.is_some(), "{era:?}");
        assert_eq!(pay("ann").await, None);
    }
}

/// The same where the answer comes with the call that goes on, whatever its server makes of it.
#[tokio::test]
async fn what_a_call_says_that_goes_on_is_not_trusted() {
    let up = upstream(Era::Stateless).await;
    let (world, bot) = before(&up, "").await;
    world.in_force(OURS, TO_TRUSTED).await;
    let client = bot.declaring(&world, ("up", Era::Stateless), everything()).await;
    up.on("tools/call", wanting());
    let state = client.call("echo", json!({})).await.result()["requestState"].clone();
    up.on("tools/call", saying("eve@example.org"));
    let params = json!({
        "name": "echo", "arguments": {}, "requestState": state,
        "inputResponses": { "city": { "action": "accept", "content": { "city": "eve" } } },
    });
    assert_eq!(client.ask("tools/call", params).await.status, 200);
    let pay = async |to: &str| client.call("pay", json!({ "to": to })).await.refused();
    assert!(pay("eve@example.org").await.is_some());
    assert_eq!(client.call("echo", json!({ "n": 2 })).await.refused(), None);
    assert_eq!(pay("eve@example.org").await, None, "it is said of its own accord");
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
        assert_eq!(world.outcome("up/echo").await, "withheld");
    }
}

/// What a result reveals is not committed, or nobody knows whether it is: nothing of the result is let go.
#[tokio::test]
async fn n_085_nothing_is_let_go_whose_label_could_not_be_committed() {
    let both = ["external", "private"];
    for (fault, labels) in [(Fault::Fail, &both[..1]), (Fault::FailButPersist, &both[..])] {
        for era in ERAS {
            let up = upstream(era).await;
            let (world, bot) = before(&up, "").await;
            world.labelled(LABELS).await;
            let client = bot.connected(&world, "up", era).await;
            let result = secret(&json!(["private"]));
            let result = format!(r#"{{"jsonrpc":"2.0","id":$id,"result":{result}}}"#);
            up.on("tools/call", Act::HeldEvents(vec![result]));
            let fails = async {
                until("it is called", || async { up.seen_of("tools/call").pop() }).await;
                world.store.always(Call::Commit, fault);
                up.release();
            };
            let (answer, ()) = tokio::join!(client.call("echo", json!({})), fails);
            assert_eq!(answer.refused().as_deref(), Some("outcome_unknown"), "{fault:?}");
            assert!(!format!("{answer:?}").contains("the-secret"), "{fault:?}: {answer:?}");
            assert_eq!(world.labels().await, labels, "{fault:?}");
            world.store.heal();
            assert_eq!(world.outcome("up/echo").await, "withheld", "{fault:?}");
            // Once it can be, it is let go.
            up.on("tools/call", revealing(&json!(["private"])));
            let answer = client.call("echo", json!({ "n": 2 })).await;
            assert!(format!("{answer:?}").contains("the-secret"), "{fault:?}: {answer:?}");
            assert_eq!(world.labels().await, both, "{fault:?}");
        }
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

/// Asked when nothing was read, answered when something was: the answer goes to nobody.
#[tokio::test]
async fn n_085_an_answer_goes_out_by_what_was_read_until_it_is_given() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    world.labelled(LABELS).await;
    let client = bot.declaring(&world, ("up", Era::Session), everything()).await;
    for reads in [false, true] {
        up.on("tools/call", Act::Asks(vec![request("s1", "elicitation/create", &form())]));
        let mut events = begin(&client, "echo").await;
        let asked = next(&mut events).await;
        if reads {
            up.on("tools/call", revealing(&json!(["private"])));
            assert_eq!(client.call("echo", json!({ "n": 2 })).await.refused(), None);
        }
        let given = json!({ "action": "accept", "content": { "city": "the-answer" } });
        assert_eq!(client.respond(&asked["id"], given).await.status, 202);
        let told = told(&next(&mut events).await);
        assert_eq!(told[0]["error"]["code"] == -32_601, reads, "{told:?}");
        assert_eq!(told[0].to_string().contains("the-answer"), !reads, "{told:?}");
        let outcome = if reads { "withheld" } else { "returned" };
        assert_eq!(world.outcome("server/request").await, outcome);
    }
}

/// The same where the answer comes with the call that goes on.
#[tokio::test]
async fn n_085_a_call_goes_on_only_if_its_client_could_be_asked_now() {
    let up = upstream(Era::Stateless).await;
    let (world, bot) = before(&up, "").await;
    world.labelled(LABELS).await;
    let client = bot.declaring(&world, ("up", Era::Stateless), everything()).await;
    let wants = || {
        Act::Result(json!({
            "resultType": "input_required",
            "inputRequests": { "city": { "method": "elicitation/create", "params": form() } },
        }))
    };
    for reads in [false, true] {
        up.on("tools/call", wants());
        let state = client.call("echo", json!({})).await.result()["requestState"].clone();
        up.on("tools/call", revealing(&json!(["private"])));
        if reads {
            assert_eq!(client.call("echo", json!({ "n": 2 })).await.refused(), None);
        }
        up.on("tools/call", Act::Result(json!({ "content": [], "resultType": "complete" })));
        let sent = up.seen_of("tools/call").len();
        let params = json!({
            "name": "echo", "arguments": {}, "requestState": state,
            "inputResponses": { "city": { "action": "accept", "content": { "city": "Bern" } } },
        });
        let answer = client.ask("tools/call", params).await;
        assert_eq!(answer.status, if reads { 400 } else { 200 }, "{answer:?}");
        assert_eq!(up.seen_of("tools/call").len() - sent, usize::from(!reads));
    }
}

/// What a result reveals that is not the last is on before anything of it is shown.
#[tokio::test]
async fn n_085_what_a_result_on_the_way_reveals_is_on_before_it_is_shown() {
    let up = upstream(Era::Stateless).await;
    let (world, bot) = before(&up, "").await;
    world.labelled(LABELS).await;
    let client = bot.declaring(&world, ("up", Era::Session), everything()).await;
    up.on(
        "tools/call",
        Act::Result(json!({
            "resultType": "input_required",
            "inputRequests": { "city": { "method": "elicitation/create", "params": form() } },
            "_meta": { "chancery/labels": ["private"] },
        })),
    );
    let answer = client.call("echo", json!({})).await;
    assert!(answer.events.is_empty() && answer.refused().is_some(), "{answer:?}");
    assert_eq!(world.labels().await, ["external", "private"]);
    assert_eq!(world.decisions("server/request", "permit").await, 0);
    assert_eq!(world.decisions("server/request", "deny").await, 1);
}

/// What a method tells its server is on the record, though no policy reads it.
#[tokio::test]
async fn n_085_what_a_method_tells_its_server_is_on_the_record() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let client = bot.connected(&world, "up", Era::Session).await;
    let said = json!({ "name": "sum", "arguments": { "text": "told to the server" } });
    client.ask("prompts/get", said.clone()).await.result();
    let completed = json!({
        "ref": { "type": "ref/prompt", "name": "sum" },
        "argument": { "name": "text", "value": "told as well" },
    });
    client.ask("completion/complete", completed.clone()).await.result();
    for (action, said) in [("prompts/get", said), ("completion/complete", completed)] {
        let records = world.records().await;
        let of = |record: &Value| record["kind"] == "decision" && record["action"] == action;
        let index = records.iter().position(of).expect("it is decided");
        let disclosed = world.journal.disclosure(index as u64).await.expect("it opens");
        let disclosed = disclosed.expect("it is disclosed");
        assert_eq!(disclosed.value("arguments"), Some(&said), "{action}");
    }
}
