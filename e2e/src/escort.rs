//! A relay before the gateway for clients that have no key: it adds token and proof to what they
//! send, and changes nothing else.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::Caller;
use crate::head;
use crate::relay::read_request;

/// A relay on loopback. It lives as long as the test process.
#[derive(Debug)]
pub struct Escort {
    /// Where it listens.
    pub port: u16,
}

/// Who is escorted as whom.
#[derive(Clone, Debug)]
struct Way {
    port: u16,
    gateway: u16,
    /// The caller, and the nonce that the gateway gave last.
    caller: Arc<Mutex<(Caller, Option<String>)>>,
}

impl Escort {
    /// Lets whoever connects be `caller`.
    pub fn of(caller: Caller) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let gateway = caller.port;
        let way = Way { port, gateway, caller: Arc::new(Mutex::new((caller, None))) };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let way = way.clone();
                std::thread::spawn(move || way.pass(client));
            }
        });
        Self { port }
    }
}

impl Way {
    /// Passes on one request and what comes back.
    fn pass(&self, mut client: TcpStream) -> Option<()> {
        let request = read_request(&mut client)?;
        let end = head::end(&request)?;
        let head = std::str::from_utf8(&request[..end]).ok()?;
        let (mut answer, mut stream) = self.send(head, &request[end..])?;
        if let Some(nonce) = nonce_wanted(&answer) {
            self.caller.lock().expect("no panic while it is held").1 = Some(nonce);
            (answer, stream) = self.send(head, &request[end..])?;
        }
        client.write_all(&answer).ok()?;
        std::io::copy(&mut stream, &mut client).ok().map(drop)
    }

    /// Sends it with credentials; gives the head of the answer, with what came along, and the rest.
    fn send(&self, head: &str, body: &[u8]) -> Option<(Vec<u8>, TcpStream)> {
        let (line, headers) = head.split_once("\r\n")?;
        let mut words = line.split(' ');
        let request = (words.next()?, words.next()?);
        let credentials = {
            let mut ours = self.caller.lock().expect("no panic while it is held");
            let nonce = ours.1.clone();
            ours.0.credentials(request, nonce.as_deref())
        };
        // Who is addressed as the relay is the gateway; another Host or Origin stays as it is.
        let (own, gateway) =
            (format!("127.0.0.1:{}", self.port), format!("127.0.0.1:{}", self.gateway));
        let kept = |line: &&str| !line.to_ascii_lowercase().starts_with("connection:");
        let headers = headers.trim_end().split("\r\n").filter(kept);
        let headers = headers.map(|line| line.replace(&own, &gateway) + "\r\n");
        let headers: String = headers.collect();
        let sent = format!("{line}\r\n{headers}connection: close\r\n{credentials}\r\n");
        let mut stream = TcpStream::connect(("127.0.0.1", self.gateway)).ok()?;
        stream.write_all(&[sent.as_bytes(), body].concat()).ok()?;
        let mut answer = Vec::new();
        let mut chunk = [0; 4096];
        while head::end(&answer).is_none() {
            let read = stream.read(&mut chunk).ok().filter(|read| *read > 0)?;
            answer.extend_from_slice(&chunk[..read]);
        }
        Some((answer, stream))
    }
}

/// The nonce that the gateway wants to see, if it wants one.
fn nonce_wanted(answer: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(&answer[..head::end(answer)?]).into_owned();
    let nonce = head.lines().find_map(|line| line.strip_prefix("dpop-nonce: "));
    nonce.filter(|_| head.starts_with("HTTP/1.1 401")).map(|text| text.trim().to_owned())
}
