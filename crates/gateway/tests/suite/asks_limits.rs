//! How much, and how often, a server may ask on account of one call.

use mcp::Era;
use serde_json::{Value, json};

use crate::asks::{able, asked, asking, everything, request};
use crate::stdio::before;
use crate::support::{Act, Process, Seen, until};

/// Who asks is kept as long as the call: nobody fills the memory with names.
#[tokio::test]
async fn a_request_with_an_endless_id_or_method_ends_the_call() {
    let check = async |id: &str, method: &str, outcome: &str| {
        let (up, world, bot) = asking("", vec![]).await;
        let client = able(&world, &bot).await;
        up.on("tools/call", Act::Asks(vec![request(id, method, &json!({}))]));
        client.call("echo", json!({})).await;
        assert_eq!(world.outcome("up/echo").await, outcome);
    };
    // Its text has two quotes.
    let (longest, beyond) = ("x".repeat(254), "x".repeat(255));
    check(&longest, "roots/list", "returned").await;
    check(&beyond, "roots/list", "unknown").await;
    check("1", &"x".repeat(257), "unknown").await;
}

/// However slowly a server asks, it is heard so often in a call.
#[tokio::test]
async fn of_one_call_a_hundred_questions_are_decided() {
    let check = async |times: usize, refused: usize| {
        let process = Process::new("session");
        let (world, bot) = before(&process, |_| ()).await;
        let client = bot.declaring(&world, ("up", Era::Session), everything()).await;
        let result = client.call("insist", json!({ "times": times })).await.result();
        assert_eq!(result["content"][0]["text"], "asked");
        assert_eq!(asked(&world, "deny").await, 100);
        if refused > 0 {
            world.refusal("server_asked_elicitation").await;
        }
        let records = world.records().await;
        let of = |record: &&Value| record["cause"] == "server_asked_elicitation";
        assert_eq!(records.iter().filter(of).count(), refused);
    };
    Box::pin(check(100, 0)).await;
    Box::pin(check(101, 1)).await;
}

/// A server that takes no answers is listened to no more.
#[tokio::test]
async fn so_many_answers_wait_for_a_server_that_takes_none() {
    let (up, world, bot) = asking("", vec![]).await;
    let client = able(&world, &bot).await;
    up.on("answers", Act::Silent);
    let pings = (0..40).map(|n| request(&format!("p{n}"), "ping", &json!({})));
    up.on("tools/call", Act::Asks(pings.collect()));
    let answers = |seen: &Seen| seen.json()["id"].as_str().is_some_and(|id| id.starts_with('p'));
    let answered = || up.seen().iter().filter(|seen| answers(seen)).count();
    let waits = async {
        until("as many wait as may", || async { (answered() == 32).then_some(()) }).await;
        // Who comes besides is served.
        bot.connected(&world, "up", Era::Session).await;
        assert_eq!(answered(), 32);
    };
    tokio::select! {
        answer = client.call("echo", json!({})) => panic!("{answer:?}"),
        () = waits => {}
    }
}
