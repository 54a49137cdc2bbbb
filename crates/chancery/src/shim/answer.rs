//! What a client reads whose message has no answer of the gateway's: the same words as a refusal.
//!
//! It says `denied` where the instance is given no token, and `unavailable` only where the gateway cannot have
//! seen the message; everything else may have taken effect, and is `outcome_unknown`.

use bytes::Bytes;
use http::StatusCode;
use mcp::{DenialStyle, Era, RefusalCode};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::wire::SendError;

/// When to try again, in milliseconds.
const RETRY_AFTER_MS: u64 = 1_000;

/// What is read of a message on its way: only what is needed for passing it on.
#[derive(Debug, Default)]
pub(super) struct Message {
    /// Its id as it was written; none if it wants no answer.
    pub(super) id: Option<Box<RawValue>>,
    /// Its method; none if it is an answer.
    pub(super) method: Option<String>,
    /// Its parameters.
    pub(super) params: Value,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    id: Option<Box<RawValue>>,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    params: Value,
}

impl Message {
    /// Reads `bytes`; what cannot be read is passed on all the same, for the gateway to refuse.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let read = serde_json::from_slice::<Envelope>(bytes);
        read.map_or_else(
            |_| Self::default(),
            |Envelope { id, method, params }| Self { id, method, params },
        )
    }

    /// The protocol version that the message itself names: one of the stateless era.
    pub(super) fn version(&self) -> Option<&str> {
        self.params.pointer("/_meta/io.modelcontextprotocol~1protocolVersion")?.as_str()
    }

    /// Whether `bytes` answer this message.
    pub(super) fn is_answered_by(&self, bytes: &[u8]) -> bool {
        let other = Self::read(bytes);
        let id = |message: &Self| message.id.as_ref().map(|id| id.get().to_owned());
        other.method.is_none() && other.id.is_some() && id(self) == id(&other)
    }

    /// The answer that tells why there is none; nothing if the message wants none.
    pub(super) fn unanswered(&self, why: &SendError) -> Option<Bytes> {
        let (id, method) = (self.id.as_ref()?, self.method.as_deref()?);
        Some(self.refused(why, Some(id.get()), method == "tools/call"))
    }

    /// The same over HTTP, after its status. What wants no answer and is not taken has a status that says so, and an error
    /// without an id, as MCP has it.
    pub(super) fn unanswered_over_http(&self, why: &SendError) -> (StatusCode, Bytes) {
        if let Some(answer) = self.unanswered(why) {
            return (StatusCode::OK, answer);
        }
        let status = match why {
            SendError::NoToken(_) => StatusCode::FORBIDDEN,
            SendError::Unreached(_) | SendError::Unanswered(_) => StatusCode::BAD_GATEWAY,
        };
        (status, self.refused(why, None, false))
    }

    fn refused(&self, why: &SendError, id: Option<&str>, is_call: bool) -> Bytes {
        let (code, text) = match why {
            SendError::NoToken(_) => (RefusalCode::Denied, "this agent is given no token"),
            SendError::Unreached(_) => (RefusalCode::Unavailable, ""),
            SendError::Unanswered(_) => (RefusalCode::OutcomeUnknown, ""),
        };
        let refusal = mcp::Refusal {
            code,
            decision_id: None,
            policies: Vec::new(),
            retry_after_ms: (code == RefusalCode::Unavailable).then_some(RETRY_AFTER_MS),
            requestable: false,
            text: text.to_owned(),
        };
        let era = if self.version().is_some() { Era::Stateless } else { Era::Session };
        let (_, body) = mcp::refusal(&refusal, id, is_call, (era, DenialStyle::default()));
        body.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: &str, why: &SendError, expected: &[(&str, Value)]) {
        let answer = Message::read(message.as_bytes()).unanswered(why).expect("it wants one");
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        for (pointer, value) in expected {
            assert_eq!(answer.pointer(pointer), Some(value), "{pointer} in {answer}");
        }
    }

    #[test]
    fn r_32_a_gateway_that_is_not_there_is_unavailable_and_nothing_more() {
        let unreached = SendError::Unreached(anyhow::anyhow!("connection refused"));
        let unanswered = SendError::Unanswered(anyhow::anyhow!("reset"));
        let code = "/result/structuredContent/code";
        let call = r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"t"}}"#;
        check(call, &unreached, &[("/id", "a".into()), (code, "unavailable".into())]);
        check(
            call,
            &unanswered,
            &[("/result/isError", true.into()), (code, "outcome_unknown".into())],
        );
        let list = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#;
        let code = "/error/data/code";
        check(list, &unreached, &[("/id", 7.into()), (code, "unavailable".into())]);
    }

    #[test]
    fn r_9_where_no_token_is_given_a_client_is_told_not_to_try_again() {
        let why = SendError::NoToken(anyhow::anyhow!("it is not permitted (decision dec_1)"));
        let said = "Denied: this agent is given no token. It cannot be requested. Do not retry.";
        let call = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"t"}}"#;
        check(
            call,
            &why,
            &[
                ("/result/isError", true.into()),
                ("/result/structuredContent/code", "denied".into()),
                ("/result/content/0/text", said.into()),
            ],
        );
        let list = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#;
        check(
            list,
            &why,
            &[("/error/data/code", "denied".into()), ("/error/message", said.into())],
        );
    }

    /// By its status it is never told that it was taken.
    #[test]
    fn r_9_r_32_what_wants_no_answer_is_refused_without_an_id() {
        let why = || anyhow::anyhow!("it is not known here");
        let note = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        let response = r#"{"jsonrpc":"2.0","id":"s-1","result":{}}"#;
        for (why, status, code) in [
            (SendError::NoToken(why()), 403, "denied"),
            (SendError::Unreached(why()), 502, "unavailable"),
            (SendError::Unanswered(why()), 502, "outcome_unknown"),
        ] {
            for message in [note, response, "", "{"] {
                let message = Message::read(message.as_bytes());
                assert!(message.unanswered(&why).is_none(), "it wants none");
                let (told, body) = message.unanswered_over_http(&why);
                let body: Value = serde_json::from_slice(&body).unwrap();
                assert_eq!((told.as_u16(), body.get("id")), (status, None));
                assert_eq!(body["error"]["data"]["code"], code);
            }
            let list = Message::read(br#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#);
            let (told, body) = list.unanswered_over_http(&why);
            assert_eq!((told, Some(body)), (StatusCode::OK, list.unanswered(&why)));
        }
    }

    #[test]
    fn an_answer_is_known_by_its_id_and_by_having_no_method() {
        let message = Message::read(br#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#);
        assert!(message.is_answered_by(br#"{"jsonrpc":"2.0","id":7,"result":{}}"#));
        assert!(!message.is_answered_by(br#"{"jsonrpc":"2.0","id":"7","result":{}}"#));
        assert!(!message.is_answered_by(br#"{"jsonrpc":"2.0","method":"notifications/progress"}"#));
        assert!(!message.is_answered_by(br#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#));
    }
}
