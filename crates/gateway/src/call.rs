//! The gateway: one request in, one reply out, refused unless permitted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use authority::{Authority, RefusalLog};
use bytes::Bytes;
use http::HeaderMap;
use mcp::{Era, Message, Method, Request};
use model::{ResourceRef, ServerName, Tool, ToolRef};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::assertion::Said;
use crate::authenticate::{Caller, Tokens};
use crate::catalog::{self, GovernedCall, Route, Routes, Wanted};
use crate::forward::Way;
use crate::links::{Conversation, LinkLimits, Links};
use crate::mcp_id::Id;
use crate::pins::PinChange;
use crate::refusal::Refusal;
use crate::reply::Reply;
use crate::{Assertions, upstream};

/// What is refused beyond, and how long it waits.
#[derive(Clone, Copy, Debug)]
pub struct GatewayLimits {
    /// For conversations with upstreams.
    pub links: LinkLimits,
    /// How long a call may take.
    pub call: Duration,
    /// The largest body, in bytes.
    pub body: usize,
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
    tokens: Tokens,
    assertions: Assertions,
    routes: Routes,
    pins: Arc<dyn PinChange>,
    refusals: RefusalLog,
    pub(crate) links: Links,
    under_way: Arc<Mutex<HashMap<CallKey, CancellationToken>>>,
    limits: GatewayLimits,
    tasks: TaskTracker,
}

/// One HTTP request to `/mcp/{server}`.
pub struct HttpCall<'a> {
    /// The server named in the path.
    pub server: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The body, already within its limit.
    pub body: Bytes,
    /// When it arrived, on the monotonic clock.
    pub arrived: Duration,
}

/// Names a call under way: whose, where, and under which id of the client's.
pub(crate) type CallKey = (model::InstanceId, Option<String>, String);

/// A call under way, by which a cancellation finds it. Forgotten when dropped.
pub(crate) struct UnderWay {
    key: CallKey,
    token: CancellationToken,
    all: Arc<Mutex<HashMap<CallKey, CancellationToken>>>,
}

impl UnderWay {
    pub(crate) async fn cancelled(&self) {
        self.token.cancelled().await;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.all.lock().expect("no panic while it is held").remove(&self.key);
    }
}

/// What is known of a request for answering it.
pub(crate) struct About {
    pub(crate) id: Id,
    pub(crate) era: Era,
    pub(crate) method: Option<Method>,
}

/// One authenticated request on its way through.
pub(crate) struct Passage<'a> {
    pub(crate) caller: Caller,
    pub(crate) server: ServerName,
    pub(crate) route: &'a Route,
    pub(crate) era: Era,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) arrived: Duration,
    pub(crate) url: String,
}

impl Gateway {
    /// A gateway of these parts.
    pub fn new(parts: GatewayParts) -> Result<Self, std::io::Error> {
        let client = upstream::client()?;
        let links = Links::new(client, parts.environment, parts.limits.links, parts.tasks.clone());
        Ok(Self {
            authority: parts.authority,
            tokens: parts.tokens,
            assertions: parts.assertions,
            routes: parts.routes,
            pins: parts.pins,
            refusals: RefusalLog::default(),
            links,
            under_way: Arc::default(),
            limits: parts.limits,
            tasks: parts.tasks,
        })
    }

    /// Answers a POST.
    pub async fn post(&self, http: HttpCall<'_>) -> Reply {
        let mut about = About { id: Id::null(), era: Era::Session, method: None };
        let mut caller = None;
        match self.handle(&http, &mut about, &mut caller).await {
            Ok(reply) => reply,
            Err(refusal) => self.refuse(&http, &refusal, &about, caller.as_ref()),
        }
    }

    /// Answers a DELETE: ends an MCP session.
    pub fn delete(&self, http: &HttpCall<'_>) -> Reply {
        let about = About { id: Id::null(), era: Era::Session, method: None };
        let ended = self.passage(http, Era::Session, "DELETE").and_then(|passage| {
            self.tokens.use_in_memory(&passage.caller, &passage.url)?;
            let id = session_id(http.headers).ok_or(Refusal::NoSession)?;
            let session = self.links.session(id, passage.caller.instance, &passage.server);
            session.ok_or(Refusal::NoSession)?;
            self.links.end(id);
            Ok(Reply::empty(204))
        });
        ended.unwrap_or_else(|refusal| self.refuse(http, &refusal, &about, None))
    }

    /// The way to `server`, if one is configured.
    pub fn route(&self, server: &ServerName) -> Option<&Route> {
        self.routes.get(server)
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

    async fn handle(
        &self,
        http: &HttpCall<'_>,
        about: &mut About,
        caller: &mut Option<Caller>,
    ) -> Result<Reply, Refusal> {
        let limits = mcp::Limits { bytes: self.limits.body, ..mcp::Limits::default() };
        let message = mcp::parse_message(&http.body, &limits).map_err(Refusal::Unparsable)?;
        about.era = mcp::era_of(http.headers, &message);
        if let Message::Request(request) = &message {
            about.id = Id::of(request.id_raw());
            about.method = Some(request.method.clone());
        }
        let passage = self.passage(http, about.era, "POST")?;
        *caller = Some(passage.caller.clone());
        mcp::check_era(http.headers, &message, about.era).map_err(Refusal::WrongEra)?;
        match message {
            Message::Request(request) => self.request(&passage, request, about.id.clone()).await,
            Message::Notification(notification) => {
                self.tokens.use_in_memory(&passage.caller, &passage.url)?;
                self.notified(&passage, &notification);
                Ok(Reply::empty(202))
            }
            Message::Response(_) => Err(Refusal::UnknownMethod),
        }
    }

    /// Authenticates; only then is it told whether there is such a server.
    fn passage<'a>(
        &'a self,
        http: &HttpCall<'a>,
        era: Era,
        method: &str,
    ) -> Result<Passage<'a>, Refusal> {
        let url = format!("{}/mcp/{}", self.tokens.issuer, http.server);
        let caller = self.tokens.authenticate(http.headers, method, &url)?;
        let server: ServerName = http.server.parse().map_err(|_| Refusal::UnknownTool)?;
        let route = self.routes.get(&server).ok_or(Refusal::UnknownTool)?;
        let (headers, arrived) = (http.headers, http.arrived);
        Ok(Passage { caller, server, route, era, headers, arrived, url })
    }

    async fn request(
        &self,
        passage: &Passage<'_>,
        request: Request,
        id: Id,
    ) -> Result<Reply, Refusal> {
        match &request.method {
            Method::Ping => {
                self.tokens.use_in_memory(&passage.caller, &passage.url)?;
                Ok(result_reply(&id, &mcp::ping_result(passage.era)))
            }
            Method::Initialize => self.initialize(passage, request, id).await,
            Method::Discover => self.discover(passage, request, id).await,
            Method::ToolsList => self.list(passage, request, id).await,
            Method::ToolsCall => self.call(passage, request, id).await,
            Method::Unknown(_) => Err(Refusal::UnknownMethod),
            _ => self.other(passage, request, id).await,
        }
    }

    /// A tool call: governed, authorized, forwarded.
    async fn call(
        &self,
        passage: &Passage<'_>,
        request: Request,
        id: Id,
    ) -> Result<Reply, Refusal> {
        let conversation = self.conversation(passage).await?;
        self.verify(passage, &conversation, false).await?;
        let governed = self.govern(passage, request).await?;
        let tool = match &authority::Governed::request(&governed).resource {
            ResourceRef::Tool(tool) => tool.clone(),
            _ => return Err(Refusal::UnknownTool),
        };
        let permit = match self.authority.authorize(governed).await {
            Ok(permit) => permit,
            Err(reason) => return Err(self.seen(passage, &tool, reason.into()).await),
        };
        self.forward(passage, permit, conversation, id).await
    }

    /// Binds a tool call to its pinned tool and its validated arguments.
    async fn govern(
        &self,
        passage: &Passage<'_>,
        request: Request,
    ) -> Result<GovernedCall, Refusal> {
        let call = mcp::ToolCall::from_request(&request).map_err(Refusal::Unparsable)?;
        let name = call.name.parse().map_err(|_| Refusal::UnknownTool)?;
        let tool = ToolRef { server: passage.server.clone(), tool: name };
        let found = self.find(&tool).await?.ok_or(Refusal::UnknownTool)?;
        if !found.is_pinned() {
            return Err(self.seen(passage, &tool, Refusal::ToolChanged).await);
        }
        let snapshot = self.authority.pip().policy();
        let valid = snapshot.snapshot.validate_arguments(&tool, &call.arguments);
        if let Err(invalid) = valid {
            let refusal = Refusal::ArgumentsInvalid(invalid.to_string());
            return Err(self.seen(passage, &tool, refusal).await);
        }
        let wanted = Wanted {
            method: Method::ToolsCall,
            resource: ResourceRef::Tool(tool),
            input: call.arguments,
            name: Some(call.name),
            params: request.params,
        };
        Ok(GovernedCall::new(&passage.caller, wanted, passage.arrived))
    }

    /// The refusal that `passage`'s caller may be told about `tool`: who could never be permitted
    /// to call it learns no more than that there is no such tool.
    async fn seen(&self, passage: &Passage<'_>, tool: &ToolRef, refusal: Refusal) -> Refusal {
        let hides = matches!(
            refusal,
            Refusal::Denied { .. } | Refusal::ToolChanged | Refusal::ArgumentsInvalid(_)
        );
        if !hides || self.is_visible(passage, tool).await { refusal } else { Refusal::UnknownTool }
    }

    pub(crate) async fn is_visible(&self, passage: &Passage<'_>, tool: &ToolRef) -> bool {
        let question = catalog::visibility(&passage.caller, tool);
        let circumstances = catalog::circumstances(&passage.caller, Vec::new(), passage.arrived);
        self.authority.could_permit(&question, &circumstances).await.unwrap_or(false)
    }

    async fn find(&self, tool: &ToolRef) -> Result<Option<Arc<Tool>>, Refusal> {
        let found = self.authority.pip().find_tool(tool).await;
        found.map_err(|error| Refusal::Unavailable(error.to_string()))
    }

    /// Every other decided method: on the server, a resource or a prompt.
    async fn other(
        &self,
        passage: &Passage<'_>,
        request: Request,
        id: Id,
    ) -> Result<Reply, Refusal> {
        let wanted = Self::wanted(passage, request)?;
        let governed = GovernedCall::new(&passage.caller, wanted, passage.arrived);
        let permit = self.authority.authorize(governed).await?;
        let conversation = self.conversation(passage).await?;
        self.forward(passage, permit, conversation, id).await
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
        let Request { method, params, .. } = request;
        Ok(Wanted { method, resource, input: Value::Null, name, params })
    }

    /// Forwards a permitted call. A conversation that broke is not used again.
    async fn forward(
        &self,
        passage: &Passage<'_>,
        permit: authority::Permit<GovernedCall>,
        conversation: Arc<Conversation>,
        id: Id,
    ) -> Result<Reply, Refusal> {
        let way = self.way(passage, conversation, id);
        let reply = way.forward(permit, self.authority.clock().as_ref(), &self.tasks).await;
        let broke =
            matches!(reply, Err(Refusal::UpstreamFailed { .. } | Refusal::OutcomeUnknown { .. }));
        if broke && passage.era == Era::Stateless {
            self.links.forget(passage.caller.instance, &passage.server);
        }
        reply
    }

    /// The caller's conversation with the server.
    pub(crate) async fn conversation(
        &self,
        passage: &Passage<'_>,
    ) -> Result<Arc<Conversation>, Refusal> {
        match passage.era {
            Era::Session => {
                let id = session_id(passage.headers).ok_or(Refusal::NoSession)?;
                let session = self.links.session(id, passage.caller.instance, &passage.server);
                Ok(session.ok_or(Refusal::NoSession)?.link.clone())
            }
            Era::Stateless => {
                let place = (&passage.server, passage.route);
                let assertion = self.assertion(passage);
                self.links.of_instance(passage.caller.instance, place, assertion).await
            }
        }
    }

    /// Compares what the server lists with its pins, if that is due.
    pub(crate) async fn verify(
        &self,
        passage: &Passage<'_>,
        conversation: &Conversation,
        again: bool,
    ) -> Result<(), Refusal> {
        let now = self.authority.clock().monotonic();
        let pins = (&passage.server, self.pins.as_ref());
        conversation.verify(pins, self.assertion(passage), now, again).await
    }

    /// An assertion for a message that no decision of its own stands behind.
    pub(crate) fn assertion(&self, passage: &Passage<'_>) -> Option<String> {
        let said =
            Said { instance: passage.caller.instance, task: None, decision: None, arguments: None };
        self.assertions.sign(&passage.route.audience, passage.caller.agent.as_str(), said)
    }

    pub(crate) fn way(
        &self,
        passage: &Passage<'_>,
        conversation: Arc<Conversation>,
        id: Id,
    ) -> Way {
        let session = session_id(passage.headers).map(str::to_owned);
        let key = (passage.caller.instance, session, id.to_string());
        let token = CancellationToken::new();
        let all = self.under_way.clone();
        all.lock().expect("no panic while it is held").insert(key.clone(), token.clone());
        Way {
            route: passage.route.clone(),
            conversation,
            assertions: self.assertions.clone(),
            within: self.limits.call,
            era: passage.era,
            id,
            under_way: UnderWay { key, token, all },
        }
    }

    /// Takes note of a notification. Only a cancellation means anything to us.
    fn notified(&self, passage: &Passage<'_>, notification: &mcp::Notification) {
        let Some(id) = notification.cancelled_id() else { return };
        let session = session_id(passage.headers).map(str::to_owned);
        let key = (passage.caller.instance, session, id);
        let under_way = self.under_way.lock().expect("no panic while it is held");
        under_way.get(&key).into_iter().for_each(CancellationToken::cancel);
    }

    /// Answers a refusal, and records it unless a decision record tells of it already.
    fn refuse(
        &self,
        http: &HttpCall<'_>,
        refusal: &Refusal,
        about: &About,
        caller: Option<&Caller>,
    ) -> Reply {
        if !refusal.is_decided() {
            let caller = caller.map(|caller| (caller.agent.clone(), caller.instance));
            let place = (catalog::POINT, refusal.cause());
            if let Some(unit) = self.refusals.refuse(&self.authority, place, caller) {
                let store = self.authority.journal().store().clone();
                self.tasks.spawn(async move {
                    if let Err(error) = store.commit(unit).await {
                        tracing::warn!(%error, "could not record a refusal");
                    }
                });
            }
        }
        let server = http.server.parse::<ServerName>().ok();
        let route = server.and_then(|server| self.routes.get(&server));
        crate::list::refusal_reply(refusal, about, route.map(|route| route.denials))
    }
}

/// The MCP session id of the session era, if there is one.
pub(crate) fn session_id(headers: &HeaderMap) -> Option<&str> {
    headers.get("mcp-session-id")?.to_str().ok()
}

/// A JSON-RPC result.
pub(crate) fn result_reply(id: &Id, result: &Value) -> Reply {
    Reply::json(200, format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}"))
}
