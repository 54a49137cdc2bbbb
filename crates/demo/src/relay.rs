//! A TCP relay between the gateway and a tool server: it can hold the bytes in between.
//!
//! What it passes on it also overhears, as whoever sits on the wire could.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How many of the last bytes are remembered.
const OVERHEARD_MAX: usize = 32 << 10;

/// How long to wait until something is held.
const HELD_WITHIN: Duration = Duration::from_secs(10);

/// What becomes of bytes that are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// They never arrive.
    Lost,
    /// They arrive, late.
    Delivered,
}

/// A hold: whether something is held yet, and what becomes of it.
#[derive(Debug)]
struct Hold {
    is_holding: watch::Sender<bool>,
    fate: watch::Sender<Option<Fate>>,
}

/// What all connections share.
#[derive(Debug, Default)]
struct Wire {
    hold: Mutex<Option<Arc<Hold>>>,
    overheard: Mutex<Vec<u8>>,
}

/// The relay. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    listener: Option<TcpListener>,
    wire: Arc<Wire>,
    running: Option<JoinHandle<()>>,
}

impl Relay {
    /// A relay that listens and passes nothing on yet.
    pub(crate) async fn bind() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("the relay cannot listen")?;
        let address = listener.local_addr()?;
        Ok(Self { address, listener: Some(listener), wire: Arc::default(), running: None })
    }

    /// Passes everything on to `target` from now on.
    pub(crate) fn start(&mut self, target: SocketAddr) {
        if let Some(listener) = self.listener.take() {
            self.running = Some(tokio::spawn(accept(listener, target, self.wire.clone())));
        }
    }

    /// Holds whatever comes from now on.
    pub(crate) fn hold(&self) {
        let hold = Hold { is_holding: watch::Sender::new(false), fate: watch::Sender::new(None) };
        *self.wire.hold.lock().expect("no panic while it is held") = Some(Arc::new(hold));
    }

    /// Waits until something is held.
    pub(crate) async fn held(&self) -> anyhow::Result<()> {
        let hold = self.wire.current().context("nothing is to be held")?;
        let mut is_holding = hold.is_holding.subscribe();
        let waited = tokio::time::timeout(HELD_WITHIN, is_holding.wait_for(|holds| *holds)).await;
        waited.context("nothing came that could be held")??;
        Ok(())
    }

    /// Decides on what is held; what comes later passes.
    pub(crate) fn release(&self, fate: Fate) {
        let hold = self.wire.hold.lock().expect("no panic while it is held").take();
        if let Some(hold) = hold {
            hold.fate.send_replace(Some(fate));
        }
    }

    /// The bearer token that passed last.
    pub(crate) fn overheard_token(&self) -> Option<String> {
        let overheard = self.wire.overheard.lock().expect("no panic while it is held");
        let text = String::from_utf8_lossy(&overheard).into_owned();
        let (_, token) = text.rsplit_once("Bearer ")?;
        token.split_once("\r\n").map(|(token, _)| token.to_owned())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.running.iter().for_each(JoinHandle::abort);
    }
}

impl Wire {
    fn current(&self) -> Option<Arc<Hold>> {
        self.hold.lock().expect("no panic while it is held").clone()
    }

    fn overhear(&self, bytes: &[u8]) {
        let mut overheard = self.overheard.lock().expect("no panic while it is held");
        overheard.extend_from_slice(bytes);
        let surplus = overheard.len().saturating_sub(OVERHEARD_MAX);
        overheard.drain(..surplus);
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, wire: Arc<Wire>) {
    // Dropped with the relay, and all connections with it.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let wire = wire.clone();
        connections.spawn(async move {
            let Ok(server) = TcpStream::connect(target).await else { return };
            let ((from_client, to_client), (from_server, to_server)) =
                (client.into_split(), server.into_split());
            tokio::select! {
                () = upwards(from_client, to_server, wire) => {}
                () = downwards(from_server, to_client) => {}
            }
        });
    }
}

async fn upwards(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, wire: Arc<Wire>) {
    let mut bytes = vec![0; 16 << 10];
    let mut is_late = false;
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let passing = &bytes[..read];
        wire.overhear(passing);
        if let Some(hold) = wire.current() {
            hold.is_holding.send_replace(true);
            let mut fate = hold.fate.subscribe();
            let Ok(fate) = fate.wait_for(Option::is_some).await.map(|fate| *fate) else { break };
            if fate == Some(Fate::Lost) {
                return;
            }
            is_late = true;
        }
        if to.write_all(passing).await.is_err() {
            break;
        }
    }
    if is_late {
        // Whoever sent it is gone. The server must not notice before it has answered.
        std::future::pending::<()>().await;
    }
}

async fn downwards(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    // It ends when either side does: nobody needs to know why.
    let _ = tokio::io::copy(&mut from, &mut to).await;
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::{Fate, Relay};

    async fn wired() -> (Relay, TcpStream, TcpStream) {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut relay = Relay::bind().await.unwrap();
        relay.start(server.local_addr().unwrap());
        let client = TcpStream::connect(relay.address).await.unwrap();
        let (server, _) = server.accept().await.unwrap();
        (relay, client, server)
    }

    #[tokio::test]
    async fn it_passes_on_and_overhears() {
        let (relay, mut client, mut server) = wired().await;
        let sent = b"authorization: Bearer old\r\nauthorization: Bearer new\r\n";
        client.write_all(sent).await.unwrap();
        let mut arrived = vec![0; sent.len()];
        server.read_exact(&mut arrived).await.unwrap();
        assert_eq!(arrived, sent);
        assert_eq!(relay.overheard_token().as_deref(), Some("new"));
    }

    #[tokio::test]
    async fn what_is_lost_never_arrives() {
        let (relay, mut client, mut server) = wired().await;
        relay.hold();
        client.write_all(b"hello").await.unwrap();
        relay.held().await.unwrap();
        relay.release(Fate::Lost);
        let mut arrived = Vec::new();
        server.read_to_end(&mut arrived).await.unwrap();
        assert!(arrived.is_empty());
    }

    #[tokio::test]
    async fn what_is_delivered_late_arrives_though_its_sender_is_gone() {
        let (relay, mut client, mut server) = wired().await;
        relay.hold();
        client.write_all(b"hello").await.unwrap();
        relay.held().await.unwrap();
        drop(client);
        relay.release(Fate::Delivered);
        let mut arrived = [0; 5];
        server.read_exact(&mut arrived).await.unwrap();
        assert_eq!(&arrived, b"hello");
    }
}
