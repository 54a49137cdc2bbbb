//! Serves HTTP on one listener, every connection within limits.
//!
//! What is beyond a limit is refused at once and never waits: a connection too many is closed, a
//! request whose head does not come is given up, and so is a client that does not take what it is
//! told. A handshake runs in the connection's own task, so that it holds nobody else up.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use api::Peer;
use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::config::{Config, Limits};
use crate::places::{Full, Place, Places};
use crate::socket;
use crate::strangers::{Stranger, Strangers};

/// The most headers of one request.
const HEADERS_MAX: usize = 64;

/// The largest head of one request, in bytes.
const HEAD_MAX: usize = 64 * 1024;

/// Told why a connection is refused.
pub(crate) type Tell = Arc<dyn Fn(&'static str) + Send + Sync>;

/// What is refused beyond, on one listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionLimits {
    /// The most connections at once.
    pub(crate) connections: usize,
    /// The most connections at once of one address; none where all come from a proxy's.
    pub(crate) of_address: Option<usize>,
    /// How long a handshake, a request's head, and a write that a client does not take may last.
    pub(crate) within: Duration,
    /// Whether the oldest connection on which no request lets its [`Guest`] pass gives
    /// its place to the next.
    pub(crate) strangers_give_way: bool,
}

/// The connection of a request, where strangers give way.
pub(crate) type Guest = Arc<Stranger<Place<IpAddr>>>;

impl ConnectionLimits {
    /// Those of the configuration. Behind a proxy every connection has the proxy's address.
    pub(crate) fn of(config: &Config) -> Self {
        let Limits { connections, connections_per_address, .. } = config.limits;
        let of_address = (!config.behind_tls_proxy).then_some(connections_per_address);
        let within = Duration::from_millis(config.timeouts.request_ms);
        Self { connections, of_address, within, strangers_give_way: false }
    }
}

/// One listener and what it serves.
pub(crate) struct Serving {
    /// Accepts connections.
    pub(crate) listener: TcpListener,
    /// Speaks TLS on them, if they are to.
    pub(crate) acceptor: Option<TlsAcceptor>,
    /// Answers.
    pub(crate) router: Router,
    /// Bounds.
    pub(crate) limits: ConnectionLimits,
    /// Told of each connection that is refused.
    pub(crate) tell: Tell,
}

/// Serves until `stop`; then no connection is accepted, and those that there are end with the
/// request that is under way.
pub(crate) async fn serve(serving: Serving, stop: CancellationToken) {
    let ConnectionLimits { connections, of_address, within, strangers_give_way } = serving.limits;
    let strangers = strangers_give_way.then(Strangers::new);
    let places = Places::new(connections, of_address.unwrap_or(connections));
    let graceful = GracefulShutdown::new();
    while let Some(accepted) = stop.run_until_cancelled(serving.listener.accept()).await {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // The connection broke, or there is no descriptor for it: those that there are go on.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(socket::ACCEPT_AGAIN).await;
                continue;
            }
        };
        let from = of_address.and_then(|_| Peer(peer.ip()).network());
        let gives_way = |full: Full| match &strangers {
            Some(strangers) if full == Full::All && strangers.give_up_one() => places.take(from),
            _ => Err(full),
        };
        let place = match places.take(from).or_else(gives_way) {
            Ok(place) => place,
            Err(full) => {
                (serving.tell)(match full {
                    Full::All => "connections",
                    Full::OfOne => "connections_per_address",
                });
                continue;
            }
        };
        let (guest, place) = match &strangers {
            Some(strangers) => (Some(Arc::new(strangers.enter(place))), None),
            None => (None, Some(place)),
        };
        let connection = Connection {
            stream,
            peer: Peer(peer.ip()),
            acceptor: serving.acceptor.clone(),
            router: serving.router.clone(),
            within,
            watcher: graceful.watcher(),
            guest,
            _place: place,
        };
        tokio::spawn(connection.serve());
    }
    graceful.shutdown().await;
}

struct Connection {
    stream: TcpStream,
    peer: Peer,
    acceptor: Option<TlsAcceptor>,
    router: Router,
    within: Duration,
    watcher: Watcher,
    /// Where strangers give way: it has the place.
    guest: Option<Guest>,
    _place: Option<Place<IpAddr>>,
}

/// TCP, or TLS on it: boxed, so that a connection without TLS has no room for its state.
type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

impl Connection {
    async fn serve(self) {
        // A write waits for nobody's acknowledgement.
        let _ = self.stream.set_nodelay(true);
        let Self { stream, peer, acceptor, router, within, watcher, guest, _place } = self;
        // Each step is a future of its own: what one needs takes no room while the next runs.
        let Some(stream) = Box::pin(shaken(stream, acceptor, within)).await else { return };
        let of = (peer, guest.clone());
        let served = tokio::select! {
            served = watched((stream, of), router, within, watcher) => served,
            () = given_up(guest.as_ref()) => return,
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a connection ended");
        }
    }
}

/// Returns once the place of `guest` is another's. Of who is none, it never is.
async fn given_up(guest: Option<&Guest>) {
    match guest {
        Some(guest) => guest.given_up().await,
        None => std::future::pending().await,
    }
}

/// The stream to speak HTTP on: once TLS is agreed on, if it is spoken.
async fn shaken(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    within: Duration,
) -> Option<Stream> {
    let Some(acceptor) = acceptor else { return Some(Either::Left(stream)) };
    let shaken = tokio::time::timeout(within, acceptor.accept(stream)).await;
    shaken.ok()?.ok().map(|stream| Either::Right(Box::new(stream)))
}

/// Serves requests on `stream` until it ends, or until all are to end.
fn watched(
    (stream, (peer, guest)): (Stream, (Peer, Option<Guest>)),
    router: Router,
    within: Duration,
    watcher: Watcher,
) -> impl Future<Output = Result<(), hyper::Error>> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(within));
    let service = router.map_request(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        if let Some(guest) = &guest {
            request.extensions_mut().insert(guest.clone());
        }
        request
    });
    let stream = TokioIo::new(Box::pin(stream));
    watcher.watch(builder(within).serve_connection(stream, TowerToHyperService::new(service)))
}

/// HTTP/1.1 within limits. HTTP/2 is not spoken: a client that opens no window would keep answers in
/// memory for as long as it likes, and nothing here could tell.
fn builder(within: Duration) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(within)
        .max_headers(HEADERS_MAX)
        .max_header_size(HEAD_MAX)
        .max_buf_size(HEAD_MAX);
    builder
}

#[cfg(test)]
mod tests {
    use axum::Extension;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn let_in(Extension(guest): Extension<Guest>) {
        guest.pass();
    }

    /// Whether `stream` is answered that it is let in.
    async fn is_let_in(stream: &mut TcpStream) -> bool {
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return false };
            head.push(byte);
        }
        head.starts_with(b"HTTP/1.1 200")
    }

    #[tokio::test]
    async fn who_only_connects_keeps_nobody_out_where_strangers_give_way() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let router = Router::new().route("/", axum::routing::get(let_in));
        let limits = ConnectionLimits {
            connections: 2,
            of_address: None,
            within: Duration::from_secs(30),
            strangers_give_way: true,
        };
        let serving = Serving { listener, acceptor: None, router, limits, tell: Arc::new(|_| ()) };
        tokio::spawn(serve(serving, CancellationToken::new()));
        let connect = async || TcpStream::connect(address).await.expect("it listens");
        let mut known = connect().await;
        assert!(is_let_in(&mut known).await);
        let mut silent = connect().await;
        let mut next = connect().await;
        assert!(is_let_in(&mut next).await, "the silent one makes room");
        assert!(silent.read_u8().await.is_err(), "it is closed");
        assert!(!is_let_in(&mut connect().await).await, "nobody gives way any more");
        assert!(is_let_in(&mut known).await && is_let_in(&mut next).await);
    }

    #[test]
    fn connections_are_counted_by_address_unless_a_proxy_makes_them() {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let path = dir.path().join("chancery.yaml");
        let of_address = |more: &str| {
            let text =
                format!("state_dir: state\nlimits: {{ connections_per_address: 7 }}\n{more}");
            std::fs::write(&path, text).expect("it can be written");
            let config = crate::config::read(&path, std::iter::empty()).expect("it is in order");
            ConnectionLimits::of(&config).of_address
        };
        assert_eq!(of_address(""), Some(7));
        assert_eq!(of_address("behind_tls_proxy: true\n"), None);
    }
}
