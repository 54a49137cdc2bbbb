//! Handing a part of a task on to an instance of another agent (RFC 8693).
//!
//! INVARIANT: nobody hands on what they do not hold. The token of the holder counts only with the
//! holder's own proof of possession: who shows somebody else's is refused, and found (`n_007_…`).

use authority::{Actor, Begun, Circumstances, Effect, Governed, OnceScope, Permit, Reader};
use model::record::OutcomeKind;
use model::{
    AccessRequest, ActionName, Agent, AgentName, AgentState, Binding, Delegation, FactKey,
    InstanceId, Principal, ResourceRef, Source, Standing, Thumbprint,
};
use oauth::access_token::{self, AccessTokenClaims};
use oauth::exchange::{self, Delegated, MayAct};
use oauth::initiation::AskedTask;
use oauth::token_endpoint::TokenResponse;
use oauth::{ErrorCode, OAuthError};
use serde_json::json;

use crate::asker::not_proposed;
use crate::grant::{Asker, POINT, Renewing, TokenGrant};
use crate::narrow;
use crate::proposed::{NotProposed, Part, Rests, propose};
use crate::service::{Asking, TokenRefusal, TokenService, agent_key, once, refused, unavailable};

/// That an instance hands a part of its task on: what is decided.
#[derive(Debug)]
pub struct HandingOn {
    request: AccessRequest,
    circumstances: Circumstances,
    pub(crate) task: AskedTask,
    pub(crate) to: MayAct,
    /// Until when the holder's own token is good, in seconds since the epoch.
    pub(crate) bound: i64,
}

impl Governed for HandingOn {
    fn request(&self) -> &AccessRequest {
        &self.request
    }

    fn circumstances(&self) -> &Circumstances {
        &self.circumstances
    }
}

/// An instance of another agent, as that agent names it.
struct Named {
    agent: Agent,
    key: Thumbprint,
    /// Until when it is named so, in seconds since the epoch.
    exp: i64,
    uses: Effect,
}

impl TokenService {
    /// Makes the delegation that an instance of another agent can take up.
    pub(crate) async fn delegate(
        &self,
        asking: &Asking<'_>,
        (subject_token, may_act): (&str, &MayAct),
        task: &AskedTask,
    ) -> Result<TokenResponse, TokenRefusal> {
        if may_act.thumbprint().is_none() {
            let why = "`jkt` in `may_act` is not the thumbprint of a key";
            let error = OAuthError::new(ErrorCode::InvalidRequest, why);
            return Err(TokenRefusal::of("may_act_invalid", error, asking.agent));
        }
        let agent = self.other_agent(asking.agent, Some(&may_act.client_id)).await?;
        let permit = self.handing_on((asking, subject_token), (&agent, may_act), task).await?;
        let minted = self.minter.delegate(permit, &self.authority);
        minted.map_err(TokenRefusal::decided)
    }

    /// Gives the instance that `actor_token` names a token of its own.
    pub(crate) async fn hand_over(
        &self,
        asking: &Asking<'_>,
        (subject_token, actor_token): (&str, &str),
        task: &AskedTask,
    ) -> Result<TokenResponse, TokenRefusal> {
        let named = self.named(asking.agent, actor_token).await?;
        let may_act = MayAct {
            client_id: named.agent.name.to_string(),
            jkt: keys::base64url(named.key.as_bytes()),
        };
        let by = (&named.agent, &may_act);
        let permit = self.handing_on((asking, subject_token), by, task).await?;
        let begun = permit.begin(self.authority.clock().as_ref());
        let begun = begun.map_err(|error| {
            let why = error.to_string();
            TokenRefusal::decided(OAuthError::new(ErrorCode::TemporarilyUnavailable, why))
        })?;
        let given = self.give(asking, &begun, named).await;
        let outcome = if given.is_ok() { OutcomeKind::Returned } else { OutcomeKind::Failed };
        begun.running.finish(outcome, None);
        given
    }

    /// Enters the instance that is `named` with the task that it is handed, and gives it a token.
    async fn give(
        &self,
        asking: &Asking<'_>,
        begun: &Begun<HandingOn>,
        named: Named,
    ) -> Result<TokenResponse, TokenRefusal> {
        let Named { agent, key, exp, uses } = named;
        let (clock, entropy) = (self.authority.clock(), self.authority.entropy());
        let parent = begun.context.standing.task.id;
        let delegation = Delegation { parent, decision: begun.context.decision };
        let part = Part { delegation, task: begun.act.task.clone(), uses };
        // What is known of who asks is not known of whom it is for.
        let source = Source::default();
        let rests = Rests::Delegated(Box::new(part));
        let by = (clock.as_ref(), entropy.as_ref());
        let proposed =
            propose(self.authority.pip(), (&agent.name, rests), (key, &source), by).await;
        let asker = proposed.map_err(|why| not_proposed(why, &agent))?;
        let mut reader = Reader::new(self.authority.pip().store());
        let last = reader.find(FactKey::renewal(asker.standing.value.instance.id)).await;
        let last = reader.sourced(last.map_err(unavailable)?);
        let renewing = Renewing { asked: None, last, source, until: None };
        let bound = Some(begun.act.bound.min(exp));
        let grant = TokenGrant::new(
            Asker::New(Box::new(asker)),
            asking.audience(),
            (key, renewing, bound),
            (Vec::new(), asking.arrived),
        );
        let permit = self.authority.authorize(grant).await;
        let permit = permit.map_err(|reason| refused(reason, &agent))?;
        let minted = self.minter.mint(permit, &self.authority).await;
        minted.map_err(TokenRefusal::decided)
    }

    /// Asks whether the holder of `subject_token` may hand `task` on to an agent's instance.
    async fn handing_on(
        &self,
        (asking, subject_token): (&Asking<'_>, &str),
        (agent, may_act): (&Agent, &MayAct),
        task: &AskedTask,
    ) -> Result<Permit<HandingOn>, TokenRefusal> {
        let claims = self.holder(asking, subject_token)?;
        let instance: InstanceId = claims.instance().parse().map_err(|_| {
            not_held("subject_token_invalid", asking.agent, "the subject token does not hold")
        })?;
        self.is_new(asking, may_act).await?;
        let standing = self.authority.pip().standing(instance).await.map_err(unavailable)?;
        let Standing { mandate, purpose, .. } = standing.value.as_ref();
        let basis = narrow::Basis { agent, mandate, purpose };
        narrow::narrow(standing.value.hops(), &basis, task)
            .map_err(|narrow::TooWide| not_proposed(NotProposed::TooWide, asking.agent))?;
        let request = AccessRequest {
            principal: Principal::Instance(instance),
            action: ActionName::method("delegate"),
            resource: ResourceRef::Agent(agent.name.clone()),
            input: json!({ "may_act": may_act, "task": task }),
        };
        let circumstances = Circumstances {
            actor: Actor::Known(instance),
            binding: Binding::Dpop,
            point: POINT,
            arrived: asking.arrived,
            trace: None,
            uses: asking.uses.clone(),
            enclosed: Vec::new(),
        };
        let (task, to, bound) = (task.clone(), may_act.clone(), claims.exp);
        let act = HandingOn { request, circumstances, task, to, bound };
        let permit = self.authority.authorize(act).await;
        permit.map_err(|reason| refused(reason, asking.agent))
    }

    /// What the subject token says, if who asks is who holds it.
    fn holder(
        &self,
        asking: &Asking<'_>,
        subject_token: &str,
    ) -> Result<AccessTokenClaims, TokenRefusal> {
        let invalid = || {
            let why = "the subject token is not a token of this service that still holds";
            not_held("subject_token_invalid", asking.agent, why)
        };
        let audience = access_token::claimed_audience(subject_token).ok_or_else(invalid)?;
        self.server(&audience).map_err(|_| invalid())?;
        let (parties, now) =
            ((self.minter.issuer.as_str(), audience.as_str()), self.authority.clock().now());
        let claims = access_token::verify(subject_token, &self.keys, parties, now.as_seconds());
        let claims = claims.map_err(|_| invalid())?;
        let is_holder = claims.client_id == asking.agent.name.as_str()
            && claims.cnf.thumbprint().as_ref() == Some(asking.key.as_bytes());
        if is_holder {
            return Ok(claims);
        }
        let why = "the holder of the subject token takes no part: it must prove its key, or have \
                   made a delegation for this instance";
        let mut refusal = not_held("holder_absent", asking.agent, why);
        let details = [
            ("held_by_agent", claims.client_id.clone()),
            ("held_by_instance", claims.instance().to_owned()),
            ("shown_by_agent", asking.agent.name.to_string()),
        ];
        let details = details.map(|(name, value)| (name.to_owned(), value));
        refusal.refused.details = Some(details.into());
        Err(refusal)
    }

    /// What an agent takes up, if it was made for that agent and for the key of who asks.
    pub(crate) fn taken(
        &self,
        delegation: &str,
        (agent, key): (&Agent, Thumbprint),
    ) -> Result<Delegated, TokenRefusal> {
        let (issuer, now) = (&self.minter.issuer, self.authority.clock().now());
        let read = exchange::verify(delegation, &self.keys, issuer, now.as_seconds());
        let read = read.map_err(|_| {
            let why = "the delegation is not one of this service that still holds";
            not_held("delegation_invalid", agent, why)
        })?;
        let may_act = &read.may_act;
        let is_for = may_act.client_id == agent.name.as_str()
            && may_act.thumbprint().as_ref() == Some(key.as_bytes());
        if is_for {
            return Ok(read);
        }
        let why = "the delegation was made for another agent or another key";
        let mut refusal = not_held("delegation_of_another", agent, why);
        let details = [
            ("made_for_agent", may_act.client_id.clone()),
            ("shown_by_agent", agent.name.to_string()),
            ("decision", read.decision.clone()),
        ];
        let details = details.map(|(name, value)| (name.to_owned(), value));
        refusal.refused.details = Some(details.into());
        Err(refusal)
    }

    /// Whether no instance holds the key yet for which the work is handed on.
    async fn is_new(&self, asking: &Asking<'_>, may_act: &MayAct) -> Result<(), TokenRefusal> {
        let key = Thumbprint::from_bytes(may_act.thumbprint().unwrap_or_default());
        let mut reader = Reader::new(self.authority.pip().store());
        let known = reader.find::<InstanceId>(FactKey::key(&key)).await.map_err(unavailable)?;
        if known.is_none() && key != asking.key {
            return Ok(());
        }
        let why = "an instance has one task: hand it on to one with a new key";
        let error = OAuthError::new(ErrorCode::InvalidRequest, why);
        Err(TokenRefusal::of("has_a_task", error, asking.agent))
    }

    /// The instance that `actor_token` names, by the word of its agent.
    async fn named(&self, by: &Agent, actor_token: &str) -> Result<Named, TokenRefusal> {
        let claimed = exchange::claimed(actor_token);
        let agent = self.other_agent(by, claimed.as_deref()).await?;
        let key = agent_key(&agent).ok_or_else(|| unknown_actor(by))?;
        let (parties, now) =
            ((agent.name.as_str(), self.minter.issuer.as_str()), self.authority.clock().now());
        let read = exchange::verify_actor(actor_token, parties, &key, now.as_seconds());
        let actor = read.map_err(|_| unknown_actor(by))?;
        if actor.key == key.thumbprint() {
            return Err(unknown_actor(by));
        }
        let uses = once(OnceScope::Assertion, &key.thumbprint(), &actor.jti, actor.exp);
        Ok(Named { agent, key: Thumbprint::from_bytes(actor.key), exp: actor.exp, uses })
    }

    /// The active agent `name`. To `by`, every failure looks the same.
    async fn other_agent(&self, by: &Agent, name: Option<&str>) -> Result<Agent, TokenRefusal> {
        let name = name.and_then(|name| name.parse::<AgentName>().ok());
        let name = name.ok_or_else(|| unknown_actor(by))?;
        let mut reader = Reader::new(self.authority.pip().store());
        let found = reader.find::<Agent>(FactKey::agent(&name)).await.map_err(unavailable)?;
        let now = self.authority.clock().now();
        let is_active =
            |agent: &Agent| agent.state == AgentState::Active && agent.key_expires > now;
        found.filter(is_active).ok_or_else(|| unknown_actor(by))
    }
}

fn unknown_actor(by: &Agent) -> TokenRefusal {
    let why = "the other agent is not one that is active, or did not name its instance";
    not_held("actor_invalid", by, why)
}

/// What is shown is not acceptable (RFC 8693 §2.2.2).
fn not_held(cause: &'static str, by: &Agent, why: &str) -> TokenRefusal {
    TokenRefusal::of(cause, OAuthError::new(ErrorCode::InvalidRequest, why), by)
}
