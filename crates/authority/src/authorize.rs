//! Turns a governed act into a [`Permit`] for it, or into a recorded denial.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use journal::Journal;
use model::{
    AccessRequest, Clock, Decision, DecisionId, Denial, Entropy, Facts, InstanceId, Revision,
    Timestamp,
};
use pdp::Snapshot;
use store::{CommitError, Committed, Once, OnceScope, Unit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::clock_guard::ClockGuard;
use crate::committing::Committing;
use crate::findings::{STRANGERS_WAITING_MAX, Seen};
use crate::last_seen::LastSeen;
use crate::making::{Answer, Made, Permitting, UsedUp};
use crate::outcomes::{OUTCOMES_OPEN_MAX, Open, Opening, OutcomeSlot, OutcomeWriter, Pen, Queued};
use crate::permit::{Actor, BEGIN_WITHIN, Circumstances, Governed, Permit};
use crate::pip::{FactsError, Gathered, Pip};
use crate::records::{self, FactsLeaves};
use crate::refusals::REFUSALS_WAITING_MAX;
use crate::watch::Cut;

/// How often a decision whose facts changed under it is made again.
pub(crate) const ATTEMPTS_MAX: u32 = 3;

/// How long an act may be under way before it is decided again, though nothing has changed but the
/// time.
pub const REVIEW_INTERVAL: Duration = Duration::from_secs(10);

/// The bounds of decisions.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From asking to the answer; beyond it the answer is a denial.
    pub decision_timeout: Duration,
    /// How long the answer counts for an act under way; [`REVIEW_INTERVAL`] but in tests.
    pub review_interval: Duration,
    /// The most tasks that are opened in one day (UTC) on behalf of one person, if there is a limit.
    pub tasks_of_person: Option<u64>,
    /// The most calls that are permitted in one day (UTC) on behalf of one person, if there is a
    /// limit.
    pub calls_of_person: Option<u64>,
    /// How long a release of policy decides on after it has expired.
    pub policy_grace: Duration,
}

/// Why there is no permit.
#[derive(Debug, thiserror::Error)]
pub enum NotPermitted {
    /// It was decided, and recorded, that it may not happen.
    #[error("{denial}")]
    Denied {
        /// Why.
        denial: Box<Denial>,
        /// The decision.
        decision: DecisionId,
    },
    /// The facts to decide on could not be gathered.
    #[error("could not gather the facts to decide on")]
    FactsUnavailable(#[from] FactsError),
    /// The clock cannot be trusted.
    #[error(transparent)]
    ClockUnsure(#[from] crate::ClockUnsure),
    /// The decision could not be made durable.
    #[error("could not record the decision")]
    Unrecorded(#[source] CommitError),
    /// What the request proves itself with was used before: this, as far as the store says.
    #[error("the proof was used before")]
    Replayed(Option<Once>),
    /// The facts kept changing.
    #[error("the facts kept changing while it was decided")]
    Contended,
    /// The decision took too long.
    #[error("no decision within the time limit")]
    TimedOut,
    /// Too many permitted acts have no outcome yet.
    #[error("too many permitted acts are under way")]
    Overloaded,
}

impl NotPermitted {
    /// Whether it may be on record as permitted all the same: nobody waited for the commit to the end,
    /// or heard what came of it.
    pub const fn may_be_recorded(&self) -> bool {
        matches!(self, Self::TimedOut | Self::Unrecorded(CommitError::Lost))
    }
}

/// What an [`Authority`] is made of.
pub struct Parts {
    /// Where facts and records are kept.
    pub journal: Journal,
    /// Gathers facts.
    pub pip: Pip,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The time of the newest record.
    pub last_record: Timestamp,
    /// Randomness for ids and salts.
    pub entropy: Arc<dyn Entropy>,
    /// The bounds of decisions.
    pub limits: Limits,
}

/// Decides, records, and hands out permits.
pub struct Authority {
    pub(crate) journal: Journal,
    pub(crate) pip: Pip,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) clock_guard: ClockGuard,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) limits: Limits,
    pub(crate) outcomes: mpsc::UnboundedSender<Queued>,
    /// Places for refusals on their way into the log.
    pub(crate) refusals: Arc<Semaphore>,
    /// Strangers on their way into the register, and their end until somebody keeps them.
    pub(crate) strangers: mpsc::Sender<Seen>,
    pub(crate) strangers_seen: Mutex<Option<mpsc::Receiver<Seen>>>,
    /// Whether findings were committed of which their keeper does not know yet.
    pub(crate) findings_committed: Arc<AtomicBool>,
    pub(crate) facts_leaves: FactsLeaves,
    pub(crate) last_seen: LastSeen,
    /// Places for permits whose outcome is not in the log yet.
    places: Arc<Semaphore>,
}

impl Authority {
    /// An authority of these parts, and the writer that must run beside it.
    pub fn new(parts: Parts) -> (Self, OutcomeWriter) {
        let (outcomes, queue) = mpsc::unbounded_channel();
        let clock_guard = ClockGuard::new(parts.clock.as_ref(), parts.last_record);
        let (journal, entropy) = (parts.journal.clone(), parts.entropy.clone());
        let (calls, unknown) = (parts.pip.calls.clone(), parts.pip.unknown().clone());
        let pen = Pen { journal, clock: parts.clock.clone(), entropy, calls, unknown };
        let writer = OutcomeWriter { queue, pen };
        let (strangers, seen) = mpsc::channel(STRANGERS_WAITING_MAX);
        let authority = Self {
            journal: parts.journal,
            pip: parts.pip,
            clock: parts.clock,
            clock_guard,
            entropy: parts.entropy,
            limits: parts.limits,
            outcomes,
            refusals: Arc::new(Semaphore::new(REFUSALS_WAITING_MAX)),
            strangers,
            strangers_seen: Mutex::new(Some(seen)),
            findings_committed: Arc::default(),
            facts_leaves: FactsLeaves::new(),
            last_seen: LastSeen::new(),
            places: Arc::new(Semaphore::new(OUTCOMES_OPEN_MAX)),
        };
        (authority, writer)
    }

    /// The point that gathers facts.
    pub const fn pip(&self) -> &Pip {
        &self.pip
    }

    /// The journal that records decisions.
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The clock that decisions are made by.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The source of ids and salts.
    pub fn entropy(&self) -> &Arc<dyn Entropy> {
        &self.entropy
    }

    /// When `instance` last asked for something, if it did since the start: to the millisecond, whatever the answer.
    pub fn last_seen(&self, instance: InstanceId) -> Option<Timestamp> {
        self.last_seen.of(instance)
    }

    /// How long a decision may take; whatever is asked for one may take no longer.
    pub const fn decision_timeout(&self) -> Duration {
        self.limits.decision_timeout
    }

    /// The bounds of decisions.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The time, if it can be trusted.
    pub fn trusted_now(&self) -> Result<Timestamp, crate::ClockUnsure> {
        self.clock_guard.now(self.clock.as_ref())
    }

    /// Whether the release of policy in force has expired at `now`, and its grace is over: then it permits no
    /// act of an instance. Administration goes on by it, or nobody could publish another one.
    pub(crate) fn policy_is_over(&self, now: Timestamp) -> bool {
        self.pip.policy_expiry().plus(self.limits.policy_grace) <= now
    }

    /// Trusts the clock as it is, once an administrator's word for it (`clock/trust`) is recorded.
    pub fn trust_clock(&self) {
        self.clock_guard.trust(self.clock.as_ref());
    }

    /// Waits until every permit is closed, and every outcome and refusal is in the log. Nothing is
    /// permitted while somebody waits here: it is for the end of the process.
    pub async fn drained(&self) {
        let all = |most: usize| u32::try_from(most).unwrap_or(u32::MAX);
        // The semaphores are never closed, so this only waits.
        let _ = self.places.acquire_many(all(OUTCOMES_OPEN_MAX)).await;
        let _ = self.refusals.acquire_many(all(REFUSALS_WAITING_MAX)).await;
    }

    /// Decides on `act`, records the decision, and only then answers, within the time limit.
    pub async fn authorize<A: Governed>(&self, act: A) -> Result<Permit<A>, NotPermitted> {
        self.in_time(self.decide_and_record(act)).await
    }

    /// What the set in force answers to what an instance asks; when it is over, nothing is permitted.
    pub(crate) fn answer(
        &self,
        in_force: &Snapshot,
        request: &AccessRequest,
        facts: &Facts,
    ) -> Decision {
        if self.policy_is_over(facts.now) {
            return Decision::Deny(Denial::PolicyExpired);
        }
        in_force.decide(request, facts)
    }

    /// Whether `request` would be permitted as things are now. Nothing is recorded of it.
    pub async fn would_permit(
        &self,
        request: &AccessRequest,
        circumstances: &Circumstances,
    ) -> Result<(), Cut> {
        let undecidable = |error: NotPermitted| Cut::Undecidable(error);
        let gathered = Box::pin(self.gather_settled(request, circumstances));
        let gathered = self.in_time(gathered).await.map_err(undecidable)?;
        let now = self.trusted_now().map_err(|unsure| undecidable(unsure.into()))?;
        let facts = records::facts_of(&gathered, circumstances.shown(), now);
        match self.answer(&gathered.snapshot, request, &facts) {
            Decision::Permit(_) => Ok(()),
            Decision::Deny(denial) => Err(Cut::Denied(Box::new(denial))),
        }
    }

    /// Whether the caller could be permitted `request` with some arguments: what lists show. A tool
    /// that is no longer as it was approved counts as if it were: who could have called it may
    /// learn that it changed.
    pub async fn could_permit(
        &self,
        request: &AccessRequest,
        circumstances: &Circumstances,
    ) -> Result<bool, NotPermitted> {
        // What is soon over takes no room in every act under way.
        let gathered = Box::pin(self.gather_settled(request, circumstances)).await?;
        let now = self.trusted_now()?;
        if self.policy_is_over(now) {
            return Ok(false);
        }
        let mut facts = records::facts_of(&gathered, circumstances.shown(), now);
        if let Some(tool) = facts.tool.as_mut().filter(|tool| !tool.is_pinned()) {
            Arc::make_mut(tool).state = model::ToolState::Pinned;
        }
        Ok(gathered.snapshot.could_permit(request, &facts))
    }

    /// What `answer` comes to, if it comes within the time limit.
    pub(crate) async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, NotPermitted>>,
    ) -> Result<T, NotPermitted> {
        let answer = tokio::time::timeout(self.limits.decision_timeout, answer).await;
        answer.unwrap_or(Err(NotPermitted::TimedOut))
    }

    async fn decide_and_record<A: Governed>(&self, act: A) -> Result<Permit<A>, NotPermitted> {
        let _on_its_way = self.journal.store().announce();
        let mut place = Some(self.place()?);
        let mut used_up = None;
        // That something is used up is written down once more than it is tried to permit it.
        for attempt in 0..=ATTEMPTS_MAX {
            if attempt == ATTEMPTS_MAX && used_up.is_none() {
                break;
            }
            let made = Box::pin(self.make(&act, used_up.as_ref())).await?;
            let Some(made) = made else { continue };
            let Made { answer, unit, leaf, found } = made;
            let (opening, denial) = match answer {
                Answer::Permit(permitting) => {
                    let place = place.take().expect("it is given back after each attempt");
                    (Some(Opening { permitting, place, begins: false }), None)
                }
                Answer::Deny(denial) => (None, Some(denial)),
            };
            let (committed, mut opening) = self.commit(unit, opening.into_iter().collect()).await;
            match committed {
                Ok(committed) => {
                    leaf.mark_written();
                    self.note_found(found);
                    let opening = opening.pop().ok_or_else(|| denial.expect("it is one of both"));
                    return Ok(self.permit(act, opening?, &committed));
                }
                Err(CommitError::Changed { .. } | CommitError::Exists { .. }) => {}
                Err(CommitError::OverLimit { counter }) => used_up = Some(UsedUp::Limit(counter)),
                Err(CommitError::Used(Some(Once { scope: OnceScope::Token, .. }))) => {
                    used_up = Some(UsedUp::Token);
                }
                Err(error) => return Err(unrecorded(error)),
            }
            place = place.or(opening.pop().map(|opening| opening.place));
        }
        Err(NotPermitted::Contended)
    }

    /// A place for a permit whose outcome is not in the log yet.
    pub(crate) fn place(&self) -> Result<OwnedSemaphorePermit, NotPermitted> {
        self.places.clone().try_acquire_owned().map_err(|_| NotPermitted::Overloaded)
    }

    pub(crate) async fn gather(
        &self,
        request: &AccessRequest,
        circumstances: &Circumstances,
    ) -> Result<Gathered, FactsError> {
        match &circumstances.actor {
            Actor::Known(instance) => self.pip.gather(*instance, request).await,
            Actor::Proposed { standing, .. } => self.pip.gather_for(standing, request).await,
        }
    }

    /// The same, tried again while the facts change.
    async fn gather_settled(
        &self,
        request: &AccessRequest,
        circumstances: &Circumstances,
    ) -> Result<Gathered, NotPermitted> {
        for _ in 0..ATTEMPTS_MAX {
            match self.gather(request, circumstances).await {
                Err(FactsError::Changed) => {}
                gathered => return Ok(gathered?),
            }
        }
        Err(NotPermitted::Contended)
    }

    /// Commits `unit`, which opens `openings`: gives them back.
    pub(crate) async fn commit(
        &self,
        unit: Unit,
        openings: Vec<Opening>,
    ) -> (Result<Committed, CommitError>, Vec<Opening>) {
        // Who else is about to commit gets as far as this, so that one sync is for all of them.
        tokio::task::yield_now().await;
        let (store, queue) = (self.journal.store().clone(), self.outcomes.clone());
        Committing::new(store, unit, openings, queue).wait().await
    }

    /// The permit that `committed` opened.
    pub(crate) fn permit<A: Governed>(
        &self,
        act: A,
        Opening { permitting, place, begins }: Opening,
        committed: &Committed,
    ) -> Permit<A> {
        let Permitting { grant, closing, counted, since, session, marking, found, .. } =
            permitting.opened(committed);
        let context = closing.context.clone();
        for (place, counter) in counted {
            if let Some(calls) = committed.counters.get(place) {
                self.pip.calls.counted(&counter, *calls, since);
            }
        }
        if let Some(found) = found {
            self.note_stranger(found);
        }
        let begin_by = self.clock.monotonic().saturating_add(BEGIN_WITHIN);
        // The permit rests on the facts as its own commit left them.
        let slot = self.slot((closing, place), begins, committed.revision);
        Permit { act, grant, context, begin_by, slot, session, marking }
    }

    fn slot(&self, open: Open, has_begun: bool, revision: Revision) -> OutcomeSlot {
        OutcomeSlot {
            open: Some(open),
            has_begun,
            queue: self.outcomes.clone(),
            clock: self.clock.clone(),
            changes: self.pip.changes().clone(),
            unknown: self.pip.unknown().clone(),
            revision,
        }
    }
}

/// Why a unit that was refused permits nothing.
pub(crate) fn unrecorded(error: CommitError) -> NotPermitted {
    match error {
        CommitError::Changed { .. } | CommitError::Exists { .. } => NotPermitted::Contended,
        CommitError::Used(used) => NotPermitted::Replayed(used),
        other => NotPermitted::Unrecorded(other),
    }
}
