//! Turns a governed act into a [`Permit`] for it, or into a recorded denial.

use std::sync::Arc;
use std::time::Duration;

use journal::Journal;
use model::{
    AccessRequest, ActDigest, Clock, Decision, DecisionId, Denial, Entropy, FactKey, Facts,
    Revision, Sourced, Standing, Timestamp,
};
use store::{CommitError, Committed, Effect, Unit, Urgency};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::clock_guard::ClockGuard;
use crate::outcomes::{Closed, Closing, OUTCOMES_OPEN_MAX, OutcomeSlot, OutcomeWriter};
use crate::permit::{Actor, BEGIN_WITHIN, Circumstances, Governed, Permit, PermitContext};
use crate::pip::{FactsError, Gathered, Pip, calls_counter};
use crate::records::{self, Decided, DecisionEntry, FactsLeaf, FactsLeaves};

/// How often a decision whose facts changed under it is made again.
const ATTEMPTS_MAX: u32 = 3;

/// The bounds of one decision.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From asking to the answer; beyond it the answer is a denial.
    pub decision_timeout: Duration,
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
    /// What the request proves itself with was used before.
    #[error("the proof was used before")]
    Replayed,
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
    /// The bounds of one decision.
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
    facts_leaves: FactsLeaves,
    outcomes: mpsc::UnboundedSender<Closed>,
    places: Arc<Semaphore>,
}

/// A question with what was gathered for it.
struct Question<'a> {
    request: &'a AccessRequest,
    circumstances: &'a Circumstances,
    gathered: Gathered,
    facts: Facts,
    act: ActDigest,
}

/// What a permit is made of beside its act.
struct Granted {
    grant: model::Grant,
    context: PermitContext,
    slot: OutcomeSlot,
}

impl Authority {
    /// An authority of these parts, and the writer that must run beside it.
    pub fn new(parts: Parts) -> (Self, OutcomeWriter) {
        let (outcomes, queue) = mpsc::unbounded_channel();
        let clock_guard = ClockGuard::new(parts.clock.as_ref(), parts.last_record);
        let writer =
            OutcomeWriter { queue, journal: parts.journal.clone(), entropy: parts.entropy.clone() };
        let authority = Self {
            journal: parts.journal,
            pip: parts.pip,
            clock: parts.clock,
            clock_guard,
            entropy: parts.entropy,
            limits: parts.limits,
            facts_leaves: FactsLeaves::new(),
            outcomes,
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

    /// The time, if it can be trusted.
    pub fn trusted_now(&self) -> Result<Timestamp, crate::ClockUnsure> {
        self.clock_guard.now(self.clock.as_ref())
    }

    /// Trusts the clock as it is: an administrator's word.
    pub fn trust_clock(&self) {
        self.clock_guard.trust(self.clock.as_ref());
    }

    /// Decides on `act`, records the decision, and only then answers, within the time limit.
    pub async fn authorize<A: Governed>(&self, act: A) -> Result<Permit<A>, NotPermitted> {
        let within = self.limits.decision_timeout;
        match tokio::time::timeout(within, self.decide_and_record(act)).await {
            Ok(answer) => answer,
            Err(_) => Err(NotPermitted::TimedOut),
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
        let gathered = self.gather(request, circumstances).await?;
        let now = self.trusted_now()?;
        let mut facts = records::facts_of(&gathered, circumstances.binding, now);
        if let Some(tool) = facts.tool.as_mut().filter(|tool| !tool.is_pinned()) {
            Arc::make_mut(tool).state = model::ToolState::Pinned;
        }
        Ok(gathered.snapshot.could_permit(request, &facts))
    }

    async fn decide_and_record<A: Governed>(&self, act: A) -> Result<Permit<A>, NotPermitted> {
        let _on_its_way = self.journal.store().announce();
        let place = self.places.clone().try_acquire_owned();
        let place = place.map_err(|_| NotPermitted::Overloaded)?;
        let mut forced = None;
        for _ in 0..ATTEMPTS_MAX {
            let question = self.ask(act.request(), act.circumstances()).await?;
            let Some(question) = question else { continue };
            let decision = forced.take().map_or_else(|| self.decide(&question), Decision::Deny);
            let (unit, entry, leaf) = self.unit_for(&question, &decision).await?;
            match self.journal.store().commit(unit).await {
                Ok(committed) => {
                    leaf.mark_written();
                    let granted = self.granted(&question, (decision, entry, committed), place)?;
                    let Granted { grant, context, slot } = granted;
                    let begin_by = self.clock.monotonic().saturating_add(BEGIN_WITHIN);
                    return Ok(Permit { act, grant, context, begin_by, slot });
                }
                Err(CommitError::Changed { .. } | CommitError::Exists { .. }) => {}
                Err(CommitError::Used) => return Err(NotPermitted::Replayed),
                Err(CommitError::OverLimit { counter }) => {
                    forced = Some(Denial::LimitReached { counter: counter.0 });
                }
                Err(error) => return Err(NotPermitted::Unrecorded(error)),
            }
        }
        Err(NotPermitted::Contended)
    }

    /// Gathers what `request` needs; `None` if the facts changed meanwhile.
    async fn ask<'a>(
        &self,
        request: &'a AccessRequest,
        circumstances: &'a Circumstances,
    ) -> Result<Option<Question<'a>>, NotPermitted> {
        let now = self.trusted_now()?;
        let gathered = match self.gather(request, circumstances).await {
            Ok(gathered) => gathered,
            Err(FactsError::Changed) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let facts = records::facts_of(&gathered, circumstances.binding, now);
        let act = records::act_digest(&gathered.standing.agent.name, request);
        Ok(Some(Question { request, circumstances, gathered, facts, act }))
    }

    async fn gather(
        &self,
        request: &AccessRequest,
        circumstances: &Circumstances,
    ) -> Result<Gathered, FactsError> {
        match &circumstances.actor {
            Actor::Known(instance) => self.pip.gather(*instance, &request.resource).await,
            Actor::Proposed { standing, .. } => {
                let Sourced { value, keys, revision } = Sourced::clone(standing);
                let standing = Sourced::<Arc<Standing>> { value: Arc::new(value), keys, revision };
                self.pip.gather_for(&standing, &request.resource).await
            }
        }
    }

    fn decide(&self, question: &Question<'_>) -> Decision {
        let decision = question.gathered.snapshot.decide(question.request, &question.facts);
        let consequential = question.facts.is_consequential();
        if consequential && self.pip.outcome_unknown(&question.act) {
            return Decision::Deny(Denial::OutcomeUnknown);
        }
        decision
    }

    /// The unit that makes `decision` happen.
    async fn unit_for(
        &self,
        question: &Question<'_>,
        decision: &Decision,
    ) -> Result<(Unit, DecisionEntry, Arc<FactsLeaf>), NotPermitted> {
        let Question { request, circumstances, gathered, facts, .. } = question;
        let stamp = (facts.now, self.entropy.as_ref());
        let sealed = |error: journal::SealError| NotPermitted::Unrecorded(error.into());
        let leaf = self.facts_leaves.leaf(gathered, stamp, &self.journal).await.map_err(sealed)?;
        let waited = self.clock.monotonic().saturating_sub(circumstances.arrived);
        let latency_us = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        let decided = Decided { request, circumstances, gathered, facts, decision, latency_us };
        let entry = records::decision_entry(&decided, &leaf, self.entropy.as_ref(), &self.journal);
        let entry = entry.await.map_err(sealed)?;

        let entries = leaf.unwritten().into_iter().chain([entry.entry.clone()]).collect();
        let mut unit = Unit {
            entries,
            effects: circumstances.uses.clone(),
            revision: gathered.revision,
            urgency: Urgency::Awaited,
            ..Unit::default()
        };
        // A denial needs no fence: what it read may have changed, it still harms nobody.
        if matches!(decision, Decision::Permit(_)) {
            unit.reads = read_set(question);
            unit.effects.extend(effects_of(question));
        }
        Ok((unit, entry, leaf))
    }

    /// What a committed decision grants, if it does.
    fn granted(
        &self,
        question: &Question<'_>,
        (decision, entry, committed): (Decision, DecisionEntry, Committed),
        place: OwnedSemaphorePermit,
    ) -> Result<Granted, NotPermitted> {
        let grant = match decision {
            Decision::Permit(grant) => grant,
            Decision::Deny(denial) => {
                return Err(NotPermitted::Denied { denial: Box::new(denial), decision: entry.id });
            }
        };
        if is_counted(question.request) {
            self.pip.count_call(question.gathered.standing.task.id);
        }
        let context = PermitContext {
            decision: entry.id,
            index: *committed.indices.last().expect("the unit had the decision's entry"),
            standing: question.gathered.standing.clone(),
            act: question.act,
            reads: read_set(question),
            obligations: grant.obligations.iter().cloned().collect(),
            people: entry.people,
        };
        let closing = Closing {
            context: context.clone(),
            decided_at: question.facts.now,
            consequential: question.facts.is_consequential(),
        };
        // The permit rests on the facts as its own commit left them.
        let slot = self.slot((closing, place), committed.revision);
        Ok(Granted { grant, context, slot })
    }

    fn slot(&self, open: (Closing, OwnedSemaphorePermit), revision: Revision) -> OutcomeSlot {
        OutcomeSlot {
            open: Some(open),
            has_begun: false,
            queue: self.outcomes.clone(),
            clock: self.clock.clone(),
            changes: self.pip.changes().clone(),
            revision,
        }
    }
}

fn read_set(question: &Question<'_>) -> Vec<FactKey> {
    let mut reads = question.gathered.keys.clone();
    if question.facts.is_consequential() {
        reads.push(FactKey::unknown_outcome(&question.act));
    }
    reads
}

/// Whether a request counts against the calls of its session.
fn is_counted(request: &AccessRequest) -> bool {
    matches!(request.resource, model::ResourceRef::Tool(_))
}

fn effects_of(question: &Question<'_>) -> Vec<Effect> {
    let mut effects = Vec::new();
    if let Actor::Proposed { effects: enter, .. } = &question.circumstances.actor {
        effects.extend(enter.iter().cloned());
    }
    let task = &question.gathered.standing.task;
    if is_counted(question.request) {
        let limit = task.scope.max_calls.and_then(|most| i64::try_from(most).ok());
        effects.push(Effect::Count { counter: calls_counter(task.id), amount: 1, limit });
    }
    effects.push(Effect::OpenPermit);
    effects
}
