//! The form of requests: addresses, types, sizes, methods.

use std::convert::Infallible;

use api::{Agents, Hosts};
use axum::body::Body;
use futures::stream;
use http::StatusCode;
use mcp::Era;
use serde_json::Value;

use crate::support::{ISSUER, jti};
use crate::{BODY_MAX, HOST, Surface, Told, ask, request};

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

/// Sends a ping with good credentials and these headers beside or instead.
async fn ping(surface: &Surface, headers: &[(&str, &str)]) -> Told {
    post(surface, headers, PING.to_owned()).await
}

async fn post(surface: &Surface, headers: &[(&str, &str)], body: String) -> Told {
    let client = surface.bot.client(&surface.world, "up", Era::Session).await;
    let url = format!("{ISSUER}/mcp/up");
    let proof = client.proof_at("POST", &url, surface.world.now(), &jti());
    let mut builder = http::Request::builder().method("POST").uri("/mcp/up");
    let usual = [("host", HOST), ("content-type", "application/json")];
    let replaced = |name: &str| headers.iter().any(|(given, _)| *given == name);
    for (name, value) in usual.iter().filter(|(name, _)| !replaced(name)).chain(headers) {
        builder = builder.header(*name, *value);
    }
    builder = builder.header("authorization", format!("DPoP {}", client.token));
    builder = builder.header("dpop", proof);
    ask(&surface.agents, builder.body(Body::from(body)).expect("a request")).await
}

#[tokio::test]
async fn n_070_a_request_addressed_to_another_host_is_refused() {
    let surface = Surface::new().await;
    for host in
        ["evil.test", "evil.test:8420", "chancery.test", "chancery.test:80", "127.0.0.1", ""]
    {
        let answer = ping(&surface, &[("host", host)]).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{host}");
    }
    let twice = ping(&surface, &[("host", HOST), ("host", "evil.test")]).await;
    assert_eq!(twice.status, StatusCode::FORBIDDEN);
    surface.world.refusal("host_or_origin").await;
    for host in [HOST, "CHANCERY.test:8420", "localhost:8420", "127.0.0.1:8420"] {
        assert_eq!(ping(&surface, &[("host", host)]).await.status, StatusCode::OK, "{host}");
    }
}

#[tokio::test]
async fn n_071_a_request_from_somebody_elses_page_is_refused() {
    let surface = Surface::new().await;
    for origin in [
        "http://evil.test",
        "null",
        "http://chancery.test",
        "http://chancery.test:8420.evil.test",
        "file://",
        "chancery.test:8420",
        "http://evil.test@chancery.test:8420",
        "",
    ] {
        let answer = ping(&surface, &[("origin", origin)]).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{origin}");
    }
    surface.world.refusal("host_or_origin").await;
    let own = ping(&surface, &[("origin", "http://chancery.test:8420")]).await;
    assert_eq!(own.status, StatusCode::OK);
    let both = [("origin", "http://chancery.test:8420"), ("origin", "http://evil.test")];
    assert_eq!(ping(&surface, &both).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn n_110_a_body_beyond_its_limit_is_refused_and_recorded() {
    let surface = Surface::new().await;
    let padded = |bytes: usize| format!("{PING}{}", " ".repeat(bytes - PING.len()));
    assert_eq!(post(&surface, &[], padded(BODY_MAX)).await.status, StatusCode::OK);
    let answer = post(&surface, &[], padded(BODY_MAX + 1)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    surface.world.refusal("body_unread").await;
}

/// A request for a token has its own limit, also where its head does not say how long it is.
#[tokio::test]
async fn a_request_for_a_token_beyond_its_limit_is_refused() {
    const MAX: usize = 16 * 1024;
    let surface = Surface::new().await;
    let check = async |bytes: usize, expected: StatusCode| {
        let chunk = |bytes: usize| Ok::<_, Infallible>("x".repeat(bytes));
        let chunked = Body::from_stream(stream::iter([chunk(bytes - 1), chunk(1)]));
        for body in [chunked, Body::from("x".repeat(bytes))] {
            let request = request("POST", "/oauth/token").body(body).expect("a request");
            assert_eq!(ask(&surface.agents, request).await.status, expected, "{bytes}");
        }
    };
    check(MAX, StatusCode::BAD_REQUEST).await;
    check(MAX + 1, StatusCode::PAYLOAD_TOO_LARGE).await;
}

#[tokio::test]
async fn a_post_says_what_it_brings_and_what_it_takes() {
    let surface = Surface::new().await;
    for kind in ["text/plain", "application/jsonp", "application/x-www-form-urlencoded", ""] {
        let answer = ping(&surface, &[("content-type", kind)]).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
    }
    let encoded = ping(&surface, &[("content-encoding", "gzip")]).await;
    assert_eq!(encoded.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    for accept in
        ["application/json", "text/event-stream", "text/html", "application/json, text/*;q=0"]
    {
        let answer = ping(&surface, &[("accept", accept)]).await;
        assert_eq!(answer.status, StatusCode::NOT_ACCEPTABLE, "{accept}");
    }
    for cause in ["content_type", "content_encoding", "accept"] {
        surface.world.refusal(cause).await;
    }
    for accept in ["application/json, text/event-stream", "*/*", "Application/*;q=0.5, text/*"] {
        let answer = ping(&surface, &[("accept", accept)]).await;
        assert_eq!(answer.status, StatusCode::OK, "{accept}");
    }
    let charset = ping(&surface, &[("content-type", "Application/JSON; charset=utf-8")]).await;
    assert_eq!(charset.status, StatusCode::OK);
}

#[tokio::test]
async fn there_is_no_stream_to_get_and_the_answer_says_what_there_is() {
    let surface = Surface::new().await;
    for method in ["GET", "HEAD", "PUT", "PATCH", "OPTIONS"] {
        let request = request(method, "/mcp/up").body(Body::empty()).expect("a request");
        let answer = ask(&surface.agents, request).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        let allowed = answer.headers["allow"].to_str().expect("text");
        assert!(allowed.contains("POST") && allowed.contains("DELETE"), "{method}: {allowed}");
    }
    let request = request("DELETE", "/mcp/up").header("mcp-protocol-version", "2026-07-28");
    let answer = ask(&surface.agents, request.body(Body::empty()).expect("a request")).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.headers["allow"], "POST");
}

/// RFC 9728 §5.1: the challenge leads to the metadata, which leads to where tokens are had.
#[tokio::test]
async fn a_challenge_leads_to_the_metadata_of_the_resource() {
    let surface = Surface::new().await;
    let request = request("POST", "/mcp/up").header("content-type", "application/json");
    let answer = ask(&surface.agents, request.body(Body::from(PING)).expect("a request")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let challenge = answer.headers["www-authenticate"].to_str().expect("text");
    let (_, rest) = challenge.split_once("resource_metadata=\"").expect("it names the metadata");
    let url = rest.split('"').next().expect("a URL");
    let path = url.strip_prefix(ISSUER).expect("ours");
    let get = |path: &str| crate::request("GET", path).body(Body::empty()).expect("a request");
    let metadata = ask(&surface.agents, get(path)).await;
    let metadata: Value = serde_json::from_str(&metadata.text).expect("JSON");
    assert_eq!(metadata["resource"], format!("{ISSUER}/mcp/up"));
    assert_eq!(metadata["authorization_servers"], serde_json::json!([ISSUER]));
    assert_eq!(metadata["dpop_bound_access_tokens_required"], true);
    let server = ask(&surface.agents, get("/.well-known/oauth-authorization-server")).await;
    let server: Value = serde_json::from_str(&server.text).expect("JSON");
    assert_eq!(server["issuer"], ISSUER);
}

/// RFC 8414 §3.1, RFC 9728 §3.1, SSF 1.0 §7.2.1: what an issuer with a path publishes is found before the path.
#[tokio::test]
async fn ss_02_what_an_issuer_with_a_path_publishes_is_found_before_it() {
    let surface = Surface::new().await;
    let hosts = Hosts::new(&format!("{ISSUER}/chancery/eu"), "127.0.0.1:8420".parse().unwrap());
    let agents = Agents { hosts, ..crate::of(&surface.world) };
    let behind = api::agents(agents, crate::receivers(&surface.world));
    let get = |path: &str| request("GET", path).body(Body::empty()).expect("a request");
    for (name, rest) in [
        ("oauth-authorization-server", ""),
        ("oauth-protected-resource", "/mcp/up"),
        ("ssf-configuration", ""),
    ] {
        let as_it_is = ask(&behind, get(&format!("/.well-known/{name}{rest}"))).await;
        let found = ask(&behind, get(&format!("/.well-known/{name}/chancery/eu{rest}"))).await;
        assert_eq!((as_it_is.status, found.status), (StatusCode::OK, StatusCode::OK), "{name}");
        assert_eq!(found.text, as_it_is.text, "{name}");
        for path in ["/chancery", "/chancery/eux", "/other"] {
            let place = format!("/.well-known/{name}{path}{rest}");
            assert_eq!(ask(&behind, get(&place)).await.status, StatusCode::NOT_FOUND, "{place}");
        }
        let place = format!("/.well-known/{name}/chancery/eu{rest}");
        let elsewhere = ask(&surface.agents, get(&place)).await;
        assert_eq!(elsewhere.status, StatusCode::NOT_FOUND, "its issuer has no path");
    }
}

/// What a challenge leads to is there whatever the path of the issuer: also where it is like one of what is behind it, and
/// was taken off on the way.
#[tokio::test]
async fn ss_02_a_path_like_that_of_a_server_hides_no_metadata() {
    let surface = Surface::new().await;
    let get = |path: &str| request("GET", path).body(Body::empty()).expect("a request");
    let names = [
        ("oauth-authorization-server", ""),
        ("oauth-protected-resource", "/mcp/up"),
        ("ssf-configuration", ""),
    ];
    for path in ["/mcp", "/mcp/up", "/mcp/mcp"] {
        let hosts = Hosts::new(&format!("{ISSUER}{path}"), "127.0.0.1:8420".parse().unwrap());
        let agents = Agents { hosts, ..crate::of(&surface.world) };
        let behind = api::agents(agents, crate::receivers(&surface.world));
        for (name, rest) in names {
            let known = ask(&surface.agents, get(&format!("/.well-known/{name}{rest}"))).await;
            assert_eq!(known.status, StatusCode::OK, "{name}");
            for place in [format!("{name}{rest}"), format!("{name}{path}{rest}")] {
                let found = ask(&behind, get(&format!("/.well-known/{place}"))).await;
                assert_eq!((found.status, &found.text), (StatusCode::OK, &known.text), "{place}");
            }
        }
    }
}

#[tokio::test]
async fn only_hash_tiles_and_the_checkpoint_are_public() {
    let surface = Surface::new().await;
    let get = |path: &str| request("GET", path).body(Body::empty()).expect("a request");
    for path in [
        "/log/tile/entries/000",
        "/log/tile/0/../entries/000",
        "/log/tile/%65ntries/000",
        "/log/tile/0%2f..%2fentries%2f000",
        "/log/tile/%2e%2e/checkpoint",
        "/log/tile/../checkpoint",
        "/log/tile//0/000",
        "/log/tile/%2fetc%2fpasswd",
        "/log/tile/0/000/",
        "/log/tile/0",
        "/log/tile/0/000.p/1",
        "/log/entries/000",
        "/log/",
        "/log/tile/",
        "/log/tile/0/000%00",
    ] {
        assert_eq!(
            ask(&surface.observers, get(path)).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    let tile = ask(&surface.observers, get("/log/tile/0/000")).await;
    assert_eq!((tile.status, tile.text.as_str()), (StatusCode::OK, "tile/0/000"));
    let checkpoint = ask(&surface.observers, get("/log/checkpoint")).await;
    assert_eq!((checkpoint.status, checkpoint.text.as_str()), (StatusCode::OK, "checkpoint"));
}

/// What is refused in the pages for people is recorded, as it is everywhere.
#[tokio::test]
async fn n_071_what_is_refused_of_a_page_is_recorded() {
    let surface = Surface::new().await;
    let check = async |request: http::request::Builder, body: &str, cause: &str| {
        let answer =
            ask(&surface.observers, request.body(Body::from(body.to_owned())).unwrap()).await;
        assert!(answer.status.is_client_error(), "{cause}: {}", answer.status);
        surface.world.refusal(cause).await;
    };
    let consent = "/consent/con_00000000000000000000000000000000";
    let foreign = request("POST", consent).header("origin", "http://evil.test");
    check(foreign, "", "host_or_origin").await;
    check(request("POST", consent), "choice=once&choice=refuse", "form_malformed").await;
    check(request("POST", consent), "choice=once", "not_logged_in").await;
    check(request("GET", "/consent/nothing"), "", "consent_unknown").await;
    check(request("GET", "/login?to=//evil.test"), "", "login_return_path").await;
}
