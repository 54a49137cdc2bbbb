//! What a permit has taken of limits and budgets: known for as long as it may be given back.
//!
//! It is kept with the open permit, and from when nobody knows what became of that until somebody settles it. So
//! a crash neither loses nor doubles it.
//!
//! An act of which nobody knows has a mark, and beside it, for each of equal ones that were under way at once, what
//! that has taken: however many end so at the same time, none waits for another, nor writes what another wrote.
//!
//! INVARIANT: it is given back in the commit that closes the permit, or that settles its outcome, and in no
//! other: once, and only where it is sure that nothing happened (`n_088_what_is_reserved_…`).

use std::collections::BTreeMap;

use model::{ActDigest, DecisionId, FactKey};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use store::{CounterKey, Effect, Store, StoreError};

use crate::FactsError;
use crate::reader::{Pages, Reader};

/// How the keys begin of the marks of acts of which nobody knows.
pub(crate) const MARKS: &str = "unknown/";

/// How the keys begin of what such an act has taken.
const LOST: &str = "lost/";

/// How much was taken of each counter. Written as texts: a number would be exact up to 2^53 only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reserved(BTreeMap<String, i64>);

/// The mark of an act of which nobody knows whether it happened. Earlier builds kept nothing else of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Mark {
    /// The decision that permitted it; of equal acts, of one that is not settled.
    decision: DecisionId,
}

/// What settles what became of an act of which nobody knows.
#[derive(Debug)]
pub struct Settling {
    /// What it has taken; of one that was lost before that was kept, nothing is known.
    pub reserved: Reserved,
    /// What settles it. Equal acts may be done again once nobody is left who may have done it.
    pub effects: Vec<Effect>,
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

/// What has acts equal to `act` refused until somebody settles what became of this one, which `decision` permitted,
/// and which has taken what is `reserved`.
pub(crate) fn lost(act: &ActDigest, decision: DecisionId, reserved: &Reserved) -> [Effect; 2] {
    let body = json::canonical_of(reserved);
    [mark(act, decision), Effect::Put { key: lost_key(act, &decision), body }]
}

impl Settling {
    /// What settles what became of the act that `decision` permitted; none, if somebody knows. It rests on what
    /// `reader` reads: of two who settle equal acts at once, one is told to look again.
    pub async fn of(
        decision: &DecisionId,
        store: &dyn Store,
        reader: &mut Reader<'_>,
    ) -> Result<Option<Self>, FactsError> {
        let Some(act) = lost_act(decision, store).await? else { return Ok(None) };
        let key = FactKey::unknown_outcome(&act);
        let marked = reader.find::<Mark>(key.clone()).await?;
        let own = lost_key(&act, decision);
        let reserved = reader.find::<Reserved>(own.clone()).await?;
        if reserved.is_none() && marked.is_none_or(|marked| marked.decision != *decision) {
            return Ok(None);
        }
        let equal = format!("{LOST}{act}/");
        let left = store.list(&equal, None, 2).await?.facts.into_iter().find_map(|(key, _)| {
            let left = key.as_str().strip_prefix(equal.as_str())?.parse::<DecisionId>().ok();
            left.filter(|left| left != decision)
        });
        // Written anew where one is left: whoever settles that at the same time has to see that this one is.
        let marked = left.map_or(Effect::Remove { key }, |left| mark(&act, left));
        let taken = reserved.is_some().then_some(Effect::Remove { key: own });
        let effects = std::iter::once(marked).chain(taken).collect();
        Ok(Some(Self { reserved: reserved.unwrap_or_default(), effects }))
    }
}

fn mark(act: &ActDigest, decision: DecisionId) -> Effect {
    let body = json::canonical_of(&Mark { decision });
    Effect::Put { key: FactKey::unknown_outcome(act), body }
}

fn lost_key(act: &ActDigest, decision: &DecisionId) -> FactKey {
    FactKey::from_text(&format!("{LOST}{act}/{decision}"))
}

/// The act that `decision` permitted, if nobody knows what became of it.
async fn lost_act(
    decision: &DecisionId,
    store: &dyn Store,
) -> Result<Option<ActDigest>, StoreError> {
    let end = format!("/{decision}");
    let is_marked = |body: &[u8]| {
        let mark = serde_json::from_slice::<Mark>(body);
        mark.is_ok_and(|mark| mark.decision == *decision)
    };
    for prefix in [LOST, MARKS] {
        let mut pages = Pages::of(store, prefix);
        while let Some(facts) = pages.next().await? {
            let act = facts.iter().find_map(|(key, body)| {
                let act = key.as_str().strip_prefix(prefix)?;
                let act =
                    act.strip_suffix(end.as_str()).or_else(|| is_marked(body).then_some(act))?;
                act.parse().ok()
            });
            if act.is_some() {
                return Ok(act);
            }
        }
    }
    Ok(None)
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
}
