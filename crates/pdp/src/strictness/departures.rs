//! How often an instance may depart from what is declared of it before that counts, and what follows.
//!
//! Here is said what one act departs in, and what is let pass; who commits the act counts it. Both follow from
//! what is recorded of the act and of the set alone, so that anybody can reckon it again.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use model::{
    AccessRequest, Agent, AgentName, Denial, Departure, Facts, PrincipalFacts, ResourceRef,
    RiskLevel, Timestamp,
};
use serde::Deserialize;

use super::{STRICTNESS_FILE, Strictness};
use crate::differing::Change;
use crate::ends;
use crate::parts::{Calls, PartChange};
use crate::schema::SERVER_REQUEST;

/// How often, in one hour, an instance departs in what is denied anyhow before that counts.
const AFTER_DENIALS: u32 = 3;

/// How long it is at risk then, in hours.
const LASTS_H: u32 = 24;

/// What follows where instances of those agents depart so; of whatever is not said, what is built in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DepartureRule {
    pub(super) description: String,
    /// In what they depart; in whatever it is, if there is none.
    #[serde(default)]
    pub(super) kinds: BTreeSet<Departure>,
    /// Whose instances: of all agents, if there is none.
    #[serde(default)]
    pub(super) agents: BTreeSet<AgentName>,
    /// With which one of an hour it counts.
    pub(super) after: Option<i64>,
    /// At which risk the instance is then.
    pub(super) risk: Option<RiskLevel>,
    /// For how many hours.
    pub(super) lasts_h: Option<i64>,
}

/// What follows where an instance departs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    /// With which one of an hour it counts.
    pub after: u32,
    /// At which risk the instance is then.
    pub level: RiskLevel,
    /// How long.
    pub lasts: Duration,
}

impl Tolerance {
    /// What is built in.
    fn of(kind: Departure) -> Self {
        let after = match kind {
            Departure::Data | Departure::Tool => AFTER_DENIALS,
            Departure::Rate | Departure::Time => 1,
        };
        Self { after, level: RiskLevel::Medium, lasts: hours(LASTS_H) }
    }

    /// Whether it lets pass no more than `other`.
    fn is_at_least(self, other: Self) -> bool {
        self.after <= other.after && self.level >= other.level && self.lasts >= other.lasts
    }
}

impl Strictness {
    /// What follows where an instance of `agent` departs in this. Of the rules that are for it, the strictest
    /// counts of each that they say.
    pub fn tolerance(&self, kind: Departure, agent: &AgentName) -> Tolerance {
        self.tolerance_of(kind, Some(agent))
    }

    /// The same, of an agent that no rule names, if none is said.
    fn tolerance_of(&self, kind: Departure, agent: Option<&AgentName>) -> Tolerance {
        let is_met = |rule: &&DepartureRule| {
            let is_of = |agent: &AgentName| rule.agents.contains(agent);
            (rule.kinds.is_empty() || rule.kinds.contains(&kind))
                && (rule.agents.is_empty() || agent.is_some_and(is_of))
        };
        let met = || self.departures.iter().filter(is_met);
        let whole = |number: i64| u32::try_from(number).ok();
        let built_in = Tolerance::of(kind);
        let lasts = met().filter_map(|rule| rule.lasts_h.and_then(whole)).max();
        Tolerance {
            after: met()
                .filter_map(|rule| rule.after.and_then(whole))
                .min()
                .unwrap_or(built_in.after),
            level: met().filter_map(|rule| rule.risk).max().unwrap_or(built_in.level),
            lasts: lasts.map_or(built_in.lasts, hours),
        }
    }

    /// Whether of no departure of anybody it lets pass more than `other`.
    pub(super) fn tolerates_no_more_than(&self, other: &Self) -> bool {
        let rules = || self.departures.iter().chain(&other.departures);
        let named: BTreeSet<_> = rules().flat_map(|rule| &rule.agents).collect();
        let is_one = |agent: Option<&AgentName>| {
            let is_one = |kind: Departure| {
                self.tolerance_of(kind, agent).is_at_least(other.tolerance_of(kind, agent))
            };
            Departure::ALL.into_iter().all(is_one)
        };
        is_one(None) && named.into_iter().all(|agent| is_one(Some(agent)))
    }
}

/// In what the act that `request` asks for departs from what is declared of the instance that asks, by `denial`, if
/// it is denied. Of the rate, it is one more of its hour. Whether a tool is declared that there is not for it is
/// looked at where that is told, since most of these nobody decides on.
pub fn departs(
    request: &AccessRequest,
    facts: &Facts,
    denial: Option<&Denial>,
) -> BTreeSet<Departure> {
    let mut departs = BTreeSet::new();
    // It comes again with another token.
    if denial.is_some_and(Denial::is_of_token) {
        return departs;
    }
    let PrincipalFacts::Instance(standing) = &facts.principal else { return departs };
    let is_outside = matches!(denial, Some(Denial::OutsideCeiling | Denial::OutsideMandate));
    let asks_for = match &request.resource {
        // That a server asks, and not the instance.
        ResourceRef::Server(_) if request.action.as_str() == SERVER_REQUEST => None,
        ResourceRef::Server(_) => Some(Departure::Tool),
        ResourceRef::Resource { .. } | ResourceRef::Prompt { .. } => Some(Departure::Data),
        _ => None,
    };
    departs.extend(asks_for.filter(|_| is_outside));
    let is_of_others = matches!(denial, Some(Denial::OutsidePurpose))
        && ends::names_undeclared(standing, request, facts);
    departs.extend(is_of_others.then_some(Departure::Data));
    let is_call =
        matches!(request.resource, ResourceRef::Tool(_)) || asks_for == Some(Departure::Data);
    if is_call {
        departs.extend(calling_departs(&standing.agent, facts.now));
    }
    departs
}

/// In what an instance of `agent` departs that calls anything at `now`, whether there is that or not. Of the rate, it
/// is one more of its hour.
pub fn calling_departs(agent: &Agent, now: Timestamp) -> impl Iterator<Item = Departure> {
    let Agent { declared, .. } = agent;
    let is_early_or_late = declared.hours.is_some_and(|hours| !hours.include(now));
    let time = is_early_or_late.then_some(Departure::Time);
    time.into_iter().chain(declared.calls_an_hour.map(|_| Departure::Rate))
}

impl DepartureRule {
    pub(super) fn change(&self, is: Change, widens: bool) -> PartChange {
        let of = vec![Calls { agents: self.agents.clone(), ..Calls::default() }];
        let part = format!("rule of departures `{}`", self.description);
        PartChange { file: STRICTNESS_FILE, part, is, widens, of }
    }
}

fn hours(hours: u32) -> Duration {
    Duration::from_hours(hours.into())
}

impl fmt::Display for DepartureRule {
    /// What it says, and what follows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { description, kinds, after, risk, lasts_h, .. } = self;
        let kinds: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
        let kinds = if kinds.is_empty() { "anything".to_owned() } else { kinds.join(" or ") };
        write!(f, "{description}: an instance that departs in {kinds} is at risk")?;
        if let Some(risk) = risk {
            write!(f, " `{}`", risk.as_str())?;
        }
        if let Some(after) = after {
            write!(f, ", from number {after} of an hour on")?;
        }
        lasts_h.iter().try_for_each(|hours| write!(f, ", for {hours} h"))
    }
}
