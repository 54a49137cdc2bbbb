//! What changed since when: tells whether something that was read is still true.

use std::collections::HashMap;
use std::sync::RwLock;

use model::{FactKey, Revision};

/// The most keys whose last change is remembered; beyond that everything counts as changed.
const KEYS_MAX: usize = 65_536;

/// The last change of every key since the start, as the store reports it.
///
/// INVARIANT: `current` never runs ahead of the keys that are recorded here, so what is fresh by
/// [`Changes::fresh_as_of`] was true at that revision.
#[derive(Debug)]
pub(crate) struct Changes(RwLock<Known>);

#[derive(Debug)]
struct Known {
    last: HashMap<FactKey, Revision>,
    /// What was read before this revision cannot be judged.
    floor: Revision,
    current: Revision,
}

impl Changes {
    /// Begins at `start`, the revision of the store before anything is read.
    pub(crate) fn since(start: Revision) -> Self {
        Self(RwLock::new(Known { last: HashMap::new(), floor: start, current: start }))
    }

    /// Records that `keys` changed in the commit that made `revision`.
    pub(crate) fn record(&self, keys: &[FactKey], revision: Revision) {
        let mut known = self.0.write().expect("no panic while it is held");
        if known.last.len() + keys.len() > KEYS_MAX {
            known.last.clear();
            known.floor = revision;
        }
        known.last.extend(keys.iter().map(|key| (key.clone(), revision)));
        known.current = known.current.max(revision);
    }

    /// The revision as of which all `sources` (keys and when they were read) are still true, or
    /// none if one has changed.
    pub(crate) fn fresh_as_of(&self, sources: &[(&[FactKey], Revision)]) -> Option<Revision> {
        let known = self.0.read().expect("no panic while it is held");
        let unchanged = |keys: &[FactKey], read: Revision| {
            read >= known.floor
                && keys.iter().all(|key| known.last.get(key).is_none_or(|at| *at <= read))
        };
        sources.iter().all(|(keys, read)| unchanged(keys, *read)).then_some(known.current)
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
}
