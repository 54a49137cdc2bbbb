//! What agents did since a time, they themselves and those to whom they handed work on: counted in the records, a part
//! of the log at a time.

use std::collections::{BTreeMap, BTreeSet};

use authority::LogEntry;
use model::record::{DecisionRecord, Verdict};
use model::{Agent, AgentName, PersonId, ReviewId, Timestamp, ToolRef};
use serde_json::Value;

use crate::command::{AdminError, Administration};
use crate::walk::{Underway, Walk, Walked, lacking};

/// How far each administrator has come with counting.
pub(crate) type Counted = Underway<Counting>;

/// How often an agent used a tool, and when last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    pub(crate) count: u64,
    pub(crate) last: Timestamp,
}

/// What each of some agents used.
pub(crate) type Uses = BTreeMap<AgentName, BTreeMap<ToolRef, Used>>;

/// What came of counting.
pub(crate) enum Tally {
    /// All that they used.
    All(Uses),
    /// How far it is: whoever waits asks again.
    SoFar(Value),
}

/// Uses that are being counted.
pub(crate) struct Counting {
    /// For which review, if it is for one.
    review: Option<ReviewId>,
    /// Since when, of each agent.
    since: BTreeMap<AgentName, Timestamp>,
    walk: Walk,
    uses: Uses,
}

/// Since when the uses of each of `agents` count that are reviewed.
pub(super) fn since_review(agents: &[Agent]) -> BTreeMap<AgentName, Timestamp> {
    agents.iter().map(|agent| (agent.name.clone(), since(agent))).collect()
}

/// Since when the uses of `agent` count: since it was last reviewed, or registered.
pub(super) fn since(agent: &Agent) -> Timestamp {
    agent.review.passed.map_or(agent.registered, |passed| passed.max(agent.registered))
}

impl Administration {
    /// Counts the next part of what the agents used that are named, each `since` when, for a review or by itself.
    pub(crate) async fn tally(
        &self,
        by: &PersonId,
        review: Option<ReviewId>,
        since: BTreeMap<AgentName, Timestamp>,
    ) -> Result<Tally, AdminError> {
        let known = self.counted.take(by, |it| (it.review, &it.since) == (review, &since));
        let (walk, uses) = (Walk::default(), Uses::new());
        let mut counting = known.unwrap_or(Counting { review, since, walk, uses });
        let Counting { walk, since: of, uses, .. } = &mut counting;
        let walked = walk.part(self, |entry| note(entry, of, uses)).await?;
        match walked {
            Walked::All => Ok(Tally::All(counting.uses)),
            Walked::Lacks(record) => Err(AdminError::Unavailable(lacking(record))),
            Walked::SoFar(told) => {
                self.counted.keep(by, counting);
                Ok(Tally::SoFar(told))
            }
        }
    }
}

/// Counts in what `entry` says that agents used, each since then.
fn note(entry: &LogEntry, since: &BTreeMap<AgentName, Timestamp>, uses: &mut Uses) {
    let Ok(record) = serde_json::from_slice::<DecisionRecord>(&entry.bytes) else { return };
    let tool = record.resource.strip_prefix("Tool::").and_then(|tool| tool.parse().ok());
    let (Some(tool), Verdict::Permit) = (tool, record.decision) else { return };
    // What is handed on lies within what whoever handed it on may be given.
    let above = record.delegators.iter().map(|above| &above.agent);
    let all: BTreeSet<_> = above.chain([&record.agent]).collect();
    for agent in all {
        if since.get(agent).is_none_or(|since| record.time < *since) {
            continue;
        }
        let of_agent = uses.entry(agent.clone()).or_default();
        let unused = Used { count: 0, last: record.time };
        let counted = of_agent.entry(ToolRef::clone(&tool)).or_insert(unused);
        counted.count += 1;
        counted.last = counted.last.max(record.time);
    }
}
