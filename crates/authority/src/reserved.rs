//! What a permit has taken of limits and budgets: known for as long as it may be given back.
//!
//! It is kept with the open permit, and with the mark of an unknown outcome until somebody settles that. So
//! a crash neither loses nor doubles it.
//!
//! INVARIANT: it is given back in the commit that closes the permit, or that settles its outcome, and in no
//! other: once, and only where it is sure that nothing happened (`n_088_what_is_reserved_…`).

use std::collections::BTreeMap;

use model::{ActDigest, DecisionId, FactKey};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use store::{CounterKey, Effect, Facts, Store, StoreError, Unit};

/// How much was taken of each counter. Written as texts: a number would be exact up to 2^53 only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reserved(BTreeMap<String, i64>);

/// What is kept of an act of which nobody knows whether it happened, until somebody settles that.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct UnknownOutcome {
    /// The decision that permitted it.
    pub decision: DecisionId,
    /// What it has taken; of an outcome that became unknown before this was kept, nothing is known.
    #[serde(default, skip_serializing_if = "Reserved::is_empty")]
    pub reserved: Reserved,
    /// Equal acts that were under way beside it, of which nobody knows either.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Self>,
}

impl Reserved {
    /// What `effects` count.
    pub(crate) fn by<'a>(effects: impl IntoIterator<Item = &'a Effect>) -> Self {
        let mut reserved = BTreeMap::<String, i64>::new();
        for effect in effects {
            if let Effect::Count { counter, amount, .. } = effect {
                *reserved.entry(counter.0.clone()).or_default() += amount;
            }
        }
        Self(reserved)
    }

    /// What was kept of it; none, if that cannot be read.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// As it is kept with an open permit; nothing, if nothing was taken.
    pub(crate) fn body(&self) -> Option<Vec<u8>> {
        (!self.is_empty()).then(|| json::canonical_of(self))
    }

    /// Whether nothing was taken.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The counters that it was taken of.
    pub(crate) fn counters(&self) -> impl Iterator<Item = CounterKey> {
        self.0.keys().cloned().map(CounterKey)
    }

    /// What gives it back: to the hour or day in which it was taken, for a counter has that in its name.
    pub fn given_back(&self) -> impl Iterator<Item = Effect> {
        self.0.iter().map(|(counter, amount)| Effect::Count {
            counter: CounterKey(counter.clone()),
            amount: -amount,
            limit: None,
        })
    }
}

impl UnknownOutcome {
    pub(crate) const fn of(decision: DecisionId, reserved: Reserved) -> Self {
        Self { decision, reserved, others: Vec::new() }
    }

    /// Has `unit` refuse acts equal to `act` until somebody settles this one, and each of those that were marked
    /// before it.
    pub(crate) async fn mark(
        self,
        act: &ActDigest,
        (store, unit): (&dyn Store, &mut Unit),
    ) -> Result<(), StoreError> {
        let key = FactKey::unknown_outcome(act);
        let Facts { bodies, revision } = store.load(std::slice::from_ref(&key)).await?;
        let marked = bodies.into_iter().flatten().next();
        let marked = marked.and_then(|body| serde_json::from_slice(&body).ok());
        let body = json::canonical_of(&self.beside(marked));
        unit.effects.push(Effect::Put { key: key.clone(), body });
        unit.reads.push(key);
        unit.revision = revision;
        Ok(())
    }

    fn beside(mut self, marked: Option<Self>) -> Self {
        if let Some(mut marked) = marked {
            self.others.append(&mut marked.others);
            self.others.push(marked);
        }
        self
    }

    /// Whether `decision` is among them.
    pub fn is_of(&self, decision: &DecisionId) -> bool {
        self.decision == *decision || self.others.iter().any(|it| it.decision == *decision)
    }

    /// What `decision` has taken, and what is still unknown once that is settled; none, if it is not among them.
    pub fn settled(mut self, decision: &DecisionId) -> Option<(Reserved, Option<Self>)> {
        if self.decision == *decision {
            let next = self.others.pop();
            let next = next.map(|next| Self { others: self.others, ..next });
            return Some((self.reserved, next));
        }
        let place = self.others.iter().position(|it| it.decision == *decision)?;
        let settled = self.others.remove(place);
        Some((settled.reserved, Some(self)))
    }
}

impl Serialize for Reserved {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(counter, amount)| (counter, amount.to_string())))
    }
}

impl<'de> Deserialize<'de> for Reserved {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = BTreeMap::<String, String>::deserialize(deserializer)?;
        let amount = |(counter, amount): (String, String)| {
            // More than was taken is never given back, and less than nothing would take.
            let amount = amount.parse().ok().filter(|amount: &i64| *amount >= 0);
            let amount = amount.map(|amount| (counter, amount));
            amount.ok_or_else(|| D::Error::custom("expected an amount as digits"))
        };
        written.into_iter().map(amount).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(counter: &str, amount: i64) -> Effect {
        Effect::Count { counter: CounterKey(counter.to_owned()), amount, limit: Some(9) }
    }

    /// Exactly as much as was taken, however much that is, and all that one counter was taken of.
    #[test]
    fn what_is_kept_is_what_was_taken() {
        let taken = [counted("a", i64::MAX), counted("b", 1), counted("c", 2), counted("c", 3)];
        let reserved = Reserved::by(&taken);
        let body = reserved.body().expect("something was taken");
        assert_eq!(Reserved::read(&body), Some(reserved.clone()));
        let given_back: Vec<_> = reserved
            .given_back()
            .map(|effect| match effect {
                Effect::Count { counter, amount, limit: None } => (counter.0, amount),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected = [("a", -i64::MAX), ("b", -1), ("c", -5)];
        assert_eq!(given_back, expected.map(|(counter, amount)| (counter.to_owned(), amount)));
        assert_eq!(Reserved::by(&[]).body(), None);
    }

    /// Nothing is made of what is damaged, and nobody takes by giving back.
    #[test]
    fn what_cannot_be_read_gives_nothing_back() {
        for body in ["", "[]", r#"{"a":1}"#, r#"{"a":"-1"}"#, r#"{"a":"1.5"}"#, r#"{"a":"x"}"#] {
            assert_eq!(Reserved::read(body.as_bytes()), None, "{body}");
        }
        assert_eq!(Reserved::read(b"{}"), Some(Reserved::default()));
    }

    /// What was written before it was kept is read as that.
    #[test]
    fn a_mark_of_before_is_read() {
        let decision = DecisionId::from_bytes([1; 16]);
        let before = json::canonical(&serde_json::json!({ "decision": decision }));
        let read: UnknownOutcome = serde_json::from_slice(&before).expect("it is read");
        let now = UnknownOutcome::of(decision, Reserved::default());
        assert_eq!((&read, json::canonical_of(&now)), (&now, before));
    }

    /// In whatever order, each once.
    #[test]
    fn each_of_equal_acts_is_settled_by_itself() {
        let of = |number: u8| {
            let taken = [counted("a", i64::from(number))];
            UnknownOutcome::of(DecisionId::from_bytes([number; 16]), Reserved::by(&taken))
        };
        for order in [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]] {
            let mut left = Some(of(3).beside(Some(of(2).beside(Some(of(1))))));
            for (number, before) in order.into_iter().zip(1..) {
                let marked = left.take().expect("it is marked");
                assert_eq!(marked.others.len(), 3 - before, "{order:?}");
                let read = serde_json::from_slice(&json::canonical_of(&marked));
                assert_eq!(read.ok().as_ref(), Some(&marked));
                let UnknownOutcome { decision, reserved, .. } = of(number);
                assert!(marked.is_of(&decision));
                let (taken, next) = marked.settled(&decision).expect("it is among them");
                assert_eq!(taken, reserved, "{order:?}");
                assert!(next.as_ref().is_none_or(|next| !next.is_of(&decision)), "{order:?}");
                assert_eq!(next.clone().and_then(|next| next.settled(&decision)), None);
                left = next;
            }
            assert_eq!(left, None);
        }
    }
}
