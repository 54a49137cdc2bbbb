//! Who gets which answer where: every endpoint, for everybody.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use axum::Router;
use axum::body::Body;
use expect_test::expect_file;
use http::Request;
use mcp::Era;
use serde_json::Value;

use crate::{Surface, ask, directories, document, receiver_tokens, request};

/// Every endpoint: the listener, the method, the route as it is written in the code, a path of it.
const ENDPOINTS: [(&str, &str, &str, &str); 89] = [
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
    ("agents", "POST", "/oauth/device", "/oauth/device"),
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
    ("agents", "GET", "/.well-known/ssf-configuration", "/.well-known/ssf-configuration"),
    ("agents", "POST", "/ssf/streams", "/ssf/streams"),
    ("agents", "GET", "/ssf/streams", "/ssf/streams"),
    ("agents", "PATCH", "/ssf/streams", "/ssf/streams"),
    ("agents", "PUT", "/ssf/streams", "/ssf/streams"),
    ("agents", "DELETE", "/ssf/streams", "/ssf/streams?stream_id=x"),
    ("agents", "GET", "/ssf/status", "/ssf/status?stream_id=x"),
    ("agents", "POST", "/ssf/status", "/ssf/status"),
    ("agents", "POST", "/ssf/verify", "/ssf/verify"),
    ("agents", "POST", "/ssf/poll/{stream}", "/ssf/poll/x"),
    ("agents", "POST", "/ssf/events", "/ssf/events"),
    ("agents", "POST", "/ssf/events/{stream}", "/ssf/events/caep"),
    ("agents", "POST", "/api/v1/command", "/api/v1/command"),
    ("agents", "GET", "/openapi.json", "/openapi.json"),
    ("observers", "GET", "/openapi.json", "/openapi.json"),
    ("observers", "GET", "/healthz", "/healthz"),
    ("observers", "GET", "/readyz", "/readyz"),
    ("observers", "GET", "/metrics", "/metrics"),
    ("observers", "GET", "/log/checkpoint", "/log/checkpoint"),
    ("observers", "GET", "/log/tile/{*path}", "/log/tile/0/000"),
    ("observers", "GET", "/log/tile/{*path}", "/log/tile/entries/000"),
    ("observers", "POST", "/mcp/{server}", "/mcp/up"),
    ("people", "GET", "/icon.svg", "/icon.svg"),
    ("people", "GET", "/style.css", "/style.css"),
    ("people", "GET", "/login", "/login"),
    ("people", "GET", "/login/callback", "/login/callback?state=x&code=y"),
    ("people", "POST", "/logout", "/logout"),
    ("people", "GET", "/oauth/authorize", "/oauth/authorize"),
    ("people", "GET", "/oauth/authorize", AUTHORIZE),
    ("people", "GET", "/consent/{id}", CONSENT),
    ("people", "POST", "/consent/{id}", CONSENT),
    ("people", "GET", "/device", "/device"),
    ("people", "POST", "/device", "/device"),
    ("people", "GET", "/mandates", "/mandates"),
    ("people", "POST", "/mandates/{id}", "/mandates/man_00000000000000000000000000000000"),
    ("people", "GET", "/agents", "/agents"),
    ("people", "POST", "/agents/{name}", "/agents/bot"),
    ("people", "GET", "/scim/v2/ServiceProviderConfig", "/scim/v2/ServiceProviderConfig"),
    ("people", "GET", "/scim/v2/ResourceTypes", "/scim/v2/ResourceTypes"),
    ("people", "GET", "/scim/v2/ResourceTypes/{id}", "/scim/v2/ResourceTypes/User"),
    ("people", "GET", "/scim/v2/Schemas", "/scim/v2/Schemas"),
    ("people", "GET", "/scim/v2/Schemas/{id}", "/scim/v2/Schemas/urn:x"),
    ("people", "GET", "/scim/v2/Users", "/scim/v2/Users"),
    ("people", "POST", "/scim/v2/Users", "/scim/v2/Users"),
    ("people", "POST", "/scim/v2/.search", "/scim/v2/.search"),
    ("people", "POST", "/scim/v2/Users/.search", "/scim/v2/Users/.search"),
    ("people", "GET", "/scim/v2/Users/{id}", "/scim/v2/Users/x"),
    ("people", "PUT", "/scim/v2/Users/{id}", "/scim/v2/Users/x"),
    ("people", "PATCH", "/scim/v2/Users/{id}", "/scim/v2/Users/x"),
    ("people", "DELETE", "/scim/v2/Users/{id}", "/scim/v2/Users/x"),
    ("people", "GET", "/scim/v2/Groups", "/scim/v2/Groups"),
    ("people", "POST", "/scim/v2/Groups", "/scim/v2/Groups"),
    ("people", "POST", "/scim/v2/Groups/.search", "/scim/v2/Groups/.search"),
    ("people", "GET", "/scim/v2/Groups/{id}", "/scim/v2/Groups/x"),
    ("people", "PUT", "/scim/v2/Groups/{id}", "/scim/v2/Groups/x"),
    ("people", "PATCH", "/scim/v2/Groups/{id}", "/scim/v2/Groups/x"),
    ("people", "DELETE", "/scim/v2/Groups/{id}", "/scim/v2/Groups/x"),
    ("people", "GET", "/scim/v2/Agents", "/scim/v2/Agents"),
    ("people", "POST", "/scim/v2/Agents", "/scim/v2/Agents"),
    ("people", "POST", "/scim/v2/Agents/.search", "/scim/v2/Agents/.search"),
    ("people", "GET", "/scim/v2/Agents/{id}", "/scim/v2/Agents/x"),
    ("people", "PUT", "/scim/v2/Agents/{id}", "/scim/v2/Agents/x"),
    ("people", "PATCH", "/scim/v2/Agents/{id}", "/scim/v2/Agents/x"),
    ("people", "DELETE", "/scim/v2/Agents/{id}", "/scim/v2/Agents/x"),
    ("people", "POST", "/ssf/events", "/ssf/events"),
    ("people", "POST", "/ssf/events/{stream}", "/ssf/events/caep"),
    ("nobody's", "GET", "/oauth/authorize", AUTHORIZE),
    ("nobody's", "GET", "/consent/{id}", CONSENT),
    ("admin", "GET", "/openapi.json", "/openapi.json"),
    ("admin", "POST", "/api/v1/command", "/api/v1/command"),
];

/// A request for consent of which nobody knows.
const CONSENT: &str = "/consent/con_00000000000000000000000000000000";

/// A request of a client of which nobody knows.
const AUTHORIZE: &str = "/oauth/authorize?client_id=https%3A%2F%2Fevil.test%2Fc&redirect_uri=https%3A%2F%2Fevil.test%2Fcb";

const ROLES: [&str; 6] =
    ["nobody", "agent", "agent of another server", "directory", "foreign page", "receiver"];

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

#[tokio::test]
async fn i_23_every_endpoint_has_an_expected_answer_for_everybody() {
    let surface = Surface::new().await;
    directories::register(&surface).await;
    let other = surface.world.agent("other-bot", &["other/*"]).await;
    let siem = receiver_tokens::registered(&surface, "siem", false).await;
    let siem = receiver_tokens::token(&surface, ("siem", &siem), "ssf.read ssf.manage").await;
    let mut matrix = String::new();
    for (listener, method, route, path) in ENDPOINTS {
        let router = surface.router(listener);
        let document = document(router).await;
        let told = &document["paths"][written(route)][method.to_lowercase()]["responses"];
        write!(matrix, "{listener} {method} {path}:").expect("text");
        for role in ROLES {
            let status = status(&surface, router, (method, path), (role, &other, &siem)).await;
            write!(matrix, " {role} {status};").expect("text");
            let is_told = match told {
                // What is not told is not there, or not by this method.
                Value::Null => [403, 404, 405].contains(&status) || method == "HEAD",
                told => told[status.to_string()].is_object(),
            };
            assert!(is_told, "{listener} {method} {path}: {status} is not told");
        }
        matrix.push('\n');
    }
    expect_file!["golden/authority.txt"].assert_eq(&matrix);
}

async fn status(
    surface: &Surface,
    router: &Router,
    (method, path): (&str, &str),
    (role, other, siem): (&str, &crate::support::Agent, &str),
) -> u16 {
    let mut request = request(method, path).header("content-type", "application/json");
    let client = match role {
        "agent" => Some(surface.bot.client(&surface.world, "up", Era::Session).await),
        "agent of another server" => {
            Some(other.client(&surface.world, "other", Era::Session).await)
        }
        _ => None,
    };
    match role {
        "directory" => {
            request = request.header("authorization", format!("Bearer {}", directories::TOKEN));
        }
        "receiver" => {
            request = request.header("authorization", format!("Bearer {siem}"));
        }
        "foreign page" => request = request.header("origin", "http://evil.test"),
        _ => {}
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

/// Every route of every document stands in the matrix, so that a new one is decided on before it is
/// there; and there is no route that a document does not tell.
#[tokio::test]
async fn i_23_the_documents_tell_every_route_and_the_matrix_covers_it() {
    let surface = Surface::new().await;
    let mut told = BTreeSet::new();
    for listener in ["agents", "observers", "admin"] {
        let document = document(surface.router(listener)).await;
        for (path, methods) in document["paths"].as_object().expect("paths") {
            let methods = methods.as_object().expect("methods").keys();
            told.extend(methods.map(|method| (listener, method.to_uppercase(), path.clone())));
        }
    }
    // People and observers are on one listener.
    let covered = ENDPOINTS.iter().map(|(listener, method, route, _)| {
        let listener = if *listener == "people" { "observers" } else { *listener };
        (listener, (*method).to_owned(), written(route))
    });
    let covered: BTreeSet<_> = covered.collect();
    assert!(told.len() >= 25, "routes are told: {told:?}");
    assert_eq!(told.difference(&covered).collect::<Vec<_>>(), Vec::<&_>::new());
    // What makes routes is what tells them. The host's socket speaks with our shim alone.
    let mut found = BTreeSet::new();
    routed(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert_eq!(found, ["host.rs", "openapi.rs"].map(str::to_owned).into());
}

/// The names of the files below `folder` that make routes.
fn routed(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("it can be read") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            routed(&path, found);
        } else if std::fs::read_to_string(&path).expect("text").contains(".route(") {
            found.insert(path.file_name().expect("a name").to_string_lossy().into_owned());
        }
    }
}

/// A route as documents write it.
fn written(route: &str) -> String {
    route.replace("{*", "{")
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
