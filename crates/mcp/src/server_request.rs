//! What a server may ask of its client, and what a client says that it may be asked.
//!
//! In the session era a server asks with requests of its own, in the stateless era with the
//! `inputRequests` of a result. Either way what is asked decides: whether the client offered it,
//! and, of a URL, the host that it leads to. What could be read in two ways is not asked.

use std::collections::BTreeMap;

use https_url::{DEFAULT_PORT, HttpsUrl};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::era::CAPABILITIES;
use crate::message::Request;

/// How deep they may nest in which a server asks something, and how large they may be.
const LIMITS: json::Limits = json::Limits { bytes: 4 << 20, depth: json::MAX_DEPTH_DEFAULT };

/// How large the parameters of what a server asks may be, in bytes.
pub const ASKED_MAX: usize = 256 << 10;

/// The JSON-RPC code by which a server of the session era demands that a URL is opened first.
const URL_ELICITATION_REQUIRED: i64 = -32_042;

/// The methods that a server may ask of its client.
const METHODS: [&str; 3] = ["sampling/createMessage", "elicitation/create", "roots/list"];

/// What a server asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// That the client's model writes something, with tools of the server's or without.
    Sampling {
        /// Whether the model is handed tools.
        tools: bool,
    },
    /// That the person at the client fills in a form.
    Form,
    /// That the person at the client opens a URL.
    Url {
        /// The host that it leads to, in lower case.
        host: String,
    },
    /// Which directories it may work in.
    Roots,
}

/// One request of a server to its client.
#[derive(Clone, Debug)]
pub struct ServerRequest {
    /// What it asks.
    pub ask: Ask,
    /// The parameters, byte for byte.
    pub params: Option<Box<RawValue>>,
    /// The same parameters, read.
    pub read: Value,
}

/// A request that no client is asked: another method, or parameters that are not those of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is nothing that a client can be asked")]
pub struct NotAskable;

impl ServerRequest {
    /// Reads what `method` asks with `params`.
    pub fn read(method: &str, params: Option<Box<RawValue>>) -> Result<Self, NotAskable> {
        let text = params.as_ref().map_or("{}", |params| params.get());
        let limits = json::Limits { bytes: ASKED_MAX, ..LIMITS };
        let read = json::parse(text.as_bytes(), limits).map_err(|_| NotAskable)?;
        let members = read.as_object().ok_or(NotAskable)?;
        // A request that goes on after its answer would be asked about by methods of its own.
        if members.contains_key("task") {
            return Err(NotAskable);
        }
        let ask = match method {
            "sampling/createMessage" => sampling(members)?,
            "elicitation/create" => elicitation(members)?,
            "roots/list" => Ask::Roots,
            _ => return Err(NotAskable),
        };
        Ok(Self { ask, params, read })
    }

    /// The method that it is asked by.
    pub const fn method(&self) -> &'static str {
        self.ask.method()
    }
}

/// A result by which a server of the stateless era wants input before it goes on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct InputRequired {
    result_type: String,
    #[serde(default)]
    input_requests: Option<Box<RawValue>>,
    /// The state that the client is to bring back.
    #[serde(default)]
    pub request_state: Option<String>,
    #[serde(default, rename = "_meta")]
    meta: Option<Box<RawValue>>,
}

/// One of the requests in such a result.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputRequest {
    /// The method.
    pub method: String,
    /// The parameters, byte for byte.
    #[serde(default)]
    pub params: Option<Box<RawValue>>,
}

impl InputRequired {
    /// Reads `result`, strictly; `None` if it is anything else.
    pub fn read(result: &RawValue) -> Option<Self> {
        json::parse(result.get().as_bytes(), LIMITS).ok()?;
        let read: Self = serde_json::from_str(result.get()).ok()?;
        let asks = read.input_requests.is_some() || read.request_state.is_some();
        (read.result_type == "input_required" && asks).then_some(read)
    }

    /// What it asks, by the names that the server gave; `None` if that cannot be read.
    pub fn requests(&self) -> Option<BTreeMap<String, InputRequest>> {
        let requests = self.input_requests.as_ref();
        requests.map_or(Some(BTreeMap::new()), |all| serde_json::from_str(all.get()).ok())
    }

    /// The result as the client is told it: the requests as they were received, and `state`.
    pub fn with_state(&self, state: &str) -> Box<RawValue> {
        let state = serde_json::value::to_raw_value(state).expect("a text is JSON");
        let kind = serde_json::value::to_raw_value(&self.result_type).expect("a text is JSON");
        let mut members = BTreeMap::from([("requestState", &state), ("resultType", &kind)]);
        members.extend(self.input_requests.as_ref().map(|requests| ("inputRequests", requests)));
        members.extend(self.meta.as_ref().map(|meta| ("_meta", meta)));
        serde_json::value::to_raw_value(&members).expect("texts and raw values are JSON")
    }
}

/// The elicitations that an error demands (`-32042`, 2025-11-25), each as the parameters of one;
/// `None` if it demands none. Whatever lists elicitations demands them, whatever its code. One that could be read in two ways demands what nobody can permit.
pub fn demanded_elicitations(error: &RawValue) -> Option<Vec<Box<RawValue>>> {
    #[derive(Deserialize)]
    struct Demanded {
        elicitations: Vec<Box<RawValue>>,
    }
    #[derive(Deserialize)]
    struct Said {
        data: Demanded,
    }
    let Ok(read) = json::parse(error.get().as_bytes(), LIMITS) else { return Some(Vec::new()) };
    // Some clients take a text for the number that it spells.
    let code = read.get("code").and_then(Value::as_i64);
    let demands = read.pointer("/data/elicitations").is_some();
    if code.is_some_and(|code| code != URL_ELICITATION_REQUIRED) && !demands {
        return None;
    }
    let said = serde_json::from_str::<Said>(error.get());
    Some(said.map_or(Vec::new(), |said| said.data.elicitations))
}

impl Ask {
    /// The method that it is asked by.
    pub const fn method(&self) -> &'static str {
        match self {
            Self::Sampling { .. } => METHODS[0],
            Self::Form | Self::Url { .. } => METHODS[1],
            Self::Roots => METHODS[2],
        }
    }

    /// The mode of an elicitation; `none` of anything else.
    pub const fn mode(&self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Url { .. } => "url",
            Self::Sampling { .. } | Self::Roots => "none",
        }
    }
}

fn sampling(params: &Map<String, Value>) -> Result<Ask, NotAskable> {
    // What other servers said is nobody's to be had by asking: clients are not told to add it.
    let context = params.get("includeContext");
    if !params.get("messages").is_some_and(Value::is_array)
        || context.is_some_and(|context| context != "none")
    {
        return Err(NotAskable);
    }
    let tools = params.contains_key("tools") || params.contains_key("toolChoice");
    Ok(Ask::Sampling { tools })
}

fn elicitation(params: &Map<String, Value>) -> Result<Ask, NotAskable> {
    if !params.get("message").is_some_and(Value::is_string) {
        return Err(NotAskable);
    }
    let (url, schema) = (params.get("url"), params.get("requestedSchema"));
    match (params.get("mode").map(Value::as_str), url, schema) {
        (None | Some(Some("form")), None, Some(Value::Object(_))) => Ok(Ask::Form),
        (Some(Some("url")), Some(Value::String(url)), None) => {
            let url = HttpsUrl::parse(url).map_err(|_| NotAskable)?;
            // Hosts are named without their port: another port is another host's.
            let host = (url.port() == DEFAULT_PORT).then(|| url.host().to_owned());
            host.map(|host| Ask::Url { host }).ok_or(NotAskable)
        }
        _ => Err(NotAskable),
    }
}

/// What a client says that it may be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is declared by itself")]
pub struct Askable {
    /// `sampling`.
    pub sampling: bool,
    /// `sampling.tools`.
    pub sampling_tools: bool,
    /// `elicitation`, by form.
    pub form: bool,
    /// `elicitation`, by URL.
    pub url: bool,
    /// `roots`.
    pub roots: bool,
}

impl Askable {
    /// Everything that a client can be asked.
    pub const ALL: Self =
        Self { sampling: true, sampling_tools: true, form: true, url: true, roots: true };

    /// Nothing.
    pub const NOTHING: Self =
        Self { sampling: false, sampling_tools: false, form: false, url: false, roots: false };

    /// What a request of the stateless era declares.
    pub fn of_request(request: &Request) -> Self {
        request.meta(CAPABILITIES).map(Self::of).unwrap_or_default()
    }

    /// What the capabilities that a client declares say.
    pub fn of(capabilities: &Value) -> Self {
        let has = |pointer: &str| capabilities.pointer(pointer).is_some_and(Value::is_object);
        let (form, url) = (has("/elicitation/form"), has("/elicitation/url"));
        Self {
            sampling: has("/sampling"),
            sampling_tools: has("/sampling/tools"),
            // An elicitation without a mode is one by form.
            form: form || (has("/elicitation") && !url),
            url,
            roots: has("/roots"),
        }
    }

    /// Whether `ask` is among it.
    pub const fn has(self, ask: &Ask) -> bool {
        match ask {
            Ask::Sampling { tools: false } => self.sampling,
            Ask::Sampling { tools: true } => self.sampling && self.sampling_tools,
            Ask::Form => self.form,
            Ask::Url { .. } => self.url,
            Ask::Roots => self.roots,
        }
    }

    /// The capabilities that say it.
    pub fn to_capabilities(self) -> Value {
        let mut capabilities = json!({});
        if self.sampling {
            let tools = if self.sampling_tools { json!({ "tools": {} }) } else { json!({}) };
            capabilities["sampling"] = tools;
        }
        for (declared, mode) in [(self.form, "form"), (self.url, "url")] {
            if declared {
                capabilities["elicitation"][mode] = json!({});
            }
        }
        if self.roots {
            capabilities["roots"] = json!({});
        }
        capabilities
    }
}
