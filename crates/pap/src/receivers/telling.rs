//! What each stream is told next: read from the log, signed, and kept until its receiver has taken it.

use std::time::Duration;

use keys::{Secret, Signer as _};
use model::{
    Agent, Delivery, FactKey, LogPlace, Receiver, ReceiverStream, Recorded, Sha256Digest,
    SourceName, Stranger, Telling, TellingStatus, Timestamp, Waiting,
};
use secevent::{About, Cause, Envelope, PollAsked, Polled, StreamStatus, Tells};
use serde_json::{Value, json};

use super::happened::{Happened, Stopped, Whom};
use super::managed::named;
use super::registered::active;
use super::{
    GONE, GONE_AFTER, Known, Seen, Stream, Transmitter, Untold, WAITING_MAX, later, stream,
};
use crate::command::AdminError;
use crate::register::put;

/// How many records, and agents, are read at once.
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
            let records = vec![(GONE, vec![("receiver", name.to_string())])];
            self.write(reader, found.both(), records).await?;
            self.administration.authority.note_stranger(gone(name));
            return Ok(());
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
        let Some(Stream { mut telling, .. }) = found else { return Ok(()) };
        let mut records = Vec::new();
        for (what, jtis) in [("signals_told", &told.taken), ("signals_refused", &told.refused)] {
            let is_settled = |waiting: &mut Waiting| jtis.contains(&waiting.jti);
            let settled: Vec<_> = telling.waiting.extract_if(.., is_settled).collect();
            let of = settled.iter().filter_map(|it| Some(it.of.as_ref()?.record.as_str()));
            let of: Vec<_> = of.collect();
            if !of.is_empty() {
                let details = vec![("receiver", name.to_string()), ("records", of.join(" "))];
                records.push((what, details));
            }
        }
        let effects = vec![put(FactKey::telling(name), &telling)];
        self.write(reader, effects, records).await
    }

    /// What a receiver that polls its stream `id` is given, once it is noted what it tells of what it was
    /// given before (RFC 8936).
    pub async fn poll(&self, known: &Known, id: &str, asked: &PollAsked) -> Result<Polled, Untold> {
        let name = known.name();
        let refused = asked.errors.iter().filter(|(_, code)| secevent::is_final(Some(code)));
        let refused = refused.map(|(jti, _)| jti.clone()).collect();
        if !asked.ack.is_empty() || !asked.errors.is_empty() {
            let told = Told { taken: asked.ack.clone(), refused };
            self.settle(name, id, &told).await.map_err(later)?;
        }
        self.advance(name).await.map_err(later)?;
        let _turn = self.turn(name).await;
        let mut reader = self.administration.reader();
        let receiver = active(&mut reader, name).await.map_err(later)?.ok_or(Untold::Stranger)?;
        let mut found = named(&mut reader, name, id).await?;
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
        if let Some((whom, level)) = &happened.risk {
            let changed = Tells::RiskLevelChange(cause, *level);
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
        let store = self.administration.authority.journal().store().clone();
        loop {
            let after = found.telling.next.after.as_ref().map(FactKey::agent);
            let page = store.list("agent/", after.as_ref(), PAGE).await;
            let page = page.map_err(AdminError::unavailable)?;
            for (_, body) in &page.facts {
                let agent: Agent = serde_json::from_slice(body).map_err(AdminError::unavailable)?;
                if many.has(&agent, at) {
                    if found.telling.waiting.len() >= WAITING_MAX {
                        return Ok(false);
                    }
                    let whom = Whom { agent: agent.name.clone(), instance: None };
                    self.tell((receiver, found), &whom, told)?;
                }
                found.telling.next.after = Some(agent.name);
            }
            if page.next.is_none() {
                return Ok(true);
            }
        }
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
        let (set, key) = self.sign_claims(&tells.claims(about, envelope))?;
        Ok(Waiting { jti, set, signed: (key, now), since: now, of })
    }

    /// The token of `claims`, and by which key it is signed.
    fn sign_claims(&self, claims: &Value) -> Result<(String, String), AdminError> {
        let signer = self.administration.token_keys.keys.signer();
        let set = oauth::jws::sign(secevent::TYPE, claims, signer.as_ref());
        Ok((set.map_err(AdminError::unavailable)?, signer.public().thumbprint_text()))
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
            let counts = keys.find(key, now.as_seconds()).is_some();
            if counts && now.since(*signed) < SIGNED_FOR {
                continue;
            }
            let mut claims = claims(&waiting.set)?;
            claims["iat"] = now.as_seconds().into();
            let (set, key) = self.sign_claims(&claims)?;
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
    /// Whether its receiver has acknowledged nothing for so long that it counts as gone.
    fn is_gone(&self, now: Timestamp) -> bool {
        let oldest = self.telling.waiting.first();
        oldest.is_some_and(|oldest| now.since(oldest.since.max(self.stream.since)) >= GONE_AFTER)
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

/// The claims of a token of ours.
fn claims(set: &str) -> Result<Value, AdminError> {
    let payload = set.split('.').nth(1).and_then(keys::from_base64url);
    let claims = payload.and_then(|payload| serde_json::from_slice(&payload).ok());
    claims.ok_or_else(|| AdminError::Unavailable("a token that waits is damaged".to_owned()))
}

/// What people are told of a receiver that is gone.
fn gone(name: &SourceName) -> Stranger {
    let (cause, tried) = (GONE.to_owned(), "signals".to_owned());
    Stranger { cause, tried, claimed: Some(name.to_string()), ..Stranger::default() }
}
