//! What a directory is shown of agents: those that it registered, and those for which its people answer.
//!
//! INVARIANT: no id of a person who is not the directory's own
//! (`a_directory_is_told_of_its_own_people_alone`).

use std::collections::{BTreeMap, BTreeSet};

use authority::Reader;
use model::{
    Agent, AgentName, AgentState, FactKey, LEASE_MAX, Person, PersonId, ScimResource, Sha256Digest,
    SourceName, Timestamp,
};
use scim::{AGENT, Error, GOVERNANCE, Resource, USER, Version};
use serde_json::{Value, json};

use super::agents::{ACTIVE, NAME, PEOPLE};
use super::errors::unavailable;

/// Who is not of the directory: no id of a person is this.
const OTHER: &str = "(of another source)";

/// The agent `id`, if `directory` sees it.
pub(super) async fn visible(
    reader: &mut Reader<'_>,
    directory: &SourceName,
    id: &str,
) -> Result<Option<Agent>, Error> {
    let Ok(name) = id.parse::<AgentName>() else { return Ok(None) };
    let agent = reader.find::<Agent>(FactKey::agent(&name)).await.map_err(unavailable)?;
    let Some(agent) = agent else { return Ok(None) };
    let sees = Own::of(directory).sees(reader, &agent).await?;
    Ok(sees.then_some(agent))
}

/// Who is of a directory, as far as that was looked up.
pub(super) struct Own<'a> {
    directory: &'a SourceName,
    known: BTreeMap<PersonId, bool>,
}

impl<'a> Own<'a> {
    /// The people of `directory`.
    pub(super) const fn of(directory: &'a SourceName) -> Self {
        Self { directory, known: BTreeMap::new() }
    }

    /// Whether the directory sees `agent`: it registered it, or tells of who answers for it. What is gone
    /// nobody sees.
    pub(super) async fn sees(
        &mut self,
        reader: &mut Reader<'_>,
        agent: &Agent,
    ) -> Result<bool, Error> {
        if let AgentState::Retired { .. } = agent.state {
            return Ok(false);
        }
        Ok(agent.source.as_ref() == Some(self.directory)
            || self.has(reader, &agent.sponsor).await?)
    }

    /// Those who answer for `agent` and are the directory's: of others it is not told who they are.
    pub(super) async fn people(
        &mut self,
        reader: &mut Reader<'_>,
        agent: &Agent,
    ) -> Result<BTreeSet<PersonId>, Error> {
        let mut own = BTreeSet::new();
        for person in [&agent.sponsor, &agent.business_owner, &agent.technical_owner] {
            if self.has(reader, person).await? {
                own.insert(person.clone());
            }
        }
        Ok(own)
    }

    async fn has(&mut self, reader: &mut Reader<'_>, person: &PersonId) -> Result<bool, Error> {
        if let Some(is_own) = self.known.get(person) {
            return Ok(*is_own);
        }
        let found = reader.find::<Person>(FactKey::person(person)).await.map_err(unavailable)?;
        let is_own = found.is_some_and(|found| found.source.as_ref() == Some(self.directory));
        self.known.insert(person.clone(), is_own);
        Ok(is_own)
    }
}

/// What is told of `agent`, with what its directory calls it, and with those who answer for it who are its
/// `own`.
pub(super) fn told(
    agent: &Agent,
    kept: Option<&ScimResource>,
    own: &BTreeSet<PersonId>,
) -> Resource {
    let told_as = |id: &PersonId| if own.contains(id) { id.to_string() } else { OTHER.to_owned() };
    let somebody = |id: &PersonId| json!({ "value": told_as(id) });
    let people = BTreeSet::from([&agent.sponsor, &agent.business_owner, &agent.technical_owner]);
    let owners = people.into_iter().filter(|id| own.contains(*id));
    let said = kept.map(|kept| &kept.resource);
    let mut told = said.cloned().unwrap_or_default();
    let active = match (agent.state == AgentState::Active, said.map(|said| said.get(ACTIVE))) {
        (true, None) => Value::Bool(true),
        (true, Some(said)) => said.cloned().unwrap_or_default(),
        (false, Some(Some(Value::Null))) => Value::Null,
        (false, _) => Value::Bool(false),
    };
    let governance = json!({
        "sponsor": somebody(&agent.sponsor),
        "businessOwner": somebody(&agent.business_owner),
        "technicalOwner": somebody(&agent.technical_owner),
        "purposes": agent.purposes,
        "tools": agent.ceiling.tools,
        "leaseUntil": agent.leased_until().to_string(),
    });
    told.extend([
        ("schemas".to_owned(), AGENT.urns().into()),
        (NAME.to_owned(), json!(agent.name)),
        (ACTIVE.to_owned(), active),
        ("owners".to_owned(), owners.map(somebody).collect()),
        (GOVERNANCE.to_owned(), governance),
    ]);
    told
}

/// The agent as a resource. Its version follows from what is told: most of that others change.
pub(super) fn whole(
    agent: &Agent,
    kept: Option<&ScimResource>,
    own: &BTreeSet<PersonId>,
) -> ScimResource {
    let resource = told(agent, kept, own);
    let version = version_of(&resource).0;
    let lasts = i64::try_from(LEASE_MAX.as_millis()).unwrap_or_default();
    let renewed = agent.valid_until.map(|until| Timestamp::from_millis(until.as_millis() - lasts));
    let stopped = agent.state.stopped();
    let changes = [renewed, agent.owned, agent.affirmed, stopped, kept.map(|kept| kept.modified)];
    let created = kept.map_or(agent.registered, |kept| kept.created);
    let modified = changes.into_iter().flatten().fold(agent.registered, Timestamp::max);
    ScimResource { resource, version, created, modified }
}

/// The version of what is told so.
pub(super) fn version_of(resource: &Resource) -> Version {
    let digest = Sha256Digest::of(&json::canonical_of(resource));
    let (first, _) = digest.as_bytes().split_first_chunk().expect("it is longer");
    Version(u64::from_be_bytes(*first))
}

/// The agent with the URLs, which begin with `base`, of those people who answer for it and are told.
pub(super) fn with_addresses(mut agent: Resource, base: &str) -> Resource {
    let add = |somebody: &mut Value| {
        if let Some(id) = somebody["value"].as_str().filter(|id| *id != OTHER) {
            somebody["$ref"] = USER.location(base, id).into();
        }
    };
    for member in PEOPLE {
        if let Some(somebody) = agent.get_mut(GOVERNANCE).and_then(|of| of.get_mut(member)) {
            add(somebody);
        }
    }
    let owners = agent.get_mut("owners").and_then(Value::as_array_mut);
    owners.into_iter().flatten().for_each(add);
    agent
}
