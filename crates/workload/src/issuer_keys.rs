//! The keys of issuers that are registered while the service runs, and vouch for no workload.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use https_url::HttpsUrl;
use oauth::jwks::PublicKey;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::Parts;
use crate::error::VerifyError;
use crate::origin::Origin;
use crate::source::{Source, World};

/// The most issuers whose keys are kept.
pub(crate) const ISSUERS_MAX: usize = 64;

/// The keys of issuers, each fetched by its metadata when it is first needed, and kept fresh from then
/// on. Whose keys may be asked for, whoever asks knows.
pub struct IssuerKeys {
    known: Mutex<BTreeMap<String, Arc<Source>>>,
    world: Arc<World>,
    stopped: CancellationToken,
}

impl IssuerKeys {
    /// No keys yet. They are used for `keys_last` after they were last seen, and kept fresh until
    /// `stopped`.
    pub fn new(parts: Parts, keys_last: Duration, stopped: CancellationToken) -> Self {
        let Parts { fetcher, clock, tasks } = parts;
        let world = Arc::new(World { fetcher, clock, tasks, keys_last });
        Self { known: Mutex::default(), world, stopped }
    }

    /// The key that `kid` names of `issuer`, whose metadata are at `metadata`. If it is not known, the
    /// issuer is asked, unless it just was.
    pub async fn key(
        &self,
        (issuer, metadata): (&str, HttpsUrl),
        kid: Option<&str>,
    ) -> Result<Arc<PublicKey>, VerifyError> {
        let source = self.source(issuer, metadata).ok_or(VerifyError::KeysUnavailable)?;
        source.key(kid).await
    }

    /// What the metadata by which the keys of `issuer` were fetched say as `member`; none, if its keys are not
    /// known now.
    pub fn told(&self, issuer: &str, member: &str) -> Option<Value> {
        let source = self.known.lock().expect("no panic while it is held").get(issuer).cloned();
        source?.told(member)
    }

    /// The keys of `issuer`; none if there are too many others.
    fn source(&self, issuer: &str, metadata: HttpsUrl) -> Option<Arc<Source>> {
        let mut known = self.known.lock().expect("no panic while it is held");
        if let Some(source) = known.get(issuer) {
            return Some(source.clone());
        }
        if known.len() >= ISSUERS_MAX {
            return None;
        }
        let origin = Origin::Metadata { issuer: issuer.to_owned(), metadata };
        let source = Source::new(issuer.to_owned(), origin, self.world.clone());
        self.world.tasks.spawn(source.clone().keep_fresh(self.stopped.clone()));
        known.insert(issuer.to_owned(), source.clone());
        Some(source)
    }
}
