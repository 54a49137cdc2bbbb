//! Plain HTTP on loopback, for what no MCP client would send.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::sync::Mutex;

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// The largest answer, in bytes.
const ANSWER_MAX: usize = 1 << 20;

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body.
    pub(crate) body: Bytes,
}

impl Answer {
    /// The body as JSON; null if it is something else.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The text of the header `name`; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Sends `request` over a connection of its own.
pub(crate) async fn send(request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
    let url = request.uri().to_string();
    let exchange = async {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let response = client.request(request).await?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    };
    let answer = tokio::time::timeout(ANSWER_WITHIN, exchange).await;
    let answer = answer.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in time")));
    answer.with_context(|| format!("could not reach `{url}`"))
}

/// Whose turn it is at the host's socket, which takes eight connections of one user at once.
static TURN: Mutex<()> = Mutex::const_new(());

/// What the service at the socket `host` vouches of this process, for the key with this thumbprint.
pub(crate) async fn voucher(host: &Path, jkt: &str) -> anyhow::Result<String> {
    let _turn = TURN.lock().await;
    let stream = UnixStream::connect(host).await.context("the host's socket is not there")?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let body = Full::new(Bytes::from(json!({ "jkt": jkt }).to_string()));
    let request = Request::post("/v1/voucher").header("host", "localhost").body(body)?;
    let answer = Limited::new(sender.send_request(request).await?.into_body(), ANSWER_MAX);
    let answer = answer.collect().await.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
    drop(sender);
    let _ = connection.await;
    let answer: Value = serde_json::from_slice(&answer)?;
    answer["voucher"].as_str().map(str::to_owned).context("the host does not vouch")
}
