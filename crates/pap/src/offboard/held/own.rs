//! What a person alone is known by: their key, their logins and what was begun by these, and their systems.

use authority::FactsError;
use model::{
    FactKey, InitiatingSystem, Initiator, Person, PersonId, PersonState, SystemState, Timestamp,
};

use super::super::causes::{Cause, left, no_longer_by};
use super::super::signals::Root;
use super::super::{Credential, CredentialKind, Died};
use super::Look;
use crate::founding::founder_key;

impl Look<'_> {
    /// What a person is known by, and the systems for which they answer.
    pub(super) async fn person(&mut self, id: &PersonId) -> Result<(), FactsError> {
        let mut reader = self.administration.knowing();
        let person: Person = reader.need(FactKey::person(id)).await?;
        let why = (!person.is_active()).then_some("person_not_active");
        let gone = |person: &Person| match person.state {
            PersonState::Inactive { since } => {
                self.signals.died(vec![Cause::Taken(Root::Left(id.clone()), since)], self.now)
            }
            PersonState::Active { .. } => None,
        };
        let died = gone(&person);
        let founder: Option<serde_json::Value> = reader.find(founder_key(id)).await?;
        let key = founder.and_then(|key| keys::VerifyingKey::from_jwk(&key).ok());
        let key =
            key.map(|key| Credential::new(CredentialKind::PersonKey, key.thumbprint_text(), id));
        self.held.credentials.extend(key.map(|key| key.is(why, || died.clone())));
        let (mut pages, mut logs_in) = (self.administration.pages("login/"), false);
        while let Some(logins) = self.page::<PersonId>(&mut pages).await? {
            for (key, _) in logins.into_iter().filter(|(_, of)| of == id) {
                let login = key.as_str().strip_prefix("login/").unwrap_or_default();
                let credential =
                    Credential::new(CredentialKind::Login, login, id).is(why, || died.clone());
                self.held.credentials.push(credential);
                logs_in = true;
            }
        }
        if logs_in {
            self.sessions(&person);
        }
        let mut pages = self.administration.pages("system/");
        while let Some(systems) = self.page::<InitiatingSystem>(&mut pages).await? {
            for (_, system) in systems.into_iter().filter(|(_, system)| system.owner == *id) {
                self.system(system, &person);
            }
        }
        Ok(())
    }

    /// The sessions of `person` at the pages for people. None is kept anywhere: what is known is until when all that
    /// were begun are over.
    fn sessions(&mut self, person: &Person) {
        let (left, is_active) = match person.state {
            PersonState::Inactive { since } => (Some(since), false),
            PersonState::Active { authorization_cutoff } => (authorization_cutoff, true),
        };
        let of = |which: String| Credential::new(CredentialKind::PageSessions, which, &person.id);
        let over = left.max(person.sessions_cutoff);
        let all = over.map(|over| (format!("begun by {over}"), (over, None)));
        let alone = person.sessions_over.iter().map(|(session, until)| {
            (format!("of session {session}, begun by {until}"), (*until, Some(*session)))
        });
        for (which, (begun, session)) in all.into_iter().chain(alone) {
            let why = if is_active { "session_outdated" } else { "person_not_active" };
            let why = (!person.stands_by(begun, session)).then_some(why);
            let died = || {
                let causes = no_longer_by(person, (begun, session)).collect();
                // Who came back left before that.
                let root = Root::Left(person.id.clone());
                let left = self.signals.last(&root, Timestamp::from_millis(0), begun).cloned();
                let left = left.map(|it| Died { at: it.time, signal: Some(it) });
                self.signals.died(causes, self.now).or(left)
            };
            let credential = of(which).is(why, died);
            self.held.credentials.push(credential);
        }
        if is_active {
            let which = over.map_or_else(|| "any".to_owned(), |over| format!("begun after {over}"));
            self.held.credentials.push(of(which));
        }
    }

    fn system(&mut self, system: InitiatingSystem, owner: &Person) {
        let id = system.name.to_string();
        let starts = system.state == SystemState::Active
            && self.now < system.key_expires
            && owner.answers_for(self.now);
        let why = (!starts).then_some("system_not_active");
        let registered = system.registered;
        let initiator = Initiator { system, owner: owner.clone() };
        let died = || {
            let Initiator { system, owner } = &initiator;
            let mut causes = vec![Cause::Over(system.key_expires)];
            causes.extend(left(owner, registered));
            if let SystemState::Suspended { since, .. } = system.state {
                causes.push(Cause::Taken(Root::System(system.name.clone()), since));
            }
            self.signals.died(causes, self.now)
        };
        let credential = Credential::new(CredentialKind::SystemKey, id, &owner.id).is(why, died);
        self.held.credentials.push(credential);
    }
}
