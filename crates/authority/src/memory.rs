//! What a process of the host has read stays with it from task to task, until it ends.
//!
//! A task has a session of its own; the process that works on it may have worked on another one before,
//! and remembers. So what joins a session joins what is kept of the process, and each decision on what an
//! instance does counts both.

use std::collections::BTreeSet;

use model::{FactKey, Label};
use store::Effect;

use crate::FactsError;
use crate::reader::Reader;

/// The labels of what the process of an instance has read, by where they are kept: first those which count
/// for it. None, where the host told of no process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Vec<(FactKey, BTreeSet<Label>)>);

impl Memory {
    /// What is kept at `keys`.
    pub(crate) async fn at(
        keys: Vec<FactKey>,
        reader: &mut Reader<'_>,
    ) -> Result<Self, FactsError> {
        let mut all = Vec::with_capacity(keys.len());
        for key in keys {
            let labels = reader.find::<BTreeSet<Label>>(key.clone()).await?.unwrap_or_default();
            all.push((key, labels));
        }
        Ok(Self(all))
    }

    /// The labels that count for the instance.
    pub(crate) fn labels(&self) -> impl Iterator<Item = &Label> {
        self.0.first().into_iter().flat_map(|(_, labels)| labels)
    }

    /// What has it remember `labels`: only what it does not yet.
    pub(crate) fn with(&self, labels: &BTreeSet<Label>) -> impl Iterator<Item = Effect> {
        lacking(&self.0, labels)
    }
}

/// What puts `labels` on the `places` that lack some of them.
pub(crate) fn lacking(
    places: &[(FactKey, BTreeSet<Label>)],
    labels: &BTreeSet<Label>,
) -> impl Iterator<Item = Effect> {
    let lacking = places.iter().filter(|(_, known)| !known.is_superset(labels));
    lacking.map(|(key, known)| {
        let all: BTreeSet<_> = known.union(labels).collect();
        Effect::Put { key: key.clone(), body: json::canonical_of(&all) }
    })
}
