//! What is used up of budgets while recorded decisions are made again, one after the other: until the set that is
//! tried comes into force, by the sets that were, and from then on by it. Where nobody knows whether an act was
//! permitted, nobody knows from then on what is left of that which it would have used.

use std::collections::BTreeMap;

use model::{Amount, Decision, Denial, Grant, Spend};

/// The most places in which something is used up that are told apart.
const PLACES_MAX: usize = 1_000_000;

/// How much is used up, by where.
#[derive(Default)]
pub(crate) struct UsedUp(BTreeMap<String, Used>);

/// How much is used up somewhere.
#[derive(Clone, Copy)]
struct Used {
    least: Amount,
    /// Whether more may be: of something nobody knows whether it was permitted.
    or_more: bool,
}

/// Why nobody knows what a set answers.
pub(crate) enum Unknown {
    /// It hangs on what nobody took note of, or on how much is used up where that is not known.
    Unnoted,
    /// It uses up the token that was shown, which may have been used before.
    Token,
}

impl UsedUp {
    /// The decision as its commit would leave it, which uses up what it permits.
    pub(crate) fn counted(&mut self, decision: Decision) -> Result<Decision, Unknown> {
        let Decision::Permit(grant) = &decision else { return Ok(decision) };
        if let Some(Spend { budget, .. }) = grant.over(|spend| self.at(&spend.counter()).least) {
            return Ok(Decision::Deny(Denial::BudgetExceeded { budget: budget.clone() }));
        }
        if spent(grant).any(|spend| self.at(&spend.counter()).or_more) {
            self.doubt(spent(grant).map(Spend::counter));
            return Err(Unknown::Unnoted);
        }
        self.uses(grant);
        Ok(decision)
    }

    /// Takes note of what was permitted, whatever is left.
    pub(crate) fn uses(&mut self, grant: &Grant) {
        for spend in spent(grant) {
            let Used { least, or_more } = self.at(&spend.counter());
            let least = least.plus(spend.amount).unwrap_or(least);
            self.note(spend.counter(), Used { least, or_more });
        }
    }

    /// Takes note that nobody knows what was used up at `counters`.
    pub(crate) fn doubt(&mut self, counters: impl IntoIterator<Item = String>) {
        for counter in counters {
            let used = self.at(&counter);
            self.note(counter, Used { or_more: true, ..used });
        }
    }

    fn note(&mut self, counter: String, used: Used) {
        if self.0.len() < PLACES_MAX || self.0.contains_key(&counter) {
            self.0.insert(counter, used);
        }
    }

    /// What is used up there; of a place for which there was no room that is unknown.
    fn at(&self, counter: &str) -> Used {
        let has_room = self.0.len() < PLACES_MAX;
        let unnoted = Used { least: Amount::default(), or_more: !has_room };
        self.0.get(counter).copied().unwrap_or(unnoted)
    }
}

/// What uses up something.
fn spent(grant: &Grant) -> impl Iterator<Item = &Spend> {
    grant.spends.iter().filter(|spend| spend.amount != Amount::default())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use model::Answers;

    use super::*;

    fn permit(spends: &[(&str, i64)]) -> Decision {
        let spend = |(budget, parts): &(&str, i64)| Spend {
            budget: budget.parse().expect("a name"),
            place: "ever/deployment".to_owned(),
            amount: Amount::from_parts(*parts),
            cap: Amount::from_parts(5),
        };
        Decision::Permit(Grant {
            basis: BTreeSet::new(),
            obligations: BTreeSet::new(),
            answers: Answers::default(),
            elevation: None,
            observed: BTreeSet::new(),
            spends: spends.iter().map(spend).collect(),
            uses_token: false,
        })
    }

    /// Where more may be used up than is known, it is not known whether anything fits; what does not fit anyway is
    /// denied.
    #[test]
    fn what_may_be_used_up_is_not_left() {
        let mut used = UsedUp::default();
        let told = |used: &mut UsedUp, spends: &[(&str, i64)]| match used.counted(permit(spends)) {
            Ok(Decision::Permit(_)) => "permitted",
            Ok(Decision::Deny(_)) => "denied",
            Err(_) => "unknown",
        };
        assert_eq!(told(&mut used, &[("a", 3), ("b", 1)]), "permitted");
        used.doubt(["a/ever/deployment".to_owned()]);
        for (spends, expected) in [
            (&[("a", 1)][..], "unknown"),
            (&[("a", 3)], "denied"),
            (&[("a", 0)], "permitted"),
            (&[("b", 1)], "permitted"),
            // What it would have used of others is unknown as well.
            (&[("b", 1), ("a", 1)], "unknown"),
            (&[("b", 1)], "unknown"),
            (&[("c", 5)], "permitted"),
            (&[("c", 1)], "denied"),
        ] {
            assert_eq!(told(&mut used, spends), expected, "{spends:?}");
        }
    }
}
