//! Clients that are known by a document of theirs: which agent one is, and what it says of itself.
//!
//! An administrator says which agent a client is, by its `client_id`. What anybody else names is
//! refused before it is looked at: a document that is fetched for whoever asks would be a way to
//! make us ask for others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use authority::Reader;
use https_url::HttpsUrl;
use model::{Agent, AgentName, FactKey};
use oauth::client_document::{self, ClientDocument};
use oauth::{ErrorCode, OAuthError};
use serde_json::Value;

use crate::client;
use crate::service::{TokenRefusal, TokenService, unavailable};

/// How long a client's document counts once it was fetched.
const FRESH: Duration = Duration::from_mins(10);

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
    kept: Mutex<BTreeMap<String, (Duration, Arc<ClientDocument>)>>,
}

impl TokenService {
    /// The same, at which people authorize clients whose `documents` can be fetched. They consent at
    /// the pages of [`Self::with_consent_at`].
    #[must_use]
    pub fn with_clients(mut self, documents: Arc<dyn Documents>) -> Self {
        self.clients = Some(Clients { documents, kept: Mutex::default() });
        self
    }

    /// The agent that an administrator registered the client `id` as. To whom asks, every failure
    /// looks the same.
    pub(crate) async fn registered(&self, id: &str) -> Result<Agent, TokenRefusal> {
        let mut reader = Reader::new(self.authority.pip().store());
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
        let now = self.authority.clock().monotonic();
        if let Some(kept) = clients.kept(id, now) {
            return Ok(kept);
        }
        let refuse = |cause, why: String| {
            let error =
                OAuthError::new(ErrorCode::InvalidClient, "the client's document cannot be used");
            Err(TokenRefusal::of(cause, error, agent).with([("why", why)]))
        };
        let Some(url) = client_document::client_id(id) else {
            return refuse("client_document_invalid", "it is no URL of a document".to_owned());
        };
        let fetched = match clients.documents.fetch(&url).await {
            Ok(fetched) => fetched,
            Err(why) => return refuse("client_document_unavailable", why),
        };
        match ClientDocument::read(&fetched, id) {
            Ok(read) => Ok(clients.keep(id, now, read)),
            Err(error) => refuse("client_document_invalid", error.to_string()),
        }
    }
}

impl Clients {
    fn kept(&self, id: &str, now: Duration) -> Option<Arc<ClientDocument>> {
        let kept = self.kept.lock().expect("no panic while it is held");
        let (at, document) = kept.get(id)?;
        (now.saturating_sub(*at) < FRESH).then(|| document.clone())
    }

    fn keep(&self, id: &str, now: Duration, read: ClientDocument) -> Arc<ClientDocument> {
        let document = Arc::new(read);
        let mut kept = self.kept.lock().expect("no panic while it is held");
        kept.retain(|_, (at, _)| now.saturating_sub(*at) < FRESH);
        if kept.len() < KEPT_MAX {
            kept.insert(id.to_owned(), (now, document.clone()));
        }
        document
    }
}
