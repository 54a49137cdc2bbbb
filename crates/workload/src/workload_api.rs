//! The client of the SPIFFE Workload API over a Unix socket: a stream of bundles (SPIFFE Workload
//! API §6.2.2, `FetchJWTBundles`), and a JWT-SVID of one's own (§6.2.1, `FetchJWTSVID`).
//!
//! Two procedures and a few messages are all of it that is needed, so they are written here by hand.
//! Each message of the stream is all there is: what it does not hold is revoked.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use http::uri::PathAndQuery;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use oauth::jwks::{KeySet, Purpose};
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::{Request, Streaming};
use tonic_prost::ProstCodec;
use tower::service_fn;
use tower::util::BoxService;

use crate::error::RefreshError;
use crate::origin::DOCUMENT_LIMITS;
use crate::spiffe_id::TrustDomain;

/// How long whoever serves the Workload API may take to connect, and to send what it has.
pub(crate) const WITHIN: Duration = Duration::from_secs(10);

/// The most bytes of a message: bundles of all trust domains that are federated with ours.
const MESSAGE_MAX: usize = 4 << 20;

const FETCH_JWT_BUNDLES: &str = "/SpiffeWorkloadAPI/FetchJWTBundles";
const FETCH_JWT_SVID: &str = "/SpiffeWorkloadAPI/FetchJWTSVID";

/// How a client shows that it means the Workload API, and was not made to connect to it as to any
/// other server (SPIFFE Workload Endpoint §3).
const HEADER: &str = "workload.spiffe.io";

/// The socket of the Workload API, written `unix:///PATH` (SPIFFE Workload Endpoint §4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint(PathBuf);

/// A text is no socket of the Workload API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the Workload API is at `unix:///PATH`, without query and fragment")]
pub struct NotEndpoint;

impl Endpoint {
    /// Reads `unix:///PATH`. Over TCP anybody could be at the other end: it is not spoken.
    pub fn parse(text: &str) -> Result<Self, NotEndpoint> {
        let path = text.strip_prefix("unix://").ok_or(NotEndpoint)?;
        let is_path = path.starts_with('/') && path.len() > 1;
        let is_plain = !path.contains(['?', '#', '%']) && !path.chars().any(char::is_control);
        if is_path && is_plain { Ok(Self(path.into())) } else { Err(NotEndpoint) }
    }

    /// The path of the socket.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl TryFrom<String> for Endpoint {
    type Error = NotEndpoint;

    fn try_from(text: String) -> Result<Self, NotEndpoint> {
        Self::parse(&text)
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.to_string()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix://{}", self.0.display())
    }
}

/// What is asked: nothing further.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct JwtBundlesRequest {}

/// The bundles of all trust domains that the workload may trust, each a JWK set, by the SPIFFE ID of
/// the trust domain.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct JwtBundlesResponse {
    #[prost(btree_map = "string, bytes", tag = "1")]
    pub(crate) bundles: BTreeMap<String, Vec<u8>>,
}

/// For whom a JWT-SVID is asked.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct JwtSvidRequest {
    #[prost(string, repeated, tag = "1")]
    pub(crate) audience: Vec<String>,
}

/// The JWT-SVIDs of the workload that asks, its default identity first.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct JwtSvidResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) svids: Vec<JwtSvid>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct JwtSvid {
    #[prost(string, tag = "2")]
    pub(crate) svid: String,
}

/// Why a workload has no JWT-SVID.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Nobody listens on the socket, or who does speaks no HTTP/2.
    #[error("could not connect to the Workload API")]
    Unreached(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The Workload API knows no identity of this process, or refused otherwise.
    #[error("the Workload API answered with `{0:?}`: is this process registered as a workload?")]
    Refused(tonic::Code),
    /// There was no answer in time, or one without a JWT-SVID.
    #[error("the Workload API gave no JWT-SVID")]
    Silent,
}

/// A JWT-SVID for `audience` of this process, by the word of whoever listens at `endpoint`: that of
/// its default identity, where it has several.
pub async fn fetch_jwt_svid(endpoint: &Endpoint, audience: &str) -> Result<String, FetchError> {
    let fetched = tokio::time::timeout(WITHIN, fetch(endpoint, audience)).await;
    fetched.unwrap_or(Err(FetchError::Silent))
}

async fn fetch(endpoint: &Endpoint, audience: &str) -> Result<String, FetchError> {
    let (sender, mut connection) = connect(endpoint).await.map_err(FetchError::Unreached)?;
    let mut client = client(sender);
    let request = asked(JwtSvidRequest { audience: vec![audience.to_owned()] });
    let path = PathAndQuery::from_static(FETCH_JWT_SVID);
    let codec = ProstCodec::<JwtSvidRequest, JwtSvidResponse>::default();
    let answer = tokio::select! {
        answer = client.unary(request, path, codec) => answer,
        () = &mut connection => return Err(FetchError::Silent),
    };
    let answer = answer.map_err(|status| FetchError::Refused(status.code()))?.into_inner();
    let first = answer.svids.into_iter().next().map(|svid| svid.svid);
    first.filter(|svid| !svid.is_empty()).ok_or(FetchError::Silent)
}

/// The connection; it moves on as it is polled, and ends when it is dropped.
type Connection = Pin<Box<dyn Future<Output = ()> + Send>>;

type Sender = http2::SendRequest<Body>;
type Answer = http::Response<Incoming>;

async fn connect(
    endpoint: &Endpoint,
) -> Result<(Sender, Connection), Box<dyn std::error::Error + Send + Sync>> {
    let socket = TokioIo::new(UnixStream::connect(endpoint.path()).await?);
    let made = http2::Builder::new(TokioExecutor::new()).handshake(socket).await;
    let (sender, connection) = made?;
    Ok((sender, Box::pin(async move { drop(connection.await) })))
}

fn client(mut sender: Sender) -> Grpc<BoxService<http::Request<Body>, Answer, hyper::Error>> {
    let service = BoxService::new(service_fn(move |request| sender.send_request(request)));
    // There is no host behind a socket's path; gRPC wants a name all the same.
    let origin = http::Uri::from_static("http://localhost");
    Grpc::with_origin(service, origin).max_decoding_message_size(MESSAGE_MAX)
}

fn asked<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(HEADER, MetadataValue::from_static("true"));
    request
}

/// A stream of the bundles of one trust domain.
pub(crate) struct Subscription {
    domain: TrustDomain,
    connection: Connection,
    /// The connection ends once nobody is left who could send on it.
    _sender: Sender,
    stream: Streaming<JwtBundlesResponse>,
}

impl Subscription {
    /// Asks whoever listens at `endpoint` for the bundles of `domain`.
    pub(crate) async fn open(
        endpoint: &Endpoint,
        domain: &TrustDomain,
    ) -> Result<Self, RefreshError> {
        let opened = tokio::time::timeout(WITHIN, Self::connect(endpoint, domain)).await;
        opened.unwrap_or(Err(RefreshError::Silent))
    }

    async fn connect(endpoint: &Endpoint, domain: &TrustDomain) -> Result<Self, RefreshError> {
        let (sender, mut connection) = connect(endpoint).await.map_err(RefreshError::Unreached)?;
        let mut client = client(sender.clone());
        let request = asked(JwtBundlesRequest {});
        let path = PathAndQuery::from_static(FETCH_JWT_BUNDLES);
        let codec = ProstCodec::<JwtBundlesRequest, JwtBundlesResponse>::default();
        let answer = tokio::select! {
            answer = client.server_streaming(request, path, codec) => answer,
            () = &mut connection => return Err(RefreshError::Silent),
        };
        let stream = answer.map_err(|status| RefreshError::Refused(status.code()))?.into_inner();
        Ok(Self { domain: domain.clone(), connection, _sender: sender, stream })
    }

    /// The keys of the next message, which is to come soon: the first does.
    pub(crate) async fn next(&mut self) -> Result<KeySet, RefreshError> {
        let next = tokio::time::timeout(WITHIN, self.wait()).await;
        next.unwrap_or(Err(RefreshError::Silent))
    }

    /// The keys of the next message, whenever it comes.
    pub(crate) async fn wait(&mut self) -> Result<KeySet, RefreshError> {
        let message = tokio::select! {
            biased;
            message = self.stream.message() => message,
            () = &mut self.connection => return Err(RefreshError::Silent),
        };
        let message = message.map_err(|status| RefreshError::Refused(status.code()))?;
        keys_in(&message.ok_or(RefreshError::Silent)?, &self.domain)
    }
}

/// The keys of `domain` in `message`: none if it has no bundle of it.
fn keys_in(message: &JwtBundlesResponse, domain: &TrustDomain) -> Result<KeySet, RefreshError> {
    // By its SPIFFE ID, as the standard says; some name the trust domain alone.
    let bundle = message.bundles.get(&domain.id());
    match bundle.or_else(|| message.bundles.get(domain.as_str())) {
        None => Ok(KeySet::default()),
        Some(bundle) => {
            Ok(KeySet::parse(&json::parse(bundle, DOCUMENT_LIMITS)?, Purpose::JwtBundle)?)
        }
    }
}
