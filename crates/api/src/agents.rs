//! What agents and enforcement points reach: MCP, tokens, and how to find them.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use gateway::{Gateway, HttpCall, Reply, ReplyBody};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use model::Clock;
use oauth::OAuthError;
use serde::Serialize;
use sts::{TokenHttpRequest, TokenService};
use tower_http::catch_panic::CatchPanicLayer;

use crate::answers;
use crate::bodies::{Bodies, Form, Unread, Whole};
use crate::described::{agents as described, hosted};
use crate::hosts::{self, Hosts};
use crate::network;
use crate::openapi::Routes;
use crate::receivers::{self, Receivers};
use crate::well_known;

/// What the handlers for agents need.
#[derive(Clone)]
pub struct Agents {
    /// The enforcement point.
    pub gateway: Arc<Gateway>,
    /// The token service.
    pub tokens: Arc<TokenService>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Room for request bodies.
    pub bodies: Bodies,
    /// The names under which it may be addressed.
    pub hosts: Hosts,
    /// Whether all connections are a proxy's: then their addresses tell nobody from another.
    pub behind_proxy: bool,
}

/// The router for agents, and for `receivers`, which are told of them.
pub fn agents(state: Agents, receivers: Receivers) -> Router {
    let (gateway, path) = (state.gateway.clone(), state.hosts.path().clone());
    let hosts = state.hosts.clone().telling(Arc::new(move |cause| gateway.note_refusal(cause)));
    let of_server = "/.well-known/oauth-protected-resource/mcp/{server}";
    let of_service = "/.well-known/oauth-authorization-server";
    let of_receivers = receivers::routes();
    let routes = Routes::new(hosted)
        .post("/mcp/{server}", mcp_post, described::mcp_post())
        .delete("/mcp/{server}", mcp_delete, described::mcp_delete())
        .post("/oauth/token", token, described::token())
        .post("/oauth/par", push, described::push())
        .post("/oauth/device", device, described::device())
        .post("/oauth/revoke", revoke, described::revoke())
        .post("/oauth/introspect", introspect, described::introspect())
        .get("/oauth/authorize", authorize, described::authorize("authorize"))
        .post("/oauth/authorize", authorize, described::authorize("authorize_by_form"))
        .get("/oauth/jwks", jwks, described::jwks())
        .get(of_service, server_metadata, described::server_metadata())
        .get(of_server, resource_metadata, described::resource_metadata())
        .with_document(&described::about(), [of_receivers.told()])
        .layer(axum::middleware::from_fn_with_state(hosts, hosts::check))
        .with_state(state);
    let routes = routes
        .merge(receivers.answering(of_receivers.into_router()))
        // A panic answers 500 and forwards nothing: its permit, if it had one, closes as unknown.
        .layer(CatchPanicLayer::new());
    well_known::found_before(&path, routes)
}

async fn mcp_post(
    State(state): State<Agents>,
    Path(server): Path<String>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    Whole { body, room }: Whole,
) -> Response {
    let arrived = state.clock.monotonic();
    let body = match check_form(&headers).and(body) {
        Ok(body) => body,
        Err(unread) => return unread.told(&state.gateway),
    };
    let (peer, sender) = addresses(peer.as_ref(), &state);
    let (server, headers) = (server.as_str(), &headers);
    let room = room.map(Arc::new);
    let call = HttpCall { server, headers, body, room, arrived, peer, sender };
    written(state.gateway.post(call).await)
}

async fn mcp_delete(
    State(state): State<Agents>,
    Path(server): Path<String>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Response {
    let arrived = state.clock.monotonic();
    let (body, (peer, sender)) = (Bytes::new(), addresses(peer.as_ref(), &state));
    let (server, headers) = (server.as_str(), &headers);
    let call = HttpCall { server, headers, body, room: None, arrived, peer, sender };
    match state.gateway.delete(&call).await {
        Some(reply) => written(reply),
        None => (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")]).into_response(),
    }
}

/// Where a request comes from, as whoever accepted its connection says.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// Where a request comes from, and the same as far as it tells one who sends from another.
fn addresses(peer: Option<&Extension<Peer>>, state: &Agents) -> (Option<IpAddr>, Option<IpAddr>) {
    let peer = peer.map(|Extension(peer)| *peer);
    (peer.map(|Peer(address)| address), network::sender(peer, state.behind_proxy))
}

/// Checks what a POST says of its form (MCP, streamable HTTP): JSON comes, and an answer may be
/// JSON or a stream.
fn check_form(headers: &HeaderMap) -> Result<(), Unread> {
    let refuse = |cause, status, why| Err(Unread { cause, status, why });
    if !is_json(headers) {
        let why = "the content type must be application/json\n";
        return refuse("content_type", StatusCode::UNSUPPORTED_MEDIA_TYPE, why);
    }
    // An encoded body would be something else to whoever decodes it.
    if headers.contains_key(header::CONTENT_ENCODING) {
        let why = "the body must not be encoded\n";
        return refuse("content_encoding", StatusCode::UNSUPPORTED_MEDIA_TYPE, why);
    }
    if !accepts(headers, "application/json") || !accepts(headers, "text/event-stream") {
        let why = "Accept must list application/json and text/event-stream\n";
        return refuse("accept", StatusCode::NOT_ACCEPTABLE, why);
    }
    Ok(())
}

pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let only = values.next().filter(|_| values.next().is_none());
    let value = only.and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// Whether `Accept` takes `wanted` (RFC 9110 §12.5.1); without the header, anything is taken.
fn accepts(headers: &HeaderMap, wanted: &str) -> bool {
    let group = wanted.split('/').next().unwrap_or_default();
    let takes = |range: &str| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let refused = parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
        let fits = name == wanted || name == "*/*" || name == format!("{group}/*");
        fits && !refused
    };
    let mut values = headers.get_all(header::ACCEPT).iter().peekable();
    values.peek().is_none()
        || values.filter_map(|value| value.to_str().ok()).any(|value| value.split(',').any(takes))
}

fn written(Reply { status, headers, body, way_back, unkept }: Reply) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match body {
        ReplyBody::Empty => Response::new(Body::empty()),
        ReplyBody::Json(document) => match answers::json(document, way_back) {
            Some(response) => response,
            // 503 says that nothing was done.
            None => match unkept {
                Some(unkept) => return written(*unkept),
                None => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
            },
        },
        ReplyBody::Events(messages) => answers::stream(messages),
    };
    *response.status_mut() = status;
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

async fn token(asking: Asking) -> Response {
    asking.answered(async |tokens, request| tokens.token(request).await).await
}

async fn push(asking: Asking) -> Response {
    let mut response = asking.answered(async |tokens, request| tokens.push(request).await).await;
    // RFC 9126 §2.2.
    if response.status() == StatusCode::OK {
        *response.status_mut() = StatusCode::CREATED;
    }
    response
}

async fn device(mut asking: Asking) -> Response {
    asking.from = asking.sender;
    asking.answered(async |tokens, request| tokens.enrol(request).await).await
}

async fn revoke(asking: Asking) -> Response {
    let answer = async |tokens: &TokenService, request: TokenHttpRequest<'_>| {
        tokens.revoke(request).await.map(|()| serde_json::json!({}))
    };
    asking.answered(answer).await
}

async fn introspect(asking: Asking) -> Response {
    asking.answered(async |tokens, request| tokens.introspect(request).await).await
}

/// A form of a client of the token service.
struct Asking {
    state: Agents,
    /// Where it comes from, as far as that is told.
    from: Option<IpAddr>,
    /// The same, where it tells one who sends from another.
    sender: Option<IpAddr>,
    headers: HeaderMap,
    form: Whole,
}

impl FromRequest<Agents> for Asking {
    type Rejection = Infallible;

    async fn from_request(request: Request, state: &Agents) -> Result<Self, Infallible> {
        let peer = request.extensions().get::<Peer>().copied();
        let (from, headers) = (peer.map(|Peer(address)| address), request.headers().clone());
        let sender = network::sender(peer, state.behind_proxy);
        let Form(form) = Form::from_request(request, state).await?;
        Ok(Self { state: state.clone(), from, sender, headers, form })
    }
}

impl Asking {
    /// The answer, by `answer`.
    async fn answered<T: Serialize>(
        self,
        answer: impl AsyncFnOnce(&TokenService, TokenHttpRequest<'_>) -> Result<T, OAuthError>,
    ) -> Response {
        let Self { state, from, sender, headers, form: Whole { body, room: _room } } = self;
        let arrived = state.clock.monotonic();
        let body = match body {
            Ok(body) => body,
            Err(unread) => return unread.told(&state.gateway),
        };
        let Some(_turn) = state.gateway.turn_of(sender).await else {
            let (status, why) = (StatusCode::SERVICE_UNAVAILABLE, "try again later\n");
            return Unread { cause: "too_many", status, why }.told(&state.gateway);
        };
        let proofs: Vec<_> = headers.get_all("dpop").iter().collect();
        // Several are none that holds: they are not passed over, as if there were none.
        let proof = match proofs.as_slice() {
            [] => None,
            [proof] => Some(proof.to_str().unwrap_or_default()),
            _ => Some(""),
        };
        let client = headers.get(header::USER_AGENT).and_then(|client| client.to_str().ok());
        let request = TokenHttpRequest { form: &body, dpop: proof, from, client, arrived };
        let (status, body) = match answer(&state.tokens, request).await {
            Ok(answer) => (200, serde_json::to_value(answer).expect("a map with text keys")),
            Err(error) => (error.status(), error.body()),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let nonce = (HeaderName::from_static("dpop-nonce"), state.tokens.nonce());
        let cache = (header::CACHE_CONTROL, "no-store".to_owned());
        ([cache, nonce], (status, axum::Json(body))).into_response()
    }
}

/// No response type is offered here (RFC 6749 §4.1.2.1): where people log in, they authorize clients at
/// their own listener. Nobody is redirected: no client registered where.
async fn authorize() -> Response {
    let why = "nobody logs in here: an agent gets its token with `client_credentials`";
    let body =
        serde_json::json!({ "error": "unsupported_response_type", "error_description": why });
    (StatusCode::BAD_REQUEST, axum::Json(body)).into_response()
}

async fn jwks(State(state): State<Agents>) -> Response {
    axum::Json(state.tokens.jwks()).into_response()
}

async fn server_metadata(State(state): State<Agents>) -> Response {
    axum::Json(state.tokens.metadata()).into_response()
}

async fn resource_metadata(State(state): State<Agents>, Path(server): Path<String>) -> Response {
    // Every name has metadata: whether there is such a server is told to who may know it.
    match server.parse::<model::ServerName>() {
        Ok(server) => axum::Json(state.tokens.resource_metadata(&server)).into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}
