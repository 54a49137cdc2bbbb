//! Callers that showed what is another's, or worth nothing: whose that is, is looked up once they are answered, so
//! that no answer tells who is in the register.

use std::collections::BTreeSet;
use std::sync::Arc;

use journal::Journal;
use model::{
    Clock, Entropy, FactKey, Instance, InstanceId, PersonId, RecordId, Sha256Digest, Stranger,
    Thumbprint,
};
use tokio::sync::{Semaphore, mpsc};

use crate::outcomes::Queued;
use crate::reader::Reader;
use crate::{Authority, refusals};

/// The cause of a finding where a person's own credential is shown, and what records the same of each refusal
/// of it: no agent acts by that.
pub const HUMAN_CREDENTIAL: &str = "human_credential";

/// A caller that showed what is worth nothing.
pub struct Shown {
    /// The logins that it names, each with the digest of the credential that does.
    pub logins: Vec<(FactKey, Sha256Digest)>,
    /// The caller, if one of them is a person's.
    pub of_person: Stranger,
    /// The caller, if none is.
    pub otherwise: Option<Stranger>,
    /// The record of its refusal, if there is one of it alone.
    pub refusal: Option<RecordId>,
}

/// Tells apart who showed something.
pub(crate) struct Apart {
    journal: Journal,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// Places for refusals on their way into the log, and the way.
    places: Arc<Semaphore>,
    queue: mpsc::WeakUnboundedSender<Queued>,
}

impl Apart {
    pub(crate) fn of(authority: &Authority) -> Self {
        Self {
            journal: authority.journal.clone(),
            clock: authority.clock.clone(),
            entropy: authority.entropy.clone(),
            places: authority.refusals.clone(),
            queue: authority.outcomes.downgrade(),
        }
    }

    /// Who somebody is that showed what is worth nothing.
    pub(crate) async fn told(&self, shown: Shown) -> Option<Stranger> {
        let Shown { logins, of_person, otherwise, refusal } = shown;
        for (login, credential) in logins {
            let mut reader = Reader::new(self.journal.store().as_ref());
            // What cannot be read now says of nobody whose it is.
            if let Ok(Some(person)) = reader.find::<PersonId>(login).await {
                if let Some(refusal) = refusal {
                    self.record(refusal, credential);
                }
                let cause = HUMAN_CREDENTIAL.to_owned();
                let (credential, person) = (Some(credential), Some(person));
                return Some(Stranger { cause, credential, person, ..of_person });
            }
        }
        otherwise
    }

    /// The same stranger, who is the instance that has `key`, if one has: with it among those that share what was
    /// shown.
    pub(crate) async fn with_key(&self, mut stranger: Stranger, key: &Thumbprint) -> Stranger {
        let mut reader = Reader::new(self.journal.store().as_ref());
        // What cannot be read now says of nobody whose it is.
        let Ok(Some(id)) = reader.find::<InstanceId>(FactKey::key(key)).await else {
            return stranger;
        };
        let Ok(Some(instance)) = reader.find::<Instance>(FactKey::instance(id)).await else {
            return stranger;
        };
        let agents: BTreeSet<_> =
            stranger.agents.into_iter().chain([instance.agent.clone()]).collect();
        stranger.agents = agents.into_iter().collect();
        stranger.instances.push(id);
        Stranger { proven: Some(instance.agent), ..stranger }
    }

    /// Records that what was refused is a person's own credential, for whoever reads the log: who was refused does
    /// not learn it, and the record names nobody. As the refusal, it is written once or not at all.
    fn record(&self, refusal: RecordId, credential: Sha256Digest) {
        let Some(queue) = self.queue.upgrade() else { return };
        let Ok(place) = self.places.clone().try_acquire_owned() else { return };
        let details = [("credential", credential.to_string()), ("refusal", refusal.to_string())];
        let details = details.map(|(name, value)| (name.to_owned(), value)).into();
        let stamp = (self.clock.now(), self.entropy.as_ref());
        let entry = refusals::event(stamp, HUMAN_CREDENTIAL, details);
        let _ = queue.send(Queued::Refusal(refusals::unit(vec![entry]), place));
    }
}
