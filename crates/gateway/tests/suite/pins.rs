//! What was approved is what may be called: a tool whose descriptor changed may not.

use std::sync::atomic::Ordering;
use std::time::Duration;

use mcp::Era;
use pap::Command;
use serde_json::{Value, json};

use crate::support::{Act, Setup, Upstream, World, tool};
use crate::{ERAS, POLICY, before, upstream, with};

/// Changes of one descriptor, each the least that there is.
fn changes() -> Vec<(&'static str, Value)> {
    let mut all = Vec::new();
    let mut change = |what, edit: &dyn Fn(&mut Value)| {
        let mut changed = tool("echo");
        edit(&mut changed);
        all.push((what, changed));
    };
    change("one byte", &|t| t["description"] = "echo ".into());
    change("schema", &|t| t["inputSchema"]["properties"] = json!({ "bcc": {} }));
    change("annotation", &|t| t["annotations"] = json!({ "readOnlyHint": true }));
    change("header", &|t| {
        t["inputSchema"]["properties"]["to"] = json!({ "type": "string", "x-mcp-header": "To" });
    });
    change("title", &|t| t["title"] = json!("Echo"));
    all
}

#[tokio::test]
async fn n_080_a_changed_tool_is_not_called_until_it_is_pinned_again() {
    for era in ERAS {
        for (what, changed) in changes() {
            let up = upstream(era).await;
            let (world, bot) = before(&up, "").await;
            let client = bot.connected(&world, "up", era).await;
            assert_eq!(client.call("echo", json!({})).await.refused(), None);
            up.list(vec![vec![changed.clone(), tool("pay")]]);
            world.clock.advance(Duration::from_secs(61));
            let client = bot.connected(&world, "up", era).await;
            let answer = client.call("echo", json!({})).await;
            assert_eq!(answer.refused().as_deref(), Some("tool_changed"), "{what}: {answer:?}");
            assert_eq!(client.tools().await, ["pay"], "{what}");
            assert_eq!(client.call("pay", json!({})).await.refused(), None, "{what}: another tool");
            let told = world.record("the change", |r| r["event"] == "tools_changed").await;
            assert_eq!(told["details"]["up/echo"], "changed", "{what}");

            let diff = world.run(Command::ToolDiff { tool: "up/echo".to_owned() }).await;
            let digest = diff["digest"].as_str().expect("a digest").to_owned();
            world.run(Command::ToolPin { tool: "up/echo".to_owned(), digest }).await;
            assert_eq!(client.call("echo", json!({})).await.refused(), None, "{what}");
            assert_eq!(up.seen_of("tools/call").len(), 3, "{what}");
        }
    }
}

/// N-080: the other pages count, and a change between list and call is seen when the server tells
/// of it, or within a minute.
#[tokio::test]
async fn i_07_a_change_on_page_two_or_between_list_and_call_is_seen() {
    for era in ERAS {
        let up = Upstream::start(era, vec![tool("pay")]).await;
        up.list(vec![vec![tool("pay")], vec![tool("echo")]]);
        let (world, bot) = before(&up, "").await;
        let client = bot.connected(&world, "up", era).await;
        assert_eq!(client.tools().await, ["echo", "pay"]);
        let changed = changes().remove(0).1;
        up.list(vec![vec![tool("pay")], vec![changed.clone()]]);

        // The server says so while it answers another call.
        let told = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
        let result = r#"{"jsonrpc":"2.0","id":$id,"result":{"content":[]}}"#;
        up.on("tools/call:pay", Act::Events(vec![told.to_owned(), result.to_owned()]));
        assert_eq!(client.call("pay", json!({})).await.events.len(), 2);
        let answer = client.call("echo", json!({})).await;
        assert_eq!(answer.refused().as_deref(), Some("tool_changed"), "{answer:?}");

        // Changed back, it still has to be looked at; then it is changed again in silence.
        up.list(vec![vec![tool("pay")], vec![tool("echo")]]);
        assert_eq!(client.tools().await, ["pay"]);
        let diff = world.run(Command::ToolDiff { tool: "up/echo".to_owned() }).await;
        let digest = diff["digest"].as_str().expect("a digest").to_owned();
        world.run(Command::ToolPin { tool: "up/echo".to_owned(), digest }).await;
        assert_eq!(client.tools().await, ["echo", "pay"]);
        assert_eq!(client.call("echo", json!({})).await.refused(), None);
        up.list(vec![vec![tool("pay")], vec![changed]]);
        world.clock.advance(Duration::from_secs(59));
        let client = bot.connected(&world, "up", era).await;
        assert_eq!(client.tools().await, ["pay"], "each list compares");
        let answer = client.call("echo", json!({})).await;
        assert_eq!(answer.refused().as_deref(), Some("tool_changed"));
        assert_eq!(up.seen_of("tools/call").iter().filter(|s| s.body.contains("echo")).count(), 1);
    }
}

#[tokio::test]
async fn n_080_who_could_never_call_a_tool_does_not_learn_that_it_changed() {
    let up = upstream(Era::Session).await;
    let hide = r#"@id("hide") forbid (principal, action == Action::"up/echo", resource);"#;
    let (world, bot) = before(&up, hide).await;
    up.list(vec![vec![changes().remove(0).1, tool("pay")]]);
    let client = bot.connected(&world, "up", Era::Session).await;
    let hidden = client.call("echo", json!({})).await;
    let absent = client.call("absent", json!({})).await;
    assert_eq!(hidden.text, absent.text);
    assert_eq!(hidden.refused().as_deref(), Some("unknown_tool"));
}

#[tokio::test]
async fn n_082_a_list_that_cannot_be_trusted_stops_every_call() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let many = (0..10_001).map(|n| tool(&format!("t{n}"))).collect::<Vec<_>>();
    let endless = (0..101).map(|_| Vec::new()).collect::<Vec<_>>();
    for pages in [
        vec![vec![tool("echo"), tool("echo")]],
        vec![vec![tool("echo")], vec![tool("echo")]],
        vec![vec![tool("echo"), tool("up/pay")]],
        vec![vec![tool("echo"), json!({ "name": 3 })]],
        vec![many, Vec::new()],
        endless,
    ] {
        up.list(pages);
        let client = bot.connected(&world, "up", Era::Session).await;
        let answer = client.call("echo", json!({})).await;
        assert_eq!(answer.refused().as_deref(), Some("upstream_failed"), "{answer:?}");
    }
    up.on("tools/list", Act::Result(json!({ "tools": 3 })));
    let client = bot.connected(&world, "up", Era::Session).await;
    assert_eq!(client.call("echo", json!({})).await.refused().as_deref(), Some("upstream_failed"));
    world.refusal("upstream_failed").await;
    assert!(up.seen_of("tools/call").is_empty());
}

/// N-133: a panic denies, is recorded, and the process lives.
#[tokio::test]
async fn n_133_a_panic_denies_and_is_recorded() {
    let up = upstream(Era::Session).await;
    let routes = vec![("up", up.target())];
    let (world, bot): (World, _) =
        with(Setup { policy: POLICY.to_owned(), routes, ..Setup::default() }).await;
    let client = bot.connected(&world, "up", Era::Session).await;
    world.sources.panics.store(true, Ordering::SeqCst);
    let answer = client.call("echo", json!({})).await;
    assert_eq!(answer.refused().as_deref(), Some("unavailable"), "{answer:?}");
    let told = world.refusal("broken").await;
    assert_eq!(told["agent"], "bot");
    assert!(up.seen_of("tools/call").is_empty());
    assert_eq!(client.call("echo", json!({})).await.refused(), None);
    assert_eq!(world.outcome("up/echo").await, "returned");
}

/// What a server lists is read up to its limits, and refused whole beyond them.
#[tokio::test]
async fn a_list_of_tools_has_so_many_pages_and_so_many_tools() {
    let up = upstream(Era::Session).await;
    let (world, _) = before(&up, "").await;
    let server = "up".parse().expect("a server");
    let check = async |pages: Vec<usize>, expected: Option<usize>| {
        let mut all = (0..).map(|number| tool(&format!("t{number}")));
        let list = pages.iter().map(|tools| all.by_ref().take(*tools).collect()).collect();
        up.list(list);
        let listed = gateway::list_tools(&world.gateway, &server, true).await;
        assert_eq!(listed.ok().map(|tools| tools.len()), expected, "{pages:?}");
    };
    check(vec![10_000], Some(10_000)).await;
    check(vec![10_001], None).await;
    check(vec![9_999, 1], Some(10_000)).await;
    check(vec![10_000, 1], None).await;
    check(vec![1; 100], Some(100)).await;
    check(vec![1; 101], None).await;
}

/// What is read of a list takes many times its text, and is kept until it is compared.
#[tokio::test]
async fn a_list_of_tools_takes_no_more_than_so_much() {
    let up = upstream(Era::Session).await;
    let (world, _) = before(&up, "").await;
    let server = "up".parse().expect("a server");
    let check = async |pages: Vec<Value>, expected: Option<usize>| {
        let list = pages.iter().zip(0..).map(|(extra, number)| {
            let mut tool = tool(&format!("t{number}"));
            tool["_meta"] = extra.clone();
            vec![tool]
        });
        up.list(list.collect());
        let listed = gateway::list_tools(&world.gateway, &server, true).await;
        assert_eq!(listed.ok().map(|tools| tools.len()), expected);
    };
    let text = |bytes: usize| json!("x".repeat(bytes));
    check(vec![text((4 << 20) - 1_000)], Some(1)).await;
    check(vec![text(4 << 20)], None).await;
    // So many objects take 28 MiB or so.
    let structure = || Value::from(vec![json!({ "": 0 }); 50_000]);
    check(vec![structure()], Some(1)).await;
    check(vec![structure(), structure()], None).await;
}
