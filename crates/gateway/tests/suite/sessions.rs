//! MCP sessions: bound to caller and route, never authority, never a way for answers to cross.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use mcp::Era;
use serde_json::json;

use crate::support::{Act, Client, Setup, Upstream, World, set, until};
use crate::{
    ERAS, POLICY, before, has_room_again, is_one_too_many, is_shared_by_instances, upstream, with,
};

#[tokio::test]
async fn n_041_a_session_is_of_its_caller_and_its_route() {
    let (up, side) = (upstream(Era::Session).await, upstream(Era::Session).await);
    let policy = format!(
        "{POLICY} @id(\"side\") permit (principal, action in Action::\"tools/call\", \
         resource in Server::\"side\");"
    );
    let routes = vec![("up", up.target()), ("side", side.target())];
    let world = World::new(Setup { policy, routes, ..Setup::default() }).await;
    world.onboard("up", &["*=reads-data"]).await;
    world.onboard("side", &["*=reads-data"]).await;
    let bot = world.agent("bot", &["up/*", "side/*"]).await;
    let owner = bot.connected(&world, "up", Era::Session).await;
    let session = owner.session.clone();

    // Another instance of the same agent, the same agent's client of another route.
    for server in ["up", "side"] {
        let mut thief = bot.client(&world, server, Era::Session).await;
        thief.session.clone_from(&session);
        let answer = thief.call("echo", json!({})).await;
        assert_eq!(answer.status, 404, "{server}: {answer:?}");
        let absent = {
            thief.session = Some("0123456789abcdef0123456789abcdef".to_owned());
            thief.call("echo", json!({})).await
        };
        assert_eq!(answer.text, absent.text, "not yours and not there are the same answer");
        thief.session.clone_from(&session);
        let ended = thief.delete().await.expect("a session era");
        assert_eq!(ended.status, 404, "{server}: nobody else ends it");
    }
    world.refusal("no_mcp_session").await;
    assert_eq!(owner.call("echo", json!({})).await.refused(), None);
    assert_eq!(owner.delete().await.expect("a session era").status, 204);
    assert_eq!(owner.call("echo", json!({})).await.status, 404);
    assert_eq!(up.seen_of("tools/call").len() + side.seen_of("tools/call").len(), 1);
}

#[tokio::test]
async fn n_042_no_request_chooses_the_laxer_rules_by_saying_two_things() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let client = bot.connected(&world, "up", Era::Session).await;
    let call = json!({ "name": "echo", "arguments": {} });

    // A session, and a body of the stateless era without its headers.
    let (headers, _) = client.request("tools/call", call.clone());
    let body = client.again(Era::Stateless).body(&json!(1), "tools/call", call.clone());
    let answer = client.post_raw(&headers, body.to_string()).await;
    assert_eq!((answer.status, answer.error()), (400, Some(-32_020)));

    // A session, and a header of the stateless era that says another tool than the body.
    let (mut headers, body) = client.request("tools/call", call.clone());
    set(&mut headers, "mcp-method", "tools/list");
    let answer = client.post_raw(&headers, body).await;
    assert_eq!(answer.status, 400, "{answer:?}");

    // The stateless era's version, and a greeting of the session era.
    let other = bot.client(&world, "up", Era::Stateless).await;
    let greeting = json!({ "protocolVersion": "2025-11-25", "capabilities": {} });
    let answer = other.ask("initialize", greeting).await;
    assert_eq!((answer.status, answer.error()), (404, Some(-32_601)));
    assert_eq!(answer.header("mcp-session-id"), None);

    // The session header means nothing in the stateless era.
    let (mut headers, body) = other.request("tools/call", call.clone());
    set(&mut headers, "mcp-session-id", client.session.as_deref().unwrap());
    assert_eq!(other.post_raw(&headers, body).await.refused(), None);

    // A discovery without the stateless era's marks is no method of the session era.
    let answer = client.ask("server/discover", json!({})).await;
    assert_eq!((answer.status, answer.error()), (200, Some(-32_601)));
    world.refusal("wrong_era").await;
}

/// N-046: many clients, every id the same, interleaved; each gets what is its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n_046_equal_ids_never_cross_clients() {
    for era in ERAS {
        let up = upstream(Era::Session).await;
        let (world, bot) = before(&up, "").await;
        let clients = join_all((0..24).map(|_| bot.connected(&world, "up", era))).await;
        let calls = clients.iter().enumerate().flat_map(|(who, client)| {
            (0..8).map(move |round| async move {
                let arguments = json!({ "who": who, "round": round });
                let params = json!({ "name": "echo", "arguments": arguments });
                let (headers, body) = client.request_with_id(&json!(1), "tools/call", params);
                (arguments, client.post_raw(&headers, body).await)
            })
        });
        for (arguments, answer) in join_all(calls).await {
            assert_eq!(answer.json()["id"], 1);
            let text = answer.result()["content"][0]["text"].as_str().expect("text").to_owned();
            let echoed: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(echoed, arguments);
        }
        let ids: BTreeSet<_> = up
            .seen_of("tools/call")
            .iter()
            .map(|seen| {
                let session = seen.header("mcp-session-id").unwrap_or("none").to_owned();
                (session, seen.json()["id"].to_string())
            })
            .collect();
        assert_eq!(ids.len(), 24 * 8, "no id is used twice in one conversation");
    }
}

#[tokio::test]
async fn n_046_an_id_comes_back_as_it_was_written_or_is_refused() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let client = bot.connected(&world, "up", Era::Session).await;
    let long = format!("\"{}\"", "x".repeat(254));
    for id in ["0", "-7", "9007199254740991", r#""a\u0062""#, r#""""#, long.as_str()] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        let answer = client.post_raw(&client.headers("POST"), text).await;
        assert!(answer.text.contains(&format!("\"id\":{id},")), "{id}: {answer:?}");
    }
    let longer = format!("\"{}\"", "x".repeat(255));
    for id in ["null", "1.5", "1e3", "1e400", "9007199254740993", "{}", "[1]", "true", &longer] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        let answer = client.post_raw(&client.headers("POST"), text).await;
        // What has no exact value is no JSON here; what is no id is no message.
        assert!(matches!(answer.error(), Some(-32_600 | -32_700)), "{id}: {answer:?}");
        assert_eq!(answer.json()["id"], json!(null), "{id}");
    }
}

/// One agent has its own share of the conversations, and takes nobody else's.
#[tokio::test]
async fn n_116_conversations_of_one_agent_are_limited_in_number() {
    let up = upstream(Era::Session).await;
    let mut setup =
        Setup { policy: POLICY.to_owned(), routes: vec![("up", up.target())], ..Setup::default() };
    setup.limits.links.of_agent = 2;
    let (world, bot) = with(setup).await;
    let first = bot.connected(&world, "up", Era::Session).await;
    let _second = bot.connected(&world, "up", Era::Session).await;
    let third = bot.client(&world, "up", Era::Session).await;
    is_one_too_many(&world, &third).await;
    let other = world.agent("other", &["up/echo"]).await;
    other.connected(&world, "up", Era::Session).await;
    assert_eq!(first.delete().await.expect("a session era").status, 204);
    has_room_again(&third).await;
}

#[tokio::test]
async fn n_116_conversations_of_one_instance_are_a_part_of_its_agents() {
    let up = upstream(Era::Session).await;
    let mut setup =
        Setup { policy: POLICY.to_owned(), routes: vec![("up", up.target())], ..Setup::default() };
    setup.limits.links.of_agent = 8;
    let (world, bot) = with(setup).await;
    is_shared_by_instances(&world, &bot).await;
}

/// Nor does one instance take the requests under way.
#[tokio::test]
async fn n_116_requests_of_one_instance_are_a_part_of_its_agents() {
    let up = upstream(Era::Session).await;
    let mut setup =
        Setup { policy: POLICY.to_owned(), routes: vec![("up", up.target())], ..Setup::default() };
    setup.limits.requests_per_agent = 8;
    let (world, bot) = with(setup).await;
    let one = bot.connected(&world, "up", Era::Session).await;
    let other = bot.connected(&world, "up", Era::Session).await;
    one_has_its_part(&up, (&one, &one, &other)).await;
}

/// Nor does one person, by however many instances.
#[tokio::test]
async fn n_116_requests_of_one_person_are_a_part_of_the_agents() {
    let up = upstream(Era::Session).await;
    let mut setup =
        Setup { policy: POLICY.to_owned(), routes: vec![("up", up.target())], ..Setup::default() };
    setup.limits.requests_per_agent = 8;
    let (world, bot) = with(setup).await;
    let of = async |person: &str| {
        let mut client = bot.connected(&world, "up", Era::Session).await;
        client.token = world.for_person(&client.token, "up", person);
        client
    };
    let (one, same, other) = (of("ann").await, of("ann").await, of("bob").await);
    one_has_its_part(&up, (&one, &same, &other)).await;
}

/// That `one` and whoever is the `same` have two requests under way together, and `other` has more.
async fn one_has_its_part(
    up: &Upstream,
    (one, same, other): (&Client<'_>, &Client<'_>, &Client<'_>),
) {
    let world = one.world;
    up.on("tools/call", Act::Silent);
    let under_way = join_all((0..2).map(|_| one.call("echo", json!({}))));
    let arrived = until("they are under way", || async {
        (up.seen_of("tools/call").len() == 2).then_some(())
    });
    let meanwhile = async {
        arrived.await;
        assert_eq!(same.ask("ping", json!({})).await.status, 503);
        world.refusal("too_many").await;
        assert_eq!(other.ask("ping", json!({})).await.status, 200);
    };
    tokio::select! {
        answers = under_way => panic!("answered: {answers:?}"),
        () = meanwhile => {}
    }
    until("those have ended", || async {
        (same.ask("ping", json!({})).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn n_110_mcp_sessions_are_limited_in_number() {
    let up = upstream(Era::Session).await;
    let mut setup =
        Setup { policy: POLICY.to_owned(), routes: vec![("up", up.target())], ..Setup::default() };
    setup.limits.links.conversations = 3;
    let (world, bot) = with(setup).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(bot.connected(&world, "up", Era::Session).await);
    }
    let before = up.seen_of("initialize").len();
    let one_more = bot.client(&world, "up", Era::Session).await;
    is_one_too_many(&world, &one_more).await;
    assert_eq!(up.seen_of("initialize").len(), before, "the server is not asked");
    assert_eq!(open[0].call("echo", json!({})).await.refused(), None, "those open stay open");
    assert_eq!(open[1].delete().await.expect("a session era").status, 204);
    has_room_again(&one_more).await;
}

/// What is open in either era counts among the same, and none of it ends for somebody else's sake.
#[tokio::test]
async fn a_conversation_too_many_is_refused_and_ends_no_other() {
    let up = upstream(Era::Session).await;
    let mut setup =
        Setup { policy: POLICY.to_owned(), routes: vec![("up", up.target())], ..Setup::default() };
    setup.limits.links.conversations = 3;
    let (world, bot) = with(setup).await;
    let mut open = vec![bot.connected(&world, "up", Era::Session).await];
    for _ in 0..2 {
        open.push(bot.client(&world, "up", Era::Stateless).await);
    }
    for client in &open {
        assert_eq!(client.call("echo", json!({})).await.refused(), None);
    }
    let greeted = up.seen_of("initialize").len();
    let stateless = bot.client(&world, "up", Era::Stateless).await;
    for _ in 0..8 {
        assert_eq!(stateless.call("echo", json!({})).await.status, 503);
    }
    is_one_too_many(&world, &bot.client(&world, "up", Era::Session).await).await;
    for client in &open {
        assert_eq!(client.call("echo", json!({})).await.refused(), None);
    }
    assert_eq!(up.seen_of("initialize").len(), greeted, "each goes on where it was");
    assert_eq!(open[0].delete().await.expect("a session era").status, 204);
    until("there is room again", || async {
        (stateless.call("echo", json!({})).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_idle_session_ends_and_its_server_is_told() {
    let up = upstream(Era::Session).await;
    let mut setup =
        Setup { policy: POLICY.to_owned(), routes: vec![("up", up.target())], ..Setup::default() };
    setup.limits.links.idle = Duration::from_secs(5);
    let (world, bot) = with(setup).await;
    let client = bot.connected(&world, "up", Era::Session).await;
    // Onboarding ended its own conversation: this one is the second.
    until("the server is told", || async {
        let ended = up.seen().iter().filter(|seen| seen.head.starts_with("DELETE")).count();
        (ended >= 2).then_some(())
    })
    .await;
    assert_eq!(client.call("echo", json!({})).await.status, 404);
}

/// The server forgot its session: the call failed, and the client is told to begin again.
#[tokio::test]
async fn a_session_that_its_server_lost_ends_for_the_client_too() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let mut client = bot.connected(&world, "up", Era::Session).await;
    up.on("tools/call", Act::Http(404, "content-type: text/plain\r\n", "no session".to_owned()));
    let answer = client.call("echo", json!({})).await;
    assert_eq!(answer.refused().as_deref(), Some("upstream_failed"));
    assert_eq!(world.outcome("up/echo").await, "failed");
    assert_eq!(client.call("echo", json!({})).await.status, 404);
    up.on("tools/call", Act::Result(json!({ "content": [] })));
    client.initialize().await;
    assert_eq!(client.call("echo", json!({})).await.refused(), None);
}

/// A session handle is no authority: what it was opened under does not matter to the next call.
#[tokio::test]
async fn n_041_each_call_is_decided_on_the_policy_of_that_moment() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let client = bot.connected(&world, "up", Era::Session).await;
    assert_eq!(client.call("echo", json!({})).await.refused(), None);
    let closed = r#"@id("closed") forbid (principal, action in Action::"tools/call", resource);"#;
    let files = [
        ("starter.cedar".to_owned(), pdp::STARTER_POLICY.to_owned()),
        ("test.cedar".to_owned(), format!("{POLICY} {closed}")),
    ];
    world.publisher.replace(BTreeMap::from(files)).await.expect("it compiles");
    assert_eq!(client.call("echo", json!({})).await.refused().as_deref(), Some("unknown_tool"));
    assert_eq!(up.seen_of("tools/call").len(), 1);
}
