//! MCP over streamable HTTP on loopback, for clients that speak nothing else.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::BodyExt as _;

use super::Gateway;

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
    let listener = listener.with_context(|| format!("could not listen on `{address}`"))?;
    let address = listener.local_addr()?;
    let state = Local { gateway: Arc::new(gateway), address };
    let router = Router::new().route("/mcp", post(pass).delete(pass)).with_state(state);
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
    let mcp = headers.iter().filter(|(name, _)| {
        PASSED_ON.contains(&name.as_str()) || name.as_str().starts_with("mcp-param-")
    });
    let mcp: HeaderMap = mcp.map(|(name, value)| (name.clone(), value.clone())).collect();
    match local.gateway.send(method, &mcp, body).await {
        Ok(response) => {
            let (mut parts, body) = response.into_parts();
            // Challenges are between us and the gateway: a client that saw one would log in.
            parts.headers.remove(header::WWW_AUTHENTICATE);
            parts.headers.remove(header::TRANSFER_ENCODING);
            parts.headers.remove("dpop-nonce");
            Response::from_parts(parts, Body::new(body.map_err(axum::Error::new)))
        }
        Err(error) => {
            tracing::error!("{error:#}");
            (StatusCode::BAD_GATEWAY, "the authorization service cannot be reached\n")
                .into_response()
        }
    }
}

fn is_ours(headers: &HeaderMap, address: SocketAddr) -> bool {
    let names = [address.to_string(), format!("localhost:{}", address.port())];
    let text = |value: &http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let host = headers.get(header::HOST).map(text).unwrap_or_default();
    let origin = |value: &http::HeaderValue| {
        names.iter().any(|name| text(value) == format!("http://{name}"))
    };
    names.contains(&host) && headers.get_all(header::ORIGIN).iter().all(origin)
}
