//! Users of a directory (RFC 7643 §4.1): each is a person of the register.
//!
//! The id of a user is that of the person. It is made of the user name, stays when that changes, and
//! is given to nobody else when the user is deleted: whoever comes again with the same `externalId` is the
//! same person, who left and comes back, and nobody else is.

use std::collections::BTreeSet;

use authority::{Effect, Reader};
use model::{
    FactKey, LoginRule, LoginSubject, Person, PersonId, PersonState, ScimResource, Sha256Digest,
    SignalMark, SourceName, Speaker, Timestamp, UnitName, Widening,
};
use scim::{Error, Resource, Version};
use serde_json::{Value, json};

use super::errors::{
    changed_meanwhile, is_changed_meanwhile, no_such, not_that_version, taken, unavailable,
};
use super::read::group_name;
use super::write::{Becomes, Done, STEPS_MAX};
use super::{KnownDirectory, kept_of, stored};
use crate::Administration;
use crate::register::{put, put_new};
use crate::widening;

/// The extension with where somebody works (RFC 7643 §4.3).
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// Of that, the unit.
const DEPARTMENT: &str = "department";

/// Of that, to whom they report.
const MANAGER: &str = "manager";

/// What they are there for (RFC 7643 §4.1.2).
const ROLES: &str = "roles";

/// What a change is (RFC 7644 §3.5.2).
const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// The most people whose names differ only by the number at their end.
const NAMESAKES_MAX: u32 = 99;

/// By which a user of a directory is known: nobody else has the same.
const USER_NAME: &str = "userName";

/// The directory's own id of a user: nobody else has the same, and nobody else ever will.
const EXTERNAL_ID: &str = "externalId";

/// Whether a user is one still.
const ACTIVE: &str = "active";

/// What becomes of the user of a directory.
pub enum UserChange<'a> {
    /// They are new (RFC 7644 §3.3).
    Create(Resource),
    /// They are what this says from now on (§3.5.1).
    Replace(Resource),
    /// They are changed so (§3.5.2).
    Patch(&'a scim::Patch),
    /// They are a user no longer (§3.6).
    Delete,
}

/// A user as they were, and as they are to be.
struct Users {
    id: PersonId,
    was: Option<ScimResource>,
    is: Option<Resource>,
}

impl Administration {
    /// Makes a new user of `directory`; gives its id.
    pub async fn create_user(
        &self,
        directory: &KnownDirectory,
        said: Resource,
    ) -> Result<PersonId, Error> {
        self.user_written(directory, None, &UserChange::Create(said)).await
    }

    /// Changes the user `id`, if it is still at the `version` that is named (`If-Match`), if one is.
    pub async fn change_user(
        &self,
        directory: &KnownDirectory,
        (id, version): (&str, Option<&str>),
        change: &UserChange<'_>,
    ) -> Result<(), Error> {
        self.user_written(directory, Some((id, version)), change).await.map(|_| ())
    }

    async fn user_written(
        &self,
        directory: &KnownDirectory,
        known: Option<(&str, Option<&str>)>,
        change: &UserChange<'_>,
    ) -> Result<PersonId, Error> {
        let _on_its_way = self.authority.journal().store().announce();
        // One moment for all of it: what it took away at first is not taken away again.
        let (mut known, now) = (known, self.now());
        for _ in 0..STEPS_MAX {
            let mut reader = self.knowing();
            directory.still_known(&mut reader).await?;
            if let UserChange::Create(resource) = change {
                let looked_at = looked_at(&directory.name, resource);
                reader.prepare(&looked_at).await.map_err(unavailable)?;
            }
            let users = self.users(&mut reader, directory, known, change).await?;
            let id = users.id.clone();
            let becomes = self.user_becomes(&mut reader, directory, (users, now)).await?;
            let Some(becomes) = becomes else { return Ok(id) };
            match self.becomes(&directory.name, reader, becomes).await {
                Ok(Done::Whole) => return Ok(id),
                // What it was is not what it is any longer.
                Ok(Done::Part) => known = known.map(|(id, _)| (id, None)),
                Err(error) if is_changed_meanwhile(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(changed_meanwhile())
    }

    /// The user that is changed, before and after.
    async fn users(
        &self,
        reader: &mut Reader<'_>,
        directory: &KnownDirectory,
        known: Option<(&str, Option<&str>)>,
        change: &UserChange<'_>,
    ) -> Result<Users, Error> {
        let Some((id, version)) = known else {
            let UserChange::Create(resource) = change else {
                unreachable!("only who is new has no id")
            };
            let id = self.free_id(reader, &directory.name, resource).await?;
            return Ok(Users { id, was: None, is: Some(resource.clone()) });
        };
        let id: PersonId = id.parse().map_err(|_| no_such("user"))?;
        let was = stored(reader, FactKey::scim_user(&directory.name, id.as_str())).await?;
        let was = was.ok_or_else(|| no_such("user"))?;
        if version.is_some_and(|named| !Version(was.version).is_in(named)) {
            return Err(not_that_version());
        }
        let is = match change {
            UserChange::Create(resource) | UserChange::Replace(resource) => {
                Some(said_or_still(resource.clone(), &was.resource))
            }
            UserChange::Patch(patch) => {
                let mut resource = was.resource.clone();
                patch.apply(&mut resource)?;
                Some(said_or_still(resource, &was.resource))
            }
            UserChange::Delete => None,
        };
        Ok(Users { id, was: Some(was), is })
    }

    /// An id for a new user: one that was never anybody's, or that of a person who was handed over.
    async fn free_id(
        &self,
        reader: &mut Reader<'_>,
        directory: &SourceName,
        resource: &Resource,
    ) -> Result<PersonId, Error> {
        if let Some(known) = self.left(reader, directory, resource).await? {
            return Ok(known);
        }
        let base = id_base(text(resource, USER_NAME).unwrap_or_default());
        for number in 1..=NAMESAKES_MAX {
            let id = if number == 1 { base.clone() } else { format!("{base}-{number}") };
            let id: PersonId = id.parse().map_err(|_| unavailable("an id"))?;
            let person = reader.find::<Person>(FactKey::person(&id)).await;
            let Some(person) = person.map_err(unavailable)? else { return Ok(id) };
            let is_own = person.source.as_ref() == Some(directory);
            let user: Option<ScimResource> =
                stored(reader, FactKey::scim_user(directory, id.as_str())).await?;
            match (is_own, user) {
                (true, None) if person.is_active() => return Ok(id),
                (true, _) => {}
                (false, _) => {
                    return Err(taken(format!(
                        "`{id}` is in the register, and not by this directory: an administrator \
                         may hand them over (`chancery directory adopt {directory} {id}`)"
                    )));
                }
            }
        }
        Err(taken("too many people of this name"))
    }

    /// Who was this user, if that was deleted.
    async fn left(
        &self,
        reader: &mut Reader<'_>,
        directory: &SourceName,
        resource: &Resource,
    ) -> Result<Option<PersonId>, Error> {
        let Some(place) = unique_place(directory, Some(resource), EXTERNAL_ID) else {
            return Ok(None);
        };
        let known = reader.find::<PersonId>(place).await.map_err(unavailable)?;
        let Some(known) = known else { return Ok(None) };
        let user = stored(reader, FactKey::scim_user(directory, known.as_str())).await?;
        Ok(user.is_none().then_some(known))
    }

    /// What becomes of the person, if anything is not as it was.
    async fn user_becomes(
        &self,
        reader: &mut Reader<'_>,
        directory: &KnownDirectory,
        (users, now): (Users, Timestamp),
    ) -> Result<Option<Becomes>, Error> {
        let Users { id, was: before, is: after } = users;
        let person = reader.find::<Person>(FactKey::person(&id)).await;
        let was = person.map_err(unavailable)?;
        let rule = widening::rule(reader).await.map_err(unavailable)?;
        let resource = before.as_ref().map(|it| &it.resource);
        let told = (&directory.name, after.as_ref());
        let is = is_to_be(&id, (was.as_ref(), resource), told, (&rule, now));
        let login_of = |user: Option<&Resource>| login(directory.logins.as_ref()?, user?);
        let (old, new) = (login_of(resource), login_of(after.as_ref()));
        let (has_login, is_same) = (new.is_some(), old == new);
        let (parted, joined) = if is_same { (None, None) } else { (old, new) };
        let parted = match parted {
            Some((key, _)) => {
                let whose = reader.find::<PersonId>(key.clone()).await.map_err(unavailable)?;
                (whose.as_ref() == Some(&id)).then_some(key)
            }
            None => None,
        };
        if resource == after.as_ref() && was.as_ref() == Some(&is) {
            return Ok(None);
        }
        let place = FactKey::scim_user(&directory.name, id.as_str());
        let mut kept = unique(&directory.name, &id, (resource, after.as_ref()));
        if let Some(place) = unique_place(&directory.name, after.as_ref(), EXTERNAL_ID) {
            let known = reader.find::<PersonId>(place.clone()).await.map_err(unavailable)?;
            if known.as_ref() == Some(&id) {
                kept.retain(
                    |effect| !matches!(effect, Effect::PutNew { key, .. } if *key == place),
                );
            }
        }
        let told = (resource, after.as_ref());
        let mark = mark(reader, &directory.name, (was.as_ref(), &is), (told, now)).await?;
        // Only what the directory itself says: whom a stream sent away it would bring back by the next
        // request, as if it had said something new.
        let leaves = !after.as_ref().is_some_and(is_active);
        let kept_at_first = before.as_ref().filter(|_| leaves).map(|before| {
            let mut resource = before.resource.clone();
            resource.insert(ACTIVE.to_owned(), json!(false));
            put(place.clone(), &kept_of(Some(before), resource, now))
        });
        let gone = mark.clone().filter(|_| !is.as_told().is_active());
        let kept_at_first = kept_at_first.into_iter().chain(gone).collect();
        kept.extend(mark);
        if let Some(resource) = after {
            kept.push(put(place, &kept_of(before.as_ref(), resource, now)));
        } else {
            kept.push(Effect::Remove { key: place });
            kept.extend(self.markers(reader, &directory.name, was.as_ref()).await?);
        }
        let signal = None;
        Ok(Some(Becomes { was, is, parted, joined, has_login, kept_at_first, kept, signal }))
    }

    /// What takes a user out of all groups of the directory.
    async fn markers(
        &self,
        reader: &mut Reader<'_>,
        directory: &SourceName,
        person: Option<&Person>,
    ) -> Result<Vec<Effect>, Error> {
        let mut effects = Vec::new();
        let Some(person) = person else { return Ok(effects) };
        for name in &person.as_told().groups {
            let group = reader.find::<String>(group_name(directory, name)).await;
            let group = group.map_err(unavailable)?;
            let key = group.map(|group| FactKey::scim_member(directory, &group, &person.id));
            effects.extend(key.map(|key| Effect::Remove { key }));
        }
        Ok(effects)
    }
}

/// What is written of `is`, who `was` so and of whom the directory `told` something: that it said last whether
/// they are there, if it says otherwise than before, or somebody else did.
async fn mark(
    reader: &mut Reader<'_>,
    directory: &SourceName,
    (was, is): (Option<&Person>, &Person),
    ((before, after), now): ((Option<&Resource>, Option<&Resource>), Timestamp),
) -> Result<Option<Effect>, Error> {
    let Some(was) = was else { return Ok(None) };
    let (was, is) = (was.as_told(), is.as_told());
    let said = |user: Option<&Resource>| user.is_some_and(is_active);
    // That they are not here counts as of whenever it was said last.
    let leaves = after.is_some_and(|user| !is_active(user));
    let is_said_anew = leaves || (before.is_some() && said(before) != said(after));
    if was.is_active() == is.is_active() && !is_said_anew {
        return Ok(None);
    }
    let place = FactKey::signal_mark(directory, &is.id);
    let known = reader.find::<SignalMark>(place.clone()).await.map_err(unavailable)?;
    let mark = if is.is_active() {
        SignalMark::back(now)
    } else {
        known.unwrap_or_default().gone((Speaker::directory(), now), (was.state, now))
    };
    Ok(Some(put(place, &mark)))
}

/// What the directory says of a user instead of `was`. An `active` that it has said and takes away, however it
/// does that, is kept as one without a value (RFC 7643 §2.5): who has it is not active, until it says so.
fn said_or_still(mut said: Resource, was: &Resource) -> Resource {
    if was.contains_key(ACTIVE) && !said.contains_key(ACTIVE) {
        said.insert(ACTIVE.to_owned(), Value::Null);
    }
    said
}

/// Whether the person is active of whom the directory says `user`: if it never said, they are.
pub(crate) fn is_active(user: &Resource) -> bool {
    matches!(user.get(ACTIVE), None | Some(Value::Bool(true)))
}

/// The person of whom the directory says `user`, or nothing any longer, who `was` so, and of whom it said
/// `before`. Nobody comes back but by its word that they do.
fn is_to_be(
    id: &PersonId,
    (was, before): (Option<&Person>, Option<&Resource>),
    (directory, user): (&SourceName, Option<&Resource>),
    (rule, now): (&Widening, Timestamp),
) -> Person {
    let new = || Person::new(id.clone(), BTreeSet::new());
    let mut is = was.map_or_else(new, Person::as_told);
    is.source = Some(directory.clone());
    match user {
        None => is.groups.clear(),
        Some(user) => {
            let work = user.get(ENTERPRISE);
            let of_work = |member: &str| work?.get(member);
            // What cannot be said here is not said: nobody stays because of a strange name of a unit.
            let unit = of_work(DEPARTMENT).and_then(Value::as_str);
            let unit = unit.and_then(|unit| unit.parse::<UnitName>().ok());
            let manager = of_work(MANAGER).and_then(|it| it.get("value")?.as_str()?.parse().ok());
            // Of who leaves it stays known to whom they reported.
            let stays = is_active(user);
            is.unit = unit.or(is.unit.filter(|_| !stays));
            is.manager = manager.or(is.manager.filter(|_| !stays));
            // What is not said anew is as it was: of whom a mistake was undone too, though it is still kept.
            let (known, told) = (before.map(roles), roles(user));
            if known != Some(told) {
                is.roles = told;
            }
        }
    }
    is.state = match (user.is_some_and(is_active), before) {
        (false, _) => PersonState::Inactive { since: now },
        (true, Some(before)) if is_active(before) => is.state,
        (true, _) => PersonState::Active { authorization_cutoff: None },
    };
    let is = rule.becomes((was, is), (None, now));
    let Some(was) = was else { return is };
    // That a directory tells of somebody for the first time moves nobody.
    let moved = if before.is_none() { was.moved } else { is.moved };
    Person { moved, ..is }
}

/// What the roles of `user` are called, if they have any, in whatever order: nothing else of them counts.
fn roles(user: &Resource) -> Option<Sha256Digest> {
    let named = user.get(ROLES)?.as_array()?.iter();
    let named = named.filter_map(|role| role.get("value")?.as_str()).map(scim::fold);
    let named: BTreeSet<String> = named.collect();
    (!named.is_empty()).then(|| Sha256Digest::of(&json::canonical_of(&named)))
}

/// What is kept of `user` of a person who `was` otherwise, and `is` so from now on, as if the directory had
/// said that.
pub(crate) fn restored_user(
    user: &Resource,
    (was, is): (&Person, &Person),
) -> Result<Resource, Error> {
    let mut said = Vec::new();
    let mut says = |path: String, value: Option<Value>| {
        said.push(match value {
            Some(value) => json!({ "op": "replace", "path": path, "value": value }),
            None => json!({ "op": "remove", "path": path }),
        });
    };
    if is.is_active() && !is_active(user) {
        says(ACTIVE.to_owned(), Some(json!(true)));
    }
    if was.unit != is.unit {
        says(format!("{ENTERPRISE}:{DEPARTMENT}"), is.unit.as_ref().map(|unit| json!(unit)));
    }
    if was.manager != is.manager {
        let manager = is.manager.as_ref().map(|manager| json!({ "value": manager }));
        says(format!("{ENTERPRISE}:{MANAGER}"), manager);
    }
    let mut user = user.clone();
    if !said.is_empty() {
        scim::Patch::parse(json!({ "schemas": [PATCH], "Operations": said }), &scim::USER)?
            .apply(&mut user)?;
    }
    Ok(user)
}

/// The login of `user`: where it stands whose it is, and which it is.
fn login(rule: &LoginRule, user: &Resource) -> Option<(FactKey, Value)> {
    let member = match rule.subject {
        LoginSubject::ExternalId => EXTERNAL_ID,
        LoginSubject::UserName => USER_NAME,
    };
    let subject = text(user, member)?;
    let login = json!({ "issuer": rule.issuer, "subject": subject });
    Some((FactKey::login(&rule.issuer, subject), login))
}

/// What is written so that nobody else has what identifies the user `id`, who was so and is to be so.
fn unique(
    directory: &SourceName,
    id: &PersonId,
    (was, is): (Option<&Resource>, Option<&Resource>),
) -> Vec<Effect> {
    let mut effects = Vec::new();
    for member in [USER_NAME, EXTERNAL_ID] {
        let place = |user| unique_place(directory, user, member);
        let (old, new) = (place(was), place(is));
        // Of who is deleted it stays known who they were.
        let stays = is.is_none() && member == EXTERNAL_ID;
        if old != new {
            effects.extend(old.filter(|_| !stays).map(|key| Effect::Remove { key }));
            effects.extend(new.map(|key| put_new(key, id)));
        }
    }
    effects
}

/// Where it stands whose the value of `member` of `user` is.
fn unique_place(directory: &SourceName, user: Option<&Resource>, member: &str) -> Option<FactKey> {
    let value = text(user?, member)?;
    // User names are not told apart by case (RFC 7643 §4.1.1).
    let value = if member == USER_NAME { scim::fold(value) } else { value.to_owned() };
    Some(FactKey::scim_unique(directory, member, &value))
}

/// What is looked at for a new user in most cases, read at once.
fn looked_at(directory: &SourceName, user: &Resource) -> Vec<FactKey> {
    let id = id_base(text(user, USER_NAME).unwrap_or_default());
    let of_id = |id: PersonId| [FactKey::person(&id), FactKey::data_key(&id)];
    let of_id = id.parse().ok().map(of_id).into_iter().flatten();
    of_id.chain(unique_place(directory, Some(user), EXTERNAL_ID)).collect()
}

/// The id that a user name makes: what an id cannot have is left out.
fn id_base(user_name: &str) -> String {
    let allowed = |c: &char| c.is_ascii_alphanumeric() || "._@+-".contains(*c);
    let base: String = user_name.to_lowercase().chars().filter(allowed).take(120).collect();
    if base.is_empty() { "user".to_owned() } else { base }
}

fn text<'a>(of: &'a Resource, member: &str) -> Option<&'a str> {
    of.get(member)?.as_str().filter(|text| !text.is_empty())
}
