//! Exchanging the key that signs tokens, while the service runs.
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

use keys::{KeyRingError, RetiredKey, Signer as _, SigningKey, TokenKeys, VerifyingKey};
use model::{FactKey, PersonId, RETIRED_FOR, ResourceRef, RetiredTokenKey, Timestamp, TokenKeySet};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::register::put;
use crate::{AdminError, Administration};

/// The keys that sign tokens, and the directory where they lie.
pub struct KeptTokenKeys {
    /// In use.
    pub keys: Arc<TokenKeys>,
    /// On disk.
    dir: PathBuf,
    /// One exchange at a time: what is written last is in use last.
    turn: Mutex<()>,
}

impl KeptTokenKeys {
    /// The keys that `known` names, which lie in `dir`; the first one if it was never exchanged.
    pub fn open(dir: PathBuf, known: Option<&TokenKeySet>) -> Result<Self, KeyRingError> {
        let current = known.map(|known| known.current.as_str());
        let signer = keys::read_token_key(&dir, current)?;
        told(keys::keep_token_key(&dir, current));
        let retired = known.map(retired).unwrap_or_default();
        let keys = Arc::new(TokenKeys::new(Arc::new(signer), retired));
        Ok(Self { keys, dir, turn: Mutex::default() })
    }

    /// Puts the keys in use that `written` names, if others are, and removes all others. Who calls
    /// this has the turn.
    fn put_in_use(&self, written: Option<&TokenKeySet>) -> Result<(), KeyRingError> {
        let Some(set) = written else { return Ok(()) };
        if set.current == self.keys.signer().public().thumbprint_text() {
            return Ok(());
        }
        let signer = keys::read_token_key(&self.dir, Some(&set.current))?;
        self.keys.replace(Arc::new(signer), retired(set));
        told(keys::keep_token_key(&self.dir, Some(&set.current)));
        Ok(())
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

/// What follows `known` when `made` takes over from `before` at `now`.
fn following(
    known: Option<TokenKeySet>,
    (made, before): (&SigningKey, &SigningKey),
    now: Timestamp,
) -> TokenKeySet {
    let last = RetiredTokenKey { jwk: before.public().to_jwk(), until: now.plus(RETIRED_FOR) };
    let older = known.into_iter().flat_map(|known| known.retired);
    let retired = std::iter::once(last).chain(older.filter(|it| it.until > now)).collect();
    TokenKeySet { current: made.public().thumbprint_text(), retired }
}

impl Administration {
    /// Makes a new key that signs tokens. The last one verifies for another hour, unless it is
    /// `compromised`: then no token of before counts any more.
    pub(crate) async fn rotate_token_key(
        &self,
        by: &PersonId,
        (reason, compromised): (&str, bool),
    ) -> Result<Value, AdminError> {
        let _turn = self.token_keys.turn.lock().await;
        let mut draft = self.draft(by, "keys/rotate", ResourceRef::Deployment).await?;
        let known = draft.reader.find::<TokenKeySet>(FactKey::token_keys()).await;
        let known = known.map_err(AdminError::unavailable)?;
        let unusable = |error: KeyRingError| AdminError::Unavailable(error.to_string());
        self.token_keys.put_in_use(known.as_ref()).map_err(unusable)?;
        let made = keys::make_token_key(&self.token_keys.dir);
        let made = made.map_err(unusable)?;
        let before = self.token_keys.keys.signer();
        let now = self.authority.clock().now();
        let mut next = following(known, (&made, &before), now);
        if compromised {
            next.retired.clear();
        }
        let change = json!({
            "before": before.public().thumbprint_text(),
            "compromised": compromised,
            "key": next.current,
            "reason": reason,
        });
        let effects = vec![put(FactKey::token_keys(), &next)];
        let done = draft.make(change, effects).await.inspect_err(|error| {
            // Where nobody knows whether it is written, the new key stays: it may be the one named.
            if !matches!(error, AdminError::Unknown(_)) {
                told(keys::remove_token_key(&self.token_keys.dir, &next.current));
            }
        })?;
        self.token_keys.put_in_use(Some(&next)).map_err(unusable)?;
        let until = next.retired.first().map(|it| it.until.to_string());
        let key = next.current;
        Ok(json!({ "key": key, "last_verifies_until": until, "decision": done.decision }))
    }

    /// Puts the keys in use that the store names, if others are: an exchange that nobody heard of was
    /// made. While one is under way it is left to that; what fails is tried again when this is called
    /// again.
    pub async fn catch_up_token_keys(&self) {
        let Ok(_turn) = self.token_keys.turn.try_lock() else { return };
        let written = self.reader().find::<TokenKeySet>(FactKey::token_keys()).await;
        let written = written.map_err(AdminError::unavailable).and_then(|written| {
            let used = self.token_keys.put_in_use(written.as_ref());
            used.map_err(|error| AdminError::Unavailable(error.to_string()))
        });
        if let Err(error) = written {
            tracing::warn!(%error, "it is not known whether other keys sign tokens by now");
        }
    }
}
