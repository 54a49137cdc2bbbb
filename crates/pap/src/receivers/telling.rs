//! What each stream is told next: read from the log, signed, and kept until its receiver has taken it.

use std::ops::Bound;
use std::time::Duration;

use authority::{NewEntry, Reader};
use keys::{Secret, Signer as _};
use model::{
    Delivery, EventAlgorithm, FactKey, LogPlace, Receiver, ReceiverStream, Recorded, Sha256Digest,
    SourceName, Stranger, Telling, TellingStatus, Timestamp, Waiting,
};
use secevent::{About, Cause, Envelope, PollAsked, Polled, StreamStatus, Tells};
use serde_json::{Value, json};

use super::happened::{Happened, Stopped, Whom};
use super::registered::active;
use super::{
    GONE, GONE_AFTER, Known, REFUSED, Seen, Stream, Transmitter, Untold, WAITING_MAX, later, stream,
};
use crate::command::AdminError;
use crate::register::put;

/// What records that tokens were taken.
const TOLD: &str = "signals_told";

/// How many records are read at once.
const PAGE: usize = 1_000;

/// How many pages of the log are read for a stream before others have their turn.
const PAGES_MAX: usize = 8;

/// How many records of which nothing is told may have been read for a stream before that is written.
const UNWRITTEN_MAX: u64 = 10_000;

/// The most tokens that one record means beside those of many agents.
const OF_ONE_MAX: usize = 2;

/// The most tokens about a stream itself that wait: the newest.
const OF_ITSELF_MAX: usize = 4;

/// After how long a token is signed anew: its receiver would not take one that is much older.
const SIGNED_FOR: Duration = Duration::from_hours(3 * 24);

/// What is to be pushed.
#[derive(Debug)]
pub struct Due {
    /// The stream.
    pub stream: String,
    /// Where to.
    pub url: String,
    /// What shows its receiver who pushes.
    pub authorization: Option<Secret<String>>,
    /// The tokens, each with its `jti`.
    pub sets: Vec<(String, String)>,
}

/// What came of tokens that were delivered, by their `jti`.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Those that were taken.
    pub taken: Vec<String>,
    /// Those that were refused for good.
    pub refused: Vec<String>,
    /// Those that were refused for what can be mended.
    pub later: Vec<String>,
}

impl Transmitter {
    /// The receivers that have a stream.
    pub async fn receivers(&self) -> Result<Vec<SourceName>, AdminError> {
        let store = self.administration.authority.pip().store();
        let all = authority::all::<ReceiverStream>(store, "receiver-stream/").await;
        let all = all.map_err(AdminError::unavailable)?;
        Ok(all.into_iter().map(|stream| stream.receiver).collect())
    }

    /// Signs what the log holds next for the stream of the receiver `name`, as far as there is room; pauses
    /// it, if its receiver is gone.
    pub async fn advance(&self, name: &SourceName) -> Result<(), AdminError> {
        let mut seen = self.turn(name).await;
        let mut reader = self.administration.reader();
        let Some(receiver) = active(&mut reader, name).await? else { return Ok(()) };
        let Some(mut found) = stream(&mut reader, name).await? else { return Ok(()) };
        if found.stream.status != TellingStatus::Enabled {
            return Ok(());
        }
        if found.is_gone(self.now()) {
            self.paused(&receiver, &mut found)?;
            let records = vec![self.record(GONE, vec![("receiver", name.to_string())])];
            return self.write_found(reader, (found.both(), records), troubled(name, GONE)).await;
        }
        let given_up = found.given_up(self.now());
        if !given_up.is_empty() {
            let records = self.settled(name, (REFUSED, &given_up));
            let effects = (vec![put(FactKey::telling(name), &found.telling)], records);
            return self.write_found(reader, effects, troubled(name, REFUSED)).await;
        }
        let (written, waited) = (found.telling.next.clone(), found.telling.waiting.len());
        if let Seen(Some((id, index))) = &*seen
            && *id == found.stream.id
            && *index > written.index
        {
            found.telling.next = LogPlace::at(*index);
        }
        self.sign_next(&receiver, &mut found).await?;
        let Stream { stream, telling } = found;
        let is_new = telling.waiting.len() > waited || telling.next.after != written.after;
        if is_new || telling.next.index - written.index >= UNWRITTEN_MAX {
            self.write(reader, vec![put(FactKey::telling(name), &telling)], Vec::new()).await?;
            *seen = Seen::default();
        } else {
            *seen = Seen(Some((stream.id, telling.next.index)));
        }
        Ok(())
    }

    /// What is to be pushed to the receiver `name`.
    pub async fn due(&self, name: &SourceName) -> Result<Option<Due>, AdminError> {
        let _turn = self.turn(name).await;
        let mut reader = self.administration.reader();
        let Some(receiver) = active(&mut reader, name).await? else { return Ok(None) };
        let Some(mut found) = stream(&mut reader, name).await? else { return Ok(None) };
        let Delivery::Push { url } = found.stream.delivery.clone() else { return Ok(None) };
        let sealed = reader.find::<String>(FactKey::receiver_secret(name)).await;
        let sealed = sealed.map_err(AdminError::unavailable)?;
        if self.renew(&receiver, &mut found.telling)? {
            let effects = vec![put(FactKey::telling(name), &found.telling)];
            self.write(reader, effects, Vec::new()).await?;
        }
        let sets: Vec<_> = found.deliverable().collect();
        if sets.is_empty() {
            return Ok(None);
        }
        let stream = found.stream.id;
        let authorization = sealed.map(|sealed| self.opened(&stream, &sealed)).transpose()?;
        Ok(Some(Due { stream, url, authorization, sets }))
    }

    /// Notes what came of what the stream `id` of the receiver `name` was told. What it neither took nor
    /// refused for good it is told again.
    pub async fn settle(&self, name: &SourceName, id: &str, told: &Told) -> Result<(), AdminError> {
        let _turn = self.turn(name).await;
        let mut reader = self.administration.reader();
        let found = stream(&mut reader, name).await?.filter(|found| found.stream.id == id);
        match found {
            Some(found) => self.note(reader, found, told).await,
            None => Ok(()),
        }
    }

    /// Notes what came of what the stream that was `found` was told.
    async fn note(&self, reader: Reader<'_>, found: Stream, told: &Told) -> Result<(), AdminError> {
        let Stream { stream, mut telling } = found;
        let name = &stream.receiver;
        told.pass_over(&mut telling, self.now());
        let taken = taken_out(&mut telling, &told.taken);
        let refused = taken_out(&mut telling, &told.refused);
        let mut records = self.settled(name, (TOLD, &taken));
        let of_refused = self.settled(name, (REFUSED, &refused));
        let effects = vec![put(FactKey::telling(name), &telling)];
        if of_refused.is_empty() {
            return self.write(reader, effects, records).await;
        }
        records.extend(of_refused);
        self.write_found(reader, (effects, records), troubled(name, REFUSED)).await
    }

    /// The record of what the receiver `name` was told of records of the log, if that was anything.
    fn settled(
        &self,
        name: &SourceName,
        (what, settled): (&'static str, &[Waiting]),
    ) -> Vec<NewEntry> {
        let of = settled.iter().filter_map(|it| Some(it.of.as_ref()?.record.as_str()));
        let of: Vec<_> = of.collect();
        let details = || vec![("receiver", name.to_string()), ("records", of.join(" "))];
        (!of.is_empty()).then(|| self.record(what, details())).into_iter().collect()
    }

    /// What a receiver that polls its stream `id` is given, once it is noted what it tells of what it was
    /// given before (RFC 8936).
    pub async fn poll(&self, known: &Known, id: &str, asked: &PollAsked) -> Result<Polled, Untold> {
        let name = known.name();
        if !asked.ack.is_empty() || !asked.errors.is_empty() {
            let jtis = |is_final: bool| {
                let such = asked.errors.iter();
                let such = such.filter(move |it| secevent::is_final(Some(it.1)) == is_final);
                such.map(|(jti, _)| jti.clone()).collect()
            };
            let told = Told { taken: asked.ack.clone(), refused: jtis(true), later: jtis(false) };
            let _turn = self.turn(name).await;
            let mut reader = self.administration.reader();
            let (_, found) = self.named(&mut reader, known, id).await?;
            self.note(reader, found, &told).await.map_err(later)?;
        }
        self.advance(name).await.map_err(later)?;
        let _turn = self.turn(name).await;
        let mut reader = self.administration.reader();
        let (receiver, mut found) = self.named(&mut reader, known, id).await?;
        if found.stream.delivery != Delivery::Poll {
            return Err(Untold::NoStream);
        }
        if self.renew(&receiver, &mut found.telling).map_err(later)? {
            let effects = vec![put(FactKey::telling(name), &found.telling)];
            self.write(reader, effects, Vec::new()).await.map_err(later)?;
        }
        let more = found.deliverable().nth(asked.max).is_some();
        Ok(Polled { sets: found.deliverable().take(asked.max).collect(), more })
    }

    /// Signs what the log holds next.
    async fn sign_next(&self, receiver: &Receiver, found: &mut Stream) -> Result<(), AdminError> {
        if !found.has_room() {
            return Ok(());
        }
        let store = self.administration.authority.journal().store().clone();
        for _ in 0..PAGES_MAX {
            let entries = store.entries(found.telling.next.index, PAGE).await;
            let entries = entries.map_err(AdminError::unavailable)?;
            if entries.is_empty() {
                return Ok(());
            }
            for entry in entries {
                if let Some(happened) = self.administration.happened(&entry).await?
                    && !self.sign(receiver, found, &happened).await?
                {
                    return Ok(());
                }
                found.telling.next = LogPlace::at(entry.index + 1);
            }
        }
        Ok(())
    }

    /// Signs what `happened`; says whether that is all, or there was no room for the rest.
    async fn sign(
        &self,
        receiver: &Receiver,
        found: &mut Stream,
        happened: &Happened,
    ) -> Result<bool, AdminError> {
        if !found.has_room() {
            return Ok(false);
        }
        let Happened { at, by, why, .. } = happened;
        let cause = Cause { at: at.as_seconds(), by: *by, why };
        let revoked = Tells::SessionRevoked(cause);
        match &happened.stopped {
            Some(Stopped::One(whom)) => {
                self.tell((receiver, found), whom, (&revoked, &happened.record))?;
            }
            Some(many) => {
                let told = (&revoked, happened.record.as_str());
                if !self.sign_of_many((receiver, found), (many, *at), told).await? {
                    return Ok(false);
                }
            }
            None => {}
        }
        if let Some((whom, rating)) = &happened.risk
            && let Some(level) = rating.told(&self.administration.own_of(receiver).await?)
        {
            let changed = Tells::RiskLevelChange(cause, level);
            self.tell((receiver, found), whom, (&changed, &happened.record))?;
        }
        Ok(true)
    }

    /// Signs `told` of each agent that is one of `many`, who stopped at `at`, from where that was left off.
    async fn sign_of_many(
        &self,
        (receiver, found): (&Receiver, &mut Stream),
        (many, at): (&Stopped, Timestamp),
        told: (&Tells<'_>, &str),
    ) -> Result<bool, AdminError> {
        let record = (found.telling.next.index, at);
        let stopped = self.listed.stopped(&self.administration, record, many).await?;
        let after = found.telling.next.after.clone();
        let from = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        for name in stopped.range((from, Bound::Unbounded)) {
            if found.telling.waiting.len() >= WAITING_MAX {
                return Ok(false);
            }
            let whom = Whom { agent: name.clone(), instance: None };
            self.tell((receiver, found), &whom, told)?;
            found.telling.next.after = Some(name.clone());
        }
        Ok(true)
    }

    /// Signs `tells`, which `record` says of `whom`, if the receiver is told of them and asked for it.
    fn tell(
        &self,
        (receiver, found): (&Receiver, &mut Stream),
        whom: &Whom,
        (tells, record): (&Tells<'_>, &str),
    ) -> Result<(), AdminError> {
        if !receiver.covers.has(&whom.agent) || !found.stream.requested.contains(tells.uri()) {
            return Ok(());
        }
        let instance = whom.instance.map(|id| id.to_string());
        let (issuer, agent) = (self.administration.issuer.as_str(), whom.agent.as_str());
        let about = match &instance {
            Some(instance) => About::Instance { issuer, agent, instance },
            None => About::Agent(agent),
        };
        // The same each time, so that what is signed once more after a crash is the same to its receiver.
        let named = json!([found.stream.id, record, tells.uri(), about.to_json()]);
        let jti = Sha256Digest::of(&json::canonical(&named)).to_string();
        let of = Recorded { agent: whom.agent.clone(), record: record.to_owned() };
        let waiting = self.signed((receiver, about), tells, (jti, Some(of)))?;
        found.telling.waiting.push(waiting);
        Ok(())
    }

    /// Signs `tells` of the stream itself.
    pub(super) fn tell_of_itself(
        &self,
        (receiver, stream): (&Receiver, &ReceiverStream),
        telling: &mut Telling,
        tells: &Tells<'_>,
    ) -> Result<(), AdminError> {
        let entropy = self.administration.authority.entropy();
        let jti = keys::unguessable(|bytes| entropy.fill(bytes));
        let signed = self.signed((receiver, About::Stream(&stream.id)), tells, (jti, None))?;
        let own = telling.waiting.iter().filter(|waiting| waiting.of.is_none());
        if own.count() >= OF_ITSELF_MAX {
            let oldest = telling.waiting.iter().position(|waiting| waiting.of.is_none());
            oldest.map(|index| telling.waiting.remove(index));
        }
        telling.waiting.push(signed);
        Ok(())
    }

    fn paused(&self, receiver: &Receiver, found: &mut Stream) -> Result<(), AdminError> {
        let status = TellingStatus::Paused;
        (found.stream.status, found.stream.since) = (status, self.now());
        found.stream.reason = Some(GONE.to_owned());
        let told = Tells::StreamUpdated { status: StreamStatus::Paused, reason: GONE };
        self.tell_of_itself((receiver, &found.stream), &mut found.telling, &told)
    }

    fn signed(
        &self,
        (receiver, about): (&Receiver, About<'_>),
        tells: &Tells<'_>,
        (jti, of): (String, Option<Recorded>),
    ) -> Result<Waiting, AdminError> {
        let now = self.now();
        let envelope = Envelope {
            issuer: &self.administration.issuer,
            audience: &receiver.audience,
            jti: &jti,
            issued: now.as_seconds(),
            txn: of.as_ref().map(|of| of.record.as_str()),
        };
        let (set, key) = self.sign_claims(receiver, &tells.claims(about, envelope))?;
        Ok(Waiting { jti, set, signed: (key, now), since: now, passed: None, of })
    }

    /// The token of `claims` for a receiver, and by which key it is signed.
    fn sign_claims(
        &self,
        receiver: &Receiver,
        claims: &Value,
    ) -> Result<(String, String), AdminError> {
        let keys = &self.administration.token_keys.keys;
        match receiver.algorithm {
            EventAlgorithm::Es256 => {
                let signer = keys.signer();
                let set = oauth::jws::sign(secevent::TYPE, claims, signer.as_ref());
                Ok((set.map_err(AdminError::unavailable)?, signer.public().thumbprint_text()))
            }
            EventAlgorithm::Rs256 => {
                let why = "the key that signs events is not in use yet";
                let unused = || AdminError::Unavailable(why.to_owned());
                let signer = keys.event_signer().ok_or_else(unused)?;
                let set = secevent::sign_rs256(claims, &signer);
                Ok((set.map_err(AdminError::unavailable)?, signer.public().thumbprint_text()))
            }
        }
    }

    /// Forgets what the receiver is no longer to be told of, and signs anew what it would not take any
    /// longer: by a key that is gone, or of long ago. Says whether anything is another than before.
    fn renew(&self, receiver: &Receiver, telling: &mut Telling) -> Result<bool, AdminError> {
        let (now, before) = (self.now(), telling.waiting.len());
        let covers = |of: &Recorded| receiver.covers.has(&of.agent);
        telling.waiting.retain(|waiting| waiting.of.as_ref().is_none_or(covers));
        let mut is_other = telling.waiting.len() != before;
        let keys = &self.administration.token_keys.keys;
        for waiting in &mut telling.waiting {
            let (key, signed) = &waiting.signed;
            if keys.lists(key, now.as_seconds()) && now.since(*signed) < SIGNED_FOR {
                continue;
            }
            let mut claims = claims(&waiting.set)?;
            claims["iat"] = now.as_seconds().into();
            let (set, key) = self.sign_claims(receiver, &claims)?;
            (waiting.set, waiting.signed, is_other) = (set, (key, now), true);
        }
        Ok(is_other)
    }

    fn opened(&self, id: &str, sealed: &str) -> Result<Secret<String>, AdminError> {
        let damaged = || AdminError::Unavailable("what a receiver is shown is damaged".to_owned());
        let sealed = keys::from_base64url(sealed).ok_or_else(damaged)?;
        let opened = self.sealing.open(&sealed, id.as_bytes()).map_err(|_| damaged())?;
        String::from_utf8(opened).map(Secret::new).map_err(|_| damaged())
    }
}

impl Stream {
    /// Whether its receiver took nothing for so long, of what waits, that it counts as gone.
    fn is_gone(&self, now: Timestamp) -> bool {
        let Telling { waiting, taken, .. } = &self.telling;
        let Some(oldest) = waiting.iter().map(|waiting| waiting.since).min() else { return false };
        let since = oldest.max(self.stream.since).max(taken.unwrap_or(oldest));
        now.since(since) >= GONE_AFTER
    }

    /// Takes out what its receiver did not take for so long, while it took others.
    fn given_up(&mut self, now: Timestamp) -> Vec<Waiting> {
        let begun = self.stream.since;
        let is_given_up = |waiting: &mut Waiting| {
            waiting.passed.is_some_and(|passed| now.since(passed.max(begun)) >= GONE_AFTER)
        };
        self.telling.waiting.extract_if(.., is_given_up).collect()
    }

    fn has_room(&self) -> bool {
        self.telling.waiting.len() + OF_ONE_MAX <= WAITING_MAX
    }

    /// What its receiver may be told now: while it is paused, of the stream itself alone.
    fn deliverable(&self) -> impl Iterator<Item = (String, String)> {
        let may = |waiting: &&Waiting| match self.stream.status {
            TellingStatus::Enabled => true,
            TellingStatus::Paused => waiting.of.is_none(),
            TellingStatus::Disabled => false,
        };
        self.telling.waiting.iter().filter(may).map(|it| (it.jti.clone(), it.set.clone()))
    }
}

impl Told {
    /// Notes, in what is kept of a stream, what was taken at `now`, and which tokens were not that were to be taken
    /// before those; what was refused comes after all others.
    fn pass_over(&self, telling: &mut Telling, now: Timestamp) {
        let is_taken = |waiting: &Waiting| self.taken.contains(&waiting.jti);
        if let Some(last) = telling.waiting.iter().rposition(is_taken) {
            telling.taken = Some(now);
            for waiting in telling.waiting.iter_mut().take(last) {
                waiting.passed.get_or_insert(now);
            }
        }
        for mut waiting in taken_out(telling, &self.later) {
            waiting.passed.get_or_insert(now);
            telling.waiting.push(waiting);
        }
    }
}

/// The tokens `jtis` that wait, which do so no longer.
fn taken_out(telling: &mut Telling, jtis: &[String]) -> Vec<Waiting> {
    telling.waiting.extract_if(.., |waiting| jtis.contains(&waiting.jti)).collect()
}

/// The claims of a token of ours.
fn claims(set: &str) -> Result<Value, AdminError> {
    let payload = set.split('.').nth(1).and_then(keys::from_base64url);
    let claims = payload.and_then(|payload| serde_json::from_slice(&payload).ok());
    claims.ok_or_else(|| AdminError::Unavailable("a token that waits is damaged".to_owned()))
}

/// What people are told of a receiver with which something is wrong.
fn troubled(name: &SourceName, cause: &str) -> Stranger {
    let (cause, tried) = (cause.to_owned(), "signals".to_owned());
    Stranger { cause, tried, claimed: Some(name.to_string()), ..Stranger::default() }
}
