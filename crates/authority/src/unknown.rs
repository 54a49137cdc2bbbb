//! Acts whose outcome nobody knows, as far as that is known without asking the store.

use std::collections::HashMap;
use std::sync::RwLock;

use model::{FactKey, Revision};

/// The marks of such acts. One that was removed stays until somebody looks: a mark too many costs a look, one too
/// few an act done twice.
#[derive(Default)]
pub(crate) struct Unknown(RwLock<HashMap<FactKey, Marked>>);

/// What is known of one mark.
#[derive(Clone, Copy, Debug, Default)]
struct Marked {
    /// When it last changed in the store.
    changed: Revision,
    /// How many equal acts have ended so of which that is not on record yet: they count from now on, whatever is
    /// settled of the others meanwhile.
    unwritten: usize,
}

impl Unknown {
    /// Takes note that an act has ended so.
    pub(crate) fn ended(&self, mark: FactKey) {
        let mut all = self.0.write().expect("no panic while it is held");
        all.entry(mark).or_default().unwritten += 1;
    }

    /// Takes note that this is on record.
    pub(crate) fn written(&self, mark: &FactKey) {
        let mut all = self.0.write().expect("no panic while it is held");
        if let Some(marked) = all.get_mut(mark) {
            marked.unwritten = marked.unwritten.saturating_sub(1);
        }
    }

    /// Takes note that `marks` are as they are in the store since `revision`.
    pub(crate) fn changed(&self, marks: impl IntoIterator<Item = FactKey>, revision: Revision) {
        let mut all = self.0.write().expect("no panic while it is held");
        for mark in marks {
            let marked = all.entry(mark).or_default();
            marked.changed = marked.changed.max(revision);
        }
    }

    /// Whether there may be such a mark.
    pub(crate) fn may_have(&self, mark: &FactKey) -> bool {
        let all = self.0.read().expect("no panic while it is held");
        !all.is_empty() && all.contains_key(mark)
    }

    /// Whether there is none, where the store had none as of `revision`: somebody settled it, unless it was marked
    /// again since, or another act has ended so.
    pub(crate) fn is_settled(&self, mark: &FactKey, revision: Revision) -> bool {
        let mut all = self.0.write().expect("no panic while it is held");
        let counts = |marked: &Marked| marked.unwritten > 0 || revision < marked.changed;
        let is_settled = !all.get(mark).is_some_and(counts);
        if is_settled {
            all.remove(mark);
        }
        is_settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Until each that has ended so is on record, and as long as the store may have the mark.
    #[test]
    fn a_mark_counts_until_it_is_settled_and_nothing_is_unwritten() {
        let (unknown, mark) = (Unknown::default(), FactKey::from_text("unknown/act"));
        assert!(!unknown.may_have(&mark) && unknown.is_settled(&mark, Revision(0)));
        unknown.ended(mark.clone());
        unknown.ended(mark.clone());
        unknown.changed([mark.clone()], Revision(3));
        unknown.written(&mark);
        // The first one was written, and is settled.
        unknown.changed([mark.clone()], Revision(5));
        assert!(unknown.may_have(&mark) && !unknown.is_settled(&mark, Revision(5)));
        unknown.changed([mark.clone()], Revision(7));
        unknown.written(&mark);
        assert!(!unknown.is_settled(&mark, Revision(6)), "it was marked since");
        assert!(unknown.may_have(&mark) && unknown.is_settled(&mark, Revision(7)));
        assert!(!unknown.may_have(&mark));
    }
}
