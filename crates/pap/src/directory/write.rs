//! What a directory says of one person comes into force: first what it takes away, which needs no
//! leave, then what it gives.

use authority::{AdminAct, ChangedBy, CommitError, Effect, NotAdministered, NotPermitted, Reader};
use model::{FactKey, Gives, Person, Provisioning, ResourceRef, SourceName};
use scim::Error;
use serde_json::json;

use super::errors::{changed_meanwhile, taken, unavailable};
use crate::Administration;
use crate::register::put;

/// What becomes of one person, with what is written beside.
pub(super) struct Becomes {
    /// The person as they are, if they are in the register.
    pub(super) was: Option<Person>,
    /// As they are to be.
    pub(super) is: Person,
    /// Logins that are nobody's any longer.
    pub(super) parted: Vec<FactKey>,
    /// Logins that become the person's, and nobody else's.
    pub(super) joined: Vec<FactKey>,
    /// What the directory is told when it asks again.
    pub(super) kept: Vec<Effect>,
}

/// How much of something is in force.
#[derive(PartialEq, Eq)]
pub(super) enum Done {
    /// What it takes away: what it gives comes next.
    Part,
    /// All of it.
    Whole,
}

impl Becomes {
    /// What comes into force next, with what that gives; for what rests on `reader`.
    fn next(self) -> (Done, Person, Provisioning, Vec<Effect>) {
        let Self { was, is, parted, joined, kept } = self;
        let login = !joined.is_empty();
        let restricted = was.as_ref().map(|was| was.restricted_to(&is));
        let is_restricted = restricted != was || !parted.is_empty();
        let gives = Provisioning::between(restricted.as_ref(), &is, login);
        let parted = parted.into_iter().map(|key| Effect::Remove { key });
        match restricted {
            Some(restricted) if is_restricted && gives.gives != Gives::Nothing => {
                let gives = Provisioning::between(Some(&restricted), &restricted, false);
                let effects = parted.chain([put(FactKey::person(&restricted.id), &restricted)]);
                (Done::Part, restricted, gives, effects.collect())
            }
            _ => {
                let joined = joined.into_iter().map(|key| crate::register::put_new(key, &is.id));
                let person = put(FactKey::person(&is.id), &is);
                let effects = parted.chain(joined).chain([person]).chain(kept).collect();
                (Done::Whole, is, gives, effects)
            }
        }
    }
}

impl Administration {
    /// Puts the next part of what becomes of a person in force, if what it rests on, which `reader` has
    /// read, is as it was.
    pub(super) async fn becomes(
        &self,
        directory: &SourceName,
        reader: Reader<'_>,
        becomes: Becomes,
    ) -> Result<Done, Error> {
        let is_new = becomes.was.is_none();
        let (done, person, gives, mut effects) = becomes.next();
        let sealer = self.authority.journal().sealer();
        let data_key = is_new.then(|| sealer.new_data_key(&person.id));
        let first =
            data_key.iter().map(|it| Effect::PutNew { key: it.key.clone(), body: it.body.clone() });
        effects.extend(first);
        let (read, id) = (reader.sourced(()), person.id.clone());
        let action =
            if gives.gives == Gives::Nothing { "person/restrict" } else { "person/provision" };
        let by =
            ChangedBy::Directory { name: directory.clone(), person: id.clone(), gives, data_key };
        let act = AdminAct {
            by,
            action,
            target: ResourceRef::Person(id),
            change: json!(person),
            reads: (read.keys, read.revision),
            effects,
        };
        self.authority.administer(act).await.map(|_| done).map_err(refused)
    }
}

/// Why something did not come into force, as a directory is told.
fn refused(reason: NotAdministered) -> Error {
    match reason {
        NotAdministered::Conflict(CommitError::Exists { key }) => {
            let why = if key.as_str().starts_with("login/") {
                "the login is another person's"
            } else {
                "another has it"
            };
            taken(why)
        }
        NotAdministered::Conflict(_) => changed_meanwhile(),
        NotAdministered::NotPermitted(NotPermitted::Denied { denial, decision }) => {
            Error::of_status(403, format!("not permitted: {denial} (decision {decision})"))
        }
        other => unavailable(other),
    }
}
