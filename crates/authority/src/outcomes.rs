//! Outcomes: the third step of every permitted act, written without anybody waiting.
//!
//! A permit reserves its place here beforehand, so a log that cannot grow closes the gate instead
//! of losing outcomes. Dropping a begun act is an outcome too: *unknown*. Refusal records, for which
//! nobody waits either, are written here as well.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use journal::Journal;
use model::record::{OutcomeKind, OutcomeRecord, VERSION};
use model::{Clock, Entropy, FactKey, RecordId, Revision, Sha256Digest, Timestamp};
use store::{CommitError, Committed, Effect, Unit, Urgency};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::changes::Changes;
use crate::committing::Abandoned;
use crate::known_calls::KnownCalls;
use crate::making::Permitting;
use crate::permit::PermitContext;
use crate::refusals::{FOLDED_FOR, RefusalLog};
use crate::reserved::{self, Reserved};
use crate::unknown::Unknown;

/// The most permits whose outcome is not yet in the log; beyond that nothing is permitted.
pub const OUTCOMES_OPEN_MAX: usize = 8_192;

/// How long to wait before an outcome that could not be written is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// Everything that an outcome record takes from its decision.
#[derive(Clone, Debug)]
pub(crate) struct Closing {
    pub(crate) context: PermitContext,
    pub(crate) consequential: bool,
    /// What the permit has taken, which is kept with it.
    pub(crate) reserved: Reserved,
}

/// A permit that a commit under way will open, with its place in the queue.
pub(crate) struct Opening {
    pub(crate) permitting: Box<Permitting>,
    pub(crate) place: OwnedSemaphorePermit,
    /// Whether the act begins with the commit: so it does where that enters what the act leads to.
    pub(crate) begins: bool,
}

/// How a permitted act ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) outcome: OutcomeKind,
    pub(crate) result: Option<Sha256Digest>,
    /// Whether it is sure that nothing happened: then what was taken for it is given back.
    pub(crate) is_nothing: bool,
}

impl End {
    /// It ended so, and something happened, or may have.
    pub(crate) const fn of(outcome: OutcomeKind, result: Option<Sha256Digest>) -> Self {
        Self { outcome, result, is_nothing: false }
    }

    /// Whoever was to do it has not heard of it.
    pub(crate) const fn unsent() -> Self {
        Self { outcome: OutcomeKind::Failed, result: None, is_nothing: true }
    }

    /// Nobody says how it ended.
    const fn left(has_begun: bool) -> Self {
        if has_begun {
            Self::of(OutcomeKind::Unknown, None)
        } else {
            Self { outcome: OutcomeKind::NotStarted, result: None, is_nothing: true }
        }
    }
}

/// A permit that is open, with its place in the queue.
pub(crate) type Open = (Closing, OwnedSemaphorePermit);

/// What is to be written while nobody waits.
pub(crate) enum Queued {
    /// The outcome of a permit.
    Closed(Closed),
    /// A commit that may still open a permit.
    Abandoned(Abandoned),
    /// A refusal: written once or not at all.
    Refusal(Unit, OwnedSemaphorePermit),
    /// Refusals that were counted and not written: written a little later, as one.
    Folded(RefusalLog),
}

/// One outcome on its way into the log.
#[derive(Debug)]
pub(crate) struct Closed {
    closing: Closing,
    end: End,
    at: Timestamp,
    /// Freed when the outcome is written.
    _place: OwnedSemaphorePermit,
}

impl Closed {
    /// The permit that was open ended so: where nobody knows what it has done, that counts from now on, not only once
    /// it is recorded.
    fn new((closing, place): Open, (end, at): (End, Timestamp), unknown: &Unknown) -> Self {
        let closed = Self { closing, end, at, _place: place };
        if let Some(mark) = closed.mark() {
            unknown.ended(mark);
        }
        closed
    }

    /// The mark of the act, if nobody knows what it has done.
    fn mark(&self) -> Option<FactKey> {
        let is_unknown = leaves_unknown(self.end.outcome, &self.closing);
        is_unknown.then(|| FactKey::unknown_outcome(&self.closing.context.act))
    }

    /// Whether something was taken for what surely did not happen.
    fn gives_back(&self) -> bool {
        self.end.is_nothing && !self.closing.reserved.is_empty()
    }
}

/// The open end of one permit.
pub(crate) struct OutcomeSlot {
    pub(crate) open: Option<Open>,
    pub(crate) has_begun: bool,
    pub(crate) queue: mpsc::UnboundedSender<Queued>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) changes: Arc<Changes>,
    pub(crate) unknown: Arc<Unknown>,
    pub(crate) revision: Revision,
}

impl std::fmt::Debug for OutcomeSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutcomeSlot").field("has_begun", &self.has_begun).finish_non_exhaustive()
    }
}

impl OutcomeSlot {
    /// Whether the facts that the decision read are, as far as is known here, still true.
    pub(crate) fn still_true(&self) -> bool {
        let Some((closing, _)) = &self.open else { return false };
        self.changes.fresh_as_of(&[(&closing.context.reads, self.revision)]).is_some()
    }

    /// From now on, whoever watches it knows what it rests on.
    pub(crate) fn begun(&mut self) {
        self.has_begun = true;
        if let Some((closing, _)) = &mut self.open {
            closing.context.reads = Vec::new();
        }
    }

    pub(crate) fn close(&mut self, end: End) {
        let Some(open) = self.open.take() else { return };
        let closed = Closed::new(open, (end, self.clock.now()), &self.unknown);
        // The receiver lives as long as the process: if it is gone, the restart writes *unknown*.
        let _ = self.queue.send(Queued::Closed(closed));
    }
}

impl Drop for OutcomeSlot {
    fn drop(&mut self) {
        self.close(End::left(self.has_begun));
    }
}

/// Writes outcomes into the log, in the background, until the process ends.
pub struct OutcomeWriter {
    pub(crate) queue: mpsc::UnboundedReceiver<Queued>,
    pub(crate) pen: Pen,
}

/// What writing takes.
pub(crate) struct Pen {
    pub(crate) journal: Journal,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) calls: KnownCalls,
    pub(crate) unknown: Arc<Unknown>,
}

impl OutcomeWriter {
    /// Writes outcomes as they come; returns when every permit is closed and the queue is done.
    pub async fn run(self) {
        let Self { mut queue, pen } = self;
        let mut writing = FuturesUnordered::new();
        let mut open = true;
        while open || !writing.is_empty() {
            tokio::select! {
                next = queue.recv(), if open => match next {
                    Some(queued) => writing.push(pen.write(queued)),
                    None => open = false,
                },
                Some(()) = writing.next() => {}
            }
        }
    }
}

impl Pen {
    async fn write(&self, queued: Queued) {
        match queued {
            Queued::Closed(closed) => self.write_outcome(&closed).await,
            Queued::Abandoned(abandoned) => self.close_abandoned(abandoned).await,
            Queued::Refusal(unit, _place) => self.write_refusal(unit).await,
            Queued::Folded(refusals) => {
                tokio::time::sleep(FOLDED_FOR).await;
                if let Some(unit) = refusals.unfold((self.clock.now(), self.entropy.as_ref())) {
                    self.write_refusal(unit).await;
                }
            }
        }
    }

    async fn write_outcome(&self, closed: &Closed) {
        loop {
            match self.try_to_write(closed).await {
                Ok(_) | Err(CommitError::Used(_)) => break,
                Err(error) => tracing::warn!(%error, "could not record an outcome, trying again"),
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
        if let Some(mark) = closed.mark() {
            self.unknown.written(&mark);
        }
        if closed.gives_back() {
            self.calls.forget(&closed.closing.reserved);
        }
    }

    async fn try_to_write(&self, closed: &Closed) -> Result<Committed, CommitError> {
        let Closed { closing: Closing { context, reserved, .. }, end, .. } = closed;
        let record = outcome_record(closed, self.entropy.as_ref());
        let entries = vec![journal::entry(*record.id.as_bytes(), &record, None)];
        let mut effects = vec![Effect::ClosePermit { index: context.index }];
        if leaves_unknown(end.outcome, &closed.closing) {
            effects.extend(reserved::lost(&context.act, context.decision, reserved));
        }
        if closed.gives_back() {
            effects.extend(reserved.given_back());
        }
        let unit = Unit { entries, effects, urgency: Urgency::Deferred, ..Unit::default() };
        self.journal.store().commit(unit).await
    }

    /// Nobody holds the permits that the commit opened, if it did: what they permit is begun no more.
    async fn close_abandoned(&self, Abandoned { commit, openings }: Abandoned) {
        let Ok(committed) = commit.await else { return };
        for Opening { permitting, place, begins } in openings {
            let closing = permitting.opened(&committed).closing;
            let end = (End::left(begins), self.clock.now());
            let closed = Closed::new((closing, place), end, &self.unknown);
            self.write_outcome(&closed).await;
        }
    }

    async fn write_refusal(&self, unit: Unit) {
        if let Err(error) = self.journal.store().commit(unit).await {
            tracing::warn!(%error, "could not record a refusal");
        }
    }
}

/// Whether nobody knows what a consequential act has done. One that was cut may have done it.
fn leaves_unknown(outcome: OutcomeKind, closing: &Closing) -> bool {
    closing.consequential && matches!(outcome, OutcomeKind::Unknown | OutcomeKind::Cut)
}

fn outcome_record(closed: &Closed, entropy: &dyn Entropy) -> OutcomeRecord {
    let Closed { closing, end: End { outcome, result, .. }, at, .. } = closed;
    let (at, standing) = (*at, &closing.context.standing);
    OutcomeRecord {
        agent: standing.agent.name.clone(),
        commitments: closing.context.people.into(),
        decision: closing.context.decision,
        duration_ms: u64::try_from(at.since(closing.context.decided).as_millis())
            .unwrap_or(u64::MAX),
        given_back: closed.gives_back(),
        id: RecordId::new(at, entropy),
        instance: standing.instance.id,
        kind: "outcome".to_owned(),
        mandate: Some(standing.task.mandate_digest),
        outcome: *outcome,
        purpose: standing.purpose.id.clone(),
        result: *result,
        task: standing.task.id,
        time: at,
        v: VERSION,
    }
}
