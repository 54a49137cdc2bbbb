//! Authorization requests (RFC 6749 §4.1.1): a client sends a person here, with what it asks them for.
//!
//! INVARIANT: a browser is sent to no place that the client's own document does not name
//! (`n_079_nobody_is_sent_anywhere_before_the_redirect_uri_is_known_to_be_the_clients`).

use std::collections::BTreeSet;

use model::{
    Agent, ConsentId, FactKey, Harm, PersonId, Purpose, PurposeId, Scope, SentBy, ServerName,
    Sha256Digest, Thumbprint, ToolPattern,
};
use oauth::authorization_code::{self, Asked, AuthorizationRequest, Narrowed};
use oauth::consent::{self, SubjectId};
use oauth::initiation::AskedTask;
use oauth::redirect_uri::RedirectUri;
use oauth::{ErrorCode, OAuthError};

use crate::client;
use crate::proposed::TASK_LIFETIME;
use crate::pushed::Wanted;
use crate::service::{
    TokenHttpRequest, TokenRefusal, TokenService, before, no_such_resource, unavailable,
};

/// An authorization request of a client that is registered; whether it holds is not known yet.
#[derive(Debug)]
pub struct Authorizing {
    request: AuthorizationRequest,
    agent: Agent,
}

/// Why nobody is asked.
#[derive(Debug)]
pub enum NotAuthorized {
    /// The person alone is told: where the client would hear of it is not known.
    Told(OAuthError),
    /// The client is told: where the browser is sent to (RFC 6749 §4.1.2.1).
    Sent(String),
}

impl TokenService {
    /// Reads the query of `http`, an authorization request, as far as that needs nobody to be logged
    /// in and nothing to be fetched.
    pub async fn authorizing(&self, http: TokenHttpRequest<'_>) -> Result<Authorizing, OAuthError> {
        let read = async {
            let request = authorization_code::parse(http.form).map_err(before("malformed"))?;
            let agent = self.registered(&request.client_id).await?;
            Ok(Authorizing { request, agent })
        };
        self.within(http, read).await
    }

    /// Keeps what is asked of `person`, until they have answered.
    pub async fn ask(
        &self,
        http: TokenHttpRequest<'_>,
        Authorizing { request, agent }: Authorizing,
        person: &PersonId,
    ) -> Result<ConsentId, NotAuthorized> {
        let told = |refusal| NotAuthorized::Told(self.told(http, refusal));
        let document = match self.document(&agent).await {
            Ok(document) => document,
            Err(refusal) => return Err(told(refusal)),
        };
        let redirect = RedirectUri::parse(&request.redirect_uri);
        let Some(redirect) = redirect.filter(|asked| document.admits(asked)) else {
            let why = "the client has no such `redirect_uri`: nobody is sent there";
            let error = OAuthError::new(ErrorCode::InvalidRequest, why);
            return Err(told(TokenRefusal::of("redirect_uri_unknown", error, &agent)));
        };
        let AuthorizationRequest { client_id, redirect_uri, state, asked } = request;
        let asked = async {
            let malformed = |error| TokenRefusal::of("authorization_malformed", error, &agent);
            let Asked { challenge, resource, narrowed, jkt } = asked.map_err(malformed)?;
            let (server, wanted) = self.wanted(&agent, (&resource, &narrowed)).await?;
            let sub_id = Some(SubjectId::Opaque { id: person.to_string() });
            let wanted = consent::Asked { sub_id, ..wanted };
            let scope = match narrowed {
                Narrowed::Tools(scope) => Some(scope),
                Narrowed::Not | Narrowed::Task(_) => None,
            };
            let client = agent.client.as_ref().ok_or_else(client::unknown)?;
            let sent = SentBy {
                client_id,
                since: client.since,
                name: document.name.clone(),
                redirect_uri,
                state: state.clone(),
                challenge: Sha256Digest::from_bytes(challenge),
                server,
                scope,
                bound: document.bound,
                jkt: jkt.map(Thumbprint::from_bytes),
                code: None,
            };
            let asked = self.ask_for(&agent, Wanted::Sent(&wanted, &sent), (None, &[])).await?;
            Ok(asked.id)
        };
        self.within(http, asked).await.map_err(|error| {
            let issuer = self.minter.issuer.as_str();
            NotAuthorized::Sent(authorization_code::refused(
                &redirect,
                &error,
                (state.as_deref(), issuer),
            ))
        })
    }

    /// The server that the token will be for, and what is asked for there: all that `agent` may have,
    /// or less.
    async fn wanted(
        &self,
        agent: &Agent,
        (resource, narrowed): (&str, &Narrowed),
    ) -> Result<(ServerName, consent::Asked), TokenRefusal> {
        let target = |error| TokenRefusal::of("unknown_resource", error, agent);
        let server = self.server(resource).map_err(target)?;
        let scope = |cause, why: &str| {
            TokenRefusal::of(cause, OAuthError::new(ErrorCode::InvalidScope, why), agent)
        };
        let wanted = match narrowed {
            Narrowed::Task(asked) => asked.as_ref().clone(),
            Narrowed::Not => {
                beside_tools(self.all_of(agent, only_purpose(agent)?, &server).await?, &server)
            }
            Narrowed::Tools(text) => {
                let all = self.all_of(agent, only_purpose(agent)?, &server).await?;
                let tools = text.split(' ').map(str::to_owned).collect();
                beside_tools(AskedTask { tools, ..all }, &server)
            }
        };
        let is_there = |tool: &String| {
            tool.parse::<ToolPattern>().is_ok_and(|pattern| *pattern.server() == server)
        };
        if !wanted.task.tools.iter().all(is_there) {
            let why = "a scope is a tool of the server that `resource` names, or all: `SERVER/*`";
            return Err(scope("scope_elsewhere", why));
        }
        Ok((server, wanted))
    }

    /// All that `agent` may have at `server`, for the purpose `id` and one task.
    pub(crate) async fn all_of(
        &self,
        agent: &Agent,
        id: &PurposeId,
        server: &ServerName,
    ) -> Result<AskedTask, TokenRefusal> {
        let mut reader = self.authority.pip().reader();
        let purpose: Purpose = reader.need(FactKey::purpose(id)).await.map_err(unavailable)?;
        let tools = tools_at(server, [&purpose.scope, &agent.ceiling]);
        if tools.is_empty() {
            // As if there were no such server: what there is and what is not theirs look the same.
            let error = no_such_resource();
            return Err(TokenRefusal::of("unknown_resource", error, agent));
        }
        let harm = purpose.scope.harm.intersection(&agent.ceiling.harm);
        let least = |of: fn(&Scope) -> Option<u64>| {
            [&purpose.scope, &agent.ceiling].into_iter().filter_map(of).min()
        };
        Ok(AskedTask {
            kind: "agent_task".to_owned(),
            purpose: id.to_string(),
            tools: tools.iter().map(ToString::to_string).collect(),
            harm: harm.copied().map(Harm::as_str).map(str::to_owned).collect(),
            objects: Vec::new(),
            max_calls: least(|scope| scope.max_calls),
            max_tasks_a_day: least(|scope| scope.max_tasks_a_day),
            until: self.authority.clock().now().plus(TASK_LIFETIME).as_seconds(),
        })
    }
}

/// The one purpose of `agent`, if it has no other.
fn only_purpose(agent: &Agent) -> Result<&PurposeId, TokenRefusal> {
    let mut purposes = agent.purposes.iter();
    if let (Some(only), None) = (purposes.next(), purposes.next()) {
        return Ok(only);
    }
    let why = "name one of the agent's purposes in `authorization_details`";
    let error = OAuthError::new(ErrorCode::InvalidScope, why);
    Err(TokenRefusal::of("unknown_purpose", error, agent))
}

/// What a client or an agent that says no more asks for: `task`, and, with all tools of `server`, its resources and
/// prompts. It hands nothing on.
pub(crate) fn beside_tools(task: AskedTask, server: &ServerName) -> consent::Asked {
    let all = format!("{server}/*");
    let resources = task.tools.iter().filter(|tool| **tool == all).cloned().collect();
    consent::Asked { task, resources, delegable: false, sub_id: None }
}

/// The tools of `server` that both scopes hold.
fn tools_at<'a>(server: &ServerName, [one, other]: [&'a Scope; 2]) -> BTreeSet<&'a ToolPattern> {
    let held = |scope: &'a Scope, by: &'a Scope| {
        let is_held = |tool: &&ToolPattern| by.tools.iter().any(|pattern| pattern.includes(tool));
        scope.tools.iter().filter(move |tool| tool.server() == server && is_held(tool))
    };
    held(one, other).chain(held(other, one)).collect()
}
