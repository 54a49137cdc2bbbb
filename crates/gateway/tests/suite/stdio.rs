//! Servers in processes of our own: one for each conversation, and nothing of them left behind.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures::future::join_all;
use gateway::{Room, Whose};
use mcp::Era;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::asks::{begin, everything, next};
use crate::support::{Client, Process, Setup, World, until};
use crate::{ERAS, POLICY, has_room_again, is_one_too_many, is_shared_by_instances};

pub(crate) async fn before(
    process: &Process,
    change: impl FnOnce(&mut Setup),
) -> (World, crate::support::Agent) {
    let routes = vec![("up", process.target())];
    let mut setup = Setup { policy: POLICY.to_owned(), routes, ..Setup::default() };
    change(&mut setup);
    let world = World::new(setup).await;
    world.onboard("up", &["*=reads-data"]).await;
    let bot = world.agent("bot", &["up/*"]).await;
    (world, bot)
}

pub(crate) async fn text(client: &Client<'_>, tool: &str, arguments: Value) -> String {
    let answer = client.call(tool, arguments).await;
    let result = answer.result();
    result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

pub(crate) async fn runs(process: &Process, how_many: usize) {
    let what = format!("{how_many} processes run");
    until(&what, || async { (process.running().len() == how_many).then_some(()) }).await;
}

/// Has the process that runs do nothing until it goes on.
fn pause(process: &Process) -> Pid {
    let busy = Pid::from_raw(process.running()[0]);
    kill(busy, Signal::SIGSTOP).expect("it is ours");
    busy
}

fn goes_on(busy: Pid) {
    kill(busy, Signal::SIGCONT).expect("it is ours");
}

#[tokio::test]
async fn each_conversation_has_a_process_of_its_own_that_ends_with_it() {
    let process = Process::new("session");
    let (world, bot) = before(&process, |_| ()).await;
    runs(&process, 0).await;
    let first = bot.connected(&world, "up", Era::Session).await;
    let second = bot.connected(&world, "up", Era::Session).await;
    assert_eq!(text(&first, "echo", json!({ "a": 1 })).await, r#"{"a": 1}"#);
    assert_eq!(text(&second, "echo", json!({ "a": 2 })).await, r#"{"a": 2}"#);
    runs(&process, 2).await;
    assert_eq!(first.delete().await.expect("a session era").status, 204);
    runs(&process, 1).await;
    // The stateless era has one for each instance, however often it calls.
    let stateless = bot.client(&world, "up", Era::Stateless).await;
    for n in 0..3 {
        text(&stateless, "echo", json!({ "n": n })).await;
    }
    runs(&process, 2).await;
    world.gateway.close();
    runs(&process, 0).await;
}

#[tokio::test]
async fn an_idle_process_ends() {
    let process = Process::new("stateless");
    let (world, bot) =
        before(&process, |setup| setup.limits.links.idle = Duration::from_secs(5)).await;
    for era in ERAS {
        let client = bot.connected(&world, "up", era).await;
        text(&client, "echo", json!({})).await;
        runs(&process, 0).await;
    }
}

/// One agent has its own share of the processes, and takes nobody else's.
#[tokio::test]
async fn n_116_processes_of_one_agent_are_limited_in_number() {
    let process = Process::new("session");
    let (world, bot) = before(&process, |setup| setup.limits.links.processes_of_agent = 1).await;
    runs(&process, 0).await;
    let _first = bot.connected(&world, "up", Era::Session).await;
    let second = bot.client(&world, "up", Era::Session).await;
    is_one_too_many(&world, &second).await;
    let other = world.agent("other", &["up/echo"]).await;
    let _third = other.connected(&world, "up", Era::Session).await;
    runs(&process, 2).await;
}

#[tokio::test]
async fn n_116_processes_of_one_instance_are_a_part_of_its_agents() {
    let process = Process::new("session");
    let (world, bot) = before(&process, |setup| setup.limits.links.processes_of_agent = 8).await;
    is_shared_by_instances(&world, &bot).await;
    runs(&process, 4).await;
}

#[tokio::test]
async fn n_110_processes_are_limited_in_number() {
    let process = Process::new("session");
    let (world, bot) = before(&process, |setup| setup.limits.links.processes = 2).await;
    runs(&process, 0).await;
    let first = bot.connected(&world, "up", Era::Session).await;
    let _second = bot.connected(&world, "up", Era::Session).await;
    let third = bot.client(&world, "up", Era::Session).await;
    is_one_too_many(&world, &third).await;
    first.delete().await;
    runs(&process, 1).await;
    has_room_again(&third).await;
}

#[tokio::test]
async fn a_process_sees_only_what_it_is_to_see() {
    let process = Process::new("session");
    let (world, bot) = before(&process, |_| ()).await;
    let client = bot.connected(&world, "up", Era::Session).await;
    let seen: Value =
        serde_json::from_str(&text(&client, "environment", json!({})).await).expect("JSON");
    let mut names: Vec<_> = seen.as_object().expect("an object").keys().cloned().collect();
    // What the interpreter sets for itself.
    names.retain(|name| name != "LC_CTYPE" && !name.contains("PYENV") && name != "_");
    names.retain(|name| !["PWD", "SHLVL", "OLDPWD"].contains(&name.as_str()));
    names.sort();
    assert_eq!(names, ["CONFIGURED", "LANG", "PATH"]);
    let bytes = String::from_utf8(process.bytes()).expect("text");
    assert!(!bytes.contains(&client.token), "I-13");
}

#[tokio::test]
async fn a_crash_is_unknown_and_the_next_conversation_begins_anew() {
    for era in ERAS {
        let process = Process::new("session");
        let (world, bot) = before(&process, |_| ()).await;
        let mut client = bot.connected(&world, "up", era).await;
        let answer = client.call("crash", json!({})).await;
        assert_eq!(answer.refused().as_deref(), Some("outcome_unknown"), "{answer:?}");
        assert_eq!(world.outcome("up/crash").await, "unknown");
        if era == Era::Session {
            assert_eq!(client.call("echo", json!({})).await.status, 404);
            client.initialize().await;
        }
        assert_eq!(text(&client, "echo", json!({ "a": 1 })).await, r#"{"a": 1}"#);
    }
}

/// A process that is busy does not do later what was cut before it was told.
#[tokio::test]
async fn what_is_cut_before_a_process_reads_it_is_not_asked() {
    let process = Process::new("session");
    let (world, bot) = before(&process, |_| ()).await;
    let client = bot.connected(&world, "up", Era::Session).await;
    text(&client, "echo", json!({})).await;
    let busy = pause(&process);
    let call = async |id: &str, arguments: Value| {
        let params = json!({ "name": "echo", "arguments": arguments });
        let (headers, body) = client.request_with_id(&json!(id), "tools/call", params);
        client.post_raw(&headers, body).await
    };
    let permitted = async |calls: usize| {
        until("the calls are permitted", || async {
            (world.decisions("up/echo", "permit").await == calls).then_some(())
        })
        .await;
    };
    // More than a pipe holds: what comes after it waits.
    let first = call("first", json!({ "a": "x".repeat(256 << 10) }));
    let second = async {
        permitted(2).await;
        call("second", json!({ "a": "never" })).await
    };
    let cancels = async {
        permitted(3).await;
        client.tell("notifications/cancelled", json!({ "requestId": "second" })).await;
    };
    let (first, second, ()) = tokio::join!(
        first,
        async {
            let second = second.await;
            goes_on(busy);
            second
        },
        cancels
    );
    assert!(first.result().is_object());
    assert_eq!(second.refused().as_deref(), Some("outcome_unknown"));
    text(&client, "echo", json!({ "a": "after" })).await;
    let asked = process.lines().into_iter().filter(|line| line["method"] == "tools/call");
    let asked: Vec<_> = asked.map(|line| line["params"]["arguments"]["a"].clone()).collect();
    assert!(asked.contains(&json!("after")) && !asked.contains(&json!("never")));
}

/// Beyond what a pipe holds so many wait to be read; the next one has not been sent, and all is well once
/// the process reads.
#[tokio::test]
async fn so_much_waits_for_a_process_that_does_not_read() {
    let process = Process::new("session");
    // Longer than the one that is not sent is waited for.
    let (world, bot) = before(&process, |setup| setup.limits.call = Duration::from_mins(1)).await;
    let client = bot.connected(&world, "up", Era::Session).await;
    text(&client, "echo", json!({})).await;
    let busy = pause(&process);
    // One is being written, and 64 wait.
    let calls = (0..66).map(|_| client.call("echo", json!({ "a": "x".repeat(128 << 10) })));
    let one_is_not_sent = async {
        until("one is not sent", || async {
            let records = world.records().await;
            records.iter().any(|record| record["outcome"] == "failed").then_some(())
        })
        .await;
        goes_on(busy);
    };
    let (answers, ()) = tokio::join!(join_all(calls), one_is_not_sent);
    let failed = answers.iter().filter(|answer| answer.refused().is_some()).collect::<Vec<_>>();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0].refused().as_deref(), Some("upstream_failed"));
}

/// What a client answers keeps its room until the process has read it.
#[tokio::test]
async fn an_answer_of_a_client_keeps_its_room_until_it_is_read() {
    let process = Process::new("session");
    let asks = r#"@id("asks") permit (principal, action == Action::"server/request", resource);"#;
    let (world, bot) = before(&process, |setup| setup.policy += asks).await;
    let client = bot.declaring(&world, ("up", Era::Session), everything()).await;
    let mut events = begin(&client, "elicit").await;
    let asked = next(&mut events).await;
    let busy = pause(&process);
    // Of which one has a quarter: as much as any of these takes.
    let bodies = Room::new(4 << 20);
    let keep = || {
        let whose = Arc::from([Whose::Address(IpAddr::from([192, 0, 2, 1]))]);
        bodies.keep(whose, BytesMut::zeroed(1 << 20)).ok()
    };
    let kept = keep().expect("room");
    assert!(kept.whole().is_some(), "it has arrived");
    // More than a pipe holds.
    let said = json!({ "action": "accept", "content": { "it": "x".repeat(256 << 10) } });
    let body = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": said }).to_string();
    let reply =
        client.reply_in(&world.gateway, (&client.headers("POST"), body.into()), Some(kept)).await;
    assert_eq!(reply.status, 202);
    assert!(keep().is_none(), "the process has not read it");
    goes_on(busy);
    until("there is room again", || async { keep() }).await;
}

#[tokio::test]
async fn n_110_a_line_beyond_its_limit_ends_the_process() {
    let process = Process::new("session");
    let (world, bot) = before(&process, |_| ()).await;
    let client = bot.connected(&world, "up", Era::Session).await;
    let bytes = gateway::UPSTREAM_MESSAGE_MAX + 1;
    let answer = client.call("long", json!({ "bytes": bytes })).await;
    assert_eq!(answer.refused().as_deref(), Some("outcome_unknown"));
    assert_eq!(world.outcome("up/long").await, "unknown");
    runs(&process, 0).await;
}

#[tokio::test]
async fn what_is_no_message_is_passed_over() {
    let process = Process::new("stateless");
    let (world, bot) = before(&process, |_| ()).await;
    let client = bot.connected(&world, "up", Era::Session).await;
    assert_eq!(text(&client, "garbage", json!({})).await, "after garbage");
}

#[tokio::test]
async fn n_084_a_process_that_asks_is_answered() {
    let process = Process::new("session");
    let (world, bot) = before(&process, |_| ()).await;
    let client = bot.connected(&world, "up", Era::Session).await;
    let said = text(&client, "ask", json!({})).await;
    let said: Vec<Value> = serde_json::from_str(&said).expect("JSON");
    let to = |id: &str| said.iter().find(|said| said["id"] == id).expect("an answer");
    assert_eq!(to("s0")["error"]["code"], -32_601);
    assert_eq!(to("s1")["result"], json!({}));
    assert_eq!(to("s2")["error"]["code"], -32_601);
    world.refusal("server_asked_sampling").await;
    world.refusal("server_asked_roots").await;
}

/// Equal ids, one process: progress and answers find those who asked.
#[tokio::test]
async fn n_046_progress_finds_who_asked_for_it() {
    let process = Process::new("session");
    let (world, bot) = before(&process, |_| ()).await;
    let client = bot.connected(&world, "up", Era::Session).await;
    client.tools().await;
    let (client, all) = (&client, 5);
    let calls = (0..all).map(|n| async move {
        let me = format!("caller {n}");
        let params = json!({
            "name": "progress",
            "arguments": { "me": me, "of": all },
            // Tokens that look like ids of ours.
            "_meta": { "progressToken": n },
        });
        let (headers, body) = client.request_with_id(&json!(1), "tools/call", params);
        (me, client.post_raw(&headers, body).await)
    });
    for (me, answer) in join_all(calls).await {
        assert_eq!(answer.events.len(), 2, "{answer:?}");
        let progress: Value = serde_json::from_str(&answer.events[0]).expect("JSON");
        assert_eq!(progress["params"]["message"], me);
        assert_eq!(answer.result()["content"][0]["text"], me);
    }
}

#[tokio::test]
async fn i_07_a_process_that_says_that_its_tools_changed_is_compared_again() {
    let process = Process::new("session");
    let (world, bot) = before(&process, |_| ()).await;
    let client = bot.connected(&world, "up", Era::Session).await;
    text(&client, "echo", json!({})).await;
    let lists = || process.lines().iter().filter(|line| line["method"] == "tools/list").count();
    let before = lists();
    text(&client, "echo", json!({})).await;
    assert_eq!(lists(), before);
    client.call("changed", json!({})).await;
    text(&client, "echo", json!({})).await;
    assert_eq!(lists(), before + 1);
}
