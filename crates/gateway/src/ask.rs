//! What a server asks of the client whose call is under way: an act of its own (`server/request`).
//!
//! It is decided and recorded like every act, for the instance whose call it is, and delivered to
//! that client alone: in the session era on the stream of the call, under an id of ours; in the
//! stateless era with the result of the call. What the client has not declared, or leads to a host
//! that is not named for the server, is refused before anybody decides.
//!
//! INVARIANT: an answer goes to its server only if the client could be asked now, too (`n_085_…`): more may
//! have been read since it was asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use authority::{
    Authority, Begun, Circumstances, Governed, Marking, NotPermitted, Permit, Running,
};
use bytes::Bytes;
use mcp::{Ask, Askable, Era, ServerRequest};
use model::record::OutcomeKind;
use model::{AccessRequest, ActionName, Principal, ResourceRef, ServerName, Sha256Digest};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::authenticate::Caller;
use crate::awaited::{Awaited, ClientAnswer, Place};
use crate::call::Gateway;
use crate::catalog::{self, GovernedCall, Route};
use crate::entry::{About, Passage};
use crate::links::Conversation;
use crate::recorder::Recorder;
use crate::under_way::CallKey;
use crate::upstream::{CANCELLED, cause};
use crate::way_back::Messages;

/// One request of a server, bound to the instance whose call it is on account of.
pub(crate) struct ServerAct {
    request: AccessRequest,
    circumstances: Circumstances,
    asked: ServerRequest,
}

impl Governed for ServerAct {
    fn request(&self) -> &AccessRequest {
        &self.request
    }

    fn circumstances(&self) -> &Circumstances {
        &self.circumstances
    }
}

/// The question whether `server` may ask `ask` of `caller`'s client, with these parameters.
pub(crate) fn question(
    caller: &Caller,
    server: &ServerName,
    ask: &Ask,
    params: Option<&Value>,
) -> AccessRequest {
    let mut input = json!({ "method": ask.method(), "mode": ask.mode() });
    if let Ask::Url { host } = ask {
        input["host"] = host.clone().into();
    }
    if let Some(params) = params {
        input["params"] = json!(Sha256Digest::of(&json::canonical(params)));
    }
    asking(caller, server, input)
}

/// The same question, by its input.
pub(crate) fn asking(caller: &Caller, server: &ServerName, input: Value) -> AccessRequest {
    AccessRequest {
        principal: Principal::Instance(caller.instance),
        action: ActionName::method("server/request"),
        resource: ResourceRef::Server(server.clone()),
        input,
    }
}

/// Asks the client of one call what its server wants to know.
pub(crate) struct Asker {
    pub(crate) authority: Arc<Authority>,
    pub(crate) recorder: Recorder,
    pub(crate) caller: Caller,
    pub(crate) server: ServerName,
    /// What the client declares that it may be asked.
    pub(crate) askable: Askable,
    /// The way to it, which names the hosts to which it may send somebody.
    pub(crate) route: Arc<Route>,
    /// Where the client's answers arrive.
    pub(crate) awaited: Awaited,
    /// The MCP session of the call.
    pub(crate) session: Option<String>,
    /// The call.
    pub(crate) call: Arc<AccessRequest>,
    /// What it carries.
    pub(crate) marking: Arc<Marking>,
    /// Whether its server was told more than it: what a client has answered.
    pub(crate) is_prompted: AtomicBool,
}

impl Gateway {
    /// Who asks the client of the call that `permit` permits.
    pub(crate) fn asker(
        &self,
        passage: &Passage<'_>,
        conversation: &Conversation,
        about: &About,
        permit: &Permit<GovernedCall>,
    ) -> Asker {
        Asker {
            authority: self.authority.clone(),
            recorder: self.recorder.clone(),
            caller: passage.caller.clone(),
            server: passage.server.clone(),
            askable: match passage.era {
                Era::Session => conversation.askable,
                Era::Stateless => about.askable,
            },
            route: passage.route.clone(),
            awaited: self.awaited.clone(),
            session: passage.session_id().map(str::to_owned),
            call: permit.act().shared_request(),
            marking: permit.marking().clone(),
            is_prompted: AtomicBool::new(permit.act().goes_on),
        }
    }
}

impl Asker {
    /// Decides on what the server asks. Nothing if it may not be asked, which is on the record.
    pub(crate) async fn permit(
        &self,
        method: &str,
        params: Option<Box<RawValue>>,
    ) -> Option<Permit<ServerAct>> {
        let cause = match self.govern(method, params) {
            Ok(act) => match self.decide(act).await {
                Ok(permit) => return Some(permit),
                // Its decision record tells of it.
                Err(NotPermitted::Denied { .. }) => return None,
                Err(_) => "unavailable",
            },
            Err(cause) => cause,
        };
        self.refuse(cause);
        None
    }

    /// Decides on `act`, which comes of the call: what it brings is no news to that, if it may.
    async fn decide(&self, act: ServerAct) -> Result<Permit<ServerAct>, NotPermitted> {
        let coming = self.authority.comes_with(&self.marking, &act.request).await?;
        let permit = self.authority.authorize(act).await?;
        coming.is_on();
        Ok(permit)
    }

    /// Records that the client is not asked.
    pub(crate) fn refuse(&self, cause: &'static str) {
        self.recorder.refuse(cause, self.caller.who());
    }

    fn govern(
        &self,
        method: &str,
        params: Option<Box<RawValue>>,
    ) -> Result<ServerAct, &'static str> {
        let asked = ServerRequest::read(method, params).map_err(|_| cause(method))?;
        if !self.askable.has(&asked.ask) {
            return Err(cause(method));
        }
        if matches!(&asked.ask, Ask::Url { host } if !self.route.elicitation_hosts.contains(host)) {
            return Err("elicitation_host");
        }
        let request = question(&self.caller, &self.server, &asked.ask, Some(&asked.read));
        let arrived = self.authority.clock().monotonic();
        let circumstances = catalog::circumstances(&self.caller, Vec::new(), arrived);
        Ok(ServerAct { request, circumstances, asked })
    }

    /// Asks the client what is permitted, and waits for its answer. Nothing if there is none.
    pub(crate) async fn deliver(
        &self,
        permit: Permit<ServerAct>,
        messages: Messages,
    ) -> Option<ClientAnswer> {
        let watch = self.authority.watch(&permit);
        let begun = permit.begin(self.authority.clock().as_ref()).ok()?;
        let Begun { act, context, running, .. } = begun;
        let id = Value::from(context.decision.to_string()).to_string();
        let (instance, server) = (self.caller.instance, self.server.clone());
        let key = CallKey { instance, server, session: self.session.clone(), id: id.clone() };
        let (place, answer) = self.awaited.enter(key);
        let (running, is_told) = (Some(running), false);
        let mut asking = Asking { id, messages, running, is_told, _place: place };
        let ServerAct { request, circumstances, asked } = act;
        let message = asking.message(&asked);
        // Until somebody answers it is kept where there is room for it, and nowhere else.
        drop(asked);
        let mut cut = std::pin::pin!(watch.no_longer_permitted());
        let lost = tokio::select! {
            lost = asking.messages.ask(message) => lost?,
            _ = &mut cut => return None,
        };
        asking.is_told = true;
        let answer = tokio::select! {
            answer = answer => answer.ok()?,
            () = lost.cancelled() => return None,
            _ = cut => return None,
        };
        if self.may_answer(&request, &circumstances).await {
            self.is_prompted.store(true, Ordering::Release);
            Some(asking.answered(answer))
        } else {
            asking.withheld(&answer);
            None
        }
    }

    /// Whether an answer to `request` may go to its server, by what was read until now; what the call stores
    /// is marked with that before.
    async fn may_answer(&self, request: &AccessRequest, circumstances: &Circumstances) -> bool {
        if let Err(reason) = self.authority.would_permit(request, circumstances).await {
            tracing::info!(%reason, server = %self.server, "an answer is withheld");
            return false;
        }
        let brought = Box::pin(self.authority.bring(&self.marking, &self.call)).await;
        brought.inspect_err(|error| tracing::warn!(%error, "an answer is withheld")).is_ok()
    }
}

/// Begins what a server asks with a result: all of it or nothing. It is done once it is told.
pub(crate) fn tell_all(permits: Vec<Permit<ServerAct>>, authority: &Authority) -> bool {
    let begun = permits.into_iter().map(|permit| permit.begin(authority.clock().as_ref()));
    let begun: Vec<_> = begun.collect();
    let all = begun.iter().all(Result::is_ok);
    let outcome = if all { OutcomeKind::Returned } else { OutcomeKind::Failed };
    begun.into_iter().flatten().for_each(|begun| begun.running.finish(outcome, None));
    all
}

/// A client that was asked. Dropped before it answered, it is told that nobody waits any more.
struct Asking {
    /// Our id, as JSON text.
    id: String,
    messages: Messages,
    running: Option<Running>,
    is_told: bool,
    _place: Place,
}

impl Asking {
    /// The request as the client is sent it: the server's parameters, byte for byte.
    fn message(&self, asked: &ServerRequest) -> Bytes {
        let (id, method) = (&self.id, asked.method());
        let params = asked.params.as_ref().map(|params| format!(",\"params\":{}", params.get()));
        let params = params.unwrap_or_default();
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\"{params}}}").into()
    }

    fn answered(self, answer: ClientAnswer) -> ClientAnswer {
        let outcome = if answer.said.is_ok() { OutcomeKind::Returned } else { OutcomeKind::Failed };
        self.ended(outcome, &answer);
        answer
    }

    /// The client has answered what its server is not told.
    fn withheld(self, answer: &ClientAnswer) {
        self.ended(OutcomeKind::Withheld, answer);
    }

    fn ended(mut self, outcome: OutcomeKind, answer: &ClientAnswer) {
        let (Ok(raw) | Err(raw)) = &answer.said;
        let digest = Sha256Digest::of(raw.get().as_bytes());
        self.running.take().into_iter().for_each(|running| running.finish(outcome, Some(digest)));
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let Some(running) = self.running.take() else { return };
        running.finish(OutcomeKind::Cut, None);
        if !self.is_told {
            return;
        }
        let id = &self.id;
        let params = format!("{{\"requestId\":{id}}}");
        let message =
            format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{CANCELLED}\",\"params\":{params}}}");
        // A client that does not listen any more need not be told.
        self.messages.try_say(message.into());
    }
}
