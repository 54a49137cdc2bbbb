//! Agents, as directories see them, register them and say that they are gone
//! (draft-wzdk-scim-agent-resource-00; `docs/adr/0010-agents-of-directories.md`).
//!
//! What is told of an agent is read from the register; beside it is kept only what the directory that registered
//! it calls it. Who answers for it, and for what it is, is not the directory's to change afterwards.
//!
//! INVARIANT: nothing that a directory says lets an agent act
//! (`nothing_that_a_directory_says_lets_an_agent_act`).

use std::collections::{BTreeMap, BTreeSet};

use authority::{AdminAct, ChangedBy, Effect, Reader};
use model::{
    Agent, AgentName, AgentState, FactKey, Gives, LEASE_MAX, MandateId, Person, PersonId,
    Provisioning, Purpose, PurposeId, ResourceRef, ScimResource, Sha256Digest, SourceName,
    Timestamp,
};
use scim::{AGENT, Error, Filter, GOVERNANCE, Query, Resource, ScimType, USER, Version};
use serde_json::{Value, json};

use super::errors::{
    changed_meanwhile, is_changed_meanwhile, no_such, not_that_version, taken, unavailable,
};
use super::read::{Page, Place, SCANNED_MAX};
use super::write::{STEPS_MAX, refused};
use super::{KnownDirectory, kept_of, stored};
use crate::Administration;
use crate::command::AdminError;
use crate::lease::standing_mandate;
use crate::register::{entered, new_agent, owned_purpose, put, put_new};

/// By which an agent is known.
const NAME: &str = "agentUserName";

/// Whether an agent may act.
const ACTIVE: &str = "active";

/// What a directory calls an agent: all that it may change of one.
const SAID: [&str; 4] = [ACTIVE, "description", "displayName", "externalId"];

/// Who answers for an agent, in the order in which it is asked.
const PEOPLE: [&str; 3] = ["sponsor", "businessOwner", "technicalOwner"];

/// What becomes of an agent of a directory.
pub enum AgentChange<'a> {
    /// It is called what this says from now on (RFC 7644 §3.5.1).
    Replace(Resource),
    /// It is changed so (§3.5.2).
    Patch(&'a scim::Patch),
    /// It is gone for good (§3.6).
    Delete,
}

/// An agent as it was and is to be, with what its directory says of it.
struct Agents {
    was: Agent,
    is: Agent,
    kept: ScimResource,
    /// What is said from now on; none if it is gone.
    said: Option<Resource>,
}

/// What somebody asks of agents: a page of those that match.
struct Sought<'a> {
    query: &'a Query,
    page: Page,
}

impl Administration {
    /// Registers an agent that does nothing until its sponsor has renewed it, if policy permits that; gives
    /// its id.
    pub async fn create_agent(
        &self,
        directory: &KnownDirectory,
        said: &Resource,
    ) -> Result<String, Error> {
        let mut reader = self.reader();
        let name = said.get(NAME).and_then(Value::as_str).unwrap_or_default();
        let name: AgentName = name.parse().map_err(|error| invalid(NAME, error))?;
        let known = reader.find::<Agent>(FactKey::agent(&name)).await.map_err(unavailable)?;
        if known.is_some() {
            return Err(taken(format!("`{name}` is, or was, an agent")));
        }
        let mut people = Vec::new();
        for member in PEOPLE {
            people.push(own_active(&mut reader, &directory.name, (member, said)).await?);
        }
        let [sponsor, business, technical] =
            <[Person; 3]>::try_from(people).expect("there is one for each");
        let purpose = one_purpose(&mut reader, said).await?;
        let now = self.now();
        let people = (sponsor.id.clone(), business.id, technical.id);
        let mut agent = Agent {
            source: Some(directory.name.clone()),
            ..new_agent(name.clone(), people, &purpose, now)
        };
        let mut said = called(said);
        said.entry(ACTIVE).or_insert(Value::Bool(true));
        inactive_if_said(&mut agent, (&directory.name, &said), now)?;
        let id = MandateId::new(now, self.authority.entropy().as_ref());
        let mandate = standing_mandate(&agent, &purpose, (id, now));
        let mut effects = entered(&agent, Some(&mandate));
        let place = FactKey::scim_agent(&directory.name, name.as_str());
        effects.push(put_new(place, &kept_of(None, said, now)));
        let gives = Provisioning::of_agent(sponsor, purpose.id, Gives::Added);
        let change = json!({ "agent": agent, "mandate": mandate });
        self.agent_becomes(reader, (directory, &name), gives, (change, effects)).await?;
        Ok(name.to_string())
    }

    /// Changes what the directory says of the agent `id`, which it registered, if that is still at the
    /// `version` that is named (`If-Match`), if one is.
    pub async fn change_agent(
        &self,
        directory: &KnownDirectory,
        named: (&str, Option<&str>),
        change: &AgentChange<'_>,
    ) -> Result<(), Error> {
        for _ in 0..STEPS_MAX {
            let mut reader = self.reader();
            let agents = self.agents(&mut reader, &directory.name, (named, change)).await?;
            match self.agent_written(reader, directory, agents).await {
                Err(error) if is_changed_meanwhile(&error) => {}
                done => return done,
            }
        }
        Err(changed_meanwhile())
    }

    /// The agent that is changed, before and after.
    async fn agents(
        &self,
        reader: &mut Reader<'_>,
        directory: &SourceName,
        ((id, version), change): ((&str, Option<&str>), &AgentChange<'_>),
    ) -> Result<Agents, Error> {
        let was = visible(reader, directory, id).await?.ok_or_else(|| no_such("agent"))?;
        let kept = stored(reader, FactKey::scim_agent(directory, id)).await?;
        let Some(kept) = kept.filter(|_| was.source.as_ref() == Some(directory)) else {
            return Err(Error::of_status(403, "it was not registered by this directory"));
        };
        let resource = told(&was, Some(&kept));
        if version.is_some_and(|named| !version_of(&resource).is_in(named)) {
            return Err(not_that_version());
        }
        let (mut is, now) = (was.clone(), self.now());
        let changed = match change {
            AgentChange::Replace(said) => said.clone(),
            AgentChange::Patch(patch) => {
                let mut changed = resource.clone();
                // However many there are, they are not the directory's, and no limit of its.
                if let Some(governance) = changed.get_mut(GOVERNANCE).and_then(Value::as_object_mut)
                {
                    governance.remove("tools");
                }
                patch.apply(&mut changed)?;
                changed
            }
            AgentChange::Delete => {
                is.state = AgentState::Retired { since: now };
                return Ok(Agents { was, is, kept, said: None });
            }
        };
        stays_governed(&resource, &changed)?;
        let mut said = called(&changed);
        inactive_if_said(&mut is, (directory, &said), now)?;
        if is.state != AgentState::Active {
            // That it is not active is not taken back by saying nothing.
            said.entry(ACTIVE).or_insert(Value::Null);
        }
        Ok(Agents { was, is, kept, said: Some(said) })
    }

    async fn agent_written(
        &self,
        mut reader: Reader<'_>,
        directory: &KnownDirectory,
        Agents { was, is, kept, said }: Agents,
    ) -> Result<(), Error> {
        if is == was && said.as_ref() == Some(&kept.resource) {
            return Ok(());
        }
        let sponsor = reader.need::<Person>(FactKey::person(&is.sponsor)).await;
        let sponsor = sponsor.map_err(unavailable)?;
        let purpose =
            is.purposes.first().cloned().ok_or_else(|| unavailable("it is for nothing"))?;
        let key = FactKey::scim_agent(&directory.name, is.name.as_str());
        let kept = match said {
            Some(said) => put(key, &kept_of(Some(&kept), said, self.now())),
            None => Effect::Remove { key },
        };
        let effects = vec![put(FactKey::agent(&is.name), &is), kept];
        let gives = Provisioning::of_agent(sponsor, purpose, Gives::Nothing);
        let change = json!({ "agent": is });
        self.agent_becomes(reader, (directory, &is.name), gives, (change, effects)).await
    }

    /// Decides on what becomes of an agent, and puts it in force if what `reader` has read is as it was.
    async fn agent_becomes(
        &self,
        reader: Reader<'_>,
        (directory, name): (&KnownDirectory, &AgentName),
        gives: Provisioning,
        (change, effects): (Value, Vec<Effect>),
    ) -> Result<(), Error> {
        let read = reader.sourced(());
        let sponsor = gives.person.as_ref().map(|sponsor| sponsor.id.clone());
        let person = sponsor.ok_or_else(|| unavailable("nobody answers for it"))?;
        let is_new = gives.gives == Gives::Added;
        let name_of = directory.name.clone();
        let act = AdminAct {
            by: ChangedBy::Directory { name: name_of, person, gives, data_key: None, signal: None },
            action: if is_new { "agent/provision" } else { "agent/restrict" },
            target: ResourceRef::Agent(name.clone()),
            change,
            reads: (read.keys, read.revision),
            effects,
        };
        self.authority.administer(act).await.map(drop).map_err(refused)
    }

    /// The agent `id`, if the directory sees it.
    pub(super) async fn agent_seen(
        &self,
        reader: &mut Reader<'_>,
        place: &Place<'_>,
        id: &str,
    ) -> Result<Option<ScimResource>, Error> {
        let Some(agent) = visible(reader, place.directory, id).await? else { return Ok(None) };
        let kept = self.agent_kept(reader, place, &agent).await?;
        Ok(Some(whole(&agent, kept.as_ref())))
    }

    /// The agents that `query` asks for, of those that the directory sees.
    pub(super) async fn agents_page(
        &self,
        place: &Place<'_>,
        query: &Query,
    ) -> Result<Page, Error> {
        let mut sought = Sought { query, page: Page::default() };
        if let Some(name) = query.filter.as_ref().and_then(name_in) {
            let mut reader = self.reader();
            if let Some(kept) = self.agent_seen(&mut reader, place, &name).await? {
                sought.look_at(self.completed(&mut reader, place, (&name, kept)).await?);
            }
            return Ok(sought.page);
        }
        let (mut pages, mut looked_at) = (self.pages("agent/"), 0);
        // Whether somebody who answers for agents is of the directory.
        let mut own: BTreeMap<PersonId, bool> = BTreeMap::new();
        while let Some(facts) = pages.next().await.map_err(unavailable)? {
            looked_at += facts.len();
            if query.filter.is_some() && looked_at > SCANNED_MAX {
                let why = format!("more than {SCANNED_MAX}: filter by `{NAME}` or `id` with `eq`");
                return Err(Error::new(ScimType::TooMany, why));
            }
            for (_, body) in facts {
                let agent: Agent = serde_json::from_slice(&body).map_err(unavailable)?;
                let mut reader = self.reader();
                if !own.contains_key(&agent.sponsor) {
                    let is_own = is_own(&mut reader, place.directory, &agent.sponsor).await?;
                    own.insert(agent.sponsor.clone(), is_own);
                }
                if !is_visible(&agent, place.directory, own.get(&agent.sponsor) == Some(&true)) {
                    continue;
                }
                let kept = self.agent_kept(&mut reader, place, &agent).await?;
                let whole = (agent.name.as_str(), whole(&agent, kept.as_ref()));
                sought.look_at(self.completed(&mut reader, place, whole).await?);
            }
        }
        Ok(sought.page)
    }

    /// What the directory calls `agent`, if it registered it.
    async fn agent_kept(
        &self,
        reader: &mut Reader<'_>,
        place: &Place<'_>,
        agent: &Agent,
    ) -> Result<Option<ScimResource>, Error> {
        if agent.source.as_ref() != Some(place.directory) {
            return Ok(None);
        }
        stored(reader, place.of(agent.name.as_str())).await
    }
}

impl Sought<'_> {
    /// Counts `resource` if it matches, and keeps it if it is of the page.
    fn look_at(&mut self, resource: Resource) {
        let Query { filter, start_index, count, .. } = self.query;
        if !filter.as_ref().is_none_or(|filter| filter.matches(&resource)) {
            return;
        }
        let first = start_index - 1;
        if (first..first.saturating_add(*count)).contains(&self.page.total) {
            self.page.resources.push(resource);
        }
        self.page.total += 1;
    }
}

/// The agent `id`, if `directory` sees it.
async fn visible(
    reader: &mut Reader<'_>,
    directory: &SourceName,
    id: &str,
) -> Result<Option<Agent>, Error> {
    let Ok(name) = id.parse::<AgentName>() else { return Ok(None) };
    let agent = reader.find::<Agent>(FactKey::agent(&name)).await.map_err(unavailable)?;
    let Some(agent) = agent else { return Ok(None) };
    let is_own = is_own(reader, directory, &agent.sponsor).await?;
    Ok(is_visible(&agent, directory, is_own).then_some(agent))
}

/// Whether `directory` sees `agent`: it registered it, or tells of who answers for it. What is gone nobody sees.
fn is_visible(agent: &Agent, directory: &SourceName, is_sponsor_own: bool) -> bool {
    let is_gone = matches!(agent.state, AgentState::Retired { .. });
    !is_gone && (is_sponsor_own || agent.source.as_ref() == Some(directory))
}

/// Whether `person` is of `directory`.
async fn is_own(
    reader: &mut Reader<'_>,
    directory: &SourceName,
    person: &PersonId,
) -> Result<bool, Error> {
    let person = reader.find::<Person>(FactKey::person(person)).await.map_err(unavailable)?;
    Ok(person.is_some_and(|person| person.source.as_ref() == Some(directory)))
}

/// The name that all agents have that match `filter`, if it says one.
fn name_in(filter: &Filter) -> Option<String> {
    let named = filter.equalities().into_iter().find(|it| ["id", NAME].contains(&it.attribute));
    named.map(|it| it.value.to_owned())
}

/// The active person of `directory` whom `said` names as `member`.
async fn own_active(
    reader: &mut Reader<'_>,
    directory: &SourceName,
    (member, said): (&str, &Resource),
) -> Result<Person, Error> {
    let value = said.get(GOVERNANCE).and_then(|of| of.get(member)?.get("value")?.as_str());
    let named = value.unwrap_or_default();
    let stranger = || invalid(member, format!("`{named}` is no user of this directory"));
    let id: PersonId = named.parse().map_err(|_| stranger())?;
    let person = reader.find::<Person>(FactKey::person(&id)).await.map_err(unavailable)?;
    let own = person.filter(|person| person.source.as_ref() == Some(directory));
    let own = own.ok_or_else(stranger)?;
    if own.is_active() { Ok(own) } else { Err(invalid(member, format!("`{named}` is not active"))) }
}

/// The one purpose that `said` names.
async fn one_purpose(reader: &mut Reader<'_>, said: &Resource) -> Result<Purpose, Error> {
    const MEMBER: &str = "purposes";
    let all = said.get(GOVERNANCE).and_then(|of| of.get(MEMBER)?.as_array());
    let Some([Value::String(named)]) = all.map(Vec::as_slice) else {
        return Err(invalid(MEMBER, "an agent is registered for one"));
    };
    let wanted: PurposeId = named.parse().map_err(|error| invalid(MEMBER, error))?;
    owned_purpose(reader, &wanted).await.map_err(|error| match error {
        AdminError::Missing(_) => invalid(MEMBER, format!("there is no `{wanted}`")),
        AdminError::Invalid(_) => invalid(MEMBER, format!("nobody answers for `{wanted}`")),
        other => unavailable(other),
    })
}

/// What a directory calls an agent, of all that is told of it.
fn called(resource: &Resource) -> Resource {
    let said = resource.iter().filter(|(member, _)| SAID.contains(&member.as_str()));
    said.map(|(member, value)| (member.clone(), value.clone())).collect()
}

/// Stops `agent` if `directory` says that it is not active. It does not start it again.
fn inactive_if_said(
    agent: &mut Agent,
    (directory, said): (&SourceName, &Resource),
    now: Timestamp,
) -> Result<(), Error> {
    let is_active = agent.state == AgentState::Active;
    match said.get(ACTIVE) {
        Some(Value::Bool(false)) if is_active => {
            let reason = format!("the directory `{directory}` says that it is not active");
            agent.state = AgentState::Suspended { reason, since: now };
            Ok(())
        }
        Some(Value::Bool(true)) if !is_active => {
            let why = format!("`{ACTIVE}`: who was suspended does not come back: register another");
            Err(Error::new(ScimType::Mutability, why))
        }
        _ => Ok(()),
    }
}

/// That who answers for an agent, and what it is, stays as it was.
fn stays_governed(was: &Resource, is: &Resource) -> Result<(), Error> {
    let governed = |of: &Resource, member: &str| of.get(GOVERNANCE)?.get(member).cloned();
    let is_other = |member: &&str| governed(was, member) != governed(is, member);
    let other = PEOPLE.iter().copied().chain(["purposes"]).find(is_other);
    let other = other.or_else(|| (was.get(NAME) != is.get(NAME)).then_some(NAME));
    let Some(member) = other else { return Ok(()) };
    Err(Error::new(ScimType::Mutability, format!("attribute `{member}` is immutable")))
}

/// What is told of `agent`, with what its directory calls it.
fn told(agent: &Agent, kept: Option<&ScimResource>) -> Resource {
    let somebody = |id: &PersonId| json!({ "value": id });
    let owners = BTreeSet::from([&agent.sponsor, &agent.business_owner, &agent.technical_owner]);
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
        ("owners".to_owned(), owners.into_iter().map(somebody).collect()),
        (GOVERNANCE.to_owned(), governance),
    ]);
    told
}

/// The agent as a resource. Its version follows from what is told: most of that others change.
fn whole(agent: &Agent, kept: Option<&ScimResource>) -> ScimResource {
    let resource = told(agent, kept);
    let version = version_of(&resource).0;
    let lasts = i64::try_from(LEASE_MAX.as_millis()).unwrap_or_default();
    let renewed = agent.valid_until.map(|until| Timestamp::from_millis(until.as_millis() - lasts));
    let since = match &agent.state {
        AgentState::Active => None,
        AgentState::Suspended { since, .. } | AgentState::Retired { since } => Some(*since),
    };
    let changes = [renewed, agent.owned, agent.affirmed, since, kept.map(|kept| kept.modified)];
    let created = kept.map_or(agent.registered, |kept| kept.created);
    let modified = changes.into_iter().flatten().fold(agent.registered, Timestamp::max);
    ScimResource { resource, version, created, modified }
}

/// The version of what is told so.
fn version_of(resource: &Resource) -> Version {
    let digest = Sha256Digest::of(&json::canonical_of(resource));
    let (first, _) = digest.as_bytes().split_first_chunk().expect("it is longer");
    Version(u64::from_be_bytes(*first))
}

/// The agent with the URLs, which begin with `base`, of the people who answer for it.
pub(super) fn with_addresses(mut agent: Resource, base: &str) -> Resource {
    let add = |somebody: &mut Value| {
        let url = somebody["value"].as_str().map(|id| USER.location(base, id));
        somebody["$ref"] = url.into();
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

/// That `member` is not as it must be.
fn invalid(member: &str, why: impl std::fmt::Display) -> Error {
    Error::new(ScimType::InvalidValue, format!("`{member}`: {why}"))
}
