//! The policy set in force: what the store says is active, compiled.
//!
//! Whoever publishes a set puts it in force here. If that did not happen (the publication was
//! abandoned half-way), or cannot be judged any more, the store is asked: what it says counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, RwLock};

use arc_swap::ArcSwap;
use model::{FactKey, PolicyDigest, Revision, Sha256Digest, Timestamp};
use pdp::{Bundle, Snapshot};
use serde::{Deserialize, Serialize};
use store::{Effect, Store};

use crate::FactsError;
use crate::changes::Changes;
use crate::compiling::SharedCompiler;
use crate::pip::Pip;
use crate::reader::Reader;

/// A policy snapshot and the revision at which it was put in force.
pub struct PolicyInForce {
    /// The snapshot.
    pub snapshot: Arc<Snapshot>,
    /// When it was put in force, or was last known to be.
    pub revision: Revision,
}

/// Which set is active, as the store keeps it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Active {
    digest: PolicyDigest,
    /// Since when what results say is remembered for it, and for each set before it since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    remembering: Option<Remembering>,
    /// Since when what was called in a session is remembered for it, and for each set before it since then, by
    /// the names that policy has for that; none until that is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    calls: BTreeMap<String, Option<Timestamp>>,
}

/// What makes a set the active one.
pub struct Activating(Active);

/// That what results say is remembered.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remembering {
    /// By the labels with this digest.
    labels: Sha256Digest,
    /// None until that is known.
    since: Option<Timestamp>,
    /// Whether something of it may be lacking: it is remembered for policies under observation alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_lossy: bool,
}

impl Activating {
    /// What makes `snapshot` the active set, in place of the one in `store`.
    pub(crate) async fn of(snapshot: &Snapshot, store: &dyn Store) -> Result<Self, FactsError> {
        let before = Reader::new(store).find::<Active>(FactKey::active_policy()).await;
        let before = match before {
            // Whatever it was, another one comes in its place.
            Err(FactsError::Damaged { .. }) => None,
            before => before?,
        };
        let (before, known) = before.map(|it| (it.remembering, it.calls)).unwrap_or_default();
        let remembered = snapshot.remembered();
        let calls = remembered.names().map(|name| {
            let since = known.get(&name).copied().flatten();
            (name, since)
        });
        let calls = calls.collect();
        let remembering = remembered.said.map(|labels| {
            let is_lossy = !remembered.is_said_decisive;
            let same = before.filter(|it| it.labels == labels && (is_lossy || !it.is_lossy));
            Remembering { labels, since: same.and_then(|before| before.since), is_lossy }
        });
        Ok(Self(Active { digest: snapshot.digest(), remembering, calls }))
    }

    /// What does it, in the commit that puts the set in force. Whatever was not remembered before, nobody takes for
    /// remembered yet: a session that is opened until that commit may have a past that it knows nothing of.
    pub fn effect(&self) -> Effect {
        self.0.put()
    }

    /// What says that from `now`, when that is done, what the set looks at is remembered; none if it was before.
    pub fn done(mut self, now: Timestamp) -> Option<Effect> {
        let Active { remembering, calls, .. } = &mut self.0;
        let all = calls.values_mut().chain(remembering.iter_mut().map(|it| &mut it.since));
        let new: Vec<_> = all.filter(|since| since.is_none()).collect();
        if new.is_empty() {
            return None;
        }
        for since in new {
            *since = Some(now);
        }
        Some(self.0.put())
    }
}

impl Active {
    fn put(&self) -> Effect {
        Effect::Put { key: FactKey::active_policy(), body: json::canonical_of(self) }
    }

    /// Whether all that results have said by the labels of `snapshot` was remembered in a session that was
    /// `opened` then.
    pub(crate) fn has_heard_all(&self, snapshot: &Snapshot, opened: Timestamp) -> bool {
        let said = snapshot.remembered().said;
        let same = self.remembering.as_ref().filter(|it| said == Some(it.labels));
        same.and_then(|it| it.since).is_some_and(|since| since <= opened)
    }

    /// Whether what policy calls `name` was remembered all the time of a session that was `opened` then: one of the
    /// same moment may have been opened before.
    fn has_counted_all(&self, name: &str, opened: Timestamp) -> bool {
        self.calls.get(name).copied().flatten().is_some_and(|since| since < opened)
    }
}

impl Pip {
    /// What the policies of `snapshot` look at of what was called in a session that was `opened` then, and was not
    /// remembered all the time: nobody may take that for not called.
    pub(crate) async fn unremembered(
        &self,
        snapshot: &Snapshot,
        opened: Timestamp,
    ) -> Result<BTreeSet<String>, FactsError> {
        let mut names: BTreeSet<_> = snapshot.remembered().names().collect();
        if !names.is_empty() {
            let active: Option<Active> = self.reader().find(FactKey::active_policy()).await?;
            names
                .retain(|name| !active.as_ref().is_some_and(|it| it.has_counted_all(name, opened)));
        }
        Ok(names)
    }
}

/// The set in force, and the one that may be next.
pub(crate) struct InForce {
    current: ArcSwap<PolicyInForce>,
    announced: RwLock<Option<Arc<Snapshot>>>,
    /// Since when the release in force has expired, in milliseconds; the last there are if it never does.
    expires: AtomicI64,
    changes: Arc<Changes>,
    /// One set is read at a time.
    catching_up: tokio::sync::Mutex<()>,
    compiler: SharedCompiler,
}

impl InForce {
    /// Nothing is in force as of `start`: everything is denied.
    pub(crate) fn nothing(start: Revision, changes: Arc<Changes>) -> Self {
        let empty = PolicyInForce { snapshot: Arc::new(Snapshot::empty()), revision: start };
        Self {
            current: ArcSwap::from_pointee(empty),
            announced: RwLock::default(),
            expires: AtomicI64::new(i64::MAX),
            changes,
            catching_up: tokio::sync::Mutex::default(),
            compiler: SharedCompiler::default(),
        }
    }

    pub(crate) fn current(&self) -> Arc<PolicyInForce> {
        self.current.load_full()
    }

    pub(crate) fn announce(&self, snapshot: Arc<Snapshot>) {
        *self.announced.write().expect("no panic while it is held") = Some(snapshot);
    }

    /// Says when the release in force expires, if ever.
    pub(crate) fn expires(&self, at: Option<Timestamp>) {
        self.expires.store(at.map_or(i64::MAX, Timestamp::as_millis), Ordering::Relaxed);
    }

    /// Since when the release in force has expired.
    pub(crate) fn expiry(&self) -> Timestamp {
        Timestamp::from_millis(self.expires.load(Ordering::Relaxed))
    }

    /// Puts `snapshot` in force as of `revision`, unless what is in force is known to be newer.
    pub(crate) fn put(&self, snapshot: Arc<Snapshot>, revision: Revision) {
        let new = Arc::new(PolicyInForce { snapshot, revision });
        self.current.rcu(|old| if old.revision < revision { new.clone() } else { old.clone() });
    }

    /// What is in force: what `store` says, if that changed since what was put in force here.
    pub(crate) async fn as_it_is(
        &self,
        store: &dyn Store,
    ) -> Result<Arc<PolicyInForce>, FactsError> {
        if let Some(fresh) = self.fresh() {
            return Ok(fresh);
        }
        let _one = self.catching_up.lock().await;
        if let Some(fresh) = self.fresh() {
            return Ok(fresh);
        }
        let mut reader = Reader::new(store);
        let active = reader.find::<Active>(FactKey::active_policy()).await?;
        let snapshot = match active {
            Some(Active { digest, .. }) => self.known_or_read(&digest, &mut reader).await?,
            None => Arc::new(Snapshot::empty()),
        };
        self.put(snapshot, reader.sourced(()).revision);
        Ok(self.current())
    }

    /// What was put in force here, if nothing is known to have changed it since.
    fn fresh(&self) -> Option<Arc<PolicyInForce>> {
        let (key, current) = ([FactKey::active_policy()], self.current());
        self.changes.fresh_as_of(&[(&key, current.revision)]).map(|_| current)
    }

    /// The set with this digest: one that is known here, or else the one that is stored.
    async fn known_or_read(
        &self,
        digest: &PolicyDigest,
        reader: &mut Reader<'_>,
    ) -> Result<Arc<Snapshot>, FactsError> {
        let announced = self.announced.read().expect("no panic while it is held").clone();
        let mut all = announced.into_iter().chain([self.current().snapshot.clone()]);
        if let Some(known) = all.find(|snapshot| snapshot.digest() == *digest) {
            return Ok(known);
        }
        let place = FactKey::policy(digest);
        let bundle: Bundle = reader.need(place.clone()).await?;
        let snapshot = self.compiler.compile(bundle).await?;
        // What was altered where it is kept is not the set that was put in force.
        if snapshot.digest() == *digest { Ok(snapshot) } else { Err(FactsError::Missing(place)) }
    }
}
