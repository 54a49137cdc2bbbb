//! Which login sessions a signal is about, and what comes of it that they are over.
//!
//! INVARIANT: a session that is named is over, whoever's it is, also if nobody here knows it yet
//! (`sc_02_a_session_that_ended_before_anybody_knew_it_is_over`).

use std::collections::BTreeSet;

use authority::{Effect, Reader};
use model::{
    FactKey, Person, PersonId, SESSION_PEOPLE_MAX, SessionDigest, SessionOver, SourceName,
    Timestamp,
};
use secevent::{Identifier, SKEW_MS, Set};

use super::taking::{Comes, Taking, found};
use crate::command::AdminError;

/// Which login sessions of the person `set` is about; none, if it is about all. What names a session as no provider does
/// in an ID token may be about any.
pub(super) fn sessions_of(set: &Set) -> BTreeSet<SessionDigest> {
    if is_of_sessions(set) { named_by(set.subject.session()) } else { BTreeSet::new() }
}

/// Whether `set` may be about some of somebody's sessions: RISC tells of accounts as a whole.
fn is_of_sessions(set: &Set) -> bool {
    set.event.kind.starts_with("caep/")
}

/// The login sessions that have these identifiers, by what their provider calls them.
fn named_by(identifiers: &[Identifier]) -> BTreeSet<SessionDigest> {
    let sid = |identifier: &Identifier| match identifier {
        Identifier::Opaque(sid) | Identifier::IssSub { sub: sid, .. } => {
            Some(SessionDigest::of(sid.as_bytes()))
        }
        Identifier::Email(_)
        | Identifier::Account(_)
        | Identifier::Uri(_)
        | Identifier::PhoneNumber(_)
        | Identifier::Did(_)
        | Identifier::Scim { .. }
        | Identifier::Other => None,
    };
    identifiers.iter().filter_map(sid).collect()
}

/// By when what was begun in a session is over. The transmitter's clock may be behind: so is what may have been begun
/// before that; the future is not.
fn cutoff(taking: &Taking<'_>) -> Timestamp {
    let until = taking.set.until().saturating_add(SKEW_MS);
    Timestamp::from_millis(until).min(taking.now)
}

/// What was begun by then in the login sessions of these `people` that `ended`, or in all of theirs, if none is named, is
/// over: of one after another, last of those of whom it could not be done before; with the last of all `kept` is written.
pub(super) fn sessions_ended(
    taking: &Taking<'_>,
    people: Vec<Person>,
    (ended, kept): (&BTreeSet<SessionDigest>, Vec<Effect>),
) -> Comes {
    let over = |was: Person| {
        let is = was.clone().logged_out(ended, cutoff(taking));
        (is != was).then(|| (Box::new(was), Box::new(is)))
    };
    let mut all: Vec<_> = people.into_iter().filter_map(over).collect();
    all.sort_by_key(|(was, _)| taking.undone.contains(&was.id));
    let mut all = all.into_iter();
    match (all.next(), all.next()) {
        (Some((was, is)), None) => Comes::Becomes(was, is, kept),
        (Some((was, is)), Some(_)) => Comes::InPart(was, is),
        (None, _) => Comes::Nothing("ended_already", kept),
    }
}

/// Sessions ended, and by what is said of whose they are no one is known, for `why`, but `people`, if several: they are
/// over for each of these, and for whoever is known by the sessions. That they are over is remembered besides for longer
/// than anybody stays logged in: nobody else begins anything in them.
pub(super) async fn sessions_of_any(
    reader: &mut Reader<'_>,
    taking: &Taking<'_>,
    (people, why): (BTreeSet<PersonId>, &'static str),
) -> Result<Comes, AdminError> {
    let directory = &taking.stream.directory;
    let subject = taking.set.subject.session_of_nobody();
    let ended = if is_of_sessions(taking.set) { named_by(subject) } else { BTreeSet::new() };
    let is_any = !ended.is_empty() && people.len() <= SESSION_PEOPLE_MAX;
    let (mut whose, mut kept) = (if is_any { people } else { BTreeSet::new() }, Vec::new());
    for session in &ended {
        whose.extend(people_of(reader, (directory, *session)).await?);
        let place = FactKey::session_over(directory, *session);
        let known: Option<SessionOver> = found(reader, place.clone()).await?;
        let told = SessionOver { until: cutoff(taking), kept: taking.until() };
        let over = known.map_or(told, |known| known.and(told));
        let name = taking.name_of(&place);
        kept.extend(taking.as_long_as_the_token(&name, (place, &over)));
    }
    let mut own = Vec::new();
    for id in whose {
        let person = found::<Person>(reader, FactKey::person(&id)).await?;
        own.extend(person.filter(|person| person.source.as_ref() == Some(directory)));
    }
    if own.is_empty() {
        return Ok(Comes::Nothing(why, kept));
    }
    Ok(sessions_ended(taking, own, (&ended, kept)))
}

/// Who consented to something in a login session of this name, as far as that is known.
async fn people_of(
    reader: &mut Reader<'_>,
    (directory, session): (&SourceName, SessionDigest),
) -> Result<BTreeSet<PersonId>, AdminError> {
    let people = found::<BTreeSet<PersonId>>(reader, FactKey::session_of(session)).await?;
    let mut people = people.unwrap_or_default();
    let before = FactKey::session_of_one(directory, session);
    people.extend(found::<PersonId>(reader, before).await?);
    Ok(people)
}
