//! `budgets.yaml` as it is written: read strictly, and held against the tools that there are.

use std::collections::{BTreeMap, BTreeSet};

use model::{AgentName, Amount, BudgetName, Harm, PurposeId, ToolPattern};
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{Budget, Budgets, Every, Of, Per, Used};
use crate::Bundle;
use crate::beside;
use crate::report::{CompileErrors, Finding};
use crate::shape::{self, Members, Shape};

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
    /// `calls`, or a pointer to an argument.
    amount: Spanned<String>,
    /// How many places the argument may have.
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
}

/// The one that the amount must be in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Currency {
    argument: Spanned<String>,
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
            let message = format!("more than {BUDGETS_MAX} budgets");
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
fn finding(name: &BudgetName, line: u64, message: &str) -> Finding {
    Finding::at(BUDGETS_FILE, usize::try_from(line).ok(), format!("budget `{name}`: {message}"))
}

impl Check<'_> {
    /// The budget as it is written, if nothing is wrong with it.
    fn budget(&mut self, name: BudgetName, written: Written) -> Option<(BudgetName, Budget)> {
        let found_before = self.wrong.len();
        let used = self.used(&name, &written);
        let places = match &used {
            Used::Argument { places, .. } => *places,
            Used::Call => 0,
        };
        let cap = written.cap.value;
        let mut wrong = |line, message: &str| self.wrong.push(finding(&name, line, message));
        if !cap.has_places(places) {
            let line = written.cap.referenced.line();
            wrong(line, "its `cap` has more `places` than its amount");
        }
        let WrittenOf { tools, harm, agents, purposes } = written.of;
        if [tools.len(), agents.len(), purposes.len()].iter().any(|it| *it > MATCHED_MAX) {
            let line = written.amount.referenced.line();
            wrong(line, &format!("more than {MATCHED_MAX} tools, agents or purposes"));
        }
        for tool in &tools {
            self.tools(&name, tool, &used);
        }
        let tools = tools.into_iter().map(|tool| tool.value).collect();
        let of = Of { tools, harm, agents, purposes };
        let Written { description, per, every, .. } = written;
        let budget = Budget { description, of, used, cap, per, every };
        (self.wrong.len() == found_before).then_some((name, budget))
    }

    /// What a call uses of it.
    fn used(&mut self, name: &BudgetName, written: &Written) -> Used {
        let Written { amount, places, currency, .. } = written;
        let mut wrong = |line, message: &str| self.wrong.push(finding(name, line, message));
        let line = amount.referenced.line();
        if amount.value == CALLS {
            if *places > 0 || currency.is_some() {
                wrong(line, "calls have no `places` and no `currency`");
            }
            return Used::Call;
        }
        for place in [Some(amount), currency.as_ref().map(|it| &it.argument)] {
            let Some(Spanned { value, referenced, .. }) = place else { continue };
            if let Err(message) = beside::is_pointer(value) {
                wrong(referenced.line(), &message);
            }
        }
        if *places > Amount::PLACES_MAX {
            wrong(line, &format!("more than {} `places`", Amount::PLACES_MAX));
        }
        let currency = currency.as_ref();
        let currency = currency.map(|it| (it.argument.value.clone(), it.equals.clone()));
        Used::Argument { pointer: amount.value.clone(), places: *places, currency }
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
            let Err(why) = used.can_be_read(&arguments) else { continue };
            let found = finding(name, line, &format!("calls of `{tool}` {why}"));
            let is_always = matches!(why, Unread::Always(_)) && pattern.exact().is_some();
            if is_always { &mut self.wrong } else { &mut self.doubtful }.push(found);
        }
    }
}

/// Why calls of a tool are denied.
#[derive(Debug, thiserror::Error)]
enum Unread {
    #[error("have no argument `{0}` of a type that can be counted, so all are denied")]
    Always(String),
    #[error("may leave out `{0}`, and are denied then")]
    Sometimes(String),
}

impl Used {
    /// Whether it can be read what calls with such arguments use.
    fn can_be_read(&self, arguments: &Members) -> Result<(), Unread> {
        let Self::Argument { pointer, currency, .. } = self else { return Ok(()) };
        let is_amount = |it: &Shape| matches!(it, Shape::Long | Shape::Decimal | Shape::Text);
        argument(arguments, pointer, is_amount)?;
        match currency {
            Some((pointer, _)) => argument(arguments, pointer, |it| *it == Shape::Text),
            None => Ok(()),
        }
    }
}

/// Whether there is always an argument at `pointer`, of a type that `fits`.
fn argument(
    arguments: &Members,
    pointer: &str,
    fits: impl Fn(&Shape) -> bool,
) -> Result<(), Unread> {
    let always = || Unread::Always(pointer.to_owned());
    let mut tokens = pointer.split('/').skip(1).peekable();
    let (mut members, mut is_required) = (arguments, true);
    while let Some(token) = tokens.next() {
        let token = token.replace("~1", "/").replace("~0", "~");
        let member = members.get(&token).ok_or_else(always)?;
        is_required &= member.required;
        match (&member.shape, tokens.peek()) {
            (Shape::Record(below), Some(_)) => members = below,
            (shape, None) if fits(shape) => {}
            _ => return Err(always()),
        }
    }
    if is_required { Ok(()) } else { Err(Unread::Sometimes(pointer.to_owned())) }
}
