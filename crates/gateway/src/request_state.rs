//! The state of a call that waits for input (MCP 2026-07-28): ours, around the server's.
//!
//! A client keeps it between two requests and cannot read it. It is sealed (AES-256-GCM) to the
//! instance, server and method, and to a digest of the call's parameters; it expires, and the
//! decision on the call that brings it back uses it up. What its client was asked is sealed with it, and
//! decided again then. What does not open, for whatever reason, is
//! refused in the same words (`n_040d_…`). The record of that decision commits to what goes to the
//! server with the call: what the client answered, and the server's own state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use authority::{Effect, OnceScope};
use keys::SealingKey;
use mcp::Request;
use model::{Clock, Entropy, InstanceId, ServerName, Sha256Digest, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::ask;
use crate::call::Gateway;
use crate::catalog;
use crate::entry::Passage;
use crate::refusal::Refusal;
use crate::translate;

/// How long a call may wait for input.
const STATE_LIFETIME: Duration = Duration::from_mins(10);

/// The longest state that a server may give, in bytes.
pub(crate) const SERVER_STATE_MAX: usize = 64 << 10;

/// The longest state of ours, in bytes as it is written: a server's and what is around it.
const STATE_MAX: usize = 2 * SERVER_STATE_MAX;

/// The members of a request by which a call goes on.
pub(crate) const STATE: &str = "requestState";
pub(crate) const RESPONSES: &str = "inputResponses";

/// Seals and opens the states of calls that wait for input.
pub(crate) struct RequestStates {
    pub(crate) key: SealingKey,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

/// Whose call waits, and for what.
pub(crate) struct Waiting<'a> {
    pub(crate) instance: InstanceId,
    pub(crate) server: &'a ServerName,
    pub(crate) method: &'a str,
}

/// What is sealed.
#[derive(Serialize, Deserialize)]
struct Inside {
    /// The state that the server gave, if it gave one.
    state: Option<String>,
    /// What it asked for, by name: the input of each question (`server/request`).
    asked: BTreeMap<String, Value>,
    expires: Timestamp,
}

/// With what a call goes on that waited for input.
pub(crate) struct Resumed {
    /// What the decision on it uses up: the state that it waited in.
    pub(crate) uses: Effect,
    /// The digests of what goes to the server with it.
    pub(crate) enclosed: Vec<(&'static str, Value)>,
    /// The input of each question that its client answers.
    answers: Vec<Value>,
}

impl Gateway {
    /// With what `request` goes on, if it is a call that waited for input.
    ///
    /// Its client may have read more since it was asked: it goes on only if it could be asked now, too.
    pub(crate) async fn resume(
        &self,
        passage: &Passage<'_>,
        request: &mut Request,
    ) -> Result<Option<Resumed>, Refusal> {
        let method = request.method.clone();
        let (instance, server) = (passage.caller.instance, &passage.server);
        let waiting = Waiting { instance, server, method: method.as_str() };
        let mut resumed = self.states.open(&waiting, request)?;
        for input in resumed.iter_mut().flat_map(|it| std::mem::take(&mut it.answers)) {
            let question = ask::asking(&passage.caller, &passage.server, input);
            let circumstances =
                catalog::circumstances(&passage.caller, Vec::new(), passage.arrived);
            let permitted = Box::pin(self.authority.would_permit(&question, &circumstances)).await;
            permitted.map_err(|reason| {
                tracing::info!(%reason, server = %passage.server, "an answer is withheld");
                Refusal::StateRefused
            })?;
        }
        Ok(resumed)
    }
}

impl RequestStates {
    /// The state of the call `waiting` with `params`, of which the server asked `asked` and gave
    /// `state`. `None` if the parameters are no object.
    pub(crate) fn seal(
        &self,
        waiting: &Waiting<'_>,
        params: Option<&RawValue>,
        (state, asked): (Option<String>, BTreeMap<String, Value>),
    ) -> Option<String> {
        let expires = self.clock.now().plus(STATE_LIFETIME);
        let inside = serde_json::to_vec(&Inside { state, asked, expires }).ok()?;
        let mut nonce = [0; 12];
        self.entropy.fill(&mut nonce);
        Some(keys::base64url(&self.key.seal(&inside, &waiting.name(params)?, nonce)))
    }

    /// Puts the server's own state in the place of ours in `request`, and gives with what it goes
    /// on; nothing if it is no call that goes on.
    pub(crate) fn open(
        &self,
        waiting: &Waiting<'_>,
        request: &mut Request,
    ) -> Result<Option<Resumed>, Refusal> {
        let (state, responses) = (request.member(STATE), request.member(RESPONSES));
        if state.is_none() && responses.is_none() {
            return Ok(None);
        }
        let params = request.params.as_deref();
        let opened = state.and_then(|state| self.opened(waiting, params, state.as_str()?));
        let (inside, uses) = opened.ok_or(Refusal::StateRefused)?;
        let answers = answered(responses, &inside.asked).ok_or(Refusal::StateRefused)?;
        let enclosed = enclosed(responses, inside.state.as_deref());
        let state = inside.state.map(|state| serde_json::value::to_raw_value(&state));
        let state = state.transpose().map_err(|_| Refusal::StateRefused)?;
        let put = translate::with_members(params, [(STATE, state)]);
        request.params = Some(put.map_err(|_| Refusal::StateRefused)?);
        Ok(Some(Resumed { uses, enclosed, answers }))
    }

    fn opened(
        &self,
        waiting: &Waiting<'_>,
        params: Option<&RawValue>,
        state: &str,
    ) -> Option<(Inside, Effect)> {
        let sealed = keys::from_base64url(state).filter(|_| state.len() <= STATE_MAX)?;
        let inside = self.key.open(&sealed, &waiting.name(params)?).ok()?;
        let inside: Inside = serde_json::from_slice(&inside).ok()?;
        if inside.expires <= self.clock.now() {
            return None;
        }
        let id = *Sha256Digest::of(&sealed).as_bytes();
        let expires = inside.expires;
        Some((inside, Effect::UseOnce { scope: OnceScope::RequestState, id, expires }))
    }
}

impl Waiting<'_> {
    /// What a state is sealed to: the caller and the same call, whatever was answered meanwhile.
    fn name(&self, params: Option<&RawValue>) -> Option<Vec<u8>> {
        let params = params.map_or("{}", RawValue::get);
        let mut call: Value = serde_json::from_str(params).ok()?;
        let members = call.as_object_mut()?;
        members.retain(|name, _| ![STATE, RESPONSES, "_meta"].contains(&name.as_str()));
        let Self { instance, server, method } = self;
        let digest = Sha256Digest::of(&json::canonical(&call));
        let name = json!({
            "call": digest, "instance": instance, "method": method, "server": server,
        });
        Some(json::canonical(&name))
    }
}

/// The digests of what goes to a server with a call that goes on: the canonical form of what its
/// client answers, and the bytes of the server's own state.
fn enclosed(responses: Option<&Value>, state: Option<&str>) -> Vec<(&'static str, Value)> {
    let responses = responses.map(|responses| Sha256Digest::of(&json::canonical(responses)));
    let state = state.map(|state| Sha256Digest::of(state.as_bytes()));
    let all = [("input_responses", responses), ("request_state", state)];
    all.into_iter().filter_map(|(member, digest)| Some((member, json!(digest?)))).collect()
}

/// What `responses` answer, if it is nothing but what was asked.
fn answered(responses: Option<&Value>, asked: &BTreeMap<String, Value>) -> Option<Vec<Value>> {
    let Some(responses) = responses else { return Some(Vec::new()) };
    let question =
        |(name, answer): (&String, &Value)| asked.get(name).filter(|_| answer.is_object()).cloned();
    responses.as_object()?.iter().map(question).collect()
}

#[cfg(test)]
mod tests {
    use testkit::{ManualClock, SeededEntropy};

    use super::*;

    const CALL: &str = r#"{"name":"t","arguments":{"a":1}}"#;

    fn call(state: &str) -> Request {
        let params = CALL.replace("}}", &format!(r#"}},"requestState":"{state}"}}"#));
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
        match mcp::parse_message(text.as_bytes(), &mcp::Limits::default()) {
            Ok(mcp::Message::Request(request)) => request,
            other => panic!("no request: {other:?}"),
        }
    }

    #[test]
    fn n_040d_a_state_expires_and_is_kept_until_then() {
        let clock = Arc::new(ManualClock::new());
        let states = RequestStates {
            key: SealingKey::from_bytes([7; 32]),
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy::new(1)),
        };
        let server = "up".parse().expect("a server");
        let instance = InstanceId::from_bytes([1; 16]);
        let waiting = Waiting { instance, server: &server, method: "tools/call" };
        let params = RawValue::from_string(CALL.to_owned()).expect("JSON");
        let given = (Some("theirs".to_owned()), BTreeMap::new());
        let state = states.seal(&waiting, Some(&params), given).expect("sealed");
        let (expires, last) = (clock.now().plus(STATE_LIFETIME), Duration::from_millis(1));
        clock.advance(STATE_LIFETIME.saturating_sub(last));
        let mut request = call(&state);
        let resumed = states.open(&waiting, &mut request).expect("it opens").expect("it goes on");
        assert!(matches!(resumed.uses, Effect::UseOnce { expires: until, .. } if until == expires));
        let sent = request.params.expect("parameters");
        assert_eq!(sent.get(), r#"{"arguments":{"a":1},"name":"t","requestState":"theirs"}"#);
        clock.advance(last);
        let late = states.open(&waiting, &mut call(&state));
        assert!(matches!(late, Err(Refusal::StateRefused)));
    }
}
