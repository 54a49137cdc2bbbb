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

    /// The same, once `labels` are read in `task`; none if that changes nothing. Of a task that was told apart and is
    /// no longer, it changes nothing what is remembered anyway: else as many that go on at once would each let go of
    /// another one, with each act.
    pub fn with(&self, task: TaskId, labels: &BTreeSet<Label>) -> Option<Self> {
        let is_full = self.tasks.len() >= REMEMBERED_TASKS_MAX;
        let is_let_go = || is_full && self.tasks.keys().next().is_some_and(|oldest| task < *oldest);
        let is_known = match self.tasks.get(&task) {
            Some(known) => known.is_superset(labels),
            None => labels.is_empty() || (is_let_go() && self.before.is_superset(labels)),
        };
        if is_known {
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

    /// Replicas that share what they read do not wait for each other, however many there are.
    #[test]
    fn of_many_tasks_at_once_none_makes_another_one_write() {
        let labels = BTreeSet::from(["private".parse::<Label>().expect("a label")]);
        let tasks: Vec<_> = (0..200).map(|number| TaskId::from_bytes([number; 16])).collect();
        let mut memory = ProcessMemory::default();
        for task in &tasks {
            memory = memory.with(*task, &labels).expect("it is new");
        }
        for task in tasks.iter().chain(tasks.iter().rev()) {
            assert_eq!(memory.with(*task, &labels), None);
        }
        // The last ones are told apart: by them one knows whether there is work.
        assert!(memory.tasks.keys().eq(&tasks[tasks.len() - REMEMBERED_TASKS_MAX..]));
    }

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
        // What is remembered anyway is not told apart again: the last ones are.
        assert_eq!(memory.with(task(0), &BTreeSet::from([label("private")])), None);
        // The one that reads is not the one that is let go, however old it is.
        let again = memory.with(task(0), &BTreeSet::from([label("external")])).expect("it is new");
        assert!(again.tasks.contains_key(&task(0)));
    }
}
