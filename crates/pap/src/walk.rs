//! The log as it was when somebody first asked, read from its first record on, a part at a time.

use authority::LogEntry;
use serde_json::{Value, json};

use crate::command::{AdminError, Administration};

/// The most records of one page.
const PAGE: usize = 1_000;

/// How many records are read before whoever waits is told how far it is.
const PART: u64 = 50_000;

/// How far the log is read.
#[derive(Debug)]
pub(crate) struct Walk {
    /// The record that comes next, and the one before which it ends.
    next: u64,
    end: u64,
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
    /// Begins with the log as it is.
    pub(crate) async fn over(by: &Administration) -> Result<Self, AdminError> {
        let end = by.authority.journal().store().log_size().await;
        Ok(Self { next: 0, end: end.map_err(AdminError::unavailable)? })
    }

    /// Has `note` see the records of the next part, in their order.
    pub(crate) async fn part(
        &mut self,
        by: &Administration,
        mut note: impl FnMut(&LogEntry) + Send,
    ) -> Result<Walked, AdminError> {
        let until = self.end.min(self.next.saturating_add(PART));
        while self.next < until {
            let most = usize::try_from(until - self.next).unwrap_or(PAGE).min(PAGE);
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
        if self.next < self.end {
            return Ok(Walked::SoFar(json!({ "counted": self.next, "of": self.end })));
        }
        Ok(Walked::All)
    }
}

/// That the log lacks this record.
pub(crate) fn lacking(record: u64) -> String {
    format!("the log lacks record {record}, or has another in its place: `chancery log verify`")
}
