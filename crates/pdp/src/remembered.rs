//! What of a session is remembered only where some policy looks at it: of a set that looks at none of it,
//! nobody need write anything down.

use std::collections::{BTreeMap, BTreeSet};

use model::{Sha256Digest, ToolRef};

use crate::context::USED_TOOLS;
use crate::labels::{LABELS_FILE, Labels};
use crate::report::Finding;
use crate::snapshot::{Compiled, CompiledTool};

/// The most tools of which the policies of one set look at how often each was called.
pub const COUNTED_TOOLS_MAX: usize = 64;

/// What some policies look at that is remembered for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Which tools were called.
    pub used_tools: bool,
    /// How often each of these was called.
    pub counted: BTreeSet<ToolRef>,
    /// What results said, by which one can tell where arguments come from: by the `labels.yaml` with this
    /// digest, which says whose word it is.
    pub said: Option<Sha256Digest>,
    /// Whether a policy in force looks at that, or the condition of a budget: else it is only observed, and nothing may
    /// depend on it.
    pub is_said_decisive: bool,
}

impl Compiled {
    /// Whether it has a say and looks at something of a session that is `unremembered`.
    pub(crate) fn lacks(&self, unremembered: &BTreeSet<String>) -> bool {
        !self.observe && !self.attributes.is_disjoint(unremembered)
    }
}

impl Remembered {
    /// What `policies` look at, of which these are the tools and what is said of labels.
    pub(crate) fn by<'a>(
        policies: impl Iterator<Item = &'a Compiled>,
        (tools, labels): (&BTreeMap<ToolRef, CompiledTool>, Option<&str>),
    ) -> Self {
        let mut names = BTreeSet::<&str>::new();
        let (mut looks, mut is_said_decisive) = (false, false);
        for policy in policies {
            names.extend(policy.attributes.iter().map(String::as_str));
            looks |= policy.looks_at_provenance;
            is_said_decisive |= policy.looks_at_provenance && !policy.observe;
        }
        let counted = names.iter().filter_map(|name| name.parse::<ToolRef>().ok());
        Self {
            used_tools: names.contains(USED_TOOLS),
            counted: counted.filter(|tool| tools.contains_key(tool)).collect(),
            said: looks.then(|| Sha256Digest::of(labels.unwrap_or_default().as_bytes())),
            is_said_decisive,
        }
    }

    /// What of that is of what was called in a session, as policy names it.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let used = self.used_tools.then(|| USED_TOOLS.to_owned());
        used.into_iter().chain(self.counted.iter().map(ToString::to_string))
    }

    /// Whether it is something that is not remembered for who looks at `other`.
    pub(crate) fn is_beyond(&self, other: &Self) -> bool {
        (self.used_tools && !other.used_tools)
            || (self.said.is_some() && self.said != other.said)
            || !self.counted.is_subset(&other.counted)
    }

    /// What is wrong with looking at that, in a set that says this of labels.
    pub(crate) fn wrong(&self, labels: &Labels) -> Vec<Finding> {
        let mut found = Vec::new();
        if self.counted.len() > COUNTED_TOOLS_MAX {
            let message = format!(
                "counts the calls of more than {COUNTED_TOOLS_MAX} tools: count those of others by a budget"
            );
            found.push(Finding::general(message));
        }
        // Nobody would be an outsider, and so all that is read trusted.
        if self.said.is_some() && labels.outsiders().is_empty() {
            let message = "a policy looks at `provenance`: say which labels others' texts have, in \
                           `outsiders`";
            found.push(Finding::at(LABELS_FILE, None, message.to_owned()));
        }
        found
    }
}
