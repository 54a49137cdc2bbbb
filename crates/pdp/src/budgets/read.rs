//! `budgets.yaml` as it is written: read strictly, and held against the tools that there are.

use std::collections::{BTreeMap, BTreeSet};

use model::{AgentName, Amount, BudgetName, Harm, PurposeId, ToolPattern};
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use super::expression::Expression;
use super::path::Path;
use super::used::{Unread, Used};
use super::when::When;
use super::{Budget, Budgets, Every, Of, Per};
use crate::Bundle;
use crate::beside;
use crate::report::{CompileErrors, Finding};
use crate::shape;

/// The name of the file, beside the policies.
pub const BUDGETS_FILE: &str = "budgets.yaml";

/// The most budgets of one policy set.
pub const BUDGETS_MAX: usize = 64;

/// The most tools, agents and purposes that one budget is for.
const MATCHED_MAX: usize = 64;

/// The word for an amount that is one for each call.
pub(super) const CALLS: &str = "calls";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    budgets: BTreeMap<BudgetName, Written>,
}

/// A budget as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    description: String,
    #[serde(rename = "match")]
    of: WrittenOf,
    /// `calls`, or what arguments say.
    amount: Spanned<Value>,
    /// How many places that may have.
    #[serde(default)]
    places: u8,
    currency: Option<Currency>,
    cap: Spanned<Amount>,
    per: Per,
    every: Option<Every>,
}

/// The calls that it is for.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenOf {
    tools: Vec<Spanned<ToolPattern>>,
    harm: BTreeSet<Harm>,
    agents: BTreeSet<AgentName>,
    purposes: BTreeSet<PurposeId>,
    /// What else must be so, as a policy says it.
    when: Option<Spanned<String>>,
}

/// The one that the amount must be in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Currency {
    argument: Spanned<Path>,
    equals: String,
}

impl Budgets {
    /// Reads the file of `bundle`, if it has one, and holds it against the tools that there are; gives what
    /// is doubtful, too.
    pub(crate) fn read(bundle: &Bundle) -> Result<(Self, Vec<Finding>), CompileErrors> {
        let Some(text) = &bundle.budgets else { return Ok((Self::default(), Vec::new())) };
        let File { budgets } = beside::read(BUDGETS_FILE, text)?;
        let mut check = Check { bundle, wrong: Vec::new(), doubtful: Vec::new() };
        if budgets.len() > BUDGETS_MAX {
            let message = format!("more than {BUDGETS_MAX} budgets: have one count several tools");
            check.wrong.push(Finding::at(BUDGETS_FILE, None, message));
        }
        let read = budgets.into_iter().filter_map(|(name, it)| check.budget(name, it)).collect();
        if check.wrong.is_empty() {
            Ok((Self(read), check.doubtful))
        } else {
            Err(CompileErrors(check.wrong))
        }
    }
}

/// Looks for what is wrong in a file that could be read, and for what is doubtful.
struct Check<'a> {
    bundle: &'a Bundle,
    wrong: Vec<Finding>,
    doubtful: Vec<Finding>,
}

/// What is the matter with the budget `name`, in a line of the file.
pub(super) fn finding(name: &BudgetName, line: u64, message: &str) -> Finding {
    Finding::at(BUDGETS_FILE, usize::try_from(line).ok(), format!("budget `{name}`: {message}"))
}

impl Check<'_> {
    /// The budget as it is written, if nothing is wrong with it.
    fn budget(&mut self, name: BudgetName, written: Written) -> Option<(BudgetName, Budget)> {
        let found_before = self.wrong.len();
        let used = self.used(&name, &written);
        let cap = written.cap.value;
        let mut wrong = |line, message: &str| self.wrong.push(finding(&name, line, message));
        if !cap.has_places(written.places) {
            let line = written.cap.referenced.line();
            wrong(
                line,
                "its `cap` has more places than its amount: say more `places`, or round it",
            );
        }
        let WrittenOf { tools, harm, agents, purposes, when } = written.of;
        if [tools.len(), agents.len(), purposes.len()].iter().any(|it| *it > MATCHED_MAX) {
            let line = written.amount.referenced.line();
            wrong(
                line,
                &format!(
                    "more than {MATCHED_MAX} tools, agents or purposes: name a server (`SERVER/*`), or write several"
                ),
            );
        }
        let used = used.filter(|_| self.wrong.len() == found_before);
        if let Some(used) = &used {
            for tool in &tools {
                self.tools(&name, tool, used);
            }
        }
        let tools: Vec<_> = tools.into_iter().map(|tool| tool.value).collect();
        let when = when.and_then(|when| self.when(&name, &when, &tools));
        let of = Of { tools, harm, agents, purposes, when };
        let Written { description, per, every, .. } = written;
        let used = used.filter(|_| self.wrong.len() == found_before)?;
        Some((name, Budget { description, of, used, cap, per, every }))
    }

    /// What a call uses of it, if nothing is wrong with what is written for the amount.
    fn used(&mut self, name: &BudgetName, written: &Written) -> Option<Used> {
        let Written { amount, places, currency, .. } = written;
        let mut wrong = |line, message: &str| self.wrong.push(finding(name, line, message));
        let line = amount.referenced.line();
        if amount.value.as_str() == Some(CALLS) {
            if *places > 0 || currency.is_some() {
                wrong(line, "calls have no `places` and no `currency`: take these out");
            }
            return Some(Used::Call);
        }
        let read = Expression::read(&amount.value, *places);
        let amount = read.map_err(|message| wrong(line, &message)).ok();
        if let Some(Currency { argument: Spanned { value, referenced, .. }, .. }) = currency
            && let Err(message) = value.is_right()
        {
            wrong(referenced.line(), &message);
        }
        if *places > Amount::PLACES_MAX {
            wrong(line, &format!("more than {} `places`: say fewer", Amount::PLACES_MAX));
        }
        let amount = amount?;
        if let Some(Currency { argument, .. }) = currency
            && !amount.paths().iter().all(|path| argument.value.goes_with(path))
        {
            wrong(line, "its `currency` is in other lists than its amount: name both in the same");
        }
        let currency = currency.as_ref();
        let currency = currency.map(|it| (it.argument.value.clone(), it.equals.clone()));
        Some(Used::Arguments { amount, places: *places, currency })
    }

    /// What else must be so for it to be for a call of `tools`.
    fn when(
        &mut self,
        name: &BudgetName,
        Spanned { value, referenced, .. }: &Spanned<String>,
        tools: &[ToolPattern],
    ) -> Option<When> {
        let line = referenced.line();
        match When::read(name, (value, line), tools) {
            Ok(when) => {
                if when.can_overflow() {
                    let why = "`when` calculates: calls are denied for which that overflows";
                    self.doubtful.push(finding(name, line, why));
                }
                Some(when)
            }
            Err(why) => {
                self.wrong.push(finding(name, line, &format!("in `when`, {why}")));
                None
            }
        }
    }

    /// A tool that is named by its own name must have the arguments. Of the others of a server not all may be
    /// meant, so it is only told that their calls are denied.
    fn tools(&mut self, name: &BudgetName, pattern: &Spanned<ToolPattern>, used: &Used) {
        let (line, pattern) = (pattern.referenced.line(), &pattern.value);
        let tools = self.bundle.tools.iter().filter(|(tool, _)| pattern.covers(tool));
        let mut covered = tools.peekable();
        if covered.peek().is_none() {
            self.doubtful.push(finding(name, line, &format!("there is no tool `{pattern}`")));
        }
        for (tool, schema) in covered {
            let arguments = shape::of_arguments(&schema.input_schema);
            let Some(why) = used.unread(&arguments) else { continue };
            let found = finding(name, line, &format!("calls of `{tool}` {why}"));
            let is_always = matches!(why, Unread::Always(_)) && pattern.exact().is_some();
            if is_always { &mut self.wrong } else { &mut self.doubtful }.push(found);
        }
    }
}
