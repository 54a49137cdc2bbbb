//! What can be claimed of a policy set.

use std::collections::BTreeSet;
use std::fmt;

use model::PolicyId;
use pdp::{PolicyText, Provable};
use serde::Serialize;

/// A claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "claim", rename_all = "snake_case")]
pub enum Claim {
    /// Every policy can be evaluated, whatever is asked.
    NothingFails,
    /// The set permits nothing that the other does not.
    PermitsNoMore,
    /// The set permits what the other does, and nothing else.
    Equivalent,
    /// The set permits nothing that the property matches.
    NeverPermits {
        /// The property.
        property: PolicyId,
        /// What it says of itself.
        description: Option<String>,
    },
    /// The set permits all that the property matches.
    AlwaysPermits {
        /// The property.
        property: PolicyId,
        /// What it says of itself.
        description: Option<String>,
    },
    /// By handing work on, once or more often, nobody whom the property names reaches somebody whom the set permits what
    /// it matches.
    NeverReaches {
        /// The property.
        property: PolicyId,
        /// What it says of itself.
        description: Option<String>,
    },
}

/// The properties as they were written, each with its position: without the further parts of those over chains.
pub(crate) fn stated(properties: &Provable) -> impl Iterator<Item = (usize, &PolicyText)> {
    let all = properties.policies.iter();
    let parts: BTreeSet<_> = all.filter_map(|it| it.over_chains.as_ref()).flatten().collect();
    properties.policies.iter().enumerate().filter(move |(_, it)| !parts.contains(&it.id))
}

/// The properties over chains, each with its further parts.
pub(crate) fn over_chains(
    properties: &Provable,
) -> impl Iterator<Item = (&PolicyText, &[PolicyId; 2])> {
    properties.policies.iter().filter_map(|it| Some((it, it.over_chains.as_ref()?)))
}

impl Claim {
    /// What the properties claim: first each of them by itself, in the order of [`stated`], then over chains, in that of
    /// [`over_chains`].
    pub(crate) fn of(properties: &Provable) -> impl Iterator<Item = Self> {
        let said = |policy: &PolicyText| (policy.id.clone(), policy.description.clone());
        let alone = stated(properties).map(move |(_, policy)| {
            let (property, description) = said(policy);
            if policy.is_permit {
                Self::AlwaysPermits { property, description }
            } else {
                Self::NeverPermits { property, description }
            }
        });
        let chained = over_chains(properties).map(move |(policy, _)| {
            let (property, description) = said(policy);
            Self::NeverReaches { property, description }
        });
        alone.chain(chained)
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, property, description) = match self {
            Self::NothingFails => {
                return f.write_str("evaluates each of its policies, whatever is asked");
            }
            Self::PermitsNoMore => {
                return f.write_str("permits nothing that the other set does not");
            }
            Self::Equivalent => return f.write_str("permits exactly what the other set does"),
            Self::NeverPermits { property, description }
            | Self::NeverReaches { property, description } => ("never", property, description),
            Self::AlwaysPermits { property, description } => ("always", property, description),
        };
        if matches!(self, Self::NeverReaches { .. }) {
            let by = "by handing work on";
            write!(f, "{what} lets whom `{property}` names reach what it matches {by}")?;
        } else {
            write!(f, "{what} permits what `{property}` matches")?;
        }
        description.iter().try_for_each(|text| write!(f, ": {text}"))
    }
}
