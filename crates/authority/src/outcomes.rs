//! Outcomes: the third step of every permitted act, written without anybody waiting.
//!
//! A permit reserves its place here beforehand, so a log that cannot grow closes the gate instead
//! of losing outcomes. Dropping a begun act is an outcome too: *unknown*.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use journal::Journal;
use model::record::{OutcomeKind, OutcomeRecord, VERSION};
use model::{Clock, Entropy, FactKey, RecordId, Revision, Sha256Digest, Timestamp};
use store::{CommitError, Effect, Unit, Urgency};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::changes::Changes;
use crate::permit::PermitContext;

/// The most permits whose outcome is not yet in the log; beyond that nothing is permitted.
pub const OUTCOMES_OPEN_MAX: usize = 8_192;

/// How long to wait before an outcome that could not be written is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// Everything that an outcome record takes from its decision.
#[derive(Clone, Debug)]
pub(crate) struct Closing {
    pub(crate) context: PermitContext,
    pub(crate) decided_at: Timestamp,
    pub(crate) consequential: bool,
}

/// One outcome on its way into the log.
#[derive(Debug)]
pub(crate) struct Closed {
    closing: Closing,
    outcome: OutcomeKind,
    result: Option<Sha256Digest>,
    at: Timestamp,
    /// Freed when the outcome is written.
    _place: OwnedSemaphorePermit,
}

/// The open end of one permit.
pub(crate) struct OutcomeSlot {
    pub(crate) open: Option<(Closing, OwnedSemaphorePermit)>,
    pub(crate) has_begun: bool,
    pub(crate) queue: mpsc::UnboundedSender<Closed>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) changes: Arc<Changes>,
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

    pub(crate) const fn begun(&mut self) {
        self.has_begun = true;
    }

    pub(crate) fn close(&mut self, outcome: OutcomeKind, result: Option<Sha256Digest>) {
        let Some((closing, place)) = self.open.take() else { return };
        let at = self.clock.now();
        // The receiver lives as long as the process: if it is gone, the restart writes *unknown*.
        let _ = self.queue.send(Closed { closing, outcome, result, at, _place: place });
    }
}

impl Drop for OutcomeSlot {
    fn drop(&mut self) {
        let outcome = if self.has_begun { OutcomeKind::Unknown } else { OutcomeKind::NotStarted };
        self.close(outcome, None);
    }
}

/// Writes outcomes into the log, in the background, until the process ends.
pub struct OutcomeWriter {
    pub(crate) queue: mpsc::UnboundedReceiver<Closed>,
    pub(crate) journal: Journal,
    pub(crate) entropy: Arc<dyn Entropy>,
}

impl OutcomeWriter {
    /// Writes outcomes as they come; returns when every permit is closed and the queue is done.
    pub async fn run(mut self) {
        let (journal, entropy) = (self.journal.clone(), self.entropy.clone());
        let mut writing = FuturesUnordered::new();
        let mut open = true;
        while open || !writing.is_empty() {
            tokio::select! {
                next = self.queue.recv(), if open => match next {
                    Some(closed) => writing.push(write(&journal, entropy.as_ref(), closed)),
                    None => open = false,
                },
                Some(()) = writing.next() => {}
            }
        }
    }
}

async fn write(journal: &Journal, entropy: &dyn Entropy, closed: Closed) {
    loop {
        let unit = unit_of(&closed, entropy);
        match journal.store().commit(unit).await {
            Ok(_) | Err(CommitError::Used) => return,
            Err(error) => tracing::warn!(%error, "could not record an outcome, trying again"),
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

fn unit_of(closed: &Closed, entropy: &dyn Entropy) -> Unit {
    let Closed { closing, outcome, result, at, .. } = closed;
    let record = outcome_record(closing, (*outcome, *result), *at, entropy);
    let mut effects = vec![Effect::ClosePermit { index: closing.context.index }];
    if *outcome == OutcomeKind::Unknown && closing.consequential {
        effects.push(unknown_mark(&closing.context));
    }
    let entries = vec![journal::entry(*record.id.as_bytes(), &record, None)];
    Unit { entries, effects, urgency: Urgency::Deferred, ..Unit::default() }
}

/// What makes an equal act be refused until somebody settles this one.
pub(crate) fn unknown_mark(context: &PermitContext) -> Effect {
    Effect::Put {
        key: FactKey::unknown_outcome(&context.act),
        body: json::canonical(&serde_json::json!({ "decision": context.decision })),
    }
}

pub(crate) fn outcome_record(
    closing: &Closing,
    (outcome, result): (OutcomeKind, Option<Sha256Digest>),
    at: Timestamp,
    entropy: &dyn Entropy,
) -> OutcomeRecord {
    let standing = &closing.context.standing;
    OutcomeRecord {
        agent: standing.agent.name.clone(),
        commitments: closing.context.people.clone(),
        decision: closing.context.decision,
        duration_ms: u64::try_from(at.since(closing.decided_at).as_millis()).unwrap_or(u64::MAX),
        id: RecordId::new(at, entropy),
        instance: standing.instance.id,
        kind: "outcome".to_owned(),
        outcome,
        purpose: standing.purpose.id.clone(),
        result,
        task: standing.task.id,
        time: at,
        v: VERSION,
    }
}
