//! What agents did since they were last reviewed: counted in the records, a part of the log at a time.

use std::collections::BTreeMap;
use std::sync::Mutex;

use authority::LogEntry;
use model::record::{DecisionRecord, Verdict};
use model::{Agent, AgentName, PersonId, ReviewId, Timestamp, ToolRef};

use crate::command::{AdminError, Administration};

/// The most records of one page.
const PAGE: usize = 1_000;

/// How many records are counted before whoever waits is told how far it is.
const PART: u64 = 50_000;

/// How far each administrator has come with counting.
pub(crate) type Counted = Mutex<BTreeMap<PersonId, Counting>>;

/// How often an agent used a tool, and when last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Used {
    pub(super) count: u64,
    pub(super) last: Timestamp,
}

/// What each of some agents used.
pub(super) type Uses = BTreeMap<AgentName, BTreeMap<ToolRef, Used>>;

/// Uses that are being counted.
pub(crate) struct Counting {
    pub(super) review: ReviewId,
    /// Since when, of each agent.
    since: BTreeMap<AgentName, Timestamp>,
    /// The record that comes next, and the one before which it ends.
    pub(super) next: u64,
    pub(super) end: u64,
    pub(super) uses: Uses,
}

/// Since when the uses of `agent` count: since it was last reviewed, or registered.
pub(super) fn since(agent: &Agent) -> Timestamp {
    agent.review.passed.map_or(agent.registered, |passed| passed.max(agent.registered))
}

impl Counting {
    /// Nothing is counted yet of what `agents` did, as the log is now.
    pub(super) async fn begin(
        by: &Administration,
        review: ReviewId,
        agents: &[Agent],
    ) -> Result<Self, AdminError> {
        let end = by.authority.journal().store().log_size().await;
        let end = end.map_err(AdminError::unavailable)?;
        let since = agents.iter().map(|agent| (agent.name.clone(), since(agent))).collect();
        Ok(Self { review, since, next: 0, end, uses: Uses::new() })
    }

    /// Whether all is counted.
    pub(super) const fn is_over(&self) -> bool {
        self.next >= self.end
    }

    /// Counts the next part.
    pub(super) async fn part(&mut self, by: &Administration) -> Result<(), AdminError> {
        let until = self.end.min(self.next.saturating_add(PART));
        while self.next < until {
            let most = usize::try_from(until - self.next).unwrap_or(PAGE).min(PAGE);
            let entries = by.authority.journal().store().entries(self.next, most).await;
            let entries = entries.map_err(AdminError::unavailable)?;
            if entries.is_empty() {
                let why = "the log is shorter than it was".to_owned();
                return Err(AdminError::Unavailable(why));
            }
            for entry in &entries {
                self.note(entry);
            }
            self.next += entries.len() as u64;
        }
        Ok(())
    }

    fn note(&mut self, entry: &LogEntry) {
        let Ok(record) = serde_json::from_slice::<DecisionRecord>(&entry.bytes) else { return };
        let tool = record.resource.strip_prefix("Tool::").and_then(|tool| tool.parse().ok());
        let counts = self.since.get(&record.agent).is_some_and(|since| record.time >= *since);
        let (Some(tool), true) = (tool, counts && record.decision == Verdict::Permit) else {
            return;
        };
        let of_agent = self.uses.entry(record.agent).or_default();
        let used = of_agent.entry(tool).or_insert(Used { count: 0, last: record.time });
        used.count += 1;
        used.last = used.last.max(record.time);
    }
}
