//! Shared signals: transmitters tell, between times, of a directory's people (SSF 1.0, RFC 8417).
//!
//! INVARIANT: a signal changes nobody but a person of the directory for which its stream speaks, and how agents
//! are rated for which these answer, by the word of its transmitter alone, and once; what happened earlier undoes nothing of what happened later,
//! whichever comes first; what takes away needs no policy's leave
//! (`n_097_no_forged_replayed_or_late_signal_changes_anybody`). Nor is anything taken with a bearer token that
//! was taken back before it is in force (`what_is_pushed_with_a_token_that_is_taken_back_is_not_taken`).

mod forgetting;
mod managed;
mod rating;
mod registered;
mod sessions;
mod subjects;
mod taking;

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;

use async_trait::async_trait;
use authority::{Refused, Unit, event};
use model::{Directory, FactKey, Sha256Digest, SourceName, Stream, StreamTells, Timestamp};
use oauth::jwks::Algorithm;
use oauth::jws::Verifier;
use secevent::{ErrorCode, PollRequest, Polled, Refusal, Set, SetError, Transmitter, Unverified};

use crate::command::{AdminError, Administration};
use crate::directory::named_in;
use crate::register::put;

pub use managed::{ManagedAct, StreamAnswered, StreamManaged};
pub use registered::{STREAMS_MAX, StreamRegistration};
pub use taking::TAKEN_MAX;

/// The keys of transmitters.
#[async_trait]
pub trait TransmitterKeys: Send + Sync {
    /// The key that `kid` names of the transmitter `issuer`.
    async fn key(&self, issuer: &str, kid: Option<&str>) -> Result<Arc<dyn Key>, NoKey>;

    /// Which members of subjects whoever takes tokens of `issuer`, one of whose keys was just found, has to
    /// understand.
    fn critical(&self, issuer: &str) -> Result<BTreeSet<String>, NoKey>;
}

/// A key of a transmitter's.
pub trait Key: Verifier + Send + Sync {}

impl<V: Verifier + Send + Sync> Key for V {}

/// Why there is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// The transmitter has none of that name.
    #[error("the transmitter has no such key")]
    Unknown,
    /// The transmitter's keys cannot be had now.
    #[error("the transmitter's keys cannot be had now")]
    Unavailable,
}

/// Why a token of a stream was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// Whoever pushes it has not shown that they may.
    #[error("no token of a stream that counts")]
    Stranger,
    /// It will never be taken.
    #[error("it is refused: {}", .0.description)]
    Refused(Refusal),
    /// It cannot be taken now.
    #[error("it cannot be taken now")]
    Later,
}

/// A stream that counts, with the token that whoever pushes to it has shown.
#[derive(Clone, Debug)]
pub struct KnownStream {
    stream: Stream,
    /// None, if it is polled.
    shown: Option<Sha256Digest>,
}

impl Deref for KnownStream {
    type Target = Stream;

    fn deref(&self) -> &Stream {
        &self.stream
    }
}

/// Receives what streams tell.
pub struct Receiver {
    administration: Arc<Administration>,
    keys: Arc<dyn TransmitterKeys>,
    base: String,
}

impl Receiver {
    /// A receiver for the deployment of `administration`, which verifies by `keys`, and whose directories'
    /// users are at `base`.
    pub fn new(
        administration: Arc<Administration>,
        keys: Arc<dyn TransmitterKeys>,
        base: String,
    ) -> Self {
        Self { administration, keys, base }
    }

    /// The stream `name`, if whoever shows `token` may push to it.
    pub async fn known(&self, (name, token): (&str, &str)) -> Result<KnownStream, NotTaken> {
        let known = self.administration.known_stream((name, token)).await;
        known.map_err(later)?.ok_or(NotTaken::Stranger)
    }

    /// The stream that `token` names, if whoever shows it may push to that.
    pub async fn known_by(&self, token: &str) -> Result<KnownStream, NotTaken> {
        let name = named_in(token).ok_or(NotTaken::Stranger)?;
        self.known((name.as_str(), token)).await
    }

    /// The stream `name`, to be polled, if there is one that counts, and it speaks for a directory that does.
    pub async fn stream(&self, name: &SourceName) -> Result<Option<KnownStream>, NotTaken> {
        let mut reader = self.administration.reader();
        let stream = registered::active(&mut reader, name).await.map_err(later)?;
        let Some(stream) = stream else { return Ok(None) };
        let place = FactKey::directory(&stream.directory);
        let directory = reader.need::<Directory>(place).await;
        let directory = directory.map_err(|error| later(AdminError::unavailable(error)))?;
        Ok(directory.is_active().then_some(KnownStream { stream, shown: None }))
    }

    /// Records that something was refused for `cause`, which came by `stream`, if that is known.
    pub fn refuse(&self, stream: Option<&SourceName>, cause: &'static str) {
        self.administration.refuse_stream(stream, cause);
    }

    /// Takes the token `text`, which came by `stream`: once this answers, it is recorded, with what
    /// comes of it.
    pub async fn take(&self, stream: &KnownStream, text: &str) -> Result<(), NotTaken> {
        let set = match self.verified(stream, text).await? {
            Ok(set) => set,
            Err(error) => {
                self.refuse(Some(&stream.name), error.cause());
                let (code, description) = (error.code(), error.to_string());
                return Err(NotTaken::Refused(Refusal { code, description }));
            }
        };
        let taken = self.administration.take_signal((stream, &self.base), &set, text).await;
        if taken.is_ok() {
            // What is told of the stream itself comes while it is paused, too.
            let is_of_itself = set.event.kind.starts_with("ssf/");
            self.heard(stream, Timestamp::from_millis(set.issued), !is_of_itself).await;
        }
        if let Err(NotTaken::Refused(Refusal { code: ErrorCode::InvalidRequest, .. })) = &taken {
            self.refuse(Some(&stream.name), "jti_used");
        }
        taken
    }

    /// Takes what a poll of `stream` gave; says what its transmitter is told of that with the next.
    ///
    /// That it was polled counts as heard only if it has told all that it has, and all that was taken.
    pub async fn take_polled(&self, stream: &KnownStream, polled: &Polled) -> PollRequest {
        let mut told = PollRequest::default();
        for (jti, set) in &polled.sets {
            match self.take(stream, set).await {
                Ok(()) => told.ack.push(jti.clone()),
                Err(NotTaken::Refused(refusal)) => drop(told.errors.insert(jti.clone(), refusal)),
                Err(NotTaken::Stranger | NotTaken::Later) => {}
            }
        }
        if !polled.more && told.ack.len() == polled.sets.len() {
            self.heard(stream, self.administration.now(), false).await;
        }
        told
    }

    /// Notes that `stream` was heard. Of one that tells nothing, by its transmitter's own word, it says nothing
    /// that its transmitter is there, unless it `tells` all the same of what is no older than that word.
    async fn heard(&self, stream: &Stream, said: Timestamp, tells: bool) {
        let mut reader = self.administration.reader();
        let place = FactKey::stream_tells(&stream.name);
        let known = match reader.find::<StreamTells>(place.clone()).await {
            Ok(known) => known.filter(|known| !known.enabled),
            Err(error) => return tracing::warn!(%error, "that somebody was heard is not noted"),
        };
        if let Some(known) = known {
            if !tells || said <= known.at {
                return;
            }
            let authority = &self.administration.authority;
            let enabled = StreamTells { at: said, enabled: true };
            let stamp = (self.administration.now(), authority.entropy().as_ref());
            let details = [("stream".to_owned(), stream.name.to_string())].into();
            let mut unit = Unit::resting_on(reader.sourced(()));
            unit.entries.push(event(stamp, "stream_tells_again", details));
            unit.effects.push(put(place, &enabled));
            if let Err(error) = authority.journal().store().commit(unit).await {
                return tracing::warn!(%error, "that a stream tells again is not noted");
            }
        }
        self.administration.note_heard(&stream.directory, Some(&stream.name), said).await;
    }

    async fn verified(
        &self,
        stream: &Stream,
        token: &str,
    ) -> Result<Result<Set, SetError>, NotTaken> {
        let algorithms = stream.algorithms.iter().filter_map(|name| Algorithm::named(name));
        let algorithms = algorithms.collect();
        let (issuer, audience) = (stream.issuer.as_str(), stream.audience.as_str());
        let of = Transmitter { issuer, audience, algorithms: &algorithms };
        let read = match Unverified::read(token, of) {
            Ok(read) => read,
            Err(error) => return Ok(Err(error)),
        };
        let kid = match read.kid() {
            Ok(kid) => kid.map(str::to_owned),
            Err(error) => return Ok(Err(error)),
        };
        let key = match self.keys.key(issuer, kid.as_deref()).await {
            Ok(key) => key,
            Err(NoKey::Unknown) => return Ok(Err(SetError::UnknownKey)),
            Err(NoKey::Unavailable) => return Err(self.no_keys(stream)),
        };
        match read.verified_by(key.as_ref(), self.administration.now().as_millis()) {
            Ok(set) if !set.subject.unknown().is_empty() => {
                let critical = self.keys.critical(issuer).map_err(|_| self.no_keys(stream))?;
                Ok(Ok(set.understood(&critical)))
            }
            read => Ok(read),
        }
    }

    /// What is known of the transmitter of `stream` cannot be had now.
    fn no_keys(&self, stream: &Stream) -> NotTaken {
        self.refuse(Some(&stream.name), "keys_unavailable");
        NotTaken::Later
    }
}

impl Administration {
    /// Records that something was refused for `cause`, which came by `stream`, if that is known.
    fn refuse_stream(&self, stream: Option<&SourceName>, cause: &'static str) {
        let details = stream.map(|stream| [("stream".to_owned(), stream.to_string())].into());
        let refused = Refused { details, ..Refused::default() };
        self.authority.record_refusal(&self.refusals, ("stream", cause), refused);
    }
}

/// Something that is needed is down. What, a transmitter is not told.
fn later(error: AdminError) -> NotTaken {
    tracing::warn!(%error, "a signal cannot be taken now");
    NotTaken::Later
}
