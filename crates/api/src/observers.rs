//! What operators and outsiders reach: health, metrics, and the public part of the log.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

use crate::described::{hosted, observers as described};
use crate::hosts::{self, Hosts};
use crate::openapi::Routes;

/// Whether the service can do its work, and what is wrong if it cannot.
pub trait Health: Send + Sync {
    /// What is wrong, one line each; empty if it is ready.
    fn troubles(&self) -> Vec<String>;
    /// The metrics, in the text format of Prometheus.
    fn metrics(&self) -> String;
    /// The digest of the policy set in force.
    fn policy(&self) -> String;
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

/// What observers reach.
pub(crate) fn routes() -> Routes<Observers> {
    Routes::new(hosted)
        .get("/healthz", async || "ok\n", described::healthz())
        .get("/readyz", ready, described::readyz())
        .get("/metrics", metrics, described::metrics())
        .get("/log/checkpoint", checkpoint, described::checkpoint())
        .get("/log/tile/{*path}", tile, described::tile())
}

impl Observers {
    /// The same routes, answered by this.
    pub(crate) fn answering(self, routes: Router<Self>) -> Router {
        let hosts = self.hosts.clone();
        routes.layer(axum::middleware::from_fn_with_state(hosts, hosts::check)).with_state(self)
    }
}

async fn ready(State(state): State<Observers>) -> Response {
    let policy = format!("policy {}\n", state.health.policy());
    let troubles = state.health.troubles();
    if troubles.is_empty() {
        return format!("ready\n{policy}").into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, troubles.join("\n") + "\n" + &policy).into_response()
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
    if !is_hash_tile(&path) {
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

/// Whether `path` names a hash tile (C2SP tlog-tiles: `L/N` or `L/N.p/W`), and so nothing else.
fn is_hash_tile(path: &str) -> bool {
    let (whole, width) = match path.split_once(".p/") {
        Some((whole, width)) => (whole, Some(width)),
        None => (path, None),
    };
    let digits = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let Some((level, index)) = whole.split_once('/') else { return false };
    let mut groups = index.split('/').rev();
    let last = groups.next().is_some_and(|group| group.len() == 3 && digits(group, 3));
    let thousands = |group: &str| {
        group.strip_prefix('x').is_some_and(|rest| rest.len() == 3 && digits(rest, 3))
    };
    digits(level, 2) && last && groups.all(thousands) && width.is_none_or(|width| digits(width, 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, is_tile: bool) {
        assert_eq!(is_hash_tile(path), is_tile, "{path}");
    }

    #[test]
    fn only_hash_tiles_are_public() {
        check("0/000", true);
        check("0/x001/067", true);
        check("63/x001/x234/067.p/8", true);
        check("entries/000", false);
        check("0/entries/000", false);
        check("/0/000", false);
        check("0//000", false);
        check("0/../000", false);
        check("0/x001/../000", false);
        check("./0/000", false);
        check("0/000.p/../../../checkpoint", false);
        check("0/000.p/", false);
        check("0/00", false);
        check("0/0000", false);
        check("0", false);
        check("", false);
    }
}
