//! Which era a request belongs to, and what that era demands of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use serde_json::{Value, json};

use crate::Era;
use crate::message::{Message, Request};

/// The stateless version that we speak.
pub const STATELESS_VERSION: &str = "2026-07-28";

/// The session versions that we speak, newest first.
pub const SESSION_VERSIONS: [&str; 2] = ["2025-11-25", "2025-06-18"];

const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// Why a request is not one of its era.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EraError {
    /// Header and body do not say the same (`-32020`).
    #[error("the header `{0}` is missing, repeated or not what the body says")]
    HeaderMismatch(&'static str),
    /// The version is not one that we speak (`-32022`).
    #[error("the protocol version `{0}` is not supported")]
    UnsupportedVersion(String),
    /// `_meta` misses what every request must carry (`-32602`).
    #[error("`_meta` is missing `{0}`")]
    MissingMeta(&'static str),
}

impl EraError {
    /// The HTTP status and the body that tell of it, for the request `id` (as JSON text).
    pub fn answer(&self, id: &str) -> (u16, String) {
        let mut error = match self {
            Self::HeaderMismatch(_) => json!({ "code": -32_020 }),
            Self::UnsupportedVersion(requested) => json!({
                "code": -32_022,
                "data": { "supported": [STATELESS_VERSION], "requested": requested },
            }),
            Self::MissingMeta(_) => json!({ "code": -32_602 }),
        };
        error["message"] = self.to_string().into();
        (400, format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{error}}}"))
    }
}

/// The era of a message: what says a version of 2026 or later, in header or body, or brings the
/// headers of that era, is held to the stateless rules; no message chooses the laxer ones by
/// saying two things.
pub fn era_of(headers: &HeaderMap, message: &Message) -> Era {
    let in_body = match message {
        Message::Request(request) => request.meta(VERSION).is_some(),
        Message::Notification(_) | Message::Response(_) => false,
    };
    if in_body { Era::Stateless } else { era_of_headers(headers) }
}

/// The era of a request without a message, or of which only the headers count.
pub fn era_of_headers(headers: &HeaderMap) -> Era {
    let header = single(headers, "mcp-protocol-version").ok().flatten();
    let later = |version: &str| version >= "2026";
    let said = header.as_deref().is_some_and(later) || headers.contains_key("mcp-method");
    if said { Era::Stateless } else { Era::Session }
}

/// Checks what the era demands of a message.
pub fn check_era(headers: &HeaderMap, message: &Message, era: Era) -> Result<(), EraError> {
    match (era, message) {
        (Era::Stateless, Message::Request(request)) => check_stateless(headers, request),
        (Era::Stateless, _) => Ok(()),
        (Era::Session, _) => check_session(headers),
    }
}

fn check_session(headers: &HeaderMap) -> Result<(), EraError> {
    let name = "mcp-protocol-version";
    match single(headers, name).map_err(|()| EraError::HeaderMismatch(name))? {
        None => Ok(()),
        // 2025-03-26 is what a missing header stands for; some clients send it.
        Some(version) if version == "2025-03-26" => Ok(()),
        Some(version) if SESSION_VERSIONS.contains(&version.as_str()) => Ok(()),
        Some(version) => Err(EraError::UnsupportedVersion(version)),
    }
}

fn check_stateless(headers: &HeaderMap, request: &Request) -> Result<(), EraError> {
    let version = request.meta(VERSION).ok_or(EraError::MissingMeta(VERSION))?;
    let capabilities = request.meta(CAPABILITIES).filter(|value| value.is_object());
    capabilities.ok_or(EraError::MissingMeta(CAPABILITIES))?;
    let version = version.as_str().ok_or(EraError::MissingMeta(VERSION))?;
    equal(headers, "mcp-protocol-version", version)?;
    equal(headers, "mcp-method", request.method.as_str())?;
    if let Some(member) = request.method.name_member() {
        let name = request.member(member).and_then(Value::as_str).unwrap_or_default();
        equal(headers, "mcp-name", name)?;
    }
    if version == STATELESS_VERSION {
        return Ok(());
    }
    Err(EraError::UnsupportedVersion(version.chars().take(80).collect()))
}

fn equal(headers: &HeaderMap, name: &'static str, wanted: &str) -> Result<(), EraError> {
    let found = single(headers, name).map_err(|()| EraError::HeaderMismatch(name))?;
    let decoded = found.and_then(|value| decode_header_value(&value));
    if decoded.as_deref() == Some(wanted) { Ok(()) } else { Err(EraError::HeaderMismatch(name)) }
}

/// The value of a header that stands once, or not at all.
fn single(headers: &HeaderMap, name: &str) -> Result<Option<String>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(|text| Some(text.to_owned())).map_err(|_| ()),
        (Some(_), Some(_)) => Err(()),
    }
}

/// The text that a header value stands for: itself, or what `=?base64?…?=` encodes.
pub fn decode_header_value(value: &str) -> Option<String> {
    let Some(encoded) = value.strip_prefix("=?base64?").and_then(|v| v.strip_suffix("?=")) else {
        return Some(value.to_owned());
    };
    String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
}

/// The header value that stands for `text`.
pub fn encode_header_value(text: &str) -> String {
    let plain = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let edges = text.trim_matches([' ', '\t']) == text;
    if plain && edges && !text.starts_with("=?base64?") {
        return text.to_owned();
    }
    format!("=?base64?{}?=", STANDARD.encode(text))
}

/// The session version for a client that asks for `wanted`: the same if we speak it, else ours.
pub fn negotiate(wanted: Option<&str>) -> &'static str {
    let same = SESSION_VERSIONS.iter().find(|version| Some(**version) == wanted);
    same.copied().unwrap_or(SESSION_VERSIONS[0])
}
