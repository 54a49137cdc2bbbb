//! What is said to a server that asks something of its client.

use bytes::Bytes;
use serde_json::json;
use serde_json::value::RawValue;

/// Whether what a server asks can be answered: who asks, and what, is kept until the call has ended.
pub(crate) fn is_short(id: &RawValue, method: &str) -> bool {
    id.get().len() <= mcp::ID_MAX && method.len() <= mcp::ID_MAX
}

/// A request of a server's own.
#[derive(Debug)]
pub(crate) struct ServerAsks {
    /// Its id, as the server wrote it.
    pub(crate) id: Box<RawValue>,
    /// The method.
    pub(crate) method: String,
    /// The parameters, byte for byte.
    pub(crate) params: Option<Box<RawValue>>,
}

/// The answer to the request `id`: a raw result, or a raw error.
pub(crate) fn answer(id: &RawValue, answer: &Result<Box<RawValue>, Box<RawValue>>) -> Bytes {
    let (member, value) = match answer {
        Ok(result) => ("result", result),
        Err(error) => ("error", error),
    };
    let id = id.get();
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"{member}\":{}}}", value.get()).into()
}

/// The answer to a ping.
pub(crate) fn pong(id: &RawValue) -> Bytes {
    let nothing = RawValue::from_string("{}".to_owned()).expect("it is JSON");
    answer(id, &Ok(nothing))
}

/// The answer to what no client is asked, whatever the reason (MCP: `-32601`, method not found).
pub(crate) fn refusal(id: &RawValue) -> Bytes {
    let error = json!({ "code": -32_601, "message": "not offered by this client" });
    answer(id, &Err(serde_json::value::to_raw_value(&error).expect("a value is JSON")))
}

/// The cause under which it is recorded that nobody was asked `method`.
pub(crate) fn cause(method: &str) -> &'static str {
    match method {
        "sampling/createMessage" => "server_asked_sampling",
        "elicitation/create" => "server_asked_elicitation",
        "roots/list" => "server_asked_roots",
        _ => "server_asked_other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(said: &Bytes, has: &str) {
        let body: serde_json::Value = serde_json::from_slice(said).unwrap();
        assert_eq!(body["id"], "s-1");
        assert!(body.get(has).is_some(), "{body}");
    }

    #[test]
    fn n_084_what_servers_ask_is_refused_and_a_ping_is_answered() {
        let id = serde_json::value::to_raw_value("s-1").unwrap();
        check(&pong(&id), "result");
        check(&refusal(&id), "error");
        let causes = ["sampling/createMessage", "elicitation/create", "roots/list", "tools/call"];
        let expected = ["sampling", "elicitation", "roots", "other"];
        for (method, cause_of) in causes.iter().zip(expected) {
            assert_eq!(cause(method), format!("server_asked_{cause_of}"));
        }
    }
}
