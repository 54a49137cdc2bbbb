//! Who came in by a login session, and whether that one is over since.

use model::{FactKey, LoginSession, Person, PersonId};

use crate::command::{AdminError, Administration, By, Draft};

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
            Some(person) if person.stands_by(session.since, session.id) => {
                return Ok(Some(person.id));
            }
            Some(person) if person.is_active() => "session_outdated",
            Some(_) => "person_not_active",
            None => "person_unknown",
        };
        self.refuse_person(cause);
        Ok(None)
    }

    /// Refuses who acts in a login session that has ended since they came in by it. That it has not is what the act
    /// rests on.
    pub(crate) async fn is_in_session(
        &self,
        draft: &mut Draft<'_>,
        by: By<'_>,
    ) -> Result<(), AdminError> {
        let Some(session) = by.session else { return Ok(()) };
        let person = draft.reader.need::<Person>(FactKey::person(by.person)).await;
        let person = person.map_err(AdminError::unavailable)?;
        if person.stands_by(session.since, session.id) {
            return Ok(());
        }
        self.refuse_person("session_outdated");
        Err(AdminError::Conflict("your session has ended meanwhile: log in again".to_owned()))
    }
}
