//! What a policy set says of how much may be used up (`budgets.yaml`).
//!
//! A budget says which calls it is for, what each of them uses of it, and how much there is. Here it is only
//! said what a call uses; the commit that permits the call counts it, or refuses it.
//!
//! INVARIANT: a call of which it cannot be read what it uses is denied (`n_088_…`): an amount that is missing,
//! of another type, below zero or finer than the budget counts, more than an amount can be, a currency that is another one, and a
//! condition that fails, or looks at what has no exact value.

mod expression;
mod path;
mod read;
mod used;
mod when;

use std::collections::{BTreeMap, BTreeSet};

use model::{
    AccessRequest, AgentName, Amount, BudgetName, Denial, Facts, Harm, Hop, PrincipalFacts,
    PurposeId, ResourceRef, Spend, Standing, Timestamp, ToolPattern, ToolRef,
};
use serde::{Deserialize, Serialize};

use crate::Bundle;
use crate::candidates::{Asked, Placed};
use crate::differing::Change;
use crate::evaluate::Question;
use crate::parts::{Calls, PartChange};
use crate::report::{CompileErrors, Finding};
use crate::snapshot::Compiled;
pub use read::{BUDGETS_FILE, BUDGETS_MAX};
use used::Used;
pub(crate) use when::When;

/// Who uses up what is per person where the work is for none. No person's id has these characters: whoever
/// works for nobody has no more than one person has.
const NOBODY: &str = "(nobody)";

/// How much may be used up, of what, and by whom.
#[derive(Debug, Default)]
pub struct Budgets(BTreeMap<BudgetName, Budget>);

#[derive(Debug)]
struct Budget {
    description: String,
    of: Of,
    used: Used,
    cap: Amount,
    per: Per,
    every: Option<Every>,
}

/// The calls that a budget is for: those that meet all that is said.
#[derive(Debug)]
struct Of {
    tools: Vec<ToolPattern>,
    harm: BTreeSet<Harm>,
    /// The agents of whose calls: also of those that they hand on.
    agents: BTreeSet<AgentName>,
    purposes: BTreeSet<PurposeId>,
    when: Option<When>,
}

/// Who uses it up together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// A root task with all that is handed on of it.
    Task,
    /// An instance.
    Instance,
    /// All instances of an agent.
    Agent,
    /// All agents of a sponsor.
    Sponsor,
    /// All tasks under a mandate, with all that is handed on of them.
    Mandate,
    /// All work on behalf of a person. What is for nobody is used up together.
    Person,
    /// All of them.
    Deployment,
}

/// After which time there is all of it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Every {
    /// At each full hour.
    Hour,
    /// At midnight UTC.
    Day,
}

/// A budget as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown<'a> {
    /// Its name.
    pub budget: &'a BudgetName,
    /// What it is for.
    pub description: &'a str,
    /// `calls`, or what of the arguments says how much.
    pub amount: String,
    /// How much there is.
    pub cap: Amount,
    /// Who uses it up together.
    pub per: Per,
    /// After which time there is all of it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<Every>,
}

impl Every {
    const fn seconds(self) -> i64 {
        match self {
            Self::Hour => 60 * 60,
            Self::Day => 24 * 60 * 60,
        }
    }

    /// Which one `now` is in, since the epoch.
    const fn number(self, now: Timestamp) -> i64 {
        now.as_seconds().div_euclid(self.seconds())
    }
}

impl Per {
    /// How the places begin, after their time, in which it is used up.
    pub const fn place(self) -> &'static str {
        match self {
            Self::Task => "task/",
            Self::Instance => "instance/",
            Self::Agent => "agent/",
            Self::Sponsor => "sponsor/",
            Self::Mandate => "mandate/",
            Self::Person => "person/",
            Self::Deployment => "deployment",
        }
    }
}

impl Budgets {
    /// What the act that `request` asks for uses up, which `actor` does and of which policies were asked
    /// `question`.
    pub(crate) fn spent_by(
        &self,
        (request, facts): (&AccessRequest, &Facts),
        (question, actor): (&Question<'_>, &Placed),
    ) -> Result<Vec<Spend>, Denial> {
        let mut spends = Vec::new();
        for (name, budget, places) in self.concerning(request, facts) {
            let unread = || Denial::BudgetUnread { budget: name.clone() };
            let when = budget.of.when.as_ref();
            let is_met = when.map_or(Some(true), |when| when.is_met(question, actor));
            if !is_met.ok_or_else(unread)? {
                continue;
            }
            let amount = budget.used.by(&request.input).ok_or_else(unread)?;
            let cap = budget.cap;
            let spend = |place| Spend { budget: name.clone(), place, amount, cap };
            spends.extend(places.into_iter().map(spend));
        }
        Ok(spends)
    }

    /// What counts what such an act can use up of them, whatever else is asked of it.
    pub fn counters_of(&self, request: &AccessRequest, facts: &Facts) -> BTreeSet<String> {
        let of_budget = |(name, budget, places): (&BudgetName, &Budget, BTreeSet<String>)| {
            let (budget, amount, cap) = (name.clone(), Amount::default(), budget.cap);
            let spend = move |place| Spend { budget: budget.clone(), place, amount, cap };
            places.into_iter().map(move |place| spend(place).counter())
        };
        self.concerning(request, facts).flat_map(of_budget).collect()
    }

    /// Those that are for such an act but for their conditions, each with where it is used up.
    fn concerning(
        &self,
        request: &AccessRequest,
        facts: &Facts,
    ) -> impl Iterator<Item = (&BudgetName, &Budget, BTreeSet<String>)> {
        let places = move |budget: &Budget| match (&request.resource, &facts.principal) {
            (ResourceRef::Tool(tool), PrincipalFacts::Instance(standing)) => {
                budget.places((tool, facts), standing)
            }
            _ => BTreeSet::new(),
        };
        let all = self.0.iter().map(move |(name, budget)| (name, budget, places(budget)));
        all.filter(|(_, _, places)| !places.is_empty())
    }

    /// What is otherwise in `after`, budget by budget. One widens that is not there any more, for all those calls,
    /// counted in the same places, and with no higher cap.
    pub(crate) fn differing(&self, after: &Self) -> Vec<PartChange> {
        let names: BTreeSet<&BudgetName> = self.0.keys().chain(after.0.keys()).collect();
        let change = |name: &BudgetName| {
            let (old, new) = (self.0.get(name), after.0.get(name));
            let (widens, narrows) = match (old, new) {
                (Some(old), Some(new)) => (!new.is_at_least(old), !old.is_at_least(new)),
                (old, new) => (old.is_some(), new.is_some()),
            };
            let is = match (old, new) {
                _ if !widens && !narrows => return None,
                (None, _) => Change::New,
                (_, None) => Change::Gone,
                _ => Change::Changed,
            };
            let of = [old, new].into_iter().flatten().map(|budget| budget.of.calls()).collect();
            let part = format!("budget `{name}`");
            Some(PartChange { file: BUDGETS_FILE, part, is, widens, of })
        };
        names.into_iter().filter_map(change).collect()
    }

    /// Those of `bundle`, which is held against no tools but its own.
    pub fn of(bundle: &Bundle) -> Result<Self, CompileErrors> {
        Self::read(bundle).map(|(budgets, _)| budgets)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Since when what was used up of them still is at `now`.
    pub fn used_up_since(&self, now: Timestamp) -> Timestamp {
        let begun = |budget: &Budget| match budget.every {
            Some(every) => Timestamp::from_seconds(every.number(now) * every.seconds()),
            None => Timestamp::from_millis(0),
        };
        self.0.values().map(begun).min().unwrap_or(now)
    }

    /// All of them, each with the time that is at `now`, as places begin in which it is used up.
    pub fn all(&self, now: Timestamp) -> impl Iterator<Item = (Shown<'_>, String)> {
        self.0.iter().map(move |(name, budget)| {
            let Budget { description, used, cap, per, every, .. } = budget;
            let amount = used.to_string();
            let (cap, per, every) = (*cap, *per, *every);
            let shown = Shown { budget: name, description, amount, cap, per, every };
            (shown, window(every, now))
        })
    }

    /// The conditions, each with what tells of something that is the matter with it.
    pub(crate) fn conditions(&self) -> impl Iterator<Item = (&When, impl Fn(&str) -> Finding)> {
        self.0.iter().filter_map(|(name, budget)| {
            let when = budget.of.when.as_ref()?;
            let line = when.line;
            let told = move |why: &str| read::finding(name, line, &format!("in `when`, {why}"));
            Some((when, told))
        })
    }

    /// What is asked of such an act for conditions of budgets.
    pub(crate) fn asked(&self, asked: &Asked<'_>) -> impl Iterator<Item = &Compiled> {
        self.0.values().filter_map(|budget| budget.of.when.as_ref()?.asked(asked))
    }

    /// Whether there is one of that name.
    pub fn has(&self, name: &BudgetName) -> bool {
        self.0.contains_key(name)
    }
}

impl Budget {
    fn is_at_least(&self, other: &Self) -> bool {
        let Self { description: _, of, used, cap, per, every } = self;
        let is_counted_alike = (used, per, every) == (&other.used, &other.per, &other.every);
        is_counted_alike && *cap <= other.cap && of.is_for_all_of(&other.of)
    }

    /// In which time a call of `tool` uses it up, and by whom; nowhere, if it is for other calls. Who handed
    /// the work on uses it up as whoever does it: nobody gets more by having it done.
    fn places(&self, (tool, facts): (&ToolRef, &Facts), standing: &Standing) -> BTreeSet<String> {
        let Of { tools, harm, agents, purposes, when: _ } = &self.of;
        let is_tool = tools.is_empty() || tools.iter().any(|it| it.covers(tool));
        // Of a tool of which nothing is known it is not known either that it does no such harm.
        let does = |of: &BTreeSet<Harm>| !harm.is_disjoint(of);
        let is_harm = harm.is_empty() || facts.tool.as_ref().is_none_or(|it| does(&it.harm));
        let is_purpose = purposes.is_empty() || purposes.contains(&standing.purpose.id);
        if !(is_tool && is_harm && is_purpose) {
            return BTreeSet::new();
        }
        let place = format!("{}/{}", window(self.every, facts.now), self.per.place());
        let is_one = |hop: &Hop<'_>| agents.is_empty() || agents.contains(&hop.agent.name);
        let of_hop = |hop: Hop<'_>| match self.per {
            Per::Task => format!("{place}{}", standing.root().id),
            Per::Instance => format!("{place}{}", hop.instance.id),
            Per::Agent => format!("{place}{}", hop.agent.name),
            Per::Sponsor => format!("{place}{}", hop.sponsor.id),
            Per::Mandate => format!("{place}{}", standing.mandate.id),
            Per::Person => {
                let person = standing.subject.as_ref().map_or(NOBODY, |it| it.id.as_str());
                format!("{place}{person}")
            }
            Per::Deployment => place.clone(),
        };
        standing.hops().filter(is_one).map(of_hop).collect()
    }
}

impl Of {
    fn calls(&self) -> Calls {
        let Self { tools, harm, agents, purposes: _, when: _ } = self;
        let (agents, tools, harm) = (agents.clone(), tools.clone(), harm.clone());
        Calls { agents, tools, harm, ..Calls::default() }
    }

    /// Whether it is for all calls that `other` is for.
    fn is_for_all_of(&self, other: &Self) -> bool {
        let Self { tools, harm, agents, purposes, when } = self;
        let is_tool = |it: &ToolPattern| tools.iter().any(|own| own.includes(it));
        let is_tools =
            tools.is_empty() || !other.tools.is_empty() && other.tools.iter().all(is_tool);
        is_tools
            && holds(harm, &other.harm)
            && holds(agents, &other.agents)
            && holds(purposes, &other.purposes)
            // Of another one nobody can say for which calls it is, nor which it denies because it fails.
            && when.as_ref().map(When::text) == other.when.as_ref().map(When::text)
    }
}

/// Whether whatever is among `others` is among `these`; all there is, where there are none.
fn holds<T: Ord>(these: &BTreeSet<T>, others: &BTreeSet<T>) -> bool {
    these.is_empty() || !others.is_empty() && others.is_subset(these)
}

/// When the hour or day is over that a place begins with, in which something is used up; none, if that is never.
pub fn window_end(window: &str) -> Option<Timestamp> {
    let (every, number) = match window.split_once('-')? {
        ("hour", number) => (Every::Hour, number),
        ("day", number) => (Every::Day, number),
        _ => return None,
    };
    let next = number.parse::<i64>().ok()?.checked_add(1)?;
    next.checked_mul(every.seconds()).map(Timestamp::from_seconds)
}

/// The hour or day that `now` is in, by its number since the epoch; `ever`, where it never begins anew.
pub fn window(every: Option<Every>, now: Timestamp) -> String {
    match every {
        None => "ever".to_owned(),
        Some(every @ Every::Hour) => format!("hour-{}", every.number(now)),
        Some(every @ Every::Day) => format!("day-{}", every.number(now)),
    }
}
