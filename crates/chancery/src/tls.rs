//! TLS for listeners (RFC 8446): the certificate and key of `tls.cert` and `tls.key`.
//!
//! A handshake runs beside the others and is given up after a while, so that a client which never
//! finishes one holds nobody up. It knows nothing of what is served.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use axum::serve::Listener;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::Tls;

/// The most handshakes under way at once on one listener.
const HANDSHAKES_MAX: usize = 1_024;

/// How long a handshake may take.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// Reads certificate and key, which must belong together.
pub(crate) fn acceptor(tls: &Tls) -> anyhow::Result<TlsAcceptor> {
    let chain = certificates(&tls.cert)?;
    let pem = keys::read_private(&tls.key)?;
    let key = PrivateKeyDer::from_pem_slice(&pem)
        .with_context(|| format!("`{}` does not hold a private key in PEM", tls.key.display()))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("`tls.cert` and `tls.key` do not belong together")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let unreadable = || format!("could not read the certificate `{}`", path.display());
    let pem = std::fs::read(path).with_context(unreadable)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.with_context(unreadable)?;
    ensure!(!chain.is_empty(), "`{}` holds no certificate in PEM", path.display());
    Ok(chain)
}

/// A listener whose connections are those that finished their handshake.
pub(crate) struct TlsListener {
    inner: TcpListener,
    acceptor: TlsAcceptor,
    handshakes: JoinSet<Option<(TlsStream<TcpStream>, SocketAddr)>>,
}

impl TlsListener {
    /// Speaks TLS on `inner`.
    pub(crate) fn new(inner: TcpListener, acceptor: TlsAcceptor) -> Self {
        Self { inner, acceptor, handshakes: JoinSet::new() }
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let has_room = self.handshakes.len() < HANDSHAKES_MAX;
            tokio::select! {
                (stream, peer) = Listener::accept(&mut self.inner), if has_room => {
                    let accepting = self.acceptor.accept(stream);
                    self.handshakes.spawn(async move {
                        let done = tokio::time::timeout(HANDSHAKE_WITHIN, accepting).await;
                        done.ok()?.ok().map(|stream| (stream, peer))
                    });
                }
                Some(done) = self.handshakes.join_next() => {
                    if let Ok(Some(connection)) = done {
                        return connection;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.inner.local_addr()
    }
}
