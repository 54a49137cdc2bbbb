//! What one set says of strictness held against what another one says, rule by rule.
//!
//! INVARIANT: where no rule is named that widens, no less is asked of any agent and any call
//! (`what_is_no_widening_asks_no_less_of_anybody`).

use std::collections::BTreeSet;

use model::{AgentName, Decision, Denial, Grant, Harm};

use super::{CallRule, DepartureRule, LASTS_MAX_S, STRICTNESS_FILE, Strictness, TokenRule, Uses};
use crate::differing::Change;
use crate::parts::{Calls, PartChange};

/// For which agents, and for which harm, a rule is.
type For<'a> = (&'a BTreeSet<AgentName>, &'a BTreeSet<Harm>);

/// What another set answered to an act, as far as that tells of the token that was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// It was permitted.
    Permitted {
        /// Whether that used up the token.
        uses_token: bool,
    },
    /// The token had been used up.
    TokenUsed,
    /// It was denied for another reason.
    Denied,
}

impl From<&Decision> for Before {
    fn from(decision: &Decision) -> Self {
        match decision {
            Decision::Permit(grant) => Self::Permitted { uses_token: grant.uses_token },
            Decision::Deny(Denial::TokenUsed) => Self::TokenUsed,
            Decision::Deny(_) => Self::Denied,
        }
    }
}

impl Strictness {
    /// What is otherwise in `after`, rule by rule. One that is gone widens, unless for each of its agents and harm
    /// classes there is one that asks as much; each of departures does, if all of them together let more pass.
    pub(crate) fn differing(&self, after: &Self) -> Vec<PartChange> {
        let lets_more_pass = !after.tolerates_no_more_than(self);
        let mut found = Vec::new();
        for (of, other, is) in [(self, after, Change::Gone), (after, self, Change::New)] {
            let is_gone = is == Change::Gone;
            let is_there = |rule: &TokenRule| other.tokens.iter().any(|it| it.says(rule));
            for rule in of.tokens.iter().filter(|rule| !is_there(rule)) {
                found.push(rule.change(is, is_gone && !other.keeps_token(rule)));
            }
            let is_there = |rule: &CallRule| other.calls.iter().any(|it| it.says(rule));
            for rule in of.calls.iter().filter(|rule| !is_there(rule)) {
                found.push(rule.change(is, is_gone && !other.keeps_call(rule)));
            }
            let is_there = |rule: &DepartureRule| other.departures.contains(rule);
            for rule in of.departures.iter().filter(|rule| !is_there(rule)) {
                found.push(rule.change(is, lets_more_pass));
            }
        }
        found
    }

    /// Whether tokens for which `rule` is surely last no longer by this.
    fn keeps_token(&self, rule: &TokenRule) -> bool {
        let own = self.tokens.iter().filter(|own| own.lasts_s.0 <= rule.lasts_s.0);
        rule.lasts_s.0 == LASTS_MAX_S || are_for(rule.is_for(), own.map(TokenRule::is_for))
    }

    /// Whether of calls for which `rule` is surely no less is asked by this.
    fn keeps_call(&self, rule: &CallRule) -> bool {
        let own = self.calls.iter().filter(|own| own.within_s() <= rule.within_s());
        let is_as_new = are_for(rule.is_for(), own.map(CallRule::is_for));
        is_as_new && (rule.token.is_none() || are_for(rule.is_for(), self.once()))
    }

    /// Whether whatever uses up its token by `other` surely does so by this.
    fn uses_up_all_of(&self, other: &Self) -> bool {
        let own = self.once();
        other.once().all(|of| are_for(of, own.clone()))
    }

    /// For whom and what the rules are by which a call uses up its token.
    fn once(&self) -> impl Iterator<Item = For<'_>> + Clone {
        let once = self.calls.iter().filter(|rule| rule.token == Some(Uses::Once));
        once.map(CallRule::is_for)
    }

    /// The `decision` of the set that says this, as a commit leaves it: of an act to which the set that says `then`
    /// answered `before`. None if nobody knows, for it hangs on what else was called with the token.
    pub fn settled(&self, decision: Decision, (then, before): (&Self, Before)) -> Option<Decision> {
        let Decision::Permit(Grant { uses_token: true, .. }) = &decision else {
            return Some(decision);
        };
        match before {
            // With a token of its own it is permitted.
            Before::Denied => Some(decision),
            Before::Permitted { uses_token: true } if then.uses_up_all_of(self) => Some(decision),
            Before::TokenUsed if self.uses_up_all_of(then) => {
                Some(Decision::Deny(Denial::TokenUsed))
            }
            Before::Permitted { .. } | Before::TokenUsed => None,
        }
    }
}

impl TokenRule {
    fn is_for(&self) -> For<'_> {
        (&self.agents, &self.harm)
    }

    fn says(&self, other: &Self) -> bool {
        self.lasts_s.0 == other.lasts_s.0 && self.is_for() == other.is_for()
    }

    fn change(&self, is: Change, widens: bool) -> PartChange {
        let (agents, may) = (self.agents.clone(), self.harm.clone());
        let of = vec![Calls { agents, may, ..Calls::default() }];
        let part = format!("rule of tokens `{}`", self.description);
        PartChange { file: STRICTNESS_FILE, part, is, widens, of }
    }
}

impl CallRule {
    fn is_for(&self) -> For<'_> {
        (&self.agents, &self.harm)
    }

    fn says(&self, other: &Self) -> bool {
        let asks = |it: &Self| (it.token, it.within_s());
        asks(self) == asks(other) && self.is_for() == other.is_for()
    }

    fn change(&self, is: Change, widens: bool) -> PartChange {
        let (agents, harm) = (self.agents.clone(), self.harm.clone());
        let of = vec![Calls { agents, harm, ..Calls::default() }];
        let part = format!("rule of calls `{}`", self.description);
        PartChange { file: STRICTNESS_FILE, part, is, widens, of }
    }
}

/// Whether for each agent and each harm class that a rule is for, one of `others` is.
fn are_for<'a>((agents, harm): For<'_>, others: impl Iterator<Item = For<'a>> + Clone) -> bool {
    let is_one = |agent: Option<&AgentName>, class: Option<&Harm>| {
        others.clone().any(|(agents, harm)| is_among(agent, agents) && is_among(class, harm))
    };
    each(agents).all(|agent| each(harm).all(|class| is_one(agent, class)))
}

/// Each of them; if there are none, whatever it is.
fn each<T>(all: &BTreeSet<T>) -> impl Iterator<Item = Option<&T>> {
    let whatever = all.is_empty().then_some(None);
    whatever.into_iter().chain(all.iter().map(Some))
}

fn is_among<T: Ord>(one: Option<&T>, all: &BTreeSet<T>) -> bool {
    all.is_empty() || one.is_some_and(|one| all.contains(one))
}
