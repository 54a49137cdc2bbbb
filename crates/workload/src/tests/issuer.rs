//! An issuer's HTTPS server on loopback, and who vouches for it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer as Signer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::US;

const METADATA: &str = "/.well-known/openid-configuration";

/// Who vouches for servers.
pub(super) struct Authority {
    issuer: Signer<'static, KeyPair>,
    pub(super) certificate: CertificateDer<'static>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Signer::new(params, key), certificate }
    }

    fn vouch(&self) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
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

/// What a server answers, and what it saw.
struct State {
    documents: Mutex<BTreeMap<String, String>>,
    asked: AtomicUsize,
    /// How many answers may be given.
    answers: Semaphore,
}

/// An issuer; it ends with the runtime of its test.
pub(super) struct Issuer {
    pub(super) url: String,
    pub(super) authority: Authority,
    state: Arc<State>,
}

impl Issuer {
    /// Publishes `keys`.
    pub(super) async fn start(keys: &[Value]) -> Self {
        let listener = TcpListener::bind("localhost:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let authority = Authority::new();
        let (documents, asked) = (Mutex::default(), AtomicUsize::new(0));
        let answers = Semaphore::new(Semaphore::MAX_PERMITS);
        let state = Arc::new(State { documents, asked, answers });
        let (tls, serving) = (authority.vouch(), state.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, state) = (tls.clone(), serving.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, &state).await;
                    }
                });
            }
        });
        let issuer = Self { url, authority, state };
        let jwks_uri = format!("{}/keys", issuer.url);
        issuer.put(METADATA, &json!({ "issuer": issuer.url, "jwks_uri": jwks_uri }));
        issuer.publish(keys);
        issuer
    }

    /// How it is configured.
    pub(super) fn config(&self) -> Value {
        json!({ "oidc": [{ "issuer": self.url, "audience": US }] })
    }

    pub(super) fn publish(&self, keys: &[Value]) {
        self.put("/keys", &json!({ "keys": keys }));
    }

    pub(super) fn put_metadata(&self, document: &Value) {
        self.put(METADATA, document);
    }

    pub(super) fn put(&self, path: &str, document: &Value) {
        self.state.documents.lock().unwrap().insert(path.to_owned(), document.to_string());
    }

    /// Has no documents any more.
    pub(super) fn break_down(&self) {
        self.state.documents.lock().unwrap().clear();
    }

    /// Answers only as often as `let_answer` says, from now on.
    pub(super) fn hold(&self) {
        self.state.answers.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(super) fn let_answer(&self, times: usize) {
        self.state.answers.add_permits(times);
    }

    /// How often its metadata were asked for: once for each time that its keys are.
    pub(super) fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, state: &State) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    state.asked.fetch_add(usize::from(path == METADATA), Ordering::SeqCst);
    state.answers.acquire().await.unwrap().forget();
    let found = state.documents.lock().unwrap().get(&path).cloned();
    let (status, body) = found.map_or((404, String::new()), |body| (200, body));
    let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n", body.len());
    let _ = stream.write_all((head + &body).as_bytes()).await;
    let _ = stream.flush().await;
    // Until the client goes.
    let _ = stream.read_u8().await;
}
