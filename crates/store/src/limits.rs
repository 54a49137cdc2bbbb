//! The bounds of everything that goes in or out of a store, the same for every back end.

use model::FactKey;

use crate::{Effect, Unit};

/// The most entries, reads and effects that one unit may have together, each compared or written once: a
/// decision of the longest delegation chain, each hop with an agent, owners, a sponsor and a device of its
/// own, reads some hundred facts; what a review decides of as many agents as it may have
/// ([`model::REVIEW_ITEMS_MAX`]) rests on each, its sponsor and its reviewer, and writes each.
pub const UNIT_MAX: usize = 2_048;

/// The most units that may wait to be committed; beyond that a unit is refused at once.
pub const QUEUE_MAX: usize = 4_096;

/// The most facts that one call may load.
pub const LOAD_MAX: usize = 64;

/// The most facts or entries that one call gives; asking for more gives as many.
pub const PAGE_MAX: usize = 4_096;

/// The longest key of a fact, and name of a counter, in bytes.
pub const KEY_MAX: usize = 1_024;

/// The largest body of a fact, in bytes.
pub const BODY_MAX: usize = 16 << 20;

/// How the keys begin of facts of which what they were is kept: the register, and what is stopped of it.
pub const KEPT: [&str; 6] = ["agent/", "instance/", "person/", "purpose/", "stop/", "task/"];

/// Whether what the fact at `key` was is kept.
pub fn is_kept(key: &FactKey) -> bool {
    KEPT.iter().any(|prefix| key.as_str().starts_with(prefix))
}

/// The most things used once that are remembered; what would be one more is refused, because
/// forgetting one that has not expired would let it be used again.
pub const ONCE_MAX: u64 = 1_000_000;

/// A unit that is over a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the unit is too large: more than {limit} {what}")]
pub struct TooLarge {
    /// What there is too much of.
    pub what: &'static str,
    /// How much there may be.
    pub limit: usize,
}

impl Unit {
    /// Whether the unit is within the limits. Every back end asks first.
    pub fn check_limits(&self) -> Result<(), TooLarge> {
        let most = |what, found: usize, limit| {
            if found > limit { Err(TooLarge { what, limit }) } else { Ok(()) }
        };
        let parts = self.entries.len() + self.effects.len() + self.reads.len();
        most("entries, reads and effects", parts, UNIT_MAX)?;
        for entry in &self.entries {
            most("bytes of a record", entry.bytes.len(), model::record::MAX_RECORD_BYTES)?;
        }
        for effect in &self.effects {
            let (key, body) = effect_size(effect);
            most("bytes of a key", key, KEY_MAX)?;
            most("bytes of a fact", body, BODY_MAX)?;
        }
        Ok(())
    }
}

fn effect_size(effect: &Effect) -> (usize, usize) {
    match effect {
        Effect::Put { key, body } | Effect::PutNew { key, body } => {
            (key.as_str().len(), body.len())
        }
        Effect::Lacks { key } | Effect::Remove { key } => (key.as_str().len(), 0),
        Effect::Count { counter, .. } => (counter.0.len(), 0),
        Effect::OpenPermit { body, .. } => (0, body.as_ref().map_or(0, Vec::len)),
        Effect::UseOnce { .. } | Effect::ClosePermit { .. } => (0, 0),
    }
}

/// The first text after all those that begin with `prefix`, in the order of their bytes; none if
/// there is no such text.
///
/// UTF-8 sorts by code point, so the successor of the last character is the bound.
pub fn prefix_end(prefix: &str) -> Option<String> {
    let mut kept = prefix.to_owned();
    while let Some(last) = kept.pop() {
        // `char` ranges step over the surrogates.
        if let Some(next) = (last..=char::MAX).nth(1) {
            kept.push(next);
            return Some(kept);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::prefix_end;

    #[test]
    fn every_text_with_a_prefix_is_below_its_end_and_no_other() {
        let cases = [
            ("a/", Some("a0")),
            ("", None),
            ("\u{d7ff}", Some("\u{e000}")),
            ("x\u{10ffff}", Some("y")),
            ("\u{10ffff}", None),
            ("é", Some("ê")),
        ];
        for (prefix, end) in cases {
            assert_eq!(prefix_end(prefix).as_deref(), end, "{prefix:?}");
            let last = format!("{prefix}\u{10ffff}\u{10ffff}");
            assert!(end.is_none_or(|end| last.as_str() < end), "{prefix:?}");
        }
    }
}
