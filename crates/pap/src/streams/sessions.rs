//! Which login sessions a signal is about, and what comes of it that they are over.
//!
//! INVARIANT: a session that is named is over, whoever's it is, also if nobody here knows it yet
//! (`sc_02_a_session_that_ended_before_anybody_knew_it_is_over`).

use std::collections::BTreeSet;

use authority::Reader;
use model::{FactKey, Person, PersonId, SessionDigest, SessionOver, SourceName, Timestamp};
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

/// What was begun by then in the person's login sessions that `ended`, or in all, if none is named, is over.
pub(super) fn sessions_ended(
    taking: &Taking<'_>,
    was: Person,
    ended: &BTreeSet<SessionDigest>,
) -> Comes {
    let is = was.clone().logged_out(ended, cutoff(taking));
    if is == was {
        return Comes::Nothing("ended_already", Vec::new());
    }
    Comes::Becomes(Box::new(was), Box::new(is), Vec::new())
}

/// Sessions ended, and by what is said of whose they are nobody is known, for `why`. Where nobody is known by the
/// sessions either, that they are over is remembered for longer than anybody stays logged in: nothing is begun in them.
pub(super) async fn sessions_of_nobody(
    reader: &mut Reader<'_>,
    taking: &Taking<'_>,
    why: &'static str,
) -> Result<Comes, AdminError> {
    let directory = &taking.stream.directory;
    let subject = taking.set.subject.session_of_nobody();
    let ended = if is_of_sessions(taking.set) { named_by(subject) } else { BTreeSet::new() };
    let (mut whose, mut remembered) = (BTreeSet::new(), Vec::new());
    for session in &ended {
        whose.extend(people_of(reader, (directory, *session)).await?);
        let place = FactKey::session_over(directory, *session);
        let known: Option<SessionOver> = found(reader, place.clone()).await?;
        let told = SessionOver { until: cutoff(taking), kept: taking.until() };
        let over = known.map_or(told, |known| known.and(told));
        let name = taking.name_of(&place);
        remembered.extend(taking.as_long_as_the_token(&name, (place, &over)));
    }
    let person = match (whose.pop_first(), whose.is_empty()) {
        (Some(id), true) => found::<Person>(reader, FactKey::person(&id)).await?,
        (Some(_), false) => return Ok(Comes::Nothing("ambiguous_subject", remembered)),
        (None, _) => None,
    };
    Ok(match person.filter(|person| person.source.as_ref() == Some(directory)) {
        Some(was) => sessions_ended(taking, was, &ended),
        None => Comes::Nothing(why, remembered),
    })
}

/// Who consented to something in a login session of this name; of them count who are of the directory now.
async fn people_of(
    reader: &mut Reader<'_>,
    (directory, session): (&SourceName, SessionDigest),
) -> Result<BTreeSet<PersonId>, AdminError> {
    let people = found::<BTreeSet<PersonId>>(reader, FactKey::session_of(session)).await?;
    let mut people = people.unwrap_or_default();
    let before = FactKey::session_of_one(directory, session);
    people.extend(found::<PersonId>(reader, before).await?);
    let mut own = BTreeSet::new();
    for id in people {
        let person = found::<Person>(reader, FactKey::person(&id)).await?;
        if person.is_some_and(|person| person.source.as_ref() == Some(directory)) {
            own.insert(id);
        }
    }
    Ok(own)
}
