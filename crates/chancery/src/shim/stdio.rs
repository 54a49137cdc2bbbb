//! MCP on standard input and output: one message a line.

use std::sync::Arc;
use std::sync::RwLock;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::Gateway;

/// The longest message of a client, in bytes.
const LINE_MAX: usize = 4 << 20;

/// How many answers may wait for a client that does not read.
const ANSWERS_WAITING_MAX: usize = 1_024;

/// What the gateway told us to send along in the session era.
#[derive(Default)]
struct Negotiated {
    session: Option<HeaderValue>,
    version: Option<HeaderValue>,
}

/// Passes messages on until standard input ends and everything under way is answered.
pub(super) async fn run(gateway: Gateway) -> anyhow::Result<()> {
    let gateway = Arc::new(gateway);
    let negotiated = Arc::new(RwLock::new(Negotiated::default()));
    let (answers, mut to_write) = mpsc::channel::<Bytes>(ANSWERS_WAITING_MAX);
    let tasks = TaskTracker::new();
    let writer = tokio::spawn(async move {
        let mut output = tokio::io::stdout();
        while let Some(line) = to_write.recv().await {
            output.write_all(&line).await?;
            output.write_all(b"\n").await?;
            output.flush().await?;
        }
        Ok::<_, std::io::Error>(())
    });
    let mut input = BufReader::new(tokio::io::stdin());
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line).await? > 0 {
        let message = Bytes::from(std::mem::take(&mut line)).trim_ascii_owned();
        if message.is_empty() || message.len() > LINE_MAX {
            continue;
        }
        let is_initialize = method_of(&message).as_deref() == Some("initialize");
        let pass = pass(gateway.clone(), negotiated.clone(), message, answers.clone());
        // What follows `initialize` needs the session that it begins.
        if is_initialize { pass.await } else { drop(tasks.spawn(pass)) }
    }
    tasks.close();
    tasks.wait().await;
    end_session(&gateway, &negotiated).await;
    drop(answers);
    writer.await??;
    Ok(())
}

trait TrimOwned {
    fn trim_ascii_owned(&self) -> Bytes;
}

impl TrimOwned for Bytes {
    fn trim_ascii_owned(&self) -> Bytes {
        self.slice_ref(self.trim_ascii())
    }
}

fn method_of(message: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(message).ok()?;
    value.get("method")?.as_str().map(str::to_owned)
}

async fn pass(
    gateway: Arc<Gateway>,
    negotiated: Arc<RwLock<Negotiated>>,
    message: Bytes,
    answers: mpsc::Sender<Bytes>,
) {
    let headers = headers_for(&message, &negotiated);
    let sent = gateway.send(Method::POST, &headers, message.clone()).await;
    match sent {
        Ok(response) => {
            if let Some(session) = response.headers().get("mcp-session-id") {
                let mut known = negotiated.write().expect("no panic while it is held");
                known.session = Some(session.clone());
            }
            deliver(response, &message, &negotiated, &answers).await;
        }
        Err(error) => {
            tracing::error!("{error:#}");
            if let Some(answer) = unavailable(&message) {
                let _ = answers.send(answer).await;
            }
        }
    }
}

/// The headers that go with a message: those of its session, or those that its own `_meta` says.
fn headers_for(message: &[u8], negotiated: &RwLock<Negotiated>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let value: Value = serde_json::from_slice(message).unwrap_or_default();
    let meta = value.pointer("/params/_meta/io.modelcontextprotocol~1protocolVersion");
    let mut insert = |name: &'static str, text: &str| {
        if let Ok(text) = HeaderValue::from_str(&mcp::encode_header_value(text)) {
            headers.insert(HeaderName::from_static(name), text);
        }
    };
    if let Some(version) = meta.and_then(Value::as_str) {
        insert("mcp-protocol-version", version);
        if let Some(method) = value.get("method").and_then(Value::as_str) {
            insert("mcp-method", method);
        }
        let name = ["/params/name", "/params/uri", "/params/taskId"];
        let name = name.iter().find_map(|path| value.pointer(path)).and_then(Value::as_str);
        if let Some(name) = name {
            insert("mcp-name", name);
        }
        return headers;
    }
    let known = negotiated.read().expect("no panic while it is held");
    headers.extend(known.session.clone().map(|v| (HeaderName::from_static("mcp-session-id"), v)));
    let version = known.version.clone();
    headers.extend(version.map(|v| (HeaderName::from_static("mcp-protocol-version"), v)));
    headers
}

async fn deliver(
    response: Response<Incoming>,
    message: &Bytes,
    negotiated: &RwLock<Negotiated>,
    answers: &mpsc::Sender<Bytes>,
) {
    let content_type = response.headers().get("content-type").cloned();
    let content_type = content_type.as_ref().and_then(|value| value.to_str().ok());
    let is_stream = content_type.is_some_and(|kind| kind.starts_with("text/event-stream"));
    if is_stream {
        let mut parser = mcp::SseParser::new(gateway::UPSTREAM_MESSAGE_MAX);
        let mut body = response.into_body();
        while let Some(Ok(frame)) = body.frame().await {
            let Some(data) = frame.data_ref() else { continue };
            let Ok(events) = parser.push(data) else { return };
            for event in events.into_iter().filter(|event| !event.data.is_empty()) {
                let _ = answers.send(Bytes::from(event.data)).await;
            }
        }
        return;
    }
    let Ok(body) = response.into_body().collect().await else { return };
    let body = body.to_bytes();
    if body.is_empty() {
        return;
    }
    if let Ok(value) = serde_json::from_slice::<Value>(&body) {
        let version = value.pointer("/result/protocolVersion").and_then(Value::as_str);
        let version = version.and_then(|version| HeaderValue::from_str(version).ok());
        if let Some(version) = version {
            negotiated.write().expect("no panic while it is held").version = Some(version);
        }
        let _ = answers.send(body).await;
    } else if let Some(answer) = unavailable(message) {
        let _ = answers.send(answer).await;
    }
}

/// What a client reads whose request never got an answer.
fn unavailable(message: &[u8]) -> Option<Bytes> {
    let value: Value = serde_json::from_slice(message).ok()?;
    let id = value.get("id")?;
    let text = "the call was not made: the authorization service cannot be reached";
    let error = json!({ "code": -32_603, "message": text });
    Some(json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string().into())
}

async fn end_session(gateway: &Gateway, negotiated: &RwLock<Negotiated>) {
    let session = negotiated.read().expect("no panic while it is held").session.clone();
    let Some(session) = session else { return };
    let headers = HeaderMap::from_iter([(HeaderName::from_static("mcp-session-id"), session)]);
    if let Err(error) = gateway.send(Method::DELETE, &headers, Bytes::new()).await {
        tracing::debug!("{error:#}");
    }
}
