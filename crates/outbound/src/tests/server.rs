//! A TLS server on loopback that answers as it is told, and certificates for it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::fetcher::Roots;

/// What becomes of a request.
pub(super) enum Act {
    /// These bytes are the answer.
    Answer(Vec<u8>),
    /// These bytes, and then this piece again and again.
    Endless(&'static str, &'static str),
    /// These bytes, and then this piece again and again, but slowly.
    Drip(&'static str, &'static str),
}

/// An answer with `status` and `headers`, each with its line's end, and `body`.
pub(super) fn answer(status: u16, headers: &str, body: &str) -> Act {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} x\r\n{headers}content-length: {length}\r\n\r\n");
    Act::Answer((head + body).into_bytes())
}

/// Who vouches for servers.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) certificate: CertificateDer<'static>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// It vouches for all hosts.
    pub(super) fn roots(&self) -> Roots {
        let mut all = RootCertStore::empty();
        all.add(self.certificate.clone()).unwrap();
        Roots { public: all.clone(), private: all }
    }

    pub(super) fn vouch_for(&self, name: &str) -> TlsAcceptor {
        self.vouch(name, 4_096)
    }

    /// A server's side of TLS for `name`, good until the year `until`.
    pub(super) fn vouch(&self, name: &str, until: i32) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = date_time_ymd(until, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// What a server saw.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    heads: Mutex<Vec<String>>,
    /// The bytes that clients took of what is endless.
    taken: AtomicUsize,
}

/// A server; it ends with the runtime of its test.
pub(super) struct Server {
    pub(super) port: u16,
    seen: Arc<Seen>,
}

impl Server {
    /// Listens at `place` and does `act` with the path of each request.
    pub(super) async fn start(
        place: (IpAddr, u16),
        tls: TlsAcceptor,
        act: impl Fn(&str) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(place).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, act) = (Arc::new(Seen::default()), Arc::new(act));
        let server = Self { port, seen: seen.clone() };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                seen.connections.fetch_add(1, Ordering::SeqCst);
                let (tls, seen, act) = (tls.clone(), seen.clone(), act.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, &seen, act.as_ref()).await;
                    }
                });
            }
        });
        server
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    pub(super) fn heads(&self) -> Vec<String> {
        self.seen.heads.lock().unwrap().clone()
    }

    pub(super) fn taken(&self) -> usize {
        self.seen.taken.load(Ordering::SeqCst)
    }
}

/// One request; the connection is left open, as it is the client that has to know when to stop.
async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    seen: &Seen,
    act: &(impl Fn(&str) -> Act + Sync),
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    seen.heads.lock().unwrap().push(head);
    let (first, piece, pause) = match act(&path) {
        Act::Answer(bytes) => (bytes, None, None),
        Act::Endless(first, piece) => (first.into(), Some(piece), None),
        Act::Drip(first, piece) => (first.into(), Some(piece), Some(Duration::from_millis(5))),
    };
    let mut written = stream.write_all(&first).await.and(stream.flush().await);
    while let Some(piece) = piece.filter(|_| written.is_ok()) {
        if let Some(pause) = pause {
            tokio::time::interval_at(tokio::time::Instant::now() + pause, pause).tick().await;
        }
        written = stream.write_all(piece.as_bytes()).await.and(stream.flush().await);
        seen.taken.fetch_add(piece.len(), Ordering::SeqCst);
    }
    // Until the client goes.
    let _ = stream.read_u8().await;
}
