//! Watches an act under way: tells when it would no longer be permitted.
//!
//! A permit rests on facts, and on the time. When a fact changes or a deadline behind it passes, and
//! every ten seconds besides, as policy may look at the clock, the act is decided again. If it would still be permitted, nothing is recorded and nobody is told; if not,
//! whoever performs it cuts it and says so by its outcome. Its session is the one that it was permitted
//! in: what it has counted counts once, and what was read since is in nothing that it has sent. One that
//! goes on to bring something, a stream, is decided again with the labels as well that others have put on its
//! session since, as soon as they do; what it has put there by itself is no news to it.

use std::sync::Arc;
use std::time::Duration;

use model::{
    AccessRequest, Binding, Decision, Denial, FactKey, InstanceId, KernelRule, Revision,
    SessionFacts, TaskId, Timestamp,
};

use crate::labels::{self, Marking};
use crate::pip::FactsError;
use crate::records;
use crate::reserved::MARKS;
use crate::{Authority, Governed, NotPermitted, Permit};

/// How long to wait before facts that were changing are read again.
const SETTLE: Duration = Duration::from_millis(5);

/// Why an act under way has to be cut.
#[derive(Debug, thiserror::Error)]
pub enum Cut {
    /// It would not be permitted now.
    #[error("{0}")]
    Denied(Box<Denial>),
    /// What it rests on changed, and nobody can tell whether it would be permitted now.
    #[error("it cannot be decided again")]
    Undecidable(#[source] NotPermitted),
}

/// An act under way, as it was permitted.
pub struct Watch {
    authority: Arc<Authority>,
    request: Arc<AccessRequest>,
    binding: Binding,
    instance: InstanceId,
    task: TaskId,
    session: SessionFacts,
    marking: Arc<Marking>,
    rests: Rests,
}

/// What a permit rests on: facts as of a revision, and when it has to be looked at.
struct Rests {
    keys: Box<[FactKey]>,
    revision: Revision,
    until: Timestamp,
}

impl Authority {
    /// Watches what `permit` permits, from the moment of its decision on.
    pub fn watch<A: Governed>(self: &Arc<Self>, permit: &Permit<A>) -> Watch {
        let context = permit.context();
        // An equal act whose outcome becomes unknown forbids another one, not this.
        let keys = context.reads.iter().filter(|key| !key.as_str().starts_with(MARKS));
        let rests = Rests {
            keys: keys.cloned().collect(),
            revision: permit.slot.revision,
            until: context.ends,
        };
        Watch {
            authority: self.clone(),
            request: permit.act().shared_request(),
            binding: permit.act().circumstances().binding,
            instance: context.standing.instance.id,
            task: context.standing.task.id,
            session: permit.session.clone(),
            marking: permit.marking.clone(),
            rests,
        }
    }
}

impl Watch {
    /// Resolves once the act would no longer be permitted, and says why. Never otherwise.
    ///
    /// Dropping the future stops watching; it may be asked for again.
    pub async fn no_longer_permitted(&self) -> Cut {
        self.cut(&[]).await
    }

    /// The same of an act that has brought something and goes on: the labels count that others have put on its
    /// session since it was permitted.
    pub async fn stream_no_longer_permitted(&self) -> Cut {
        let places: Vec<_> = self.marking.places().collect();
        self.cut(&places).await
    }

    /// Why it is cut: of a stream, also for what others have read since, which is kept at `places`.
    async fn cut(&self, places: &[FactKey]) -> Cut {
        let changes = self.authority.pip.changes().clone();
        let mut since = None;
        loop {
            {
                let rests = since.as_ref().unwrap_or(&self.rests);
                let keys = [&*rests.keys, places];
                let watching = changes.watch(keys);
                if changes.fresh_as_of(&keys.map(|keys| (keys, rests.revision))).is_some() {
                    tokio::select! {
                        () = watching.changed() => {}
                        () = self.marking.puts_on_less(), if !places.is_empty() => {}
                        () = self.due(rests.until) => {}
                    }
                }
            }
            let within = self.authority.limits.decision_timeout;
            // What is rare takes no room in every act under way.
            let again = Box::pin(self.decide_again(!places.is_empty()));
            match tokio::time::timeout(within, again).await {
                Ok(Ok(permitted)) => since = Some(permitted),
                Ok(Err(cut)) => return cut,
                Err(_) => return Cut::Undecidable(NotPermitted::TimedOut),
            }
        }
    }

    /// Waits for `end`, if it lies ahead, or for the next review if that comes first.
    async fn due(&self, end: Timestamp) {
        let (now, review) = (self.authority.clock.now(), self.authority.limits.review_interval);
        let left = if end > now { end.since(now).min(review) } else { review };
        tokio::time::sleep(left).await;
    }

    /// Decides on the act as things are now; gives what the answer rests on if it is permitted.
    async fn decide_again(&self, is_stream: bool) -> Result<Rests, Cut> {
        let pip = &self.authority.pip;
        let gathered = loop {
            match pip.gather(self.instance, &self.request).await {
                Ok(gathered) => break gathered,
                Err(FactsError::Changed) => tokio::time::sleep(SETTLE).await,
                Err(error) => return Err(Cut::Undecidable(error.into())),
            }
        };
        let now = self.authority.trusted_now();
        let now = now.map_err(|unsure| Cut::Undecidable(unsure.into()))?;
        if gathered.standing.task.id != self.task {
            return Err(Cut::Denied(Box::new(Denial::Kernel(KernelRule::TaskNotOpen))));
        }
        let mut facts = records::facts_of(&gathered, (self.binding, None), now);
        facts.session.clone_from(&self.session);
        if is_stream {
            facts.session.labels.extend(gathered.flowing.of_others(&self.marking));
        }
        match self.authority.answer(&gathered.snapshot, &self.request, &facts) {
            Decision::Permit(grant) => Ok(Rests {
                keys: gathered.keys.into_iter().filter(|it| !labels::is_of_the_past(it)).collect(),
                revision: gathered.revision,
                until: gathered.standing.ends(grant.elevation),
            }),
            Decision::Deny(denial) => Err(Cut::Denied(Box::new(denial))),
        }
    }
}
