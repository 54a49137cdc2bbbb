//! What comes of one signal: it is remembered, recorded and in force in one commit; of several people, one after
//! another, in as many, the last of which remembers it.

use std::collections::BTreeSet;

use authority::{CommitError, CounterKey, Effect, FactsError, Reader, Unit, event};
use model::{
    Directory, FactKey, Gives, Person, PersonId, PersonState, Provisioning, Risk, ScimResource,
    Sha256Digest, SignalMark, SignalRef, SourceName, Speaker, Stranger, Stream, StreamTells, Taken,
    TakenUntil, Timestamp,
};
use secevent::{AGE_MAX_MS, ErrorCode, Meaning, Refusal, RiskLevel, SKEW_MS, Set, StreamStatus};
use serde::Serialize;
use serde_json::json;

use super::rating::{Rated, Rates};
use super::registered::active;
use super::sessions::{sessions_ended, sessions_of, sessions_of_any};
use super::subjects::Named;
use super::{KnownStream, NotTaken, later};
use crate::command::{AdminError, Administration};
use crate::directory::{Becomes, Done, has_shown, is_changed_meanwhile, is_user_active, kept_of};
use crate::register::put;
use crate::widening;

/// The most tokens of one stream that are remembered: what would be one more is not taken, as one that
/// is forgotten could be taken again.
pub const TAKEN_MAX: i64 = 500_000;

/// How often a signal is looked at again if what it rests on changed meanwhile.
const ATTEMPTS_MAX: usize = 4;

/// What comes of a signal.
pub(super) enum Comes {
    /// Nothing but that it is remembered, with what else: why, in a word that stays.
    Nothing(&'static str, Vec<Effect>),
    /// Something of a person, and what is written beside.
    Becomes(Box<Person>, Box<Person>, Vec<Effect>),
    /// Something of a person, and then of others.
    InPart(Box<Person>, Box<Person>),
    /// An agent, or one of its instances, is at another risk.
    Rates(Box<Rates>),
}

/// A signal that is being taken.
pub(super) struct Taking<'a> {
    pub(super) set: &'a Set,
    pub(super) stream: Stream,
    pub(super) directory: Directory,
    /// Where users are.
    base: &'a str,
    /// The issuer of our tokens.
    ours: &'a str,
    /// When it is taken.
    pub(super) now: Timestamp,
    /// Of whom it could not be done yet.
    pub(super) undone: BTreeSet<PersonId>,
}

impl Taking<'_> {
    pub(super) fn at(&self) -> Timestamp {
        Timestamp::from_millis(self.set.at())
    }

    pub(super) fn reference(&self) -> SignalRef {
        let jti = Sha256Digest::of(self.set.jti.as_bytes());
        let event = self.set.event.kind.to_owned();
        SignalRef { at: self.at(), event, jti, stream: self.stream.name.clone() }
    }

    /// Whether anything could ever come of it. Of what changes nobody, none need be remembered: it does
    /// nothing however often it comes.
    fn may_change_something(&self) -> bool {
        match &self.set.event.meaning {
            Meaning::Left
            | Meaning::Compromised
            | Meaning::Returned
            | Meaning::SessionsEnded
            | Meaning::StreamUpdated { .. } => true,
            Meaning::Risk { .. } => self.rates().is_some(),
            Meaning::Verified { .. } | Meaning::NotUnderstood | Meaning::Noted => false,
        }
    }

    /// Of whom policy knows it says that they are at risk, if it does. What we tell ourselves is known here.
    fn rates(&self) -> Option<Rated<'_>> {
        let rated = Rated::by(self.set, self.ours)?;
        let is_own = self.stream.issuer == self.ours && !matches!(rated, Rated::Person);
        (!is_own).then_some(rated)
    }

    /// What is written so that it is taken once.
    pub(super) fn remembered(&self, token: Sha256Digest) -> [Effect; 3] {
        let place = FactKey::taken(&self.stream.name, &self.set.jti);
        let once = Taken { token, until: self.until() };
        self.as_long_as_the_token(&place.clone(), (place, &once))
    }

    /// Until when the token could come again.
    pub(super) fn until(&self) -> Timestamp {
        Timestamp::from_millis(self.set.issued.saturating_add(AGE_MAX_MS + 1))
    }

    /// A name of what the token alone leaves at `place`.
    pub(super) fn name_of(&self, place: &FactKey) -> FactKey {
        let taken = FactKey::taken(&self.stream.name, &self.set.jti);
        FactKey::from_text(&format!("{taken}/{place}"))
    }

    /// What is written so that a fact is at a place for as long as the token could come again. No other is forgotten by
    /// `name`.
    pub(super) fn as_long_as_the_token<T: Serialize>(
        &self,
        name: &FactKey,
        (place, fact): (FactKey, &T),
    ) -> [Effect; 3] {
        let stream = &self.stream.name;
        let later = FactKey::taken_until(self.until(), name);
        let forget = TakenUntil { stream: stream.clone(), taken: place.clone() };
        let count = Effect::Count { counter: counter(stream), amount: 1, limit: Some(TAKEN_MAX) };
        [put(place, fact), put(later, &forget), count]
    }
}

/// How many tokens of a stream are remembered.
pub(super) fn counter(stream: &SourceName) -> CounterKey {
    CounterKey(format!("taken/{stream}"))
}

impl Administration {
    /// Takes what `set` says, of which `token` is the text, by the stream `known`: once. Users are at `base`.
    pub(super) async fn take_signal(
        &self,
        (known, base): (&KnownStream, &str),
        set: &Set,
        token: &str,
    ) -> Result<(), NotTaken> {
        let token = Sha256Digest::of(token.as_bytes());
        // One moment for all of it: of whom it is done, it is not done again.
        let (mut attempts, now, mut undone) = (0, self.now(), BTreeSet::new());
        while attempts < ATTEMPTS_MAX {
            match self.try_take((known, base), set, (token, now), &mut undone).await? {
                Some(Done::Whole) => return Ok(()),
                Some(Done::Part) => attempts = 0,
                None => attempts += 1,
            }
        }
        Err(NotTaken::Later)
    }

    /// Says how much of it was taken: if nothing, what it rests on changed meanwhile. Of whom it is `undone`, it is done
    /// last.
    async fn try_take(
        &self,
        (known, base): (&KnownStream, &str),
        set: &Set,
        (token, now): (Sha256Digest, Timestamp),
        undone: &mut BTreeSet<PersonId>,
    ) -> Result<Option<Done>, NotTaken> {
        let unavailable = |error: FactsError| later(AdminError::unavailable(error));
        let (mut reader, name) = (self.reader(), &known.name);
        let stream = active(&mut reader, name).await.map_err(later)?.ok_or(NotTaken::Stranger)?;
        if let Some(shown) = &known.shown {
            let place = FactKey::stream_tokens(name);
            if !has_shown(&mut reader, place, shown).await.map_err(unavailable)? {
                return Err(NotTaken::Stranger);
            }
        }
        let place = FactKey::taken(name, &set.jti);
        let known = reader.find::<Taken>(place).await.map_err(unavailable)?;
        match known {
            Some(known) if known.token == token => {
                // It does nothing again, though whoever sends it is answered as at first (RFC 8935 §2).
                self.refuse_stream(Some(name), "replayed");
                return Ok(Some(Done::Whole));
            }
            Some(_) => return refused(ErrorCode::InvalidRequest, "another token had its `jti`"),
            None => {}
        }
        let place = FactKey::directory(&stream.directory);
        let directory: Directory = reader.need(place).await.map_err(unavailable)?;
        // What is told meanwhile is no less true once the directory goes on: it is not lost.
        if !directory.is_active() {
            tracing::info!(stream = %name, "nothing is taken while its directory is suspended");
            return Err(NotTaken::Later);
        }
        let ours = self.issuer.as_str();
        let taking = Taking { set, stream, directory, base, ours, now, undone: undone.clone() };
        let is_taken = match self.comes_of(&mut reader, &taking).await.map_err(later)? {
            Comes::Nothing(why, mut effects) => {
                if taking.may_change_something() {
                    effects.extend(taking.remembered(token));
                }
                self.signal_noted(reader, &taking, (why, effects)).await?
            }
            Comes::Rates(rates) => self.rate(reader, (&taking, token), *rates).await?,
            Comes::Becomes(was, is, mut kept) => {
                kept.extend(taking.remembered(token));
                Box::pin(self.person_becomes(reader, (&taking, token), (was, is, kept))).await?
            }
            // It is remembered with the last part: until then it is not acknowledged, and comes again.
            Comes::InPart(was, is) => {
                let id = was.id.clone();
                let part = self.person_becomes(reader, (&taking, token), (was, is, Vec::new()));
                let done = Box::pin(part).await;
                // The others do not wait for them.
                let is_put_off = matches!(done, Err(NotTaken::Later)) && undone.insert(id);
                let is_taken = is_put_off || done?;
                return Ok(is_taken.then_some(Done::Part));
            }
        };
        Ok(is_taken.then_some(Done::Whole))
    }

    /// Puts in force what becomes of a person, and what is `kept` of it. Says whether that was done.
    async fn person_becomes(
        &self,
        reader: Reader<'_>,
        (taking, token): (&Taking<'_>, Sha256Digest),
        (was, is, kept): (Box<Person>, Box<Person>, Vec<Effect>),
    ) -> Result<bool, NotTaken> {
        let Provisioning { gives, .. } = Provisioning::between(Some(&was), &is, false);
        let becomes = Becomes {
            was: Some(*was),
            is: *is,
            parted: None,
            joined: None,
            has_login: taking.directory.logins.is_some(),
            kept_at_first: Vec::new(),
            kept,
            signal: Some(taking.reference()),
        };
        match self.becomes(&taking.directory.name, reader, becomes).await {
            Ok(_) => Ok(true),
            Err(error) if is_changed_meanwhile(&error) => Ok(false),
            Err(error) if error.status == 403 => self.not_permitted((taking, token), gives).await,
            Err(_) => Err(NotTaken::Later),
        }
    }

    /// Remembers a signal whose denial is recorded by itself. What takes away is denied only while the
    /// directory is suspended: it is looked at again, and not taken for that.
    pub(super) async fn not_permitted(
        &self,
        (taking, token): (&Taking<'_>, Sha256Digest),
        gives: Gives,
    ) -> Result<bool, NotTaken> {
        if gives == Gives::Nothing {
            return Ok(false);
        }
        let mut reader = self.reader();
        let place = FactKey::taken(&taking.stream.name, &taking.set.jti);
        if found::<Taken>(&mut reader, place).await.map_err(later)?.is_some() {
            return Ok(false);
        }
        let effects = taking.remembered(token).into();
        self.signal_noted(reader, taking, ("not_permitted", effects)).await
    }

    async fn comes_of(
        &self,
        reader: &mut Reader<'_>,
        taking: &Taking<'_>,
    ) -> Result<Comes, AdminError> {
        let Set { subject, event, .. } = taking.set;
        let nothing = |why| Ok(Comes::Nothing(why, Vec::new()));
        match event.meaning {
            Meaning::Verified { .. } => return nothing("verified"),
            Meaning::StreamUpdated { status } => return updated(reader, taking, status).await,
            Meaning::Noted => return nothing("noted"),
            Meaning::NotUnderstood => return nothing("not_understood"),
            Meaning::Risk { level, .. } => match taking.rates() {
                None => return nothing("noted"),
                Some(Rated::Person) => {}
                Some(rated) => return self.rates(reader, taking, (rated, level_of(level))).await,
            },
            Meaning::Left | Meaning::Compromised | Meaning::Returned | Meaning::SessionsEnded => {}
        }
        // What is said of a part of what is theirs is not said of all of it (SSF 1.0 §3.5). Ending too many
        // logins is safe: they log in again. What takes away is not stopped by a part that is not known.
        let is_meant = match event.meaning {
            Meaning::SessionsEnded => true,
            Meaning::Left | Meaning::Compromised => !subject.is_of_a_part(),
            _ => subject.is_whole(),
        };
        if !is_meant {
            return nothing("not_all_of_the_person");
        }
        let of = (&taking.stream, taking.base);
        let person = match self.named(reader, of, subject.person()).await? {
            Named::One(id) => reader.find::<Person>(FactKey::person(&id)).await,
            Named::NoOne(people, why) if event.meaning == Meaning::SessionsEnded => {
                return sessions_of_any(reader, taking, (people, why)).await;
            }
            Named::NoOne(_, why) => return nothing(why),
        };
        let person = person.map_err(AdminError::unavailable)?;
        let is_own = |person: &Person| person.source.as_ref() == Some(&taking.stream.directory);
        let Some(was) = person.filter(is_own) else {
            let nobody = (BTreeSet::new(), "unknown_subject");
            return match event.meaning {
                Meaning::SessionsEnded => sessions_of_any(reader, taking, nobody).await,
                _ => nothing("unknown_subject"),
            };
        };
        match event.meaning {
            Meaning::SessionsEnded => {
                Ok(sessions_ended(taking, vec![was], (&sessions_of(taking.set), Vec::new())))
            }
            Meaning::Risk { level, .. } => Ok(rated(taking, was, level)),
            Meaning::Returned => returned(reader, taking, was).await,
            _ => left(reader, taking, was).await,
        }
    }

    /// Remembers a signal of which nothing comes, for `why`; people are told of it, if that is that it was not
    /// understood. Says whether that was done.
    async fn signal_noted(
        &self,
        mut reader: Reader<'_>,
        taking: &Taking<'_>,
        (why, mut effects): (&'static str, Vec<Effect>),
    ) -> Result<bool, NotTaken> {
        let SignalRef { event: kind, jti, stream, .. } = taking.reference();
        let details = [
            ("event", kind),
            ("jti", jti.to_string()),
            ("outcome", why.to_owned()),
            ("stream", stream.to_string()),
        ];
        // Whoever asked for it is told by this that it came.
        let state = match &taking.set.event.meaning {
            Meaning::Verified { state: Some(state) } => Some(Sha256Digest::of(state.as_bytes())),
            _ => None,
        };
        let state = state.map(|state| ("state", state.to_string()));
        let details = details.into_iter().chain(state);
        let details = details.map(|(name, value)| (name.to_owned(), value)).collect();
        let stamp = (taking.now, self.authority.entropy().as_ref());
        let mut entries = vec![event(stamp, "signal_noted", details)];
        let is_found = taking.set.event.meaning == Meaning::NotUnderstood;
        if is_found {
            let found =
                self.authority.found(&mut reader, not_understood(&taking.stream.name)).await;
            let (finding, record) = found.map_err(|error| later(AdminError::unavailable(error)))?;
            effects.push(put(FactKey::finding(&finding.id), &finding));
            entries.push(record);
        }
        let unit = Unit { entries, effects, ..Unit::resting_on(reader.sourced(())) };
        match self.authority.journal().store().commit(unit).await {
            Ok(_) => {
                if is_found {
                    self.authority.note_committed();
                }
                Ok(true)
            }
            Err(CommitError::Changed { .. }) => Ok(false),
            Err(error) => Err(later(AdminError::unavailable(error))),
        }
    }
}

fn refused<T>(code: ErrorCode, why: &str) -> Result<T, NotTaken> {
    Err(NotTaken::Refused(Refusal { code, description: why.to_owned() }))
}

pub(super) async fn found<T: authority::Fact>(
    reader: &mut Reader<'_>,
    key: FactKey,
) -> Result<Option<T>, AdminError> {
    reader.find::<T>(key).await.map_err(AdminError::unavailable)
}

/// The stream tells something from then on, or nothing, unless its transmitter said otherwise later.
async fn updated(
    reader: &mut Reader<'_>,
    taking: &Taking<'_>,
    status: StreamStatus,
) -> Result<Comes, AdminError> {
    let place = FactKey::stream_tells(&taking.stream.name);
    let known: Option<StreamTells> = found(reader, place.clone()).await?;
    let enabled = status == StreamStatus::Enabled;
    // Of two things that may have been at once, that it tells nothing counts.
    let at = if enabled { taking.at() } else { Timestamp::from_millis(taking.set.until()) };
    let is_older = known.is_some_and(|known| known.at > at || (enabled && known.at == at));
    if is_older {
        return Ok(Comes::Nothing("older", Vec::new()));
    }
    if !enabled {
        let (stream, status) = (&taking.stream.name, status.as_str());
        tracing::warn!(%stream, status, "the transmitter says that its stream tells nothing now");
    }
    let kept = vec![put(place, &StreamTells { at, enabled })];
    Ok(Comes::Nothing(status.as_str(), kept))
}

/// What people are told of a transmitter that tells what has to be understood and is not.
fn not_understood(stream: &SourceName) -> Stranger {
    let (cause, tried) = ("signal_not_understood".to_owned(), "signals".to_owned());
    Stranger { cause, tried, claimed: Some(stream.to_string()), ..Stranger::default() }
}

const fn level_of(level: RiskLevel) -> model::RiskLevel {
    match level {
        RiskLevel::Low => model::RiskLevel::Low,
        RiskLevel::Medium => model::RiskLevel::Medium,
        RiskLevel::High => model::RiskLevel::High,
    }
}

/// The stream rates the person so, unless it rated them later than that.
fn rated(taking: &Taking<'_>, was: Person, level: RiskLevel) -> Comes {
    let rating = Risk { level: level_of(level), since: taking.at().min(taking.now) };
    let speaker = Speaker::stream(&taking.stream.name);
    if was.rated.has_later(&speaker, &rating) {
        return Comes::Nothing("older", Vec::new());
    }
    let is = Box::new(was.clone().with_rating(&speaker, Some(rating)));
    Comes::Becomes(Box::new(was), is, Vec::new())
}

/// The person is gone, unless they came back later than that.
async fn left(
    reader: &mut Reader<'_>,
    taking: &Taking<'_>,
    was: Person,
) -> Result<Comes, AdminError> {
    let place = FactKey::signal_mark(&taking.stream.directory, &was.id);
    let mark: SignalMark = found(reader, place.clone()).await?.unwrap_or_default();
    // Of two things that may have been at once, that they left counts.
    let at = Timestamp::from_millis(taking.set.until());
    let speaker = Speaker::stream(&taking.stream.name);
    // What the directory told has our time: the transmitter's clock may be behind that.
    let late = Timestamp::from_millis(taking.set.until().saturating_add(SKEW_MS));
    if mark.has_later(&speaker, (at, late)) {
        return Ok(Comes::Nothing("older", Vec::new()));
    }
    let mark = mark.gone((speaker, at), (was.as_told().state, taking.now));
    let kept = vec![put(place, &mark)];
    let is = was.gone(taking.now);
    if is == was {
        return Ok(Comes::Nothing("left_already", kept));
    }
    Ok(Comes::Becomes(Box::new(was), Box::new(is), kept))
}

/// The person is back, unless they left later than that, or were sent away by somebody for whom the
/// stream does not speak.
async fn returned(
    reader: &mut Reader<'_>,
    taking: &Taking<'_>,
    was: Person,
) -> Result<Comes, AdminError> {
    let directory = &taking.stream.directory;
    let place = FactKey::signal_mark(directory, &was.id);
    let mark: SignalMark = found(reader, place.clone()).await?.unwrap_or_default();
    let speaker = Speaker::stream(&taking.stream.name);
    let Some(mark) = mark.returned(speaker, taking.at()) else {
        return Ok(Comes::Nothing("older", Vec::new()));
    };
    let mut kept = vec![put(place, &mark)];
    let PersonState::Inactive { since } = was.as_told().state else {
        return Ok(Comes::Nothing("here_already", kept));
    };
    let place = FactKey::scim_user(directory, was.id.as_str());
    let user: Option<ScimResource> = found(reader, place.clone()).await?;
    let Some(user) = user.filter(|_| mark.lets_back(since)) else {
        return Ok(Comes::Nothing("gone_otherwise", kept));
    };
    if !is_user_active(&user.resource) {
        let mut resource = user.resource.clone();
        resource.insert("active".to_owned(), json!(true));
        kept.push(put(place, &kept_of(Some(&user), resource, taking.now)));
    }
    let mut told = was.as_told();
    told.state = PersonState::Active { authorization_cutoff: None };
    let rule = widening::rule(reader).await.map_err(AdminError::unavailable)?;
    let is = rule.becomes((Some(&was), told), (None, taking.now));
    Ok(Comes::Becomes(Box::new(was), Box::new(is), kept))
}
