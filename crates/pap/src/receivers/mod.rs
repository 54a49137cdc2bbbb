//! Receivers of shared signals: who is told, by us, when instances and agents stop (SSF 1.0, CAEP 1.0).
//!
//! The log is the queue. Each stream has its place there, which is written in one commit with the tokens
//! that were signed up to it, and a token waits until its receiver has acknowledged it.
//!
//! INVARIANT: what was recorded is told, over a crash too, under the same `jti` each time; a receiver is
//! told of no agent but those that an administrator named for it; and what shows it who pushes is nowhere
//! in clear (`n_097_what_is_told_is_told_to_whom_it_concerns_and_none_is_lost`).

mod happened;
mod horizon;
mod listed;
mod managed;
mod registered;
mod telling;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use authority::{CommitError, Effect, NewEntry, Reader, Refused, Unit, event};
use keys::SealingKey;
use model::{
    FactKey, Receiver, ReceiverStream, Sha256Digest, SourceName, Stranger, Telling, Timestamp,
};
use tokio::sync::OwnedMutexGuard;

use crate::command::{AdminError, Administration};
use crate::directory::has_shown;
use crate::register::put;

use self::listed::Listed;
use self::registered::active;

pub use registered::{COVERED_MAX, RECEIVERS_MAX, ReceiverRegistration};
pub use telling::{Due, Told};

/// The most tokens of one stream that wait to be acknowledged; what the log holds beyond is signed later.
pub const WAITING_MAX: usize = 32;

/// After how long a receiver that acknowledges nothing counts as gone: as long as tokens count with it.
pub const GONE_AFTER: Duration = Duration::from_hours(7 * 24);

/// How far apart a receiver may ask that its stream be verified.
pub const VERIFIED_EVERY: Duration = Duration::from_secs(10);

/// How often a receiver may change its stream, and ask that it be verified, within [`CHANGED_WITHIN`].
pub const CHANGES_MAX: u32 = 60;

/// Within which time these are counted.
pub const CHANGED_WITHIN: Duration = Duration::from_mins(1);

/// Why a stream is paused whose receiver is gone.
const GONE: &str = "receiver_gone";

/// That a receiver does not take some token, for good.
const REFUSED: &str = "signals_refused";

/// Why a receiver is not given what it asks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untold {
    /// It has not shown that it is one.
    #[error("a bearer token of a receiver is needed")]
    Stranger,
    /// Its token does not do this.
    #[error("the token is for reading: it manages no stream")]
    MayNot,
    /// It has no such stream.
    #[error("there is no such stream")]
    NoStream,
    /// It has a stream already.
    #[error("there is a stream already: a receiver has one")]
    HasOne,
    /// What it asks for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// It asked for the same a moment ago: after so long it may again.
    #[error("too often: try again later")]
    TooSoon(Duration),
    /// It cannot be done now.
    #[error("it cannot be done now")]
    Later,
}

/// A receiver that has shown a token of its own.
#[derive(Clone, Debug)]
pub struct Known {
    name: SourceName,
    may_manage: bool,
    /// Where the token is kept.
    place: FactKey,
    /// The token.
    shown: Sha256Digest,
}

impl Known {
    /// Its name.
    pub const fn name(&self) -> &SourceName {
        &self.name
    }
}

/// Tells receivers.
pub struct Transmitter {
    administration: Arc<Administration>,
    sealing: SealingKey,
    /// By receiver: whoever changes what it is told has the turn.
    turns: Mutex<BTreeMap<SourceName, Arc<tokio::sync::Mutex<Seen>>>>,
    listed: Listed,
    /// By receiver: since when its changes are counted, and how many they are.
    changes: Mutex<BTreeMap<SourceName, (Timestamp, u32)>>,
}

/// How far the log was read for a stream beyond what is written: nothing there is to be told.
#[derive(Debug, Default)]
struct Seen(Option<(String, u64)>);

/// The stream of a receiver, and how far it was told.
struct Stream {
    stream: ReceiverStream,
    telling: Telling,
}

impl Transmitter {
    /// A transmitter for the deployment of `administration`; `sealing` seals what receivers are shown.
    pub fn new(administration: Arc<Administration>, sealing: SealingKey) -> Self {
        let listed = Listed::of(&administration);
        Self { administration, sealing, turns: Mutex::default(), listed, changes: Mutex::default() }
    }

    /// What it says of itself.
    pub fn metadata(&self) -> serde_json::Value {
        secevent::metadata(&self.administration.issuer)
    }

    /// The receiver whose `token` this is, if it is one that counts.
    pub async fn known(&self, token: &str) -> Result<Known, Untold> {
        let known = self.administration.known_receiver(token).await.map_err(later)?;
        known.ok_or(Untold::Stranger)
    }

    /// The receiver that is `known`, as it is now, if its token has not been taken back since it was shown. What
    /// `reader` reads then rests on that: it is not done if the token is taken back before.
    async fn still(&self, reader: &mut Reader<'_>, known: &Known) -> Result<Receiver, Untold> {
        let Known { name, place, shown, .. } = known;
        let receiver = active(reader, name).await.map_err(later)?.ok_or(Untold::Stranger)?;
        // What it got for itself is taken back together with a change of the receiver, which was read before;
        // and that it gets another meanwhile is no reason that something is not done.
        let has = if *place == FactKey::receiver_granted(name) {
            has_shown(&mut self.administration.reader(), place.clone(), shown).await
        } else {
            has_shown(reader, place.clone(), shown).await
        };
        let has = has.map_err(|error| later(AdminError::unavailable(error)))?;
        has.then_some(receiver).ok_or(Untold::Stranger)
    }

    /// The stream `id` of the receiver that is `known` still, and the receiver.
    async fn named(
        &self,
        reader: &mut Reader<'_>,
        known: &Known,
        id: &str,
    ) -> Result<(Receiver, Stream), Untold> {
        let receiver = self.still(reader, known).await?;
        let found = stream(reader, &known.name).await.map_err(later)?;
        let found = found.filter(|found| found.stream.id == id).ok_or(Untold::NoStream)?;
        Ok((receiver, found))
    }

    /// Records that somebody was refused for `cause`.
    pub fn refuse(&self, cause: &'static str) {
        let Administration { authority, refusals, .. } = &*self.administration;
        authority.record_refusal(refusals, ("receiver", cause), Refused::default());
    }

    async fn turn(&self, name: &SourceName) -> OwnedMutexGuard<Seen> {
        let turn = {
            let mut all = self.turns.lock().expect("no panic while it is held");
            all.entry(name.clone()).or_default().clone()
        };
        turn.lock_owned().await
    }

    fn now(&self) -> Timestamp {
        self.administration.now()
    }

    /// What records that something was done.
    fn record(&self, what: &'static str, details: Vec<(&'static str, String)>) -> NewEntry {
        let details = details.into_iter().map(|(name, value)| (name.to_owned(), value));
        let entropy = self.administration.authority.entropy();
        event((self.now(), entropy.as_ref()), what, details.collect())
    }

    /// Commits `effects` with `records`, and with them that people have to be told of `stranger`.
    async fn write_found(
        &self,
        mut reader: Reader<'_>,
        (mut effects, mut records): (Vec<Effect>, Vec<NewEntry>),
        stranger: Stranger,
    ) -> Result<(), AdminError> {
        let authority = &self.administration.authority;
        let found = authority.found(&mut reader, stranger).await;
        let (finding, record) = found.map_err(AdminError::unavailable)?;
        effects.push(put(FactKey::finding(&finding.id), &finding));
        records.push(record);
        self.write(reader, effects, records).await?;
        authority.note_committed();
        Ok(())
    }

    /// Commits `effects` with `records`.
    async fn write(
        &self,
        reader: Reader<'_>,
        effects: Vec<Effect>,
        entries: Vec<NewEntry>,
    ) -> Result<(), AdminError> {
        let authority = &self.administration.authority;
        let unit = Unit { entries, effects, ..Unit::resting_on(reader.sourced(())) };
        match authority.journal().store().commit(unit).await {
            Ok(_) => Ok(()),
            Err(error @ (CommitError::Changed { .. } | CommitError::Exists { .. })) => {
                Err(AdminError::Conflict(error.to_string()))
            }
            Err(error) => Err(AdminError::unavailable(error)),
        }
    }
}

/// The stream of the receiver `name`, if it has one.
async fn stream(reader: &mut Reader<'_>, name: &SourceName) -> Result<Option<Stream>, AdminError> {
    let stream = reader.find::<ReceiverStream>(FactKey::receiver_stream(name)).await;
    let Some(stream) = stream.map_err(AdminError::unavailable)? else { return Ok(None) };
    let telling = reader.need::<Telling>(FactKey::telling(name)).await;
    Ok(Some(Stream { stream, telling: telling.map_err(AdminError::unavailable)? }))
}

impl Stream {
    /// What writes both.
    fn both(&self) -> Vec<Effect> {
        let name = &self.stream.receiver;
        vec![
            put(FactKey::receiver_stream(name), &self.stream),
            put(FactKey::telling(name), &self.telling),
        ]
    }
}

/// Something that is needed is down, or changed meanwhile. What, a receiver is not told.
fn later(error: AdminError) -> Untold {
    tracing::warn!(%error, "a receiver cannot be answered now");
    Untold::Later
}
