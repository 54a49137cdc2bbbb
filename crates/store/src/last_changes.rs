//! When each fact last changed, as far as that is remembered.

use std::collections::HashMap;

use model::{FactKey, Revision};

/// The last change of every fact, of the recent ones for certain.
///
/// There are two generations of a bounded size, in one map: most of what is asked for has not changed, and so is
/// looked for once. When the recent one is full the older one is forgotten: what was read before the other one
/// begins counts as changed, and nothing that was read a moment ago does.
#[derive(Debug)]
pub struct LastChanges {
    keys_max: usize,
    /// The last change of each fact that has changed after `older`.
    last: HashMap<FactKey, Revision>,
    /// After which revision the older generation begins: every change after it is known.
    older: Revision,
    /// After which revision the recent one begins.
    recent: Revision,
    /// How many facts have changed since.
    recent_keys: usize,
    current: Revision,
}

impl LastChanges {
    /// Begins after `start`; one generation remembers `keys_max` facts.
    pub fn since(start: Revision, keys_max: usize) -> Self {
        let (older, recent, current) = (start, start, start);
        Self { keys_max, last: HashMap::new(), older, recent, recent_keys: 0, current }
    }

    /// The revision of the last change.
    pub const fn current(&self) -> Revision {
        self.current
    }

    /// Takes over that `keys` changed in the commit that made `revision`.
    pub fn record(&mut self, keys: &[FactKey], revision: Revision) {
        if self.recent_keys + keys.len() > self.keys_max {
            (self.older, self.recent, self.recent_keys) = (self.recent, self.current, 0);
            let older = self.older;
            self.last.retain(|_, at| *at > older);
        }
        for key in keys {
            let before = self.last.insert(key.clone(), revision);
            self.recent_keys += usize::from(before.is_none_or(|at| at <= self.recent));
        }
        self.current = self.current.max(revision);
    }

    /// The first of `keys` that may have changed since `read`; none if all are as they were.
    pub fn changed<'k>(&self, keys: &'k [FactKey], read: Revision) -> Option<&'k FactKey> {
        if read < self.older {
            return keys.first();
        }
        if read >= self.current {
            return None;
        }
        keys.iter().find(|key| self.last.get(*key).is_some_and(|at| *at > read))
    }

    /// Whether what was read at `read` can still be judged.
    pub fn is_judged(&self, read: Revision) -> bool {
        read >= self.older
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn i_18_what_is_old_is_forgotten_and_nothing_recent() {
        let key = |name: &str| FactKey::from_text(name);
        let [a, b, c] = ["task/a", "task/b", "task/c"].map(key);
        let mut changes = LastChanges::since(Revision(1), 1);
        let check = |changes: &LastChanges, key: &FactKey, read, wanted: bool| {
            let keys = std::slice::from_ref(key);
            assert_eq!(changes.changed(keys, Revision(read)).is_some(), wanted, "{key:?} {read}");
        };
        check(&changes, &a, 0, true);
        check(&changes, &a, 1, false);
        changes.record(std::slice::from_ref(&a), Revision(2));
        changes.record(std::slice::from_ref(&b), Revision(3));
        // Both are remembered: one full generation, and the one before it.
        check(&changes, &a, 1, true);
        check(&changes, &a, 2, false);
        check(&changes, &c, 1, false);
        changes.record(std::slice::from_ref(&c), Revision(4));
        // The first is forgotten: whoever read before it cannot know.
        check(&changes, &b, 1, true);
        check(&changes, &a, 2, false);
        check(&changes, &b, 2, true);
        check(&changes, &c, 3, true);
        check(&changes, &c, 4, false);
        assert_eq!(changes.current(), Revision(4));
        assert!(!changes.is_judged(Revision(1)) && changes.is_judged(Revision(2)));
    }

    /// It answers as a list of all changes does, as far back as it can judge, and keeps no more than two
    /// generations; what changes again and again takes one place.
    #[test]
    fn i_18_it_answers_as_all_changes_do_as_far_as_it_can_judge() {
        const KEYS_MAX: usize = 8;
        let key = |number: u64| FactKey::from_text(&format!("task/{number}"));
        let mut changes = LastChanges::since(Revision(1), KEYS_MAX);
        let mut all = BTreeMap::new();
        let mut judged = 0;
        for revision in (2..400).map(Revision) {
            // One of them changes all the time, and now and then two of many others.
            let number = revision.0 * revision.0 % 31;
            let keys: Vec<_> = match revision.0 % 3 {
                0 => vec![key(1_000), key(number), key(number + 1)],
                _ => vec![key(1_000)],
            };
            changes.record(&keys, revision);
            all.extend(keys.into_iter().map(|key| (key, revision)));
            assert!(changes.last.len() <= 2 * KEYS_MAX, "{} are kept", changes.last.len());
            for read in (1..=revision.0).map(Revision).filter(|read| changes.is_judged(*read)) {
                judged += 1;
                for (key, at) in &all {
                    let found = changes.changed(std::slice::from_ref(key), read);
                    assert_eq!(found.is_some(), *at > read, "{key:?}, {read:?}, {revision:?}");
                }
            }
        }
        assert!(judged > 400, "it can judge more than the present");
    }
}
