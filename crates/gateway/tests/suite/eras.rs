//! Every method, for clients of either era before servers of either era.

use mcp::Era;
use serde_json::{Value, json};

use crate::support::Act;
use crate::{ERAS, before, upstream};

/// The methods that are forwarded, with parameters.
fn methods() -> Vec<(&'static str, Value)> {
    vec![
        ("tools/call", json!({ "name": "echo", "arguments": { "a": 1 } })),
        ("resources/list", json!({ "cursor": "c" })),
        ("resources/templates/list", json!({})),
        ("resources/read", json!({ "uri": "file:///a%20b" })),
        ("resources/subscribe", json!({ "uri": "file:///a" })),
        ("resources/unsubscribe", json!({ "uri": "file:///a" })),
        ("prompts/list", json!({})),
        ("prompts/get", json!({ "name": "p", "arguments": { "x": "y" } })),
        ("completion/complete", json!({ "ref": { "type": "ref/prompt", "name": "p" } })),
        ("logging/setLevel", json!({ "level": "info" })),
        ("tasks/list", json!({})),
        ("tasks/get", json!({ "taskId": "1" })),
        ("tasks/result", json!({ "taskId": "1" })),
        ("tasks/cancel", json!({ "taskId": "1" })),
    ]
}

/// Whether a client of `client` gets `method` through to a server of `server`.
fn passes(method: &str, client: Era, server: Era) -> bool {
    let only_session = ["resources/subscribe", "resources/unsubscribe", "logging/setLevel"];
    let both_session = client == Era::Session && server == Era::Session;
    both_session || !(only_session.contains(&method) || method.starts_with("tasks/"))
}

#[tokio::test]
async fn every_method_is_forwarded_where_its_meaning_is_the_same() {
    let log = r#"
@id("log") permit (principal, action in [Action::"logging/setLevel"], resource);"#;
    for era in ERAS {
        for server in ERAS {
            let up = upstream(server).await;
            let (world, bot) = before(&up, log).await;
            let client = bot.connected(&world, "up", era).await;
            for (method, params) in methods() {
                let answer = client.ask(method, params.clone()).await;
                let what = format!("{method}: {era:?} → {server:?}: {answer:?}");
                let seen = up.seen_of(method);
                if !passes(method, era, server) {
                    // In the stateless era tasks are an extension, which a client has to declare.
                    let extension = ["tasks/get", "tasks/result", "tasks/cancel"];
                    let is_extension = era == Era::Stateless && extension.contains(&method);
                    let code = if is_extension { -32_021 } else { -32_601 };
                    assert_eq!(answer.error(), Some(code), "{what}");
                    assert!(seen.is_empty(), "{what}");
                    continue;
                }
                let result = answer.result();
                let [seen] = seen.as_slice() else { panic!("not once: {what}") };
                check_sent(seen, (method, &params), server);
                check_told(&result, method, era);
                assert_eq!(world.outcome(&action(method)).await, "returned", "{what}");
            }
        }
    }
}

fn action(method: &str) -> String {
    if method == "tools/call" { "up/echo".to_owned() } else { method.to_owned() }
}

fn check_sent(seen: &crate::support::Seen, (method, params): (&str, &Value), server: Era) {
    let sent = seen.json()["params"].clone();
    for (name, value) in params.as_object().expect("an object") {
        assert_eq!(sent[name], *value, "{method}");
    }
    let meta = &sent["_meta"]["io.modelcontextprotocol/protocolVersion"];
    if server == Era::Stateless {
        assert_eq!(*meta, mcp::STATELESS_VERSION, "{method}");
        assert_eq!(seen.header("mcp-protocol-version"), Some(mcp::STATELESS_VERSION), "{method}");
        assert_eq!(seen.header("mcp-method"), Some(method));
        let member = mcp::Method::named(method).name_member();
        let name = member.and_then(|member| params[member].as_str()).map(mcp::encode_header_value);
        assert_eq!(seen.header("mcp-name"), name.as_deref(), "{method}");
        assert_eq!(seen.header("mcp-session-id"), None, "{method}");
    } else {
        assert_eq!(*meta, Value::Null, "{method}");
        assert_eq!(seen.header("mcp-protocol-version"), Some("2025-11-25"), "{method}");
        assert!(seen.header("mcp-session-id").is_some_and(|id| id.starts_with("up-")), "{method}");
        assert_eq!((seen.header("mcp-method"), seen.header("mcp-name")), (None, None), "{method}");
    }
}

/// N-066: whatever may be kept is for the caller alone.
fn check_told(result: &Value, method: &str, era: Era) {
    if era == Era::Session {
        for name in ["resultType", "cacheScope", "ttlMs"] {
            assert_eq!(result[name], Value::Null, "{method}: {name}");
        }
        return;
    }
    assert_eq!(result["resultType"], "complete", "{method}");
    let kept = method.ends_with("/list") || method == "resources/read";
    if kept {
        assert!(result["ttlMs"].is_u64(), "{method}");
    }
    assert_ne!(result["cacheScope"], "public", "{method}");
    assert!(!kept || result["cacheScope"] == "private", "{method}");
}

#[tokio::test]
async fn n_066_greetings_and_lists_are_kept_by_nobody_else() {
    for server in ERAS {
        let up = upstream(server).await;
        let (world, bot) = before(&up, "").await;
        let client = bot.client(&world, "up", Era::Stateless).await;
        let greeting = client.ask("server/discover", json!({})).await.result();
        assert_eq!(greeting["cacheScope"], "private");
        let list = client.ask("tools/list", json!({})).await.result();
        assert_eq!(list["cacheScope"], "private");
        assert_eq!(list["resultType"], "complete");
        assert_eq!(list["nextCursor"], Value::Null, "all pages at once");
        up.on("resources/list", Act::Result(json!({ "resources": [], "cacheScope": "public" })));
        let read = client.ask("resources/list", json!({})).await.result();
        assert_eq!(read["cacheScope"], "private");
    }
}

#[tokio::test]
async fn each_era_is_greeted_in_its_own_way() {
    for server in ERAS {
        let up = upstream(server).await;
        let (world, bot) = before(&up, "").await;
        let mut client = bot.client(&world, "up", Era::Session).await;
        let greeting = client.initialize().await.result();
        assert_eq!(greeting["protocolVersion"], "2025-11-25");
        assert!(greeting["serverInfo"]["name"].is_string());
        assert_eq!(greeting["capabilities"], json!({ "tools": {} }));
        assert_eq!(client.ask("ping", json!({})).await.result(), json!({}));
        for wanted in ["2025-06-18", "2025-11-25", "2024-11-05"] {
            let client = bot.client(&world, "up", Era::Session).await;
            let params = json!({ "protocolVersion": wanted, "capabilities": {} });
            let greeting = client.ask("initialize", params).await.result();
            let agreed = if wanted == "2025-06-18" { wanted } else { "2025-11-25" };
            assert_eq!(greeting["protocolVersion"], agreed, "{wanted}");
        }
        assert!(up.seen_of("ping").is_empty(), "a ping is answered here");
        let stateless = bot.client(&world, "up", Era::Stateless).await;
        assert!(stateless.delete().await.is_none(), "there is no session to end");
        let told = stateless.tell("notifications/initialized", json!({})).await;
        assert_eq!(told.status, 202);
    }
}

/// A client of the stateless era is told what it asks for; one of the session era what is said.
#[tokio::test]
async fn log_messages_are_told_to_who_wants_them() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let log = |level: &str| {
        let params = json!({ "level": level, "data": "x" });
        json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": params }).to_string()
    };
    let result = r#"{"jsonrpc":"2.0","id":$id,"result":{"content":[],"isError":false}}"#;
    let events = vec![log("debug"), log("warning"), log("odd"), log("error"), result.to_owned()];
    up.on("tools/call", Act::Events(events));
    let check = async |era: Era, wanted: Value, told: &[&str]| {
        let client = bot.connected(&world, "up", era).await;
        let meta = json!({ "io.modelcontextprotocol/logLevel": wanted });
        let params = json!({ "name": "echo", "arguments": {}, "_meta": meta });
        let answer = client.ask("tools/call", params).await;
        assert_eq!(answer.result()["isError"], false);
        let events = answer.events.iter().map(|event| serde_json::from_str(event).expect("JSON"));
        let level = |event: Value| event["params"]["level"].as_str().map(str::to_owned);
        assert_eq!(events.filter_map(level).collect::<Vec<_>>(), told, "{era:?} {wanted}");
    };
    check(Era::Stateless, Value::Null, &[]).await;
    check(Era::Stateless, json!("loud"), &[]).await;
    check(Era::Stateless, json!("warning"), &["warning", "error"]).await;
    check(Era::Session, Value::Null, &["debug", "warning", "odd", "error"]).await;
}
