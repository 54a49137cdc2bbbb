//! Tasks to which a person consented: what became of a pushed request, as its agent learns it.

use authority::{Effect, OnceScope};
use model::{
    Agent, Consent, ConsentId, ConsentState, FactKey, Mandate, MandateBasis, MandateId, PurposeId,
};
use oauth::{ErrorCode, OAuthError, consent};

use crate::service::{TokenRefusal, TokenService, once, unavailable};

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
    /// What a person answered to what `agent` asked under `request_uri`. What another agent asked and
    /// what nobody did look the same.
    pub(crate) async fn consented(
        &self,
        request_uri: &str,
        agent: &Agent,
    ) -> Result<Consented, TokenRefusal> {
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
                return refuse(ErrorCode::ExpiredToken, "consent_expired", why);
            }
        };
        let mandate: Mandate = reader.need(FactKey::mandate(mandate)).await.map_err(unavailable)?;
        if mandate.withdrawn.is_some() {
            let why = "the consent was withdrawn";
            return refuse(ErrorCode::AccessDenied, "consent_withdrawn", why);
        }
        if mandate.valid_until <= now {
            let why = "the consent is over: push another request";
            return refuse(ErrorCode::ExpiredToken, "consent_over", why);
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
        let uri = self.people_url.as_ref().map(|url| consent_uri(url, id));
        TokenRefusal::decided(match uri {
            Some(uri) => error.with_consent_uri(uri),
            None => error,
        })
    }
}

/// The page at `people_url` where a person answers what `id` asks.
pub(crate) fn consent_uri(people_url: &str, id: ConsentId) -> String {
    format!("{people_url}/consent/{id}")
}
