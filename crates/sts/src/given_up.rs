//! Tokens that are given up (RFC 7009), and what one says of itself (RFC 7662).
//!
//! A token is an instance's hold on its task: giving it up ends the task, and with it every token,
//! and every part that was handed on. Both are for the agent alone that the token was issued to: to
//! everybody else, no token is active.

use authority::{
    Actor, Circumstances, CommitError, Effect, Ending, FactsError, NotPermitted, NotStopped, Unit,
};
use model::{
    AccessRequest, ActionName, Agent, Binding, InstanceId, Principal, ResourceRef, TaskEnd,
};
use oauth::access_token::{self, AccessTokenClaims};
use oauth::exchange;
use oauth::revocation::{self, Outcome};
use oauth::{ErrorCode, OAuthError};
use serde_json::{Value, json};

use crate::asker::taking_up;
use crate::client::Authenticated;
use crate::grant::POINT;
use crate::service::{TokenHttpRequest, TokenRefusal, TokenService, before, refused, unavailable};

impl TokenService {
    /// Ends the task that a token belongs to (RFC 7009 §2). What is no token, or no longer one, is
    /// as good as given up.
    pub async fn revoke(&self, http: TokenHttpRequest<'_>) -> Result<(), OAuthError> {
        self.within(http, self.revoked(http)).await
    }

    /// What a token says of itself (RFC 7662 §2): nothing but that it is not active, where it is not
    /// or where somebody else asks.
    pub async fn introspect(&self, http: TokenHttpRequest<'_>) -> Result<Value, OAuthError> {
        self.within(http, self.introspected(http)).await
    }

    async fn revoked(&self, http: TokenHttpRequest<'_>) -> Result<(), TokenRefusal> {
        let form = revocation::parse_revocation(http.form).map_err(before("malformed"))?;
        let Authenticated { agent, uses, shown, .. } =
            self.agent_at("/oauth/revoke", (&http, &form.client)).await?;
        let instance = match self.own(&agent, &form.token) {
            Own::Yes(own) => own.1,
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
        match self.authority.end_task(ending).await {
            Ok(()) => Ok(()),
            Err(NotStopped::Commit(error)) => Err(not_committed(error, &agent)),
            Err(NotStopped::Facts(error)) => Err(unavailable(error)),
        }
    }

    async fn introspected(&self, http: TokenHttpRequest<'_>) -> Result<Value, TokenRefusal> {
        let form = revocation::parse_introspection(http.form).map_err(before("malformed"))?;
        let Authenticated { agent, uses, .. } =
            self.agent_at("/oauth/introspect", (&http, &form.client)).await?;
        self.used_up(&agent, uses).await?;
        let inactive = || json!({ "active": false });
        let Own::Yes(own) = self.own(&agent, &form.token) else { return Ok(inactive()) };
        let (claims, instance) = *own;
        if claims.exp <= self.authority.clock().now().as_seconds() {
            return Ok(inactive());
        }
        if !self.is_active(&claims, instance, &http).await? {
            return Ok(inactive());
        }
        let mut said = serde_json::to_value(&claims).expect("claims are a map with text keys");
        said["active"] = true.into();
        said["token_type"] = "DPoP".into();
        Ok(said)
    }

    /// Whether the instance would be given the token again.
    async fn is_active(
        &self,
        claims: &AccessTokenClaims,
        instance: InstanceId,
        http: &TokenHttpRequest<'_>,
    ) -> Result<bool, TokenRefusal> {
        let Ok(server) = self.server(&claims.aud) else { return Ok(false) };
        let request = AccessRequest {
            principal: Principal::Instance(instance),
            action: ActionName::method("token/issue"),
            resource: ResourceRef::Server(server),
            input: Value::Null,
        };
        let circumstances = Circumstances {
            actor: Actor::Known(instance),
            binding: Binding::Dpop,
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
    fn own(&self, agent: &Agent, token: &str) -> Own {
        let audience = access_token::claimed_audience(token).unwrap_or_default();
        let parties = (self.minter.issuer.as_str(), audience.as_str());
        let now = self.authority.clock().now().as_seconds();
        let claims = access_token::verify_ever(token, &self.keys, parties, now).ok();
        let Some(claims) = claims.filter(|_| self.server(&audience).is_ok()) else {
            return Own::None;
        };
        if claims.client_id != agent.name.as_str() {
            return Own::OfAnother;
        }
        match claims.instance().parse() {
            Ok(instance) => Own::Yes(Box::new((claims, instance))),
            Err(_) => Own::None,
        }
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
            Ok(_) | Err(CommitError::Used) => Ok(()),
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
    /// It is no token of ours.
    None,
    /// Another agent's.
    OfAnother,
}

fn not_committed(error: CommitError, agent: &Agent) -> TokenRefusal {
    match error {
        CommitError::Used => refused(NotPermitted::Replayed, agent),
        other => refused(NotPermitted::Unrecorded(other), agent),
    }
}
