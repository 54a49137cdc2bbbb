//! A policy set under observation: it decides beside the one in force, on the same facts, and is recorded with the
//! decision.
//!
//! INVARIANT: it changes no answer (`r_39_a_set_under_observation_changes_no_answer`). It decides on a thread of its own,
//! while the one in force does, of which there are so many and for which nobody waits long; whatever comes of it, an error or nothing, is only written
//! down, and is left out of a record that would become too large by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use model::record::{MAX_RECORD_BYTES, ObservedSet, Record};
use model::{AccessRequest, Decision, Facts, PolicyDigest};
use pdp::{Before, Snapshot};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::records::told;

/// The longest that a decision waits for the set under observation.
pub(crate) const OBSERVED_WITHIN: Duration = Duration::from_millis(20);

/// The part of the time that is left for a decision that may be spent on waiting so.
const OBSERVED_PART: u32 = 8;

/// The most questions that it looks at at once.
const OBSERVED_AT_ONCE: usize = 32;

/// Why the set under observation came to no answer: it took too long, or too many were asked at once.
const LATE: &str = "late";

/// Why the set under observation came to no answer: it failed.
const FAILED: &str = "failed";

/// Why the set under observation came to no answer: it looks at what is not remembered for the one in force, or wants
/// a token of its own where that does not.
const UNKNOWN: &str = "unknown";

/// The policy set under observation, if one is, and what came of it.
pub(crate) struct Observing {
    set: ArcSwapOption<Observed>,
    places: Arc<Semaphore>,
}

struct Observed {
    snapshot: Arc<Snapshot>,
    alike: AtomicU64,
    newly_denied: AtomicU64,
    newly_permitted: AtomicU64,
    unanswered: AtomicU64,
}

/// The set under observation, as it was asked.
pub(crate) struct Asked {
    observed: Arc<Observed>,
    in_force: Arc<Snapshot>,
    /// How long its answer is waited for.
    within: Duration,
    /// Its answer, if there was a place for the question; none, if it looks at what is not remembered.
    answer: Option<JoinHandle<Option<Decision>>>,
}

/// What came of a set under observation since this process observes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The set.
    pub policy: PolicyDigest,
    /// How often it would have answered as the set in force.
    pub alike: u64,
    /// How often it would have denied what was permitted.
    pub newly_denied: u64,
    /// How often it would have permitted what was denied.
    pub newly_permitted: u64,
    /// How often it came to no answer.
    pub unanswered: u64,
}

impl Observing {
    pub(crate) fn nothing() -> Self {
        let places = Arc::new(Semaphore::new(OBSERVED_AT_ONCE));
        Self { set: ArcSwapOption::empty(), places }
    }

    /// Observes `snapshot` from now on, or none any more.
    pub(crate) fn observe(&self, snapshot: Option<Arc<Snapshot>>) {
        let zero = AtomicU64::default;
        let observed = snapshot.map(|snapshot| Observed {
            snapshot,
            alike: zero(),
            newly_denied: zero(),
            newly_permitted: zero(),
            unanswered: zero(),
        });
        self.set.store(observed.map(Arc::new));
    }

    pub(crate) fn observation(&self) -> Option<Observation> {
        let observed = self.set.load_full()?;
        let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Some(Observation {
            policy: observed.snapshot.digest(),
            alike: count(&observed.alike),
            newly_denied: count(&observed.newly_denied),
            newly_permitted: count(&observed.newly_permitted),
            unanswered: count(&observed.unanswered),
        })
    }

    /// Asks the set under observation, if one is, what the set `in_force` is asked: beside that, which has `left` for
    /// its answer.
    pub(crate) fn ask(
        &self,
        (request, facts): (&AccessRequest, &Facts),
        in_force: &Arc<Snapshot>,
        left: Duration,
    ) -> Option<Asked> {
        let observed = self.set.load_full()?;
        let within = OBSERVED_WITHIN.min(left / OBSERVED_PART);
        let place = self.places.clone().try_acquire_owned().ok().filter(|_| !within.is_zero());
        let answer = place.map(|place| {
            let (snapshot, in_force) = (observed.snapshot.clone(), in_force.clone());
            let (request, facts) = (request.clone(), facts.clone());
            tokio::task::spawn_blocking(move || {
                let _place = place;
                asked_beside((&snapshot, &in_force), (&request, &facts))
            })
        });
        Some(Asked { observed, in_force: in_force.clone(), within, answer })
    }
}

/// What the set under observation, if one was asked, answers where `decision` was made by the one in force. What no
/// policy set decides is nothing to observe.
pub(crate) async fn would(asked: Option<Asked>, decision: &Decision) -> Option<ObservedSet> {
    let asked = asked?;
    let before = Before::from(decision);
    let is_by_policy = !matches!(decision, Decision::Deny(denial) if !denial.is_by_policy());
    if !is_by_policy && before != Before::TokenUsed {
        return None;
    }
    let observed = asked.observed.clone();
    let would = asked.answer(before).await;
    observed.count(decision, would.as_ref().ok());
    Some(told_of(observed.snapshot.digest(), would))
}

impl Asked {
    /// The answer where the set in force answered `before`.
    async fn answer(self, before: Before) -> Result<Decision, &'static str> {
        let answer = self.answer.ok_or(LATE)?;
        let answer = tokio::time::timeout(self.within, answer).await.map_err(|_| LATE)?;
        let answer = answer.map_err(|_| FAILED)?;
        settled((&self.observed.snapshot, &self.in_force), before, answer)
    }
}

/// What the set `observed` comes to beside the one `in_force`, which answered `before`, as it is recorded where that is in
/// time.
pub fn observed_set(
    (observed, in_force): (&Snapshot, &Snapshot),
    before: Before,
    question: (&AccessRequest, &Facts),
) -> ObservedSet {
    let answer = asked_beside((observed, in_force), question);
    told_of(observed.digest(), settled((observed, in_force), before, answer))
}

/// Whether what is recorded of a set under observation follows from what it was asked: else it was not in time, or
/// broke off.
pub fn was_answered(recorded: &ObservedSet) -> bool {
    ![LATE, FAILED].contains(&recorded.reason.as_str())
}

/// What the set `observed` answers; none, if it looks at what is not remembered for the one `in_force`.
fn asked_beside(
    (observed, in_force): (&Snapshot, &Snapshot),
    (request, facts): (&AccessRequest, &Facts),
) -> Option<Decision> {
    let is_known = !observed.looks_beyond(in_force, request, facts);
    is_known.then(|| observed.decide(request, facts))
}

/// What becomes of that `answer`, where the set in force answered `before`.
fn settled(
    (observed, in_force): (&Snapshot, &Snapshot),
    before: Before,
    answer: Option<Decision>,
) -> Result<Decision, &'static str> {
    let then = (in_force.strictness(), before);
    let settled = answer.and_then(|decision| observed.strictness().settled(decision, then));
    settled.ok_or(UNKNOWN)
}

impl Observed {
    fn count(&self, decision: &Decision, would: Option<&Decision>) {
        let number = match (decision, would) {
            (_, None) => &self.unanswered,
            (Decision::Permit(_), Some(Decision::Deny(_))) => &self.newly_denied,
            (Decision::Deny(_), Some(Decision::Permit(_))) => &self.newly_permitted,
            (Decision::Permit(_), Some(Decision::Permit(_)))
            | (Decision::Deny(_), Some(Decision::Deny(_))) => &self.alike,
        };
        number.fetch_add(1, Ordering::Relaxed);
    }
}

fn told_of(policy: PolicyDigest, would: Result<Decision, &'static str>) -> ObservedSet {
    match would {
        Ok(decision) => {
            let told = told(&decision);
            let (decision, reason) = (Some(told.verdict), told.reason.to_owned());
            ObservedSet { decision, policies: told.policies, policy, reason }
        }
        Err(why) => {
            let (decision, policies) = (None, Vec::new());
            ObservedSet { decision, policies, policy, reason: why.to_owned() }
        }
    }
}

/// Whether `record` can be kept as it is.
pub(crate) fn fits(record: &impl Record) -> bool {
    record.to_canonical_bytes().len() <= MAX_RECORD_BYTES
}
