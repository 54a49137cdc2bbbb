//! A list of people, checked as a whole: whatever is wrong with it, nothing of it counts.

use std::collections::{BTreeMap, BTreeSet};

use authority::ADMINISTRATORS;
use model::{FactKey, GroupName, PersonId, UnitName};
use oauth::people::{ListedPerson, Login};

use crate::command::AdminError;

/// The most groups of one person.
const GROUPS_MAX: usize = 64;

/// The most logins of one person.
pub(crate) const LOGINS_MAX: usize = 8;

/// The longest issuer of a login, in bytes.
const ISSUER_MAX: usize = 512;

/// The longest subject of a login, in bytes (OpenID Connect Core §2: 255).
const SUBJECT_MAX: usize = 255;

/// A list of people that makes sense.
#[derive(Debug)]
pub(crate) struct Listed {
    /// Everybody.
    pub(crate) people: BTreeMap<PersonId, Entry>,
    /// The logins of those who are active, each with whose it is.
    pub(crate) logins: BTreeMap<FactKey, (PersonId, Login)>,
}

/// What the list says of one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) groups: BTreeSet<GroupName>,
    pub(crate) unit: Option<UnitName>,
    pub(crate) manager: Option<PersonId>,
    pub(crate) active: bool,
}

impl Listed {
    /// What `people` says, if it makes sense.
    pub(crate) fn of(people: &[ListedPerson]) -> Result<Self, AdminError> {
        let (mut all, mut logins) = (BTreeMap::new(), BTreeMap::new());
        let mut seen = BTreeSet::new();
        for person in people {
            let id: PersonId = person.id.parse().map_err(AdminError::invalid)?;
            if all.insert(id.clone(), entry(&id, person)?).is_some() {
                return Err(AdminError::Invalid(format!("`{id}` stands twice in the list")));
            }
            for login in &person.logins {
                let key = FactKey::login(&login.issuer, &login.subject);
                if !seen.insert(key.clone()) {
                    let Login { issuer, subject } = login;
                    let why = format!("the login `{subject}` of `{issuer}` stands twice");
                    return Err(AdminError::Invalid(why));
                }
                if person.active {
                    logins.insert(key, (id.clone(), login.clone()));
                }
            }
        }
        managers(&all)?;
        Ok(Self { people: all, logins })
    }
}

fn entry(id: &PersonId, person: &ListedPerson) -> Result<Entry, AdminError> {
    let too_many = |what: &str, most: usize| {
        Err(AdminError::Invalid(format!("`{id}` has more than {most} {what}")))
    };
    if person.groups.len() > GROUPS_MAX {
        return too_many("groups", GROUPS_MAX);
    }
    if person.logins.len() > LOGINS_MAX {
        return too_many("logins", LOGINS_MAX);
    }
    let fits = |text: &str, most: usize| (1..=most).contains(&text.len());
    let is_login =
        |login: &Login| fits(&login.issuer, ISSUER_MAX) && fits(&login.subject, SUBJECT_MAX);
    if !person.logins.iter().all(is_login) {
        let why = format!("a login of `{id}` has an issuer or a subject that is empty or too long");
        return Err(AdminError::Invalid(why));
    }
    // Whoever holds the key of a directory would otherwise make administrators.
    if person.groups.iter().any(|group| group == ADMINISTRATORS) {
        let why = format!("`{id}` cannot be one of the `{ADMINISTRATORS}` by a list");
        return Err(AdminError::Invalid(why));
    }
    let groups = person.groups.iter().map(|group| group.parse()).collect::<Result<_, _>>();
    let unit = person.unit.as_ref().map(|unit| unit.parse()).transpose();
    let manager = person.manager.as_ref().map(|manager| manager.parse()).transpose();
    Ok(Entry {
        groups: groups.map_err(AdminError::invalid)?,
        unit: unit.map_err(AdminError::invalid)?,
        manager: manager.map_err(AdminError::invalid)?,
        active: person.active,
    })
}

/// Checks that every manager is in the list, and that nobody reports to themselves, however far up.
fn managers(all: &BTreeMap<PersonId, Entry>) -> Result<(), AdminError> {
    let mut sound = BTreeSet::new();
    for start in all.keys() {
        let (mut below, mut person) = (BTreeSet::new(), start);
        while !sound.contains(person) {
            if !below.insert(person) {
                return Err(AdminError::Invalid(format!("`{person}` is their own manager")));
            }
            let entry = all.get(person).ok_or_else(|| {
                AdminError::Invalid(format!("the manager `{person}` is not in the list"))
            })?;
            let Some(manager) = &entry.manager else { break };
            person = manager;
        }
        sound.extend(below);
    }
    Ok(())
}
