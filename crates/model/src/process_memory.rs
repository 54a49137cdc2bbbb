//! What a process remembers, and a workload or a device.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Label, TaskId, Timestamp};

/// The most tasks of one process whose labels are told apart.
pub const REMEMBERED_TASKS_MAX: usize = 32;

/// The labels of what a process of the host, a workload or a device has read, by the root task in which it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessMemory {
    /// Those of its last tasks, at most [`REMEMBERED_TASKS_MAX`].
    pub tasks: BTreeMap<TaskId, BTreeSet<Label>>,
    /// Those of its tasks before: nobody takes them off.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub before: BTreeSet<Label>,
    /// When it was found to have ended, or to have no work any more, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
}

impl ProcessMemory {
    /// All that it has read.
    pub fn labels(&self) -> impl Iterator<Item = &Label> {
        self.tasks.values().flatten().chain(&self.before)
    }

    /// The same, once `labels` are read in `task`; none if that changes nothing.
    pub fn with(&self, task: TaskId, labels: &BTreeSet<Label>) -> Option<Self> {
        let is_known = |known: &BTreeSet<Label>| known.is_superset(labels);
        if self.tasks.get(&task).map_or(labels.is_empty(), is_known) {
            return None;
        }
        let mut all = self.clone();
        all.tasks.entry(task).or_default().extend(labels.iter().cloned());
        while all.tasks.len() > REMEMBERED_TASKS_MAX {
            let oldest = all.tasks.keys().copied().find(|known| *known != task)?;
            all.before.extend(all.tasks.remove(&oldest).unwrap_or_default());
        }
        Some(all)
    }

    /// The same without `label` of `task`; none if it is not among those.
    pub fn without(&self, task: TaskId, label: &Label) -> Option<Self> {
        let mut all = self.clone();
        let of_task = all.tasks.get_mut(&task)?;
        if !of_task.remove(label) {
            return None;
        }
        if of_task.is_empty() {
            all.tasks.remove(&task);
        }
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_long_ago_stays_and_is_told_apart_no_longer() {
        let label = |name: &str| name.parse::<Label>().expect("a label");
        let task = |number: u8| TaskId::from_bytes([number; 16]);
        let mut memory = ProcessMemory::default();
        let tasks = u8::try_from(REMEMBERED_TASKS_MAX).expect("they are few") + 1;
        for number in 0..tasks {
            let name = if number == 0 { "private" } else { "external" };
            let read = BTreeSet::from([label(name)]);
            memory = memory.with(task(number), &read).expect("it is new");
            assert_eq!(memory.with(task(number), &read), None);
        }
        assert_eq!(memory.tasks.len(), REMEMBERED_TASKS_MAX);
        assert_eq!(memory.before, BTreeSet::from([label("private")]));
        assert_eq!(memory.without(task(0), &label("private")), None);
        let last = memory.without(task(tasks - 1), &label("external")).expect("it is there");
        assert!(last.labels().any(|known| *known == label("external")), "others have it");
        // The one that reads is not the one that is let go, however old it is.
        let again = memory.with(task(0), &BTreeSet::from([label("external")])).expect("it is new");
        assert!(again.tasks.contains_key(&task(0)));
    }
}
