//! Who owns agents and purposes: without them nothing is done that can do more than read.

use model::{AgentName, FactKey, PersonId, Purpose, PurposeId, ResourceRef};
use serde_json::{Value, json};

use crate::asked::Command;
use crate::command::{AdminError, Administration};
use crate::register::{active, put, registered};

impl Administration {
    pub(crate) async fn owners(
        &self,
        by: &PersonId,
        command: Command,
    ) -> Result<Value, AdminError> {
        match command {
            Command::AgentOwners { name, business_owner, technical_owner } => {
                let named = (business_owner.as_deref(), technical_owner.as_deref());
                self.agent_owners(by, &name, named).await
            }
            Command::PurposeOwner { id, owner } => self.purpose_owner(by, &id, &owner).await,
            other => unreachable!("{other:?} is about no owner"),
        }
    }

    /// Names who wants an agent and who keeps it running; who is not named is who they were, and must
    /// be here. Of one of which nobody knows who set what it may be given, whoever says this did.
    async fn agent_owners(
        &self,
        by: &PersonId,
        name: &str,
        (business, technical): (Option<&str>, Option<&str>),
    ) -> Result<Value, AdminError> {
        let name: AgentName = name.parse().map_err(AdminError::invalid)?;
        let target = ResourceRef::Agent(name.clone());
        let mut draft = self.draft(by, "agent/owners", target).await?;
        let reader = &mut draft.reader;
        let mut agent = registered(reader, &name).await?;
        let business = business.unwrap_or(agent.business_owner.as_str());
        let business = active(reader, business, "business owner").await?.id;
        let technical = technical.unwrap_or(agent.technical_owner.as_str());
        let technical = active(reader, technical, "technical owner").await?.id;
        (agent.business_owner, agent.technical_owner) = (business, technical);
        agent.owned = Some(self.now());
        agent.bounded_by = Some(agent.bounded_by.unwrap_or_else(|| by.clone()));
        let done = draft.make(json!(agent), vec![put(FactKey::agent(&name), &agent)]).await?;
        Ok(json!({
            "agent": name,
            "business_owner": agent.business_owner,
            "technical_owner": agent.technical_owner,
            "bounded_by": agent.bounded_by,
            "decision": done.decision,
        }))
    }

    /// Names who answers for a purpose.
    async fn purpose_owner(
        &self,
        by: &PersonId,
        id: &str,
        owner: &str,
    ) -> Result<Value, AdminError> {
        let id: PurposeId = id.parse().map_err(AdminError::invalid)?;
        let target = ResourceRef::Purpose(id.clone());
        let mut draft = self.draft(by, "purpose/owner", target).await?;
        let found = draft.reader.find::<Purpose>(FactKey::purpose(&id)).await;
        let found = found.map_err(AdminError::unavailable)?;
        let mut purpose = found.ok_or_else(|| AdminError::Missing(format!("purpose `{id}`")))?;
        purpose.owner = active(&mut draft.reader, owner, "owner").await?.id;
        purpose.owned = Some(self.now());
        let done = draft.make(json!(purpose), vec![put(FactKey::purpose(&id), &purpose)]).await?;
        Ok(json!({ "purpose": id, "owner": purpose.owner, "decision": done.decision }))
    }
}
