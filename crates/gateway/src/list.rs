//! What a caller is shown: greetings, the tools that it could be permitted to call, and refusals.

use std::sync::Arc;

use authority::Running;
use mcp::{Askable, DenialStyle, Era, Method, Request};
use model::ServerName;
use model::record::OutcomeKind;
use serde_json::{Value, json};

use crate::call::Gateway;
use crate::entry::{About, Passage, result_reply};
use crate::links::{Conversation, McpSession, Opening};
use crate::mcp_id::Id;
use crate::pins::initialize_result;
use crate::refusal::Refusal;
use crate::reply::Reply;

impl Gateway {
    /// Begins an MCP session of the session era.
    pub(crate) async fn initialize(
        &self,
        passage: &Passage<'_>,
        request: Request,
        id: Id,
    ) -> Result<Reply, Refusal> {
        let wanted_version = request.protocol_version();
        let version = mcp::negotiate(wanted_version.as_deref());
        let askable = request.member("capabilities").map(Askable::of).unwrap_or_default();
        let begun = self.begun(passage, request).await?;
        let opened = async {
            let declares = self.could_ask(passage, askable).await?;
            self.links.open(Opening { askable, declares, ..self.opening(passage) }).await
        };
        let conversation = settle(begun.running, opened.await)?;
        let result = initialize_result(&conversation.link.about, conversation.link.era, version);
        let (instance, server) = (passage.caller.instance, passage.server.clone());
        let session = McpSession { instance, server, link: conversation };
        let session = self.links.begin(session, self.authority.entropy().as_ref());
        Ok(result_reply(&id, &result).with("mcp-session-id", session))
    }

    /// Says what the server is, in the stateless era.
    pub(crate) async fn discover(
        &self,
        passage: &Passage<'_>,
        request: Request,
        id: Id,
    ) -> Result<Reply, Refusal> {
        let begun = self.begun(passage, request).await?;
        let conversation = self.conversation(passage).await;
        let conversation = settle(begun.running, conversation)?;
        let about = &conversation.link.about;
        let server = conversation.link.era;
        let result = match server {
            Era::Stateless => mcp::forced_private(about.clone()),
            Era::Session => mcp::discover_from_initialize(about),
        };
        Ok(result_reply(&id, &mcp::only_passed_on(result, Era::Stateless, server)))
    }

    /// Lists the tools that the caller could be permitted to call, all of them at once.
    pub(crate) async fn list(
        &self,
        passage: &Passage<'_>,
        request: Request,
        id: Id,
    ) -> Result<Reply, Refusal> {
        let begun = self.begun(passage, request).await?;
        let tools = settle(begun.running, self.visible_tools(passage).await)?;
        let result = json!({ "tools": tools });
        let result = match passage.era {
            Era::Stateless => mcp::forced_private(mcp::to_stateless(result)),
            Era::Session => result,
        };
        Ok(result_reply(&id, &result))
    }

    async fn visible_tools(&self, passage: &Passage<'_>) -> Result<Vec<Value>, Refusal> {
        let conversation = self.conversation(passage).await?;
        self.verify(passage, &conversation, true).await?;
        let tools = self.in_time(self.authority.pip().tools_of(&passage.server)).await?;
        let mut visible = Vec::new();
        for tool in tools.into_iter().filter(model::Tool::is_pinned) {
            if self.is_visible(passage, &tool.tool).await {
                visible.push(tool.descriptor);
            }
        }
        Ok(visible)
    }

    /// Opens a conversation in order to read what a server offers, before any agent may.
    pub(crate) async fn open_for_onboarding(
        &self,
        server: &ServerName,
        assert: bool,
    ) -> Result<Arc<Conversation>, Refusal> {
        let route = self.route(server).ok_or(Refusal::UnknownTool)?;
        let assertion = self.onboarding_assertion(server, assert);
        let declares = self.most_declared(server, route);
        let askable = Askable::default();
        let opening = Opening { route, server, caller: None, assertion, askable, declares };
        self.links.open(opening).await
    }
}

/// Says how an act of the gateway itself went.
fn settle<T>(running: Running, done: Result<T, Refusal>) -> Result<T, Refusal> {
    let kind = if done.is_ok() { OutcomeKind::Returned } else { OutcomeKind::Failed };
    running.finish(kind, None);
    done
}

/// The answer that tells of `refusal`, in the form that the request's era and the server want.
pub(crate) fn refusal_reply(refusal: &Refusal, about: &About, style: Option<DenialStyle>) -> Reply {
    let error = |status, code: i64, message: &str| {
        let id = &about.id;
        let error = json!({ "code": code, "message": message });
        Reply::json(status, format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{error}}}"))
    };
    let told = || {
        let (style, is_call) = (style.unwrap_or_default(), about.method == Some(Method::ToolsCall));
        mcp::refusal(&refusal.told(), Some(&about.id.to_string()), is_call, (about.era, style))
    };
    match refusal {
        Refusal::Unauthenticated { challenge, nonce, .. } => {
            challenged(error(401, -32_001, "not authenticated"), (challenge, nonce.as_deref()))
        }
        Refusal::TokenNeeded { challenge, nonce, .. } => {
            let (_, body) = told();
            challenged(Reply::json(401, body), (challenge, nonce.as_deref()))
        }
        Refusal::Unparsable(reason) => {
            let (status, code) = reason.answer();
            error(status, code, &reason.to_string())
        }
        Refusal::WrongEra(reason) => {
            let (status, body) = reason.answer(&about.id.to_string());
            Reply::json(status, body)
        }
        Refusal::Unasked => error(400, -32_600, "nothing was asked that this could answer"),
        Refusal::NoSession => error(404, -32_001, "there is no such MCP session: initialize again"),
        Refusal::UnknownMethod => {
            error(mcp::error_status(-32_601, about.era), -32_601, "method not found")
        }
        Refusal::StateRefused => error(400, -32_602, "`requestState` is not good for this call"),
        Refusal::TooMany(_) => error(503, -32_603, "too much is under way: try again later"),
        _ => {
            let (status, body) = told();
            Reply::json(status, body)
        }
    }
}

/// The same, which demands that the client shows something else.
fn challenged(reply: Reply, (challenge, nonce): (&str, Option<&str>)) -> Reply {
    let reply = reply.with("www-authenticate", challenge);
    nonce.iter().fold(reply, |reply, nonce| reply.with("dpop-nonce", *nonce))
}
