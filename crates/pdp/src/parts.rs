//! What the files beside the policies say otherwise than before, part by part: which budget, which rule, what of which
//! tool or server, and whose calls that concerns.

use std::collections::BTreeSet;

use cedar_policy::{Effect, Policy};
use model::{AgentName, Harm, Scope, ToolPattern, ToolRef};
use serde::Serialize;

use crate::budgets::{BUDGETS_FILE, Budgets};
use crate::differing::{Change, is_observed};
use crate::format::policies;
use crate::labels::{LABELS_FILE, Labels};
use crate::report::CompileErrors;
use crate::strictness::{STRICTNESS_FILE, Strictness};
use crate::{Bundle, lifting};

/// One part of a file beside the policies that says something else.
#[derive(Clone, Debug, Serialize)]
pub struct PartChange {
    /// The file.
    #[serde(skip)]
    pub file: &'static str,
    /// What of it: a budget, a rule, a tool.
    pub part: String,
    /// How it is otherwise.
    pub is: Change,
    /// Whether it does not surely hold back as much as it did.
    pub widens: bool,
    /// The calls that it is about: those that one of these covers.
    #[serde(skip)]
    pub(crate) of: Vec<Calls>,
}

/// Calls by who makes them and of what; whichever they are, where nothing is said of that.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls {
    pub(crate) agents: BTreeSet<AgentName>,
    /// The harm of which the agent may do some.
    pub(crate) may: BTreeSet<Harm>,
    pub(crate) tools: Vec<ToolPattern>,
    /// Tools that it is not about all the same.
    pub(crate) but: BTreeSet<ToolRef>,
    /// The harm of which the tool does some.
    pub(crate) harm: BTreeSet<Harm>,
}

/// What the files beside the policies of `after` say otherwise than those of `before`, as far as they only hold back:
/// labels, budgets, strictness. What only describes is no matter.
pub fn parts(before: &Bundle, after: &Bundle) -> Vec<PartChange> {
    let sets = [before, after];
    let labels = |bundle: &Bundle| {
        bundle.labels.as_deref().map(Labels::read).transpose().map(Option::unwrap_or_default)
    };
    let mut all = Vec::new();
    if before.budgets != after.budgets {
        all.extend(of_file(BUDGETS_FILE, sets, Budgets::of, Budgets::differing));
    }
    if before.labels != after.labels {
        let lifts = reading_lifts(after);
        let parts = of_file(LABELS_FILE, sets, labels, Labels::differing).into_iter();
        all.extend(parts.map(|part| PartChange { widens: part.widens || lifts, ..part }));
    }
    if before.strictness != after.strictness {
        all.extend(of_file(STRICTNESS_FILE, sets, Strictness::of, Strictness::differing));
    }
    all
}

/// Whether by `bundle` more may be done the more is read: a policy in force says so, or a budget does not count then. So
/// what is said to carry a label for the first time holds back less. That something is trusted for the first time is named
/// in any case.
fn reading_lifts(bundle: &Bundle) -> bool {
    let (Ok(policies), Ok(budgets)) = (policies(&bundle.policies), Budgets::of(bundle)) else {
        return true;
    };
    let lifts = |(policy, effect): (&Policy, Effect)| {
        let by = policy.to_json().map(|syntax| lifting::of(&syntax, effect));
        by.map_or(true, |by| by.iter().any(|member| *member != lifting::TRUSTED))
    };
    let in_force = policies.values().filter(|policy| !is_observed(policy));
    let conditions = budgets.conditions().flat_map(|(when, _)| when.policies());
    // Where it is met less is left, as where a forbid applies.
    let mut counted = conditions.flat_map(|(_, policy)| policy.alone.policies());
    in_force.map(|policy| (policy, policy.effect())).any(lifts)
        || counted.any(|policy| lifts((policy, Effect::Forbid)))
}

fn of_file<T>(
    file: &'static str,
    sets: [&Bundle; 2],
    of: impl Fn(&Bundle) -> Result<T, CompileErrors>,
    differing: impl Fn(&T, &T) -> Vec<PartChange>,
) -> Vec<PartChange> {
    let [before, after] = sets.map(of);
    match (before, after) {
        (Ok(before), Ok(after)) => differing(&before, &after),
        // What cannot be read is not known to hold anything back, nor how much it did.
        (Err(_), _) | (_, Err(_)) => vec![PartChange {
            file,
            part: "what cannot be read".to_owned(),
            is: Change::Changed,
            widens: true,
            of: vec![Calls::default()],
        }],
    }
}

impl PartChange {
    /// Whether it is about calls of `tool`, which does this `harm`, by instances of `agent` for themselves, to whom no
    /// more may be given than `ceiling`.
    pub fn concerns(
        &self,
        (agent, ceiling): (&AgentName, &Scope),
        (tool, harm): (&ToolRef, &BTreeSet<Harm>),
    ) -> bool {
        self.of.iter().any(|calls| {
            let Calls { agents, may, tools, but, harm: does } = calls;
            // Reading is in every scope.
            let is_given = |class: &Harm| *class == Harm::ReadsData || ceiling.harm.contains(class);
            (agents.is_empty() || agents.contains(agent))
                && (may.is_empty() || may.iter().any(is_given))
                && (tools.is_empty() || tools.iter().any(|pattern| pattern.covers(tool)))
                && (does.is_empty() || !does.is_disjoint(harm))
                && !but.contains(tool)
        })
    }
}
