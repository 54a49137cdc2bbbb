//! What can be claimed of a policy set.

use std::fmt;

use model::PolicyId;
use pdp::Provable;
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
}

impl Claim {
    /// What the properties claim.
    pub(crate) fn of(properties: &Provable) -> impl Iterator<Item = Self> {
        properties.policies.iter().map(|policy| {
            let (property, description) = (policy.id.clone(), policy.description.clone());
            if policy.is_permit {
                Self::AlwaysPermits { property, description }
            } else {
                Self::NeverPermits { property, description }
            }
        })
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
            Self::NeverPermits { property, description } => ("never", property, description),
            Self::AlwaysPermits { property, description } => ("always", property, description),
        };
        write!(f, "{what} permits what `{property}` matches")?;
        description.iter().try_for_each(|text| write!(f, ": {text}"))
    }
}
