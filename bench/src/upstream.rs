//! The MCP server behind everything that is measured: small, quick, always the same answer.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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

/// What a call gives.
pub(crate) const RESULT: &str =
    r#"{"content":[{"type":"text","text":"refunded 2.50 to ACME-0042"}],"isError":false}"#;

const ABOUT: &str = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"payments","version":"1.0.0"}}"#;

const TOOLS: &str = r#"{"tools":[{"name":"refund","description":"Refunds an amount","inputSchema":{"type":"object","properties":{"account":{"type":"string"},"amount":{"type":"integer","minimum":1},"reason":{"type":"string"}},"required":["account","amount"]}}]}"#;

/// A running server.
pub(crate) struct Upstream {
    pub(crate) port: u16,
    calls: Arc<AtomicU64>,
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
        let calls = Arc::new(AtomicU64::new(0));
        let counted = calls.clone();
        std::thread::spawn(move || {
            let served = serve(listener, counted);
            panic!("the server behind what is measured ended: {served:?}");
        });
        Ok(Self { port, calls })
    }

    /// How many calls of the tool arrived.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }
}

fn serve(listener: TcpListener, calls: Arc<AtomicU64>) -> anyhow::Result<()> {
    machine::pin(machine::load_core())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            let (connection, calls) = (Connection::new(stream)?, calls.clone());
            tokio::spawn(async move {
                // Whoever was served badly notices, and its row is void.
                let _ = converse(connection, &calls).await;
            });
        }
    })
}

async fn converse(mut connection: Connection, calls: &AtomicU64) -> anyhow::Result<()> {
    while let Some(body) = connection.request().await? {
        let answer = answer(body, calls)?;
        connection.write(&answer).await?;
    }
    Ok(())
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

/// One event of a stream that goes on.
fn silent() -> Vec<u8> {
    let event = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\
                 \"params\":{\"level\":\"info\",\"data\":\"begun\"}}\n\n";
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked";
    format!("{head}\r\n\r\n{:x}\r\n{event}\r\n", event.len()).into_bytes()
}

fn plain(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}
