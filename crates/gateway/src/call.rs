//! The gateway: what may be asked of a server is governed, authorized, and only then forwarded.

use std::sync::Arc;
use std::time::Duration;

use authority::{Authority, Begun, Governed as _, NotPermitted, Permit};
use http::{HeaderName, HeaderValue};
use keys::SealingKey;
use mcp::{Askable, Method, Request};
use model::{ResourceRef, ServerName, Tool, ToolRef};
use serde_json::{Map, Value};
use tokio_util::task::TaskTracker;

use crate::assertion::Said;
use crate::authenticate::Tokens;
use crate::awaited::Awaited;
use crate::catalog::{self, GovernedCall, Route, Routes, Wanted};
use crate::entry::{About, Passage};
use crate::forward::Way;
use crate::links::{Conversation, LinkLimits, Links, Opening};
use crate::pins::{Comparing, PinChange};
use crate::recorder::Recorder;
use crate::refusal::Refusal;
use crate::reply::Reply;
use crate::request_state::{RESPONSES, RequestStates, Resumed, STATE};
use crate::shares::{Asker, Tally, Turns};
use crate::under_way::CallsUnderWay;
use crate::way_back::Rooms;
use crate::{Assertions, offered, upstream};

/// What is refused beyond, and how long it waits.
#[derive(Clone, Copy, Debug)]
pub struct GatewayLimits {
    /// For conversations with upstreams.
    pub links: LinkLimits,
    /// How long a call may take.
    pub call: Duration,
    /// The largest body, in bytes.
    pub body: usize,
    /// The most requests of one agent under way.
    pub requests_per_agent: usize,
    /// How many threads serve.
    pub threads: usize,
}

/// What a [`Gateway`] is made of.
pub struct GatewayParts {
    /// Decides and records.
    pub authority: Arc<Authority>,
    /// Checks tokens and proofs.
    pub tokens: Tokens,
    /// Signs what upstreams are shown.
    pub assertions: Assertions,
    /// The ways to the servers.
    pub routes: Routes,
    /// The key that seals the states of calls that wait for input.
    pub states: SealingKey,
    /// Told what servers list.
    pub pins: Arc<dyn PinChange>,
    /// The environment from which server processes get PATH, HOME and LANG.
    pub environment: Vec<(String, String)>,
    /// Bounds.
    pub limits: GatewayLimits,
    /// Where calls run.
    pub tasks: TaskTracker,
}

/// The enforcement point for MCP.
pub struct Gateway {
    pub(crate) authority: Arc<Authority>,
    pub(crate) tokens: Tokens,
    assertions: Arc<Assertions>,
    pub(crate) routes: Routes,
    pins: Arc<dyn PinChange>,
    pub(crate) recorder: Recorder,
    pub(crate) links: Links,
    pub(crate) under_way: CallsUnderWay,
    pub(crate) turns: Turns,
    pub(crate) requests: Tally,
    /// Room for what servers say, and for what is on its way to clients.
    pub(crate) rooms: Rooms,
    pub(crate) awaited: Awaited,
    pub(crate) states: Arc<RequestStates>,
    pub(crate) limits: GatewayLimits,
    tasks: TaskTracker,
}

impl Gateway {
    /// A gateway of these parts. Its conversations end with [`Gateway::close`].
    pub fn new(parts: GatewayParts) -> Result<Self, std::io::Error> {
        let client = upstream::client()?;
        let recorder = Recorder::new(parts.authority.clone());
        let (limits, rooms) = (parts.limits.links, Rooms::default());
        let kept = (recorder.clone(), rooms.clone(), parts.tasks.clone());
        let links = Links::new(client, parts.environment, limits, kept);
        let (clock, entropy) = (parts.authority.clock().clone(), parts.authority.entropy().clone());
        // All of it rests on tokens that count no longer: nobody can tell which of them are forged.
        let under_way = CallsUnderWay::default();
        let all = under_way.clone();
        parts.tokens.keys.on_loss(move || all.cancel_all());
        Ok(Self {
            authority: parts.authority,
            tokens: parts.tokens,
            assertions: Arc::new(parts.assertions),
            routes: parts.routes,
            pins: parts.pins,
            recorder,
            links,
            under_way,
            turns: Turns::new(parts.limits.threads),
            requests: Tally::new(parts.limits.requests_per_agent),
            rooms,
            awaited: Awaited::default(),
            states: Arc::new(RequestStates { key: parts.states, clock, entropy }),
            limits: parts.limits,
            tasks: parts.tasks,
        })
    }

    /// The way to `server`, if one is configured.
    pub fn route(&self, server: &ServerName) -> Option<&Route> {
        self.routes.get(server).map(AsRef::as_ref)
    }

    /// What an upstream is shown when somebody onboards it; nothing if `assert` is false, to see
    /// whether it answers all the same.
    pub(crate) fn onboarding_assertion(&self, server: &ServerName, assert: bool) -> Option<String> {
        let route = self.routes.get(server).filter(|_| assert)?;
        self.assertions.sign_for_ourselves(&route.audience)
    }

    /// Ends every conversation with an upstream.
    pub fn close(&self) {
        self.links.close_all();
    }

    /// A tool call: governed, authorized, forwarded.
    pub(crate) async fn call(
        &self,
        passage: &Passage<'_>,
        mut request: Request,
        about: &About,
    ) -> Result<Reply, Refusal> {
        let resumed = self.resume(passage, &mut request).await?;
        self.check_contact(passage, &request).await?;
        // A server that is slow to greet, or to list what it has, takes nobody's turn.
        passage.place.give_back();
        let conversation = self.conversation(passage).await?;
        self.verify(passage, &conversation, false).await?;
        let caller = &passage.caller;
        let turn = self.turn(Asker::Agent(caller.agent.clone(), caller.subject())).await?;
        let governed = self.govern(passage, request, resumed).await?;
        let ResourceRef::Tool(tool) = governed.request().resource.clone() else {
            return Err(Refusal::UnknownTool);
        };
        let permit = match self.authorize(passage, governed).await {
            Ok(permit) => permit,
            Err(refusal) => return Err(self.seen(passage, &tool, refusal).await),
        };
        drop(turn);
        self.forward(passage, permit, conversation, about).await
    }

    /// For who could never be permitted the call, no server is asked and no process started.
    async fn check_contact(&self, passage: &Passage<'_>, request: &Request) -> Result<(), Refusal> {
        let is_open = self.links.is_open(passage.caller.instance, &passage.server);
        if passage.era == mcp::Era::Session || is_open {
            return Ok(());
        }
        let call = mcp::ToolCall::from_request(request).map_err(Refusal::Unparsable)?;
        let name = call.name.parse().map_err(|_| Refusal::UnknownTool)?;
        let tool = ToolRef { server: passage.server.clone(), tool: name };
        if self.could_call(passage, &tool).await? {
            Ok(())
        } else {
            Err(self.no_tool(passage, &tool).await)
        }
    }

    /// Binds a tool call to its pinned tool and its validated arguments.
    async fn govern(
        &self,
        passage: &Passage<'_>,
        request: Request,
        resumed: Option<Resumed>,
    ) -> Result<GovernedCall, Refusal> {
        let call = mcp::ToolCall::from_request(&request).map_err(Refusal::Unparsable)?;
        let name = call.name.parse().map_err(|_| Refusal::UnknownTool)?;
        let tool = ToolRef { server: passage.server.clone(), tool: name };
        let Some(found) = self.find(&tool).await? else {
            return Err(self.no_tool(passage, &tool).await);
        };
        if !found.is_pinned() {
            return Err(self.seen(passage, &tool, Refusal::ToolChanged).await);
        }
        let snapshot = self.authority.pip().policy();
        // The set in force may still know the tool as it was before it was pinned again.
        let known = snapshot.snapshot.bundle().tools.get(&tool);
        let pinned = found.descriptor.get("inputSchema");
        if known.is_some_and(|known| pinned.is_some_and(|pinned| *pinned != known.input_schema)) {
            return Err(self.seen(passage, &tool, Refusal::ToolChanged).await);
        }
        let valid = snapshot.snapshot.validate_arguments(&tool, &call.arguments);
        if let Err(invalid) = valid {
            let refusal = Refusal::ArgumentsInvalid(invalid.to_string());
            return Err(self.seen(passage, &tool, refusal).await);
        }
        let param_headers = match param_headers(passage, &found, &call.arguments) {
            Ok(headers) => headers,
            Err(error) => return Err(self.seen(passage, &tool, Refusal::WrongEra(error)).await),
        };
        let wanted = Wanted {
            method: Method::ToolsCall,
            resource: ResourceRef::Tool(tool),
            input: call.arguments,
            name: Some(call.name),
            progress: progress(&request),
            params: request.params,
            param_headers,
            said: None,
            resumed,
        };
        Ok(GovernedCall::new(&passage.caller, wanted, passage.arrived))
    }

    /// Puts `governed` to the authority.
    pub(crate) async fn authorize(
        &self,
        passage: &Passage<'_>,
        governed: GovernedCall,
    ) -> Result<Permit<GovernedCall>, Refusal> {
        let goes_on = governed.goes_on;
        let permit = self.authority.authorize(governed).await;
        // What follows waits for others, and takes nobody's turn.
        passage.place.give_back();
        // A call that goes on brings two things that are good once. A proof that was seen before was
        // refused already, but for one of before a start: then so was the state.
        let used_before = || {
            if goes_on { Refusal::StateRefused } else { self.tokens.replayed(&passage.url) }
        };
        permit.map_err(|reason| match reason {
            NotPermitted::Denied { denial, decision } if denial.is_of_token() => {
                self.tokens.token_needed((denial, decision), &passage.url)
            }
            other => Refusal::of(other, used_before),
        })
    }

    /// Authorizes and begins an act that the gateway does itself.
    pub(crate) async fn begun(
        &self,
        passage: &Passage<'_>,
        request: Request,
    ) -> Result<Begun<GovernedCall>, Refusal> {
        let wanted = Self::wanted(passage, request)?;
        let governed = GovernedCall::new(&passage.caller, wanted, passage.arrived);
        let permit = self.authorize(passage, governed).await?;
        self.tokens.counts(&passage.caller, &passage.url)?;
        let begun = permit.begin(self.authority.clock().as_ref());
        begun.map_err(|error| Refusal::Unavailable(error.to_string()))
    }

    /// The refusal that `passage`'s caller may be told about `tool`: who could never be permitted
    /// to call it learns no more than that there is no such tool.
    async fn seen(&self, passage: &Passage<'_>, tool: &ToolRef, refusal: Refusal) -> Refusal {
        let hides = matches!(
            refusal,
            Refusal::Denied { .. }
                | Refusal::ToolChanged
                | Refusal::ArgumentsInvalid(_)
                | Refusal::WrongEra(_)
        );
        if !hides || self.is_visible(passage, tool).await {
            return refusal;
        }
        if matches!(refusal, Refusal::Denied { .. }) {
            self.authority.asked_for_denied(passage.caller.instance, tool).await;
            return Refusal::UnknownTool;
        }
        self.no_tool(passage, tool).await
    }

    /// The refusal of `tool`, which there is not for `passage`'s caller, and on which nothing was decided: that it asked
    /// for it counts as far as that is not declared of it, whether there is one or not.
    async fn no_tool(&self, passage: &Passage<'_>, tool: &ToolRef) -> Refusal {
        self.authority.asked_for(passage.caller.instance, tool).await;
        Refusal::UnknownTool
    }

    pub(crate) async fn is_visible(&self, passage: &Passage<'_>, tool: &ToolRef) -> bool {
        self.could_call(passage, tool).await.unwrap_or(false)
    }

    async fn could_call(&self, passage: &Passage<'_>, tool: &ToolRef) -> Result<bool, Refusal> {
        let question = catalog::visibility(&passage.caller, tool);
        let circumstances = catalog::circumstances(&passage.caller, Vec::new(), passage.arrived);
        let asked = self.authority.could_permit(&question, &circumstances);
        self.in_time(asked).await
    }

    /// What a question to the authority answers, within the time that a decision may take.
    pub(crate) async fn in_time<T, E: std::fmt::Display>(
        &self,
        asked: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Refusal> {
        let within = self.authority.decision_timeout();
        let answered = tokio::time::timeout(within, asked).await;
        let late = |_| Refusal::Unavailable("no answer within the time limit".to_owned());
        answered.map_err(late)?.map_err(|error| Refusal::Unavailable(error.to_string()))
    }

    async fn find(&self, tool: &ToolRef) -> Result<Option<Arc<Tool>>, Refusal> {
        self.in_time(self.authority.pip().find_tool(tool)).await
    }

    /// Every other decided method: on the server, a resource or a prompt.
    pub(crate) async fn other(
        &self,
        passage: &Passage<'_>,
        mut request: Request,
        about: &About,
    ) -> Result<Reply, Refusal> {
        if passage.route.target.is_shared() && offered::keeps_state(&request.method) {
            return Err(Refusal::UnknownMethod);
        }
        let resumed = self.resume(passage, &mut request).await?;
        let said = Some(said(&request));
        let wanted = Wanted { said, resumed, ..Self::wanted(passage, request)? };
        let governed = GovernedCall::new(&passage.caller, wanted, passage.arrived);
        let permit = self.authorize(passage, governed).await?;
        let conversation = self.conversation(passage).await?;
        if !offered::is_offered(&permit.act().method, conversation.link.era) {
            // The permit closes as not started: there is nothing to forward it as.
            return Err(Refusal::UnknownMethod);
        }
        self.forward(passage, permit, conversation, about).await
    }

    /// What a request other than a tool call is about.
    pub(crate) fn wanted(passage: &Passage<'_>, request: Request) -> Result<Wanted, Refusal> {
        let server = passage.server.clone();
        let target = request.target().map_err(Refusal::Unparsable)?;
        let (resource, name) = match target {
            mcp::Target::Resource { uri } => {
                (ResourceRef::Resource { server, uri: uri.clone() }, Some(uri))
            }
            mcp::Target::Prompt { name } => {
                (ResourceRef::Prompt { server, name: name.clone() }, Some(name))
            }
            mcp::Target::Task { id } => (ResourceRef::Server(server), Some(id)),
            _ => (ResourceRef::Server(server), None),
        };
        let progress = progress(&request);
        let Request { method, params, .. } = request;
        let input = Value::Null;
        Ok(Wanted {
            method,
            resource,
            input,
            name,
            params,
            progress,
            param_headers: Vec::new(),
            said: None,
            resumed: None,
        })
    }

    /// Forwards a permitted call. A conversation that broke is not used again.
    async fn forward(
        &self,
        passage: &Passage<'_>,
        permit: Permit<GovernedCall>,
        conversation: Arc<Conversation>,
        about: &About,
    ) -> Result<Reply, Refusal> {
        let asker = self.asker(passage, &conversation, about, &permit);
        let under_way = self.under_way.enter(passage.call_key(about.id.to_string()));
        // Entered first: whatever counts here is found by who cuts it when it counts no longer.
        self.tokens.counts(&passage.caller, &passage.url)?;
        let way = Way {
            conversation,
            assertions: self.assertions.clone(),
            within: self.limits.call,
            way_back: passage.way_back.clone(),
            _room: passage.room.clone(),
            about: about.clone(),
            under_way,
            asker,
            states: self.states.clone(),
        };
        way.forward(permit, &self.tasks).await
    }

    /// The caller's conversation with the server.
    pub(crate) async fn conversation(
        &self,
        passage: &Passage<'_>,
    ) -> Result<Arc<Conversation>, Refusal> {
        if passage.era == mcp::Era::Session {
            let id = passage.session_id().ok_or(Refusal::NoSession)?;
            let session = self.links.session(id, passage.caller.instance, &passage.server);
            return Ok(session.ok_or(Refusal::NoSession)?.link.clone());
        }
        let opening = || self.opening(passage);
        self.links.of_instance(passage.caller.instance, &passage.server, opening).await
    }

    /// How a conversation for this caller is opened.
    pub(crate) fn opening<'a>(&self, passage: &'a Passage<'_>) -> Opening<'a> {
        let assertion = self.assertion(passage);
        let (askable, declares) = (Askable::NOTHING, Askable::NOTHING);
        Opening {
            route: passage.route,
            server: &passage.server,
            caller: Some(&passage.caller),
            assertion,
            askable,
            declares,
        }
    }

    /// Compares what the server lists with its pins, if that is due or asked for.
    pub(crate) async fn verify(
        &self,
        passage: &Passage<'_>,
        conversation: &Conversation,
        again: bool,
    ) -> Result<(), Refusal> {
        let now = self.authority.clock().monotonic();
        if !again && conversation.is_verified(now) {
            return Ok(());
        }
        let (server, pins) = (&passage.server, self.pins.as_ref());
        let declares = self.most_declared(server, passage.route);
        let comparing = Comparing { server, pins, declares, within: self.limits.call, now };
        conversation.verify(comparing, self.assertion(passage), again).await
    }

    /// An assertion for a message that no decision of its own stands behind. Signing costs: it is
    /// made only for who is shown one.
    pub(crate) fn assertion(&self, passage: &Passage<'_>) -> Option<String> {
        if !passage.route.target.is_shown_assertions() {
            return None;
        }
        let said = Said { task: None, decision: None, arguments: None };
        self.assertions.sign(&passage.route.audience, &passage.caller, said)
    }
}

/// The `Mcp-Param-*` headers that go with a call: made from the arguments that are decided on, never
/// copied from the client, whose own must say the same.
fn param_headers(
    passage: &Passage<'_>,
    tool: &Tool,
    arguments: &Value,
) -> Result<Vec<(HeaderName, HeaderValue)>, mcp::EraError> {
    let schema = tool.descriptor.get("inputSchema").unwrap_or(&Value::Null);
    if passage.era == mcp::Era::Stateless {
        mcp::check_param_headers(passage.headers, schema, arguments)?;
    }
    mcp::param_headers(schema, arguments).map_err(mcp::EraError::Annotation)
}

/// What a method tells its server: policy does not read it, the record commits to it.
fn said(request: &Request) -> Value {
    let params = request.params.as_deref().and_then(|it| serde_json::from_str(it.get()).ok());
    let mut params: Map<String, Value> = params.unwrap_or_default();
    params.retain(|name, _| ![STATE, RESPONSES, "_meta"].contains(&name.as_str()));
    Value::Object(params)
}

/// The token by which the client wants to hear of progress.
fn progress(request: &Request) -> Option<Value> {
    request.meta("progressToken").cloned()
}
