//! One conversation with one upstream server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use mcp::Era;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Outgoing, Transport};

/// Why an upstream did not answer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Nothing was sent: the server has not seen the message.
    #[error("could not reach the server: {0}")]
    Unreached(String),
    /// The server refused the message before doing anything.
    #[error("the server refused with status {0}")]
    Refused(u16),
    /// It was sent and no answer came: whether it acted is not known.
    #[error("the server took the message and did not answer")]
    Unanswered,
    /// What came back is not an answer.
    #[error("the server's answer is not valid: {0}")]
    Garbled(String),
}

/// What an upstream says on account of one request.
#[derive(Debug)]
pub(crate) enum Said {
    /// A notification, for the client as it is.
    Notification(Bytes),
    /// The answer: the raw result, or the raw error.
    Answer(Result<Box<RawValue>, Box<RawValue>>),
}

/// A conversation with a server whose era is known.
pub(crate) struct Link {
    transport: Arc<dyn Transport>,
    /// The era that the server speaks.
    pub(crate) era: Era,
    /// What it said of itself: the result of `initialize` or `server/discover`.
    pub(crate) about: Value,
    next_id: AtomicU64,
}

/// Who we say we are when the server asks.
const CLIENT_NAME: &str = "chancery";

/// The session-era version that we ask for.
const SESSION_VERSION: &str = "2025-11-25";

/// The stateless version that we speak.
pub(crate) const STATELESS_VERSION: &str = "2026-07-28";

impl Link {
    /// Opens a conversation: finds out which era the server speaks, and greets it in that.
    pub(crate) async fn open(
        transport: Arc<dyn Transport>,
        assertion: Option<String>,
        within: Duration,
    ) -> Result<Self, LinkError> {
        let greeting = greet(&transport, assertion, within);
        let (era, about, next) =
            tokio::time::timeout(within, greeting).await.map_err(|_| LinkError::Unanswered)??;
        Ok(Self { transport, era, about, next_id: AtomicU64::new(next) })
    }

    /// Sends a request; what comes back arrives on the channel.
    pub(crate) async fn ask(
        &self,
        (method, name): (&str, Option<String>),
        params: Option<&RawValue>,
        assertion: Option<String>,
    ) -> Result<Asked, LinkError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let body = message(Some(id), method, params);
        let version = (self.era == Era::Stateless).then_some(STATELESS_VERSION);
        let outgoing =
            Outgoing { id: Some(id), method: method.to_owned(), name, body, assertion, version };
        let messages = self.transport.send(outgoing).await?;
        Ok(Asked { id, messages })
    }

    /// Sends a notification.
    pub(crate) async fn tell(
        &self,
        method: &str,
        params: Option<&RawValue>,
        assertion: Option<String>,
    ) -> Result<(), LinkError> {
        let body = message(None, method, params);
        let version = (self.era == Era::Stateless).then_some(STATELESS_VERSION);
        let outgoing =
            Outgoing { id: None, method: method.to_owned(), name: None, body, assertion, version };
        self.transport.send(outgoing).await.map(drop)
    }

    /// Asks and waits for the answer alone.
    pub(crate) async fn answer(
        &self,
        method: &str,
        params: Option<&RawValue>,
        assertion: Option<String>,
    ) -> Result<Value, LinkError> {
        let mut asked = self.ask((method, None), params, assertion).await?;
        loop {
            match asked.next().await? {
                Said::Notification(_) => {}
                Said::Answer(Ok(result)) => {
                    let parsed = serde_json::from_str(result.get());
                    return parsed.map_err(|error| LinkError::Garbled(error.to_string()));
                }
                Said::Answer(Err(error)) => return Err(LinkError::Garbled(error.to_string())),
            }
        }
    }

    /// Ends the conversation.
    pub(crate) async fn close(&self) {
        self.transport.close().await;
    }
}

/// A request that was sent.
pub(crate) struct Asked {
    /// The id under which the server knows it.
    pub(crate) id: u64,
    messages: mpsc::Receiver<Bytes>,
}

#[derive(Deserialize)]
struct Incoming<'a> {
    #[serde(default, borrow)]
    id: Option<&'a RawValue>,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    result: Option<Box<RawValue>>,
    #[serde(default)]
    error: Option<Box<RawValue>>,
}

impl Asked {
    /// The next thing that the server says on account of this request.
    pub(crate) async fn next(&mut self) -> Result<Said, LinkError> {
        loop {
            let Some(bytes) = self.messages.recv().await else { return Err(LinkError::Unanswered) };
            let garbled = |error: serde_json::Error| LinkError::Garbled(error.to_string());
            let incoming: Incoming<'_> = serde_json::from_slice(&bytes).map_err(garbled)?;
            let mine = incoming.id.is_some_and(|id| id.get() == self.id.to_string());
            match (incoming.method, incoming.result, incoming.error) {
                (Some(_), None, None) if incoming.id.is_none() => {
                    return Ok(Said::Notification(bytes));
                }
                // A request of the server's own: what servers may ask of clients is not governed
                // yet, so it is not delivered and stays without an answer.
                (Some(_), None, None) => {}
                (None, Some(result), None) if mine => return Ok(Said::Answer(Ok(result))),
                (None, None, Some(error)) if mine => return Ok(Said::Answer(Err(error))),
                _ => return Err(LinkError::Garbled("not a JSON-RPC message for us".to_owned())),
            }
        }
    }
}

async fn greet(
    transport: &Arc<dyn Transport>,
    assertion: Option<String>,
    within: Duration,
) -> Result<(Era, Value, u64), LinkError> {
    let stateless = |era| Link {
        transport: transport.clone(),
        era,
        about: Value::Null,
        next_id: AtomicU64::new(1),
    };
    // Whatever goes wrong with the newer greeting, the older one is tried: servers of the session
    // era answer it in many ways.
    let newer = stateless(Era::Stateless);
    let params = raw(&json!({ "_meta": stateless_meta() }));
    let discover = newer.answer("server/discover", Some(&params), assertion.clone());
    if let Ok(Ok(about)) = tokio::time::timeout(within / 4, discover).await {
        return Ok((Era::Stateless, about, 2));
    }
    let older = stateless(Era::Session);
    older.next_id.store(2, Ordering::Relaxed);
    let params = raw(&json!({
        "protocolVersion": SESSION_VERSION,
        "capabilities": {},
        "clientInfo": { "name": CLIENT_NAME, "version": env!("CARGO_PKG_VERSION") },
    }));
    let about = older.answer("initialize", Some(&params), assertion.clone()).await?;
    older.tell("notifications/initialized", None, assertion).await?;
    Ok((Era::Session, about, 3))
}

/// The `_meta` members that every stateless request carries.
pub(crate) fn stateless_meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": STATELESS_VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {
            "name": CLIENT_NAME,
            "version": env!("CARGO_PKG_VERSION"),
        },
    })
}

fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("a JSON value is JSON")
}

/// A JSON-RPC message whose `params` are exactly the bytes given.
fn message(id: Option<u64>, method: &str, params: Option<&RawValue>) -> Bytes {
    let method = Value::from(method);
    let id = id.map(|id| format!("\"id\":{id},")).unwrap_or_default();
    let params = params.map(|params| format!(",\"params\":{}", params.get())).unwrap_or_default();
    format!("{{\"jsonrpc\":\"2.0\",{id}\"method\":{method}{params}}}").into()
}
