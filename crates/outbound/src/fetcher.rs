//! Fetches JSON documents from URLs that somebody else wrote, and delivers messages there.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, LOCATION, USER_AGENT,
};
use http::request::Builder;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use https_url::{DEFAULT_PORT, HttpsUrl};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::TokioExecutor;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

use crate::resolver::{BoxError, NotPublic, Resolver};

/// How long a document may take, from its name to its last byte, redirects included.
const WITHIN: Duration = Duration::from_secs(10);

/// The most bytes of a document. Metadata and key sets of large issuers have some 20 KiB.
pub(crate) const BODY_MAX: usize = 256 << 10;

/// The most arrays and objects inside each other in a document.
pub(crate) const DEPTH_MAX: usize = 16;

/// The most bytes of an answer's head, and the most headers in it.
pub(crate) const HEAD_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;

/// How many characters of a content type are told.
const TYPE_TOLD_MAX: usize = 64;

/// The most redirects that are followed.
pub(crate) const REDIRECTS_MAX: usize = 3;

/// The first port beside 443 from which documents are fetched: below it are services that do not
/// speak https.
const PORT_MIN: u16 = 1_024;

/// Whom a [`Fetcher`] trusts beyond what is public.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Hosts that may have any address, private ones too, each a DNS name in lower case: those of
    /// the operator's own network. There is no pattern.
    pub private_hosts: BTreeSet<String>,
    /// Certificates that vouch for those hosts, and for no other, beside the system's.
    pub authorities: Vec<CertificateDer<'static>>,
}

/// Why there is no [`Fetcher`].
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The system has no certificates that vouch for servers, and none were given.
    #[error("no certificate vouches for servers: install the system's")]
    NoAuthorities,
    /// A certificate that was given is none.
    #[error("a certificate that is to vouch for servers cannot be used")]
    Tls(#[from] rustls::Error),
}

/// Why there is no document. What is refused here is so again; the others may pass.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The URL has a fragment, or a port on which nobody serves documents. Refused.
    #[error("`{0}` is no URL to fetch from: it has a fragment, or a port below {PORT_MIN}")]
    Url(Box<HttpsUrl>),
    /// The host has an address that is not public. Refused.
    #[error(transparent)]
    NotPublic(#[from] NotPublic),
    /// No connection: the name is unknown, nobody listens, or the certificate is another's.
    #[error("could not connect")]
    Unreached(#[source] ClientError),
    /// The deadline passed.
    #[error("no document within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The answer broke off, or was no HTTP within our limits.
    #[error("the answer could not be read")]
    Unreadable(#[source] BoxError),
    /// The answer is no document.
    #[error("the answer has status {}", .0.as_u16())]
    Status(StatusCode),
    /// The answer leads to another host, port or scheme, or nowhere. Refused.
    #[error("the answer redirects away from its host, port and scheme")]
    RedirectedAway,
    /// It redirects, or one redirect followed another. Refused.
    #[error("more redirects than are followed")]
    TooManyRedirects,
    /// The answer does not say that it is JSON. Refused.
    #[error(
        "the answer has the content type `{0}`: it must be application/json or application/…+json"
    )]
    ContentType(String),
    /// The document is compressed, which nobody asked for. Refused.
    #[error("the document is compressed")]
    Compressed,
    /// The document has too many bytes. Refused.
    #[error("the document is larger than {BODY_MAX} bytes")]
    TooLarge,
    /// The document is not JSON that has one reading, or too deep.
    #[error("the document is not strict JSON")]
    Json(#[from] json::ParseError),
}

/// Fetches JSON documents from URLs that somebody else wrote.
///
/// It connects over TLS to public addresses alone, sends nothing but the request for the document, or
/// the message, and keeps nothing: no connection, TLS session, cookie or document. Proxies that the environment
/// names are not used, as they would look the name up again.
pub struct Fetcher {
    public: FetchClient,
    /// For private hosts.
    private: FetchClient,
    private_hosts: Arc<BTreeSet<String>>,
    within: Duration,
}

type FetchClient = Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>;

/// A message that somebody asked for, at a URL that they wrote.
#[derive(Debug)]
pub struct Message<'a> {
    /// What it is.
    pub content_type: &'static str,
    /// What shows them who sends it: a secret of theirs.
    pub authorization: Option<&'a str>,
    /// What it says.
    pub body: Bytes,
}

/// Which certificates vouch for whom.
#[derive(Clone)]
pub(crate) struct Roots {
    pub(crate) public: RootCertStore,
    /// For private hosts.
    pub(crate) private: RootCertStore,
}

impl Fetcher {
    /// A fetcher by the system's resolver and certificates, with `trust` beside them.
    pub fn new(trust: Trust) -> Result<Self, SetupError> {
        let mut public = RootCertStore::empty();
        public.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let mut private = public.clone();
        for authority in trust.authorities {
            private.add(authority)?;
        }
        if private.is_empty() {
            return Err(SetupError::NoAuthorities);
        }
        Ok(Self::with(Resolver::of_system(trust.private_hosts), Roots { public, private }, WITHIN)?)
    }

    /// A fetcher of these parts, which gives up after `within`.
    pub(crate) fn with(
        resolver: Resolver,
        roots: Roots,
        within: Duration,
    ) -> Result<Self, rustls::Error> {
        let private_hosts = resolver.private_hosts.clone();
        let public = client(resolver.clone(), roots.public, within)?;
        let private = client(resolver, roots.private, within)?;
        Ok(Self { public, private, private_hosts, within })
    }

    /// Whether the host of `url` is in the operator's own network, by the operator's word.
    pub fn is_private(&self, url: &HttpsUrl) -> bool {
        self.private_hosts.contains(url.host())
    }

    /// Fetches the document at `url`, read strictly.
    pub async fn fetch_json(&self, url: &HttpsUrl) -> Result<Value, FetchError> {
        self.fetch(url, REDIRECTS_MAX, |_| Ok(())).await
    }

    /// The same, and from nowhere else: the URL is the name of who wrote the document. The answer says
    /// that it is JSON, as what others left at a host that keeps files for them does not.
    pub async fn fetch_json_there(&self, url: &HttpsUrl) -> Result<Value, FetchError> {
        self.fetch(url, 0, says_json).await
    }

    /// Delivers `message` to `url`, and to nowhere else; gives the answer, whatever its status is.
    pub async fn post(
        &self,
        url: &HttpsUrl,
        message: Message<'_>,
    ) -> Result<(StatusCode, Bytes), FetchError> {
        let (head, body) = self.request(Method::POST, url, message).await?.into_parts();
        Ok((head.status, body))
    }

    /// Asks by `method` for what `message` says, at `url` and nowhere else; gives the answer, whatever its
    /// status is. A message without a body says nothing of what it is.
    pub async fn request(
        &self,
        method: Method,
        url: &HttpsUrl,
        message: Message<'_>,
    ) -> Result<Response<Bytes>, FetchError> {
        let mut request = Request::builder().method(method).uri(url.as_str());
        if !message.body.is_empty() {
            request = request.header(CONTENT_TYPE, message.content_type);
        }
        if let Some(secret) = message.authorization {
            let secret = HeaderValue::from_str(secret);
            let mut secret = secret.map_err(|error| FetchError::Unreadable(error.into()))?;
            secret.set_sensitive(true);
            request = request.header(AUTHORIZATION, secret);
        }
        let answered = async {
            let answer = self.send(url, request, message.body).await?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            let mut whole = Response::new(read(answer).await?);
            (*whole.status_mut(), *whole.headers_mut()) = (status, headers);
            Ok(whole)
        };
        let answered = tokio::time::timeout(self.within, answered).await;
        answered.map_err(|_| FetchError::TimedOut(self.within))?
    }

    async fn fetch(
        &self,
        url: &HttpsUrl,
        redirects: usize,
        check: fn(&HeaderMap) -> Result<(), FetchError>,
    ) -> Result<Value, FetchError> {
        let fetched = async {
            let answer = self.follow(url.clone(), redirects).await?;
            check(answer.headers())?;
            read(answer).await
        };
        let fetched = tokio::time::timeout(self.within, fetched).await;
        let body = fetched.map_err(|_| FetchError::TimedOut(self.within))??;
        Ok(json::parse(&body, json::Limits { bytes: BODY_MAX, depth: DEPTH_MAX })?)
    }

    /// The answer at `url`, or where it redirects to, if it is no further than that.
    async fn follow(
        &self,
        mut url: HttpsUrl,
        redirects: usize,
    ) -> Result<Response<Incoming>, FetchError> {
        for _ in 0..=redirects {
            let answer = self.ask(&url).await?;
            match answer.status() {
                StatusCode::OK => return Ok(answer),
                status if is_redirect(status) => url = redirect(&url, answer.headers())?,
                status => return Err(FetchError::Status(status)),
            }
        }
        Err(FetchError::TooManyRedirects)
    }

    async fn ask(&self, url: &HttpsUrl) -> Result<Response<Incoming>, FetchError> {
        self.send(url, Request::get(url.as_str()), Bytes::new()).await
    }

    async fn send(
        &self,
        url: &HttpsUrl,
        request: Builder,
        body: Bytes,
    ) -> Result<Response<Incoming>, FetchError> {
        let may_be = url.port() == DEFAULT_PORT || url.port() >= PORT_MIN;
        if url.has_fragment() || !may_be {
            return Err(FetchError::Url(Box::new(url.clone())));
        }
        let request = request
            .header(ACCEPT, "application/json")
            .header(ACCEPT_ENCODING, "identity")
            .header(USER_AGENT, "chancery")
            .body(Full::new(body))
            .expect("an https URL is a URI");
        let client = if self.is_private(url) { &self.private } else { &self.public };
        client.request(request).await.map_err(|error| match not_public(&error) {
            Some(refused) => refused.into(),
            None if error.is_connect() => FetchError::Unreached(error),
            None => FetchError::Unreadable(error.into()),
        })
    }
}

/// A client that goes where `resolver` says and trusts whom `roots` vouch for.
fn client(
    resolver: Resolver,
    roots: RootCertStore,
    within: Duration,
) -> Result<FetchClient, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // A ticket is text of the server's that would be sent to wherever its name leads next.
    tls.resumption = Resumption::disabled();
    let mut connector = HttpConnector::new_with_resolver(resolver);
    connector.enforce_http(false);
    // An address that does not answer leaves time for the next.
    connector.set_connect_timeout(Some(within / 2));
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_only()
        .enable_http1()
        .wrap_connector(connector);
    Ok(Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .http1_max_buf_size(HEAD_MAX)
        .http1_max_headers(HEADERS_MAX)
        .build(connector))
}

/// The refusal of the resolver, if it is what `error` comes from.
fn not_public(error: &ClientError) -> Option<NotPublic> {
    let mut causes = std::iter::successors(error.source(), |&error| error.source());
    causes.find_map(|cause| cause.downcast_ref::<NotPublic>()).cloned()
}

/// Those that lead to the same document elsewhere (RFC 9110 §15.4).
fn is_redirect(status: StatusCode) -> bool {
    [301, 302, 303, 307, 308].contains(&status.as_u16())
}

/// Where an answer from `url` leads to: an https URL of the same origin, or a path there.
fn redirect(url: &HttpsUrl, headers: &HeaderMap) -> Result<HttpsUrl, FetchError> {
    let mut locations = headers.get_all(LOCATION).iter();
    let (Some(location), None) = (locations.next(), locations.next()) else {
        return Err(FetchError::RedirectedAway);
    };
    let location = location.to_str().unwrap_or_default();
    let is_path = location.starts_with('/') && !location.starts_with("//");
    let next = if is_path {
        HttpsUrl::parse(&format!("https://{}:{}{location}", url.host(), url.port()))
    } else {
        HttpsUrl::parse(location)
    };
    next.ok().filter(|next| next.is_same_origin(url)).ok_or(FetchError::RedirectedAway)
}

/// Whether an answer with `headers` says, once, that it is JSON: `application/json`, or a type with the
/// suffix `+json` (draft-ietf-oauth-client-id-metadata-document §4).
fn says_json(headers: &HeaderMap) -> Result<(), FetchError> {
    let said: Vec<_> = headers.get_all(CONTENT_TYPE).iter().collect();
    let said = match said.as_slice() {
        [one] => one.to_str().unwrap_or_default(),
        _ => "",
    };
    let essence = said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let subtype = essence.strip_prefix("application/").unwrap_or_default();
    let suffixed = subtype.strip_suffix("+json").is_some_and(|kind| !kind.is_empty());
    if subtype == "json" || suffixed {
        return Ok(());
    }
    Err(FetchError::ContentType(said.chars().take(TYPE_TOLD_MAX).collect()))
}

/// The body of `answer`, of which no more is read than may be.
async fn read(answer: Response<Incoming>) -> Result<Bytes, FetchError> {
    let mut encodings = answer.headers().get_all(CONTENT_ENCODING).iter();
    if !encodings.all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(FetchError::Compressed);
    }
    match Limited::new(answer.into_body(), BODY_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(FetchError::TooLarge),
        Err(error) => Err(FetchError::Unreadable(error)),
    }
}
