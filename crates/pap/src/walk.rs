//! The log as it is, read from its first record on, a part at a time.
//!
//! INVARIANT: what is told is of all that the log has once it is read: it grows meanwhile, and whoever asks for the
//! last part may have asked for the first one long ago (`i_18_an_import_counts_the_log_a_part_at_a_time`,
//! `r_75_what_is_used_while_the_log_is_read_to_its_end_counts`).

use std::collections::VecDeque;
use std::sync::Mutex;

use authority::LogEntry;
use model::PersonId;
use serde_json::{Value, json};

use crate::command::{AdminError, Administration};

/// The most records of one page.
const PAGE: usize = 1_000;

/// How many records are read before whoever waits is told how far it is.
const PART: u64 = 50_000;

/// The most questions of one administrator that the log is read for.
const UNDERWAY_MAX: usize = 4;

/// The most of all administrators.
const ALL_MAX: usize = 32;

/// How far each administrator has come with what they asked, until they ask for the next part of it. Of more than
/// [`UNDERWAY_MAX`] of one, or [`ALL_MAX`] of all, the one is read for anew that was asked longest ago, which is first.
pub(crate) struct Underway<T>(Mutex<VecDeque<(PersonId, T)>>);

impl<T> Default for Underway<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Underway<T> {
    /// Takes out how far `by` has come with what `is_that`.
    pub(crate) fn take(&self, by: &PersonId, is_that: impl Fn(&T) -> bool) -> Option<T> {
        let mut all = self.0.lock().expect("no panic while it is held");
        let place = all.iter().position(|(whose, it)| whose == by && is_that(it))?;
        all.remove(place).map(|(_, it)| it)
    }

    /// Remembers how far `by` has come.
    pub(crate) fn keep(&self, by: &PersonId, it: T) {
        let mut all = self.0.lock().expect("no panic while it is held");
        let own: Vec<_> = (0..all.len()).filter(|place| all[*place].0 == *by).collect();
        let left = match own.first() {
            Some(first) if own.len() == UNDERWAY_MAX => Some(*first),
            _ => (all.len() == ALL_MAX).then_some(0),
        };
        if let Some(left) = left {
            all.remove(left);
        }
        all.push_back((by.clone(), it));
    }
}

/// How far the log is read.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// The record that comes next.
    next: u64,
}

/// What came of reading a part.
pub(crate) enum Walked {
    /// That was all.
    All,
    /// How far it is: whoever waits asks again.
    SoFar(Value),
    /// This record is not there, or is not the one that its leaf hash is of.
    Lacks(u64),
}

impl Walk {
    /// Has `note` see the records of the next part, in their order.
    pub(crate) async fn part(
        &mut self,
        by: &Administration,
        mut note: impl FnMut(&LogEntry) + Send,
    ) -> Result<Walked, AdminError> {
        let until = self.next.saturating_add(PART);
        loop {
            // It grows while it is read.
            let end = by.authority.journal().store().log_size().await;
            let end = end.map_err(AdminError::unavailable)?;
            if self.next >= end {
                return Ok(Walked::All);
            }
            if self.next >= until {
                return Ok(Walked::SoFar(json!({ "counted": self.next, "of": end })));
            }
            let most = usize::try_from(end.min(until) - self.next).unwrap_or(PAGE).min(PAGE);
            let entries = by.authority.journal().store().entries(self.next, most).await;
            let entries = entries.map_err(AdminError::unavailable)?;
            if entries.is_empty() {
                return Ok(Walked::Lacks(self.next));
            }
            for entry in &entries {
                let leaf = tlog::leaf_hash(&entry.bytes);
                if entry.index != self.next || leaf.as_bytes() != entry.leaf.as_bytes() {
                    return Ok(Walked::Lacks(self.next));
                }
                note(entry);
                self.next += 1;
            }
        }
    }
}

/// That the log lacks this record.
pub(crate) fn lacking(record: u64) -> String {
    format!("the log lacks record {record}, or has another in its place: `chancery log verify`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i_18_what_one_administrator_asked_is_kept_apart_and_only_so_much_of_it() {
        let underway = Underway::<usize>::default();
        let [ann, bob] = ["ann", "bob"].map(|id| id.parse::<PersonId>().expect("a person"));
        let take = |by: &PersonId, which: usize| underway.take(by, |it| *it == which);
        for which in 0..=UNDERWAY_MAX {
            underway.keep(&ann, which);
        }
        assert_eq!((take(&ann, 0), take(&bob, 1)), (None, None));
        for which in 1..=UNDERWAY_MAX {
            assert_eq!(take(&ann, which), Some(which));
            assert_eq!(take(&ann, which), None, "it is taken out");
        }
        let person = |number: usize| format!("p{number}").parse::<PersonId>().expect("a person");
        for number in 0..=ALL_MAX {
            underway.keep(&person(number), number);
        }
        assert_eq!(take(&person(0), 0), None, "it was asked longest ago");
        for number in 1..=ALL_MAX {
            assert_eq!(take(&person(number), number), Some(number));
        }
    }
}
