//! The tool server of a drill: it does nothing but count the calls that reach it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A tool server on loopback that counts. It ends when it is dropped.
pub(super) struct Canary {
    /// Where it is.
    pub(super) url: String,
    calls: Arc<AtomicU64>,
    serving: JoinHandle<()>,
}

impl Canary {
    /// Starts one on a free port.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let calls = Arc::new(AtomicU64::new(0));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}/mcp", listener.local_addr()?);
        let router = Router::new().route("/mcp", post(answer)).with_state(calls.clone());
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the canary ended");
            }
        });
        Ok(Self { url, calls, serving })
    }

    /// How many calls reached it so far.
    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(State(calls): State<Arc<AtomicU64>>, body: Bytes) -> Response {
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let method = asked["method"].as_str().unwrap_or_default();
    if method.starts_with("notifications/") {
        return StatusCode::ACCEPTED.into_response();
    }
    let mut answer = json!({ "jsonrpc": "2.0", "id": asked["id"] });
    match method {
        "initialize" => {
            answer["result"] = json!({
                "protocolVersion": "2025-11-25",
                "capabilities": { "tools": {} },
                "serverInfo": { "name": "canary", "version": env!("CARGO_PKG_VERSION") },
            });
        }
        "tools/list" => {
            let mark = json!({ "mark": { "type": "string" } });
            let schema = json!({ "type": "object", "properties": mark, "required": ["mark"] });
            answer["result"] = json!({ "tools": [{ "name": "touch", "inputSchema": schema }] });
        }
        "tools/call" => {
            calls.fetch_add(1, Ordering::SeqCst);
            let text = json!([{ "type": "text", "text": "touched" }]);
            answer["result"] = json!({ "content": text, "isError": false });
        }
        _ => answer["error"] = json!({ "code": -32_601, "message": "method not found" }),
    }
    axum::Json(answer).into_response()
}
