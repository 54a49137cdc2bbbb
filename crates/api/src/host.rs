//! The host's socket: a voucher for the process at the other end.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use http::StatusCode;
use model::{HostProcess, Thumbprint};
use oauth::access_token::Confirmation;
use serde_json::json;
use sts::TokenService;

/// The largest request, in bytes.
const REQUEST_MAX: usize = 1_024;

#[derive(Clone)]
struct Peer {
    tokens: Arc<TokenService>,
    process: HostProcess,
}

/// The router for the peer `process`, which asks with the thumbprint of its key (RFC 7638) as `jkt`.
pub fn host(tokens: Arc<TokenService>, process: HostProcess) -> Router {
    Router::new()
        .route("/v1/voucher", post(voucher))
        .layer(DefaultBodyLimit::max(REQUEST_MAX))
        .with_state(Peer { tokens, process })
}

async fn voucher(State(peer): State<Peer>, body: Bytes) -> Response {
    let limits = json::Limits { bytes: REQUEST_MAX, depth: 2 };
    let wanted = json::from_slice::<Confirmation>(&body, limits).ok();
    let Some(key) = wanted.and_then(|wanted| wanted.thumbprint()) else {
        return (StatusCode::BAD_REQUEST, "`jkt` is the thumbprint of a key\n").into_response();
    };
    match peer.tokens.vouch(Thumbprint::from_bytes(key), peer.process) {
        Some(voucher) => Json(json!({ "voucher": voucher })).into_response(),
        None => StatusCode::TOO_MANY_REQUESTS.into_response(),
    }
}
