//! What the files beside the policies say otherwise than before, part by part: which budget, which rule, what of which
//! tool or server, and whose calls that concerns.

use std::collections::BTreeSet;

use model::{AgentName, Harm, Scope, ToolPattern, ToolRef};
use serde::Serialize;

use crate::Bundle;
use crate::budgets::{BUDGETS_FILE, Budgets};
use crate::differing::Change;
use crate::labels::{LABELS_FILE, Labels};
use crate::report::CompileErrors;
use crate::strictness::{STRICTNESS_FILE, Strictness};

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
        all.extend(of_file(LABELS_FILE, sets, labels, Labels::differing));
    }
    if before.strictness != after.strictness {
        all.extend(of_file(STRICTNESS_FILE, sets, Strictness::of, Strictness::differing));
    }
    all
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
