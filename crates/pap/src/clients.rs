//! Which OAuth client an agent is, and what that may be given.

use authority::Effect;
use model::{AgentName, FactKey, PersonId, RegisteredClient, ResourceRef};
use oauth::client_document;
use serde_json::{Value, json};

use crate::register::{put, put_new, registered};
use crate::{AdminError, Administration};

impl Administration {
    /// Says that an agent is `client` from now on, or none. What came of another client is over: its
    /// tokens are refreshed no more, and one that is bound to no key is taken only where that may be.
    pub(crate) async fn agent_client(
        &self,
        by: &PersonId,
        name: &str,
        client: Option<RegisteredClient>,
    ) -> Result<Value, AdminError> {
        let name: AgentName = name.parse().map_err(AdminError::invalid)?;
        check_client(client.as_ref())?;
        let mut draft = self.draft(by, "agent/client", ResourceRef::Agent(name.clone())).await?;
        let mut agent = registered(&mut draft.reader, &name).await?;
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
pub(crate) fn check_client(client: Option<&RegisteredClient>) -> Result<(), AdminError> {
    let Some(client) = client else { return Ok(()) };
    if client_document::client_id(&client.id).is_some() {
        return Ok(());
    }
    let why =
        "a client's id is the https URL of its document, with a path and in its usual spelling";
    Err(AdminError::Invalid(why.to_owned()))
}
