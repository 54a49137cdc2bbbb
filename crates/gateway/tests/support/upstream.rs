//! An MCP server over HTTP on loopback that does what the test says. It keeps every byte.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use gateway::Target;
use mcp::Era;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// What the server does with one method, or with the calls of one tool.
#[derive(Clone, Debug)]
pub enum Act {
    /// Answers with this result.
    Result(Value),
    /// Answers with this JSON-RPC error.
    Error(Value),
    /// Answers with these messages as events; `$id` stands for the request's id.
    Events(Vec<String>),
    /// The same, but waits for a release, or for the other end to close, before the last.
    HeldEvents(Vec<String>),
    /// Asks these requests, one after the other as events, and answers with what it was told to
    /// each of those that have an id.
    Asks(Vec<String>),
    /// Answers with these bytes and closes.
    Raw(Vec<u8>),
    /// Answers with this status, these header lines and this body.
    Http(u16, &'static str, String),
    /// Says nothing until the other end closes.
    Silent,
}

/// One request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The request line and the headers.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Seen {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    pub fn method(&self) -> String {
        self.json()["method"].as_str().unwrap_or_default().to_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

struct Inner {
    era: Era,
    pages: Mutex<Vec<Vec<Value>>>,
    acts: Mutex<BTreeMap<String, Act>>,
    seen: Mutex<Vec<Seen>>,
    bytes: Mutex<Vec<u8>>,
    sessions: AtomicUsize,
    hung_up: AtomicUsize,
    released: Semaphore,
    stopped: CancellationToken,
}

/// A server at a URL.
#[derive(Clone)]
pub struct Upstream {
    pub url: String,
    inner: Arc<Inner>,
}

/// A tool that takes anything.
pub fn tool(name: &str) -> Value {
    json!({ "name": name, "description": name, "inputSchema": { "type": "object" } })
}

impl Upstream {
    /// A server with these tools, all on one page.
    pub async fn start(era: Era, tools: Vec<Value>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a port");
        let url = format!("http://{}/mcp", listener.local_addr().expect("bound"));
        let inner = Arc::new(Inner {
            era,
            pages: Mutex::new(vec![tools]),
            acts: Mutex::default(),
            seen: Mutex::default(),
            bytes: Mutex::default(),
            sessions: AtomicUsize::new(0),
            hung_up: AtomicUsize::new(0),
            released: Semaphore::new(0),
            stopped: CancellationToken::new(),
        });
        let serving = inner.clone();
        tokio::spawn(async move {
            let stopped = serving.stopped.clone();
            while let Some(Ok((stream, _))) = stopped.run_until_cancelled(listener.accept()).await {
                let (stopped, serving) = (stopped.clone(), serving.clone());
                tokio::spawn(async move {
                    stopped.run_until_cancelled(Box::pin(serve(stream, serving))).await;
                });
            }
        });
        Self { url, inner }
    }

    pub fn target(&self) -> Target {
        Target::Http { url: self.url.parse().expect("a URL"), header: None }
    }

    /// Closes every connection and takes no more.
    pub fn stop(&self) {
        self.inner.stopped.cancel();
    }

    /// Does `act` on the method `on`, on calls of a tool (`tools/call:NAME`), on a page (`tools/list:CURSOR`), or on
    /// answers to what it asked (`answers`).
    pub fn on(&self, on: &str, act: Act) {
        self.inner.acts.lock().unwrap().insert(on.to_owned(), act);
    }

    /// Lists these tools from now on, page by page.
    pub fn list(&self, pages: Vec<Vec<Value>>) {
        *self.inner.pages.lock().unwrap() = pages;
    }

    /// Lets one held stream go on.
    pub fn release(&self) {
        self.inner.released.add_permits(1);
    }

    /// Every request that came.
    pub fn seen(&self) -> Vec<Seen> {
        self.inner.seen.lock().unwrap().clone()
    }

    /// The requests for `method` that came.
    pub fn seen_of(&self, method: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.method() == method).collect()
    }

    /// Every byte that came.
    pub fn bytes(&self) -> Vec<u8> {
        self.inner.bytes.lock().unwrap().clone()
    }

    /// How often the other end closed while it was to be answered.
    pub fn hung_up(&self) -> usize {
        self.inner.hung_up.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, inner: Arc<Inner>) {
    let mut buffer = Vec::new();
    while let Some(seen) = Box::pin(read(&mut stream, &mut buffer, &inner)).await {
        inner.seen.lock().unwrap().push(seen.clone());
        if !Box::pin(answer(&mut stream, &seen, &inner)).await {
            return;
        }
    }
}

/// Reads one request.
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>, inner: &Inner) -> Option<Seen> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let seen = Seen { head, body: String::new() };
            let length = seen.header("content-length").and_then(|text| text.parse().ok());
            let whole = end + 4 + length.unwrap_or(0);
            if buffer.len() >= whole {
                let body = String::from_utf8_lossy(&buffer[end + 4..whole]).into_owned();
                buffer.drain(..whole);
                return Some(Seen { body, ..seen });
            }
        }
        let mut chunk = [0; 16 * 1024];
        let length = stream.read(&mut chunk).await.ok().filter(|length| *length > 0)?;
        inner.bytes.lock().unwrap().extend(&chunk[..length]);
        buffer.extend(&chunk[..length]);
    }
}

/// Answers one request; false if the connection is done.
async fn answer(stream: &mut TcpStream, seen: &Seen, inner: &Inner) -> bool {
    let message = seen.json();
    let is_answer = message.get("id").is_some() && message.get("method").is_none();
    let held = inner.acts.lock().unwrap().get("answers").filter(|_| is_answer).cloned();
    if let Some(act) = held {
        return Box::pin(perform(act, ("", ""), stream, inner)).await;
    }
    if seen.head.starts_with("DELETE") || is_answer || message.get("id").is_none() {
        return write(stream, &http(202, "", "")).await;
    }
    let method = message["method"].as_str().unwrap_or_default();
    let part = message["params"]["name"].as_str().or(message["params"]["cursor"].as_str());
    let part = part.unwrap_or_default();
    let act = {
        let acts = inner.acts.lock().unwrap();
        acts.get(&format!("{method}:{part}")).or_else(|| acts.get(method)).cloned()
    };
    let act = act.unwrap_or_else(|| usual(method, &message, inner));
    let id = message["id"].to_string();
    perform(act, (method, &id), stream, inner).await
}

async fn perform(
    act: Act,
    (method, id): (&str, &str),
    stream: &mut TcpStream,
    inner: &Inner,
) -> bool {
    let body = |member: &str, value: &Value| {
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"{member}\":{value}}}")
    };
    match act {
        Act::Result(result) => {
            let session = if method == "initialize" {
                let number = inner.sessions.fetch_add(1, Ordering::SeqCst) + 1;
                format!("mcp-session-id: up-{number}\r\n")
            } else {
                String::new()
            };
            write(stream, &http(200, &session, &body("result", &result))).await
        }
        Act::Error(error) => write(stream, &http(200, "", &body("error", &error))).await,
        Act::Http(status, headers, body) => {
            write(stream, &http(status, headers, &body.replace("$id", id))).await
        }
        Act::Raw(bytes) => {
            let text = String::from_utf8_lossy(&bytes).replace("$id", id);
            let bytes = if text.contains(id) { text.into_bytes() } else { bytes };
            write(stream, &bytes).await;
            false
        }
        Act::Silent => {
            wait_for_end(stream, inner).await;
            false
        }
        Act::Events(events) => write_events(stream, &events, id, true).await,
        Act::Asks(requests) => {
            let before = inner.seen.lock().unwrap().len();
            if !write_events(stream, &requests, id, false).await {
                return false;
            }
            tokio::select! {
                told = told(inner, before, &requests) => {
                    let text = json!({ "content": [{ "type": "text", "text": told }] });
                    let last = chunk(&body("result", &text));
                    write(stream, format!("{last}0\r\n\r\n").as_bytes()).await
                }
                () = wait_for_end(stream, inner) => false,
            }
        }
        Act::HeldEvents(events) => {
            let (last, first) = events.split_last().expect("there is one");
            if !write_events(stream, first, id, false).await {
                return false;
            }
            tokio::select! {
                permit = inner.released.acquire() => permit.expect("never closed").forget(),
                () = wait_for_end(stream, inner) => return false,
            }
            let last = chunk(&last.replace("$id", id));
            write(stream, format!("{last}0\r\n\r\n").as_bytes()).await
        }
    }
}

/// What came back to the requests that have an id, by that id, as JSON text.
async fn told(inner: &Inner, before: usize, requests: &[String]) -> String {
    let requests = requests.iter().map(|text| serde_json::from_str::<Value>(text).expect("JSON"));
    let ids: Vec<Value> = requests.filter_map(|request| request.get("id").cloned()).collect();
    loop {
        let seen: Vec<Value> =
            inner.seen.lock().unwrap()[before..].iter().map(Seen::json).collect();
        let answer = |id: &Value| {
            seen.iter().find(|seen| seen["id"] == *id && seen.get("method").is_none()).cloned()
        };
        let answers: Option<Vec<Value>> = ids.iter().map(answer).collect();
        if let Some(answers) = answers {
            return Value::from(answers).to_string();
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}

async fn wait_for_end(stream: &mut TcpStream, inner: &Inner) {
    let mut byte = [0; 1];
    let _ = stream.read(&mut byte).await;
    inner.hung_up.fetch_add(1, Ordering::SeqCst);
}

async fn write(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    stream.write_all(bytes).await.is_ok()
}

async fn write_events(stream: &mut TcpStream, events: &[String], id: &str, ends: bool) -> bool {
    let mut text = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                    transfer-encoding: chunked\r\n\r\n"
        .to_owned();
    text.extend(events.iter().map(|event| chunk(&event.replace("$id", id))));
    if ends {
        text.push_str("0\r\n\r\n");
    }
    write(stream, text.as_bytes()).await
}

fn chunk(event: &str) -> String {
    let data = format!("event: message\ndata: {event}\n\n");
    format!("{:x}\r\n{data}\r\n", data.len())
}

fn http(status: u16, headers: &str, body: &str) -> Vec<u8> {
    let kind = if headers.contains("content-type") || body.is_empty() {
        ""
    } else {
        "content-type: application/json\r\n"
    };
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\n{kind}{headers}content-length: {length}\r\n\r\n{body}").into()
}

/// What a well-behaved server does.
fn usual(method: &str, message: &Value, inner: &Inner) -> Act {
    let stateless = inner.era == Era::Stateless;
    let mut result = match method {
        "server/discover" if stateless => json!({
            "supportedVersions": [mcp::STATELESS_VERSION],
            "capabilities": { "tools": {} },
            "cacheScope": "public",
            "ttlMs": 60_000,
        }),
        "initialize" if !stateless => json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "up", "version": "1" },
        }),
        "server/discover" | "initialize" => {
            return Act::Error(json!({ "code": -32_601, "message": "method not found" }));
        }
        "tools/list" => page(message, inner),
        "tools/call" => {
            let arguments = &message["params"]["arguments"];
            json!({ "content": [{ "type": "text", "text": arguments.to_string() }], "isError": false })
        }
        other => json!({ "did": other, "cacheScope": "public" }),
    };
    if stateless {
        result["resultType"] = "complete".into();
    } else if let Some(members) = result.as_object_mut() {
        members.remove("cacheScope");
    }
    Act::Result(result)
}

fn page(message: &Value, inner: &Inner) -> Value {
    let pages = inner.pages.lock().unwrap();
    let cursor = message["params"]["cursor"].as_str().and_then(|text| text.parse().ok());
    let at: usize = cursor.unwrap_or(0);
    let mut result = json!({ "tools": pages.get(at).cloned().unwrap_or_default() });
    if at + 1 < pages.len() {
        result["nextCursor"] = (at + 1).to_string().into();
    }
    result
}
