//! One conversation with one upstream server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use mcp::{Askable, Era};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::requests::{self, ServerAsks};
use super::{Listener, Messages, Outgoing, Protocol, Transport};
use crate::intake::Intake;

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
    /// It asks something itself, in the session era.
    Request(ServerAsks),
    /// It no longer asks what it asked under this id (as JSON text).
    Withdrawn(String),
    /// The answer: the raw result, or the raw error.
    Answer(Result<Box<RawValue>, Box<RawValue>>),
}

/// A conversation with a server whose era is known.
pub(crate) struct Link {
    transport: Arc<dyn Transport>,
    listener: Arc<dyn Listener>,
    /// The era that the server speaks.
    pub(crate) era: Era,
    protocol: Protocol,
    /// What it said of itself: the result of `initialize` or `server/discover`.
    pub(crate) about: Value,
    next_id: AtomicU64,
    /// Where what the server says on account of the conversation has room.
    intake: Intake,
}

/// How a server is greeted.
pub(crate) struct Greeting {
    /// What it is shown.
    pub(crate) assertion: Option<String>,
    /// What it is told, in the session era, that it may ask.
    pub(crate) declares: Askable,
    /// How long it may take.
    pub(crate) within: Duration,
    /// Where what it says has room.
    pub(crate) intake: Intake,
}

/// A request on its way to a server.
pub(crate) struct Asking<'a> {
    /// The method.
    pub(crate) method: &'a str,
    /// What the header `Mcp-Name` carries.
    pub(crate) name: Option<String>,
    /// Headers computed from the arguments.
    pub(crate) param_headers: Vec<(http::HeaderName, http::HeaderValue)>,
    /// The parameters, byte for byte.
    pub(crate) params: Option<&'a RawValue>,
    /// By what the server names the request in progress notifications.
    pub(crate) progress: Option<Value>,
    /// Where what the server says on its account has room.
    pub(crate) intake: Intake,
}

/// Who we say we are when the server asks.
const CLIENT_NAME: &str = "chancery";

/// The session-era version that we ask for.
const SESSION_VERSION: &str = mcp::SESSION_VERSIONS[0];

/// The older session versions that a server may answer with: the same messages, fewer of them.
const OLDER_VERSIONS: [&str; 2] = ["2025-03-26", "2024-11-05"];

impl Link {
    /// Opens a conversation: finds out which era the server speaks, and greets it in that.
    pub(crate) async fn open(
        transport: Arc<dyn Transport>,
        listener: Arc<dyn Listener>,
        greeting: Greeting,
    ) -> Result<Self, LinkError> {
        let within = greeting.within;
        let greeted = Self::greet(transport.clone(), listener, greeting);
        let greeted = tokio::time::timeout(within, greeted).await;
        let greeted = greeted.unwrap_or(Err(LinkError::Unanswered));
        if greeted.is_err() {
            // A server that did not greet is not left half greeted.
            transport.close().await;
        }
        greeted
    }

    async fn greet(
        transport: Arc<dyn Transport>,
        listener: Arc<dyn Listener>,
        Greeting { assertion, declares, within, intake }: Greeting,
    ) -> Result<Self, LinkError> {
        let mut link = Self {
            transport,
            listener,
            era: Era::Stateless,
            protocol: Protocol::Stateless(mcp::STATELESS_VERSION),
            about: Value::Null,
            next_id: AtomicU64::new(1),
            intake,
        };
        // Whatever goes wrong with the newer greeting, the older one is tried: servers of the
        // session era answer it in many ways.
        let params = raw(&json!({ "_meta": stateless_meta(Askable::NOTHING) }));
        let discover = link.answer(("server/discover", GREETING), Some(&params), assertion.clone());
        if let Ok(Ok(about)) = tokio::time::timeout(within / 4, discover).await
            && speaks_stateless(&about)
        {
            link.about = about;
            return Ok(link);
        }
        (link.era, link.protocol) = (Era::Session, Protocol::Greeting);
        let params = raw(&json!({
            "protocolVersion": SESSION_VERSION,
            "capabilities": declares.to_capabilities(),
            "clientInfo": { "name": CLIENT_NAME, "version": env!("CARGO_PKG_VERSION") },
        }));
        link.about =
            link.answer(("initialize", GREETING), Some(&params), assertion.clone()).await?;
        link.protocol = Protocol::Session(agreed(&link.about)?);
        link.tell("notifications/initialized", None, assertion).await?;
        Ok(link)
    }

    /// Sends a request.
    pub(crate) async fn ask(
        &self,
        asking: Asking<'_>,
        assertion: Option<String>,
    ) -> Result<Asked<'_>, LinkError> {
        let Asking { method, name, param_headers, params, progress, intake } = asking;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let outgoing = Outgoing {
            id: Some(id),
            method: Some(method.to_owned()),
            name,
            param_headers,
            body: message(Some(id), method, params),
            assertion,
            protocol: self.protocol,
            progress,
            intake,
        };
        // Forgotten when dropped, also while it is still being sent.
        let mut asked = Asked { link: self, id, messages: Messages::Nothing };
        asked.messages = self.transport.send(outgoing).await?;
        Ok(asked)
    }

    /// Where what the server says on nobody's account in particular has room.
    pub(crate) const fn intake(&self) -> &Intake {
        &self.intake
    }

    /// Sends a notification.
    pub(crate) async fn tell(
        &self,
        method: &str,
        params: Option<&RawValue>,
        assertion: Option<String>,
    ) -> Result<(), LinkError> {
        let body = message(None, method, params);
        self.send_only(Some(method.to_owned()), body, assertion).await
    }

    async fn send_only(
        &self,
        method: Option<String>,
        body: Bytes,
        assertion: Option<String>,
    ) -> Result<(), LinkError> {
        let outgoing = Outgoing {
            id: None,
            method,
            name: None,
            param_headers: Vec::new(),
            body,
            assertion,
            protocol: self.protocol,
            progress: None,
            intake: self.intake.clone(),
        };
        self.transport.send(outgoing).await.map(drop)
    }

    /// Asks and waits for the answer alone, which is so large at most.
    pub(crate) async fn answer(
        &self,
        (method, most): (&str, Most),
        params: Option<&RawValue>,
        assertion: Option<String>,
    ) -> Result<Value, LinkError> {
        let asking = Asking {
            method,
            name: None,
            param_headers: Vec::new(),
            params,
            progress: None,
            intake: self.intake.clone(),
        };
        let mut asked = self.ask(asking, assertion.clone()).await?;
        loop {
            match asked.next().await? {
                Said::Notification(_) | Said::Withdrawn(_) => {}
                // Nobody's call is under way: there is no client to ask.
                Said::Request(asks) => self.refuse(&asks, assertion.clone()).await,
                Said::Answer(Ok(result)) => {
                    return most.read(&result);
                }
                Said::Answer(Err(error)) => return Err(LinkError::Garbled(error.to_string())),
            }
        }
    }

    /// Whether the server is, as far as is known, still there.
    pub(crate) fn is_alive(&self) -> bool {
        self.transport.is_alive()
    }

    /// Ends the conversation.
    pub(crate) async fn close(&self) {
        self.transport.close().await;
    }

    /// Answers a request of the server's own. A server that cannot be told has gone, which its own
    /// answer will show.
    pub(crate) async fn reply(&self, body: Bytes, assertion: Option<String>) {
        let _ = self.send_only(None, body, assertion).await;
    }

    async fn refuse(&self, asks: &ServerAsks, assertion: Option<String>) {
        let ServerAsks { id, method, .. } = asks;
        if method == "ping" {
            return self.reply(requests::pong(id), assertion).await;
        }
        self.listener.refused(requests::cause(method));
        self.reply(requests::refusal(id), assertion).await;
    }
}

/// How large an answer may be that is kept as it is read: of much structure it takes many times its text.
#[derive(Clone, Copy)]
pub(crate) struct Most {
    /// The most bytes of its text.
    pub(crate) text: usize,
    /// The most bytes that it takes once it is read ([`json::weight`]).
    pub(crate) read: usize,
}

/// What a server may say of itself, which is kept as long as the conversation with it.
pub(crate) const GREETING: Most = Most { text: 128 << 10, read: 128 << 10 };

impl Most {
    fn read(self, result: &RawValue) -> Result<Value, LinkError> {
        let too_large = || LinkError::Garbled("it says more than can be".to_owned());
        if result.get().len() > self.text {
            return Err(too_large());
        }
        let read = serde_json::from_str(result.get());
        let read: Value = read.map_err(|error| LinkError::Garbled(error.to_string()))?;
        if json::weight(&read) > self.read { Err(too_large()) } else { Ok(read) }
    }
}

/// A request that was sent. Nobody waits for it any more once this is dropped.
pub(crate) struct Asked<'a> {
    link: &'a Link,
    /// The id under which the server knows it.
    pub(crate) id: u64,
    messages: Messages,
}

#[derive(Deserialize)]
struct Incoming<'a> {
    #[serde(default, borrow)]
    id: Option<&'a RawValue>,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    params: Option<Box<RawValue>>,
    #[serde(default)]
    result: Option<Box<RawValue>>,
    #[serde(default)]
    error: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cancelled {
    request_id: Value,
}

impl Asked<'_> {
    /// The next thing that the server says on account of this request.
    pub(crate) async fn next(&mut self) -> Result<Said, LinkError> {
        loop {
            let Some(bytes) = self.messages.recv().await else { return Err(LinkError::Unanswered) };
            let garbled = |error: serde_json::Error| LinkError::Garbled(error.to_string());
            let Incoming { id, method, params, result, error } =
                serde_json::from_slice(&bytes).map_err(garbled)?;
            let mine = id.is_some_and(|id| id.get().parse() == Ok(self.id));
            match (method, id, result, error) {
                (Some(method), None, None, None) if method == CANCELLED => {
                    // Of the ids that a server gives, only we know what they stand for.
                    let text = params.as_ref().map_or("null", |params| params.get());
                    if let Ok(Cancelled { request_id }) = serde_json::from_str(text) {
                        return Ok(Said::Withdrawn(request_id.to_string()));
                    }
                }
                (Some(method), None, None, None) => {
                    self.overhear(&method);
                    if method.starts_with("notifications/") {
                        return Ok(Said::Notification(bytes));
                    }
                }
                // In the stateless era servers may not ask so, and there is no way to answer.
                (Some(method), Some(_), None, None) if self.link.era == Era::Stateless => {
                    self.link.listener.refused(requests::cause(&method));
                }
                (Some(method), Some(id), None, None) => {
                    if !requests::is_short(id, &method) {
                        return Err(LinkError::Garbled(
                            "its id or its method is too long".to_owned(),
                        ));
                    }
                    return Ok(Said::Request(ServerAsks { id: id.to_owned(), method, params }));
                }
                (None, _, Some(result), None) if mine => return Ok(Said::Answer(Ok(result))),
                (None, _, None, Some(error)) if mine => return Ok(Said::Answer(Err(error))),
                _ => return Err(LinkError::Garbled("not a JSON-RPC message for us".to_owned())),
            }
        }
    }

    fn overhear(&self, method: &str) {
        if method == TOOLS_CHANGED {
            self.link.listener.tools_changed();
        }
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.link.transport.forget(self.id);
    }
}

/// By what either side says that it no longer wants an answer.
pub(crate) const CANCELLED: &str = "notifications/cancelled";

/// By what a server says that its tools have changed.
pub(crate) const TOOLS_CHANGED: &str = "notifications/tools/list_changed";

fn speaks_stateless(about: &Value) -> bool {
    let versions = about.get("supportedVersions").and_then(Value::as_array);
    versions.is_some_and(|all| all.iter().any(|version| version == mcp::STATELESS_VERSION))
}

/// The version that the server answered our greeting with.
fn agreed(about: &Value) -> Result<&'static str, LinkError> {
    let said = about.get("protocolVersion").and_then(Value::as_str).unwrap_or_default();
    let mut known = mcp::SESSION_VERSIONS.iter().chain(&OLDER_VERSIONS);
    let agreed = known.find(|version| **version == said).copied();
    agreed.ok_or_else(|| LinkError::Garbled("speaks no version that we do".to_owned()))
}

/// The `_meta` members that every stateless request carries, of a client that may be asked this.
pub(crate) fn stateless_meta(declares: Askable) -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": mcp::STATELESS_VERSION,
        "io.modelcontextprotocol/clientCapabilities": declares.to_capabilities(),
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
