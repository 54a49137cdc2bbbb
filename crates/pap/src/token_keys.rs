//! Exchanging the key that signs tokens, while the service runs, and with it the one that signs events by RS256,
//! if there is one: that is made when the first receiver is registered that wants it.
//!
//! The new key is on disk before it is written which one signs, and in use after that: whenever the
//! process ends, what is written names a key that is there.
//!
//! Whether an exchange was written does not always come back: its commit is lost, late, or waited for
//! by nobody. So what the store says counts, and is looked at again.
//!
//! INVARIANT: an exchange is begun from the keys in use. So once others are written, nothing that is
//! still on its way can be, and every private half that is not named by then is nobody's
//! (`n_029_an_exchange_that_nobody_heard_of_is_made`).

use std::path::PathBuf;
use std::sync::Arc;

use authority::{Administered, Effect, FactsError, Reader};
use keys::{
    EventKey, EventPublicKey, KeyRingError, RetiredKey, Signer as _, TokenKeys, VerifyingKey,
};
use model::{FactKey, PersonId, RETIRED_FOR, ResourceRef, RetiredTokenKey, Timestamp, TokenKeySet};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::command::Draft;
use crate::register::{put, put_new};
use crate::{AdminError, Administration};

/// Which keys are written to be in use.
#[derive(Clone, Debug, Default)]
pub struct WrittenKeys {
    /// Of tokens, once the first one was exchanged.
    pub tokens: Option<TokenKeySet>,
    /// Of events, once one was made.
    pub events: Option<TokenKeySet>,
}

impl WrittenKeys {
    /// Reads them.
    pub async fn read(reader: &mut Reader<'_>) -> Result<Self, FactsError> {
        Ok(Self {
            tokens: reader.find(FactKey::token_keys()).await?,
            events: reader.find(FactKey::event_keys()).await?,
        })
    }

    fn event_key(&self) -> Option<&str> {
        self.events.as_ref().map(|set| set.current.as_str())
    }
}

/// The keys that sign tokens and events, and the directory where they lie.
pub struct KeptTokenKeys {
    /// In use.
    pub keys: Arc<TokenKeys>,
    /// On disk.
    dir: PathBuf,
    /// One exchange at a time: what is written last is in use last.
    turn: Mutex<()>,
}

impl KeptTokenKeys {
    /// The keys that are `written`, which lie in `dir`; the first one if it was never exchanged.
    pub fn open(dir: PathBuf, written: &WrittenKeys) -> Result<Self, KeyRingError> {
        let current = written.tokens.as_ref().map(|known| known.current.as_str());
        let signer = keys::read_token_key(&dir, current)?;
        told(keys::keep_token_key(&dir, current));
        let retired = written.tokens.as_ref().map(retired).unwrap_or_default();
        let keys = Arc::new(TokenKeys::new(Arc::new(signer), retired));
        let opened = Self { keys, dir, turn: Mutex::default() };
        opened.put_in_use_for_events(written)?;
        told(keys::keep_event_key(&opened.dir, written.event_key()));
        Ok(opened)
    }

    /// Puts the keys in use that are `written`, if others are, and removes all others. Who calls this has
    /// the turn.
    fn put_in_use(&self, written: &WrittenKeys) -> Result<(), KeyRingError> {
        if let Some(set) = &written.tokens
            && set.current != self.keys.signer().public().thumbprint_text()
        {
            let signer = keys::read_token_key(&self.dir, Some(&set.current))?;
            self.keys.replace(Arc::new(signer), retired(set));
            told(keys::keep_token_key(&self.dir, Some(&set.current)));
        }
        self.put_in_use_for_events(written)
    }

    fn put_in_use_for_events(&self, written: &WrittenKeys) -> Result<(), KeyRingError> {
        let Some(set) = &written.events else { return Ok(()) };
        let used = self.keys.event_signer().map(|key| key.public().thumbprint_text());
        if used.as_ref() == Some(&set.current) {
            return Ok(());
        }
        let signer = keys::read_event_key(&self.dir, &set.current)?;
        let key = |it: &RetiredTokenKey| {
            let key = EventPublicKey::from_jwk(&it.jwk)?;
            Some(RetiredKey { key, until: it.until.as_seconds() })
        };
        let retired = set.retired.iter().filter_map(key).collect();
        self.keys.replace_for_events(Arc::new(signer), retired);
        told(keys::keep_event_key(&self.dir, Some(&set.current)));
        Ok(())
    }

    /// Makes another key that signs events. Others go on meanwhile: that may take a second.
    async fn make_event_key(&self) -> Result<EventKey, AdminError> {
        let dir = self.dir.clone();
        let made = tokio::task::spawn_blocking(move || keys::make_event_key(&dir)).await;
        made.map_err(AdminError::unavailable)?.map_err(unusable)
    }

    /// Removes the key that signs events by `set`, which was made and is not written.
    fn forget_event_key(&self, set: Option<&TokenKeySet>) {
        if let Some(set) = set {
            told(keys::remove_event_key(&self.dir, &set.current));
        }
    }
}

/// Tells of keys that sign no tokens and could not be removed.
fn told(removed: Result<(), KeyRingError>) {
    if let Err(error) = removed {
        tracing::warn!(%error, "a key that signs no tokens was not removed");
    }
}

fn retired(set: &TokenKeySet) -> Vec<RetiredKey> {
    let key = |it: &RetiredTokenKey| {
        let key = VerifyingKey::from_jwk(&it.jwk).ok()?;
        Some(RetiredKey { key, until: it.until.as_seconds() })
    };
    set.retired.iter().filter_map(key).collect()
}

/// What follows `known` when the key `made` takes over from the one `before` at `now`.
fn following(
    known: Option<TokenKeySet>,
    (made, before): (String, Value),
    now: Timestamp,
) -> TokenKeySet {
    let last = RetiredTokenKey { jwk: before, until: now.plus(RETIRED_FOR) };
    let older = known.into_iter().flat_map(|known| known.retired);
    let retired = std::iter::once(last).chain(older.filter(|it| it.until > now)).collect();
    TokenKeySet { current: made, retired }
}

fn unusable(error: KeyRingError) -> AdminError {
    AdminError::Unavailable(error.to_string())
}

impl Administration {
    /// Makes a new key that signs tokens, and one that signs events, if there is one. The last ones verify for
    /// another hour, unless they are `compromised`: then nothing of before counts any more.
    pub(crate) async fn rotate_token_key(
        &self,
        by: &PersonId,
        (reason, compromised): (&str, bool),
    ) -> Result<Value, AdminError> {
        let kept = &self.token_keys;
        let _turn = kept.turn.lock().await;
        let mut draft = self.draft(by, "keys/rotate", ResourceRef::Deployment).await?;
        let written = self.put_written_in_use(&mut draft.reader).await?;
        let before = kept.keys.signer().public().thumbprint_text();
        let mut change = json!({ "before": before, "compromised": compromised, "reason": reason });
        let events_before = written.event_key().map(str::to_owned);
        let (mut tokens, mut events) = self.next_keys(written).await?;
        if compromised {
            tokens.retired.clear();
            if let Some(events) = &mut events {
                events.retired.clear();
            }
        }
        change["key"] = tokens.current.clone().into();
        let mut effects = vec![put(FactKey::token_keys(), &tokens)];
        if let Some(events) = &events {
            change["events"] = json!({ "before": events_before, "key": events.current });
            effects.push(put(FactKey::event_keys(), events));
        }
        let done = draft.make(change, effects).await.inspect_err(|error| {
            // Where nobody knows whether it is written, the new keys stay: they may be the ones named.
            if !matches!(error, AdminError::Unknown(_)) {
                told(keys::remove_token_key(&kept.dir, &tokens.current));
                kept.forget_event_key(events.as_ref());
            }
        })?;
        let until = tokens.retired.first().map(|it| it.until.to_string());
        let key = tokens.current.clone();
        kept.put_in_use(&WrittenKeys { tokens: Some(tokens), events }).map_err(unusable)?;
        Ok(json!({ "key": key, "last_verifies_until": until, "decision": done.decision }))
    }

    /// Makes what follows the keys that are `written`, and in use.
    async fn next_keys(
        &self,
        written: WrittenKeys,
    ) -> Result<(TokenKeySet, Option<TokenKeySet>), AdminError> {
        let (kept, now) = (&self.token_keys, self.authority.clock().now());
        let mut events = None;
        if let Some(before) = kept.keys.event_signer() {
            let made = kept.make_event_key().await?.public().thumbprint_text();
            events = Some(following(written.events, (made, before.public().to_jwk()), now));
        }
        let made = keys::make_token_key(&kept.dir);
        let made = made.inspect_err(|_| kept.forget_event_key(events.as_ref()));
        let made = made.map_err(unusable)?.public().thumbprint_text();
        let before = kept.keys.signer().public().to_jwk();
        Ok((following(written.tokens, (made, before), now), events))
    }

    /// Makes the change that `draft` is of, with the first key that signs events, if there is none yet.
    pub(crate) async fn make_with_event_key(
        &self,
        mut draft: Draft<'_>,
        (mut change, mut effects): (Value, Vec<Effect>),
    ) -> Result<Administered, AdminError> {
        let kept = &self.token_keys;
        let _turn = kept.turn.lock().await;
        let written = self.put_written_in_use(&mut draft.reader).await?;
        if written.events.is_some() {
            return draft.make(change, effects).await;
        }
        let made = kept.make_event_key().await?.public().thumbprint_text();
        change["event_key"] = made.clone().into();
        let events = Some(TokenKeySet { current: made, retired: Vec::new() });
        effects.extend(events.iter().map(|set| put_new(FactKey::event_keys(), set)));
        let done = draft.make(change, effects).await.inspect_err(|error| {
            if !matches!(error, AdminError::Unknown(_)) {
                kept.forget_event_key(events.as_ref());
            }
        })?;
        kept.put_in_use(&WrittenKeys { events, ..written }).map_err(unusable)?;
        Ok(done)
    }

    /// Puts the keys in use that are written, by whoever has the turn.
    async fn put_written_in_use(&self, reader: &mut Reader<'_>) -> Result<WrittenKeys, AdminError> {
        let written = WrittenKeys::read(reader).await.map_err(AdminError::unavailable)?;
        self.token_keys.put_in_use(&written).map_err(unusable)?;
        Ok(written)
    }

    /// Puts the keys in use that the store names, if others are: an exchange that nobody heard of was
    /// made. While one is under way it is left to that; what fails is tried again when this is called
    /// again.
    pub async fn catch_up_token_keys(&self) {
        let Ok(_turn) = self.token_keys.turn.try_lock() else { return };
        if let Err(error) = self.put_written_in_use(&mut self.reader()).await {
            tracing::warn!(%error, "it is not known whether other keys sign tokens by now");
        }
    }
}
