//! What a directory reads: its users and groups, and the agents that it sees, one or a page of them.

use std::collections::BTreeSet;

use authority::Reader;
use model::{FactKey, GroupName, Person, PersonId, ScimResource, SourceName};
use scim::{AGENT, Equality, Error, Filter, GROUP, Meta, Query, Resource, ScimType, USER, Version};
use serde_json::{Value, json};

use super::errors::{no_such, unavailable};
use super::groups::policy_name;
use super::shown::with_addresses;
use super::stored;
use crate::Administration;

/// The most resources that are looked through for one filter: what no index answers.
pub const SCANNED_MAX: usize = 10_000;

/// What a directory has of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Users.
    Users,
    /// Groups.
    Groups,
    /// Agents: those that it registered, and those for which its people answer.
    Agents,
}

/// Of what a directory reads, and where it is.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The directory.
    pub directory: &'a SourceName,
    /// Which kind.
    pub kind: Kind,
    /// The base URL of the service provider.
    pub base: &'a str,
    /// Whether the members of groups are read.
    pub members: bool,
}

/// Resources, and how many there are in all.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// How many match.
    pub total: usize,
    /// Those of the page, each whole.
    pub resources: Vec<Resource>,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Users => "user",
            Self::Groups => "group",
            Self::Agents => "agent",
        }
    }

    /// That there are more than are looked through, and what is looked up instead.
    pub(super) fn too_many(self) -> Error {
        let known = match self {
            Self::Users => "`userName`, `externalId` or `id`",
            Self::Groups => "`displayName` or `id`",
            Self::Agents => "`agentUserName` or `id`",
        };
        let why = format!("more than {SCANNED_MAX}: filter by {known} with `eq`");
        Error::new(ScimType::TooMany, why)
    }

    fn place(self, directory: &SourceName, id: &str) -> FactKey {
        match self {
            Self::Users => FactKey::scim_user(directory, id),
            Self::Groups => FactKey::scim_group(directory, id),
            Self::Agents => FactKey::scim_agent(directory, id),
        }
    }
}

impl Place<'_> {
    pub(super) fn of(&self, id: &str) -> FactKey {
        self.kind.place(self.directory, id)
    }

    fn prefix(&self) -> String {
        self.of("").as_str().to_owned()
    }
}

impl Administration {
    /// The user, or the group, `id` of a directory, whole, with its version.
    pub async fn directory_resource(
        &self,
        place: &Place<'_>,
        id: &str,
    ) -> Result<(Resource, Version), Error> {
        let mut reader = self.knowing();
        if let (Kind::Users, Ok(person)) = (place.kind, id.parse()) {
            let whole = [place.of(id), FactKey::person(&person)];
            reader.prepare(&whole).await.map_err(unavailable)?;
        }
        let kept = match place.kind {
            Kind::Users | Kind::Groups => stored(&mut reader, place.of(id)).await?,
            Kind::Agents => self.agent_seen(&mut reader, place, id).await?,
        };
        let kept = kept.ok_or_else(|| no_such(place.kind.word()))?;
        let version = Version(kept.version);
        Ok((self.completed(&mut reader, place, (id, kept)).await?, version))
    }

    /// The resources of a directory that `query` asks for.
    pub async fn directory_page(&self, place: &Place<'_>, query: &Query) -> Result<Page, Error> {
        if query.filter.as_ref().is_some_and(Filter::matches_nothing) {
            return Ok(Page::default());
        }
        if place.kind == Kind::Agents {
            return self.agents_page(place, query).await;
        }
        let Some(filter) = &query.filter else { return self.unfiltered(place, query).await };
        let found = match self.indexed(place, filter).await? {
            Some(candidates) => candidates,
            None => self.scanned(place).await?,
        };
        let matching: Vec<_> =
            found.into_iter().filter(|resource| filter.matches(resource)).collect();
        let total = matching.len();
        let page = matching.into_iter().skip(query.start_index - 1).take(query.count);
        Ok(Page { total, resources: page.collect() })
    }

    /// A page of all there are.
    async fn unfiltered(&self, place: &Place<'_>, query: &Query) -> Result<Page, Error> {
        let prefix = place.prefix();
        let first = query.start_index - 1;
        let (mut pages, mut all) = (self.pages(&prefix), Page::default());
        while let Some(facts) = pages.next().await.map_err(unavailable)? {
            for (key, body) in facts {
                if (first..first.saturating_add(query.count)).contains(&all.total) {
                    let (id, kept) = read(&prefix, (&key, &body))?;
                    let whole = self.completed(&mut self.reader(), place, (&id, kept)).await?;
                    all.resources.push(whole);
                }
                all.total += 1;
            }
        }
        Ok(all)
    }

    /// The one of which an index knows that no other matches `filter`, if there is one; none if no index
    /// says so.
    async fn indexed(
        &self,
        place: &Place<'_>,
        filter: &Filter,
    ) -> Result<Option<Vec<Resource>>, Error> {
        let mut reader = self.reader();
        let indices =
            filter.equalities().into_iter().filter_map(|Equality { attribute, value }| {
                match (place.kind, attribute) {
                    (_, "id") => Some((None, value.to_owned())),
                    (Kind::Users, "userName" | "externalId") => {
                        Some((Some(attribute), value.to_owned()))
                    }
                    (Kind::Groups, "displayName") => Some((Some("group-name"), policy_name(value))),
                    _ => None,
                }
            });
        let Some((member, value)) = indices.into_iter().next() else { return Ok(None) };
        let id = match member {
            None => Some(value),
            Some(member) => {
                let place = FactKey::scim_unique(place.directory, member, &value);
                reader.find::<String>(place).await.map_err(unavailable)?
            }
        };
        let Some(id) = id else { return Ok(Some(Vec::new())) };
        let Some(kept) = stored(&mut reader, place.of(&id)).await? else {
            return Ok(Some(Vec::new()));
        };
        Ok(Some(vec![self.completed(&mut reader, place, (&id, kept)).await?]))
    }

    /// All there are, if they are not too many to look through.
    async fn scanned(&self, place: &Place<'_>) -> Result<Vec<Resource>, Error> {
        let prefix = place.prefix();
        let (mut pages, mut all) = (self.pages(&prefix), Vec::new());
        while let Some(facts) = pages.next().await.map_err(unavailable)? {
            if all.len() + facts.len() > SCANNED_MAX {
                return Err(place.kind.too_many());
            }
            for (key, body) in facts {
                let (id, kept) = read(&prefix, (&key, &body))?;
                all.push(self.completed(&mut self.reader(), place, (&id, kept)).await?);
            }
        }
        Ok(all)
    }

    /// The resource whole: with what is known beside, who is in a group, in which groups a user is.
    pub(super) async fn completed(
        &self,
        reader: &mut Reader<'_>,
        place: &Place<'_>,
        (id, kept): (&str, ScimResource),
    ) -> Result<Resource, Error> {
        let ScimResource { mut resource, version, created, modified } = kept;
        let of = match place.kind {
            Kind::Users => {
                let groups = self.groups_of(reader, place.directory, id).await?;
                if !groups.is_empty() {
                    resource.insert("groups".to_owned(), Value::Array(groups));
                }
                &USER
            }
            Kind::Groups => {
                if place.members {
                    let members = self.members_of(place.directory, id).await?;
                    resource = with_members(resource, &members, Some(place.base));
                }
                &GROUP
            }
            Kind::Agents => {
                resource = with_addresses(resource, place.base);
                &AGENT
            }
        };
        let meta = Meta {
            of,
            created_ms: created.as_millis(),
            last_modified_ms: modified.as_millis(),
            version: Version(version),
            location: &of.location(place.base, id),
        };
        Ok(meta.complete(id, resource))
    }

    async fn groups_of(
        &self,
        reader: &mut Reader<'_>,
        directory: &SourceName,
        id: &str,
    ) -> Result<Vec<Value>, Error> {
        let Ok(id) = id.parse::<PersonId>() else { return Ok(Vec::new()) };
        let person = reader.find::<Person>(FactKey::person(&id)).await.map_err(unavailable)?;
        let mut groups = Vec::new();
        // What waits was told all the same.
        for name in person.iter().flat_map(|person| person.as_told().groups) {
            let place = group_name(directory, &name);
            let group = reader.find::<String>(place).await.map_err(unavailable)?;
            groups.extend(group.map(|group| json!({ "value": group, "display": name })));
        }
        Ok(groups)
    }

    /// Who is in the group `id`.
    pub(super) async fn members_of(
        &self,
        directory: &SourceName,
        id: &str,
    ) -> Result<BTreeSet<PersonId>, Error> {
        let prefix = format!("scim/{directory}/member/{id}/");
        let (mut pages, mut all) = (self.pages(&prefix), BTreeSet::new());
        while let Some(facts) = pages.next().await.map_err(unavailable)? {
            for (key, _) in facts {
                let person = key.as_str().strip_prefix(&prefix).unwrap_or_default();
                all.insert(person.parse().map_err(unavailable)?);
            }
        }
        Ok(all)
    }
}

/// Which group of a directory policy knows by `name`.
pub(crate) fn group_name(directory: &SourceName, name: &GroupName) -> FactKey {
    FactKey::scim_unique(directory, "group-name", name.as_str())
}

/// The group with its members, whose URLs begin with `base`, if that is known.
pub(super) fn with_members(
    mut group: Resource,
    members: &BTreeSet<PersonId>,
    base: Option<&str>,
) -> Resource {
    let member = |id: &PersonId| {
        let mut member = json!({ "value": id, "type": "User" });
        if let Some(base) = base {
            member["$ref"] = USER.location(base, id.as_str()).into();
        }
        member
    };
    if !members.is_empty() {
        group.insert("members".to_owned(), members.iter().map(member).collect());
    }
    group
}

/// The id and the rest of a resource that a list of those below `prefix` gave.
fn read(prefix: &str, (key, body): (&FactKey, &[u8])) -> Result<(String, ScimResource), Error> {
    let id = key.as_str().strip_prefix(prefix).unwrap_or_default().to_owned();
    Ok((id, serde_json::from_slice(body).map_err(unavailable)?))
}
