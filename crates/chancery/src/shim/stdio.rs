//! MCP on standard input and output: one message a line.

use std::sync::{Arc, RwLock};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::Gateway;
use super::answer::Message;
use super::wire::SendError;

/// The longest message of a client, in bytes.
const LINE_MAX: usize = 4 << 20;

/// How many answers may wait for a client that does not read.
const ANSWERS_WAITING_MAX: usize = 1_024;

/// What the gateway told us to send along in the session era.
#[derive(Default)]
struct Negotiated {
    session: Option<HeaderValue>,
    version: Option<HeaderValue>,
}

/// The way of each message to the gateway, and of what comes back.
#[derive(Clone)]
struct Passage {
    gateway: Arc<Gateway>,
    negotiated: Arc<RwLock<Negotiated>>,
    answers: mpsc::Sender<Bytes>,
}

/// Passes messages on until standard input ends and everything under way is answered, or until it
/// is told to stop. Either way the gateway learns that the session is over.
pub(super) async fn run(gateway: Gateway) -> anyhow::Result<()> {
    let (answers, to_write) = mpsc::channel::<Bytes>(ANSWERS_WAITING_MAX);
    let passage = Passage { gateway: Arc::new(gateway), negotiated: Arc::default(), answers };
    let writer = tokio::spawn(write(to_write));
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let passed = tokio::select! {
        passed = pass_all(&passage) => passed,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    passage.end_session().await;
    drop(passage);
    if passed.is_ok() {
        writer.await?.context("could not write to standard output")?;
    }
    passed
}

async fn write(mut answers: mpsc::Receiver<Bytes>) -> std::io::Result<()> {
    let mut output = tokio::io::stdout();
    while let Some(line) = answers.recv().await {
        output.write_all(&line).await?;
        output.write_all(b"\n").await?;
        output.flush().await?;
    }
    Ok(())
}

async fn pass_all(passage: &Passage) -> anyhow::Result<()> {
    let tasks = TaskTracker::new();
    let mut input = tokio::io::BufReader::new(tokio::io::stdin());
    while let Some(line) = next_line(&mut input).await? {
        if line.is_empty() {
            continue;
        }
        let message = Message::read(&line);
        let is_initialize = message.method.as_deref() == Some("initialize");
        let passage = passage.clone();
        let pass = async move { passage.pass(message, line).await };
        // What follows `initialize` needs the session that it begins.
        if is_initialize { pass.await } else { drop(tasks.spawn(pass)) }
    }
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// The next line without the white space around it; nothing at the end.
async fn next_line(input: &mut (impl AsyncBufRead + Unpin)) -> anyhow::Result<Option<Bytes>> {
    let mut line = Vec::new();
    let read = input.take(LINE_MAX as u64 + 1).read_until(b'\n', &mut line).await;
    if read.context("could not read standard input")? == 0 {
        return Ok(None);
    }
    ensure!(line.len() <= LINE_MAX, "a message of the client is over {LINE_MAX} bytes");
    let line = Bytes::from(line);
    Ok(Some(line.slice_ref(line.trim_ascii())))
}

impl Passage {
    /// Passes one message on, and what the gateway says to it back.
    async fn pass(&self, message: Message, bytes: Bytes) {
        let headers = self.headers_for(&message);
        let delivered = match self.gateway.send(Method::POST, &headers, bytes).await {
            Ok(response) => self.deliver(response, &message).await,
            Err(error) => Err(error),
        };
        if let Err(error) = delivered {
            let answer = message.unanswered(&error);
            tracing::error!("{:#}", anyhow::Error::from(error));
            if let Some(answer) = answer {
                let _ = self.answers.send(answer).await;
            }
        }
    }

    /// The headers that go with a message: those of its session, or those that it says itself.
    fn headers_for(&self, message: &Message) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut insert = |name: &'static str, text: &str| {
            if let Ok(text) = HeaderValue::from_str(&mcp::encode_header_value(text)) {
                headers.insert(HeaderName::from_static(name), text);
            }
        };
        if let Some(version) = message.version() {
            insert("mcp-protocol-version", version);
            if let Some(method) = &message.method {
                insert("mcp-method", method);
            }
            let name = ["name", "uri", "taskId"].iter().find_map(|name| message.params.get(name));
            if let Some(name) = name.and_then(Value::as_str) {
                insert("mcp-name", name);
            }
            return headers;
        }
        let known = self.negotiated.read().expect("no panic while it is held");
        let mut add = |name: &'static str, value: &Option<HeaderValue>| {
            headers.extend(value.clone().map(|value| (HeaderName::from_static(name), value)));
        };
        add("mcp-session-id", &known.session);
        add("mcp-protocol-version", &known.version);
        headers
    }

    /// Gives the client what the gateway says. An error if that was not an answer.
    async fn deliver(
        &self,
        response: Response<Incoming>,
        message: &Message,
    ) -> Result<(), SendError> {
        if let Some(session) = response.headers().get("mcp-session-id") {
            let mut known = self.negotiated.write().expect("no panic while it is held");
            known.session = Some(session.clone());
        }
        let kind = response.headers().get("content-type").and_then(|value| value.to_str().ok());
        if kind.is_some_and(|kind| kind.starts_with("text/event-stream")) {
            return self.deliver_events(response.into_body(), message).await;
        }
        let status = response.status();
        let body = response.into_body().collect().await;
        let body = body.map_err(|error| SendError::Unanswered(error.into()))?.to_bytes();
        if body.is_empty() && status.is_success() {
            return Ok(());
        }
        let Ok(answer) = serde_json::from_slice::<Value>(&body) else {
            let why = anyhow::anyhow!("the gateway answered with status {status}");
            let refused = status.is_client_error();
            return Err(if refused { SendError::Unreached } else { SendError::Unanswered }(why));
        };
        let version = answer.pointer("/result/protocolVersion").and_then(Value::as_str);
        if let Some(version) = version.and_then(|version| HeaderValue::from_str(version).ok()) {
            self.negotiated.write().expect("no panic while it is held").version = Some(version);
        }
        let _ = self.answers.send(body).await;
        Ok(())
    }

    async fn deliver_events(&self, mut body: Incoming, message: &Message) -> Result<(), SendError> {
        let broke = |error: anyhow::Error| SendError::Unanswered(error);
        let mut parser = mcp::SseParser::new(gateway::UPSTREAM_MESSAGE_MAX);
        let mut answered = message.id.is_none();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| broke(error.into()))?;
            let Some(data) = frame.data_ref() else { continue };
            let events = parser.push(data).map_err(|error| broke(error.into()))?;
            for event in events.into_iter().filter(|event| !event.data.is_empty()) {
                answered |= message.is_answered_by(event.data.as_bytes());
                let _ = self.answers.send(Bytes::from(event.data)).await;
            }
        }
        if answered { Ok(()) } else { Err(broke(anyhow::anyhow!("the stream ended early"))) }
    }

    async fn end_session(&self) {
        let session = self.negotiated.read().expect("no panic while it is held").session.clone();
        let Some(session) = session else { return };
        let headers = HeaderMap::from_iter([(HeaderName::from_static("mcp-session-id"), session)]);
        if let Err(error) = self.gateway.send(Method::DELETE, &headers, Bytes::new()).await {
            tracing::debug!("{:#}", anyhow::Error::from(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn i_18_a_line_has_a_limit() {
        let check = async |length: usize| {
            let mut line = vec![b'x'; length - 1];
            line.push(b'\n');
            next_line(&mut line.as_slice()).await.map(|line| line.map(|line| line.len()))
        };
        assert_eq!(check(LINE_MAX).await.unwrap(), Some(LINE_MAX - 1));
        assert!(check(LINE_MAX + 1).await.is_err());
        assert_eq!(next_line(&mut b"".as_slice()).await.unwrap(), None);
        assert_eq!(next_line(&mut b" \r\n".as_slice()).await.unwrap(), Some(Bytes::new()));
    }
}
