//! Turns a governed act into a [`Permit`] for it, or into a recorded denial.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use journal::Journal;
use model::{
    AccessRequest, ActDigest, Clock, Decision, DecisionId, Denial, Entropy, FactKey, Facts, Grant,
    ResourceRef, Revision, Sourced, Standing, Stranger, Timestamp,
};
use store::{CommitError, Committed, Effect, Unit, Urgency};
use tokio::sync::{Semaphore, mpsc};

use crate::accounts;
use crate::clock_guard::ClockGuard;
use crate::committing::Committing;
use crate::counted;
use crate::findings::STRANGERS_WAITING_MAX;
use crate::outcomes::{
    Closing, OUTCOMES_OPEN_MAX, Opening, OutcomeSlot, OutcomeWriter, Pen, Queued,
};
use crate::permit::{Actor, BEGIN_WITHIN, Circumstances, Governed, Permit, PermitContext};
use crate::pip::{FactsError, Gathered, Pip};
use crate::records::{self, Decided, DecisionEntry, FactsLeaf, FactsLeaves};
use crate::refusals::REFUSALS_WAITING_MAX;

/// How often a decision whose facts changed under it is made again.
const ATTEMPTS_MAX: u32 = 3;

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
    pub(crate) strangers: mpsc::Sender<Stranger>,
    pub(crate) strangers_seen: Mutex<Option<mpsc::Receiver<Stranger>>>,
    facts_leaves: FactsLeaves,
    /// Places for permits whose outcome is not in the log yet.
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

/// A decision on its way into the log.
struct Made {
    decision: Decision,
    unit: Unit,
    entry: DecisionEntry,
    leaf: Arc<FactsLeaf>,
}

impl Authority {
    /// An authority of these parts, and the writer that must run beside it.
    pub fn new(parts: Parts) -> (Self, OutcomeWriter) {
        let (outcomes, queue) = mpsc::unbounded_channel();
        let clock_guard = ClockGuard::new(parts.clock.as_ref(), parts.last_record);
        let (journal, entropy) = (parts.journal.clone(), parts.entropy.clone());
        let pen = Pen { journal, clock: parts.clock.clone(), entropy };
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
            facts_leaves: FactsLeaves::new(),
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
        let mut place = Some(place.map_err(|_| NotPermitted::Overloaded)?);
        let mut forced = None;
        for _ in 0..ATTEMPTS_MAX {
            let question = self.ask(act.request(), act.circumstances()).await?;
            let Some(question) = question else { continue };
            let decision = match forced.take() {
                Some(denial) => Decision::Deny(denial),
                None => self.decide(&question).await?,
            };
            let Made { decision, mut unit, entry, leaf } = self.made(&question, decision).await?;
            if let (Decision::Permit(_), Some((keys, revision))) = (&decision, act.rests()) {
                unit.reads.extend(keys.iter().cloned());
                unit.revision = unit.revision.min(revision);
            }
            let id = entry.id;
            let opening = match &decision {
                Decision::Permit(grant) => {
                    let place = place.take().expect("it is given back after each attempt");
                    Some((closing_of(&question, grant, entry), place))
                }
                Decision::Deny(_) => None,
            };
            let (store, queue) = (self.journal.store().clone(), self.outcomes.clone());
            let (committed, opening) = Committing::new(store, unit, opening, queue).wait().await;
            match committed {
                Ok(committed) => {
                    leaf.mark_written();
                    let opening = match (decision, opening) {
                        (Decision::Permit(grant), Some(opening)) => (grant, opening),
                        (decision, _) => return Err(denied(decision, id)),
                    };
                    if let (true, Some(found)) =
                        (is_counted(act.request()), accounts::found(&question.gathered))
                    {
                        self.note_stranger(found);
                    }
                    let counters = question.facts.session.counters;
                    return Ok(self.permit(act, opening, counters, &committed));
                }
                Err(CommitError::Changed { .. } | CommitError::Exists { .. }) => {}
                Err(CommitError::Used) => return Err(NotPermitted::Replayed),
                Err(CommitError::OverLimit { counter }) => {
                    forced = Some(Denial::LimitReached { counter: counter.0 });
                }
                Err(error) => return Err(NotPermitted::Unrecorded(error)),
            }
            place = place.or(opening.map(|(_, place)| place));
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
        let act = records::act_digest(&gathered.standing.mandate.agent, request);
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

    async fn decide(&self, question: &Question<'_>) -> Result<Decision, NotPermitted> {
        let decision = question.gathered.snapshot.decide(question.request, &question.facts);
        let permits = matches!(decision, Decision::Permit(_));
        let consequential = question.facts.is_consequential();
        if permits && consequential && self.pip.outcome_unknown(&question.act).await? {
            return Ok(Decision::Deny(Denial::OutcomeUnknown));
        }
        Ok(decision)
    }

    /// The unit that makes `decision` happen.
    async fn made(
        &self,
        question: &Question<'_>,
        decision: Decision,
    ) -> Result<Made, NotPermitted> {
        let Question { request, circumstances, gathered, facts, .. } = question;
        let stamp = (facts.now, self.entropy.as_ref());
        let sealed = |error: journal::SealError| NotPermitted::Unrecorded(error.into());
        let leaf = self.facts_leaves.leaf(gathered, stamp, &self.journal).await.map_err(sealed)?;
        let waited = self.clock.monotonic().saturating_sub(circumstances.arrived);
        let latency_us = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        let decided =
            Decided { request, circumstances, gathered, facts, decision: &decision, latency_us };
        let entry = records::decision_entry(&decided, &leaf, self.entropy.as_ref(), &self.journal);
        let entry = entry.await.map_err(sealed)?;

        let mut unit = Unit {
            entries: leaf.unwritten().into_iter().collect(),
            effects: circumstances.uses.clone(),
            revision: gathered.revision,
            urgency: Urgency::Awaited,
            ..Unit::default()
        };
        // A denial needs no fence: what it read may have changed, it still harms nobody.
        if let Decision::Permit(grant) = &decision {
            unit.reads = read_set(question);
            unit.effects.extend(self.effects_of(question, grant));
            if let Actor::Proposed { entries, .. } = &circumstances.actor {
                unit.entries.extend(entries.iter().cloned());
            }
        }
        // Last, where its index is looked for.
        unit.entries.push(entry.entry.clone());
        Ok(Made { decision, unit, entry, leaf })
    }

    fn effects_of(&self, question: &Question<'_>, grant: &Grant) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Actor::Proposed { effects: enter, .. } = &question.circumstances.actor {
            effects.extend(enter.iter().cloned());
        }
        if is_counted(question.request) {
            let Question { gathered, facts, .. } = question;
            let day = (facts.now, &self.limits);
            effects.extend(counted::call(&gathered.standing, grant.elevation, day));
            effects.extend(accounts::joined(gathered));
        }
        effects.push(Effect::OpenPermit);
        effects
    }

    /// The permit that `committed` opened.
    fn permit<A: Governed>(
        &self,
        act: A,
        (grant, (mut closing, place)): (Grant, Opening),
        counters: BTreeMap<String, i64>,
        committed: &Committed,
    ) -> Permit<A> {
        if let (true, Some(calls)) = (is_counted(act.request()), committed.counters.last()) {
            self.pip.note_calls(closing.context.standing.root().id, *calls);
        }
        let index = committed.indices.last().expect("the unit had the decision's entry");
        (closing.context.index, closing.context.revision) = (*index, committed.revision);
        let context = closing.context.clone();
        let begin_by = self.clock.monotonic().saturating_add(BEGIN_WITHIN);
        // The permit rests on the facts as its own commit left them.
        let slot = self.slot((closing, place), committed.revision);
        Permit { act, grant, context, begin_by, slot, counters }
    }

    fn slot(&self, open: Opening, revision: Revision) -> OutcomeSlot {
        OutcomeSlot {
            open: Some(open),
            has_begun: false,
            queue: self.outcomes.clone(),
            clock: self.clock.clone(),
            changes: self.pip.changes().clone(),
            unknown: self.pip.unknown().clone(),
            revision,
        }
    }
}

/// What closes the permit that a decision opens, but for its place in the log.
fn closing_of(question: &Question<'_>, grant: &Grant, entry: DecisionEntry) -> Closing {
    let context = PermitContext {
        decision: entry.id,
        index: 0,
        standing: question.gathered.standing.clone(),
        act: question.act,
        reads: read_set(question),
        ends: question.gathered.standing.ends(grant.elevation),
        revision: question.gathered.revision,
        obligations: grant.obligations.iter().cloned().collect(),
        people: entry.people,
    };
    let consequential = question.facts.is_consequential();
    Closing { context, decided_at: question.facts.now, consequential }
}

fn denied(decision: Decision, id: DecisionId) -> NotPermitted {
    match decision {
        Decision::Deny(denial) => NotPermitted::Denied { denial: Box::new(denial), decision: id },
        Decision::Permit(_) => unreachable!("a permit has a place until it is given to somebody"),
    }
}

fn read_set(question: &Question<'_>) -> Vec<FactKey> {
    let mut reads = question.gathered.keys.clone();
    if question.facts.is_consequential() {
        reads.push(FactKey::unknown_outcome(&question.act));
    }
    reads
}

/// Whether a request counts against the calls of its session: a call of a tool does, and so does
/// reading a resource or a prompt, which tells as much.
fn is_counted(request: &AccessRequest) -> bool {
    let is_read = matches!(
        request.resource,
        ResourceRef::Tool(_) | ResourceRef::Resource { .. } | ResourceRef::Prompt { .. }
    );
    // What only takes less is never too much.
    is_read && request.action.as_str() != "resources/unsubscribe"
}
