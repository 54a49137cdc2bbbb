//! Calls under way: what flows, and what ends them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use gateway::{Events, ReplyBody, Room, Whose};
use mcp::Era;
use pap::Command;
use serde_json::{Value, json};
use testkit::{Call, Fault};

use crate::support::{Act, Client, Setup, until};
use crate::{ERAS, POLICY, before, upstream, with};

/// Progress, told twice, and then an answer that waits to be released.
pub(crate) fn held() -> Act {
    let progress = |n: u32| {
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":"t","progress":{n}}}}}"#
        )
    };
    let result = r#"{"jsonrpc":"2.0","id":$id,"result":{"content":[]}}"#;
    Act::HeldEvents(vec![progress(1), progress(2), result.to_owned()])
}

/// Begins a call that is answered as a stream, and reads what has come so far.
pub(crate) async fn begin(client: &Client<'_>, tool: &str) -> (Events, Vec<Value>) {
    let params = json!({ "name": tool, "arguments": {}, "_meta": { "progressToken": "t" } });
    let (headers, body) = client.request_with_id(&json!("call-1"), "tools/call", params);
    let reply = client.reply(&client.world.gateway, &headers, body).await;
    let ReplyBody::Events(mut events) = reply.body else { panic!("no stream: {reply:?}") };
    let mut told = Vec::new();
    for _ in 0..2 {
        let event = events.recv().await.expect("progress");
        told.push(serde_json::from_slice(&event.message).expect("JSON"));
    }
    (events, told)
}

#[tokio::test]
async fn progress_flows_to_the_client_that_asked_and_the_answer_comes_last() {
    for era in ERAS {
        for server in ERAS {
            let up = upstream(server).await;
            let (world, bot) = before(&up, "").await;
            let client = bot.connected(&world, "up", era).await;
            up.on("tools/call", held());
            let (mut events, told) = begin(&client, "echo").await;
            assert_eq!(told[1]["params"], json!({ "progressToken": "t", "progress": 2 }));
            up.release();
            let last = events.recv().await.expect("an answer");
            let last: Value = serde_json::from_slice(&last.message).expect("JSON");
            assert_eq!(last["id"], "call-1");
            assert!(last.get("result").is_some());
            assert!(events.recv().await.is_none(), "nothing after the answer");
            assert_eq!(world.outcome("up/echo").await, "returned");
        }
    }
}

/// What a call keeps of its body has room until the call has ended, also after it began to be answered.
#[tokio::test]
async fn a_body_keeps_its_room_as_long_as_its_call() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let client = bot.connected(&world, "up", Era::Session).await;
    up.on("tools/call", held());
    // Of which one has a quarter: as much as any body takes.
    let bodies = Room::new(4 * 4_096);
    let keep = || {
        let whose = Arc::from([Whose::Address(IpAddr::from([192, 0, 2, 1]))]);
        bodies.keep(whose, BytesMut::zeroed(1)).ok()
    };
    let kept = keep().expect("room");
    assert!(kept.whole().is_some(), "it has arrived");
    let (headers, body) = client.request("tools/call", json!({ "name": "echo" }));
    let reply = client.reply_in(&world.gateway, (&headers, body), Some(kept)).await;
    let ReplyBody::Events(mut events) = reply.body else { panic!("no stream: {reply:?}") };
    assert!(keep().is_none(), "the call is under way");
    up.release();
    while events.recv().await.is_some() {}
    until("there is room again", || async { keep() }).await;
}

/// What is read of a body may take many times what the body does, and has its room, too.
#[tokio::test]
async fn a_body_has_room_for_all_of_its_structure() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let client = bot.connected(&world, "up", Era::Session).await;
    let check = async |extra: Value, status: u16| {
        let (headers, body) =
            client.request("tools/call", json!({ "name": "echo", "_meta": { "extra": extra } }));
        // Of which one has a quarter.
        let whose = Arc::from([Whose::Address(IpAddr::from([192, 0, 2, 1]))]);
        let kept = Room::new(4 * 16_384).keep(whose, BytesMut::from(body.as_ref())).expect("room");
        assert!(kept.whole().is_some(), "it has arrived");
        assert_eq!(
            client.reply_in(&world.gateway, (&headers, body), Some(kept)).await.status,
            status
        );
    };
    let structure = || vec![json!({ "": 0 }); 64];
    check(json!(json!(structure()).to_string()), 200).await;
    check(json!(structure()), 503).await;
}

#[tokio::test]
async fn a_client_that_cancels_cuts_its_call() {
    for era in ERAS {
        let up = upstream(Era::Session).await;
        let (world, bot) = before(&up, "").await;
        let client = bot.connected(&world, "up", era).await;
        up.on("tools/call", held());
        let (mut events, _) = begin(&client, "pay").await;
        // Somebody else with the same id cancels nothing.
        let other = bot.connected(&world, "up", era).await;
        let cancel = json!({ "requestId": "call-1", "reason": "changed my mind" });
        assert_eq!(other.tell("notifications/cancelled", cancel.clone()).await.status, 202);
        assert_eq!(up.hung_up(), 0);
        assert_eq!(client.tell("notifications/cancelled", cancel).await.status, 202);
        assert_eq!(world.outcome("up/pay").await, "cut");
        until("the server's connection is closed", || async { (up.hung_up() == 1).then_some(()) })
            .await;
        let told = until("the server is told", || async {
            up.seen_of("notifications/cancelled").into_iter().next()
        });
        let asked = up.seen_of("tools/call")[0].json()["id"].clone();
        assert_eq!(told.await.json()["params"]["requestId"], asked);
        let last = events.recv().await.expect("the stream ends with an answer");
        let last: Value = serde_json::from_slice(&last.message).expect("JSON");
        assert_eq!(last["result"]["structuredContent"]["code"], "outcome_unknown");
        assert!(events.recv().await.is_none());
    }
}

#[tokio::test]
async fn a_client_that_goes_away_cuts_its_call() {
    for era in ERAS {
        let up = upstream(era).await;
        let (world, bot) = before(&up, "").await;
        let client = bot.connected(&world, "up", era).await;
        // Before anything was said.
        up.on("tools/call", Act::Silent);
        let (headers, body) = client.request("tools/call", json!({ "name": "echo" }));
        {
            let waiting = client.reply(&world.gateway, &headers, body);
            let arrived = until("the call arrives", || async {
                (!up.seen_of("tools/call").is_empty()).then_some(())
            });
            tokio::select! {
                reply = waiting => panic!("answered: {reply:?}"),
                () = arrived => {}
            }
        }
        assert_eq!(world.outcome("up/echo").await, "cut");
        // In the middle of a stream.
        up.on("tools/call", held());
        let (events, _) = begin(&client, "pay").await;
        drop(events);
        assert_eq!(world.outcome("up/pay").await, "cut");
        until("both connections are closed", || async { (up.hung_up() == 2).then_some(()) }).await;
    }
}

#[tokio::test]
async fn an_answer_after_the_time_limit_is_unknown() {
    let within = Duration::from_secs(4);
    for streams in [false, true] {
        let up = upstream(Era::Session).await;
        let routes = vec![("up", up.target())];
        let mut setup = Setup { policy: POLICY.to_owned(), routes, ..Setup::default() };
        setup.limits.call = within;
        let (world, bot) = with(setup).await;
        let client = bot.connected(&world, "up", Era::Session).await;
        client.tools().await;
        up.on("tools/call", if streams { held() } else { Act::Silent });
        let started = Instant::now();
        let answer = client.call("pay", json!({ "amount": 1 })).await;
        assert!(started.elapsed() < within * 2, "{:?}", started.elapsed());
        assert_eq!(answer.refused().as_deref(), Some("outcome_unknown"), "{answer:?}");
        assert_eq!(answer.events.len(), if streams { 3 } else { 0 });
        assert_eq!(world.outcome("up/pay").await, "unknown");
        up.release();
        // Nobody does it again until somebody settled it.
        until("the mark is seen", || async {
            let again = client.call("pay", json!({ "amount": 1 })).await;
            (again.json()["result"]["structuredContent"]["code"] == "outcome_unknown"
                && world.decisions("up/pay", "deny").await > 0)
                .then_some(())
        })
        .await;
        assert_eq!(up.seen_of("tools/call").len(), 1);
    }
}

/// I-11, R-36: who leaves takes what is under way along, whether it streams or not.
#[tokio::test]
async fn n_049_what_is_no_longer_permitted_is_cut_while_it_runs() {
    for era in ERAS {
        for act in [held(), Act::Silent] {
            let up = upstream(era).await;
            let (world, bot) = before(&up, "").await;
            let client = bot.connected(&world, "up", era).await;
            up.on("tools/call", act);
            let call = client.call("pay", json!({ "amount": 1 }));
            let leaves = async {
                until("the call arrives", || async {
                    (up.seen_of("tools/call").len() == 1).then_some(())
                })
                .await;
                world.run(Command::PersonDeactivate { id: "sam".to_owned() }).await;
            };
            let (answer, ()) = tokio::join!(call, leaves);
            assert_eq!(answer.refused().as_deref(), Some("outcome_unknown"), "{answer:?}");
            assert_eq!(world.outcome("up/pay").await, "cut");
            until("the server's connection is closed", || async {
                (up.hung_up() == 1).then_some(())
            })
            .await;
        }
    }
}

/// N-084, N-049: what servers ask of clients is refused towards the server, and recorded.
#[tokio::test]
async fn n_084_what_a_server_asks_of_its_client_is_refused_and_recorded() {
    for (method, cause) in [
        ("sampling/createMessage", "server_asked_sampling"),
        ("elicitation/create", "server_asked_elicitation"),
        ("roots/list", "server_asked_roots"),
        ("tools/call", "server_asked_other"),
    ] {
        for era in ERAS {
            let up = upstream(Era::Session).await;
            let (world, bot) = before(&up, "").await;
            let client = bot.connected(&world, "up", era).await;
            let asks =
                format!(r#"{{"jsonrpc":"2.0","id":"s1","method":"{method}","params":{{}}}}"#);
            let pings = r#"{"jsonrpc":"2.0","id":"s2","method":"ping"}"#.to_owned();
            let result = r#"{"jsonrpc":"2.0","id":$id,"result":{"content":[]}}"#.to_owned();
            up.on("tools/call", Act::Events(vec![asks, pings, result]));
            let answer = client.call("echo", json!({})).await;
            assert_eq!(answer.refused(), None);
            assert!(answer.events.is_empty(), "nothing of it is delivered: {answer:?}");
            let said: Vec<Value> = up.seen().iter().map(crate::support::Seen::json).collect();
            let to = |id: &str| said.iter().find(|message| message["id"] == id).cloned();
            assert_eq!(to("s1").expect("an answer")["error"]["code"], -32_601);
            assert_eq!(to("s2").expect("an answer")["result"], json!({}));
            let told = world.refusal(cause).await;
            assert_eq!(told["agent"], "bot");
            let decided = world.record("a decision", |it| it["kind"] == "decision").await;
            assert_eq!(told["mandate"].as_str(), decided["mandate"].as_str());
            assert!(told["mandate"].is_string(), "{told}");
        }
    }
}

/// N-083: a result that asks for input, or that has only begun, is no answer.
#[tokio::test]
async fn n_083_a_result_that_asks_for_input_is_refused() {
    for era in ERAS {
        let up = upstream(Era::Stateless).await;
        let (world, bot) = before(&up, "").await;
        let client = bot.connected(&world, "up", era).await;
        for result in [
            json!({ "resultType": "input_required", "inputRequests": { "a": {} } }),
            json!({ "resultType": "task", "task": { "taskId": "1" } }),
            json!({ "resultType": "complete", "inputRequests": {} }),
            json!({ "content": [], "resultType": "input_required", "requestState": "s" }),
        ] {
            up.on("tools/call", Act::Result(result.clone()));
            let answer = client.call("echo", json!({})).await;
            assert_eq!(answer.refused().as_deref(), Some("upstream_failed"), "{result}");
            assert!(!answer.text.contains("inputRequests"));
            assert_eq!(world.outcome("up/echo").await, "failed");
        }
        world.refusal("input_required").await;
    }
}

/// A request is under way until its answer is taken, and not only until there is one.
#[tokio::test]
async fn a_request_counts_until_its_answer_is_taken() {
    for streams in [false, true] {
        let up = upstream(Era::Session).await;
        let routes = vec![("up", up.target())];
        let mut setup = Setup { policy: POLICY.to_owned(), routes, ..Setup::default() };
        // One of each instance.
        setup.limits.requests_per_agent = 4;
        let (world, bot) = with(setup).await;
        let client = bot.connected(&world, "up", Era::Session).await;
        if streams {
            up.on("tools/call", held());
            up.release();
        }
        let (headers, body) = client.request("tools/call", json!({ "name": "echo" }));
        let reply = client.reply(&world.gateway, &headers, body).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(world.outcome("up/echo").await, "returned");
        assert_eq!(client.ask("ping", json!({})).await.status, 503, "{streams}");
        drop(reply);
        assert_eq!(client.ask("ping", json!({})).await.status, 200, "{streams}");
    }
}

/// Nobody can tell which tokens of a key are forged that was in other hands: what was begun by any is cut. By a key that is
/// exchanged nothing is.
#[tokio::test]
async fn r_36_what_was_begun_by_tokens_of_a_compromised_key_is_cut() {
    for act in [held(), Act::Silent] {
        let up = upstream(Era::Session).await;
        let (world, bot) = before(&up, "").await;
        let client = bot.connected(&world, "up", Era::Session).await;
        up.on("tools/call", act);
        let call = client.call("pay", json!({ "amount": 1 }));
        let rotates = async {
            until("the call arrives", || async {
                (up.seen_of("tools/call").len() == 1).then_some(())
            })
            .await;
            for compromised in [false, true] {
                assert_eq!(up.hung_up(), 0, "{compromised}");
                world.run(Command::KeysRotate { reason: "due".to_owned(), compromised }).await;
            }
        };
        let (answer, ()) = tokio::join!(call, rotates);
        assert_eq!(answer.refused().as_deref(), Some("outcome_unknown"), "{answer:?}");
        assert_eq!(world.outcome("up/pay").await, "cut");
        until("the server's connection is closed", || async { (up.hung_up() == 1).then_some(()) })
            .await;
    }
}

/// What a token of such a key was permitted before is not begun after it, whoever would have done it.
#[tokio::test]
async fn r_36_what_a_token_of_a_compromised_key_was_permitted_is_not_begun() {
    let pays = json!({ "name": "pay", "arguments": { "amount": 1 } });
    for (method, params, action) in
        [("tools/call", pays, "up/pay"), ("tools/list", json!({}), "tools/list")]
    {
        let up = upstream(Era::Session).await;
        let (world, bot) = before(&up, "").await;
        let client = bot.connected(&world, "up", Era::Session).await;
        world.authority.drained().await;
        world.store.once(Call::Commit, Fault::Hang);
        let rotates = async {
            world.store.hanging(Call::Commit, 1).await;
            let reason = "a backup was lost".to_owned();
            world.run(Command::KeysRotate { reason, compromised: true }).await;
            world.store.heal();
        };
        let (answer, ()) = tokio::join!(client.ask(method, params), rotates);
        assert_eq!(answer.status, 401, "{answer:?}");
        assert_eq!(world.outcome(action).await, "not_started");
        assert!(up.seen_of("tools/call").is_empty(), "{method}");
    }
}
