//! What servers ask of their clients: answered with a refusal, never delivered.
//!
//! Sampling, elicitation and roots are not governed, so no client sees them; a server that asks is
//! told so at once instead of waiting. A `ping` is answered.

use bytes::Bytes;
use serde_json::json;
use serde_json::value::RawValue;

/// What is said to a server that asks something.
pub(crate) struct Answered {
    /// The whole message to send back.
    pub(crate) body: Bytes,
    /// The cause for the refusal record; none where it was not refused.
    pub(crate) refused: Option<&'static str>,
}

/// Answers the request `id` for `method` of a server (MCP: `-32601`, method not found).
pub(crate) fn answer(id: &RawValue, method: &str) -> Answered {
    let id = id.get();
    if method == "ping" {
        let body = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}").into();
        return Answered { body, refused: None };
    }
    let error = json!({ "code": -32_601, "message": "not offered by this client" });
    let body = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{error}}}").into();
    let cause = match method {
        "sampling/createMessage" => "server_asked_sampling",
        "elicitation/create" => "server_asked_elicitation",
        "roots/list" => "server_asked_roots",
        _ => "server_asked_other",
    };
    Answered { body, refused: Some(cause) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, refused: Option<&str>, has: &str) {
        let id = serde_json::value::to_raw_value("s-1").unwrap();
        let answered = answer(&id, method);
        assert_eq!(answered.refused, refused);
        let body: serde_json::Value = serde_json::from_slice(&answered.body).unwrap();
        assert_eq!(body["id"], "s-1");
        assert!(body.get(has).is_some(), "{body}");
    }

    #[test]
    fn n_084_what_servers_ask_is_refused_and_a_ping_is_answered() {
        check("ping", None, "result");
        check("sampling/createMessage", Some("server_asked_sampling"), "error");
        check("elicitation/create", Some("server_asked_elicitation"), "error");
        check("roots/list", Some("server_asked_roots"), "error");
        check("tools/call", Some("server_asked_other"), "error");
    }
}
