//! What operators and outsiders reach: health, metrics, and the public part of the log.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};

use crate::hosts::{self, Hosts};

/// Whether the service can do its work, and what is wrong if it cannot.
pub trait Health: Send + Sync {
    /// What is wrong, one line each; empty if it is ready.
    fn troubles(&self) -> Vec<String>;
    /// The metrics, in the text format of Prometheus.
    fn metrics(&self) -> String;
}

/// What the handlers for observers need.
#[derive(Clone)]
pub struct Observers {
    /// Knows what is wrong.
    pub health: Arc<dyn Health>,
    /// The directory of the published log.
    pub log_dir: PathBuf,
    /// The names under which it may be addressed.
    pub hosts: Hosts,
}

/// The router for observers.
pub fn observers(state: Observers) -> Router {
    let hosts = state.hosts.clone();
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/log/checkpoint", get(checkpoint))
        .route("/log/tile/{*path}", get(tile))
        .layer(axum::middleware::from_fn_with_state(hosts, hosts::check))
        .with_state(state)
}

async fn ready(State(state): State<Observers>) -> Response {
    let troubles = state.health.troubles();
    if troubles.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, troubles.join("\n") + "\n").into_response()
}

async fn metrics(State(state): State<Observers>) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (headers, state.health.metrics()).into_response()
}

async fn checkpoint(State(state): State<Observers>) -> Response {
    let headers =
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    match tokio::fs::read(state.log_dir.join("checkpoint")).await {
        Ok(note) => (headers, note).into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Hash tiles only: entries are for auditors.
async fn tile(State(state): State<Observers>, Path(path): Path<String>) -> Response {
    let public = !path.starts_with("entries")
        && path.bytes().all(|byte| byte.is_ascii_digit() || b"x/.p".contains(&byte))
        && !path.contains("..");
    if !public {
        return StatusCode::NOT_FOUND.into_response();
    }
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    match tokio::fs::read(state.log_dir.join("tile").join(path)).await {
        Ok(bytes) => (headers, bytes).into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}
