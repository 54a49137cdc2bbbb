//! The keys that sign tokens: the one that does, and those before it that still verify.

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde_json::{Value, json};

use crate::jwk::VerifyingKey;
use crate::signing::{Signer as _, SigningKey};

/// A key that signed tokens before and verifies them for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetiredKey {
    /// Its public half.
    pub key: VerifyingKey,
    /// Until when it verifies, in seconds since the epoch.
    pub until: i64,
}

/// The keys that sign and verify tokens of ours. They are exchanged while the service runs: whoever
/// signs or verifies asks for the key at that moment.
#[derive(Debug)]
pub struct TokenKeys(ArcSwap<Held>);

#[derive(Debug)]
struct Held {
    signer: Arc<SigningKey>,
    /// By name, the newest first.
    verifying: Vec<(String, RetiredKey)>,
    era: u64,
}

impl Held {
    fn new(signer: Arc<SigningKey>, retired: Vec<RetiredKey>, era: u64) -> Self {
        let current = RetiredKey { key: signer.public().clone(), until: i64::MAX };
        let all = std::iter::once(current).chain(retired);
        let verifying = all.map(|it| (it.key.thumbprint_text(), it)).collect();
        Self { signer, verifying, era }
    }
}

impl TokenKeys {
    /// The keys of which `signer` signs; those in `retired` still verify.
    pub fn new(signer: Arc<SigningKey>, retired: Vec<RetiredKey>) -> Self {
        Self(ArcSwap::from_pointee(Held::new(signer, retired, 0)))
    }

    /// From now on `signer` signs, and nothing verifies but it and those in `retired`.
    pub fn replace(&self, signer: Arc<SigningKey>, retired: Vec<RetiredKey>) {
        let next = |held: &Arc<Held>| Held::new(signer.clone(), retired.clone(), held.era + 1);
        self.0.rcu(next);
    }

    /// The key that signs.
    pub fn signer(&self) -> Arc<SigningKey> {
        self.0.load().signer.clone()
    }

    /// How often the keys were exchanged: what was verified before that is to be verified again.
    pub fn era(&self) -> u64 {
        self.0.load().era
    }

    /// The key named `kid`, if it verifies at `now`, in seconds since the epoch.
    pub fn find(&self, kid: &str, now: i64) -> Option<VerifyingKey> {
        let held = self.0.load();
        let (_, found) =
            held.verifying.iter().find(|(known, it)| known == kid && it.until > now)?;
        Some(found.key.clone())
    }

    /// The JWK set (RFC 7517 §5) at `now`, in seconds since the epoch.
    pub fn jwks(&self, now: i64) -> Value {
        let held = self.0.load();
        let verifying = held.verifying.iter().filter(|(_, it)| it.until > now);
        let keys = verifying.map(|(kid, RetiredKey { key, .. })| {
            let mut jwk = key.to_jwk();
            jwk["kid"] = kid.clone().into();
            jwk["alg"] = key.algorithm().as_str().into();
            jwk["use"] = "sig".into();
            jwk
        });
        json!({ "keys": keys.collect::<Vec<_>>() })
    }
}
