//! A recorder between the gateway and an upstream that writes down what passes.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::head;

/// What one connection carried towards the upstream.
#[derive(Debug, Default)]
struct Carried {
    bytes: Vec<u8>,
    marks: Vec<Mark>,
}

/// That bytes came.
#[derive(Debug)]
struct Mark {
    /// How much had come with them.
    length: usize,
    /// How many times bytes had come before, on any connection.
    place: usize,
    /// When, in milliseconds since the epoch.
    at: u64,
}

type Heard = Arc<Mutex<Vec<Carried>>>;

/// What all connections carried back.
type Said = Arc<Mutex<Vec<u8>>>;

/// A recorder on loopback. It lives as long as the test process.
#[derive(Debug)]
pub struct Recorder {
    port: u16,
    heard: Heard,
    said: Said,
}

/// One HTTP request that passed.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Request line and headers.
    pub head: String,
    /// The body, if it is JSON.
    pub body: Value,
    /// When it had passed, in milliseconds since the epoch.
    pub at: u64,
    /// Its place among what passed on all connections.
    place: usize,
}

impl Recorder {
    /// A recorder in front of `upstream`, a port on loopback.
    pub fn to(upstream: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (heard, said) = (Heard::default(), Said::default());
        let all = (heard.clone(), said.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)) else { continue };
                relay(client, server, all.clone());
            }
        });
        Self { port, heard, said }
    }

    /// The port that it listens on.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Every byte that went to the upstream.
    pub fn bytes(&self) -> Vec<u8> {
        let heard = self.heard.lock().expect("no panic while it is held");
        heard.iter().flat_map(|carried| carried.bytes.clone()).collect()
    }

    /// Every byte that came back from it: heads, bodies, streams.
    pub fn answers(&self) -> Vec<u8> {
        self.said.lock().expect("no panic while it is held").clone()
    }

    /// The requests that went to the upstream, as they passed.
    pub fn passed(&self) -> Vec<Recorded> {
        let heard = self.heard.lock().expect("no panic while it is held");
        let mut passed: Vec<_> = heard.iter().flat_map(requests).collect();
        passed.sort_by_key(|it| it.place);
        passed
    }

    /// The requests with this method of MCP.
    pub fn calls(&self, method: &str) -> Vec<Recorded> {
        self.passed().into_iter().filter(|passed| passed.body["method"] == method).collect()
    }
}

impl Recorded {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim())
    }

    /// What the assertion says that came with it. Its signature is somebody else's to check.
    pub fn asserted(&self) -> Value {
        let token = self.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let claims = token.and_then(|token| token.split('.').nth(1)).unwrap_or_default();
        let claims = URL_SAFE_NO_PAD.decode(claims).unwrap_or_default();
        serde_json::from_slice(&claims).unwrap_or_default()
    }
}

fn relay(client: TcpStream, server: TcpStream, (heard, said): (Heard, Said)) {
    let (Ok(back_to), Ok(back_from)) = (client.try_clone(), server.try_clone()) else { return };
    let index = {
        let mut all = heard.lock().expect("no panic while it is held");
        all.push(Carried::default());
        all.len() - 1
    };
    std::thread::spawn(move || {
        pump(client, server, |bytes| {
            let mut all = heard.lock().expect("no panic while it is held");
            let place = all.iter().map(|carried| carried.marks.len()).sum();
            let carried = &mut all[index];
            carried.bytes.extend_from_slice(bytes);
            carried.marks.push(Mark { length: carried.bytes.len(), place, at: now() });
        });
    });
    std::thread::spawn(move || {
        pump(back_from, back_to, |bytes| {
            said.lock().expect("no panic while it is held").extend_from_slice(bytes);
        });
    });
}

/// Passes on what `from` says until it says no more.
fn pump(mut from: TcpStream, mut to: TcpStream, mut note: impl FnMut(&[u8])) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        note(&buffer[..length]);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// The requests in what a connection carried: the gateway states the length of every body.
fn requests(carried: &Carried) -> Vec<Recorded> {
    let mut all = Vec::new();
    let mut rest = carried.bytes.as_slice();
    while let Some(end) = head::end(rest) {
        let (head, after) = rest.split_at(end);
        let (body, after) = after.split_at(head::content_length(head));
        let head = String::from_utf8_lossy(head).trim_end().to_owned();
        rest = after;
        let body = serde_json::from_slice(body).unwrap_or_default();
        let read = carried.bytes.len() - rest.len();
        let Some(complete) = carried.marks.iter().find(|mark| mark.length >= read) else { break };
        all.push(Recorded { head, body, at: complete.at, place: complete.place });
    }
    all
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
