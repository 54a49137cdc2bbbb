//! Servers that are declared stateless: one process for all callers, and no caller hears of another.

use std::time::Duration;

use futures::future::join_all;
use mcp::Era;
use serde_json::{Value, json};

use crate::stdio::{before, runs, text};
use crate::support::Process;
use crate::{ERAS, POLICY};

#[tokio::test]
async fn all_callers_share_a_process_that_ends_with_the_last() {
    for spoken in ["session", "stateless"] {
        let process = Process::stateless(spoken);
        let (world, bot) = before(&process, |_| ()).await;
        let other = world.agent("other", &["up/*"]).await;
        runs(&process, 0).await;
        let first = bot.connected(&world, "up", Era::Session).await;
        let second = other.connected(&world, "up", Era::Session).await;
        let third = other.client(&world, "up", Era::Stateless).await;
        let echo = |client, n| text(client, "echo", json!({ "n": n }));
        let (one, two, three) = tokio::join!(echo(&first, 1), echo(&second, 2), echo(&third, 3));
        assert_eq!([one, two, three], [r#"{"n": 1}"#, r#"{"n": 2}"#, r#"{"n": 3}"#]);
        runs(&process, 1).await;
        first.delete().await;
        assert_eq!(echo(&second, 4).await, r#"{"n": 4}"#, "another's end is not its own");
        world.gateway.close();
        runs(&process, 0).await;
    }
}

/// What answers no call may be about any caller: nobody is asked it or told it.
#[tokio::test]
async fn what_a_shared_process_says_besides_answers_is_for_nobody() {
    let process = Process::stateless("session");
    let permits =
        r#"@id("asks") permit (principal, action == Action::"server/request", resource);"#;
    let (world, bot) =
        before(&process, |setup| setup.policy = format!("{POLICY}\n{permits}")).await;
    let declared = json!({ "sampling": {}, "roots": {} });
    let client = bot.declaring(&world, ("up", Era::Session), declared).await;
    let said = text(&client, "ask", json!({})).await;
    let said: Vec<Value> = serde_json::from_str(&said).expect("JSON");
    let sampling = said.iter().find(|said| said["id"] == "s0").expect("an answer");
    assert_eq!(sampling["error"]["code"], -32_601, "it was declared, and policy permits it");
    world.refusal("server_asked_sampling").await;
    let greeting = |line: &&Value| line["method"] == "initialize";
    let greeted: Vec<_> = process.lines().into_iter().filter(|line| greeting(&line)).collect();
    assert_eq!(greeted.last().expect("greeted")["params"]["capabilities"], json!({}));

    let calls = (0..2).map(|n| {
        let me = format!("caller {n}");
        let arguments = json!({ "me": me, "of": 2 });
        // The same token: progress of one would look like progress of the other.
        let meta = json!({ "progressToken": "same" });
        let params = json!({ "name": "progress", "arguments": arguments, "_meta": meta });
        client.ask("tools/call", params)
    });
    for answer in join_all(calls).await {
        assert_eq!(answer.events.len(), 0, "{answer:?}");
    }
}

/// One caller's answer beyond the limit is that caller's loss alone.
#[tokio::test]
async fn n_116_an_answer_beyond_its_limit_ends_nobody_elses_calls() {
    let process = Process::stateless("session");
    let (world, bot) = before(&process, |setup| setup.limits.call = Duration::from_secs(5)).await;
    let first = bot.connected(&world, "up", Era::Session).await;
    let second = bot.connected(&world, "up", Era::Session).await;
    let bytes = gateway::UPSTREAM_MESSAGE_MAX + 1;
    let answer = first.call("long", json!({ "bytes": bytes })).await;
    assert_eq!(answer.refused().as_deref(), Some("outcome_unknown"), "{answer:?}");
    assert_eq!(text(&second, "echo", json!({ "a": 1 })).await, r#"{"a": 1}"#);
    runs(&process, 1).await;
}

#[tokio::test]
async fn a_shared_process_is_asked_nothing_that_it_would_keep_for_one_caller() {
    let process = Process::stateless("session");
    let (world, bot) = before(&process, |_| ()).await;
    let client = bot.connected(&world, "up", Era::Session).await;
    for (method, params) in [
        ("logging/setLevel", json!({ "level": "debug" })),
        ("resources/subscribe", json!({ "uri": "file:///a" })),
        ("tasks/list", json!({})),
    ] {
        assert_eq!(client.ask(method, params).await.error(), Some(-32_601), "{method}");
        assert!(process.lines().iter().all(|line| line["method"] != method), "{method}");
    }
}

#[tokio::test]
async fn a_crash_is_unknown_to_each_and_the_next_call_starts_another() {
    for era in ERAS {
        let process = Process::stateless("session");
        let (world, bot) = before(&process, |_| ()).await;
        let mut client = bot.connected(&world, "up", era).await;
        let answer = client.call("crash", json!({})).await;
        assert_eq!(answer.refused().as_deref(), Some("outcome_unknown"), "{answer:?}");
        if era == Era::Session {
            assert_eq!(client.call("echo", json!({})).await.status, 404);
            client.initialize().await;
        }
        assert_eq!(text(&client, "echo", json!({ "a": 1 })).await, r#"{"a": 1}"#);
        runs(&process, 1).await;
    }
}

/// What is pinned is what a start of today lists, also while an older process runs.
#[tokio::test]
async fn who_onboards_a_server_sees_a_process_of_its_own() {
    let process = Process::stateless("session");
    let (world, bot) = before(&process, |_| ()).await;
    let _client = bot.connected(&world, "up", Era::Session).await;
    runs(&process, 1).await;
    let started = process.started().len();
    world.onboard("up", &["*=reads-data"]).await;
    assert_eq!(process.started().len(), started + 1);
    runs(&process, 1).await;
}
