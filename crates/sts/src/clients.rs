//! Clients that are known by a document of theirs: which agent one is, and what it says of itself.
//!
//! An administrator says which agent a client is, by its `client_id`. What anybody else names is
//! refused before it is looked at: a document that is fetched for whoever asks would be a way to
//! make us ask for others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use https_url::HttpsUrl;
use model::{Agent, AgentName, Clock, FactKey, Sha256Digest, Thumbprint};
use oauth::client_document::{self, ClientDocument};
use oauth::{ErrorCode, OAuthError};
use serde_json::Value;

use crate::client;
use crate::service::{TokenRefusal, TokenService, unavailable};
use crate::turns::Turns;

/// How long a client's document counts once it was fetched.
const FRESH: Duration = Duration::from_mins(10);

/// How long nobody asks again for one that could not be had.
const NOT_AGAIN: Duration = Duration::from_secs(10);

/// The most documents that are kept. There is one for each client that is registered.
const KEPT_MAX: usize = 256;

/// Fetches the documents of clients.
#[async_trait]
pub trait Documents: Send + Sync {
    /// The JSON document at `url`, or why there is none.
    async fn fetch(&self, url: &HttpsUrl) -> Result<Value, String>;
}

/// The documents of clients, each for a while.
pub(crate) struct Clients {
    documents: Arc<dyn Documents>,
    kept: Mutex<BTreeMap<String, (Duration, Fetched)>>,
    /// One fetch at a time for each.
    turns: Turns,
}

/// A document, or why there is none.
type Fetched = Result<Arc<ClientDocument>, NoDocument>;

/// Why there is no document that could be used.
#[derive(Clone)]
struct NoDocument {
    cause: &'static str,
    why: String,
}

impl TokenService {
    /// The same, at which people authorize clients whose `documents` can be fetched. They consent at
    /// the pages of [`Self::with_consent_at`].
    #[must_use]
    pub fn with_clients(mut self, documents: Arc<dyn Documents>) -> Self {
        let (kept, turns) = (Mutex::default(), Turns::default());
        self.clients = Some(Clients { documents, kept, turns });
        self
    }

    /// The agent that an administrator registered the client `id` as. To whom asks, every failure
    /// looks the same.
    pub(crate) async fn registered(&self, id: &str) -> Result<Agent, TokenRefusal> {
        let mut reader = self.authority.pip().reader();
        let name = reader.find::<AgentName>(FactKey::client(id)).await.map_err(unavailable)?;
        let name = name.filter(|_| self.clients.is_some()).ok_or_else(client::unknown)?;
        let agent = reader.find::<Agent>(FactKey::agent(&name)).await.map_err(unavailable)?;
        let is_it = |agent: &Agent| agent.client.as_ref().is_some_and(|client| client.id == id);
        let agent = agent.filter(is_it).ok_or_else(client::unknown)?;
        self.is_active(&agent).map(|()| agent)
    }

    /// What the client of `agent` says of itself.
    pub(crate) async fn document(
        &self,
        agent: &Agent,
    ) -> Result<Arc<ClientDocument>, TokenRefusal> {
        let (id, clients) = agent
            .client
            .as_ref()
            .zip(self.clients.as_ref())
            .map(|(client, clients)| (client.id.as_str(), clients))
            .ok_or_else(client::unknown)?;
        let fetched = clients.fetched(id, self.authority.clock().as_ref()).await;
        fetched.map_err(|NoDocument { cause, why }| {
            let error =
                OAuthError::new(ErrorCode::InvalidClient, "the client's document cannot be used");
            TokenRefusal::of(cause, error, agent).with([("why", why)])
        })
    }
}

impl Clients {
    /// What was fetched for the client `id`, or is now: by one at a time.
    async fn fetched(&self, id: &str, clock: &dyn Clock) -> Fetched {
        if let Some(kept) = self.kept(id, clock.monotonic()) {
            return kept;
        }
        let turn = Thumbprint::from_bytes(*Sha256Digest::of(id.as_bytes()).as_bytes());
        let _turn = self.turns.enter(turn).await;
        if let Some(kept) = self.kept(id, clock.monotonic()) {
            return kept;
        }
        let fetched = self.fetch(id).await;
        self.keep(id, clock.monotonic(), fetched)
    }

    async fn fetch(&self, id: &str) -> Fetched {
        let invalid = |why: String| NoDocument { cause: "client_document_invalid", why };
        let url = client_document::client_id(id);
        let url = url.ok_or_else(|| invalid("it is no URL of a document".to_owned()))?;
        let fetched = self.documents.fetch(&url).await;
        let cause = "client_document_unavailable";
        let fetched = fetched.map_err(|why| NoDocument { cause, why })?;
        let read = ClientDocument::read(&fetched, id);
        read.map(Arc::new).map_err(|error| invalid(error.to_string()))
    }

    fn kept(&self, id: &str, now: Duration) -> Option<Fetched> {
        let kept = self.kept.lock().expect("no panic while it is held");
        kept.get(id).filter(|kept| counts(kept, now)).map(|(_, fetched)| fetched.clone())
    }

    fn keep(&self, id: &str, now: Duration, fetched: Fetched) -> Fetched {
        let mut kept = self.kept.lock().expect("no panic while it is held");
        kept.retain(|_, kept| counts(kept, now));
        if kept.len() >= KEPT_MAX {
            let oldest = kept.iter().min_by_key(|(_, (at, _))| *at).map(|(id, _)| id.clone());
            oldest.and_then(|oldest| kept.remove(&oldest));
        }
        kept.insert(id.to_owned(), (now, fetched.clone()));
        fetched
    }
}

/// Whether what was fetched then counts at `now`.
fn counts((at, fetched): &(Duration, Fetched), now: Duration) -> bool {
    let long = if fetched.is_ok() { FRESH } else { NOT_AGAIN };
    now.saturating_sub(*at) < long
}
