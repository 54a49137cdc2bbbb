//! MCP over streamable HTTP on loopback, for clients that speak nothing else.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::BodyExt as _;

use super::Gateway;
use super::answer::Message;

/// The largest message of a client, in bytes.
const BODY_MAX: usize = 4 << 20;

/// The headers of a client that go on to the gateway: MCP's own and nothing else.
const PASSED_ON: [&str; 5] =
    ["mcp-session-id", "mcp-protocol-version", "mcp-method", "mcp-name", "last-event-id"];

/// Serves until it is told to stop.
pub(super) async fn run(gateway: Gateway, address: SocketAddr) -> anyhow::Result<()> {
    anyhow::ensure!(
        address.ip().is_loopback(),
        "`--listen {address}` is off loopback: whoever reached it would act as this agent"
    );
    let listener = tokio::net::TcpListener::bind(address).await;
    let listener = listener.with_context(|| {
        format!("could not listen on `{address}`: is another process using the port?")
    })?;
    let address = listener.local_addr()?;
    let state = Local { gateway: Arc::new(gateway), address };
    let router = Router::new()
        .route("/mcp", post(pass).delete(pass))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(state);
    eprintln!("chancery: speaking MCP on http://{address}/mcp");
    axum::serve(listener, router).await.context("could not serve")
}

#[derive(Clone)]
struct Local {
    gateway: Arc<Gateway>,
    address: SocketAddr,
}

async fn pass(
    State(local): State<Local>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !is_ours(&headers, local.address) {
        return (StatusCode::FORBIDDEN, "the Host or Origin is not ours\n").into_response();
    }
    // What a page may send without asking is never JSON.
    if method == Method::POST && !is_json(&headers) {
        let why = "the content type must be application/json\n";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, why).into_response();
    }
    let mcp = headers.iter().filter(|(name, _)| {
        PASSED_ON.contains(&name.as_str()) || name.as_str().starts_with("mcp-param-")
    });
    let mcp: HeaderMap = mcp.map(|(name, value)| (name.clone(), value.clone())).collect();
    match local.gateway.send(method, &mcp, body.clone()).await {
        Ok(response) => {
            let (mut parts, body) = response.into_parts();
            // Challenges are between us and the gateway: a client that saw one would log in.
            for name in [header::WWW_AUTHENTICATE, header::TRANSFER_ENCODING, header::CONNECTION] {
                parts.headers.remove(name);
            }
            parts.headers.remove("dpop-nonce");
            Response::from_parts(parts, Body::new(body.map_err(axum::Error::new)))
        }
        Err(error) => {
            let answer = Message::read(&body).unanswered(&error);
            tracing::error!("{:#}", anyhow::Error::from(error));
            let unreached = "the authorization service cannot be reached\n";
            let Some(answer) = answer else {
                return (StatusCode::BAD_GATEWAY, unreached).into_response();
            };
            ([(header::CONTENT_TYPE, "application/json")], answer).into_response()
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// Whether a request is addressed to us, once, and comes from no other page than our own.
fn is_ours(headers: &HeaderMap, address: SocketAddr) -> bool {
    let names = [address.to_string(), format!("localhost:{}", address.port())];
    let is_name = |text: &str| names.iter().any(|name| name.eq_ignore_ascii_case(text));
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        _ => None,
    };
    let own_origin = |value: &http::HeaderValue| {
        value.to_str().ok().and_then(|text| text.strip_prefix("http://")).is_some_and(is_name)
    };
    host.is_some_and(is_name) && headers.get_all(header::ORIGIN).iter().all(own_origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(&'static str, &'static str)], expected: bool) {
        let value = http::HeaderValue::from_static;
        let mut all = HeaderMap::new();
        for (name, text) in headers {
            all.append(http::HeaderName::from_static(name), value(text));
        }
        let address = SocketAddr::from(([127, 0, 0, 1], 9000));
        assert_eq!(is_ours(&all, address), expected, "{headers:?}");
    }

    #[test]
    fn n_070_n_071_a_foreign_host_or_origin_is_refused() {
        check(&[("host", "127.0.0.1:9000")], true);
        check(&[("host", "LocalHost:9000")], true);
        check(&[("host", "127.0.0.1:9000"), ("origin", "http://localhost:9000")], true);
        check(&[], false);
        check(&[("host", "127.0.0.1")], false);
        check(&[("host", "evil.example:9000")], false);
        check(&[("host", "127.0.0.1:9000"), ("host", "evil.example")], false);
        check(&[("host", "127.0.0.1:9000"), ("origin", "http://evil.example")], false);
        check(&[("host", "127.0.0.1:9000"), ("origin", "null")], false);
        check(&[("host", "127.0.0.1:9000"), ("origin", "https://localhost:9000")], false);
        let twice = ("origin", "http://localhost:9000");
        check(&[("host", "127.0.0.1:9000"), twice, ("origin", "http://evil.example")], false);
    }
}
