//! The tool server of a drill: it does nothing but count the calls that reach it, and tell the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use bytes::Bytes;
use http::{StatusCode, header};
use model::Clock as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::system::SystemClock;

/// How long a stream waits before it does more.
const STEP: Duration = Duration::from_millis(20);

/// The most that one stream does.
const STEPS_MAX: u64 = 1_500;

/// A tool server on loopback that counts. It ends when it is dropped.
pub(super) struct Canary {
    /// Where it is.
    pub(super) url: String,
    counted: Arc<Counted>,
    serving: JoinHandle<()>,
}

/// What reached it.
struct Counted {
    calls: AtomicU64,
    steps: AtomicU64,
    /// When it did something last, in milliseconds since the epoch.
    last: AtomicI64,
    clock: SystemClock,
}

impl Canary {
    /// Starts one on a free port.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let (calls, steps, last) = (AtomicU64::new(0), AtomicU64::new(0), AtomicI64::new(0));
        let counted = Arc::new(Counted { calls, steps, last, clock: SystemClock::new() });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}/mcp", listener.local_addr()?);
        let router = Router::new().route("/mcp", post(answer)).with_state(counted.clone());
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the canary ended");
            }
        });
        Ok(Self { url, counted, serving })
    }

    /// How many calls reached it so far.
    pub(super) fn calls(&self) -> u64 {
        self.counted.calls.load(Ordering::SeqCst)
    }

    /// How much its streams did so far.
    pub(super) fn steps(&self) -> u64 {
        self.counted.steps.load(Ordering::SeqCst)
    }

    /// When it did something last, by its own clock, in milliseconds since the epoch.
    pub(super) fn last(&self) -> i64 {
        self.counted.last.load(Ordering::SeqCst)
    }

    /// The time by its clock.
    pub(super) fn now(&self) -> i64 {
        self.counted.clock.now().as_millis()
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Counted {
    fn count(&self, what: &AtomicU64) {
        what.fetch_add(1, Ordering::SeqCst);
        self.last.fetch_max(self.clock.now().as_millis(), Ordering::SeqCst);
    }
}

async fn answer(State(counted): State<Arc<Counted>>, body: Bytes) -> Response {
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
            let tool = |name: &str| json!({ "name": name, "inputSchema": schema });
            answer["result"] = json!({ "tools": [tool("touch"), tool("follow")] });
        }
        "tools/call" => {
            counted.count(&counted.calls);
            let text = json!([{ "type": "text", "text": "touched" }]);
            answer["result"] = json!({ "content": text, "isError": false });
            if asked["params"]["name"] == "follow" {
                let token = asked["params"]["_meta"]["progressToken"].clone();
                return stream(counted, token, answer);
            }
        }
        _ => answer["error"] = json!({ "code": -32_601, "message": "method not found" }),
    }
    axum::Json(answer).into_response()
}

/// Does more and more, and tells of each step, until nobody listens; `answer` comes at its end.
fn stream(counted: Arc<Counted>, token: Value, answer: Value) -> Response {
    let steps = futures::stream::unfold(0, move |step| {
        let (counted, token, answer) = (counted.clone(), token.clone(), answer.clone());
        async move {
            if step > STEPS_MAX {
                return None;
            }
            tokio::time::sleep(STEP).await;
            let message = if step == STEPS_MAX {
                answer
            } else {
                counted.count(&counted.steps);
                let params = json!({ "progressToken": token, "progress": step });
                json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params })
            };
            let event = Bytes::from(format!("data: {message}\n\n"));
            Some((Ok::<_, std::convert::Infallible>(event), step + 1))
        }
    });
    let kind = [(header::CONTENT_TYPE, "text/event-stream")];
    (kind, Body::from_stream(steps)).into_response()
}
