//! A relay before a tool server, which does to calls what networks and broken servers do.
//!
//! Everything but `tools/call` passes, so that only the act itself is disturbed.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use crate::free_port;
use crate::head;
use crate::process::wait_until;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It reaches the tool, and the answer comes back.
    Pass,
    /// It reaches the tool, and what comes back is no answer.
    Garbage,
    /// It reaches the tool, and the answer to another question comes back.
    OtherAnswer,
    /// It reaches the tool, and half of the answer comes back.
    Half,
    /// It reaches the tool, and the connection is reset.
    Reset,
    /// It reaches the tool, and status 500 comes back.
    Status500,
    /// It reaches nobody, and nobody says so.
    Silent,
    /// It is held before it reaches the tool.
    HoldCall,
    /// It reaches the tool, and the answer is held.
    HoldAnswer,
}

/// A relay on loopback.
#[derive(Debug)]
pub struct Relay {
    /// Where it listens.
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: u16,
    mode: Mutex<Mode>,
    changed: Condvar,
    held: AtomicUsize,
    stopped: AtomicBool,
}

impl Relay {
    /// A relay before the server at port `target`.
    pub fn start(target: u16) -> Self {
        let shared = Arc::new(Shared {
            target,
            mode: Mutex::new(Mode::Pass),
            changed: Condvar::new(),
            held: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        // While it is closed, nobody is given its port.
        let relay = Self { port: free_port(), shared };
        relay.open();
        relay
    }

    /// Listens, at the same port as before.
    pub fn open(&self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).expect("the port is free");
        self.shared.stopped.store(false, Ordering::SeqCst);
        let shared = self.shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let shared = shared.clone();
                std::thread::spawn(move || shared.relay(stream));
            }
        });
    }

    /// Closes the port: whoever connects is refused.
    pub fn close(&self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        wait_until("the relay's port is closed", || {
            TcpStream::connect(("127.0.0.1", self.port)).is_err().then_some(())
        });
    }

    /// From now on calls fare as `mode` says; what was held under another mode goes on.
    pub fn set(&self, mode: Mode) {
        *self.shared.mode.lock().expect("no panic while it is held") = mode;
        self.shared.changed.notify_all();
    }

    /// How many calls were held so far.
    pub fn held(&self) -> usize {
        self.shared.held.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.set(Mode::Pass);
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    /// Relays one request.
    fn relay(&self, mut stream: TcpStream) -> Option<()> {
        let request = read_request(&mut stream)?;
        let is_call = request.windows(12).any(|window| window == b"\"tools/call\"");
        let mode = *self.mode.lock().expect("no panic while it is held");
        let mode = if is_call { mode } else { Mode::Pass };
        match mode {
            Mode::Silent => {
                // Until the other end gives up.
                let _ = stream.read(&mut [0]);
                return None;
            }
            Mode::HoldCall => self.hold(mode),
            _ => {}
        }
        let answer = self.ask(&request)?;
        match mode {
            Mode::HoldAnswer => self.hold(mode),
            Mode::Reset => return reset(&stream),
            _ => {}
        }
        stream.write_all(&as_mode_says(mode, answer)).ok()
    }

    fn hold(&self, mode: Mode) {
        self.held.fetch_add(1, Ordering::SeqCst);
        let current = self.mode.lock().expect("no panic while it is held");
        let held = self.changed.wait_while(current, |current| *current == mode);
        drop(held.expect("no panic while it is held"));
    }

    fn ask(&self, request: &[u8]) -> Option<Vec<u8>> {
        let mut target = TcpStream::connect(("127.0.0.1", self.target)).ok()?;
        let head = request.windows(2).position(|window| window == b"\r\n")? + 2;
        let (first, rest) = request.split_at(head);
        target.write_all(&[first, b"connection: close\r\n".as_slice(), rest].concat()).ok()?;
        let mut answer = Vec::new();
        target.read_to_end(&mut answer).ok()?;
        Some(answer)
    }
}

fn as_mode_says(mode: Mode, answer: Vec<u8>) -> Vec<u8> {
    let answered = |status: &str, body: &str| {
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    };
    match mode {
        Mode::Garbage => answered("200 OK", "\u{1}not an answer{"),
        Mode::OtherAnswer => {
            answered("200 OK", r#"{"jsonrpc":"2.0","id":999999,"result":{"isError":false}}"#)
        }
        Mode::Status500 => {
            b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                .to_vec()
        }
        Mode::Half => answer[..answer.len() - 20].to_vec(),
        _ => answer,
    }
}

/// Closes the connection so that the other end sees a reset instead of an end.
fn reset(stream: &TcpStream) -> Option<()> {
    use nix::sys::socket::{setsockopt, sockopt};
    let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(stream, sockopt::Linger, &at_once).ok()
}

/// One request as it came, with its body.
pub(crate) fn read_request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let read = stream.read(&mut chunk).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&chunk[..read]);
        let Some(end) = head::end(&bytes) else { continue };
        if bytes.len() >= end + head::content_length(&bytes[..end]) {
            return Some(bytes);
        }
    }
}
