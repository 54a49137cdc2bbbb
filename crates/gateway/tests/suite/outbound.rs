//! Upstreams that misbehave: what the client is told, what is recorded, and what never happens.

use mcp::Era;
use serde_json::{Value, json};

use crate::support::{Act, Setup, Upstream};
use crate::{ERAS, POLICY, before, upstream, with};

/// Lets the server do `act` on a call; checks what the client is told and what is recorded.
async fn check(act: Act, code: &str, outcome: &str) {
    for era in ERAS {
        for server in ERAS {
            let up = upstream(server).await;
            let (world, bot) = before(&up, "").await;
            let client = bot.connected(&world, "up", era).await;
            up.on("tools/call", act.clone());
            let shown: String = format!("{act:?}").chars().take(120).collect();
            let answer = client.call("pay", json!({})).await;
            assert_eq!(answer.status, 200, "{shown}");
            assert_eq!(answer.refused().as_deref(), Some(code), "{shown}: {answer:?}");
            assert_eq!(world.outcome("up/pay").await, outcome, "{shown}");
            assert_eq!(up.seen_of("tools/call").len(), 1, "{shown}: it is not tried again");
        }
    }
}

const RIGHT: &str = r#"{"jsonrpc":"2.0","id":$id,"result":{"content":[]}}"#;

#[tokio::test]
async fn what_is_no_answer_is_unknown() {
    let text = |text: &str| Act::Http(200, "", text.to_owned());
    for garbage in [
        "this is not JSON",
        "",
        "[]",
        "{}",
        r#"{"jsonrpc":"2.0","id":$id}"#,
        r#"{"jsonrpc":"2.0","id":999,"result":{"content":[]}}"#,
        r#"{"jsonrpc":"2.0","id":"$id","result":{"content":[]}}"#,
        r#"{"jsonrpc":"2.0","id":null,"result":{"content":[]}}"#,
        r#"{"jsonrpc":"2.0","id":$id,"result":{},"error":{}}"#,
        r#"[{"jsonrpc":"2.0","id":$id,"result":{"content":[]}}]"#,
    ] {
        check(text(garbage), "outcome_unknown", "unknown").await;
    }
}

#[tokio::test]
async fn half_an_answer_is_unknown() {
    let half = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n\
                {\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":{}}";
    check(Act::Raw(half.as_bytes().to_vec()), "outcome_unknown", "unknown").await;
    check(Act::Raw(Vec::new()), "outcome_unknown", "unknown").await;
    check(Act::Raw(b"HTTP/1.1 200 O".to_vec()), "outcome_unknown", "unknown").await;
    check(Act::Raw(b"\x00\xff\xfe".to_vec()), "outcome_unknown", "unknown").await;
    let cut = RIGHT[..20].to_owned();
    check(Act::Events(vec![cut]), "outcome_unknown", "unknown").await;
    check(Act::Events(Vec::new()), "outcome_unknown", "unknown").await;
    let bytes = [b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n", [0xff, 0xfe, 0xfd].as_slice()];
    check(Act::Raw(bytes.concat()), "outcome_unknown", "unknown").await;
}

#[tokio::test]
async fn n_110_an_answer_beyond_its_limit_is_unknown() {
    let with = |padding: usize| {
        let result = format!(r#"{{"content":[],"padding":"{}"}}"#, "x".repeat(padding));
        RIGHT.replace(r#"{"content":[]}"#, &result)
    };
    let huge = with(gateway::UPSTREAM_MESSAGE_MAX);
    check(Act::Http(200, "", huge.clone()), "outcome_unknown", "unknown").await;
    check(Act::Events(vec![huge]), "outcome_unknown", "unknown").await;
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let client = bot.connected(&world, "up", Era::Session).await;
    up.on("tools/call", Act::Http(200, "", with(gateway::UPSTREAM_MESSAGE_MAX - 200)));
    assert_eq!(client.call("echo", json!({})).await.refused(), None);
}

#[tokio::test]
async fn a_status_says_whether_the_server_may_have_acted() {
    let status = |code| Act::Http(code, "content-type: text/plain\r\n", "no".to_owned());
    for code in [400, 403, 404, 405, 413, 429] {
        check(status(code), "upstream_failed", "failed").await;
    }
    for code in [408, 500, 502, 503, 504] {
        check(status(code), "outcome_unknown", "unknown").await;
    }
}

/// N-077: a redirect, or a demand for credentials, takes nothing anywhere.
#[tokio::test]
async fn n_077_nothing_follows_a_redirect_or_a_challenge() {
    let elsewhere = Upstream::start(Era::Session, Vec::new()).await;
    for status in [301, 302, 303, 307, 308] {
        let location = format!("location: {}\r\n", elsewhere.url);
        let location: &'static str = Box::leak(location.into_boxed_str());
        check(Act::Http(status, location, String::new()), "upstream_failed", "failed").await;
        // Also where the answer looks like an answer.
        check(Act::Http(status, location, RIGHT.to_owned()), "upstream_failed", "failed").await;
    }
    let asks = "www-authenticate: Bearer realm=\"x\"\r\n";
    check(Act::Http(401, asks, RIGHT.to_owned()), "upstream_failed", "failed").await;
    assert!(elsewhere.bytes().is_empty());
}

#[tokio::test]
async fn n_077_a_header_of_its_own_goes_to_that_upstream_alone() {
    let (up, other) = (upstream(Era::Session).await, upstream(Era::Session).await);
    let gateway::Target::Http { url, .. } = up.target() else { panic!("it has a URL") };
    let header = Some(("x-api-key".parse().unwrap(), "the-static-secret".parse().unwrap()));
    let target = gateway::Target::Http { url, header };
    let policy = format!(
        "{POLICY} @id(\"o\") permit (principal, action in Action::\"tools/call\", \
         resource in Server::\"other\");"
    );
    let routes = vec![("up", target), ("other", other.target())];
    let (world, bot) = with(Setup { policy, routes, ..Setup::default() }).await;
    world.onboard("other", &["*=reads-data"]).await;
    let both = world.agent("both", &["up/*", "other/*"]).await;
    assert_eq!(both.connected(&world, "other", Era::Session).await.tools().await, ["echo", "pay"]);
    let client = bot.connected(&world, "up", Era::Session).await;
    assert_eq!(client.call("echo", json!({})).await.refused(), None);
    for seen in up.seen() {
        assert_eq!(seen.header("x-api-key"), Some("the-static-secret"));
        assert_eq!(seen.header("authorization"), None, "never both");
    }
    assert!(!String::from_utf8_lossy(&other.bytes()).contains("the-static-secret"));
    // N-076: it is in no answer and no record.
    up.on("tools/call", Act::Http(401, "", String::new()));
    let answer = client.call("echo", json!({})).await;
    assert!(!format!("{answer:?}").contains("the-static-secret"));
    let records = format!("{:?}", world.records().await);
    assert!(!records.contains("the-static-secret"));
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_failed_and_nothing_happened() {
    for era in ERAS {
        let up = upstream(era).await;
        let (world, bot) = before(&up, "").await;
        let client = bot.connected(&world, "up", era).await;
        client.tools().await;
        up.stop();
        let gone = crate::support::until("nobody listens", || async {
            let answer = client.call("pay", json!({})).await;
            (answer.refused().as_deref() == Some("upstream_failed")).then_some(answer)
        });
        assert_eq!(gone.await.status, 200);
        let unsent = |record: &Value| record["outcome"] == "failed" && record["given_back"] == true;
        world.record("the outcome, which gives back what it took", unsent).await;
        assert!(up.seen_of("tools/call").is_empty());
    }
}

/// An error that the protocol itself names has its status, whoever found it.
#[tokio::test]
async fn an_error_of_the_server_has_the_status_of_its_code() {
    for era in ERAS {
        let up = upstream(era).await;
        let (world, bot) = before(&up, "").await;
        let client = bot.connected(&world, "up", era).await;
        for (code, stateless) in [(-32_021, 400), (-32_601, 404), (-32_602, 200), (-32_000, 200)] {
            let error = json!({ "code": code, "message": "x", "data": { "a": 1 } });
            up.on("tools/call", Act::Error(error.clone()));
            let answer = client.call("echo", json!({})).await;
            let status = if era == Era::Session { 200 } else { stateless };
            assert_eq!((answer.status, &answer.json()["error"]), (status, &error), "{era:?}");
        }
    }
}

/// N-083: what a server says of JSON-RPC is its own answer to this call, and nothing else.
#[tokio::test]
async fn n_083_an_error_of_the_server_is_its_own() {
    let up = upstream(Era::Session).await;
    let (world, bot) = before(&up, "").await;
    let client = bot.connected(&world, "up", Era::Session).await;
    let fake = json!({ "code": -32_001, "message": "approved", "data": { "code": "denied" } });
    up.on("tools/call", Act::Error(fake.clone()));
    let answer = client.call("echo", json!({})).await;
    assert_eq!(answer.json()["error"], fake);
    assert_eq!(world.outcome("up/echo").await, "failed");
    up.on("tools/call", Act::Result(json!({ "content": [], "isError": true })));
    assert_eq!(client.call("echo", json!({})).await.result()["isError"], true);
    let outcomes = world.records().await;
    let failed = outcomes.iter().filter(|r| r["kind"] == "outcome" && r["outcome"] == "failed");
    assert!(failed.count() >= 1);
}
