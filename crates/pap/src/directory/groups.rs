//! Groups of a directory (RFC 7643 §4.2): policy knows each by the name that its display name makes.
//!
//! That somebody is in a group stands with the person; beside it, one fact a member says that the
//! directory put them there. What a request changes of several people comes into force one by one,
//! leavers first; the group itself says so last, so that what was cut short is begun again by the
//! same request.

use std::collections::BTreeSet;

use authority::{ADMINISTRATORS, CommitError, Effect, Reader, Unit, Urgency, event};
use model::{FactKey, GroupName, Person, PersonId, RecordId, ScimResource, SourceName};
use scim::{Error, Resource, ScimType, Version};
use serde_json::{Value, json};

use super::errors::{
    changed_meanwhile, is_changed_meanwhile, no_such, not_that_version, taken, unavailable,
};
use super::read::{group_name, with_members};
use super::write::{Becomes, Done};
use super::{KnownDirectory, kept_of, stored};
use crate::Administration;
use crate::register::{put, put_new};

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
    directory: &'a SourceName,
    id: &'a str,
    /// By which name its members were known to be in it, if it was there.
    name_was: Option<GroupName>,
    was: Option<ScimResource>,
    members_were: BTreeSet<PersonId>,
    name_is: Option<GroupName>,
    is: Option<Resource>,
    members_are: BTreeSet<PersonId>,
}

impl Administration {
    /// Makes a new group of `directory`; gives its id.
    pub async fn create_group(
        &self,
        directory: &KnownDirectory,
        said: Resource,
    ) -> Result<String, Error> {
        let id = RecordId::new(self.now(), self.authority.entropy().as_ref()).to_string();
        let members_are = members_in(&said)?;
        let groups = Groups {
            directory: &directory.name,
            id: &id,
            name_was: None,
            was: None,
            members_were: BTreeSet::new(),
            name_is: Some(name_of(&said)?),
            is: Some(said),
            members_are,
        };
        self.group_written(self.reader(), groups).await?;
        Ok(id)
    }

    /// Changes the group `id`, if it is still at the `version` that is named (`If-Match`), if one is.
    pub async fn change_group(
        &self,
        directory: &KnownDirectory,
        (id, version): (&str, Option<&str>),
        change: &GroupChange<'_>,
    ) -> Result<(), Error> {
        let mut attempts = 0;
        loop {
            let mut reader = self.reader();
            let named = (id, version);
            let groups = self.groups(&mut reader, &directory.name, named, change).await?;
            match self.group_written(reader, groups).await {
                Err(error) if is_changed_meanwhile(&error) && attempts < ATTEMPTS_MAX => {
                    attempts += 1;
                }
                done => return done,
            }
        }
    }

    /// The group that is changed, before and after.
    async fn groups<'a>(
        &self,
        reader: &mut Reader<'_>,
        directory: &'a SourceName,
        (id, version): (&'a str, Option<&str>),
        change: &GroupChange<'_>,
    ) -> Result<Groups<'a>, Error> {
        let was = stored(reader, FactKey::scim_group(directory, id)).await?;
        let was = was.ok_or_else(|| no_such("group"))?;
        if version.is_some_and(|named| !Version(was.version).is_in(named)) {
            return Err(not_that_version());
        }
        let members_were = self.members_of(directory, id).await?;
        let is = match change {
            GroupChange::Replace(said) => Some(said.clone()),
            GroupChange::Patch(patch) => {
                let mut resource = with_members(was.resource.clone(), &members_were);
                patch.apply(&mut resource)?;
                Some(resource)
            }
            GroupChange::Delete => None,
        };
        let members_are = is.as_ref().map(members_in).transpose()?.unwrap_or_default();
        let name_is = is.as_ref().map(name_of).transpose()?;
        let name_was = Some(name_of(&was.resource)?);
        let was = Some(was);
        Ok(Groups { directory, id, name_was, was, members_were, name_is, is, members_are })
    }

    /// Puts in force what becomes of a group, its members one by one.
    async fn group_written(&self, mut reader: Reader<'_>, groups: Groups<'_>) -> Result<(), Error> {
        let place = |name: &GroupName| group_name(groups.directory, name);
        let is_renamed = groups.name_was != groups.name_is;
        if let Some(name) = groups.name_is.as_ref().filter(|_| is_renamed) {
            let known = reader.find::<String>(place(name)).await.map_err(unavailable)?;
            if known.is_some() {
                return Err(taken(format!("another group is `{name}` to policy")));
            }
        }
        let leave = groups.members_were.difference(&groups.members_are);
        let others = groups.members_are.iter();
        for member in leave.chain(others) {
            self.member_written(&groups, member).await?;
        }
        let mut effects = Vec::new();
        if is_renamed {
            let old = groups.name_was.as_ref().map(|name| Effect::Remove { key: place(name) });
            let new = groups.name_is.as_ref().map(|name| put_new(place(name), &groups.id));
            effects.extend(old.into_iter().chain(new));
        }
        let key = FactKey::scim_group(groups.directory, groups.id);
        let event = match (&groups.was, groups.is) {
            (_, None) => {
                effects.push(Effect::Remove { key });
                "directory_group_removed"
            }
            (was, Some(mut resource)) => {
                resource.remove("members");
                effects.push(put(key, &kept_of(was.as_ref(), resource, self.now())));
                if was.is_some() { "directory_group_changed" } else { "directory_group_added" }
            }
        };
        let name = groups.name_is.or(groups.name_was).map(|name| name.to_string());
        let details =
            [("directory", groups.directory.to_string()), ("group", name.unwrap_or_default())];
        self.committed(reader, (event, details), effects).await
    }

    /// Commits `effects` with a record of the event, if what `reader` has read is as it was.
    async fn committed(
        &self,
        reader: Reader<'_>,
        (what, details): (&'static str, [(&'static str, String); 2]),
        effects: Vec<Effect>,
    ) -> Result<(), Error> {
        let read = reader.sourced(());
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
        let mut attempts = 0;
        loop {
            let mut reader = self.reader();
            let Some(becomes) = self.member_becomes(&mut reader, groups, member).await? else {
                return Ok(());
            };
            match self.becomes(groups.directory, reader, becomes).await {
                Ok(Done::Whole) => return Ok(()),
                Ok(Done::Part) => {}
                Err(error) if is_changed_meanwhile(&error) && attempts < ATTEMPTS_MAX => {
                    attempts += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn member_becomes(
        &self,
        reader: &mut Reader<'_>,
        groups: &Groups<'_>,
        member: &PersonId,
    ) -> Result<Option<Becomes>, Error> {
        let Groups { directory, id, name_was, name_is, .. } = groups;
        let person = reader.find::<Person>(FactKey::person(member)).await.map_err(unavailable)?;
        let own = person.filter(|person| person.source.as_ref() == Some(*directory));
        let place = FactKey::scim_member(directory, id, member);
        let marked = reader.find::<Value>(place.clone()).await.map_err(unavailable)?.is_some();
        let (was_in, is_in) = (marked, groups.members_are.contains(member));
        let Some(was) = own else {
            let why = format!("`{member}` is no user of this directory");
            return if is_in { Err(Error::new(ScimType::InvalidValue, why)) } else { Ok(None) };
        };
        let mut is = was.clone();
        if let Some(name) = name_was {
            is.groups.remove(name);
        }
        is.groups.extend(name_is.iter().filter(|_| is_in).cloned());
        if is.groups.len() > GROUPS_MAX {
            let why = format!("`{member}` is in {GROUPS_MAX} groups already");
            return Err(Error::new(ScimType::TooMany, why));
        }
        if is == was && was_in == is_in {
            return Ok(None);
        }
        let kept =
            if is_in { put(place, &json!({})) } else { Effect::Remove { key: place } };
        let (was, parted, joined) = (Some(was), Vec::new(), Vec::new());
        Ok(Some(Becomes { was, is, parted, joined, kept: vec![kept] }))
    }
}

/// By which name policy knows a group: its display name in lower case, with `-` for what a name
/// cannot have. Nobody becomes an administrator by it: those are appointed here.
fn name_of(group: &Resource) -> Result<GroupName, Error> {
    let display = group.get("displayName").and_then(Value::as_str).unwrap_or_default();
    let mut name = String::new();
    for c in display.to_lowercase().chars() {
        if c.is_ascii_alphanumeric() {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    let name = name.trim_end_matches('-');
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
