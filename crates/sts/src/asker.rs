//! Which instance asks for a token, and on what its task rests.

use authority::Reader;
use model::{
    Agent, FactKey, Instance, InstanceId, Mandate, MandateBasis, MandateId, PurposeId,
    Sha256Digest, Task,
};
use oauth::token_endpoint::TokenRequest;
use oauth::{ErrorCode, OAuthError};

use crate::grant::{Asker, Rests, propose};
use crate::initiated::{Initiated, NotInitiated};
use crate::service::{Asking, TokenRefusal, TokenService, about, unavailable};

impl TokenService {
    /// Which instance asks: the one that holds the key, or a new one. A key never serves two agents.
    pub(crate) async fn asker(&self, asking: &Asking<'_>) -> Result<Asker, TokenRefusal> {
        let Asking { agent, form, key, source, .. } = asking;
        let pip = self.authority.pip();
        let mut reader = Reader::new(pip.store());
        let known = reader.find::<InstanceId>(FactKey::key(key)).await.map_err(unavailable)?;
        if let Some(id) = known {
            let instance = reader.need::<Instance>(FactKey::instance(id)).await;
            let instance = instance.map_err(unavailable)?;
            if instance.agent != agent.name {
                return Err(bound_elsewhere(&instance, agent));
            }
            self.same_purpose(agent, form, &instance).await?;
            self.same_initiation(agent, form, &instance).await?;
            return Ok(Asker::Known(Box::new(instance)));
        }
        let rests = self.rests(asking).await?;
        let (clock, entropy) = (self.authority.clock(), self.authority.entropy());
        let asked = (&agent.name, rests);
        let by = (clock.as_ref(), entropy.as_ref());
        let proposed = propose(pip, asked, (*key, source), by).await;
        Ok(Asker::New(Box::new(proposed.map_err(unavailable)?)))
    }

    /// An instance has one task. Who did not hear that it was begun may show once more what began it.
    async fn same_initiation(
        &self,
        agent: &Agent,
        form: &TokenRequest,
        instance: &Instance,
    ) -> Result<(), TokenRefusal> {
        let Some(presented) = &form.initiation else { return Ok(()) };
        let mut reader = Reader::new(self.authority.pip().store());
        let task = reader.need::<Task>(FactKey::task(instance.task)).await.map_err(unavailable)?;
        let mandate = reader.need::<Mandate>(FactKey::mandate(task.mandate)).await;
        let begun_by = match mandate.map_err(unavailable)?.basis {
            MandateBasis::Initiated { request, .. } => Some(request),
            MandateBasis::Standing { .. } => None,
        };
        if begun_by == Some(Sha256Digest::of(presented.as_bytes())) {
            return Ok(());
        }
        let why = "this instance has its task: start one with a new key";
        let error = OAuthError::new(ErrorCode::InvalidGrant, why);
        Err(about(instance, TokenRefusal::of("has_a_task", error, agent)))
    }

    /// On what the task of a new instance will rest.
    async fn rests(&self, asking: &Asking<'_>) -> Result<Rests, TokenRefusal> {
        let Asking { agent, form, .. } = asking;
        let Some(presented) = &form.initiation else {
            return self.standing(agent, form).await;
        };
        let mut reader = Reader::new(self.authority.pip().store());
        let (own, now) = (self.minter.signer.public(), self.authority.clock().now());
        let parties = (*agent, self.minter.issuer.as_str());
        let read = Initiated::read(presented, parties, (&mut reader, own), now).await;
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
        let mut refusal = TokenRefusal::of(cause, OAuthError::new(code, why), agent);
        let request = Sha256Digest::of(presented.as_bytes()).to_string();
        refusal.refused.details = Some([("request".to_owned(), request)].into());
        Err(refusal)
    }

    /// The sponsor's standing mandate, if the agent has one: not all agents may work for nobody.
    async fn standing(&self, agent: &Agent, form: &TokenRequest) -> Result<Rests, TokenRefusal> {
        let purpose = purpose(agent, form.purpose.as_deref());
        let purpose = purpose.map_err(|error| TokenRefusal::of("unknown_purpose", error, agent))?;
        let mut reader = Reader::new(self.authority.pip().store());
        let key = FactKey::standing_mandate(&agent.name, &purpose);
        if reader.find::<MandateId>(key).await.map_err(unavailable)?.is_some() {
            return Ok(Rests::Standing(purpose));
        }
        let why = "this agent works on behalf of people only: show an initiation";
        let error = OAuthError::new(ErrorCode::InvalidGrant, why);
        Err(TokenRefusal::of("no_standing_mandate", error, agent))
    }

    /// A task belongs to one purpose: an instance that asks for another one is refused, not served
    /// for the one that it has.
    async fn same_purpose(
        &self,
        agent: &Agent,
        form: &TokenRequest,
        instance: &Instance,
    ) -> Result<(), TokenRefusal> {
        let Some(wanted) = &form.purpose else { return Ok(()) };
        let mut reader = Reader::new(self.authority.pip().store());
        let task = reader.need::<Task>(FactKey::task(instance.task)).await.map_err(unavailable)?;
        if task.purpose.as_str() == wanted {
            return Ok(());
        }
        let why = "this instance works for another purpose: start one with a new key";
        let error = OAuthError::new(ErrorCode::InvalidScope, why);
        Err(about(instance, TokenRefusal::of("other_purpose", error, agent)))
    }
}

/// The key of `instance` came with another agent's assertion: one of the two holds what it should
/// not.
fn bound_elsewhere(instance: &Instance, agent: &Agent) -> TokenRefusal {
    let error = OAuthError::new(ErrorCode::InvalidDpopProof, "the key is bound to another agent");
    let mut refusal = about(instance, TokenRefusal::of("key_bound_elsewhere", error, agent));
    let details = [
        ("held_by_agent", instance.agent.to_string()),
        ("held_by_instance", instance.id.to_string()),
        ("used_by_agent", agent.name.to_string()),
    ];
    refusal.refused.details = Some(details.map(|(name, value)| (name.to_owned(), value)).into());
    refusal
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
