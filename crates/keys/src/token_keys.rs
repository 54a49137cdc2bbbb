//! The keys that sign tokens: the one that does, and those before it that still verify; and likewise those that
//! sign events, by which we verify nothing.

use std::fmt;
use std::sync::{Arc, RwLock};

use arc_swap::ArcSwap;
use serde_json::{Value, json};

use crate::event::{EventKey, EventPublicKey};
use crate::jwk::VerifyingKey;
use crate::signing::{Signer as _, SigningKey};

/// A key that signed before and verifies that for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetiredKey<K = VerifyingKey> {
    /// Its public half.
    pub key: K,
    /// Until when it verifies, in seconds since the epoch.
    pub until: i64,
}

/// The keys that sign and verify tokens of ours. They are exchanged while the service runs: whoever
/// signs or verifies asks for the key at that moment.
#[derive(Debug)]
pub struct TokenKeys {
    tokens: ArcSwap<Held>,
    /// None, if no receiver ever asked for such a key.
    events: ArcSwap<Option<HeldForEvents>>,
    told: ToldOfLoss,
}

/// Who is told that nothing verifies any more of what was verified before.
#[derive(Default)]
struct ToldOfLoss(RwLock<Vec<Box<dyn Fn() + Send + Sync>>>);

impl fmt::Debug for ToldOfLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ToldOfLoss")
    }
}

#[derive(Debug)]
struct HeldForEvents {
    signer: Arc<EventKey>,
    /// By name, the newest first.
    listed: Vec<(String, RetiredKey<EventPublicKey>)>,
}

#[derive(Debug)]
struct Held {
    signer: Arc<SigningKey>,
    /// By name, the newest first.
    verifying: Vec<(String, RetiredKey)>,
    era: u64,
    /// The first era whose signer verifies still.
    since: u64,
}

impl Held {
    fn new(signer: Arc<SigningKey>, retired: Vec<RetiredKey>) -> Self {
        let current = RetiredKey { key: signer.public().clone(), until: i64::MAX };
        let all = std::iter::once(current).chain(retired);
        let verifying = all.map(|it| (it.key.thumbprint_text(), it)).collect();
        Self { signer, verifying, era: 0, since: 0 }
    }

    /// The same, in place of `before`: a signer that does not verify any more was in other hands.
    fn after(self, before: &Self) -> Self {
        let era = before.era + 1;
        let last = before.signer.public().thumbprint_text();
        let verifies = self.verifying.iter().any(|(known, _)| *known == last);
        Self { era, since: if verifies { before.since } else { era }, ..self }
    }
}

impl TokenKeys {
    /// The keys of which `signer` signs; those in `retired` still verify.
    pub fn new(signer: Arc<SigningKey>, retired: Vec<RetiredKey>) -> Self {
        let tokens = ArcSwap::from_pointee(Held::new(signer, retired));
        Self { tokens, events: ArcSwap::from_pointee(None), told: ToldOfLoss::default() }
    }

    /// From now on `signer` signs, and nothing verifies but it and those in `retired`. Where the last one is
    /// not among these, whoever asked for it is told.
    pub fn replace(&self, signer: Arc<SigningKey>, retired: Vec<RetiredKey>) {
        let next = |held: &Arc<Held>| Held::new(signer.clone(), retired.clone()).after(held);
        let last = self.tokens.rcu(next);
        if !self.counts(last.era) {
            let told = self.told.0.read().expect("no panic while it is held");
            told.iter().for_each(|tell| tell());
        }
    }

    /// Has `tell` told when what was verified before counts no longer: by then nothing of it does.
    pub fn on_loss(&self, tell: impl Fn() + Send + Sync + 'static) {
        self.told.0.write().expect("no panic while it is held").push(Box::new(tell));
    }

    /// Whether what was verified in the era `era` counts still: no key that signed then was in other hands.
    pub fn counts(&self, era: u64) -> bool {
        era >= self.tokens.load().since
    }

    /// From now on `signer` signs events, and nobody is to verify them by another than it and those in
    /// `retired`.
    pub fn replace_for_events(
        &self,
        signer: Arc<EventKey>,
        retired: Vec<RetiredKey<EventPublicKey>>,
    ) {
        let current = RetiredKey { key: signer.public().clone(), until: i64::MAX };
        let all = std::iter::once(current).chain(retired);
        let listed = all.map(|it| (it.key.thumbprint_text(), it)).collect();
        self.events.store(Arc::new(Some(HeldForEvents { signer, listed })));
    }

    /// The key that signs events by RS256, if there is one.
    pub fn event_signer(&self) -> Option<Arc<EventKey>> {
        self.events.load().as_ref().as_ref().map(|held| held.signer.clone())
    }

    /// Whether others are told of the key named `kid` at `now`, in seconds since the epoch.
    pub fn lists(&self, kid: &str, now: i64) -> bool {
        let events = self.events.load();
        let mut listed = events.iter().flat_map(|held| &held.listed);
        self.find(kid, now).is_some() || listed.any(|(it, key)| it == kid && key.until > now)
    }

    /// The key that signs.
    pub fn signer(&self) -> Arc<SigningKey> {
        self.tokens.load().signer.clone()
    }

    /// How often the keys were exchanged: what was verified before that is to be verified again.
    pub fn era(&self) -> u64 {
        self.tokens.load().era
    }

    /// The key named `kid`, if it verifies at `now`, in seconds since the epoch.
    pub fn find(&self, kid: &str, now: i64) -> Option<VerifyingKey> {
        let held = self.tokens.load();
        let (_, found) =
            held.verifying.iter().find(|(known, it)| known == kid && it.until > now)?;
        Some(found.key.clone())
    }

    /// The JWK set (RFC 7517 §5) at `now`, in seconds since the epoch.
    pub fn jwks(&self, now: i64) -> Value {
        let (held, events) = (self.tokens.load(), self.events.load());
        let jwk = |mut jwk: Value, kid: &str, alg: &str| {
            jwk["kid"] = kid.into();
            jwk["alg"] = alg.into();
            jwk["use"] = "sig".into();
            jwk
        };
        let verifying = held.verifying.iter().filter(|(_, it)| it.until > now);
        let of_tokens = verifying
            .map(|(kid, RetiredKey { key, .. })| jwk(key.to_jwk(), kid, key.algorithm().as_str()));
        let listed = events.iter().flat_map(|held| &held.listed).filter(|(_, it)| it.until > now);
        let of_events =
            listed.map(|(kid, RetiredKey { key, .. })| jwk(key.to_jwk(), kid, EventKey::ALGORITHM));
        json!({ "keys": of_tokens.chain(of_events).collect::<Vec<_>>() })
    }
}
