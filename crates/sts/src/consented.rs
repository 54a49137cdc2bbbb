//! Tasks to which a person consented: what became of a pushed request, as its agent learns it.

use authority::{Effect, OnceScope};
use model::{
    Agent, Consent, ConsentId, ConsentState, FactKey, InstanceId, Mandate, MandateBasis, MandateId,
    PurposeId,
};
use oauth::{ConsentLink, ErrorCode, OAuthError, consent};

use crate::pushed::Wanted;
use crate::service::{Asking, TokenRefusal, TokenService, once, unavailable};

/// What a person consented to, as far as that is known without a decision.
pub(crate) struct Consented {
    pub(crate) mandate: MandateId,
    pub(crate) purpose: PurposeId,
    /// What beginning a task uses up, where the consent is for one.
    pub(crate) uses: Option<Effect>,
}

impl Consented {
    /// Refuses `wanted` if it is another purpose.
    pub(crate) fn is_for(&self, wanted: Option<&str>, agent: &Agent) -> Result<(), TokenRefusal> {
        if wanted.is_none_or(|wanted| wanted == self.purpose.as_str()) {
            return Ok(());
        }
        let why = "the consent is for another purpose";
        let error = OAuthError::new(ErrorCode::InvalidScope, why);
        Err(TokenRefusal::of("other_purpose", error, agent))
    }
}

impl TokenService {
    /// What a person answered to what the agent of `asking` asked under `request_uri`. What another agent
    /// asked and what nobody did look the same.
    pub(crate) async fn consented(
        &self,
        request_uri: &str,
        asking: &Asking<'_>,
    ) -> Result<Consented, TokenRefusal> {
        let agent = asking.agent;
        let refuse = |code, cause, why: &str| {
            Err(TokenRefusal::of(cause, OAuthError::new(code, why), agent))
        };
        let mut reader = self.authority.pip().reader();
        let asked = match consent::requested(request_uri).and_then(|id| id.parse().ok()) {
            Some(id) => reader.find::<Consent>(FactKey::consent(id)).await.map_err(unavailable)?,
            None => None,
        };
        // What a client asked for is begun by the code that it gets, and by nothing else.
        let is_pushed = |asked: &Consent| asked.agent == agent.name && asked.client.is_none();
        let Some(asked) = asked.filter(is_pushed) else {
            let why = "there is no such request of this agent, or not any more: push another one";
            return refuse(ErrorCode::InvalidGrant, "consent_unknown", why);
        };
        let now = self.authority.clock().now();
        let mandate = match asked.state {
            ConsentState::Given { mandate } => mandate,
            ConsentState::Refused { .. } => {
                let why = "the person refused";
                return refuse(ErrorCode::AccessDenied, "consent_refused", why);
            }
            ConsentState::Pending if now < asked.expires => return Err(self.pending(asked.id)),
            ConsentState::Pending => {
                let why = "nobody consented in time: push another request";
                let error = OAuthError::new(ErrorCode::ExpiredToken, why);
                return Err(self.over(asking, (&asked, "consent_expired"), error).await);
            }
        };
        let mandate: Mandate = reader.need(FactKey::mandate(mandate)).await.map_err(unavailable)?;
        if mandate.withdrawn.is_some() {
            let error = OAuthError::new(ErrorCode::AccessDenied, "the consent was withdrawn");
            return Err(self.over(asking, (&asked, "consent_withdrawn"), error).await);
        }
        if mandate.valid_until <= now {
            let why = "the consent is over: push another request";
            let error = OAuthError::new(ErrorCode::ExpiredToken, why);
            return Err(self.over(asking, (&asked, "consent_over"), error).await);
        }
        let is_once = matches!(mandate.basis, MandateBasis::Consented { once: true, .. });
        let at = mandate.valid_until.as_seconds();
        // What we gave out ourselves is used up whatever key it is shown with.
        let uses = is_once.then(|| once(OnceScope::Assertion, &[0; 32], &asked.id.to_string(), at));
        Ok(Consented { mandate: mandate.id, purpose: mandate.purpose, uses })
    }

    /// Nobody has answered. That it was asked is on record, and nothing is refused.
    fn pending(&self, id: ConsentId) -> TokenRefusal {
        let why = "nobody has consented yet: ask again in a few seconds";
        let error = OAuthError::new(ErrorCode::AuthorizationPending, why);
        TokenRefusal::decided(match &self.people_url {
            Some(people_url) => error.with_consent(link(people_url, id)),
            None => error,
        })
    }

    /// Nothing comes any more of what was `asked`, for `cause`: where a person can consent to the same once more, unless
    /// who asks has its task already. It begins no other one.
    async fn over(
        &self,
        asking: &Asking<'_>,
        (asked, cause): (&Consent, &'static str),
        error: OAuthError,
    ) -> TokenRefusal {
        let mut reader = self.authority.pip().reader();
        let error = match reader.find::<InstanceId>(FactKey::key(&asking.key)).await {
            Ok(None) => self.linked(asking, Wanted::Again(asked, asking.key), error).await,
            Ok(Some(_)) | Err(_) => error,
        };
        TokenRefusal::of(cause, error, asking.agent)
    }

    /// `error`, with where a person can consent to what is `wanted`, if they can be asked for that.
    pub(crate) async fn linked(
        &self,
        asking: &Asking<'_>,
        wanted: Wanted<'_>,
        error: OAuthError,
    ) -> OAuthError {
        let Some(people_url) = &self.people_url else { return error };
        let by = (asking.shown.as_ref(), asking.uses.as_slice());
        match Box::pin(self.ask_for(asking.agent, wanted, by)).await {
            Ok(asked) => error.with_consent(link(people_url, asked.id)),
            // The agent is stopped, or has asked too much already, or may not have it.
            Err(_) => error,
        }
    }
}

/// Where a person answers what `id` asks, and by what its agent redeems that.
fn link(people_url: &str, id: ConsentId) -> ConsentLink {
    ConsentLink {
        consent_uri: consent_uri(people_url, id),
        request_uri: consent::request_uri(&id.to_string()),
    }
}

/// The page at `people_url` where a person answers what `id` asks.
pub(crate) fn consent_uri(people_url: &str, id: ConsentId) -> String {
    format!("{people_url}/consent/{id}")
}
