//! Who gets which answer where: every endpoint, for everybody.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use axum::Router;
use axum::body::Body;
use expect_test::expect_file;
use http::Request;
use mcp::Era;

use crate::{Surface, ask, request};

/// Every endpoint: the listener, the method, the route as it is written in the code, a path of it.
const ENDPOINTS: [(&str, &str, &str, &str); 38] = [
    ("agents", "POST", "/mcp/{server}", "/mcp/up"),
    ("agents", "POST", "/mcp/{server}", "/mcp/other"),
    ("agents", "POST", "/mcp/{server}", "/mcp/absent"),
    ("agents", "POST", "/mcp/{server}", "/mcp/%2e%2e"),
    ("agents", "DELETE", "/mcp/{server}", "/mcp/up"),
    ("agents", "GET", "/mcp/{server}", "/mcp/up"),
    ("agents", "HEAD", "/mcp/{server}", "/mcp/up"),
    ("agents", "PUT", "/mcp/{server}", "/mcp/up"),
    ("agents", "POST", "/oauth/token", "/oauth/token"),
    ("agents", "POST", "/oauth/par", "/oauth/par"),
    ("agents", "POST", "/oauth/revoke", "/oauth/revoke"),
    ("agents", "POST", "/oauth/introspect", "/oauth/introspect"),
    ("agents", "GET", "/oauth/authorize", "/oauth/authorize"),
    ("agents", "POST", "/oauth/authorize", "/oauth/authorize"),
    ("agents", "GET", "/oauth/jwks", "/oauth/jwks"),
    (
        "agents",
        "GET",
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-authorization-server",
    ),
    (
        "agents",
        "GET",
        "/.well-known/oauth-protected-resource/mcp/{server}",
        "/.well-known/oauth-protected-resource/mcp/up",
    ),
    (
        "agents",
        "GET",
        "/.well-known/oauth-protected-resource/mcp/{server}",
        "/.well-known/oauth-protected-resource/mcp/absent",
    ),
    ("agents", "POST", "/api/v1/command", "/api/v1/command"),
    ("observers", "GET", "/healthz", "/healthz"),
    ("observers", "GET", "/readyz", "/readyz"),
    ("observers", "GET", "/metrics", "/metrics"),
    ("observers", "GET", "/log/checkpoint", "/log/checkpoint"),
    ("observers", "GET", "/log/tile/{*path}", "/log/tile/0/000"),
    ("observers", "GET", "/log/tile/{*path}", "/log/tile/entries/000"),
    ("observers", "POST", "/mcp/{server}", "/mcp/up"),
    ("people", "GET", "/login", "/login"),
    ("people", "GET", "/login/callback", "/login/callback?state=x&code=y"),
    ("people", "POST", "/logout", "/logout"),
    ("people", "GET", "/oauth/authorize", "/oauth/authorize"),
    ("people", "GET", "/oauth/authorize", AUTHORIZE),
    ("people", "GET", "/consent/{id}", CONSENT),
    ("people", "POST", "/consent/{id}", CONSENT),
    ("people", "GET", "/mandates", "/mandates"),
    ("people", "POST", "/mandates/{id}", "/mandates/man_00000000000000000000000000000000"),
    ("nobody's", "GET", "/oauth/authorize", AUTHORIZE),
    ("nobody's", "GET", "/consent/{id}", CONSENT),
    ("admin", "POST", "/api/v1/command", "/api/v1/command"),
];

/// A request for consent of which nobody knows.
const CONSENT: &str = "/consent/con_00000000000000000000000000000000";

/// A request of a client of which nobody knows.
const AUTHORIZE: &str = "/oauth/authorize?client_id=https%3A%2F%2Fevil.test%2Fc&redirect_uri=https%3A%2F%2Fevil.test%2Fcb";

const ROLES: [&str; 4] = ["nobody", "agent", "agent of another server", "foreign page"];

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

#[tokio::test]
async fn i_23_every_endpoint_has_an_expected_answer_for_everybody() {
    let surface = Surface::new().await;
    let other = surface.world.agent("other-bot", &["other/*"]).await;
    let mut matrix = String::new();
    for (listener, method, _, path) in ENDPOINTS {
        let router = match listener {
            "agents" => &surface.agents,
            "observers" => &surface.observers,
            "people" => &surface.people,
            "nobody's" => &surface.nobodys,
            _ => &surface.admin,
        };
        write!(matrix, "{listener} {method} {path}:").expect("text");
        for role in ROLES {
            let status = status(&surface, router, (method, path), (role, &other)).await;
            write!(matrix, " {role} {status};").expect("text");
        }
        matrix.push('\n');
    }
    expect_file!["golden/authority.txt"].assert_eq(&matrix);
}

async fn status(
    surface: &Surface,
    router: &Router,
    (method, path): (&str, &str),
    (role, other): (&str, &crate::support::Agent),
) -> u16 {
    let mut request = request(method, path).header("content-type", "application/json");
    let client = match role {
        "agent" => Some(surface.bot.client(&surface.world, "up", Era::Session).await),
        "agent of another server" => {
            Some(other.client(&surface.world, "other", Era::Session).await)
        }
        _ => None,
    };
    if role == "foreign page" {
        request = request.header("origin", "http://evil.test");
    }
    if let Some(client) = client {
        let url = format!("{}{path}", crate::support::ISSUER);
        let now = surface.world.now();
        let proof = client.proof_at(method, &url, now, &crate::support::jti());
        request = request.header("authorization", format!("DPoP {}", client.token));
        request = request.header("dpop", proof);
    }
    let body = if method == "POST" { Body::from(PING) } else { Body::empty() };
    ask(router, request.body(body).expect("a request")).await.status.as_u16()
}

/// Every route in the code stands in the matrix, so that a new one is decided on before it is there.
#[test]
fn i_23_the_matrix_covers_every_route() {
    let sources = [
        include_str!("../../src/agents.rs"),
        include_str!("../../src/observers.rs"),
        include_str!("../../src/people.rs"),
        include_str!("../../src/admin.rs"),
    ];
    let routes = sources.iter().flat_map(|text| text.split(".route(\"").skip(1));
    let routes: BTreeSet<_> = routes.filter_map(|rest| rest.split('"').next()).collect();
    let covered: BTreeSet<_> = ENDPOINTS.iter().map(|(_, _, route, _)| *route).collect();
    assert!(routes.len() >= 11, "the routes are found: {routes:?}");
    assert_eq!(routes, covered);
}

/// I-21: what does not exist and what is not yours are the same answer, to the byte.
#[tokio::test]
async fn i_21_absent_and_not_yours_are_the_same_answer() {
    let surface = Surface::new().await;
    let client = surface.bot.client(&surface.world, "up", Era::Session).await;
    let mut told = Vec::new();
    for server in ["other", "absent"] {
        for credentials in [false, true] {
            let path = format!("/mcp/{server}");
            let mut request = request("POST", &path).header("content-type", "application/json");
            if credentials {
                let url = format!("{}{path}", crate::support::ISSUER);
                let proof =
                    client.proof_at("POST", &url, surface.world.now(), &crate::support::jti());
                request = request.header("authorization", format!("DPoP {}", client.token));
                request = request.header("dpop", proof);
            }
            let request: Request<Body> = request.body(Body::from(PING)).expect("a request");
            let answer = ask(&surface.agents, request).await;
            let headers = format!("{:?}", answer.headers).replace(server, "SERVER");
            told.push((credentials, answer.status, headers, answer.text));
        }
    }
    assert_eq!(told[0], told[2], "without credentials");
    assert_eq!(told[1], told[3], "with credentials for another server");
    let mut metadata = Vec::new();
    for server in ["other", "absent"] {
        let path = format!("/.well-known/oauth-protected-resource/mcp/{server}");
        let request = request("GET", &path).body(Body::empty()).expect("a request");
        let answer = ask(&surface.agents, request).await;
        metadata.push((answer.status, answer.text.replace(server, "SERVER")));
    }
    assert_eq!(metadata[0], metadata[1]);
}
