//! Tasks that a registered system starts: what it signed, held against the register.

use authority::{Effect, FactsError, OnceScope, Reader};
use keys::VerifyingKey;
use model::{
    Agent, AgentName, Entropy, FactKey, InitiatingSystem, Mandate, MandateBasis, MandateId, Person,
    PersonId, Purpose, PurposeId, Scope, Sha256Digest, SystemName, Timestamp,
};
use oauth::initiation::{self, Initiation};

use crate::narrow;
use crate::proposed::TASK_LIFETIME;
use crate::service::once;

/// The word of a system, checked as far as is possible without a decision.
pub(crate) struct Initiated {
    basis: MandateBasis,
    pub(crate) purpose: PurposeId,
    scope: Scope,
    until: Timestamp,
    /// What its redemption uses up.
    pub(crate) uses: Effect,
}

/// Why an initiation is not taken.
pub(crate) enum NotInitiated {
    /// It is not one, is over, or is not of a system that may start this agent for this.
    Invalid,
    /// It asks for more than the purpose or the agent's ceiling holds.
    TooWide,
    /// The facts could not be read.
    Facts(FactsError),
}

impl From<FactsError> for NotInitiated {
    fn from(error: FactsError) -> Self {
        Self::Facts(error)
    }
}

impl Initiated {
    /// Reads what `agent` presents to `issuer` at `now`. `own` is a key to verify by where there is
    /// no such system, so that time tells nothing.
    pub(crate) async fn read(
        presented: &str,
        (agent, issuer): (&Agent, &str),
        (reader, own): (&mut Reader<'_>, &VerifyingKey),
        now: Timestamp,
    ) -> Result<Self, NotInitiated> {
        let claimed = initiation::claimed(presented).and_then(|name| name.parse().ok());
        let name: SystemName = claimed.ok_or(NotInitiated::Invalid)?;
        let system = reader.find::<InitiatingSystem>(FactKey::system(&name)).await?;
        let key = system.as_ref().and_then(|system| VerifyingKey::from_jwk(&system.key).ok());
        let key = key.as_ref().unwrap_or(own);
        let parties = (name.as_str(), issuer);
        let verified = initiation::verify(presented, parties, key, now.as_seconds());
        let (system, said) = system.zip(verified.ok()).ok_or(NotInitiated::Invalid)?;
        let Initiation { subject, agent: named, task, jti, exp } = said;
        let subject: PersonId = subject.parse().map_err(|_| NotInitiated::Invalid)?;
        let purpose: PurposeId = task.purpose.parse().map_err(|_| NotInitiated::Invalid)?;
        let may = named == agent.name.as_str()
            && system.agents.contains(&agent.name)
            && system.purposes.contains(&purpose)
            && agent.purposes.contains(&purpose);
        if !may || reader.find::<Person>(FactKey::person(&subject)).await?.is_none() {
            return Err(NotInitiated::Invalid);
        }
        let scope = narrow::scope(&task).ok_or(NotInitiated::Invalid)?;
        let registered: Purpose = reader.need(FactKey::purpose(&purpose)).await?;
        let scope = scope.for_objects_of([&registered.scope, &agent.ceiling]);
        if !registered.scope.includes(&scope) || !agent.ceiling.includes(&scope) {
            return Err(NotInitiated::TooWide);
        }
        let request = Sha256Digest::of(presented.as_bytes());
        let basis = MandateBasis::Initiated { system: system.name, request, subject };
        // The task may not be longer anyway, nor outlive the key by which it was asked for.
        let until = Timestamp::from_seconds(task.until).min(now.plus(TASK_LIFETIME));
        let until = until.min(system.key_expires);
        if until <= now {
            return Err(NotInitiated::Invalid);
        }
        let uses = once(OnceScope::Assertion, &key.thumbprint(), &jti, exp);
        Ok(Self { basis, purpose, scope, until, uses })
    }

    /// The mandate that it gives `agent`.
    pub(crate) fn mandate(
        self,
        agent: &AgentName,
        (now, entropy): (Timestamp, &dyn Entropy),
    ) -> Mandate {
        Mandate {
            id: MandateId::new(now, entropy),
            basis: self.basis,
            agent: agent.clone(),
            purpose: self.purpose,
            scope: self.scope,
            given: now,
            valid_until: self.until,
            withdrawn: None,
        }
    }
}
