//! What changed since when: tells whether something that was read is still true, and wakes who
//! waits for a change of it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, RwLock};

use model::{FactKey, Revision};
use store::LastChanges;
use tokio::sync::Notify;

/// The most keys whose last change a generation remembers.
const KEYS_MAX: usize = 32_768;

/// The last change of every key since the start, as the store reports it.
///
/// INVARIANT: `current` never runs ahead of the keys that are recorded here, so what is fresh by
/// [`Changes::fresh_as_of`] was true at that revision.
#[derive(Debug)]
pub(crate) struct Changes {
    known: RwLock<LastChanges>,
    watchers: Mutex<Watchers>,
}

/// Who waits for a change, by the keys that they rest on.
#[derive(Debug, Default)]
struct Watchers {
    next: u64,
    waiting: HashMap<u64, Arc<Notify>>,
    by_key: HashMap<FactKey, BTreeSet<u64>>,
}

/// Somebody who waits for a change of some keys, until dropped.
#[derive(Debug)]
pub(crate) struct Watching<'a> {
    changes: &'a Changes,
    keys: [&'a [FactKey]; 2],
    id: u64,
    changed: Arc<Notify>,
}

impl Changes {
    /// Begins at `start`, the revision of the store before anything is read.
    pub(crate) fn since(start: Revision) -> Self {
        let known = LastChanges::since(start, KEYS_MAX);
        Self { known: RwLock::new(known), watchers: Mutex::default() }
    }

    /// Records that `keys` changed in the commit that made `revision`, and wakes who waits.
    pub(crate) fn record(&self, keys: &[FactKey], revision: Revision) {
        self.known.write().expect("no panic while it is held").record(keys, revision);
        let watchers = self.watchers.lock().expect("no panic while it is held");
        let woken = keys.iter().filter_map(|key| watchers.by_key.get(key)).flatten();
        let woken = woken.filter_map(|id| watchers.waiting.get(id));
        woken.for_each(|waiting| waiting.notify_one());
    }

    /// The revision as of which all `sources` (keys and when they were read) are still true, or
    /// none if one has changed.
    pub(crate) fn fresh_as_of(&self, sources: &[(&[FactKey], Revision)]) -> Option<Revision> {
        let known = self.known.read().expect("no panic while it is held");
        let unchanged = |keys: &[FactKey], read: Revision| {
            known.is_judged(read) && known.changed(keys, read).is_none()
        };
        sources.iter().all(|(keys, read)| unchanged(keys, *read)).then_some(known.current())
    }

    /// Waits for changes of `keys` from now on: look whether they are fresh after this, not before.
    pub(crate) fn watch<'a>(&'a self, keys: [&'a [FactKey]; 2]) -> Watching<'a> {
        let mut watchers = self.watchers.lock().expect("no panic while it is held");
        let (id, changed) = (watchers.next, Arc::new(Notify::new()));
        watchers.next += 1;
        watchers.waiting.insert(id, changed.clone());
        for key in keys.into_iter().flatten() {
            watchers.by_key.entry(key.clone()).or_default().insert(id);
        }
        Watching { changes: self, keys, id, changed }
    }
}

impl Watching<'_> {
    /// Resolves once one of the keys has changed since this was made.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        let mut watchers = self.changes.watchers.lock().expect("no panic while it is held");
        watchers.waiting.remove(&self.id);
        for key in self.keys.into_iter().flatten() {
            let Some(waiting) = watchers.by_key.get_mut(key) else { continue };
            waiting.remove(&self.id);
            if waiting.is_empty() {
                watchers.by_key.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_after_the_reading_makes_it_stale() {
        let changes = Changes::since(Revision(5));
        let keys = [FactKey::from_text("agent/a"), FactKey::from_text("agent/b")];
        assert_eq!(changes.fresh_as_of(&[(&keys, Revision(5))]), Some(Revision(5)));
        changes.record(&keys[1..], Revision(7));
        assert_eq!(changes.fresh_as_of(&[(&keys, Revision(6))]), None);
        assert_eq!(changes.fresh_as_of(&[(&keys, Revision(7))]), Some(Revision(7)));
        assert_eq!(changes.fresh_as_of(&[(&keys[..1], Revision(5))]), Some(Revision(7)));
    }

    #[test]
    fn what_was_read_before_the_start_is_never_fresh() {
        let changes = Changes::since(Revision(5));
        assert_eq!(changes.fresh_as_of(&[(&[], Revision(4))]), None);
    }

    #[tokio::test]
    async fn who_waits_for_a_key_is_woken_by_it_alone_and_forgotten_when_dropped() {
        let changes = Changes::since(Revision(1));
        let keys = [FactKey::from_text("agent/a"), FactKey::from_text("person/p")];
        let other = [FactKey::from_text("agent/b")];
        let (watching, elsewhere) =
            (changes.watch([&keys[..1], &keys[1..]]), changes.watch([&other, &[]]));
        changes.record(&keys[1..], Revision(2));
        watching.changed().await;
        assert!(futures::FutureExt::now_or_never(elsewhere.changed()).is_none());
        drop((watching, elsewhere));
        let watchers = changes.watchers.lock().unwrap();
        assert!(watchers.by_key.is_empty() && watchers.waiting.is_empty());
    }
}
