//! Forwards what is permitted: takes the permit by value, calls, and says how it ended.
//!
//! The call runs in a task of its own: a client that goes away cuts it, and the outcome is written
//! all the same. What is sent is what was decided on, byte for byte in the parameters.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use authority::{Begun, Permit, Running};
use bytes::Bytes;
use mcp::Era;
use model::record::OutcomeKind;
use model::{ArgumentsDigest, DecisionId, Sha256Digest};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::assertion::Said as Asserted;
use crate::catalog::{GovernedCall, Route};
use crate::links::Conversation;
use crate::refusal::Refusal;
use crate::reply::{Reply, ReplyBody};
use crate::upstream::{LinkError, MESSAGES_WAITING_MAX, Said};
use crate::{Assertions, mcp_id};

/// Where a permitted call goes, and how its answer comes back.
pub(crate) struct Way {
    pub(crate) route: Route,
    pub(crate) conversation: Arc<Conversation>,
    pub(crate) assertions: Assertions,
    pub(crate) within: Duration,
    /// The era of the client.
    pub(crate) era: Era,
    /// The client's own request id.
    pub(crate) id: mcp_id::Id,
    /// The request under way by which a cancellation finds it.
    pub(crate) under_way: crate::call::UnderWay,
}

/// How a forwarded call ended, for whoever waits for it.
enum Ended {
    Answer(Bytes),
    Refused(Refusal),
}

impl Way {
    /// Forwards what `permit` covers. The first thing that comes back decides whether the client
    /// gets one document or a stream.
    pub(crate) async fn forward(
        self,
        permit: Permit<GovernedCall>,
        clock: &dyn model::Clock,
        tasks: &tokio_util::task::TaskTracker,
    ) -> Result<Reply, Refusal> {
        let decision = permit.context().decision;
        if !permit.context().obligations.is_empty() {
            // No obligation can be discharged here yet, so nothing that owes one may proceed.
            return Err(Refusal::Unavailable("an obligation cannot be discharged here".to_owned()));
        }
        let begun = permit.begin(clock);
        let begun = begun.map_err(|error| Refusal::Unavailable(error.to_string()))?;
        let (messages, mut heard) = mpsc::channel(MESSAGES_WAITING_MAX);
        let (done, ended) = tokio::sync::oneshot::channel();
        tasks.spawn(async move {
            let ended = self.run(begun, &messages).await;
            let _ = done.send(ended);
        });
        let first = heard.recv().await;
        let Some(first) = first else { return answer(ended.await, decision) };
        let (events, reader) = mpsc::channel(MESSAGES_WAITING_MAX);
        tasks.spawn(stream(first, heard, ended, events));
        Ok(Reply { status: 200, headers: Vec::new(), body: ReplyBody::Events(reader) })
    }

    async fn run(self, begun: Begun<GovernedCall>, messages: &mpsc::Sender<Bytes>) -> Ended {
        let Begun { act, context, running, .. } = begun;
        let decision = context.decision;
        let assertion = self.assertion(&context, &act);
        let call = self.call(act, assertion, messages);
        let heard = tokio::time::timeout(self.within, call).await;
        let heard = heard.unwrap_or(Err(LinkError::Unanswered));
        self.close(heard, running, decision)
    }

    /// Sends the call and passes on what is said until the answer.
    async fn call(
        &self,
        act: GovernedCall,
        assertion: Option<String>,
        messages: &mpsc::Sender<Bytes>,
    ) -> Result<Result<Box<RawValue>, Box<RawValue>>, LinkError> {
        let link = &self.conversation.link;
        let params = translate_params(act.params, link.era, self.era);
        let method = act.method.as_str();
        let mut asked = link.ask((method, act.name), params.as_deref(), assertion.clone()).await?;
        let cancelled = self.under_way.cancelled();
        tokio::pin!(cancelled);
        loop {
            tokio::select! {
                said = asked.next() => match said? {
                    // A client that does not listen to progress loses it, not the answer.
                    Said::Notification(bytes) => { let _ = messages.try_send(bytes); }
                    Said::Answer(answer) => return Ok(answer),
                },
                () = &mut cancelled => {
                    let reason = json!({ "requestId": asked.id, "reason": "cancelled by the client" });
                    let params = serde_json::value::to_raw_value(&reason).expect("JSON");
                    let _ = link.tell("notifications/cancelled", Some(&params), assertion).await;
                    return Err(LinkError::Unanswered);
                }
            }
        }
    }

    fn assertion(&self, context: &authority::PermitContext, act: &GovernedCall) -> Option<String> {
        let said = Asserted {
            instance: context.standing.instance.id,
            task: Some(context.standing.task.id),
            decision: Some(context.decision),
            arguments: act.arguments_digest(),
        };
        self.assertions.sign(&self.route.audience, context.standing.agent.name.as_str(), said)
    }

    /// Says how the call ended, in the record and to whoever waits.
    fn close(
        &self,
        heard: Result<Result<Box<RawValue>, Box<RawValue>>, LinkError>,
        running: Running,
        decision: DecisionId,
    ) -> Ended {
        let upstream = self.conversation.link.era;
        match heard {
            Ok(Ok(result)) => {
                let failed = is_tool_error(&result);
                let kind = if failed { OutcomeKind::Failed } else { OutcomeKind::Returned };
                running.finish(kind, Some(Sha256Digest::of(result.get().as_bytes())));
                Ended::Answer(self.result(&translate_result(result, upstream, self.era)))
            }
            Ok(Err(error)) => {
                running.finish(OutcomeKind::Failed, Some(Sha256Digest::of(error.get().as_bytes())));
                Ended::Answer(
                    format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"error\":{}}}", self.id, error.get())
                        .into(),
                )
            }
            Err(source @ (LinkError::Unreached(_) | LinkError::Refused(_))) => {
                running.finish(OutcomeKind::Failed, None);
                Ended::Refused(Refusal::UpstreamFailed { source, decision: Some(decision) })
            }
            Err(LinkError::Unanswered | LinkError::Garbled(_)) => {
                running.finish(OutcomeKind::Unknown, None);
                Ended::Refused(Refusal::OutcomeUnknown { decision })
            }
        }
    }

    fn result(&self, result: &RawValue) -> Bytes {
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{}}}", self.id, result.get()).into()
    }
}

impl GovernedCall {
    /// The digest of the canonical arguments, for the assertion.
    fn arguments_digest(&self) -> Option<ArgumentsDigest> {
        let input = &authority::Governed::request(self).input;
        (!input.is_null()).then(|| ArgumentsDigest::of(&json::canonical(input)))
    }
}

fn answer(
    ended: Result<Ended, tokio::sync::oneshot::error::RecvError>,
    decision: DecisionId,
) -> Result<Reply, Refusal> {
    match ended {
        Ok(Ended::Answer(body)) => Ok(Reply::json(200, body)),
        Ok(Ended::Refused(refusal)) => Err(refusal),
        Err(_) => Err(Refusal::OutcomeUnknown { decision }),
    }
}

/// Passes on notifications and, last, the answer.
async fn stream(
    first: Bytes,
    mut heard: mpsc::Receiver<Bytes>,
    ended: tokio::sync::oneshot::Receiver<Ended>,
    events: mpsc::Sender<Bytes>,
) {
    let mut next = Some(first);
    while let Some(message) = next {
        if events.send(message).await.is_err() {
            return;
        }
        next = heard.recv().await;
    }
    if let Ok(Ended::Answer(body)) = ended.await {
        let _ = events.send(body).await;
    }
}

fn is_tool_error(result: &RawValue) -> bool {
    #[derive(serde::Deserialize)]
    struct Flag {
        #[serde(default, rename = "isError")]
        is_error: bool,
    }
    serde_json::from_str::<Flag>(result.get()).is_ok_and(|flag| flag.is_error)
}

/// The members of `params` by name, each as it was received.
type Members<'a> = BTreeMap<String, &'a RawValue>;

/// Adds or removes what one era demands in `_meta` and the other does not know. Every other member
/// stays as it was received, byte for byte.
fn translate_params(
    params: Option<Box<RawValue>>,
    upstream: Era,
    client: Era,
) -> Option<Box<RawValue>> {
    if upstream == client {
        return params;
    }
    let text = params.as_ref().map_or("{}", |params| params.get());
    let mut members: Members<'_> = serde_json::from_str(text).unwrap_or_default();
    let meta = members.get("_meta").and_then(|meta| serde_json::from_str::<Value>(meta.get()).ok());
    let mut meta = meta.unwrap_or_else(|| json!({}));
    if let Some(meta) = meta.as_object_mut() {
        meta.retain(|key, _| !key.starts_with("io.modelcontextprotocol/"));
        if let (Era::Stateless, Value::Object(demanded)) =
            (upstream, crate::upstream::stateless_meta())
        {
            meta.extend(demanded);
        }
    }
    let meta = serde_json::value::to_raw_value(&meta).expect("JSON");
    let empty = meta.get() == "{}";
    members.insert("_meta".to_owned(), &meta);
    if empty {
        members.remove("_meta");
    }
    serde_json::value::to_raw_value(&members).ok()
}

/// The result as the client's era writes it.
fn translate_result(result: Box<RawValue>, upstream: Era, client: Era) -> Box<RawValue> {
    if upstream == client {
        return result;
    }
    let Ok(value) = serde_json::from_str::<Value>(result.get()) else { return result };
    let value = match client {
        Era::Stateless => mcp::to_stateless(value),
        Era::Session => mcp::to_session(value),
    };
    serde_json::value::to_raw_value(&value).expect("JSON")
}
