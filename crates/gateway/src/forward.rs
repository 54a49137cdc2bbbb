//! Forwards what is permitted: takes the permit by value, calls, and says how it ended.
//!
//! The call runs in a task of its own: a client that goes away cuts it, and the outcome is written
//! all the same. What is sent is what was decided on, byte for byte in the parameters.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use authority::{Begun, Cut, Permit, PermitContext, Running, Watch};
use mcp::{Era, Method};
use model::record::OutcomeKind;
use model::{ArgumentsDigest, DecisionId, Sha256Digest};
use serde_json::json;
use serde_json::value::RawValue;

use crate::Assertions;
use crate::ask::Asker;
use crate::asks::Asks;
use crate::assertion::Said as Asserted;
use crate::catalog::GovernedCall;
use crate::entry::About;
use crate::events::{Ended, Events, Telling};
use crate::links::Conversation;
use crate::refusal::Refusal;
use crate::reply::{Reply, ReplyBody};
use crate::request_state::RequestStates;
use crate::room::Kept;
use crate::translate::{self, Kind};
use crate::under_way::UnderWay;
use crate::upstream::{Asking, CANCELLED, LinkError, Said};
use crate::way_back::{Messages, WayBack};

/// How long telling a server that a call is cut may take.
const TELL_WITHIN: Duration = Duration::from_secs(1);

/// How often one call may wait for input that we ask for.
const ROUNDS_MAX: usize = 8;

/// Where a permitted call goes, and how its answer comes back.
pub(crate) struct Way {
    pub(crate) conversation: Arc<Conversation>,
    pub(crate) assertions: Arc<Assertions>,
    pub(crate) within: Duration,
    /// The way back to the client.
    pub(crate) way_back: WayBack,
    /// The room of the request's body, of which the call keeps what it sends.
    pub(crate) _room: Option<Arc<Kept>>,
    /// The client's request, for answering it.
    pub(crate) about: About,
    /// The request under way by which a cancellation finds it.
    pub(crate) under_way: UnderWay,
    /// Asks the client what the server wants to know.
    pub(crate) asker: Asker,
    /// Seals the state of a call that waits for input.
    pub(crate) states: Arc<RequestStates>,
}

/// What came of a call at the upstream.
pub(crate) enum Heard {
    /// The raw result, and what it says of itself.
    Result(Box<RawValue>, Kind),
    /// The raw error.
    Error(Box<RawValue>),
    /// The server wants input, which the client may give: what it is told, and the digest of what
    /// the server said.
    InputRequired(Box<RawValue>, Sha256Digest),
    /// The server wants what the client may not be asked.
    NotAsked(Sha256Digest),
    /// The result is not let go: what it says that it carries is not on the session.
    Withheld(Sha256Digest),
    /// No answer.
    Nothing(LinkError),
    /// Nothing of the call was sent.
    Unsent(LinkError),
    /// It was stopped: by the client, or because it is no longer permitted.
    Cut,
}

impl Heard {
    /// The same of the first that was to be sent: where the server has not seen that, it has seen nothing.
    fn of_first(self) -> Self {
        match self {
            Self::Nothing(error @ LinkError::Unreached(_)) => Self::Unsent(error),
            heard => heard,
        }
    }
}

/// Why a call is stopped before it is answered.
#[derive(Clone, Copy)]
enum Stop {
    /// By the client, or because it is no longer permitted.
    Cut,
    /// By the time limit.
    Late,
}

impl Stop {
    const fn heard(self) -> Heard {
        match self {
            Self::Cut => Heard::Cut,
            Self::Late => Heard::Nothing(LinkError::Unanswered),
        }
    }

    /// As the server is told it.
    const fn reason(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Late => "too late",
        }
    }
}

/// A call under way, with all that it needs until it has ended.
struct Call {
    way: Way,
    act: GovernedCall,
    asserted: Asserted,
    watch: Watch,
    messages: Messages,
}

impl Call {
    async fn run(&self, decision: DecisionId) -> Heard {
        // The client cancelled it or went away, or it is no longer permitted.
        let cut = async {
            tokio::select! {
                () = self.way.under_way.token().cancelled() => {}
                reason = self.no_longer_permitted() => {
                    tracing::info!(%reason, %decision, "a call is cut");
                }
            }
        };
        // By reference: what is moved into a future has its place there twice, in every call under way.
        let cut = std::pin::pin!(cut);
        let heard = self.way.call(&self.act, self.asserted, cut, &self.messages).await;
        self.way.governed(heard, &self.act).await
    }

    /// Resolves once the call would no longer be permitted: from when it is answered by a stream on, by what
    /// others have read since, too.
    async fn no_longer_permitted(&self) -> Cut {
        tokio::select! {
            reason = self.watch.no_longer_permitted() => reason,
            () = self.messages.streams() => self.watch.stream_no_longer_permitted().await,
        }
    }
}

impl Way {
    /// Forwards what `permit` covers. The first thing that comes back decides whether the client
    /// gets one document or a stream. Dropped before that, the call is cut.
    pub(crate) async fn forward(
        self,
        permit: Permit<GovernedCall>,
        tasks: &tokio_util::task::TaskTracker,
    ) -> Result<Reply, Refusal> {
        let decision = permit.context().decision;
        self.way_back.permitted_by(decision);
        let authority = &self.asker.authority;
        let watch = authority.watch(&permit);
        let begun = permit.begin(authority.clock().as_ref());
        let begun = begun.map_err(|error| Refusal::Unavailable(error.to_string()))?;
        let Begun { act, context, running, .. } = begun;
        let gone = self.under_way.token().clone().drop_guard();
        let telling = Telling {
            about: self.about.clone(),
            style: self.asker.route.denials,
            way_back: self.way_back.clone(),
        };
        let (messages, mut heard) = Messages::new(self.way_back.clone());
        let (done, ended) = tokio::sync::oneshot::channel();
        let asserted = asserted(&context, &act);
        // What a call keeps while it waits is kept once, and in none of the futures that it runs in.
        let act = act.begun();
        let call = Box::new(Call { way: self, act, asserted, watch, messages });
        drop(context);
        tasks.spawn(async move {
            let heard = call.run(decision).await;
            let _ = done.send(call.way.close(heard, running, (decision, &call.act.method)));
        });
        let first = heard.recv().await;
        let Some(first) = first else {
            let ended = ended.await.map_err(|_| Refusal::OutcomeUnknown { decision })?;
            let (status, body) = ended.taken()?;
            let unkept = Some(Box::new(telling.reply(&Refusal::OutcomeUnknown { decision })));
            return Ok(Reply { unkept, ..Reply::json(status, body) });
        };
        let events = Events::new((first, heard), (ended, telling, gone));
        Ok(Reply::of(200, ReplyBody::Events(events)))
    }

    /// Sends the call and passes on what is said until the answer, or until it is cut.
    async fn call(
        &self,
        act: &GovernedCall,
        asserted: Asserted,
        cut: Pin<&mut impl Future<Output = ()>>,
        messages: &Messages,
    ) -> Heard {
        let eras = (self.conversation.link.era, self.about.era);
        let params = act.params.as_deref();
        let Ok(params) = translate::params(params, eras, self.conversation.declares) else {
            return Heard::Unsent(LinkError::Unreached("nothing to send".to_owned()));
        };
        let stop = async {
            tokio::select! {
                () = cut => Stop::Cut,
                () = tokio::time::sleep(self.within) => Stop::Late,
            }
        };
        tokio::pin!(stop);
        let way = (asserted, messages);
        let first = self.exchange(act, params.as_deref(), way, stop.as_mut()).await;
        let mut heard = first.of_first();
        heard = self.labelled(heard, act).await;
        for _ in 0..ROUNDS_MAX {
            let Some(result) = self.asks_through_us(&heard, act) else { break };
            // What is rare takes no room in every call under way.
            let answered = Box::pin(self.answered(result, params.as_deref(), messages));
            let answered = tokio::select! {
                answered = answered => answered,
                stop = &mut stop => return stop.heard(),
            };
            let Some((params, _rooms)) = answered else { break };
            heard = self.exchange(act, Some(&params), way, stop.as_mut()).await;
            heard = self.labelled(heard, act).await;
        }
        heard
    }

    /// One request to the server and its answer.
    async fn exchange(
        &self,
        act: &GovernedCall,
        params: Option<&RawValue>,
        (asserted, messages): (Asserted, &Messages),
        mut stop: Pin<&mut impl Future<Output = Stop>>,
    ) -> Heard {
        let link = &self.conversation.link;
        let is_stateless = self.about.era == Era::Stateless;
        let log_level = translate::log_level(act.params.as_deref().filter(|_| is_stateless));
        let asking = Asking {
            method: act.method.as_str(),
            name: act.name.clone(),
            param_headers: act.param_headers.clone(),
            params,
            progress: act.progress.clone(),
            intake: self.way_back.intake(),
        };
        // What is there only until the server begins to answer takes no room while it goes on.
        let asked = Box::pin(link.ask(asking, self.assertion(asserted)));
        let asked = tokio::select! {
            // What was stopped before it is sent is not sent.
            biased;
            stop = &mut stop => return stop.heard(),
            asked = asked => asked,
        };
        let mut asked = match asked {
            Ok(asked) => asked,
            Err(error) => return Heard::Nothing(error),
        };
        let mut asks = Asks::new(self, asserted, messages);
        let (heard, stopped) = loop {
            tokio::select! {
                said = asked.next(), if asks.has_room() => match said {
                    Ok(Said::Notification(bytes))
                        if is_stateless && !translate::is_told(&bytes, log_level) => {}
                    // A client that does not listen to progress loses it, not the answer.
                    Ok(Said::Notification(bytes)) => if self.is_marked(&BTreeSet::new()).await {
                        messages.try_say(bytes);
                    },
                    Ok(Said::Request(request)) => asks.begin(request),
                    Ok(Said::Withdrawn(id)) => asks.withdraw(&id),
                    Ok(Said::Answer(Ok(result))) => {
                        let kind = translate::kind(&result);
                        break (Heard::Result(result, kind), None);
                    }
                    Ok(Said::Answer(Err(error))) => break (Heard::Error(error), None),
                    Err(error) => break (Heard::Nothing(error), None),
                },
                () = asks.next(), if !asks.is_empty() => {}
                stop = &mut stop => break (stop.heard(), Some(stop)),
            }
        };
        asks.end(TELL_WITHIN).await;
        if let Some(stop) = stopped {
            let params = json!({ "requestId": asked.id, "reason": stop.reason() });
            let params = serde_json::value::to_raw_value(&params).expect("a value is JSON");
            let told = link.tell(CANCELLED, Some(&params), self.assertion(asserted));
            // A server that cannot be told learns it from the closed connection.
            let _ = tokio::time::timeout(TELL_WITHIN, told).await;
        }
        heard
    }

    /// What the server is shown with one message on account of the call. Signed for each: an answer
    /// may wait longer for its client than an assertion is good for.
    pub(crate) fn assertion(&self, asserted: Asserted) -> Option<String> {
        if !self.asker.route.target.is_shown_assertions() {
            return None;
        }
        self.assertions.sign(&self.asker.route.audience, &self.asker.caller, asserted)
    }

    /// Says how the call ended, in the record and to whoever waits.
    fn close(
        &self,
        heard: Heard,
        running: Running,
        (decision, method): (DecisionId, &Method),
    ) -> Ended {
        let eras = (self.conversation.link.era, self.about.era);
        match heard {
            Heard::Result(result, kind) => {
                let digest = Some(Sha256Digest::of(result.get().as_bytes()));
                let failed = kind.is_error && *method == Method::ToolsCall;
                let outcome = if failed { OutcomeKind::Failed } else { OutcomeKind::Returned };
                running.finish(outcome, digest);
                let result = translate::result(result, method, eras);
                self.told(decision, (200, "result", &result))
            }
            Heard::Error(error) => {
                running.finish(OutcomeKind::Failed, Some(Sha256Digest::of(error.get().as_bytes())));
                let status = error_status(&error, self.about.era);
                self.told(decision, (status, "error", &error))
            }
            Heard::InputRequired(result, digest) => {
                running.finish(OutcomeKind::Returned, Some(digest));
                self.told(decision, (200, "result", &result))
            }
            Heard::NotAsked(digest) => {
                running.finish(OutcomeKind::Failed, Some(digest));
                Ended::Refused(Refusal::InputRequired { decision })
            }
            Heard::Withheld(digest) => {
                running.finish(OutcomeKind::Withheld, Some(digest));
                Ended::Refused(Refusal::OutcomeUnknown { decision })
            }
            Heard::Unsent(source) => {
                running.unsent();
                Ended::Refused(Refusal::UpstreamFailed { source, decision: Some(decision) })
            }
            Heard::Nothing(source @ (LinkError::Unreached(_) | LinkError::Refused(_))) => {
                running.finish(OutcomeKind::Failed, None);
                Ended::Refused(Refusal::UpstreamFailed { source, decision: Some(decision) })
            }
            Heard::Nothing(LinkError::Unanswered | LinkError::Garbled(_)) => {
                running.finish(OutcomeKind::Unknown, None);
                Ended::Refused(Refusal::OutcomeUnknown { decision })
            }
            Heard::Cut => {
                running.finish(OutcomeKind::Cut, None);
                Ended::Refused(Refusal::OutcomeUnknown { decision })
            }
        }
    }

    /// The answer of the call that `decision` permitted, kept until the client takes it.
    fn told(&self, decision: DecisionId, (status, member, value): (u16, &str, &RawValue)) -> Ended {
        let id = &self.about.id;
        let message = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"{member}\":{}}}", value.get());
        match self.way_back.keep(message.into()) {
            Some(kept) => Ended::Answer(status, kept, decision),
            None => Ended::Refused(Refusal::OutcomeUnknown { decision }),
        }
    }
}

/// What is asserted of a call.
fn asserted(context: &PermitContext, act: &GovernedCall) -> Asserted {
    Asserted {
        task: Some(context.standing.task.id),
        decision: Some(context.decision),
        arguments: act.arguments_digest(),
    }
}

impl GovernedCall {
    /// The digest of the canonical arguments, for the assertion.
    fn arguments_digest(&self) -> Option<ArgumentsDigest> {
        let input = &authority::Governed::request(self).input;
        (!input.is_null()).then(|| ArgumentsDigest::of(&json::canonical(input)))
    }
}

/// The status of an answer that is this error of the server.
fn error_status(error: &RawValue, era: Era) -> u16 {
    #[derive(serde::Deserialize)]
    struct Error {
        code: i64,
    }
    let code = serde_json::from_str::<Error>(error.get()).map_or(0, |error| error.code);
    mcp::error_status(code, era)
}
