//! What carries a conversation with an upstream: TCP, or TLS on it.
//!
//! As `hyper_rustls::MaybeHttpsStream`, but a connection without TLS has no room for its state: a
//! gateway keeps one for every call that is answered by a stream.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

type Tcp = TokioIo<TcpStream>;

/// A connection to an upstream.
pub(crate) enum Carrier {
    Plain(Tcp),
    Tls(Box<MaybeHttpsStream<Tcp>>),
}

/// Makes such connections.
#[derive(Clone)]
pub(crate) struct Connector(pub(crate) HttpsConnector<HttpConnector>);

impl Service<http::Uri> for Connector {
    type Response = Carrier;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Carrier, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, url: http::Uri) -> Self::Future {
        let connecting = self.0.call(url);
        Box::pin(async move {
            Ok(match connecting.await? {
                MaybeHttpsStream::Http(plain) => Carrier::Plain(plain),
                tls => Carrier::Tls(Box::new(tls)),
            })
        })
    }
}

impl Connection for Carrier {
    fn connected(&self) -> Connected {
        match self {
            Self::Plain(stream) => stream.connected(),
            Self::Tls(stream) => stream.connected(),
        }
    }
}

/// Does the same to whichever stream it is.
macro_rules! either {
    ($carrier:expr, $stream:ident => $done:expr) => {
        match $carrier.get_mut() {
            Carrier::Plain(stream) => {
                let $stream = Pin::new(stream);
                $done
            }
            Carrier::Tls(stream) => {
                let $stream = Pin::new(stream.as_mut());
                $done
            }
        }
    };
}

impl Read for Carrier {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_read(cx, buf))
    }
}

impl Write for Carrier {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_shutdown(cx))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write_vectored(cx, bufs))
    }
}
