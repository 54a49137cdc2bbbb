//! What a directory says of one person comes into force: first what it takes away, which needs no
//! leave, then what it gives.

use authority::{AdminAct, ChangedBy, CommitError, Effect, NotAdministered, NotPermitted, Reader};
use model::{FactKey, Gives, Person, Provisioning, ResourceRef, SignalRef, SourceName};
use scim::Error;
use serde_json::{Value, json};

use super::errors::{changed_meanwhile, taken, unavailable};
use crate::Administration;
use crate::register::{put, put_new};
use crate::widening;

/// The most commits that one change takes: what it takes away, what it gives, and each again where what it
/// rests on changed meanwhile.
pub(crate) const STEPS_MAX: usize = 6;

/// What becomes of one person, with what is written beside.
pub(crate) struct Becomes {
    /// The person as they are, if they are in the register.
    pub(crate) was: Option<Person>,
    /// As they are to be.
    pub(crate) is: Person,
    /// A login that is nobody's any longer.
    pub(crate) parted: Option<FactKey>,
    /// A login that becomes the person's and nobody else's: where it stands, and which it is.
    pub(crate) joined: Option<(FactKey, Value)>,
    /// Whether they log in at all.
    pub(crate) has_login: bool,
    /// What the directory is told when it asks again, once only what it took away is in force.
    pub(crate) kept_at_first: Vec<Effect>,
    /// What it is told once all of it is.
    pub(crate) kept: Vec<Effect>,
    /// The signal that told of it, if one did.
    pub(crate) signal: Option<SignalRef>,
}

/// How much of something is in force.
#[derive(PartialEq, Eq)]
pub(crate) enum Done {
    /// What it takes away: what it gives comes next.
    Part,
    /// All of it.
    Whole,
}

/// What comes into force in one commit.
struct Step {
    done: Done,
    person: Person,
    gives: Provisioning,
    change: Value,
    effects: Vec<Effect>,
}

impl Becomes {
    /// What comes into force next. What is taken away comes alone wherever anything else could be refused.
    fn next(self) -> Step {
        let Self { was, is, parted, joined, has_login, kept_at_first, kept, .. } = self;
        // As what they were, for who undoes it.
        let before = json!(was);
        let restricted = was.as_ref().map(|was| was.restricted_to(&is));
        let is_restricted = restricted != was || parted.is_some();
        let is_here = |person: &Person| person.as_told().is_active();
        let returns = was.as_ref().is_some_and(|was| !is_here(was)) && is_here(&is);
        let login = joined.is_some() || (returns && has_login);
        let gives = Provisioning::between(restricted.as_ref(), &is, login);
        let may_be_refused = gives.gives != Gives::Nothing
            || kept.iter().any(|effect| matches!(effect, Effect::PutNew { .. }));
        let removed = parted.clone().map(|key| Effect::Remove { key });
        if let Some(restricted) = restricted.filter(|_| is_restricted && may_be_refused) {
            let gives = Provisioning::between(Some(&restricted), &restricted, false);
            let change = json!({ "person": restricted, "was": before, "parted": parted });
            let written = widening::written(&restricted);
            let effects = removed.into_iter().chain(written).chain(kept_at_first).collect();
            return Step { done: Done::Part, person: restricted, gives, change, effects };
        }
        let login = joined.as_ref().map(|(_, login)| login);
        let change = json!({ "person": is, "was": before, "parted": parted, "joined": login });
        let joined = joined.map(|(key, _)| put_new(key, &is.id));
        let written = widening::written(&is);
        let effects = removed.into_iter().chain(joined).chain(written).chain(kept).collect();
        Step { done: Done::Whole, person: is, gives, change, effects }
    }
}

impl Administration {
    /// Puts the next part of what becomes of a person in force, if what it rests on, which `reader` has
    /// read, is as it was.
    pub(crate) async fn becomes(
        &self,
        directory: &SourceName,
        mut reader: Reader<'_>,
        becomes: Becomes,
    ) -> Result<Done, Error> {
        let (is_new, signal) = (becomes.was.is_none(), becomes.signal.clone());
        let (was, mut records) = (becomes.was.clone(), Vec::new());
        let Step { done, person, gives, change, mut effects } = becomes.next();
        // Somebody who was denied to the directory before has a key: it opens the record of that.
        let place = FactKey::data_key(&person.id);
        let is_keyed = !is_new || reader.find::<Value>(place).await.map_err(unavailable)?.is_some();
        let sealer = self.authority.journal().sealer();
        let data_key = (!is_keyed).then(|| sealer.new_data_key(&person.id));
        let first = data_key.iter().map(|it| (it.key.clone(), it.body.clone()));
        effects.extend(first.map(|(key, body)| Effect::PutNew { key, body }));
        let now = self.authority.clock().now();
        for stranger in was.iter().flat_map(|was| widening::brief(was, &person, now)) {
            let found = self.authority.found(&mut reader, stranger).await;
            let (finding, record) = found.map_err(unavailable)?;
            effects.push(put(FactKey::finding(&finding.id), &finding));
            records.push(record);
        }
        let is_found = !records.is_empty();
        let (read, id) = (reader.sourced(()), person.id);
        let action =
            if gives.gives == Gives::Nothing { "person/restrict" } else { "person/provision" };
        let (name, person) = (directory.clone(), id.clone());
        let by = ChangedBy::Directory { name, person, gives, data_key, signal };
        let act = AdminAct {
            by,
            action,
            target: ResourceRef::Person(id),
            change,
            reads: (read.keys, read.revision),
            effects,
        };
        let administered = self.authority.administer_with(act, records).await;
        // Also where nobody can tell whether it was committed.
        if is_found {
            self.authority.note_committed();
        }
        administered.map(|_| done).map_err(refused)
    }
}

/// Why something did not come into force, as a directory is told.
pub(super) fn refused(reason: NotAdministered) -> Error {
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
