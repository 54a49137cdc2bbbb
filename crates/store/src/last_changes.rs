//! When each fact last changed, as far as that is remembered.

use std::collections::HashMap;

use model::{FactKey, Revision};

/// The last change of every fact, of the recent ones for certain.
///
/// It has two generations of a bounded size. When the recent one is full the older one is forgotten: what
/// was read before that one ended counts as changed, and nothing that was read a moment ago does.
#[derive(Debug)]
pub struct LastChanges {
    keys_max: usize,
    recent: Generation,
    older: Generation,
    current: Revision,
}

/// Every change after a revision, until the next generation begins.
#[derive(Debug)]
struct Generation {
    since: Revision,
    last: HashMap<FactKey, Revision>,
}

impl Generation {
    fn after(since: Revision) -> Self {
        Self { since, last: HashMap::new() }
    }
}

impl LastChanges {
    /// Begins after `start`; one generation remembers `keys_max` facts.
    pub fn since(start: Revision, keys_max: usize) -> Self {
        let (recent, older) = (Generation::after(start), Generation::after(start));
        Self { keys_max, recent, older, current: start }
    }

    /// The revision of the last change.
    pub const fn current(&self) -> Revision {
        self.current
    }

    /// Takes over that `keys` changed in the commit that made `revision`.
    pub fn record(&mut self, keys: &[FactKey], revision: Revision) {
        if self.recent.last.len() + keys.len() > self.keys_max {
            let next = Generation::after(self.current);
            self.older = std::mem::replace(&mut self.recent, next);
        }
        self.recent.last.extend(keys.iter().map(|key| (key.clone(), revision)));
        self.current = self.current.max(revision);
    }

    /// The first of `keys` that may have changed since `read`; none if all are as they were.
    pub fn changed<'k>(&self, keys: &'k [FactKey], read: Revision) -> Option<&'k FactKey> {
        if read < self.older.since {
            return keys.first();
        }
        if read >= self.current {
            return None;
        }
        let last = |key| self.recent.last.get(key).or_else(|| self.older.last.get(key));
        keys.iter().find(|key| last(*key).is_some_and(|at| *at > read))
    }

    /// Whether what was read at `read` can still be judged.
    pub fn is_judged(&self, read: Revision) -> bool {
        read >= self.older.since
    }
}

#[cfg(test)]
mod tests {
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
}
