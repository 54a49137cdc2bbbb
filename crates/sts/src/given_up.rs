//! Tokens that are given up (RFC 7009), and what one says of itself (RFC 7662).
//!
//! A token is an instance's hold on its task: giving it up ends the task, and with it every token,
//! and every part that was handed on. Both are for the agent alone that the token was issued to: to
//! everybody else, no token is active. A refresh token is as good for that as the last token that
//! came with it, and a client that is known by its document gives up what it has by showing it.

use authority::{
    Actor, Circumstances, CommitError, Effect, Ending, FactsError, NotPermitted, OnceScope, Unit,
};
use model::{
    AccessRequest, ActionName, Agent, Binding, FactKey, Family, Instance, InstanceId, Principal,
    ResourceRef, ServerName, TaskEnd,
};
use oauth::access_token::{AccessTokenClaims, Unverified};
use oauth::exchange;
use oauth::revocation::{self, Outcome, Revoker};
use oauth::{ErrorCode, OAuthError};
use serde_json::{Value, json};

use crate::asker::taking_up;
use crate::client::Authenticated;
use crate::family;
use crate::grant::{self, POINT};
use crate::mint::token_type;
use crate::not_permitted::{not_committed, not_noted};
use crate::service::{TokenHttpRequest, TokenRefusal, TokenService, before, once, unavailable};

impl TokenService {
    /// Ends the task that a token belongs to (RFC 7009 §2). What is no token, or no longer one, is
    /// as good as given up.
    pub async fn revoke(&self, http: TokenHttpRequest<'_>) -> Result<(), OAuthError> {
        self.within(http, self.revoked(http)).await
    }

    /// What a token says of itself (RFC 7662 §2): nothing but that it is not active, where it is not
    /// or where somebody else asks.
    pub async fn introspect(&self, http: TokenHttpRequest<'_>) -> Result<Value, OAuthError> {
        self.within(http, Box::pin(self.introspected(http))).await
    }

    async fn revoked(&self, http: TokenHttpRequest<'_>) -> Result<(), TokenRefusal> {
        let form = revocation::parse_revocation(http.form).map_err(before("malformed"))?;
        let (agent, uses, shown) = match &form.by {
            Revoker::Agent(client) => {
                let at = self.agent_at("/oauth/revoke", (&http, client)).await?;
                (at.agent, at.uses, at.shown)
            }
            Revoker::Client(id) => (self.registered(id).await?, Vec::new(), None),
        };
        let (is_public, mut uses) = (matches!(form.by, Revoker::Client(_)), uses);
        let instance = match self.own(&agent, &form.token).await? {
            Own::Yes(own) => {
                if let (true, Some(key)) = (is_public, own.0.bound_to()) {
                    uses.push(self.held(&http, (key, &agent))?);
                }
                own.1
            }
            Own::Refresh(instance, _) => instance.id,
            // A delegation is the agent's own, not one of those that its client has.
            Own::None if is_public => return Ok(()),
            Own::None => {
                self.used_up(&agent, uses).await?;
                return self.delegation_given_up(&agent, &form.token).await;
            }
            Own::OfAnother => {
                let why = "the token was issued to another client";
                let error = OAuthError::new(ErrorCode::InvalidRequest, why);
                return Err(TokenRefusal::of("token_of_another", error, &agent));
            }
        };
        let how = match form.outcome {
            Outcome::Completed => TaskEnd::Completed,
            Outcome::Failed => TaskEnd::Failed,
            Outcome::Changed => TaskEnd::Changed,
        };
        let workload = shown.map(|shown| shown.identity.id());
        let ending = Ending { instance, how, uses, workload };
        self.authority.end_task(ending).await.map_err(|error| not_noted(error, &agent))
    }

    /// The use of the proof that a client holds the `key` to which its token is bound: it has shown
    /// nothing else of itself.
    fn held(
        &self,
        http: &TokenHttpRequest<'_>,
        (key, agent): ([u8; 32], &Agent),
    ) -> Result<Effect, TokenRefusal> {
        let proof = self.proof(http.dpop, "/oauth/revoke")?;
        if proof.thumbprint == key {
            return Ok(once(OnceScope::Proof, &proof.thumbprint, &proof.jti, proof.iat));
        }
        let why = "the token is bound to another key";
        let error = OAuthError::new(ErrorCode::InvalidDpopProof, why);
        Err(TokenRefusal::of("holder_absent", error, agent))
    }

    async fn introspected(&self, http: TokenHttpRequest<'_>) -> Result<Value, TokenRefusal> {
        let form = revocation::parse_introspection(http.form).map_err(before("malformed"))?;
        let Authenticated { agent, uses, .. } =
            self.agent_at("/oauth/introspect", (&http, &form.client)).await?;
        self.used_up(&agent, uses).await?;
        let inactive = || json!({ "active": false });
        let (mut said, instance, server, binding) = match self.own(&agent, &form.token).await? {
            Own::Yes(own) if own.0.exp > self.authority.clock().now().as_seconds() => {
                let (claims, instance) = *own;
                let Ok(server) = self.server(&claims.aud) else { return Ok(inactive()) };
                let binding = if claims.cnf.is_some() { Binding::Dpop } else { Binding::None };
                let kind = token_type(&claims);
                let said = serde_json::to_value(claims).expect("claims are a map with text keys");
                (with(said, "token_type", kind), instance, server, binding)
            }
            Own::Refresh(instance, family)
                if family.is_last(&form.token) && family.is_of(&agent) =>
            {
                let (iss, aud) = (&self.minter.issuer, self.audience_of(&family.server));
                let said = json!({ "iss": iss, "aud": aud, "client_id": agent.name });
                let said = with(said, "token_type", "refresh_token");
                (said, instance.id, family.server, grant::binding(instance.key))
            }
            _ => return Ok(inactive()),
        };
        if !self.would_issue((instance, server), binding, &http).await? {
            return Ok(inactive());
        }
        said["active"] = true.into();
        Ok(said)
    }

    /// Whether the instance would be given the token again.
    async fn would_issue(
        &self,
        (instance, server): (InstanceId, ServerName),
        binding: Binding,
        http: &TokenHttpRequest<'_>,
    ) -> Result<bool, TokenRefusal> {
        let request = AccessRequest {
            principal: Principal::Instance(instance),
            action: ActionName::method("token/issue"),
            resource: ResourceRef::Server(server),
            input: Value::Null,
        };
        let circumstances = Circumstances {
            actor: Actor::Known(instance),
            binding,
            token: None,
            point: POINT,
            arrived: http.arrived,
            trace: None,
            uses: Vec::new(),
            enclosed: Vec::new(),
        };
        match self.authority.could_permit(&request, &circumstances).await {
            Ok(could) => Ok(could),
            Err(NotPermitted::FactsUnavailable(error)) => Err(unavailable(error)),
            Err(_) => Err(unavailable(FactsError::Changed)),
        }
    }

    /// Whose `token` is, seen by `agent`.
    async fn own(&self, agent: &Agent, token: &str) -> Result<Own, TokenRefusal> {
        let now = self.authority.clock().now().as_seconds();
        let claims = Unverified::read(token).and_then(|token| {
            let audience = token.audience()?;
            token.verified_ever(&self.keys, (self.minter.issuer.as_str(), &audience), now)
        });
        let Some(claims) = claims.ok().filter(|claims| self.server(&claims.aud).is_ok()) else {
            return self.own_refresh(agent, token).await;
        };
        if claims.client_id != agent.name.as_str() {
            return Ok(Own::OfAnother);
        }
        Ok(match claims.instance().parse() {
            Ok(instance) => Own::Yes(Box::new((claims, instance))),
            Err(_) => Own::None,
        })
    }

    /// The same, if it is a refresh token: the last one, or one that was used.
    async fn own_refresh(&self, agent: &Agent, token: &str) -> Result<Own, TokenRefusal> {
        let Some(place) = family::place_of(token) else { return Ok(Own::None) };
        let mut reader = self.authority.pip().reader();
        let Some(family) = reader.find::<Family>(place).await.map_err(unavailable)? else {
            return Ok(Own::None);
        };
        let instance = reader.need::<Instance>(FactKey::instance(family.instance)).await;
        let instance = instance.map_err(unavailable)?;
        if instance.agent != agent.name {
            return Ok(Own::OfAnother);
        }
        Ok(Own::Refresh(Box::new(instance), family))
    }

    /// Uses up a delegation that `agent` made, if `token` is one: nobody takes it up any more.
    async fn delegation_given_up(&self, agent: &Agent, token: &str) -> Result<(), TokenRefusal> {
        let now = self.authority.clock().now().as_seconds();
        let read = exchange::verify(token, &self.keys, &self.minter.issuer, now).ok();
        let own = read.filter(|made| made.client_id == agent.name.as_str());
        let Some(made) = own else { return Ok(()) };
        let unit = Unit { effects: vec![taking_up(&made)], ..Unit::default() };
        match self.authority.journal().store().commit(unit).await {
            // It was taken up before: what came of that is a task, and ends as one.
            Ok(_) | Err(CommitError::Used(_)) => Ok(()),
            Err(error) => Err(not_committed(error, agent)),
        }
    }

    /// Uses up that by which `agent` asked, where nothing else is changed.
    async fn used_up(&self, agent: &Agent, effects: Vec<Effect>) -> Result<(), TokenRefusal> {
        if effects.is_empty() {
            return Ok(());
        }
        let unit = Unit { effects, ..Unit::default() };
        let committed = self.authority.journal().store().commit(unit).await;
        committed.map(drop).map_err(|error| not_committed(error, agent))
    }
}

/// Whose a token is, seen by who shows it.
enum Own {
    /// Its own, of this instance.
    Yes(Box<(AccessTokenClaims, InstanceId)>),
    /// A refresh token of its own, of this instance.
    Refresh(Box<Instance>, Family),
    /// It is no token of ours.
    None,
    /// Another agent's.
    OfAnother,
}

/// `said`, and that `name` is `value`.
fn with(mut said: Value, name: &str, value: &str) -> Value {
    said[name] = value.into();
    said
}
