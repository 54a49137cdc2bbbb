//! Which OAuth client an agent is, and what that may be given.

use authority::Effect;
use model::{AgentName, FactKey, PersonId, RegisteredClient, ResourceRef, Timestamp};
use oauth::client_document;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::register::{put, put_new, registered};
use crate::{AdminError, Administration};

/// What an administrator says of an OAuth client.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientRegistration {
    /// Its `client_id`: the URL of the document that describes it.
    pub id: String,
    /// Whether it may be given tokens that are bound to no key.
    pub bearer: bool,
}

impl ClientRegistration {
    /// The client, registered `since` now.
    pub(crate) fn registered(self, since: Timestamp) -> RegisteredClient {
        RegisteredClient { id: self.id, bearer: self.bearer, since }
    }
}

impl Administration {
    /// Says that an agent is `client` from now on, or none. What came of a client before is over: its
    /// tokens are refreshed no more, and one that is bound to no key is taken only where that may be.
    pub(crate) async fn agent_client(
        &self,
        by: &PersonId,
        name: &str,
        client: Option<ClientRegistration>,
    ) -> Result<Value, AdminError> {
        let name: AgentName = name.parse().map_err(AdminError::invalid)?;
        check_client(client.as_ref())?;
        let mut draft = self.draft(by, "agent/client", ResourceRef::Agent(name.clone())).await?;
        let mut agent = registered(&mut draft.reader, &name).await?;
        let client = client.map(|client| client.registered(self.now()));
        let [before, after] =
            [&agent.client, &client].map(|it| it.as_ref().map(|it| it.id.clone()));
        let mut effects = Vec::new();
        if before != after {
            let place = |id: &String| FactKey::client(id);
            effects.extend(before.iter().map(|id| Effect::Remove { key: place(id) }));
            effects.extend(after.iter().map(|id| put_new(place(id), &name)));
        }
        agent.client = client;
        effects.push(put(FactKey::agent(&name), &agent));
        let done = draft.make(json!({ "client": agent.client }), effects).await?;
        Ok(json!({ "agent": name, "client": agent.client, "decision": done.decision }))
    }
}

/// Refuses what is no `client_id`.
pub(crate) fn check_client(client: Option<&ClientRegistration>) -> Result<(), AdminError> {
    let Some(client) = client else { return Ok(()) };
    if client_document::client_id(&client.id).is_some() {
        return Ok(());
    }
    let why =
        "a client's id is the https URL of its document, with a path and in its usual spelling";
    Err(AdminError::Invalid(why.to_owned()))
}
