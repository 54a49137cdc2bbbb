//! Arguments stay data: what was decided on is what arrives, and nothing in it is anything else.

use mcp::Era;
use serde_json::{Value, json};

use crate::support::{Setup, Upstream, set};
use crate::{ERAS, POLICY, before, upstream, with};

#[tokio::test]
async fn n_060_n_061_arguments_are_data_whatever_they_look_like() {
    for era in ERAS {
        let up = upstream(Era::Session).await;
        let (world, bot) = before(&up, "").await;
        let client = bot.connected(&world, "up", era).await;
        let hostile = [
            json!({ "path": "../admin" }),
            json!({ "path": "a?b=c#d&e=f" }),
            json!({ "header": "x\r\nauthorization: Bearer evil\r\n\r\nGET / HTTP/1.1" }),
            json!({ "header": "a\u{0}b", "escape": "\u{1b}[31m" }),
            json!({ "authorization": "evil", "host": "evil", "__proto__": { "a": 1 } }),
            json!({ "jsonrpc": "2.0", "method": "tools/call", "id": 1 }),
            json!({ "_meta": { "progressToken": 1 }, "name": "pay" }),
            json!({ "sse": "data: x\n\nevent: message\ndata: {}\n\n" }),
            json!({ "unicode": "\u{2028}\u{202e}\u{feff}é" }),
        ];
        for arguments in &hostile {
            let answer = client.call("echo", arguments.clone()).await;
            assert_eq!(answer.refused(), None, "{arguments}");
        }
        let seen = up.seen_of("tools/call");
        let sent: Vec<Value> =
            seen.iter().map(|s| s.json()["params"]["arguments"].clone()).collect();
        assert_eq!(sent, hostile);
        let path = |seen: &crate::support::Seen| seen.head.starts_with("POST /mcp HTTP/1.1\r\n");
        assert!(up.seen().iter().all(|s| path(s) || s.head.starts_with("DELETE /mcp")));
        let heads: String = up.seen().iter().map(|s| s.head.clone()).collect();
        assert!(!heads.contains("evil"));
    }
}

#[tokio::test]
async fn n_062_no_parameter_header_of_a_client_goes_anywhere() {
    let up = upstream(Era::Stateless).await;
    let (world, bot) = before(&up, "").await;
    let client = bot.client(&world, "up", Era::Stateless).await;
    let (mut headers, body) =
        client.request("tools/call", json!({ "name": "echo", "arguments": { "a": "1" } }));
    for name in ["authorization", "host", "a", "mcp-session-id", "content-length"] {
        set(&mut headers, &format!("mcp-param-{name}"), "evil");
    }
    client.post_raw(&headers, body).await;
    assert!(!String::from_utf8_lossy(&up.bytes()).contains("evil"));
}

#[tokio::test]
async fn n_064_no_header_picks_an_upstream_or_an_identity() {
    let (up, other) = (upstream(Era::Session).await, upstream(Era::Session).await);
    let routes = vec![("up", up.target()), ("other", other.target())];
    let (world, bot) = with(Setup { policy: POLICY.to_owned(), routes, ..Setup::default() }).await;
    let client = bot.connected(&world, "up", Era::Session).await;
    let (mut headers, body) = client.request("tools/call", json!({ "name": "echo" }));
    for name in ["mcp-init-host", "router-key", "x-forwarded-host", "x-original-url", "host"] {
        set(&mut headers, name, "other");
    }
    for name in ["x-mcp-server", "x-envoy-original-path", "x-http-method-override", "forwarded"] {
        set(&mut headers, name, "/mcp/other");
    }
    assert_eq!(client.post_raw(&headers, body).await.refused(), None);
    assert_eq!(up.seen_of("tools/call").len(), 1);
    assert!(other.seen().is_empty());
}

fn limited() -> Value {
    json!({
        "name": "pay",
        "inputSchema": {
            "type": "object",
            "properties": {
                "amount": { "type": "integer" },
                "recipients": { "type": "array", "items": { "type": "string" } },
                "note": { "type": "string" },
            },
            "required": ["amount"],
            "additionalProperties": false,
        },
    })
}

const LIMIT: &str = r#"
@id("limit") forbid (principal, action == Action::"up/pay", resource)
when { context.input.amount > 100 };
@id("one") forbid (principal, action == Action::"up/pay", resource)
when { context.input has recipients && !(["a"].containsAll(context.input.recipients)) };"#;

/// N-067, N-068: sends `arguments` as they are written; gives what it was refused for.
async fn pay(client: &crate::support::Client<'_>, arguments: &str) -> Option<String> {
    let body = client.body(&json!(1), "tools/call", json!({ "name": "pay" })).to_string();
    let body = body.replacen(
        "\"name\":\"pay\"",
        &format!("\"arguments\":{arguments},\"name\":\"pay\""),
        1,
    );
    let mut headers = client.headers("POST");
    if client.era == Era::Stateless {
        let mirrored = serde_json::from_str(&body).unwrap_or_default();
        crate::support::Client::mirror(&mut headers, &mirrored);
    }
    let answer = client.post_raw(&headers, body).await;
    answer.refused().or_else(|| answer.error().map(|code| code.to_string()))
}

async fn before_limits(era: Era) -> (Upstream, crate::support::World, crate::support::Agent) {
    let up = Upstream::start(era, vec![limited()]).await;
    let (world, bot) = before(&up, LIMIT).await;
    (up, world, bot)
}

#[tokio::test]
async fn n_067_no_spelling_of_a_number_passes_a_limit() {
    for era in ERAS {
        let (up, world, bot) = before_limits(era).await;
        let client = bot.connected(&world, "up", era).await;
        for (amount, refused) in [
            ("100", None),
            ("1e2", None),
            ("100.0", None),
            ("-0", None),
            ("101", Some("denied")),
            ("1e3", Some("denied")),
            ("1010e-1", Some("denied")),
            ("9007199254740991", Some("denied")),
            ("9007199254740993", Some("-32700")),
            ("100.001", Some("arguments_invalid")),
            ("\"100\"", Some("arguments_invalid")),
            ("null", Some("arguments_invalid")),
            ("[100]", Some("arguments_invalid")),
            ("1e400", Some("-32700")),
        ] {
            let found = pay(&client, &format!("{{\"amount\":{amount}}}")).await;
            let same = match (found.as_deref(), refused) {
                // An inexact number is no reading at all, or no argument: refused either way.
                (Some("-32700" | "arguments_invalid"), Some("-32700")) => true,
                (found, refused) => found == refused,
            };
            assert!(same, "{era:?} {amount}: {found:?}, not {refused:?}");
        }
        let sent: Vec<_> = up.seen_of("tools/call").iter().map(|s| s.body.clone()).collect();
        assert_eq!(sent.len(), 4);
        for (body, spelling) in sent.iter().zip(["100", "1e2", "100.0", "-0"]) {
            assert!(body.contains(&format!("{{\"amount\":{spelling}}}")), "{body}");
        }
    }
}

#[tokio::test]
async fn n_068_missing_extra_null_and_scalars_for_lists_are_refused() {
    let (up, world, bot) = before_limits(Era::Session).await;
    let client = bot.connected(&world, "up", Era::Session).await;
    for (arguments, refused) in [
        (r"{}", "arguments_invalid"),
        (r#"{"amount":1,"extra":1}"#, "arguments_invalid"),
        (r#"{"amount":1,"recipients":"a"}"#, "arguments_invalid"),
        (r#"{"amount":1,"recipients":null}"#, "arguments_invalid"),
        (r#"{"amount":1,"recipients":[["a"]]}"#, "arguments_invalid"),
        (r#"{"amount":1,"recipients":["a","b"]}"#, "denied"),
        ("null", "-32602"),
        ("[]", "-32602"),
        ("\"a\"", "-32602"),
    ] {
        let found = pay(&client, arguments).await;
        assert_eq!(found.as_deref(), Some(refused), "{arguments}");
    }
    assert!(up.seen_of("tools/call").is_empty());
    assert_eq!(pay(&client, r#"{"amount":1,"recipients":["a"]}"#).await, None);
    assert_eq!(up.seen_of("tools/call").len(), 1);
}
