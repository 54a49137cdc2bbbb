//! Which era a request belongs to, and what that era demands of it.
//!
//! INVARIANT: whoever reads the headers of a stateless request and whoever reads its body see the
//! same version, method and name.

use http::HeaderMap;
use serde_json::{Value, json};

use crate::Era;
use crate::header_value::{decode_header_value, single};
use crate::message::{Message, Request};
use crate::method::Method;
use crate::param_headers::AnnotationError;

/// The stateless version that we speak.
pub const STATELESS_VERSION: &str = "2026-07-28";

/// The session versions that we speak, newest first.
pub const SESSION_VERSIONS: [&str; 2] = ["2025-11-25", "2025-06-18"];

/// All versions that we speak, newest first.
pub(crate) fn versions() -> Vec<&'static str> {
    [STATELESS_VERSION].into_iter().chain(SESSION_VERSIONS).collect()
}

/// The HTTP status of an answer that is the JSON-RPC error `code`: in the stateless era those that
/// the protocol itself names have one.
pub const fn error_status(code: i64, era: Era) -> u16 {
    match (era, code) {
        (Era::Stateless, -32_601) => 404,
        (Era::Stateless, -32_022..=-32_020) => 400,
        _ => 200,
    }
}

const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
pub(crate) const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
pub(crate) const TASKS: &str = "io.modelcontextprotocol/tasks";

/// What every header that repeats an argument begins with.
pub(crate) const PARAM_PREFIX: &str = "mcp-param-";

/// How much of a version that we do not speak is repeated, in characters.
const REQUESTED_MAX: usize = 80;

/// Why a request is not one of its era.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EraError {
    /// Header and body do not say the same (`-32020`).
    #[error("the header `{0}` is missing, repeated or not what the body says")]
    HeaderMismatch(&'static str),
    /// A header and the argument that it repeats do not say the same (`-32020`).
    #[error("the header `{0}` is missing, repeated or not what the argument says")]
    ParamMismatch(String),
    /// The tool asks for headers that no client can send: it is not to be called this way.
    #[error("the tool's input schema asks for headers in a way that is not allowed: {0}")]
    Annotation(AnnotationError),
    /// The client does not declare the extension that the method belongs to (`-32021`).
    #[error("the client does not declare the extension `{0}`")]
    MissingCapability(&'static str),
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
            Self::HeaderMismatch(_) | Self::ParamMismatch(_) => json!({ "code": -32_020 }),
            Self::MissingCapability(extension) => json!({
                "code": -32_021,
                "data": { "requiredCapabilities": { "extensions": { *extension: {} } } },
            }),
            Self::UnsupportedVersion(requested) => {
                let data = json!({ "requested": requested, "supported": versions() });
                json!({ "code": -32_022, "data": data })
            }
            Self::MissingMeta(_) | Self::Annotation(_) => json!({ "code": -32_602 }),
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
    let later = header.as_deref().is_some_and(|version| version >= "2026");
    let brings = |name: &http::HeaderName| {
        let name = name.as_str();
        matches!(name, "mcp-method" | "mcp-name") || name.starts_with(PARAM_PREFIX)
    };
    if later || headers.keys().any(brings) { Era::Stateless } else { Era::Session }
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
        Some(version) => Err(unsupported(&version)),
    }
}

fn unsupported(version: &str) -> EraError {
    EraError::UnsupportedVersion(version.chars().take(REQUESTED_MAX).collect())
}

fn check_stateless(headers: &HeaderMap, request: &Request) -> Result<(), EraError> {
    let version = request.meta(VERSION).ok_or(EraError::MissingMeta(VERSION))?;
    let capabilities = request.meta(CAPABILITIES).filter(|value| value.is_object());
    let capabilities = capabilities.ok_or(EraError::MissingMeta(CAPABILITIES))?;
    let version = version.as_str().ok_or(EraError::MissingMeta(VERSION))?;
    // Only names may be encoded: nobody who routes by version or method decodes them.
    let plain = |value: &str| Some(value.to_owned());
    equal(headers, "mcp-protocol-version", version, plain)?;
    equal(headers, "mcp-method", request.method.as_str(), plain)?;
    if let Some(member) = request.method.name_member() {
        let name = request.member(member).and_then(Value::as_str).unwrap_or_default();
        equal(headers, "mcp-name", name, decode_header_value)?;
    }
    if version != STATELESS_VERSION {
        return Err(unsupported(version));
    }
    let declared = capabilities.get("extensions").and_then(|all| all.get(TASKS));
    if matches!(request.method, Method::OnTask(_)) && !declared.is_some_and(Value::is_object) {
        return Err(EraError::MissingCapability(TASKS));
    }
    Ok(())
}

fn equal(
    headers: &HeaderMap,
    name: &'static str,
    wanted: &str,
    decode: fn(&str) -> Option<String>,
) -> Result<(), EraError> {
    let found = single(headers, name).map_err(|()| EraError::HeaderMismatch(name))?;
    let decoded = found.and_then(|value| decode(&value));
    if decoded.as_deref() == Some(wanted) { Ok(()) } else { Err(EraError::HeaderMismatch(name)) }
}

/// The session version for a client that asks for `wanted`: the same if we speak it, else ours.
pub fn negotiate(wanted: Option<&str>) -> &'static str {
    let same = SESSION_VERSIONS.iter().find(|version| Some(**version) == wanted);
    same.copied().unwrap_or(SESSION_VERSIONS[0])
}
