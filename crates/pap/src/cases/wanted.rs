//! What a case says must be answered.

use std::collections::BTreeSet;

use model::{Decision, Obligation, PolicyId, Remedy};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::CaseError;

/// The members of a case that say what must be answered.
const SAID: [&str; 6] = ["by", "expect", "obligations", "only", "reason", "remedies"];

/// Whether `member` is one of those.
pub(super) fn is_said(member: &str) -> bool {
    SAID.contains(&member)
}

/// What must be answered.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    expect: Expected,
    /// Policies that are among those that decide.
    by: Option<BTreeSet<PolicyId>>,
    /// All policies that decide.
    only: Option<BTreeSet<PolicyId>>,
    /// What the permit owes; whatever it does, if it is left out.
    obligations: Option<BTreeSet<Obligation>>,
    /// The code of the denial (`not_granted`, `forbidden`, …); any, if it is left out.
    reason: Option<String>,
    /// What would lift the denial; whatever does, if it is left out.
    remedies: Option<BTreeSet<Remedy>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Expected {
    Permit,
    Deny,
}

impl Wanted {
    /// Reads the members of a case that say it.
    pub(super) fn read(said: Map<String, Value>) -> Result<Self, String> {
        serde_json::from_value(said.into()).map_err(|error| error.to_string())
    }

    /// Whether `decision` is that; else both.
    pub(super) fn held_against(&self, decision: &Decision) -> Result<(), CaseError> {
        if self.is_met_by(decision) {
            return Ok(());
        }
        Err(CaseError::Differs { expected: self.expected(), answer: told(decision) })
    }

    fn is_met_by(&self, decision: &Decision) -> bool {
        let (answer, by, reason) = match decision {
            Decision::Permit(grant) => (Expected::Permit, grant.basis.clone(), "granted"),
            Decision::Deny(denial) => (Expected::Deny, denial.policies(), denial.code()),
        };
        let (obligations, remedies) = match decision {
            Decision::Permit(grant) => (grant.obligations.clone(), BTreeSet::new()),
            Decision::Deny(denial) => (BTreeSet::new(), denial.remedies()),
        };
        answer == self.expect
            && self.by.as_ref().is_none_or(|wanted| wanted.is_subset(&by))
            && self.only.as_ref().is_none_or(|wanted| *wanted == by)
            && self.reason.as_ref().is_none_or(|wanted| wanted == reason)
            && self.obligations.as_ref().is_none_or(|wanted| *wanted == obligations)
            && self.remedies.as_ref().is_none_or(|wanted| *wanted == remedies)
    }

    fn expected(&self) -> String {
        let Self { expect, by, only, reason, obligations, remedies } = self;
        let mut text = if *expect == Expected::Permit { "permit" } else { "deny" }.to_owned();
        for (by, only) in [(by, ""), (only, " only")] {
            let Some(by) = by else { continue };
            let by: Vec<_> = by.iter().map(PolicyId::as_str).collect();
            text = format!("{text} by {}{only}", by.join(", "));
        }
        if let Some(obligations) = obligations {
            text = format!("{text}, owing {}", json!(obligations));
        }
        if let Some(reason) = reason {
            text = format!("{text} ({reason})");
        }
        if let Some(remedies) = remedies {
            text = format!("{text}, lifted by {}", json!(remedies));
        }
        text
    }
}

fn told(decision: &Decision) -> String {
    match decision {
        Decision::Permit(grant) => {
            let basis: Vec<_> = grant.basis.iter().map(PolicyId::as_str).collect();
            let owed = &grant.obligations;
            let owed =
                if owed.is_empty() { String::new() } else { format!(", owing {}", json!(owed)) };
            format!("permit, by {}{owed}", basis.join(", "))
        }
        Decision::Deny(denial) => format!("deny ({}): {denial}", denial.code()),
    }
}
