//! Handing a part of a task on to an instance of another agent (RFC 8693).
//!
//! INVARIANT: nobody hands on what they do not hold. The token of the holder counts only with the
//! holder's own proof of possession: who shows somebody else's is refused, and found (`n_007_…`).

use std::sync::Arc;

use authority::{
    Actor, Begun, Circumstances, CommitError, Effect, FactsError, Governed, Next, NotPermitted,
    OnceScope, Permit, PermitContext,
};
use model::record::OutcomeKind;
use model::{
    AccessRequest, ActionName, Agent, AgentName, AgentState, Binding, DecisionId, Delegation,
    FactKey, InstanceId, Principal, ResourceRef, Sha256Digest, Source, Sourced, Standing,
    Thumbprint, TokenKeySet,
};
use oauth::access_token::{AccessTokenClaims, Unverified};
use oauth::dpop::VerifiedProof;
use oauth::exchange::{self, Delegated, MayAct, UnverifiedActor};
use oauth::initiation::AskedTask;
use oauth::token_endpoint::TokenResponse;
use oauth::{ErrorCode, OAuthError};
use serde_json::json;

use crate::asker::not_proposed;
use crate::client::{Credential, agent_key};
use crate::grant::{Asker, POINT, Renewing, TokenGrant};
use crate::narrow;
use crate::not_permitted::{not_exchanged, not_issued, refused};
use crate::proposed::{NotProposed, Part, Rests, propose};
use crate::renewal::Renewal;
use crate::service::{Asking, TOKEN, TokenRefusal, TokenService, once, unavailable};

/// That an instance hands a part of its task on: what is decided.
#[derive(Debug)]
pub struct HandingOn {
    request: AccessRequest,
    circumstances: Circumstances,
    pub(crate) task: AskedTask,
    pub(crate) to: MayAct,
    /// Until when the holder's own token is good, in seconds since the epoch.
    pub(crate) bound: i64,
    by: Box<Credential>,
}

impl Governed for HandingOn {
    fn request(&self) -> &AccessRequest {
        &self.request
    }

    fn circumstances(&self) -> &Circumstances {
        &self.circumstances
    }

    fn is_of(&self, agent: &Agent) -> bool {
        self.by.is_of(agent)
    }
}

/// A delegation that is taken up.
pub(crate) struct Taken {
    pub(crate) made: Delegated,
    /// By the keys of which era it was verified.
    era: u64,
}

/// An instance of another agent, as that agent names it.
struct Named {
    agent: Agent,
    key: Thumbprint,
    /// Until when it is named so, in seconds since the epoch.
    exp: i64,
    /// What that uses up: the actor token and the proof.
    uses: [Effect; 2],
}

/// Why work was not handed over.
enum NotHandedOver {
    /// It is not permitted, or not on record.
    Refused(NotPermitted),
    Told(TokenRefusal),
}

impl From<NotPermitted> for NotHandedOver {
    fn from(reason: NotPermitted) -> Self {
        Self::Refused(reason)
    }
}

impl From<TokenRefusal> for NotHandedOver {
    fn from(refusal: TokenRefusal) -> Self {
        Self::Told(refusal)
    }
}

impl TokenService {
    /// Makes the delegation that an instance of another agent can take up.
    pub(crate) async fn delegate(
        &self,
        asking: &Asking<'_>,
        (subject_token, may_act): (&str, &MayAct),
        task: &AskedTask,
    ) -> Result<TokenResponse, TokenRefusal> {
        let claims = self.holder(asking, subject_token)?;
        let Some(key) = may_act.thumbprint().map(Thumbprint::from_bytes) else {
            let why = "`jkt` in `may_act` is not the thumbprint of a key";
            return Err(not_held("may_act_invalid", asking.agent, why));
        };
        let act = self.handing_on(asking, &claims, may_act, task).await?;
        let permit = self.authority.authorize(act).await;
        let permit = permit.map_err(|reason| not_exchanged(refused(reason, asking.agent)))?;
        let begun = self.begun(permit)?;
        let made = async {
            self.is_new(asking, key).await?;
            let agent = self.other_agent(asking.agent, &may_act.client_id).await?;
            // It will be held against the agent again: nothing is made that cannot be taken up.
            let Standing { mandate, purpose, .. } = begun.context.standing.as_ref();
            let basis = narrow::Basis { agent: &agent, mandate, purpose };
            let narrowed = narrow::narrow(begun.context.standing.hops(), &basis, task);
            narrowed.map_err(|narrow::TooWide| not_proposed(NotProposed::TooWide, asking.agent))?;
            let policy = self.authority.pip().policy().snapshot.digest();
            self.minter.delegate(&begun, policy, &self.authority).map_err(TokenRefusal::decided)
        };
        let made = made.await;
        let result = made.as_ref().ok().map(|(_, jti)| Sha256Digest::of(jti.as_bytes()));
        begun.running.finish(ended(&made), result);
        made.map(|(response, _)| response)
    }

    /// Gives the instance that an actor token names, and that agrees by its proof, a token of its
    /// own.
    pub(crate) async fn hand_over(
        &self,
        asking: &Asking<'_>,
        (subject_token, (actor_token, actor_proof)): (&str, (&str, &str)),
        task: &AskedTask,
    ) -> Result<TokenResponse, TokenRefusal> {
        let claims = self.holder(asking, subject_token)?;
        let by = asking.agent;
        let proof = self.possession(Some(actor_proof), TOKEN).map_err(|_| unknown_actor(by))?;
        let actor = UnverifiedActor::read(actor_token).map_err(|_| unknown_actor(by))?;
        let may_act = MayAct {
            client_id: actor.agent().map_err(|_| unknown_actor(by))?,
            jkt: keys::base64url(&proof.thumbprint),
        };
        let parties = (claims.as_ref(), &may_act);
        let mut again = true;
        loop {
            match Box::pin(self.try_hand_over(asking, parties, (&actor, &proof), task)).await {
                // What was read before may have changed with what others did meanwhile.
                Err(NotHandedOver::Refused(NotPermitted::Contended)) if again => again = false,
                Err(NotHandedOver::Refused(reason)) => {
                    return Err(not_exchanged(refused(reason, by)));
                }
                Err(NotHandedOver::Told(refusal)) => return Err(refusal),
                Ok(response) => return Ok(response),
            }
        }
    }

    /// Decides that the work is handed on, and then that the instance gets its token: on record is
    /// both at once, or the former alone.
    async fn try_hand_over(
        &self,
        asking: &Asking<'_>,
        (claims, may_act): (&AccessTokenClaims, &MayAct),
        (actor, proof): (&UnverifiedActor<'_>, &VerifiedProof),
        task: &AskedTask,
    ) -> Result<TokenResponse, NotHandedOver> {
        let act = self.handing_on(asking, claims, may_act, task).await?;
        let bound = act.bound;
        let decided = self.authority.decide(act).await?;
        let PermitContext { standing, decision, .. } = decided.context();
        let above = (standing.clone(), *decision);
        let asked = async {
            let named = self.named(asking.agent, (actor, &may_act.client_id), proof).await?;
            self.grant(asking, above, (named, task.clone(), bound)).await
        };
        let (permit, next) = match asked.await {
            Ok(grant) => {
                let both = Box::pin(self.authority.record_with(decided, grant));
                let (permit, next) = both.await?;
                (permit, Ok(next))
            }
            Err(refusal) => (self.authority.record(decided).await?, Err(refusal)),
        };
        // First of all: what it leads to may take longer than a permit lasts.
        let begun = self.begun(permit)?;
        let given = match next {
            Ok(Next::Permitted(permit)) => Ok(*permit),
            Ok(Next::Unasked(grant, why)) => self.given_apart(asking, (grant, why), proof).await,
            Err(refusal) => Err(refusal),
        };
        let given = given.and_then(|permit| {
            let minted = self.minter.mint(permit, &self.authority);
            minted.map_err(TokenRefusal::decided)
        });
        begun.running.finish(ended(&given), None);
        Ok(given?)
    }

    /// What is told to who shows a token and nothing else.
    pub(crate) fn bare(&self, asking: &Asking<'_>, subject_token: &str) -> TokenRefusal {
        self.holder(asking, subject_token).err().unwrap_or_else(|| {
            let why = "`actor_token` or `may_act` says whom the work is handed on to";
            not_held("actor_missing", asking.agent, why)
        })
    }

    /// The token of the instance that is `named`, which enters with the `task` that who stands `above`
    /// hands on to it by this `decision`.
    async fn grant(
        &self,
        asking: &Asking<'_>,
        (above, decision): (Arc<Standing>, DecisionId),
        (named, task, until): (Named, AskedTask, i64),
    ) -> Result<TokenGrant, TokenRefusal> {
        let Named { agent, key, exp, uses: [token, proof] } = named;
        let (parent, by) = (above.task.id, above.instance.id);
        let delegation = Delegation { parent, by, decision };
        let part = Part { delegation, task, uses: token };
        // What is known of who asks is not known of whom it is for.
        let source = Source::default();
        let rests = Rests::Delegated(Box::new(part));
        let clock = self.authority.clock();
        let new = InstanceId::new(clock.now(), self.authority.entropy().as_ref());
        let proposed =
            propose(&self.authority, (&agent.name, rests), (new, Some(key), &source)).await;
        let asker = proposed.map_err(|why| not_proposed(why, asking.agent))?;
        let last = asker.given_before();
        // By which key it is named, who hands on to it has read: that is recorded before, or with it.
        let by = Box::<Credential>::default();
        let renewing = Renewing { asked: None, last, source, is_own: false, until: None, by };
        let bound = Some(until.min(exp));
        Ok(TokenGrant::new(
            Asker::New(Box::new(asker)),
            asking.audience(),
            (Some(key), renewing, bound),
            (vec![proof], asking.arrived),
            self.drawn(),
        ))
    }

    /// The token of the instance that agrees by its `proof`, asked for by itself; with why it could not be
    /// recorded together with the work that is handed on, if the store said so.
    async fn given_apart(
        &self,
        asking: &Asking<'_>,
        (grant, why): (TokenGrant, Option<CommitError>),
        proof: &VerifiedProof,
    ) -> Result<Permit<TokenGrant>, TokenRefusal> {
        let (by, key) = (asking.agent, Thumbprint::from_bytes(proof.thumbprint));
        // Its key may be somebody's: then it is not entered, however often it is tried.
        if matches!(why, Some(CommitError::Exists { .. })) {
            self.is_new(asking, key).await?;
        }
        match self.authority.authorize(grant).await {
            Ok(permit) => Ok(permit),
            Err(NotPermitted::Replayed(_)) => {
                let why = "the actor token or its proof was used before";
                Err(not_held("actor_replayed", by, why))
            }
            Err(NotPermitted::Contended) => {
                self.is_new(asking, key).await?;
                Err(refused(NotPermitted::Contended, by))
            }
            Err(other) => Err(not_exchanged(not_issued(other, by))),
        }
    }

    /// Begins what is permitted.
    fn begun(&self, permit: Permit<HandingOn>) -> Result<Begun<HandingOn>, TokenRefusal> {
        permit.begin(self.authority.clock().as_ref()).map_err(|error| {
            let why = error.to_string();
            TokenRefusal::decided(OAuthError::new(ErrorCode::TemporarilyUnavailable, why))
        })
    }

    /// That the holder, whose token says `claims`, hands `task` on to an agent's instance.
    /// Of that agent nothing is looked at before: who may hand nothing on to it learns nothing of it.
    async fn handing_on(
        &self,
        asking: &Asking<'_>,
        claims: &AccessTokenClaims,
        may_act: &MayAct,
        task: &AskedTask,
    ) -> Result<HandingOn, TokenRefusal> {
        let by = asking.agent;
        let instance: InstanceId = claims.instance().parse().map_err(|_| {
            not_held("subject_token_invalid", by, "the subject token does not hold")
        })?;
        let agent: AgentName = may_act.client_id.parse().map_err(|_| unknown_actor(by))?;
        self.attest_holder(asking, instance).await?;
        let standing = self.authority.pip().standing(instance).await.map_err(unavailable)?;
        let Standing { mandate, purpose, agent: own, instance: holder, .. } =
            standing.value.as_ref();
        if holder.key != Some(asking.key) {
            let why = "the subject token names an instance that holds another key";
            return Err(not_held("subject_token_invalid", by, why));
        }
        let basis = narrow::Basis { agent: own, mandate, purpose };
        narrow::narrow(standing.value.hops(), &basis, task)
            .map_err(|narrow::TooWide| not_proposed(NotProposed::TooWide, by))?;
        let request = AccessRequest {
            principal: Principal::Instance(instance),
            action: ActionName::method("delegate"),
            resource: ResourceRef::Agent(agent),
            input: json!({ "may_act": may_act, "task": task }),
        };
        let circumstances = Circumstances {
            actor: Actor::Known(instance),
            binding: Binding::Dpop,
            token: None,
            point: POINT,
            arrived: asking.arrived,
            trace: None,
            uses: asking.uses.clone(),
            enclosed: vec![("source", json!(asking.source))],
        };
        let (task, to, bound) = (task.clone(), may_act.clone(), claims.exp);
        let by = Box::new(Credential::of(asking));
        Ok(HandingOn { request, circumstances, task, to, bound, by })
    }

    /// What the subject token says, if who asks is who holds it.
    fn holder(
        &self,
        asking: &Asking<'_>,
        subject_token: &str,
    ) -> Result<Arc<AccessTokenClaims>, TokenRefusal> {
        let invalid = || {
            let why = "the subject token is not a token of this service that still holds";
            not_held("subject_token_invalid", asking.agent, why)
        };
        let (issuer, now) = (self.minter.issuer.as_str(), self.authority.clock().now());
        let claims = self.minter.verified.claims(subject_token, |keys| {
            let token = Unverified::read(subject_token)?;
            let audience = token.audience()?;
            token.verified(keys, (issuer, &audience), now.as_seconds())
        });
        let claims = claims.map_err(|_| invalid())?;
        self.server(&claims.aud).map_err(|_| invalid())?;
        if claims.exp <= now.as_seconds() {
            return Err(invalid());
        }
        let is_holder = claims.client_id == asking.agent.name.as_str()
            && claims.bound_to().as_ref() == Some(asking.key.as_bytes());
        if is_holder {
            return Ok(claims);
        }
        let why = "the holder of the subject token takes no part: it must prove its key, or have \
                   made a delegation for this instance";
        let refusal = not_held("holder_absent", asking.agent, why);
        Err(refusal.with([
            ("held_by_agent", claims.client_id.clone()),
            ("held_by_instance", claims.instance().to_owned()),
            ("shown_by_agent", asking.agent.name.to_string()),
        ]))
    }

    /// What an agent takes up, if it was made for that agent and for the key of who asks.
    pub(crate) fn taken(
        &self,
        delegation: &str,
        (agent, key): (&Agent, Thumbprint),
    ) -> Result<Taken, TokenRefusal> {
        // Read first: what is verified by keys that are exchanged meanwhile counts as by the last ones.
        let era = self.keys.era();
        let (issuer, now) = (&self.minter.issuer, self.authority.clock().now());
        let read = exchange::verify(delegation, &self.keys, issuer, now.as_seconds());
        let read = read.map_err(|_| delegation_invalid(agent))?;
        let may_act = &read.may_act;
        let is_for = may_act.client_id == agent.name.as_str()
            && may_act.thumbprint().as_ref() == Some(key.as_bytes());
        let policy = self.authority.pip().policy().snapshot.digest();
        if is_for && read.policy != policy.to_string() {
            let why = "the policy has changed since the delegation was made: ask for another one";
            return Err(not_held("delegation_outdated", agent, why));
        }
        if is_for {
            return Ok(Taken { made: read, era });
        }
        let why = "the delegation was made for another agent or another key";
        let refusal = not_held("delegation_of_another", agent, why);
        Err(refusal.with([
            ("made_for_agent", may_act.client_id.clone()),
            ("shown_by_agent", agent.name.to_string()),
            ("decision", read.decision.clone()),
        ]))
    }

    /// What a new instance has before its first token, with what says which keys of ours count, if it takes up what
    /// one of them has signed: nothing is issued on the word of one that turned out to be in other hands.
    pub(crate) async fn signed_still(
        &self,
        asking: &Asking<'_>,
        before: Sourced<Option<Renewal>>,
    ) -> Result<Sourced<Option<Renewal>>, TokenRefusal> {
        let Some(taken) = &asking.taken else { return Ok(before) };
        let mut reader = self.authority.pip().reader();
        let written = reader.find::<TokenKeySet>(FactKey::token_keys()).await;
        let written = written.map_err(unavailable)?;
        // They are written before they are in use.
        let signer = self.keys.signer().verifying().thumbprint_text();
        if written.is_some_and(|written| written.current != signer) {
            return Err(unavailable(FactsError::Changed));
        }
        if !self.keys.counts(taken.era) {
            return Err(delegation_invalid(asking.agent));
        }
        let Sourced { keys: read, revision, .. } = reader.sourced(());
        let Sourced { value, mut keys, revision: oldest } = before;
        keys.extend(read);
        Ok(Sourced { value, keys, revision: oldest.min(revision) })
    }

    /// Whether no instance holds the key yet for which the work is handed on.
    async fn is_new(&self, asking: &Asking<'_>, key: Thumbprint) -> Result<(), TokenRefusal> {
        let mut reader = self.authority.pip().reader();
        let (held, registered) = (FactKey::key(&key), FactKey::registered(&key));
        reader.prepare(&[held.clone(), registered.clone()]).await.map_err(unavailable)?;
        let known = reader.find::<InstanceId>(held).await.map_err(unavailable)?;
        let registered = reader.find::<FactKey>(registered).await;
        let is_free = known.is_none() && registered.map_err(unavailable)?.is_none();
        if is_free && key != asking.key {
            return Ok(());
        }
        let why = "an instance has one task: hand it on to one with a new key";
        Err(not_held("has_a_task", asking.agent, why))
    }

    /// The instance that `agent` names to `by` in an actor token, and whose `proof` says that it
    /// agrees: nobody else's key is bound to anything.
    async fn named(
        &self,
        by: &Agent,
        (actor, agent): (&UnverifiedActor<'_>, &str),
        proof: &VerifiedProof,
    ) -> Result<Named, TokenRefusal> {
        let agent = self.other_agent(by, agent).await?;
        let key = agent_key(&agent).ok_or_else(|| unknown_actor(by))?;
        let own = key.thumbprint();
        let parties = (agent.name.as_str(), by.name.as_str(), self.minter.issuer.as_str());
        let now = self.authority.clock().now().as_seconds();
        let actor = actor.verified(parties, &key, now).map_err(|_| unknown_actor(by))?;
        if actor.key == own || actor.key != proof.thumbprint {
            return Err(unknown_actor(by));
        }
        let uses = [
            once(OnceScope::Assertion, &own, &actor.jti, actor.exp),
            once(OnceScope::Proof, &proof.thumbprint, &proof.jti, proof.iat),
        ];
        Ok(Named { agent, key: Thumbprint::from_bytes(actor.key), exp: actor.exp, uses })
    }

    /// The active agent `name`. To `by`, every failure looks the same.
    async fn other_agent(&self, by: &Agent, name: &str) -> Result<Agent, TokenRefusal> {
        let name: AgentName = name.parse().map_err(|_| unknown_actor(by))?;
        let mut reader = self.authority.pip().reader();
        let found = reader.find::<Agent>(FactKey::agent(&name)).await.map_err(unavailable)?;
        let now = self.authority.clock().now();
        let is_active = |agent: &Agent| {
            agent.state == AgentState::Active && agent.is_leased(now) && !agent.has_lapsed(now)
        };
        found.filter(is_active).ok_or_else(|| unknown_actor(by))
    }
}

const fn ended<T>(answer: &Result<T, TokenRefusal>) -> OutcomeKind {
    if answer.is_ok() { OutcomeKind::Returned } else { OutcomeKind::Failed }
}

fn unknown_actor(by: &Agent) -> TokenRefusal {
    let why = "the other agent is not one that is active, or did not name its instance";
    not_held("actor_invalid", by, why)
}

fn delegation_invalid(agent: &Agent) -> TokenRefusal {
    let why = "the delegation is not one of this service that still holds";
    not_held("delegation_invalid", agent, why)
}

/// What is shown is not acceptable (RFC 8693 §2.2.2).
fn not_held(cause: &'static str, by: &Agent, why: &str) -> TokenRefusal {
    TokenRefusal::of(cause, OAuthError::new(ErrorCode::InvalidRequest, why), by)
}
