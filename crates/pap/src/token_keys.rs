//! Exchanging the key that signs tokens, while the service runs.
//!
//! The new key is on disk before it is written which one signs, and in use after that: whenever the
//! process ends, what is written names a key that is there.

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
        let signer = keys::read_token_key(&dir, known.map(|known| known.current.as_str()))?;
        let retired = known.map(retired).unwrap_or_default();
        let keys = Arc::new(TokenKeys::new(Arc::new(signer), retired));
        Ok(Self { keys, dir, turn: Mutex::default() })
    }

    /// Removes the key with this thumbprint, or the first one, which signs no more. One that cannot be
    /// removed is told.
    fn remove(&self, thumbprint: Option<&str>) {
        if let Err(error) = keys::remove_token_key(&self.dir, thumbprint) {
            tracing::warn!(%error, "a key that signs no tokens any more was not removed");
        }
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
        let before_file = known.as_ref().map(|known| known.current.clone());
        let made = keys::make_token_key(&self.token_keys.dir);
        let made = made.map_err(|error| AdminError::Unavailable(error.to_string()))?;
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
        let done = draft.make(change, effects).await?;
        // Where nobody knows whether it is written, the new key stays: it may be the one named.
        self.token_keys.keys.replace(Arc::new(made), retired(&next));
        self.token_keys.remove(before_file.as_deref());
        let until = next.retired.first().map(|it| it.until.to_string());
        let key = next.current;
        Ok(json!({ "key": key, "last_verifies_until": until, "decision": done.decision }))
    }
}
