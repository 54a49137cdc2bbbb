//! What servers ask of clients in the session era: decided, recorded, delivered to one client alone.

use std::collections::BTreeMap;

use gateway::{Events, ReplyBody};
use mcp::Era;
use serde_json::{Value, json};

use crate::support::{Act, Agent, Client, Process, Setup, Upstream, World, until};
use crate::{POLICY, upstream, with};

/// Lets the server ask the person at the client by form, and nothing else.
const FORMS: &str = r#"
@id("up-forms")
permit (principal, action == Action::"server/request", resource == Server::"up")
when { context.input.mode == "form" };
"#;

/// Lets it ask anything.
const ANYTHING: &str = r#"
@id("up-asks")
permit (principal, action == Action::"server/request", resource == Server::"up");
"#;

/// Everything that a client can declare.
pub(crate) fn everything() -> Value {
    json!({ "sampling": {}, "elicitation": { "form": {}, "url": {} }, "roots": {} })
}

pub(crate) fn request(id: &str, method: &str, params: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string()
}

pub(crate) fn form() -> Value {
    json!({ "message": "Which city?", "requestedSchema": { "type": "object", "properties": {} } })
}

fn sampling() -> Value {
    json!({ "messages": [], "maxTokens": 5 })
}

fn url(url: &str) -> Value {
    json!({ "mode": "url", "message": "Log in", "url": url, "elicitationId": "1" })
}

/// Calls `tool`; the stream, once something of it is there.
pub(crate) async fn begin(client: &Client<'_>, tool: &str) -> Events {
    let (headers, body) =
        client.request_with_id(&json!("call-1"), "tools/call", json!({ "name": tool }));
    let reply = client.reply(&client.world.gateway, &headers, body).await;
    let ReplyBody::Events(events) = reply.body else { panic!("no stream: {reply:?}") };
    events
}

pub(crate) async fn next(events: &mut Events) -> Value {
    let event = events.recv().await.expect("something is said");
    serde_json::from_slice(&event.message).expect("JSON")
}

/// What the server was told, as the answer to the call tells it.
pub(crate) fn told(answer: &Value) -> Vec<Value> {
    let text = answer["result"]["content"][0]["text"].as_str();
    let text = text.unwrap_or_else(|| panic!("no answer: {answer}"));
    serde_json::from_str(text).expect("JSON")
}

/// A server that may ask what `policy` permits, and send somebody to `elicitation_hosts`, with the
/// deployment before it and its agent.
pub(crate) async fn asking(
    policy: &str,
    elicitation_hosts: Vec<&'static str>,
) -> (Upstream, World, Agent) {
    let up = upstream(Era::Session).await;
    let (policy, routes) = (format!("{POLICY}\n{policy}"), vec![("up", up.target())]);
    let (world, bot) = with(Setup { policy, routes, elicitation_hosts, ..Setup::default() }).await;
    (up, world, bot)
}

/// A client that can be asked everything.
pub(crate) async fn able<'w>(world: &'w World, bot: &Agent) -> Client<'w> {
    bot.declaring(world, ("up", Era::Session), everything()).await
}

pub(crate) async fn asked(world: &World, answer: &str) -> usize {
    world.decisions("server/request", answer).await
}

/// A server that asks `requests` with each call, and what it was told in a call of a client that
/// declares `capabilities` and is asked nothing.
async fn check_refused(policy: &str, capabilities: Value, requests: &[String]) -> World {
    let (up, world, bot) = asking(policy, vec![]).await;
    up.on("tools/call", Act::Asks(requests.to_vec()));
    {
        let client = bot.declaring(&world, ("up", Era::Session), capabilities).await;
        let answer = client.call("echo", json!({})).await;
        assert!(answer.events.is_empty(), "nothing is delivered: {answer:?}");
        for told in told(&answer.json()) {
            assert_eq!(told["error"]["code"], -32_601, "{told}");
        }
    }
    world
}

#[tokio::test]
async fn a_permitted_elicitation_reaches_the_client_and_its_answer_the_server() {
    let (up, world, bot) = asking(FORMS, vec![]).await;
    let client = able(&world, &bot).await;
    up.on("tools/call", Act::Asks(vec![request("s1", "elicitation/create", &form())]));
    let mut events = begin(&client, "echo").await;
    let asked = next(&mut events).await;
    assert_eq!((&asked["method"], &asked["params"]), (&json!("elicitation/create"), &form()));
    let given = json!({ "action": "accept", "content": { "city": "Bern" } });
    assert_eq!(client.respond(&asked["id"], given.clone()).await.status, 202);
    let answer = next(&mut events).await;
    assert_eq!(answer["id"], "call-1");
    assert_eq!(told(&answer), [json!({ "jsonrpc": "2.0", "id": "s1", "result": given })]);
    assert!(events.recv().await.is_none());

    assert_eq!(world.outcome("server/request").await, "returned");
    let decision = world.record("it is decided", |r| r["action"] == "server/request").await;
    assert_eq!(asked["id"], decision["id"], "the client knows the decision");
    assert_eq!(decision["policies"], json!(["up-forms"]));
    assert_eq!(decision["resource"], "Server::up");
    assert_eq!(decision["agent"], "bot");
    assert!(decision["commitments"]["arguments"].is_string(), "{decision}");
}

#[tokio::test]
async fn a_permitted_elicitation_of_a_process_is_answered() {
    let process = Process::new("session");
    let (world, bot) = before_process(&process, FORMS).await;
    let client = able(&world, &bot).await;
    let mut events = begin(&client, "elicit").await;
    let asked = next(&mut events).await;
    assert_eq!(asked["method"], "elicitation/create");
    client.respond(&asked["id"], json!({ "action": "decline" })).await;
    let answer = next(&mut events).await;
    let said = answer["result"]["content"][0]["text"].as_str().expect("a text");
    let said: Value = serde_json::from_str(said).expect("JSON");
    assert_eq!(said, json!({ "jsonrpc": "2.0", "id": "e1", "result": { "action": "decline" } }));
    assert_eq!(world.outcome("server/request").await, "returned");
}

async fn before_process(process: &Process, policy: &str) -> (World, Agent) {
    let policy = format!("{POLICY}\n{policy}");
    let routes = vec![("up", process.target())];
    let world = Box::pin(World::new(Setup { policy, routes, ..Setup::default() })).await;
    world.onboard("up", &["*=reads-data"]).await;
    let bot = world.agent("bot", &["up/*"]).await;
    (world, bot)
}

/// On stdio nothing says on whose account a server asks: with two calls under way it is nobody's.
#[tokio::test]
async fn n_046_what_a_process_asks_during_two_calls_is_delivered_to_neither() {
    let process = Process::new("session");
    let (world, bot) = before_process(&process, ANYTHING).await;
    let client = able(&world, &bot).await;
    client.tools().await;
    let asks = async {
        until("the other call is under way", || async {
            process.lines().iter().any(|line| line["params"]["name"] == "wait").then_some(())
        })
        .await;
        client.call("elicit", json!({})).await
    };
    let (waited, answer) = tokio::join!(client.call("wait", json!({})), asks);
    assert!(waited.events.is_empty() && answer.events.is_empty());
    assert!(answer.text.contains("-32601"), "{answer:?}");
    world.refusal("server_asked_elicitation").await;
    assert_eq!(asked(&world, "permit").await, 0);
}

#[tokio::test]
async fn n_084_by_default_nothing_is_asked_and_each_denial_is_on_the_record() {
    let requests = [
        request("s1", "sampling/createMessage", &sampling()),
        request("s2", "elicitation/create", &form()),
        request("s3", "roots/list", &json!({})),
    ];
    let world = check_refused("", everything(), &requests).await;
    assert_eq!((asked(&world, "permit").await, asked(&world, "deny").await), (0, 3));
}

#[tokio::test]
async fn n_084_a_policy_permits_one_kind_and_no_other() {
    let requests = [
        request("s1", "sampling/createMessage", &sampling()),
        request("s2", "roots/list", &json!({})),
    ];
    let world = check_refused(FORMS, everything(), &requests).await;
    assert_eq!((asked(&world, "permit").await, asked(&world, "deny").await), (0, 2));
}

#[tokio::test]
async fn a_client_that_declares_nothing_is_asked_nothing() {
    for (capabilities, method, params, cause) in [
        (json!({}), "elicitation/create", form(), "server_asked_elicitation"),
        (
            json!({ "elicitation": { "url": {} } }),
            "elicitation/create",
            form(),
            "server_asked_elicitation",
        ),
        (
            json!({ "elicitation": {} }),
            "sampling/createMessage",
            sampling(),
            "server_asked_sampling",
        ),
        (json!({ "sampling": {} }), "roots/list", json!({}), "server_asked_roots"),
        // What could be read in two ways, or is another request than it says, is asked of nobody.
        (everything(), "elicitation/create", json!({ "message": "?" }), "server_asked_elicitation"),
        (everything(), "tools/call", json!({ "name": "echo" }), "server_asked_other"),
    ] {
        let world = check_refused(ANYTHING, capabilities, &[request("s1", method, &params)]).await;
        world.refusal(cause).await;
        assert_eq!(asked(&world, "permit").await, 0, "{method}");
    }
}

#[tokio::test]
async fn n_084_a_url_leads_to_a_host_that_is_named_for_the_server_or_nowhere() {
    let (up, world, bot) = asking(ANYTHING, vec!["login.example"]).await;
    let client = able(&world, &bot).await;
    for other in [
        "https://evil.example/",
        "https://login.example.evil.example/",
        "https://login.example@evil.example/",
        "https://evil.example#@login.example/",
        "https://login.example:444/",
        "http://login.example/",
        "https://login.example\\@evil.example/",
        "https://login.example./",
        "//login.example/",
        "javascript:alert(1)",
        "",
    ] {
        up.on("tools/call", Act::Asks(vec![request("s1", "elicitation/create", &url(other))]));
        let answer = client.call("echo", json!({})).await;
        assert!(answer.events.is_empty(), "{other}");
        assert_eq!(told(&answer.json())[0]["error"]["code"], -32_601, "{other}");
    }
    world.refusal("elicitation_host").await;
    assert_eq!(asked(&world, "permit").await, 0);

    let named = url("https://LOGIN.example:443/start?x=1");
    up.on("tools/call", Act::Asks(vec![request("s1", "elicitation/create", &named)]));
    let mut events = begin(&client, "echo").await;
    let asked = next(&mut events).await;
    assert_eq!(asked["params"], named);
    client.respond(&asked["id"], json!({ "action": "accept" })).await;
    assert_eq!(told(&next(&mut events).await)[0]["result"]["action"], "accept");
}

/// A server that may not ask can also demand, with an error, that a URL is opened first.
#[tokio::test]
async fn n_084_an_error_that_demands_a_url_is_told_only_if_it_may_be_asked() {
    let (up, world, bot) = asking(ANYTHING, vec!["login.example"]).await;
    let client = able(&world, &bot).await;
    let demands = |urls: &[&str]| {
        let all: Vec<_> = urls.iter().map(|text| url(text)).collect();
        json!({ "code": -32_042, "message": "log in first", "data": { "elicitations": all } })
    };
    for urls in [&[] as &[&str], &["https://login.example/", "https://evil.example/"]] {
        up.on("tools/call", Act::Error(demands(urls)));
        let answer = client.call("echo", json!({})).await;
        assert_eq!(answer.refused().as_deref(), Some("upstream_failed"), "{answer:?}");
        assert!(!answer.text.contains("example"), "{answer:?}");
    }
    let may = demands(&["https://login.example/"]);
    up.on("tools/call", Act::Error(may.clone()));
    assert_eq!(client.call("echo", json!({})).await.json()["error"], may);
    let silent = bot.connected(&world, "up", Era::Session).await;
    assert_eq!(silent.call("echo", json!({})).await.refused().as_deref(), Some("upstream_failed"));
}

#[tokio::test]
async fn n_048_an_answer_is_taken_from_the_client_that_was_asked_and_once() {
    let (up, world, bot) = asking(ANYTHING, vec![]).await;
    let client = able(&world, &bot).await;
    up.on("tools/call", Act::Asks(vec![request("s1", "roots/list", &json!({}))]));
    let mut events = begin(&client, "echo").await;
    let asked = next(&mut events).await;
    let given = json!({ "roots": [] });
    // Another instance, another session of the same instance, no session, another id: the server's.
    let other = able(&world, &bot).await;
    let mut second = client.again(Era::Session);
    second.initialize().await;
    let mut none = client.again(Era::Session);
    none.session = None;
    for impostor in [&other, &second, &none] {
        let answer = impostor.respond(&asked["id"], given.clone()).await;
        assert_eq!((answer.status, answer.error()), (400, Some(-32_600)));
    }
    assert_eq!(client.respond(&json!("s1"), given.clone()).await.status, 400);
    // What is no result is no answer.
    assert_eq!(client.respond(&asked["id"], json!([])).await.status, 400);
    assert_eq!(client.respond(&asked["id"], given.clone()).await.status, 202);
    assert_eq!(client.respond(&asked["id"], given.clone()).await.status, 400, "once");
    assert_eq!(told(&next(&mut events).await)[0]["result"], given);
    world.refusal("unasked_response").await;
}

#[tokio::test]
async fn a_client_that_refuses_is_heard() {
    let (up, world, bot) = asking(ANYTHING, vec![]).await;
    let client = able(&world, &bot).await;
    up.on("tools/call", Act::Asks(vec![request("s1", "sampling/createMessage", &sampling())]));
    let mut events = begin(&client, "echo").await;
    let asked = next(&mut events).await;
    let error = json!({ "code": -1, "message": "User rejected sampling request" });
    let body = json!({ "jsonrpc": "2.0", "id": asked["id"], "error": error });
    client.post_raw(&client.headers("POST"), body.to_string()).await;
    assert_eq!(told(&next(&mut events).await)[0]["error"], error);
    assert_eq!(world.outcome("server/request").await, "failed");
}

#[tokio::test]
async fn what_is_asked_ends_with_the_call() {
    let (up, world, bot) = asking(ANYTHING, vec![]).await;
    let client = able(&world, &bot).await;
    up.on("tools/call", Act::Asks(vec![request("s1", "roots/list", &json!({}))]));
    let mut events = begin(&client, "echo").await;
    let asked = next(&mut events).await;
    client.tell("notifications/cancelled", json!({ "requestId": "call-1" })).await;
    let withdrawn = next(&mut events).await;
    assert_eq!(withdrawn["method"], "notifications/cancelled");
    assert_eq!(withdrawn["params"]["requestId"], asked["id"]);
    assert_eq!(world.outcome("server/request").await, "cut");
    assert_eq!(client.respond(&asked["id"], json!({ "roots": [] })).await.status, 400);
}

#[tokio::test]
async fn what_a_server_withdraws_is_withdrawn_under_our_id() {
    let (up, world, bot) = asking(ANYTHING, vec![]).await;
    let client = able(&world, &bot).await;
    let withdraws = |id: &str| {
        let params = json!({ "requestId": id });
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params })
    };
    let result = r#"{"jsonrpc":"2.0","id":$id,"result":{"content":[]}}"#;
    // Two events in one: nothing is to come between them.
    let last = format!("{}\n\ndata: {result}", withdraws("s1"));
    up.on("tools/call", Act::HeldEvents(vec![request("s1", "roots/list", &json!({})), last]));
    let mut events = begin(&client, "echo").await;
    let asked = next(&mut events).await;
    up.release();
    assert_eq!(next(&mut events).await["params"], json!({ "requestId": asked["id"] }));
    assert_eq!(world.outcome("server/request").await, "cut");
    assert!(next(&mut events).await.get("result").is_some());
    let said = up.seen().iter().any(|seen| seen.json()["id"] == "s1");
    assert!(!said, "who withdraws gets no answer");
    // An id that it never asked under, which the client may know as its own, goes nowhere.
    up.on("tools/call", Act::Events(vec![withdraws("call-1").to_string(), result.to_owned()]));
    let answer = client.call("echo", json!({})).await;
    assert!(answer.events.is_empty(), "{answer:?}");
}

#[tokio::test]
async fn i_11_what_may_no_longer_be_asked_is_withdrawn() {
    let (up, world, bot) = asking(ANYTHING, vec![]).await;
    let client = able(&world, &bot).await;
    up.on("tools/call", Act::Asks(vec![request("s1", "roots/list", &json!({}))]));
    let mut events = begin(&client, "echo").await;
    let asked = next(&mut events).await;
    let files = [("starter.cedar", pdp::STARTER_POLICY), ("test.cedar", POLICY)];
    let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
    world.publisher.replace(BTreeMap::from(files)).await.expect("it compiles");
    assert_eq!(next(&mut events).await["params"], json!({ "requestId": asked["id"] }));
    assert_eq!(told(&next(&mut events).await)[0]["error"]["code"], -32_601);
    assert_eq!(world.outcome("server/request").await, "cut");
    assert_eq!(world.outcome("up/echo").await, "returned", "the call goes on");
}

#[tokio::test]
async fn i_18_a_server_asks_only_so_much_at_once() {
    let (up, world, bot) = asking(ANYTHING, vec![]).await;
    let client = able(&world, &bot).await;
    let asks = (0..9).map(|n| request(&format!("s{n}"), "roots/list", &json!({})));
    up.on("tools/call", Act::Asks(asks.collect()));
    let mut events = begin(&client, "echo").await;
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(next(&mut events).await["id"].clone());
    }
    world.refusal("server_asked_roots").await;
    for id in ids {
        client.respond(&id, json!({ "roots": [] })).await;
    }
    let told = told(&next(&mut events).await);
    let refused = told.iter().filter(|told| told.get("error").is_some()).count();
    assert_eq!((told.len(), refused), (9, 1));
}

/// What a server is told that it may ask is what its client declares and policy could permit.
#[tokio::test]
async fn a_server_is_told_of_what_it_could_be_permitted() {
    for (policy, hosts, declared) in [
        ("", vec![], json!({})),
        (FORMS, vec!["login.example"], json!({ "elicitation": { "form": {} } })),
        (ANYTHING, vec![], json!({ "sampling": {}, "elicitation": { "form": {} }, "roots": {} })),
        (ANYTHING, vec!["login.example"], everything()),
    ] {
        let (up, world, bot) = asking(policy, hosts).await;
        let _client = able(&world, &bot).await;
        let greetings = up.seen_of("initialize");
        let greeted = greetings.last().expect("it is greeted").json();
        assert_eq!(greeted["params"]["capabilities"], declared);
        let _silent = bot.connected(&world, "up", Era::Session).await;
        let greetings = up.seen_of("initialize");
        assert_eq!(greetings.last().unwrap().json()["params"]["capabilities"], json!({}));
    }
}

/// Some servers list a tool only to who can be asked what it needs: it is not gone for the others.
#[tokio::test]
async fn i_07_a_tool_that_needs_to_ask_is_not_gone_because_a_client_cannot_be_asked() {
    let (up, world, bot) = asking(ANYTHING, vec![]).await;
    up.list(vec![vec![crate::support::tool("echo")]]);
    let silent = bot.connected(&world, "up", Era::Session).await;
    silent.call("echo", json!({})).await.result();
    let records = world.records().await;
    assert!(!records.iter().any(|record| record["event"] == "tools_changed"));
    // Whoever can be asked everything is listed everything: what is missing there is gone.
    let able = json!({
        "sampling": { "tools": {} }, "elicitation": { "form": {} }, "roots": {}
    });
    let client = bot.declaring(&world, ("up", Era::Session), able).await;
    client.call("echo", json!({})).await.result();
    let gone = world.record("it is gone", |record| record["event"] == "tools_changed").await;
    assert_eq!(gone["details"], json!({ "up/pay": "gone" }));
}

/// A client that reads none of its streams is asked only so much: of what is lost the server hears at
/// once, and its call goes on.
#[tokio::test]
async fn who_asks_what_makes_room_for_others_is_told_at_once() {
    let (up, world, bot) = asking(ANYTHING, vec![]).await;
    let client = able(&world, &bot).await;
    let large =
        json!({ "message": "x".repeat(255 << 10), "requestedSchema": { "type": "object" } });
    let mut calls = Vec::new();
    // 96 of them: one subject has room for 64.
    for call in 0..12 {
        let asks = (0..8).map(|n| request(&format!("s{call}-{n}"), "elicitation/create", &large));
        up.on("tools/call", Act::Asks(asks.collect()));
        let params = json!({ "name": "echo" });
        let (headers, body) =
            client.request_with_id(&json!(format!("call-{call}")), "tools/call", params);
        let reply = client.reply(&world.gateway, &headers, body).await;
        let ReplyBody::Events(events) = reply.body else { panic!("no stream: {reply:?}") };
        calls.push(events);
    }
    let is_of_first = |said: &Value| said["id"].as_str().is_some_and(|id| id.starts_with("s0-"));
    until("the server is told of all", || async {
        let told = up.seen().iter().filter(|seen| is_of_first(&seen.json())).count();
        (told == 8).then_some(())
    })
    .await;
    let first = &mut calls[0];
    let answer = loop {
        let said = next(first).await;
        if said.get("result").is_some() {
            break said;
        }
        assert_eq!(said["method"], "notifications/cancelled", "all was lost: {said}");
    };
    assert!(told(&answer).iter().all(|told| told["error"]["code"] == -32_601), "{answer}");
    assert_eq!(next(&mut calls[11]).await["params"], large, "the latest is there");
}
