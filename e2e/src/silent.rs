//! A tool server whose calls begin to be answered, and are not, or are answered at length.

use std::io::{ErrorKind, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::head;
use crate::relay::read_request;

/// A tool server on loopback. A call of its tool `touch` is answered at once if its mark is
/// [`QUICK`](Self::QUICK) or [`MUCH`](Self::MUCH), and otherwise by a stream that falls silent after
/// one event.
#[derive(Debug)]
pub struct Silent {
    /// Where it listens.
    pub port: u16,
    stopped: Arc<AtomicBool>,
    /// The streams that fell silent.
    silent: Arc<Mutex<Vec<TcpStream>>>,
}

impl Silent {
    /// The mark of a call that is answered at once.
    pub const QUICK: &str = "quick";

    /// The mark of a call that is answered at once, by more than [`MUCH_BYTES`](Self::MUCH_BYTES).
    pub const MUCH: &str = "much";

    /// How long that answer is at least.
    pub const MUCH_BYTES: usize = 7 << 20;

    /// Starts it.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
        let port = listener.local_addr().expect("it is bound").port();
        let stopped = Arc::new(AtomicBool::new(false));
        let silent = Arc::new(Mutex::new(Vec::new()));
        let (is_stopped, held) = (stopped.clone(), silent.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if is_stopped.load(Ordering::SeqCst) {
                    return;
                }
                // Whoever connects and asks nothing does not hold up the others.
                let held = held.clone();
                std::thread::spawn(move || {
                    let begun = answer(stream);
                    held.lock().expect("nobody panics while they hold it").extend(begun);
                });
            }
        });
        Self { port, stopped, silent }
    }

    /// How many of its silent streams nobody has hung up on.
    pub fn open(&self) -> usize {
        let silent = self.silent.lock().expect("nobody panics while they hold it");
        silent.iter().filter(|stream| is_open(stream)).count()
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Answers one request; gives the stream back if there is more to come.
fn answer(mut stream: TcpStream) -> Option<TcpStream> {
    let request = read_request(&mut stream)?;
    let body = &request[head::end(&request)?..];
    let message: Value = serde_json::from_slice(body).unwrap_or_default();
    let mark = message.pointer("/params/arguments/mark").and_then(Value::as_str);
    if mark.is_some_and(|mark| ![Silent::QUICK, Silent::MUCH].contains(&mark)) {
        stream.write_all(begun().as_bytes()).ok()?;
        return Some(stream);
    }
    let member = match message["method"].as_str() {
        Some("initialize") => ("result", about()),
        Some("tools/list") => ("result", json!({ "tools": [tool()] })),
        Some("tools/call") => {
            let bytes = if mark == Some(Silent::MUCH) { Silent::MUCH_BYTES } else { 0 };
            let text = json!({ "type": "text", "text": "x".repeat(bytes) });
            ("result", json!({ "content": [text], "isError": false }))
        }
        _ => ("error", json!({ "code": -32_601, "message": "method not found" })),
    };
    let (status, text) = match message.get("id") {
        Some(id) => {
            let mut answer = json!({ "jsonrpc": "2.0", "id": id });
            answer[member.0] = member.1;
            ("200 OK", answer.to_string())
        }
        None => ("202 Accepted", String::new()),
    };
    let length = text.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n"
    );
    stream.write_all((head + &text).as_bytes()).ok()?;
    None
}

/// Whether whoever asked by `stream` still listens.
fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).expect("it is a socket");
    match stream.peek(&mut [0]) {
        Ok(read) => read > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

/// The head and the first event of a stream.
fn begun() -> String {
    let params = json!({ "progressToken": "t", "progress": 1 });
    let told = json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params });
    let event = format!("event: message\ndata: {told}\n\n");
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n\
         {:x}\r\n{event}\r\n",
        event.len()
    )
}

fn about() -> Value {
    let about = json!({ "name": "silent", "version": "1" });
    json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} }, "serverInfo": about })
}

fn tool() -> Value {
    let mark = json!({ "mark": { "type": "string" } });
    let schema = json!({ "type": "object", "properties": mark, "required": ["mark"] });
    json!({ "name": "touch", "description": "Does something", "inputSchema": schema })
}
