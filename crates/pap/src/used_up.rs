//! What is used up of budgets while recorded decisions are made again, one after the other: until the set that is
//! tried comes into force, by the sets that were, and from then on by it.

use std::collections::BTreeMap;

use model::{Amount, Decision, Denial, Grant, Spend};

/// The most places in which something is used up that are told apart.
const PLACES_MAX: usize = 1_000_000;

/// How much is used up, by where.
#[derive(Default)]
pub(crate) struct UsedUp(BTreeMap<String, Amount>);

/// There are too many places: what is used up in this one is unknown.
pub(crate) struct Unknown;

impl UsedUp {
    /// The decision as its commit would leave it, which uses up what it permits.
    pub(crate) fn counted(&mut self, decision: Decision) -> Result<Decision, Unknown> {
        let Decision::Permit(grant) = &decision else { return Ok(decision) };
        if let Some(Spend { budget, .. }) = grant.over(|spend| self.at(spend)) {
            return Ok(Decision::Deny(Denial::BudgetExceeded { budget: budget.clone() }));
        }
        self.uses(grant)?;
        Ok(decision)
    }

    /// Takes note of what was permitted, whatever is left.
    pub(crate) fn uses(&mut self, grant: &Grant) -> Result<(), Unknown> {
        for spend in grant.spends.iter().filter(|spend| spend.amount != Amount::default()) {
            let (counter, used) = (spend.counter(), self.at(spend));
            if self.0.len() == PLACES_MAX && !self.0.contains_key(&counter) {
                return Err(Unknown);
            }
            let used = used.plus(spend.amount).unwrap_or(used);
            self.0.insert(counter, used);
        }
        Ok(())
    }

    fn at(&self, spend: &Spend) -> Amount {
        self.0.get(&spend.counter()).copied().unwrap_or_default()
    }
}
