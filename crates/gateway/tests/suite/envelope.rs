//! What is not one request in one reading is refused before anything is decided.

use mcp::Era;
use serde_json::{Value, json};

use crate::support::{Answer, Client, set};
use crate::{ERAS, before, upstream};

async fn raw(client: &Client<'_>, body: impl Into<Vec<u8>>) -> Answer {
    client.post_raw(&client.headers("POST"), body.into()).await
}

/// Sends bytes that are no single request; nothing may be decided or reach the server.
async fn check(client: &Client<'_>, body: impl Into<Vec<u8>>, code: i64) {
    let body = body.into();
    let shown = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
    let answer = raw(client, body).await;
    assert_eq!((answer.status, answer.error()), (400, Some(code)), "{shown}");
}

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}"#;
const LIST: &str = r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#;

#[tokio::test]
async fn n_047_batches_are_refused_whole() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let client = bot.connected(&world, "up", Era::Session).await;
    for batch in [
        "[]".to_owned(),
        format!("[{CALL}]"),
        format!("[{LIST},{CALL}]"),
        format!("[[{CALL}]]"),
        format!(" [ {CALL} ] "),
    ] {
        check(&client, batch, -32_600).await;
    }
    world.refusal("unparsable").await;
    assert!(up.seen_of("tools/call").is_empty());
    assert_eq!(world.decisions("up/echo", "permit").await, 0);
}

#[tokio::test]
async fn n_048_responses_and_calls_without_an_id_have_no_effect() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let client = bot.connected(&world, "up", Era::Session).await;
    let before = up.seen().len();
    for text in [
        r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"echo"}}"#,
        r#"{"jsonrpc":"2.0","method":"resources/read","params":{"uri":"a"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}"#,
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#,
        r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
        r#"{"id":1,"method":"ping"}"#,
    ] {
        check(&client, text, -32_600).await;
    }
    for name in ["notifications/initialized", "notifications/roots/list_changed"] {
        let answer = client.tell(name, json!({})).await;
        assert_eq!((answer.status, answer.text.as_str()), (202, ""));
    }
    world.refusal("unasked_response").await;
    assert_eq!(up.seen().len(), before, "nothing reached the server");
}

#[tokio::test]
async fn n_051_case_twin_keys_are_refused() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let client = bot.connected(&world, "up", Era::Session).await;
    let call = |params: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#)
    };
    for text in [
        call(r#"{"name":"echo","Name":"pay"}"#),
        call(r#"{"Name":"echo","name":"pay"}"#),
        call(r#"{"name":"echo","arguments":{"amount":1,"AMOUNT":2}}"#),
        call(r#"{"name":"echo","arguments":{"a":{"b":[{"Key":1,"key":2}]}}}"#),
        call(r#"{"name":"echo","arguments":{},"Arguments":{"a":1}}"#),
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call","params":{"name":"echo"}}"#
            .to_owned(),
    ] {
        check(&client, text, -32_700).await;
    }
    assert!(up.seen_of("tools/call").is_empty());
    world.refusal("unparsable").await;
}

#[tokio::test]
async fn n_052_what_two_parsers_read_differently_is_refused() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let client = bot.connected(&world, "up", Era::Session).await;
    let arguments =
        |text: &str| CALL.replace("\"echo\"", &format!("\"echo\",\"arguments\":{text}"));
    let mut bodies: Vec<Vec<u8>> = [
        arguments(r#"{"a":1,"a":2}"#),
        arguments(r#"{"na\u006de":1,"name":2}"#),
        arguments(r#"{"a":{"b":1,"b":1}}"#),
        arguments(r#"{"a":[{"b":1,"b":1}]}"#),
        arguments(r#"{"a":NaN}"#),
        arguments(r#"{"a":Infinity}"#),
        arguments(r#"{"a":01}"#),
        arguments(r#"{"a":1,}"#),
        arguments(r#"{"a":"\ud800"}"#),
        arguments(r#"{"a":"\udc00x"}"#),
        arguments("{\"a\":\"\u{1}\"}"),
        arguments(r#"{/* c */"a":1}"#),
        arguments(r"{'a':1}"),
        CALL.replace("\"method\"", "\"method\":\"ping\",\"method\""),
        format!("\u{feff}{CALL}"),
        format!("{CALL}{CALL}"),
        format!("{CALL} x"),
        CALL[..CALL.len() - 1].to_owned(),
        String::new(),
        arguments(&format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000))),
    ]
    .map(String::into_bytes)
    .into();
    bodies.push(CALL.encode_utf16().flat_map(u16::to_le_bytes).collect());
    bodies.push([CALL.as_bytes(), &[0xff]].concat());
    bodies.push(CALL.replace("echo", "\u{e9}").bytes().filter(|byte| *byte != 0xa9).collect());
    bodies.push(vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]);
    for body in bodies {
        check(&client, body, -32_700).await;
    }
    assert!(up.seen_of("tools/call").is_empty());
    assert_eq!(world.decisions("up/echo", "permit").await, 0);
}

/// N-110: at the limit it is taken, one beyond it is refused, and before anybody is authenticated.
#[tokio::test]
async fn n_110_depth_and_size_are_limited_before_authentication() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let client = bot.connected(&world, "up", Era::Session).await;
    // The message, its parameters and its arguments are three levels of their own.
    let nested = |levels: usize| {
        let arguments = format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        CALL.replace("\"echo\"", &format!("\"echo\",\"arguments\":{arguments}"))
    };
    let most = mcp::Limits::default().depth - 3;
    assert_eq!(raw(&client, nested(most)).await.refused(), None);
    check(&client, nested(most + 1), -32_700).await;

    let most = 1 << 20;
    let padded = |bytes: usize| format!("{CALL}{}", " ".repeat(bytes - CALL.len()));
    assert_eq!(raw(&client, padded(most)).await.refused(), None);
    check(&client, padded(most + 1), -32_700).await;
    // Whoever it was: no credential is looked at.
    let answer = client.post_raw(&http::HeaderMap::new(), padded(most + 1)).await;
    assert_eq!(answer.status, 400);
    assert_eq!(up.seen_of("tools/call").len(), 2);
}

/// N-102: what cannot be checked is not let through as if there were nothing to check.
#[tokio::test]
async fn n_102_a_malformed_credential_is_not_the_same_as_none() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let client = bot.connected(&world, "up", Era::Session).await;
    for value in ["", "DPoP", "DPoP ", "DPoP a.b", "DPoP ..", "DPoP  x", "Basic eDp5", "\u{e9}"] {
        let mut headers = client.headers("POST");
        set(&mut headers, "authorization", value);
        let answer = client.post_raw(&headers, CALL).await;
        assert_eq!(answer.status, 401, "{value:?}");
    }
    let mut headers = client.headers("POST");
    headers.remove("authorization");
    assert_eq!(client.post_raw(&headers, CALL).await.status, 401);
    assert!(up.seen_of("tools/call").is_empty());
    assert_eq!(world.decisions("up/echo", "permit").await, 0);
}

#[tokio::test]
async fn n_045_headers_and_body_say_the_same_or_nothing_is_done() {
    let up = upstream(Era::Stateless).await;
    let (world, bot) = before(&up, "").await;
    let client = bot.client(&world, "up", Era::Stateless).await;
    let params = json!({ "name": "echo", "arguments": {} });
    let changes: [(&str, Option<&str>); 9] = [
        ("mcp-method", Some("tools/list")),
        ("mcp-method", Some("Tools/Call")),
        ("mcp-method", None),
        ("mcp-name", Some("pay")),
        ("mcp-name", Some("ECHO")),
        ("mcp-name", Some("=?base64?cGF5?=")),
        ("mcp-name", Some("=?base64?!!?=")),
        ("mcp-name", None),
        ("mcp-protocol-version", None),
    ];
    for (name, value) in changes {
        let (mut headers, body) = client.request("tools/call", params.clone());
        headers.remove(name);
        if let Some(value) = value {
            set(&mut headers, name, value);
        }
        let answer = client.post_raw(&headers, body).await;
        assert_eq!((answer.status, answer.error()), (400, Some(-32_020)), "{name}: {value:?}");
    }
    for name in ["mcp-method", "mcp-name", "mcp-protocol-version"] {
        let (mut headers, body) = client.request("tools/call", params.clone());
        let value = headers[name].clone();
        headers.append(name, value);
        let answer = client.post_raw(&headers, body).await;
        assert_eq!((answer.status, answer.error()), (400, Some(-32_020)), "{name} twice");
    }
    assert!(up.seen_of("tools/call").is_empty());
    // The same name, encoded, is the same name.
    let (mut headers, body) = client.request("tools/call", params);
    set(&mut headers, "mcp-name", "=?base64?ZWNobw==?=");
    assert_eq!(client.post_raw(&headers, body).await.refused(), None);
}

#[tokio::test]
async fn n_045_a_discovery_without_a_name_passes() {
    let up = upstream(Era::Stateless).await;
    let (world, bot) = before(&up, "").await;
    let client = bot.client(&world, "up", Era::Stateless).await;
    let (headers, body) = client.request("server/discover", json!({}));
    assert!(!headers.contains_key("mcp-name"));
    let result = client.post_raw(&headers, body).await.result();
    let versions = json!([mcp::STATELESS_VERSION, "2025-11-25", "2025-06-18"]);
    assert_eq!(result["supportedVersions"], versions, "what is spoken here, not behind it");
    assert_eq!(result["cacheScope"], "private");
}

#[tokio::test]
async fn unknown_methods_are_refused_as_their_era_says() {
    for era in ERAS {
        let up = upstream(era).await;
        let (world, bot) = before(&up, "").await;
        let client = bot.connected(&world, "up", era).await;
        let before = up.seen().len();
        let unknown =
            ["no/such", "tools/Call", "rpc.discover", "roots/list", "subscriptions/listen"];
        let removed = ["initialize", "ping", "logging/setLevel", "resources/subscribe"];
        let removed = if era == Era::Session { &[] } else { &removed[..] };
        for method in unknown.iter().chain(removed) {
            let answer = client.ask(method, json!({})).await;
            let status = if era == Era::Session { 200 } else { 404 };
            assert_eq!((answer.status, answer.error()), (status, Some(-32_601)), "{method}");
        }
        world.refusal("unknown_method").await;
        assert_eq!(up.seen().len(), before);
        let missing: Value = client.ask("resources/read", json!({})).await.json();
        let code = if era == Era::Session { -32_602 } else { -32_020 };
        assert_eq!(missing["error"]["code"], code);
    }
}
