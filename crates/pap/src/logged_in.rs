//! Who came in by a login session, and whether that one is over since.
//!
//! INVARIANT: nothing is done in a session that ended, nor by a login that is no longer the person's, also if that comes
//! between the page and the commit (`sc_02_nothing_is_done_at_the_pages_in_a_session_that_ends`,
//! `sc_02_nothing_is_done_at_the_pages_by_a_login_that_is_somebody_elses`).

use std::collections::BTreeSet;

use authority::{ChangedBy, Effect, FactsError, Reader};
use model::{
    Authentication, FactKey, LoginSession, Person, PersonId, SESSION_PEOPLE_MAX, SessionOver,
};

use crate::command::{AdminError, Administration};
use crate::register::put;

/// Who acts: a person, and, where a provider vouches for them, the groups that it says they are in.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    /// The person.
    pub person: &'a PersonId,
    /// The groups, if the provider's word on them counts: it takes some away, and gives none.
    pub groups: Option<&'a BTreeSet<String>>,
    /// The login session in which they act, if it is in one.
    pub session: Option<LoginSession>,
    /// Where it says whose the login is by which they came in, if they are in a session.
    pub login: Option<&'a FactKey>,
    /// How they authenticated for it, as far as their provider says.
    pub authentication: Option<&'a Authentication>,
}

impl<'a> From<&'a PersonId> for By<'a> {
    fn from(person: &'a PersonId) -> Self {
        Self { person, groups: None, session: None, login: None, authentication: None }
    }
}

impl From<By<'_>> for ChangedBy {
    fn from(By { person, groups, .. }: By<'_>) -> Self {
        Self::Person { id: person.clone(), groups: groups.cloned() }
    }
}

impl Administration {
    /// The active person whom `issuer` vouches for as `subject` in `session`. Of anybody else, of who left and came
    /// back meanwhile, and of whose session is over, a record says that they were refused, not who they are.
    pub async fn logged_in(
        &self,
        (issuer, subject): (&str, &str),
        session: LoginSession,
    ) -> Result<Option<PersonId>, AdminError> {
        let mut reader = self.reader();
        let id = reader.find::<PersonId>(FactKey::login(issuer, subject)).await;
        let person = match id.map_err(AdminError::unavailable)? {
            Some(id) => reader.find::<Person>(FactKey::person(&id)).await,
            None => Ok(None),
        };
        let cause = match person.map_err(AdminError::unavailable)? {
            None => "person_unknown",
            Some(person) if !person.is_active() => "person_not_active",
            Some(person) => {
                let counts = counts(&mut reader, &person, session).await;
                if counts.map_err(AdminError::unavailable)? {
                    return Ok(Some(person.id));
                }
                "session_outdated"
            }
        };
        self.refuse_person(cause);
        Ok(None)
    }

    /// A reader that has read, of who acts in a login session, that it has not ended since they came in by it, and that
    /// the login is still theirs: what the act rests on. Whoever else acts in one is refused.
    pub(crate) async fn in_session(&self, by: By<'_>) -> Result<Reader<'_>, AdminError> {
        let mut reader = self.reader();
        let Some(session) = by.session else { return Ok(reader) };
        let person = reader.need::<Person>(FactKey::person(by.person)).await;
        let person = person.map_err(AdminError::unavailable)?;
        let counts = counts(&mut reader, &person, session).await;
        let is_theirs = is_theirs(&mut reader, by).await;
        if !counts.map_err(AdminError::unavailable)?
            || !is_theirs.map_err(AdminError::unavailable)?
        {
            self.refuse_person("session_outdated");
            let why = "your session has ended meanwhile: log in again";
            return Err(AdminError::Conflict(why.to_owned()));
        }
        Ok(reader)
    }
}

/// What says whose the login session is in which somebody acts, for who tells later that it ended and not whose it was;
/// nothing, if that is known already.
pub(crate) async fn session_of(
    reader: &mut Reader<'_>,
    by: By<'_>,
) -> Result<Option<Effect>, AdminError> {
    let Some(session) = by.session.and_then(|session| session.id) else { return Ok(None) };
    let place = FactKey::session_of(session);
    let people = reader.find::<BTreeSet<PersonId>>(place.clone()).await;
    let mut people = people.map_err(AdminError::unavailable)?.unwrap_or_default();
    if !people.insert(by.person.clone()) {
        return Ok(None);
    }
    // Of more, a logout by the session alone would not end what they began in it.
    if people.len() > SESSION_PEOPLE_MAX {
        let why = "too many people were in sessions of this name: log in again";
        return Err(AdminError::Conflict(why.to_owned()));
    }
    Ok(Some(put(place, &people)))
}

/// Whether the login by which somebody came in is still theirs.
async fn is_theirs(reader: &mut Reader<'_>, by: By<'_>) -> Result<bool, FactsError> {
    let Some(login) = by.login else { return Ok(true) };
    let whose = reader.find::<PersonId>(login.clone()).await?;
    Ok(whose.as_ref() == Some(by.person))
}

/// Whether `session` of `person` counts: no signal ended it, whether that named them or the session alone.
async fn counts(
    reader: &mut Reader<'_>,
    person: &Person,
    session: LoginSession,
) -> Result<bool, FactsError> {
    if !person.stands_by(session.since, session.id) {
        return Ok(false);
    }
    let Some((directory, id)) = person.source.as_ref().zip(session.id) else { return Ok(true) };
    let over = reader.find::<SessionOver>(FactKey::session_over(directory, id)).await?;
    Ok(over.is_none_or(|over| session.since > over.until))
}
