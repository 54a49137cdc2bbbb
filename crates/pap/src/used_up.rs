//! What is used up of budgets while recorded decisions are made again, one after the other: until the set that is
//! tried comes into force, by the sets that were, and from then on by it. Where nobody knows whether an act was
//! permitted, nobody knows from then on what is left of that which it would have used. What did not happen is
//! given back where that was recorded.

use std::collections::BTreeMap;

use model::{Amount, Decision, DecisionId, Denial, Grant, Spend};

/// The most places in which something is used up that are told apart.
const PLACES_MAX: usize = 1_000_000;

/// Of how many permits, the newest, it is known what they used. Nearly all end soon; what is given back later stays
/// used.
const NEWEST_MAX: usize = 65_536;

/// How much is used up.
#[derive(Default)]
pub(crate) struct UsedUp {
    /// By where.
    places: BTreeMap<String, Used>,
    /// What the newest permits used, and where.
    newest: BTreeMap<DecisionId, Vec<(String, Amount)>>,
}

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
    /// The `decision` as the commit of `by` would leave it, which uses up what it permits.
    pub(crate) fn counted(
        &mut self,
        by: DecisionId,
        decision: Decision,
    ) -> Result<Decision, Unknown> {
        let Decision::Permit(grant) = &decision else { return Ok(decision) };
        if let Some(Spend { budget, .. }) = grant.over(|spend| self.at(&spend.counter()).least) {
            return Ok(Decision::Deny(Denial::BudgetExceeded { budget: budget.clone() }));
        }
        if spent(grant).any(|spend| self.at(&spend.counter()).or_more) {
            self.doubt(spent(grant).map(Spend::counter));
            return Err(Unknown::Unnoted);
        }
        self.uses(by, grant);
        Ok(decision)
    }

    /// Takes note of what was permitted by `by`, whatever is left.
    pub(crate) fn uses(&mut self, by: DecisionId, grant: &Grant) {
        let mut own = Vec::new();
        for spend in spent(grant) {
            let Used { least, or_more } = self.at(&spend.counter());
            let Some(least) = least.plus(spend.amount) else { continue };
            self.note(spend.counter(), Used { least, or_more });
            own.push((spend.counter(), spend.amount));
        }
        if own.is_empty() {
            return;
        }
        if self.newest.len() == NEWEST_MAX {
            self.newest.pop_first();
        }
        self.newest.insert(by, own);
    }

    /// Takes note that what `by` permitted did not happen.
    pub(crate) fn gave_back(&mut self, by: &DecisionId) {
        for (counter, amount) in self.newest.remove(by).into_iter().flatten() {
            let Used { least, or_more } = self.at(&counter);
            self.note(counter, Used { least: least.less(amount), or_more });
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
        if self.places.len() < PLACES_MAX || self.places.contains_key(&counter) {
            self.places.insert(counter, used);
        }
    }

    /// What is used up there; of a place for which there was no room that is unknown.
    fn at(&self, counter: &str) -> Used {
        let has_room = self.places.len() < PLACES_MAX;
        let unnoted = Used { least: Amount::default(), or_more: !has_room };
        self.places.get(counter).copied().unwrap_or(unnoted)
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

    /// What becomes of the decision numbered `by`, which uses this.
    fn told(used: &mut UsedUp, by: u8, spends: &[(&str, i64)]) -> &'static str {
        match used.counted(DecisionId::from_bytes([by; 16]), permit(spends)) {
            Ok(Decision::Permit(_)) => "permitted",
            Ok(Decision::Deny(_)) => "denied",
            Err(_) => "unknown",
        }
    }

    /// Once, and only what it used itself.
    #[test]
    fn what_did_not_happen_is_left_again() {
        let mut used = UsedUp::default();
        let [first, denied] = [1, 2].map(|by| DecisionId::from_bytes([by; 16]));
        assert_eq!(told(&mut used, 1, &[("a", 3), ("b", 1)]), "permitted");
        assert_eq!(told(&mut used, 2, &[("a", 3)]), "denied");
        used.gave_back(&denied);
        assert_eq!(told(&mut used, 3, &[("a", 3)]), "denied");
        used.gave_back(&first);
        assert_eq!(told(&mut used, 4, &[("a", 5), ("b", 4)]), "permitted");
        used.gave_back(&first);
        assert_eq!(told(&mut used, 5, &[("a", 1)]), "denied");
        assert_eq!(told(&mut used, 6, &[("b", 1)]), "permitted");
    }

    /// Where more may be used up than is known, it is not known whether anything fits; what does not fit anyway is
    /// denied.
    #[test]
    fn what_may_be_used_up_is_not_left() {
        let mut used = UsedUp::default();
        assert_eq!(told(&mut used, 0, &[("a", 3), ("b", 1)]), "permitted");
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
            assert_eq!(told(&mut used, 0, spends), expected, "{spends:?}");
        }
    }
}
