//! Where the arguments of a call come from, as far as that is known.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// From where something comes, that which says most for it first: what is of several is of the last of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The mandate names it.
    Mandate,
    /// A result without a label of outsiders said it.
    Trusted,
    /// Nobody knows.
    Unknown,
    /// A result with a label of outsiders said it.
    Untrusted,
}

/// Where the arguments at the top of a call come from, by their names: each is in one of the sets, where
/// policy looks at them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// What the mandate names.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub mandate: BTreeSet<String>,
    /// What a result said without a label of outsiders.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub trusted: BTreeSet<String>,
    /// What nobody knows of.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unknown: BTreeSet<String>,
    /// What a result said with a label of outsiders.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub untrusted: BTreeSet<String>,
}

impl Provenance {
    /// Whether it says nothing of any argument.
    pub fn is_empty(&self) -> bool {
        self.sets().iter().all(|names| names.is_empty())
    }

    /// The sets: of the mandate, trusted, unknown and untrusted.
    pub const fn sets(&self) -> [&BTreeSet<String>; 4] {
        [&self.mandate, &self.trusted, &self.unknown, &self.untrusted]
    }

    /// Says of the argument `name` that it comes from `origin`.
    pub fn insert(&mut self, name: String, origin: Origin) {
        let names = match origin {
            Origin::Mandate => &mut self.mandate,
            Origin::Trusted => &mut self.trusted,
            Origin::Unknown => &mut self.unknown,
            Origin::Untrusted => &mut self.untrusted,
        };
        names.insert(name);
    }
}
