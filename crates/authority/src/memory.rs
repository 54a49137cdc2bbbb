//! What processes of the host, workloads and devices have read stays with them from task to task, until they end.
//!
//! A task has a session of its own; whoever works on it may have worked on another one before, or
//! beside, and remembers, and so do those that handed the work on and hear of it. So what joins a
//! session joins what is kept of them, and each decision counts both. What was read before joins the
//! session of what begins, and so counts as read in that: what is carried on does not end before it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{FactKey, Label, ProcessMemory, TaskId};
use store::Effect;

use crate::FactsError;
use crate::reader::Reader;

/// What is kept of those that have a part in an act, by where, each with whether it counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Vec<(FactKey, bool, Arc<ProcessMemory>)>);

impl Memory {
    /// What is kept at `places`, each with whether it counts.
    pub(crate) async fn at(
        places: &BTreeMap<FactKey, bool>,
        reader: &mut Reader<'_>,
    ) -> Result<Self, FactsError> {
        let mut all = Vec::with_capacity(places.len());
        for (key, counts) in places {
            let known: Option<Arc<ProcessMemory>> = reader.find(key.clone()).await?;
            all.push((key.clone(), *counts, known.unwrap_or_default()));
        }
        Ok(Self(all))
    }

    /// The labels that count.
    pub(crate) fn labels(&self) -> impl Iterator<Item = &Label> {
        self.0.iter().filter(|(_, counts, _)| *counts).flat_map(|(_, _, known)| known.labels())
    }

    /// What has them remember that `labels` were read in `task`: only where that is new.
    pub(crate) fn with(&self, task: TaskId, labels: &BTreeSet<Label>) -> Vec<Effect> {
        let put = |(key, _, known): &(FactKey, bool, Arc<ProcessMemory>)| {
            let all = known.with(task, labels)?;
            Some(Effect::Put { key: key.clone(), body: json::canonical_of(&all) })
        };
        self.0.iter().filter_map(put).collect()
    }
}
