//! Which instance asks for a token, and on what its task rests.

use authority::{Effect, OnceScope};
use keys::Signer as _;
use model::{
    Agent, Delegation, FactKey, Instance, InstanceId, Mandate, MandateBasis, MandateId, PurposeId,
    Sha256Digest, Task, Thumbprint,
};
use oauth::exchange::Delegated;
use oauth::token_endpoint::Grant;
use oauth::{ErrorCode, OAuthError};

use crate::authorize::beside_tools;
use crate::grant::Asker;
use crate::initiated::{Initiated, NotInitiated};
use crate::proposed::{NotProposed, Part, Rests, propose};
use crate::pushed::Wanted;
use crate::service::{Asking, TokenRefusal, TokenService, about, once, unavailable};

impl TokenService {
    /// Which instance asks: the one that holds the key, or a new one. A key never serves two agents.
    pub(crate) async fn asker(&self, asking: &Asking<'_>) -> Result<Asker, TokenRefusal> {
        let Asking { agent, key, new, source, .. } = asking;
        let mut reader = self.authority.pip().reader();
        let (held, registered) = (FactKey::key(key), FactKey::registered(key));
        reader.prepare(&[held.clone(), registered]).await.map_err(unavailable)?;
        let known = reader.find::<InstanceId>(held).await.map_err(unavailable)?;
        if let Some(id) = known {
            let instance = reader.need::<Instance>(FactKey::instance(id)).await;
            let instance = instance.map_err(unavailable)?;
            if instance.agent != agent.name {
                return Err(bound_elsewhere(&instance, agent));
            }
            self.same_task(asking, &instance).await?;
            return Ok(Asker::Known(Box::new(instance)));
        }
        self.is_instances(key, agent).await?;
        Self::is_admitted(asking)?;
        let rests = self.rests(asking).await?;
        let proposed =
            propose(&self.authority, (&agent.name, rests), (*new, Some(*key), source)).await;
        Ok(Asker::New(Box::new(proposed.map_err(|why| not_proposed(why, agent))?)))
    }

    /// An instance has one task, for one purpose: who asks for another one is refused, not served
    /// for the one that it has. Who did not hear that it was begun may show once more what began it.
    async fn same_task(
        &self,
        asking: &Asking<'_>,
        instance: &Instance,
    ) -> Result<(), TokenRefusal> {
        let Asking { agent, form, taken, .. } = asking;
        let shows = !matches!(form.grant, Grant::ClientCredentials);
        if form.purpose.is_none() && !shows {
            return Ok(());
        }
        let mut reader = self.authority.pip().reader();
        let task = reader.need::<Task>(FactKey::task(instance.task)).await.map_err(unavailable)?;
        if form.purpose.as_ref().is_some_and(|wanted| task.purpose.as_str() != wanted) {
            let why = "this instance works for another purpose: start one with a new key";
            let error = OAuthError::new(ErrorCode::InvalidScope, why);
            return Err(about(instance, TokenRefusal::of("other_purpose", error, agent)));
        }
        let mandate = reader.need::<Mandate>(FactKey::mandate(task.mandate)).await;
        let begun_by = match (mandate.map_err(unavailable)?.basis, task.delegation) {
            (MandateBasis::Initiated { request, .. }, None) => Some(request),
            _ => None,
        };
        let is_same = match (&form.grant, taken) {
            (Grant::Consent(request_uri), _) => {
                self.consented(request_uri, asking).await?.mandate == task.mandate
            }
            (Grant::Initiation(presented), _) => {
                begun_by == Some(Sha256Digest::of(presented.as_bytes()))
            }
            (Grant::Resume(wanted), _) => *wanted == task.id.to_string(),
            (_, Some(taken)) => {
                task.delegation.is_some_and(|it| it.decision.to_string() == taken.made.decision)
            }
            _ => true,
        };
        if is_same {
            return Ok(());
        }
        let why = "this instance has its task: start one with a new key";
        // What is exchanged is no grant (RFC 8693 §2.2.2).
        let code = match taken {
            Some(_) => ErrorCode::InvalidRequest,
            None => ErrorCode::InvalidGrant,
        };
        let error = OAuthError::new(code, why);
        Err(about(instance, TokenRefusal::of("has_a_task", error, agent)))
    }

    /// Refuses the `key` of a new instance of `agent` that is registered as an agent's or a system's:
    /// who holds that would be both.
    pub(crate) async fn is_instances(
        &self,
        key: &Thumbprint,
        agent: &Agent,
    ) -> Result<(), TokenRefusal> {
        let mut reader = self.authority.pip().reader();
        let known = reader.find::<FactKey>(FactKey::registered(key)).await;
        let Some(owner) = known.map_err(unavailable)? else { return Ok(()) };
        let error = OAuthError::new(ErrorCode::InvalidDpopProof, "an instance needs its own key");
        let refusal = TokenRefusal::of("registered_key_as_instance", error, agent);
        Err(refusal
            .with([("held_by", owner.to_string()), ("used_by_agent", agent.name.to_string())]))
    }

    /// On what the task of a new instance will rest.
    async fn rests(&self, asking: &Asking<'_>) -> Result<Rests, TokenRefusal> {
        let Asking { agent, form, taken, .. } = asking;
        if let Some(taken) = taken {
            let [task] = &taken.made.authorization_details;
            if form.purpose.as_ref().is_some_and(|wanted| *wanted != task.purpose) {
                let why = "the delegation is for another purpose";
                let error = OAuthError::new(ErrorCode::InvalidScope, why);
                return Err(TokenRefusal::of("other_purpose", error, agent));
            }
            return part(&taken.made, agent).map(|part| Rests::Delegated(Box::new(part)));
        }
        let presented = match &form.grant {
            Grant::Initiation(presented) => presented,
            Grant::Consent(request_uri) => {
                let consented = self.consented(request_uri, asking).await?;
                consented.is_for(form.purpose.as_deref(), agent)?;
                return Ok(Rests::Consented(consented));
            }
            _ => return self.standing(asking).await,
        };
        let mut reader = self.authority.pip().reader();
        let (signer, now) = (self.keys.signer(), self.authority.clock().now());
        let parties = (*agent, self.minter.issuer.as_str());
        let read = Initiated::read(presented, parties, (&mut reader, signer.public()), now).await;
        let wanted = form.purpose.as_deref();
        let (code, cause, why) = match read {
            Ok(initiated) if wanted.is_some_and(|it| it != initiated.purpose.as_str()) => {
                let why = "the initiation is for another purpose";
                (ErrorCode::InvalidScope, "other_purpose", why)
            }
            Ok(initiated) => return Ok(Rests::Initiated(Box::new(initiated))),
            Err(NotInitiated::Facts(error)) => return Err(unavailable(error)),
            Err(NotInitiated::Invalid) => {
                let why = "the initiation does not hold: is it signed by a system that may start \
                           this agent for this purpose, and less than ten minutes old?";
                (ErrorCode::InvalidGrant, "initiation_invalid", why)
            }
            Err(NotInitiated::TooWide) => {
                let why = "the initiation asks for more than the purpose or the agent may have";
                (ErrorCode::InvalidScope, "initiation_too_wide", why)
            }
        };
        let request = Sha256Digest::of(presented.as_bytes()).to_string();
        let refusal = TokenRefusal::of(cause, OAuthError::new(code, why), agent);
        Err(refusal.with([("request", request)]))
    }

    /// The sponsor's standing mandate, if the agent has one: not all agents may work for nobody.
    async fn standing(&self, asking: &Asking<'_>) -> Result<Rests, TokenRefusal> {
        let Asking { agent, form, key, .. } = asking;
        let purpose = purpose(agent, form.purpose.as_deref());
        let purpose = purpose.map_err(|error| TokenRefusal::of("unknown_purpose", error, agent))?;
        let mut reader = self.authority.pip().reader();
        let mandate = FactKey::standing_mandate(&agent.name, &purpose);
        if reader.find::<MandateId>(mandate).await.map_err(unavailable)?.is_some() {
            return Ok(Rests::Standing(purpose));
        }
        let why = match &self.people_url {
            Some(_) => {
                "this agent works on behalf of people only: give one the link, if there is one here, \
                 push what it asks for to /oauth/par, or show an initiation"
            }
            None => "this agent works on behalf of people only: show an initiation",
        };
        let error = OAuthError::new(ErrorCode::UnauthorizedClient, why);
        let (server, _) = asking.audience();
        let error = match self.all_of(agent, &purpose, &server).await {
            Ok(all) => {
                let wanted = beside_tools(all, &server);
                self.linked(asking, Wanted::Lacking(&wanted, *key), error).await
            }
            Err(_) => error,
        };
        Err(TokenRefusal::of("no_standing_mandate", error, agent))
    }
}

/// The part of a task that `agent` takes up.
fn part(taken: &Delegated, agent: &Agent) -> Result<Part, TokenRefusal> {
    let ids = taken.task.parse().ok().zip(taken.decision.parse().ok());
    let Some(((parent, decision), by)) = ids.zip(taken.instance().parse().ok()) else {
        let error = OAuthError::new(ErrorCode::InvalidRequest, "the delegation does not hold");
        return Err(TokenRefusal::of("delegation_invalid", error, agent));
    };
    let [task] = taken.authorization_details.clone();
    let uses = taking_up(taken);
    Ok(Part { delegation: Delegation { parent, by, decision }, task, uses })
}

/// What taking up a delegation uses up. We signed it ourselves, by whatever key of ours.
pub(crate) fn taking_up(made: &Delegated) -> Effect {
    once(OnceScope::Assertion, &[0; 32], &made.jti, made.exp)
}

/// Why there is no instance of `agent` to propose.
pub(crate) fn not_proposed(why: NotProposed, agent: &Agent) -> TokenRefusal {
    match why {
        NotProposed::Facts(error) => unavailable(error),
        NotProposed::TooWide => {
            let why = "it is not a part of the task that is handed on, or more than the agent may \
                       have";
            let error = OAuthError::new(ErrorCode::InvalidScope, why);
            TokenRefusal::of("delegation_too_wide", error, agent)
        }
    }
}

/// The key of `instance` came with another agent's assertion: one of the two holds what it should
/// not.
fn bound_elsewhere(instance: &Instance, agent: &Agent) -> TokenRefusal {
    let error = OAuthError::new(ErrorCode::InvalidDpopProof, "the key is bound to another agent");
    about(instance, TokenRefusal::of("key_bound_elsewhere", error, agent)).with([
        ("held_by_agent", instance.agent.to_string()),
        ("held_by_instance", instance.id.to_string()),
        ("used_by_agent", agent.name.to_string()),
    ])
}

fn purpose(agent: &Agent, wanted: Option<&str>) -> Result<PurposeId, OAuthError> {
    let mut all = agent.purposes.iter();
    let chosen = match (wanted, all.next(), all.next()) {
        (Some(wanted), ..) => agent.purposes.iter().find(|known| known.as_str() == wanted),
        (None, Some(only), None) => Some(only),
        (None, ..) => None,
    };
    chosen.cloned().ok_or_else(|| {
        OAuthError::new(ErrorCode::InvalidScope, "name one of the agent's purposes in `purpose`")
    })
}
