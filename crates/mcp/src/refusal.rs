//! What a refusal looks like to the client, and to the model behind it.
//!
//! INVARIANT: a tool that is absent, hidden from this caller or never pinned is refused with the
//! same bytes.

use serde_json::{Value, json};

use crate::Era;

/// Why a request is refused, as clients may act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCode {
    /// It was decided that it may not happen.
    Denied,
    /// It was decided that it may not happen with this token: a new one is needed.
    TokenNeeded,
    /// There is no such tool, or not for this caller: the same bytes either way.
    UnknownTool,
    /// The tool is not what was approved.
    ToolChanged,
    /// The arguments do not fit the tool's schema.
    ArgumentsInvalid,
    /// It cannot be decided or recorded now.
    Unavailable,
    /// The call failed before the tool did anything.
    UpstreamFailed,
    /// Nobody knows whether it happened.
    OutcomeUnknown,
}

impl RefusalCode {
    /// The code as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::TokenNeeded => "token_needed",
            Self::UnknownTool => "unknown_tool",
            Self::ToolChanged => "tool_changed",
            Self::ArgumentsInvalid => "arguments_invalid",
            Self::Unavailable => "unavailable",
            Self::UpstreamFailed => "upstream_failed",
            Self::OutcomeUnknown => "outcome_unknown",
        }
    }

    /// The JSON-RPC error code, where it is told as an error.
    const fn json_rpc(self) -> i64 {
        match self {
            Self::Denied | Self::TokenNeeded | Self::ToolChanged => -32_001,
            Self::UnknownTool | Self::ArgumentsInvalid => -32_602,
            Self::Unavailable | Self::UpstreamFailed | Self::OutcomeUnknown => -32_603,
        }
    }
}

/// How a refused `tools/call` looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DenialStyle {
    /// A result that says `isError`, for the model to read.
    #[default]
    Result,
    /// A JSON-RPC error.
    JsonRpc,
}

/// A refusal, as much of it as may be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub code: RefusalCode,
    /// The decision, where there is one.
    pub decision_id: Option<String>,
    /// The policies that forbid it.
    pub policies: Vec<String>,
    /// When to try again, where that helps.
    pub retry_after_ms: Option<u64>,
    /// Whether a person could permit it.
    pub requestable: bool,
    /// What does not fit, for arguments; why there is no answer, where the tool gave none; why it is
    /// denied, or a new token needed, where no policy denies it.
    pub text: String,
}

impl Refusal {
    /// What the model reads: what happened, by which rule, whether it can be asked for, and whether
    /// to try again.
    fn sentence(&self) -> String {
        match self.code {
            RefusalCode::Denied => self.denied(),
            RefusalCode::TokenNeeded => {
                format!(
                    "Not done: {}. Nothing happened; obtain a new token and try again.",
                    self.text
                )
            }
            RefusalCode::UnknownTool => "There is no such tool. Do not retry.".to_owned(),
            RefusalCode::ToolChanged => {
                "Refused: the tool has changed since it was approved. Do not retry; its owner has \
                 to approve it again."
                    .to_owned()
            }
            RefusalCode::ArgumentsInvalid => {
                format!("Refused: the arguments do not fit the tool's schema: {}.", self.text)
            }
            RefusalCode::Unavailable => {
                "Not done: it cannot be decided right now. Nothing happened; try again later."
                    .to_owned()
            }
            RefusalCode::UpstreamFailed if !self.text.is_empty() => {
                format!("Permitted, but the tool did not answer: {}. Do not retry.", self.text)
            }
            RefusalCode::UpstreamFailed => {
                "Permitted, but the tool could not be reached. Nothing happened.".to_owned()
            }
            RefusalCode::OutcomeUnknown => {
                "It is not known whether this call, or an equal one before it, took effect. Do not \
                 retry; a person has to look."
                    .to_owned()
            }
        }
    }

    fn denied(&self) -> String {
        let rule = if !self.policies.is_empty() {
            format!("policy {} forbids it", self.policies.join(", "))
        } else if self.text.is_empty() {
            "no policy permits it".to_owned()
        } else {
            self.text.clone()
        };
        let ask = if self.requestable {
            "A person can approve exactly this call; ask for approval."
        } else {
            "It cannot be requested."
        };
        format!("Denied: {rule}. {ask} Do not retry.")
    }

    /// The machine-readable part.
    fn structured(&self) -> Value {
        let mut content = json!({ "code": self.code.as_str() });
        // Absent, hidden and never pinned are the same bytes, whatever else is known of it.
        if self.code == RefusalCode::UnknownTool {
            return content;
        }
        if let Some(id) = &self.decision_id {
            content["decision_id"] = id.clone().into();
        }
        if self.code == RefusalCode::Denied && !self.policies.is_empty() {
            content["policies"] = self.policies.clone().into();
        }
        if let Some(after) = self.retry_after_ms.filter(|_| self.code == RefusalCode::Unavailable) {
            content["retry_after_ms"] = after.into();
        }
        if self.code == RefusalCode::Denied {
            content["requestable"] = self.requestable.into();
        }
        content
    }
}

/// The HTTP status and the body that tell of `refusal` to the request `id` (as JSON text); without an id, to what wants no
/// answer.
pub fn refusal(
    refusal: &Refusal,
    id: Option<&str>,
    is_call: bool,
    (era, style): (Era, DenialStyle),
) -> (u16, String) {
    if is_call && style == DenialStyle::Result {
        let mut result = json!({
            "content": [{ "type": "text", "text": refusal.sentence() }],
            "isError": true,
            "structuredContent": refusal.structured(),
        });
        if era == Era::Stateless {
            result["resultType"] = "complete".into();
        }
        return (200, answer(id, "result", &result));
    }
    let error = json!({
        "code": refusal.code.json_rpc(),
        "message": refusal.sentence(),
        "data": refusal.structured(),
    });
    (200, answer(id, "error", &error))
}

/// A JSON-RPC answer, its members in canonical order: the same bytes for the same refusal.
fn answer(id: Option<&str>, member: &str, value: &Value) -> String {
    let value = String::from_utf8(json::canonical(value)).expect("JSON is text");
    let id = id.map(|id| format!("\"id\":{id},")).unwrap_or_default();
    format!("{{\"jsonrpc\":\"2.0\",{id}\"{member}\":{value}}}")
}
