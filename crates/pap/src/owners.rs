//! Who owns agents: without them nothing is done that can do more than read. And what those who keep an agent
//! running declare of how it acts: what departs from that is seen; and answer for, where it forgets.

use authority::{Effect, Reader};
use model::{
    Agent, AgentName, Declared, FactKey, Forgets, Memory, PersonId, ResourceRef, WeekHours,
};
use serde_json::{Value, json};

use crate::command::{AdminError, Administration};
use crate::logged_in::By;
use crate::register::{active, put, registered};

impl Administration {
    /// Names who wants an agent and who keeps it running; who is not named is who they were, and must
    /// be here, and not have left since they were named. With a technical owner goes their word that it forgets.
    /// Of one of which nobody knows who set what it may be given, whoever says this did.
    pub(crate) async fn agent_owners(
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
        let is = (business, &agent.business_owner);
        let business = named_or_still(reader, (&agent, "business owner"), is).await?;
        let is = (technical, &agent.technical_owner);
        let technical = named_or_still(reader, (&agent, "technical owner"), is).await?;
        if technical != agent.technical_owner {
            agent.forgets = None;
        }
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

    /// Says how often and when the instances of an agent act. It permits nothing and denies nothing.
    pub(crate) async fn agent_declare(
        &self,
        by: &PersonId,
        name: &str,
        (calls_an_hour, hours): (Option<u32>, Option<&str>),
    ) -> Result<Value, AdminError> {
        let name: AgentName = name.parse().map_err(AdminError::invalid)?;
        let target = ResourceRef::Agent(name.clone());
        let mut draft = self.draft(by, "agent/declare", target).await?;
        let mut agent = registered(&mut draft.reader, &name).await?;
        let hours = hours.map(str::parse::<WeekHours>).transpose().map_err(AdminError::invalid)?;
        if calls_an_hour == Some(0) {
            let why = "an agent that asks for nothing is not declared: suspend it";
            return Err(AdminError::Invalid(why.to_owned()));
        }
        agent.declared = Declared { calls_an_hour, hours };
        let done = draft.make(json!(agent), vec![put(FactKey::agent(&name), &agent)]).await?;
        Ok(json!({ "agent": name, "declared": agent.declared, "decision": done.decision }))
    }

    /// Says what the processes of an agent remember. That they forget counts as the word of its technical
    /// owner, who alone is permitted it, and no longer than they are that and here; that they remember all counts at
    /// once, of what they read before too.
    pub async fn agent_memory(
        &self,
        by: impl Into<By<'_>>,
        mut effects: Vec<Effect>,
        (name, memory): (&str, Memory),
    ) -> Result<Value, AdminError> {
        let name: AgentName = name.parse().map_err(AdminError::invalid)?;
        let (by, since) = (by.into(), self.now());
        let (action, forgets) = match memory {
            Memory::Kept => ("agent/remember", None),
            Memory::PerTask => ("agent/forget", Some(Forgets { by: by.person.clone(), since })),
        };
        let mut draft = self.draft(by, action, ResourceRef::Agent(name.clone())).await?;
        let mut agent = registered(&mut draft.reader, &name).await?;
        (agent.memory, agent.forgets) = (memory, forgets);
        effects.push(put(FactKey::agent(&name), &agent));
        let done = draft.make(json!(agent), effects).await?;
        Ok(json!({ "agent": name, "memory": memory, "decision": done.decision }))
    }
}

/// Who is named as an owner of `agent`; otherwise who `was`, if they are so still: whoever left and came
/// back is named anew, and not by saying nothing of them.
async fn named_or_still(
    reader: &mut Reader<'_>,
    (agent, role): (&Agent, &str),
    (named, was): (Option<&str>, &PersonId),
) -> Result<PersonId, AdminError> {
    let person = active(reader, named.unwrap_or(was.as_str()), role).await?;
    if named.is_none() && !agent.is_owned_by(&person) {
        let why = format!("the {role} `{was}` left since they were named: name somebody");
        return Err(AdminError::Invalid(why));
    }
    Ok(person.id)
}
