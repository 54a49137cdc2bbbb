//! Reads the log as an auditor would: every record, its kind, and what is behind its commitments; and has what is
//! found kept beside it.

use std::time::Duration;

use authority::FindingKeeper;
use journal::Journal;
use model::record::Disclosure;
use serde_json::Value;
use store::Store as _;

use super::{World, until};

/// Longer than between two looks at what was found.
const LOOKED: Duration = Duration::from_secs(2);

/// One record, as it stands in the log.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) index: u64,
    pub(crate) text: String,
    pub(crate) value: Value,
}

impl Entry {
    pub(crate) fn is(&self, kind: &str) -> bool {
        self.value["kind"] == kind
    }

    /// The member `name` as text.
    pub(crate) fn text_of(&self, name: &str) -> &str {
        self.value[name].as_str().unwrap_or_default()
    }
}

/// Every record of `journal`.
pub(crate) async fn entries(journal: &Journal) -> Vec<Entry> {
    let entries = journal.store().entries(0, 1_000_000).await.expect("the log can be read");
    let read = |entry: store::LogEntry| Entry {
        index: entry.index,
        text: String::from_utf8(entry.bytes.clone()).expect("records are text"),
        value: serde_json::from_slice(&entry.bytes).expect("records are JSON"),
    };
    entries.into_iter().map(read).collect()
}

impl World {
    /// Every record.
    pub(crate) async fn log(&self) -> Vec<Entry> {
        entries(&self.journal).await
    }

    /// The records of one kind.
    pub(crate) async fn records(&self, kind: &str) -> Vec<Entry> {
        self.log().await.into_iter().filter(|entry| entry.is(kind)).collect()
    }

    /// How the permitted acts ended, in the order of the log.
    pub(crate) async fn outcomes(&self) -> Vec<String> {
        let outcomes = self.records("outcome").await;
        outcomes.iter().map(|entry| entry.text_of("outcome").to_owned()).collect()
    }

    /// Lets `keeper` keep what was found: until so many findings at `least` are kept, and a while longer, as there
    /// may be more.
    pub(crate) async fn keeps(&self, keeper: FindingKeeper, least: usize) {
        let mut keeping = Box::pin(keeper.run());
        let is_kept = || async {
            let kept = self.store.list("finding/", None, least).await;
            kept.expect("it can be read").facts.len() == least
        };
        tokio::select! {
            () = &mut keeping => panic!("the authority is gone"),
            () = until("it is found", is_kept) => {}
        }
        let goes_on = tokio::time::timeout(LOOKED, keeping).await;
        assert!(goes_on.is_err(), "the authority is gone");
    }

    /// What is behind the commitments of `entry`.
    pub(crate) async fn disclosure(&self, entry: &Entry) -> Disclosure {
        let disclosure = self.journal.disclosure(entry.index).await;
        disclosure.expect("it can be read").expect("it was not erased")
    }
}
