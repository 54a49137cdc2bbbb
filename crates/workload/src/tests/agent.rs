//! A small Workload API on a Unix socket.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::stream::{self, BoxStream};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tonic::server::Grpc;
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::workload_api::{
    JwtBundlesRequest, JwtBundlesResponse, JwtSvid, JwtSvidRequest, JwtSvidResponse,
};

use super::US;

type Bundles = BTreeMap<String, Vec<u8>>;

/// What the server gives: these bundles, or a refusal.
pub(super) type Given = Result<Bundles, Code>;

/// A Workload API. It ends when it is dropped, and every stream with it.
pub(super) struct Agent {
    folder: Arc<TempDir>,
    given: watch::Sender<Given>,
    streams: Arc<AtomicUsize>,
    _serving: AbortOnDropHandle<()>,
}

impl Agent {
    /// Serves these bundles, each by the name of its trust domain.
    pub(super) fn start(bundles: &[(&str, &[Value])]) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), bundles)
    }

    /// The next one on the same socket.
    pub(super) fn start_again(folder: Arc<TempDir>, bundles: &[(&str, &[Value])]) -> Self {
        std::fs::remove_file(folder.path().join("agent.sock")).unwrap();
        Self::start_in(folder, bundles)
    }

    fn start_in(folder: Arc<TempDir>, bundles: &[(&str, &[Value])]) -> Self {
        let listener = UnixListener::bind(folder.path().join("agent.sock")).unwrap();
        let (given, given_out) = watch::channel(Ok(written(bundles)));
        let streams = Arc::new(AtomicUsize::new(0));
        let serving = tokio::spawn(serve(listener, given_out, streams.clone()));
        Self { folder, given, streams, _serving: AbortOnDropHandle::new(serving) }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.path().join("agent.sock")
    }

    pub(super) fn folder(&self) -> Arc<TempDir> {
        self.folder.clone()
    }

    /// How `domain` is configured with it.
    pub(super) fn config(&self, domain: &str) -> Value {
        let socket = format!("unix://{}", self.socket().display());
        json!({ "spiffe": [{ "trust_domain": domain, "audience": US, "workload_api": socket }] })
    }

    /// Sends other bundles on every stream.
    pub(super) fn rotate(&self, bundles: &[(&str, &[Value])]) {
        self.give(Ok(written(bundles)));
    }

    /// Gives that from now on.
    pub(super) fn give(&self, given: Given) {
        drop(self.given.send_replace(given));
    }

    /// How many streams were opened.
    pub(super) fn streams(&self) -> usize {
        self.streams.load(Ordering::SeqCst)
    }
}

fn written(bundles: &[(&str, &[Value])]) -> Bundles {
    let one = |(domain, keys): &(&str, &[Value])| {
        (format!("spiffe://{domain}"), json!({ "keys": keys }).to_string().into_bytes())
    };
    bundles.iter().map(one).collect()
}

async fn serve(listener: UnixListener, given: watch::Receiver<Given>, streams: Arc<AtomicUsize>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (given, streams) = (given.clone(), streams.clone());
        let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let (given, streams) = (given.clone(), streams.clone());
            async move {
                if request.uri().path() == "/SpiffeWorkloadAPI/FetchJWTSVID" {
                    return Ok(svid(request, given).await);
                }
                assert_eq!(request.uri().path(), "/SpiffeWorkloadAPI/FetchJWTBundles");
                let codec = ProstCodec::<JwtBundlesResponse, JwtBundlesRequest>::default();
                let procedure = tower::service_fn(move |request: Request<JwtBundlesRequest>| {
                    let answer = answer(&request, given.clone(), &streams);
                    async move { answer }
                });
                let answered = Grpc::new(codec).server_streaming(procedure, request).await;
                Ok::<_, std::convert::Infallible>(answered)
            }
        });
        connections.spawn(async move {
            let server = http2::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Gives a JWT-SVID that says for whom it was asked, and another one after it.
async fn svid(
    request: http::Request<hyper::body::Incoming>,
    given: watch::Receiver<Given>,
) -> http::Response<tonic::body::Body> {
    let procedure = tower::service_fn(move |request: Request<JwtSvidRequest>| {
        let refused = given.borrow().as_ref().err().copied();
        async move {
            let header = request.metadata().get("workload.spiffe.io");
            let code = refused.or(header.is_none().then_some(Code::InvalidArgument));
            match code {
                Some(code) => Err(Status::new(code, "no identity issued")),
                None => Ok(Response::new(JwtSvidResponse { svids: svids(&request) })),
            }
        }
    });
    let codec = ProstCodec::<JwtSvidResponse, JwtSvidRequest>::default();
    Grpc::new(codec).unary(procedure, request).await
}

fn svids(request: &Request<JwtSvidRequest>) -> Vec<JwtSvid> {
    let audience = request.get_ref().audience.join(" ");
    let all = [format!("svid-for-{audience}"), "another".to_owned()];
    // Whoever is asked for nothing has nothing.
    all.into_iter().filter(|_| !audience.is_empty()).map(|svid| JwtSvid { svid }).collect()
}

type Messages = BoxStream<'static, Result<JwtBundlesResponse, Status>>;

/// SPIFFE Workload Endpoint §3: who does not send the header is refused.
fn answer(
    request: &Request<JwtBundlesRequest>,
    given: watch::Receiver<Given>,
    streams: &AtomicUsize,
) -> Result<Response<Messages>, Status> {
    if request.metadata().get("workload.spiffe.io").is_none_or(|value| value != "true") {
        return Err(Status::new(Code::InvalidArgument, "security header missing"));
    }
    streams.fetch_add(1, Ordering::SeqCst);
    let first = given.borrow().clone();
    if let Err(code) = first {
        return Err(Status::new(code, "no identity issued"));
    }
    // What is there now, and then whatever changes.
    let messages = stream::unfold((given, true), |(mut given, first)| async move {
        if !first && given.changed().await.is_err() {
            return None;
        }
        let message = match given.borrow_and_update().clone() {
            Ok(bundles) => Ok(JwtBundlesResponse { bundles }),
            Err(code) => Err(Status::new(code, "no identity issued")),
        };
        Some((message, (given, false)))
    });
    Ok(Response::new(Box::pin(messages)))
}
