//! The MCP server behind everything that is measured: small, quick, always the same answer.

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::http::Connection;
use crate::machine;

/// The server's name in the configuration of whatever is before it.
pub(crate) const NAME: &str = "payments";

/// The one tool.
pub(crate) const TOOL: &str = "refund";

/// The account of an ordinary call.
pub(crate) const ACCOUNT: &str = "ACME-0042";

/// The account of a call that is answered by a stream which falls silent after one event.
pub(crate) const SILENT: &str = "ACME-0000";

/// How the account of a call begins that is answered by a stream of parts, each of which has an effect.
const PART: &[u8] = b"\"PART-";

/// How many parts such an answer has, and how far they are apart.
const PARTS: (u32, Duration) = (40, Duration::from_millis(25));

/// What a call gives.
pub(crate) const RESULT: &str =
    r#"{"content":[{"type":"text","text":"refunded 2.50 to ACME-0042"}],"isError":false}"#;

/// An event of a stream.
const BEGUN: &str = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\
                     \"params\":{\"level\":\"info\",\"data\":\"begun\"}}\n\n";

const ABOUT: &str = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"payments","version":"1.0.0"}}"#;

const TOOLS: &str = r#"{"tools":[{"name":"refund","description":"Refunds an amount","inputSchema":{"type":"object","properties":{"account":{"type":"string"},"amount":{"type":"integer","minimum":1},"reason":{"type":"string"}},"required":["account","amount"]}}]}"#;

/// A running server.
pub(crate) struct Upstream {
    pub(crate) port: u16,
    did: Arc<Did>,
}

/// What the calls did.
#[derive(Default)]
struct Did {
    calls: AtomicU64,
    /// When the last part of an answer had its effect, by account.
    parts: Mutex<HashMap<Vec<u8>, Instant>>,
}

#[derive(Deserialize)]
struct Asked<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: &'a str,
}

impl Upstream {
    /// Starts it on a thread and a port of its own.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let did = Arc::<Did>::default();
        let doing = did.clone();
        std::thread::spawn(move || {
            let served = serve(listener, doing);
            panic!("the server behind what is measured ended: {served:?}");
        });
        Ok(Self { port, did })
    }

    /// How many calls of the tool arrived.
    pub(crate) fn calls(&self) -> u64 {
        self.did.calls.load(Ordering::Relaxed)
    }

    /// When an answer in parts last had an effect for `account`.
    pub(crate) fn last_effect(&self, account: &str) -> Option<Instant> {
        let parts = self.did.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.get(account.as_bytes()).copied()
    }
}

fn serve(listener: TcpListener, did: Arc<Did>) -> anyhow::Result<()> {
    machine::pin(machine::load_core())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            let (connection, did) = (Connection::new(stream)?, did.clone());
            tokio::spawn(async move {
                // Whoever was served badly notices, and its row is void.
                let _ = converse(connection, &did).await;
            });
        }
    })
}

async fn converse(mut connection: Connection, did: &Did) -> anyhow::Result<()> {
    while let Some(body) = connection.request().await? {
        if let Some((id, account)) = in_parts(body)? {
            part_by_part(&mut connection, (&id, &account), did).await?;
            continue;
        }
        let answer = answer(body, &did.calls)?;
        connection.write(&answer).await?;
    }
    Ok(())
}

/// The id and the account of a call that is answered in parts.
fn in_parts(body: &[u8]) -> anyhow::Result<Option<(String, Vec<u8>)>> {
    let Some(at) = memchr::memmem::find(body, PART) else { return Ok(None) };
    let account = &body[at + 1..];
    let end = memchr::memchr(b'"', account).context("an account is text")?;
    let asked: Asked<'_> = serde_json::from_slice(body)?;
    let id = asked.id.context("a call has an id")?.get().to_owned();
    Ok(Some((id, account[..end].to_owned())))
}

/// Answers in parts, each with its effect, until all are said or whoever asked is gone.
async fn part_by_part(
    connection: &mut Connection,
    (id, account): (&str, &[u8]),
    did: &Did,
) -> anyhow::Result<()> {
    connection.write(&silent()).await?;
    let (parts, apart) = PARTS;
    for _ in 0..parts {
        tokio::select! {
            ended = connection.ended() => return ended.and_then(|()| bail!("whoever asked is gone")),
            () = tokio::time::sleep(apart) => {}
        }
        let now = Instant::now();
        did.parts.lock().unwrap_or_else(PoisonError::into_inner).insert(account.to_owned(), now);
        connection.write(&chunk(BEGUN)).await?;
    }
    let result = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{RESULT}}}");
    connection.write(&chunk(&format!("event: message\ndata: {result}\n\n"))).await?;
    connection.write(b"0\r\n\r\n").await
}

fn answer(body: &[u8], calls: &AtomicU64) -> anyhow::Result<Vec<u8>> {
    let asked: Asked<'_> = serde_json::from_slice(body)?;
    let Some(id) = asked.id else { return Ok(plain("202 Accepted", "")) };
    let id = id.get();
    let result = match asked.method {
        "tools/call" if memchr::memmem::find(body, SILENT.as_bytes()).is_some() => {
            return Ok(silent());
        }
        "tools/call" => {
            calls.fetch_add(1, Ordering::Relaxed);
            RESULT
        }
        "tools/list" => TOOLS,
        "initialize" => ABOUT,
        _ => {
            let error = r#"{"code":-32601,"message":"method not found"}"#;
            let body = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{error}}}");
            return Ok(plain("200 OK", &body));
        }
    };
    Ok(plain("200 OK", &format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}")))
}

/// The head and one event of a stream that goes on.
fn silent() -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked";
    [head.as_bytes(), b"\r\n\r\n", &chunk(BEGUN)].concat()
}

fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

fn plain(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}
