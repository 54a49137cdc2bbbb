//! JSON-RPC messages, read strictly and in one way only.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::method::Method;

/// The longest request id, in bytes as it is written.
pub const ID_MAX: usize = 256;

/// What is refused beyond.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest message, in bytes.
    pub bytes: usize,
    /// How deep it may nest.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: json::MAX_BYTES_DEFAULT, depth: json::MAX_DEPTH_DEFAULT }
    }
}

/// Why bytes are not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// They are not JSON that can be read in one way only.
    #[error("{0}")]
    Json(String),
    /// They are a batch, which no version that we speak has.
    #[error("batches are not taken: send one message at a time")]
    Batch,
    /// They are JSON, and not a JSON-RPC 2.0 message.
    #[error("not a JSON-RPC 2.0 message: {0}")]
    NotMessage(&'static str),
    /// The parameters are not those of the method.
    #[error("the parameters do not fit the method: {0}")]
    Params(&'static str),
}

impl ParseError {
    /// The HTTP status and the JSON-RPC error code that tell of it.
    pub const fn answer(&self) -> (u16, i64) {
        match self {
            Self::Json(_) => (400, -32_700),
            Self::Batch | Self::NotMessage(_) => (400, -32_600),
            Self::Params(_) => (400, -32_602),
        }
    }
}

/// One JSON-RPC message.
#[derive(Debug)]
pub enum Message {
    /// Wants an answer.
    Request(Request),
    /// Wants none.
    Notification(Notification),
    /// Answers one of ours.
    Response(Response),
}

/// A request, its parameters as they were received.
#[derive(Debug)]
pub struct Request {
    id: Box<RawValue>,
    /// The method.
    pub method: Method,
    /// The parameters, byte for byte.
    pub params: Option<Box<RawValue>>,
    /// The same parameters, read.
    read: Value,
}

/// A notification.
#[derive(Debug)]
pub struct Notification {
    /// Its name.
    pub method: String,
    read: Value,
}

/// A response to a request of ours.
#[derive(Debug)]
pub struct Response {
    /// The id of the request that it answers, as JSON text in its shortest form.
    pub id: String,
    /// The result or the error, byte for byte: an object either way.
    pub answer: Result<Box<RawValue>, Box<RawValue>>,
}

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The server as a whole.
    Server,
    /// A tool.
    Tool {
        /// Its name.
        name: String,
    },
    /// A resource.
    Resource {
        /// Its URI, byte for byte.
        uri: String,
    },
    /// A prompt.
    Prompt {
        /// Its name.
        name: String,
    },
    /// A task of the server's.
    Task {
        /// Its id.
        id: String,
    },
}

/// A tool call, as far as anything is decided on it.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    /// The tool's name, byte for byte.
    pub name: String,
    /// The arguments: an object; empty if there are none.
    pub arguments: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    jsonrpc: String,
    #[serde(default, deserialize_with = "present")]
    id: Option<Box<RawValue>>,
    #[serde(default)]
    method: Option<String>,
    #[serde(default, deserialize_with = "present")]
    params: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "present")]
    result: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "present")]
    error: Option<Box<RawValue>>,
}

/// Tells `null` from absent: a member that is there is kept, whatever it is.
fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(from).map(Some)
}

/// Reads one message.
pub fn parse_message(bytes: &[u8], limits: &Limits) -> Result<Message, ParseError> {
    let strict = json::Limits { bytes: limits.bytes, depth: limits.depth };
    let mut value =
        json::parse(bytes, strict).map_err(|error| ParseError::Json(error.to_string()))?;
    if value.is_array() {
        return Err(ParseError::Batch);
    }
    // The strict reading refused whatever a second reading could take differently.
    let envelope: Envelope = serde_json::from_slice(bytes)
        .map_err(|_| ParseError::NotMessage("its members are not those of a message"))?;
    if envelope.jsonrpc != "2.0" {
        return Err(ParseError::NotMessage("`jsonrpc` is not `2.0`"));
    }
    let params = value.as_object_mut().and_then(|members| members.remove("params"));
    let read = params.unwrap_or_default();
    match envelope {
        Envelope { method: Some(method), id, params, result: None, error: None, .. } => {
            if params.is_some() && !read.is_object() {
                return Err(ParseError::NotMessage("`params` is not an object"));
            }
            let Some(id) = id else {
                return notification(method, read);
            };
            check_id(&id)?;
            let method = Method::named(&method);
            Ok(Message::Request(Request { id, method, params, read }))
        }
        Envelope { method: None, id: Some(id), params: None, result, error, .. }
            if result.is_some() != error.is_some() =>
        {
            check_id(&id)?;
            let id = value.get("id").map(ToString::to_string).unwrap_or_default();
            let answer = result.ok_or_else(|| error.expect("it is one of the two"));
            let (Ok(raw) | Err(raw)) = &answer;
            if !raw.get().starts_with('{') {
                return Err(ParseError::NotMessage("a result or an error is an object"));
            }
            Ok(Message::Response(Response { id, answer }))
        }
        _ => Err(ParseError::NotMessage("it is neither request, notification nor response")),
    }
}

/// Only names of notifications may go without an id: a call without one would have no answer.
fn notification(method: String, read: Value) -> Result<Message, ParseError> {
    if method.starts_with("notifications/") {
        Ok(Message::Notification(Notification { method, read }))
    } else {
        Err(ParseError::NotMessage("a request needs an id"))
    }
}

fn check_id(id: &RawValue) -> Result<(), ParseError> {
    let text = id.get();
    let whole = text.parse::<i64>().is_ok();
    let fits = text.len() <= ID_MAX && (whole || text.starts_with('"'));
    if fits { Ok(()) } else { Err(ParseError::NotMessage("the id is not a text or whole number")) }
}

impl Message {
    /// About how many bytes of memory what was read of it takes.
    pub fn weight(&self) -> usize {
        match self {
            Self::Request(Request { read, .. }) | Self::Notification(Notification { read, .. }) => {
                json::weight(read)
            }
            Self::Response(_) => 0,
        }
    }
}

impl Request {
    /// The id as the client wrote it.
    pub fn id_raw(&self) -> Box<RawValue> {
        self.id.clone()
    }

    /// The version of the protocol that the parameters ask for, in either era.
    pub fn protocol_version(&self) -> Option<String> {
        let greeting = self.read.get("protocolVersion");
        let meta = self.meta("io.modelcontextprotocol/protocolVersion");
        meta.or(greeting).and_then(Value::as_str).map(str::to_owned)
    }

    /// A member of `_meta`.
    pub fn meta(&self, name: &str) -> Option<&Value> {
        self.read.get("_meta")?.get(name)
    }

    /// The member of the parameters with this name.
    pub fn member(&self, name: &str) -> Option<&Value> {
        self.read.get(name)
    }

    /// What the request is about.
    pub fn target(&self) -> Result<Target, ParseError> {
        let text = |name: &str, what| {
            let value = self.read.get(name).and_then(Value::as_str);
            value.filter(|text| !text.is_empty()).map(str::to_owned).ok_or(ParseError::Params(what))
        };
        match &self.method {
            Method::ToolsCall => Ok(Target::Tool { name: text("name", "`name` is missing")? }),
            Method::OnResource(_) => Ok(Target::Resource { uri: text("uri", "`uri` is missing")? }),
            Method::OnPrompt(_) => Ok(Target::Prompt { name: text("name", "`name` is missing")? }),
            Method::OnTask(_) => Ok(Target::Task { id: text("taskId", "`taskId` is missing")? }),
            _ => Ok(Target::Server),
        }
    }
}

impl ToolCall {
    /// The call that `request` makes.
    pub fn from_request(request: &Request) -> Result<Self, ParseError> {
        let Target::Tool { name } = request.target()? else {
            return Err(ParseError::Params("not a tool call"));
        };
        if request.member("task").is_some() {
            return Err(ParseError::Params("`task` is not taken: a call ends with its answer"));
        }
        let arguments = match request.member("arguments") {
            None => Value::Object(serde_json::Map::new()),
            Some(arguments @ Value::Object(_)) => arguments.clone(),
            Some(_) => return Err(ParseError::Params("`arguments` is not an object")),
        };
        Ok(Self { name, arguments })
    }
}

impl Notification {
    /// The id of the request that it cancels, as that request wrote it.
    pub fn cancelled_id(&self) -> Option<String> {
        let cancels = self.method == "notifications/cancelled";
        cancels.then(|| self.read.get("requestId").map(ToString::to_string))?
    }
}
