//! Agents, as directories see them, register them and say that they are gone
//! (draft-wzdk-scim-agent-resource-00; `docs/adr/0010-agents-of-directories.md`).
//!
//! What is told of an agent is read from the register; beside it is kept only what the directory that registered
//! it calls it. Who answers for it, and for what it is, is not the directory's to change afterwards.
//!
//! INVARIANT: nothing that a directory says lets an agent act
//! (`nothing_that_a_directory_says_lets_an_agent_act`).

use authority::{AdminAct, ChangedBy, Effect, Reader};
use model::{
    Agent, AgentName, AgentState, FactKey, Gives, MandateId, Person, PersonId, Provisioning,
    Purpose, PurposeId, ResourceRef, Revision, ScimResource, SourceName, Timestamp,
};
use scim::{Error, Filter, GOVERNANCE, Query, Resource, ScimType};
use serde_json::{Value, json};

use super::errors::{
    changed_meanwhile, is_changed_meanwhile, no_such, not_that_version, taken, unavailable,
};
use super::read::{Kind, Page, Place, SCANNED_MAX};
use super::shown::{Own, told, version_of, visible, whole};
use super::write::{Done, STEPS_MAX, refused};
use super::{KnownDirectory, kept_of, stored};
use crate::Administration;
use crate::command::AdminError;
use crate::lease::standing_mandate;
use crate::register::{entered, new_agent, owned_purpose, put, put_new};

/// By which an agent is known.
pub(super) const NAME: &str = "agentUserName";

/// Whether an agent may act.
pub(super) const ACTIVE: &str = "active";

/// What a directory calls an agent: all that it may change of one.
const SAID: [&str; 4] = [ACTIVE, "description", "displayName", "externalId"];

/// What it is for.
const PURPOSES: &str = "purposes";

/// Who answers for an agent, in the order in which it is asked.
pub(super) const PEOPLE: [&str; 3] = ["sponsor", "businessOwner", "technicalOwner"];

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
    /// How much of what was asked for this is.
    done: Done,
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
        let _on_its_way = self.authority.journal().store().announce();
        let mut reader = self.knowing();
        directory.still_known(&mut reader).await?;
        let name = said.get(NAME).and_then(Value::as_str).unwrap_or_default();
        let name: AgentName = name.parse().map_err(|error| invalid(NAME, error))?;
        let mut people = Vec::new();
        for member in PEOPLE {
            people.push(own_active(&mut reader, &directory.name, (member, said)).await?);
        }
        let [sponsor, business, technical] =
            <[Person; 3]>::try_from(people).expect("there is one for each");
        let wanted = one_purpose(said)?;
        let gives = Provisioning::of_agent(sponsor.clone(), wanted.clone(), Gives::Added);
        // Whoever may not do it is not told what there is.
        let asked = provisioned((directory, &name), gives.clone())?;
        self.authority.may_administer(&asked).await.map_err(|why| refused(why.into()))?;
        let known = reader.find::<Agent>(FactKey::agent(&name)).await.map_err(unavailable)?;
        if known.is_some() {
            return Err(taken(format!("`{name}` is, or was, an agent")));
        }
        let purpose = answered_for(&mut reader, &wanted).await?;
        self.is_answered_for(&mut reader).await.map_err(|error| match error {
            AdminError::Invalid(why) => Error::of_status(403, why),
            other => unavailable(other),
        })?;
        let now = self.now();
        let people = (sponsor.id, business.id, technical.id);
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
        let change = json!({ "agent": agent, "mandate": mandate });
        self.agent_becomes(reader, (directory, &name), gives, (change, effects)).await?;
        Ok(name.to_string())
    }

    /// Changes what the directory says of the agent `id`, which it registered, if that is still at the
    /// `version` that is named (`If-Match`), if one is. That it is not active comes into force first, whatever
    /// becomes of the rest.
    pub async fn change_agent(
        &self,
        directory: &KnownDirectory,
        (id, mut version): (&str, Option<&str>),
        change: &AgentChange<'_>,
    ) -> Result<(), Error> {
        let _on_its_way = self.authority.journal().store().announce();
        for _ in 0..STEPS_MAX {
            let mut reader = self.knowing();
            directory.still_known(&mut reader).await?;
            let named = (id, version);
            let agents = self.agents(&mut reader, &directory.name, (named, change)).await?;
            match self.agent_written(reader, directory, agents).await {
                Ok(Done::Whole) => return Ok(()),
                // What it was is not what it is any longer.
                Ok(Done::Part) => version = None,
                Err(error) if is_changed_meanwhile(&error) => {}
                Err(error) => return Err(error),
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
        let own = Own::of(directory).people(reader, &was).await?;
        let resource = told(&was, Some(&kept), &own);
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
                is.retire(now);
                return Ok(Agents { was, is, kept, said: None, done: Done::Whole });
            }
        };
        inactive_if_said(&mut is, (directory, &changed), now)?;
        if is != was {
            let mut said = kept.resource.clone();
            said.insert(ACTIVE.to_owned(), Value::Bool(false));
            return Ok(Agents { was, is, kept, said: Some(said), done: Done::Part });
        }
        stays_governed(&resource, &changed)?;
        let mut said = called(&changed);
        if is.state != AgentState::Active {
            // That it is not active is not taken back by saying nothing.
            said.entry(ACTIVE).or_insert(Value::Null);
        }
        Ok(Agents { was, is, kept, said: Some(said), done: Done::Whole })
    }

    async fn agent_written(
        &self,
        mut reader: Reader<'_>,
        directory: &KnownDirectory,
        Agents { was, is, kept, said, done }: Agents,
    ) -> Result<Done, Error> {
        if is == was && said.as_ref() == Some(&kept.resource) {
            return Ok(done);
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
        self.agent_becomes(reader, (directory, &is.name), gives, (change, effects)).await?;
        Ok(done)
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
        let asked = provisioned((directory, name), gives)?;
        let act = AdminAct { change, reads: (read.keys, read.revision), effects, ..asked };
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
        let own = Own::of(place.directory).people(reader, &agent).await?;
        Ok(Some(whole(&agent, kept.as_ref(), &own)))
    }

    /// The agents that `query` asks for, of those that the directory sees.
    pub(super) async fn agents_page(
        &self,
        place: &Place<'_>,
        query: &Query,
    ) -> Result<Page, Error> {
        let mut sought = Sought { query, page: Page::default() };
        if let Some(name) = query.filter.as_ref().and_then(name_in) {
            let mut reader = self.knowing();
            if let Some(kept) = self.agent_seen(&mut reader, place, &name).await? {
                sought.look_at(self.completed(&mut reader, place, (&name, kept)).await?);
            }
            return Ok(sought.page);
        }
        let (mut pages, mut looked_at) = (self.pages("agent/"), 0);
        let mut own = Own::of(place.directory);
        while let Some(facts) = pages.next().await.map_err(unavailable)? {
            for (_, body) in facts {
                let agent: Agent = serde_json::from_slice(&body).map_err(unavailable)?;
                let mut reader = self.knowing();
                if !own.sees(&mut reader, &agent).await? {
                    continue;
                }
                looked_at += 1;
                if query.filter.is_some() && looked_at > SCANNED_MAX {
                    return Err(Kind::Agents.too_many());
                }
                let kept = self.agent_kept(&mut reader, place, &agent).await?;
                let people = own.people(&mut reader, &agent).await?;
                let whole = (agent.name.as_str(), whole(&agent, kept.as_ref(), &people));
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
fn one_purpose(said: &Resource) -> Result<PurposeId, Error> {
    let all = said.get(GOVERNANCE).and_then(|of| of.get(PURPOSES)?.as_array());
    let Some([Value::String(named)]) = all.map(Vec::as_slice) else {
        return Err(invalid(PURPOSES, "an agent is registered for one"));
    };
    named.parse().map_err(|error| invalid(PURPOSES, error))
}

/// The purpose `wanted`, which somebody answers for.
async fn answered_for(reader: &mut Reader<'_>, wanted: &PurposeId) -> Result<Purpose, Error> {
    owned_purpose(reader, wanted).await.map_err(|error| match error {
        AdminError::Missing(_) => invalid(PURPOSES, format!("there is no `{wanted}`")),
        AdminError::Invalid(_) => invalid(PURPOSES, format!("nobody answers for `{wanted}`")),
        other => unavailable(other),
    })
}

/// The act by which `directory` makes the agent `name` another one, or enters it, before it is known what is
/// written.
fn provisioned(
    (directory, name): (&KnownDirectory, &AgentName),
    gives: Provisioning,
) -> Result<AdminAct, Error> {
    let sponsor = gives.person.as_ref().map(|sponsor| sponsor.id.clone());
    let person = sponsor.ok_or_else(|| unavailable("nobody answers for it"))?;
    let is_new = gives.gives == Gives::Added;
    let name_of = directory.name.clone();
    Ok(AdminAct {
        by: ChangedBy::Directory { name: name_of, person, gives, data_key: None, signal: None },
        action: if is_new { "agent/provision" } else { "agent/restrict" },
        target: ResourceRef::Agent(name.clone()),
        change: Value::Null,
        reads: (Vec::new(), Revision(u64::MAX)),
        effects: Vec::new(),
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
            agent.suspend(reason, now);
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
    let other = PEOPLE.iter().copied().chain([PURPOSES]).find(is_other);
    let other = other.or_else(|| (was.get(NAME) != is.get(NAME)).then_some(NAME));
    let Some(member) = other else { return Ok(()) };
    Err(Error::new(ScimType::Mutability, format!("attribute `{member}` is immutable")))
}

/// That `member` is not as it must be.
fn invalid(member: &str, why: impl std::fmt::Display) -> Error {
    Error::new(ScimType::InvalidValue, format!("`{member}`: {why}"))
}
