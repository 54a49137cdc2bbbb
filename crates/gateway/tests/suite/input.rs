//! Calls that wait for input in the stateless era: what is asked is governed, the state is ours.

use mcp::Era;
use model::Sha256Digest;
use serde_json::{Value, json};

use crate::asks::{begin, everything, next};
use crate::differential::permits;
use crate::identity::claims;
use crate::support::{Act, Agent, Answer, Client, Seen, Setup, Upstream, World};
use crate::{POLICY, before, upstream, with};

/// Lets the server ask the person at the client, and list directories.
const POLICIES: &str = r#"
@id("up-elicits")
permit (principal, action == Action::"server/request", resource == Server::"up")
when { context.input.method == "elicitation/create" };
"#;

fn form() -> Value {
    let params = json!({
        "mode": "form",
        "message": "Which city?",
        "requestedSchema": { "type": "object", "properties": {} },
    });
    json!({ "method": "elicitation/create", "params": params })
}

fn wants(requests: &Value, state: Option<&str>) -> Act {
    let mut result = json!({ "resultType": "input_required", "inputRequests": requests });
    if let Some(state) = state {
        result["requestState"] = state.into();
    }
    Act::Result(result)
}

fn done() -> Act {
    Act::Result(json!({ "content": [], "resultType": "complete" }))
}

/// A server of the stateless era that may elicit, with the deployment before it and its agent.
async fn eliciting() -> (Upstream, World, Agent) {
    let up = upstream(Era::Stateless).await;
    let policy = format!("{POLICY}\n{POLICIES}");
    let (routes, elicitation_hosts) = (vec![("up", up.target())], vec!["login.example"]);
    let (world, bot) = with(Setup { policy, routes, elicitation_hosts, ..Setup::default() }).await;
    (up, world, bot)
}

/// A client that can be asked everything.
async fn able<'w>(world: &'w World, bot: &Agent) -> Client<'w> {
    bot.declaring(world, ("up", Era::Stateless), everything()).await
}

/// Goes on with the call of `tool` under `state`.
async fn retry(client: &Client<'_>, tool: &str, state: &Value) -> Answer {
    let params = json!({
        "name": tool,
        "arguments": { "n": 1 },
        "requestState": state,
        "inputResponses": { "city": { "action": "accept", "content": { "city": "Bern" } } },
    });
    client.ask("tools/call", params).await
}

fn is_refused(answer: &Answer) -> bool {
    (answer.status, answer.error()) == (400, Some(-32_602))
}

#[tokio::test]
async fn a_call_waits_for_permitted_input_and_goes_on() {
    for state in [Some("the server's own"), None] {
        let (up, world, bot) = eliciting().await;
        let client = able(&world, &bot).await;
        up.on("tools/call", wants(&json!({ "city": form() }), state));
        let result = client.call("echo", json!({ "n": 1 })).await.result();
        assert_eq!(result["resultType"], "input_required");
        assert_eq!(result["inputRequests"], json!({ "city": form() }));
        let ours = result["requestState"].as_str().expect("a state of ours");
        assert!(!ours.contains("server"), "{ours}");
        assert_eq!(world.outcome("server/request").await, "returned");
        assert_eq!(world.outcome("up/echo").await, "returned");

        up.on("tools/call", done());
        let answer = retry(&client, "echo", &result["requestState"]).await;
        assert_eq!(answer.result()["resultType"], "complete");
        let calls = up.seen_of("tools/call");
        let params = calls.last().expect("it went on").json()["params"].clone();
        assert_eq!(params.get("requestState"), state.map(Value::from).as_ref());
        assert_eq!(params["inputResponses"]["city"]["content"], json!({ "city": "Bern" }));
        assert_eq!(world.decisions("up/echo", "permit").await, 2, "decided again");
    }
}

/// I-06, N-058: what goes to the server with a call that goes on is what its record commits to.
#[tokio::test]
async fn n_058_what_a_client_answers_is_what_is_sent_and_recorded() {
    let (up, world, bot) = eliciting().await;
    let client = able(&world, &bot).await;
    for (state, given) in [
        (Some("the server's own"), Some(r#"{"city":{"b": 1.50,  "a":"\u0041"}}"#)),
        (Some("e\u{301}\u{0}"), Some(r#"{ "cit\u0079" : {"action":"decline"} }"#)),
        (None, Some("{}")),
        (Some(""), None),
        (None, None),
    ] {
        up.on("tools/call", wants(&json!({ "city": form() }), state));
        let ours = client.call("echo", json!({ "n": 1 })).await.result()["requestState"].clone();
        up.on("tools/call", done());
        let arguments = json!({ "n": 1 });
        let mut params = json!({ "name": "echo", "arguments": arguments, "requestState": ours });
        if given.is_some() {
            params["inputResponses"] = "GIVEN".into();
        }
        let (headers, body) = client.request("tools/call", params);
        let body = String::from_utf8(body.to_vec()).expect("text");
        let body = body.replace("\"GIVEN\"", given.unwrap_or_default());
        client.post_raw(&headers, body).await.result();

        let seen = up.seen_of("tools/call").pop().expect("it went on");
        assert!(seen.body.contains(given.unwrap_or_default()), "byte for byte: {}", seen.body);
        let sent = seen.json()["params"].clone();
        let shown = claims(seen.header("authorization").expect("an assertion"));
        let decision = shown["chancery"]["decision_id"].as_str().expect("a decision");
        let (_, disclosed) = &permits(&world).await[decision];
        assert_eq!(disclosed.value("arguments"), Some(&arguments));
        let digest = |bytes: &[u8]| json!(Sha256Digest::of(bytes));
        let responses = sent.get("inputResponses").map(|sent| digest(&json::canonical(sent)));
        assert_eq!(responses.is_some(), given.is_some());
        assert_eq!(disclosed.value("input_responses"), responses.as_ref(), "{given:?}");
        let theirs = sent.get("requestState").map(|sent| sent.as_str().expect("text"));
        assert_eq!(theirs, state);
        let theirs = theirs.map(|state| digest(state.as_bytes()));
        assert_eq!(disclosed.value("request_state"), theirs.as_ref(), "{state:?}");
    }
}

#[tokio::test]
async fn n_040d_a_state_is_good_for_its_own_call_once() {
    let (up, world, bot) = eliciting().await;
    let client = able(&world, &bot).await;
    up.on("tools/call", wants(&json!({ "city": form() }), Some("theirs")));
    let result = client.call("echo", json!({ "n": 1 })).await.result();
    let state = result["requestState"].as_str().expect("a state").to_owned();
    let before = up.seen_of("tools/call").len();

    let other = able(&world, &bot).await;
    assert!(is_refused(&retry(&other, "echo", &json!(state)).await), "another instance's");
    assert!(is_refused(&retry(&client, "pay", &json!(state)).await), "another tool's");
    let mut altered: Vec<String> = (0..state.len())
        .step_by(7)
        .map(|at| {
            let other = if &state[at..=at] == "A" { "B" } else { "A" };
            format!("{}{other}{}", &state[..at], &state[at + 1..])
        })
        .collect();
    altered.extend((0..state.len()).step_by(11).map(|length| state[..length].to_owned()));
    altered.extend(["theirs".to_owned(), format!("{state}="), format!("{state}AAAA")]);
    altered.push("A".repeat(1 << 18));
    for state in altered {
        assert!(is_refused(&retry(&client, "echo", &json!(state)).await), "{state}");
    }
    for (name, params) in [
        (
            "other arguments",
            json!({ "name": "echo", "arguments": { "n": 2 }, "requestState": state }),
        ),
        (
            "another member",
            json!({ "name": "echo", "arguments": { "n": 1 }, "requestState": state, "x": 1 }),
        ),
        ("no state", json!({ "name": "echo", "arguments": { "n": 1 }, "inputResponses": {} })),
        ("no text", json!({ "name": "echo", "arguments": { "n": 1 }, "requestState": [state] })),
        (
            "an answer to what was not asked",
            json!({
                "name": "echo", "arguments": { "n": 1 }, "requestState": state,
                "inputResponses": { "other": {} },
            }),
        ),
    ] {
        assert!(is_refused(&client.ask("tools/call", params).await), "{name}");
    }
    let read = json!({ "uri": "demo://x", "requestState": state });
    assert!(is_refused(&client.ask("resources/read", read).await), "another method's");
    assert_eq!(up.seen_of("tools/call").len(), before, "nothing of it reached the server");
    world.refusal("request_state").await;

    up.on("tools/call", done());
    assert_eq!(retry(&client, "echo", &json!(state)).await.result()["resultType"], "complete");
    assert!(is_refused(&retry(&client, "echo", &json!(state)).await), "used");
    assert_eq!(up.seen_of("tools/call").len(), before + 1);
}

/// Use-once is in the commit: over a start, and among racers, one goes on.
#[tokio::test]
async fn n_040d_a_state_is_used_once_by_racers_and_over_a_start() {
    let (up, world, bot) = eliciting().await;
    let client = able(&world, &bot).await;
    up.on("tools/call", wants(&json!({ "city": form() }), None));
    let result = client.call("echo", json!({ "n": 1 })).await.result();
    let state = &result["requestState"];
    up.on("tools/call", done());
    let racers = (0..64).map(|_| retry(&client, "echo", state));
    let answers = futures::future::join_all(racers).await;
    assert_eq!(answers.iter().filter(|answer| is_refused(answer)).count(), 63);

    let policy = format!("{POLICY}\n{POLICIES}");
    let setup = Setup { policy, routes: vec![("up", up.target())], ..Setup::default() };
    let restarted = world.restarted(&setup, crate::support::BOOT);
    let params = json!({
        "name": "echo", "arguments": { "n": 1 }, "requestState": state,
    });
    let (headers, body) = client.request("tools/call", params);
    let again = Answer::of(client.reply(&restarted, &headers, body).await).await;
    assert!(is_refused(&again), "{again:?}");
}

/// A state is for who was given one: nobody brings a server a state of its own making.
#[tokio::test]
async fn n_040d_no_client_hands_a_server_a_state_that_we_did_not_seal() {
    let (up, world, bot) = eliciting().await;
    for era in [Era::Session, Era::Stateless] {
        let client = bot.connected(&world, "up", era).await;
        let params = json!({ "name": "echo", "arguments": {}, "requestState": "theirs" });
        assert!(is_refused(&client.ask("tools/call", params).await));
    }
    assert!(up.seen_of("tools/call").is_empty());
}

/// N-083, N-084: all that a result asks may be asked, or the client is told none of it.
#[tokio::test]
async fn n_083_what_may_not_be_asked_is_not_told() {
    let (up, world, bot) = eliciting().await;
    let sampling = json!({
        "method": "sampling/createMessage", "params": { "messages": [], "maxTokens": 1 },
    });
    let url = |url: &str| {
        let params = json!({ "mode": "url", "message": "Log in", "url": url });
        json!({ "method": "elicitation/create", "params": params })
    };
    let nine: serde_json::Map<_, _> = (0..9).map(|n| (n.to_string(), form())).collect();
    let long = "x".repeat((64 << 10) + 1);
    let able = able(&world, &bot).await;
    let silent = bot.connected(&world, "up", Era::Stateless).await;
    for (client, requests, state) in [
        (&silent, json!({ "city": form() }), None),
        (&able, json!({ "city": form(), "more": sampling }), None),
        (&able, json!({ "city": url("https://evil.example/") }), None),
        (&able, json!({ "city": { "method": "tools/call", "params": { "name": "pay" } } }), None),
        (&able, json!({ "city": {} }), None),
        (&able, json!([form()]), None),
        (&able, json!(nine), None),
        (&able, json!({ "city": form() }), Some(long.as_str())),
    ] {
        up.on("tools/call", wants(&requests, state));
        let answer = client.call("echo", json!({ "n": 1 })).await;
        assert_eq!(answer.refused().as_deref(), Some("upstream_failed"), "{requests}");
        assert!(!answer.text.contains("inputRequests"));
        assert_eq!(world.outcome("up/echo").await, "failed");
    }
    world.refusal("input_required").await;
    world.refusal("elicitation_host").await;
    assert_eq!(world.decisions("server/request", "deny").await, 1, "sampling is denied");
    up.on("tools/call", wants(&json!({ "city": url("https://login.example/x") }), None));
    let result = able.call("echo", json!({ "n": 1 })).await.result();
    assert_eq!(result["resultType"], "input_required");
    // A method that has no such results has none through here.
    up.on("prompts/list", wants(&json!({ "city": form() }), None));
    assert_eq!(able.ask("prompts/list", json!({})).await.error(), Some(-32_603));
}

/// A server that has nothing to ask may only want to be called again.
#[tokio::test]
async fn a_state_without_requests_is_ours_as_well() {
    let up = upstream(Era::Stateless).await;
    let (world, bot) = before(&up, "").await;
    let client = bot.connected(&world, "up", Era::Stateless).await;
    let later = json!({ "resultType": "input_required", "requestState": "later" });
    up.on("tools/call", Act::Result(later));
    let result = client.call("echo", json!({})).await.result();
    assert_ne!(result["requestState"], "later");
    up.on("tools/call", done());
    let params = json!({ "name": "echo", "arguments": {}, "requestState": result["requestState"] });
    client.ask("tools/call", params).await.result();
    let calls = up.seen_of("tools/call");
    assert_eq!(calls.last().expect("it went on").json()["params"]["requestState"], "later");
}

/// Between the eras: while the call of a client of the session era waits, we ask it.
#[tokio::test]
async fn a_client_of_the_session_era_answers_a_server_of_the_stateless_era() {
    let (up, world, bot) = eliciting().await;
    let client = bot.declaring(&world, ("up", Era::Session), everything()).await;
    up.on("tools/call", wants(&json!({ "city": form() }), Some("theirs")));
    let mut events = begin(&client, "echo").await;
    let asked = next(&mut events).await;
    assert_eq!((&asked["method"], &asked["params"]), (&form()["method"], &form()["params"]));
    up.on("tools/call", done());
    let given = json!({ "action": "accept", "content": { "city": "Bern" } });
    assert_eq!(client.respond(&asked["id"], given.clone()).await.status, 202);
    let answer = next(&mut events).await;
    assert_eq!(answer["result"], json!({ "content": [] }));

    let calls: Vec<_> = up.seen_of("tools/call").iter().map(Seen::json).collect();
    let [first, second] = calls.as_slice() else { panic!("two rounds: {calls:?}") };
    let declared = "/params/_meta/io.modelcontextprotocol~1clientCapabilities";
    let said = json!({ "elicitation": { "form": {}, "url": {} } });
    assert_eq!(first.pointer(declared), Some(&said), "what policy could permit");
    assert_eq!(second["params"]["requestState"], "theirs");
    assert_eq!(second["params"]["inputResponses"], json!({ "city": given }));
    assert_eq!(world.decisions("up/echo", "permit").await, 1, "one call, one permit");
    assert_eq!(world.outcome("server/request").await, "returned");
    assert_eq!(world.outcome("up/echo").await, "returned");
}

#[tokio::test]
async fn n_083_between_the_eras_all_is_answered_or_the_call_has_failed() {
    let (up, world, bot) = eliciting().await;
    let client = bot.declaring(&world, ("up", Era::Session), everything()).await;
    // One of them is denied: nobody is asked the other.
    let roots = json!({ "method": "roots/list" });
    for requests in [json!({ "city": form(), "roots": roots }), json!({})] {
        up.on("tools/call", wants(&requests, Some("theirs")));
        let answer = client.call("echo", json!({})).await;
        assert_eq!(answer.refused().as_deref(), Some("upstream_failed"), "{answer:?}");
        assert!(answer.events.is_empty());
    }
    // One of them is not answered: the other is withdrawn.
    up.on("tools/call", wants(&json!({ "city": form(), "town": form() }), None));
    let mut events = begin(&client, "echo").await;
    let (first, second) = (next(&mut events).await, next(&mut events).await);
    let error = json!({ "code": -1, "message": "no" });
    let body = json!({ "jsonrpc": "2.0", "id": first["id"], "error": error });
    client.post_raw(&client.headers("POST"), body.to_string()).await;
    assert_eq!(next(&mut events).await["params"], json!({ "requestId": second["id"] }));
    let code = next(&mut events).await["result"]["structuredContent"]["code"].clone();
    assert_eq!(code, "upstream_failed");
    assert_eq!(world.outcome("up/echo").await, "failed");
    // A server that never has enough.
    up.on("tools/call", wants(&json!({ "city": form() }), None));
    let before = up.seen_of("tools/call").len();
    let mut events = begin(&client, "echo").await;
    for _ in 0..8 {
        let asked = next(&mut events).await;
        client.respond(&asked["id"], json!({ "action": "decline" })).await;
    }
    let code = next(&mut events).await["result"]["structuredContent"]["code"].clone();
    assert_eq!(code, "upstream_failed");
    assert_eq!(up.seen_of("tools/call").len(), before + 9);
}
