//! Groups of a directory (RFC 7643 §4.2): policy knows each by the name that its display name makes.
//!
//! That somebody is in a group stands with the person; beside it, one fact a member says that the
//! directory put them there. What a request changes of several people comes into force one by one:
//! who leaves, then what the group is called, then who joins. Whatever was cut short, the group keeps
//! every name that somebody may be in it by, and who leaves it afterwards leaves all of them.

use std::collections::BTreeSet;

use authority::{ADMINISTRATORS, CommitError, Effect, Reader, Unit, Urgency, event};
use model::{FactKey, GroupName, Person, PersonId, RecordId, ScimResource, SourceName};
use scim::{Error, Resource, ScimType, Version};
use serde_json::{Value, json};

use super::errors::{
    changed_meanwhile, is_changed_meanwhile, no_such, not_that_version, taken, unavailable,
};
use super::read::{group_name, with_members};
use super::write::{Becomes, Done, STEPS_MAX};
use super::{KnownDirectory, kept_of, stored};
use crate::Administration;
use crate::register::{put, put_new};
use crate::widening;

/// How often a change is looked at again because what it rests on changed meanwhile.
const ATTEMPTS_MAX: usize = 3;

/// The most groups of one person.
pub(super) const GROUPS_MAX: usize = 64;

/// What becomes of a group of a directory.
pub enum GroupChange<'a> {
    /// It is what this says from now on (RFC 7644 §3.5.1).
    Replace(Resource),
    /// It is changed so (§3.5.2).
    Patch(&'a scim::Patch),
    /// There is no such group any longer (§3.6).
    Delete,
}

/// A group as it was, and as it is to be.
struct Groups<'a> {
    by: &'a KnownDirectory,
    directory: &'a SourceName,
    id: &'a str,
    was: Option<ScimResource>,
    /// By which names its members may be known to be in it.
    names_were: BTreeSet<GroupName>,
    members_were: BTreeSet<PersonId>,
    /// The group; none if it is to be no longer.
    is: Option<Resource>,
    name_is: Option<GroupName>,
    members_are: BTreeSet<PersonId>,
}

impl Administration {
    /// Makes a new group of `directory`; gives its id. Where not all of its members may join, there is no
    /// such group.
    pub async fn create_group(
        &self,
        directory: &KnownDirectory,
        said: Resource,
    ) -> Result<String, Error> {
        let id = RecordId::new(self.now(), self.authority.entropy().as_ref()).to_string();
        let members_are = members_in(&said)?;
        let groups = Groups {
            by: directory,
            directory: &directory.name,
            id: &id,
            was: None,
            names_were: BTreeSet::new(),
            members_were: BTreeSet::new(),
            name_is: Some(name_of(&said)?),
            is: Some(said),
            members_are,
        };
        if let Err(error) = self.group_written(self.knowing(), groups).await {
            let undone = self.change_group(directory, (&id, None), &GroupChange::Delete).await;
            undone.or_else(|error| if error.status == 404 { Ok(()) } else { Err(error) })?;
            return Err(error);
        }
        Ok(id)
    }

    /// Changes the group `id`, if it is still at the `version` that is named (`If-Match`), if one is.
    pub async fn change_group(
        &self,
        directory: &KnownDirectory,
        (id, version): (&str, Option<&str>),
        change: &GroupChange<'_>,
    ) -> Result<(), Error> {
        let (mut attempts, mut version) = (0, version);
        loop {
            let mut reader = self.knowing();
            let named = (id, version);
            let groups = self.groups(&mut reader, directory, named, change).await?;
            match self.group_written(reader, groups).await {
                Err(error) if is_changed_meanwhile(&error) && attempts < ATTEMPTS_MAX => {
                    attempts += 1;
                    // It may have been this that changed it.
                    version = None;
                }
                done => return done,
            }
        }
    }

    /// The group that is changed, before and after.
    async fn groups<'a>(
        &self,
        reader: &mut Reader<'_>,
        by: &'a KnownDirectory,
        (id, version): (&'a str, Option<&str>),
        change: &GroupChange<'_>,
    ) -> Result<Groups<'a>, Error> {
        let directory = &by.name;
        let was = stored(reader, FactKey::scim_group(directory, id)).await?;
        let was = was.ok_or_else(|| no_such("group"))?;
        if version.is_some_and(|named| !Version(was.version).is_in(named)) {
            return Err(not_that_version());
        }
        let names = reader.find(FactKey::scim_names(directory, id)).await;
        let names_were = names.map_err(unavailable)?.unwrap_or_default();
        let members_were = self.members_of(directory, id).await?;
        let is = match change {
            GroupChange::Replace(said) => Some(said.clone()),
            GroupChange::Patch(patch) => {
                let mut resource = with_members(was.resource.clone(), &members_were, None);
                patch.apply(&mut resource)?;
                Some(resource)
            }
            GroupChange::Delete => None,
        };
        let members_are = is.as_ref().map(members_in).transpose()?.unwrap_or_default();
        let name_is = is.as_ref().map(name_of).transpose()?;
        let was = Some(was);
        Ok(Groups { by, directory, id, was, names_were, members_were, is, name_is, members_are })
    }

    /// Puts in force what becomes of a group.
    async fn group_written(
        &self,
        mut reader: Reader<'_>,
        mut groups: Groups<'_>,
    ) -> Result<(), Error> {
        for member in groups.members_were.difference(&groups.members_are) {
            self.member_written(&groups, member).await?;
        }
        for member in groups.members_are.difference(&groups.members_were) {
            self.is_own(groups.directory, member).await?;
        }
        let is_renamed = groups
            .name_is
            .iter()
            .any(|name| groups.names_were.len() != 1 || !groups.names_were.contains(name));
        if is_renamed {
            reader = self.name_taken(reader, &mut groups).await?;
        }
        let stay = groups.members_are.intersection(&groups.members_were).filter(|_| is_renamed);
        let join = groups.members_are.difference(&groups.members_were);
        for member in stay.chain(join) {
            self.member_written(&groups, member).await?;
        }
        self.group_settled(reader, groups).await
    }

    /// Takes the name that a group is to have, beside those that it has; gives what has read it since.
    async fn name_taken(
        &self,
        mut reader: Reader<'_>,
        groups: &mut Groups<'_>,
    ) -> Result<Reader<'_>, Error> {
        let Groups { directory, id, .. } = *groups;
        let key = FactKey::scim_group(directory, id);
        let mut effects = Vec::new();
        if let Some(name) = &groups.name_is {
            let place = group_name(directory, name);
            match reader.find::<String>(place.clone()).await.map_err(unavailable)? {
                Some(known) if known == id => {}
                Some(_) => return Err(taken(format!("another group is `{name}` to policy"))),
                None => effects.push(put_new(place, &id)),
            }
            groups.names_were.insert(name.clone());
        }
        effects.push(put(FactKey::scim_names(directory, id), &groups.names_were));
        if let (None, Some(said)) = (&groups.was, &groups.is) {
            let first = kept_of(None, without_members(said.clone()), self.now());
            effects.push(put_new(key.clone(), &first));
            groups.was = Some(first);
        }
        self.committed(reader, ("directory_group_named", groups), effects).await?;
        let mut reader = self.knowing();
        groups.was = stored(&mut reader, key).await?;
        Ok(reader)
    }

    /// Says what has become of a group, once its members are who they are to be.
    async fn group_settled(&self, reader: Reader<'_>, groups: Groups<'_>) -> Result<(), Error> {
        let Groups { directory, id, .. } = groups;
        let is_old = |name: &&GroupName| groups.name_is.as_ref() != Some(*name);
        let old = groups.names_were.iter().filter(is_old);
        let mut effects: Vec<_> =
            old.map(|name| Effect::Remove { key: group_name(directory, name) }).collect();
        let (key, names) = (FactKey::scim_group(directory, id), FactKey::scim_names(directory, id));
        let event = match &groups.is {
            None => {
                effects.extend([Effect::Remove { key }, Effect::Remove { key: names }]);
                "directory_group_removed"
            }
            Some(said) => {
                let resource = without_members(said.clone());
                effects.push(put(key, &kept_of(groups.was.as_ref(), resource, self.now())));
                effects.push(put(names, &groups.name_is.iter().collect::<Vec<_>>()));
                "directory_group_changed"
            }
        };
        self.committed(reader, (event, &groups), effects).await
    }

    /// That a member is a user of the directory.
    async fn is_own(&self, directory: &SourceName, member: &PersonId) -> Result<(), Error> {
        let mut reader = self.knowing();
        let user = stored(&mut reader, FactKey::scim_user(directory, member.as_str())).await?;
        let why = || format!("`{member}` is no user of this directory");
        user.map(drop).ok_or_else(|| Error::new(ScimType::InvalidValue, why()))
    }

    /// Commits `effects` with a record of the event, if what `reader` has read is as it was.
    async fn committed(
        &self,
        mut reader: Reader<'_>,
        (what, groups): (&'static str, &Groups<'_>),
        effects: Vec<Effect>,
    ) -> Result<(), Error> {
        let _on_its_way = self.authority.journal().store().announce();
        groups.by.still_known(&mut reader).await?;
        let read = reader.sourced(());
        let name = groups.name_is.as_ref().or_else(|| groups.names_were.first());
        let details = [
            ("directory", groups.directory.to_string()),
            ("group", name.map(ToString::to_string).unwrap_or_default()),
        ];
        let details = details.map(|(name, value)| (name.to_owned(), value)).into();
        let entry = event((self.now(), self.authority.entropy().as_ref()), what, details);
        let unit = Unit {
            entries: vec![entry],
            reads: read.keys,
            revision: read.revision,
            effects,
            urgency: Urgency::Awaited,
        };
        match self.authority.journal().store().commit(unit).await {
            Ok(_) => Ok(()),
            Err(CommitError::Changed { .. }) => Err(changed_meanwhile()),
            Err(CommitError::Exists { .. }) => Err(taken("another group has the name")),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Puts in force what becomes of one member.
    async fn member_written(&self, groups: &Groups<'_>, member: &PersonId) -> Result<(), Error> {
        let _on_its_way = self.authority.journal().store().announce();
        for _ in 0..STEPS_MAX {
            let mut reader = self.knowing();
            groups.by.still_known(&mut reader).await?;
            let Some(becomes) = self.member_becomes(&mut reader, groups, member).await? else {
                return Ok(());
            };
            match self.becomes(groups.directory, reader, becomes).await {
                Ok(Done::Whole) => return Ok(()),
                Ok(Done::Part) => {}
                Err(error) if is_changed_meanwhile(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(changed_meanwhile())
    }

    async fn member_becomes(
        &self,
        reader: &mut Reader<'_>,
        groups: &Groups<'_>,
        member: &PersonId,
    ) -> Result<Option<Becomes>, Error> {
        let Groups { directory, id, names_were, name_is, .. } = groups;
        let person = reader.find::<Person>(FactKey::person(member)).await.map_err(unavailable)?;
        let own = person.filter(|person| person.source.as_ref() == Some(*directory));
        let Some(was) = own else { return Ok(None) };
        let place = FactKey::scim_member(directory, id, member);
        let marked = reader.find::<Value>(place.clone()).await.map_err(unavailable)?.is_some();
        // Who was in it and is not has been taken out of it meanwhile.
        let stays = marked || !groups.members_were.contains(member);
        let is_in = groups.members_are.contains(member) && stays;
        let mut told = was.as_told();
        told.groups.retain(|name| !names_were.contains(name));
        told.groups.extend(name_is.iter().filter(|_| is_in).cloned());
        if is_in && told.groups.len() > GROUPS_MAX {
            let why = format!("`{member}` is in {GROUPS_MAX} groups already");
            return Err(Error::new(ScimType::TooMany, why));
        }
        let rule = widening::rule(reader).await.map_err(unavailable)?;
        let is = rule.becomes((Some(&was), told), (None, self.now()));
        if is == was && marked == is_in {
            return Ok(None);
        }
        let kept = if is_in { put(place, &json!({})) } else { Effect::Remove { key: place } };
        Ok(Some(Becomes {
            was: Some(was),
            is,
            parted: None,
            joined: None,
            has_login: false,
            kept_at_first: Vec::new(),
            kept: vec![kept],
            signal: None,
        }))
    }
}

/// The group without its members, who are kept apart.
fn without_members(mut group: Resource) -> Resource {
    group.remove("members");
    group
}

/// What a display name makes: in lower case, with `-` for what a name cannot have.
pub(super) fn policy_name(display: &str) -> String {
    let mut name = String::new();
    for c in display.to_lowercase().chars() {
        if c.is_ascii_alphanumeric() {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    name.trim_end_matches('-').to_owned()
}

/// By which name policy knows a group. Nobody becomes an administrator by it: those are appointed here.
fn name_of(group: &Resource) -> Result<GroupName, Error> {
    let name = policy_name(group.get("displayName").and_then(Value::as_str).unwrap_or_default());
    let invalid = |why: String| Error::new(ScimType::InvalidValue, why);
    if name == ADMINISTRATORS {
        return Err(invalid(format!("the group `{name}` is no directory's")));
    }
    name.parse().map_err(|_| {
        invalid(format!("`displayName` makes `{name}`: a name of 1 to 63 of a-z, 0-9 and `-`"))
    })
}

/// Who is in a group, as its resource says.
fn members_in(group: &Resource) -> Result<BTreeSet<PersonId>, Error> {
    let members = group.get("members").and_then(Value::as_array).into_iter().flatten();
    let ids = members.filter_map(|member| member.get("value").and_then(Value::as_str));
    let person = |id: &str| {
        let why = format!("the member `{id}` is no user");
        id.parse().map_err(|_| Error::new(ScimType::InvalidValue, why))
    };
    ids.map(person).collect()
}
