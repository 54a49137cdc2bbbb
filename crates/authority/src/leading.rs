//! Acts that lead to another one, which is recorded together with them: two decisions, each on what was
//! gathered for it, in one commit.

use std::sync::Arc;
use std::time::Duration;

use store::{CommitError, Unit};

use crate::authorize::{Authority, NotPermitted, unrecorded};
use crate::making::{Answer, Made, is_counted};
use crate::outcomes::Opening;
use crate::permit::{BEGIN_WITHIN, Governed, Permit, PermitContext};
use crate::records::FactsLeaf;

/// An act that is permitted once it is on record: it is neither told nor begun before
/// [`Authority::record`] or [`Authority::record_with`].
///
/// What [`Authority::authorize`] does besides is not done for it. If its facts change before it is on
/// record, it is not decided again: it is [`NotPermitted::Contended`]. A counter that would pass its limit
/// is no recorded denial, so nothing that counts against a session's calls is decided like this.
#[must_use = "nothing of it is on record"]
pub struct Decided<A> {
    act: A,
    unit: Unit,
    leaf: Arc<FactsLeaf>,
    opening: Opening,
    /// Until when it may be recorded: it was decided as of a time that passes.
    record_by: Duration,
    /// A unit is on its way.
    announced: Box<dyn Send>,
}

/// An act to which another one leads, once that is on record.
#[must_use = "it is on record, or is yet to be asked for"]
pub enum Next<B> {
    /// It is permitted, and was recorded together with the other.
    Permitted(Box<Permit<B>>),
    /// Nothing of it is on record: it can be asked for once the other has begun. With why the store
    /// refused the two of them, if it did.
    Unasked(B, Option<CommitError>),
}

/// What became of two acts that were to be recorded together.
enum Both<A, B> {
    Recorded(Box<(Permit<A>, Permit<B>)>),
    /// With why the store refused them, if it did.
    Apart(Box<(Decided<A>, B, Option<CommitError>)>),
}

impl<A> Decided<A> {
    /// What is known about the act, but its place in the log.
    pub const fn context(&self) -> &PermitContext {
        &self.opening.permitting.closing.context
    }
}

impl Authority {
    /// Decides on `act`. A denial is recorded, and answered, at once.
    ///
    /// # Panics
    ///
    /// If it counts against the calls of its session.
    pub async fn decide<A: Governed>(&self, act: A) -> Result<Decided<A>, NotPermitted> {
        assert!(!is_counted(act.request()), "what is counted is recorded as it is decided");
        let (announced, place) = (self.journal.store().announce(), self.place()?);
        let record_by = self.clock.monotonic().saturating_add(BEGIN_WITHIN);
        let Made { answer, unit, leaf, found } = self.in_time(self.make_settled(&act)).await?;
        match answer {
            Answer::Permit(permitting) => {
                let opening = Opening { permitting, place, begins: false };
                Ok(Decided { act, unit, leaf, opening, record_by, announced })
            }
            Answer::Deny(denial) => {
                let recorded = async { self.commit(unit, Vec::new()).await.0.map_err(unrecorded) };
                self.in_time(recorded).await?;
                leaf.mark_written();
                self.note_found(found);
                Err(denial)
            }
        }
    }

    /// Records what was `decided`, and nothing with it.
    pub async fn record<A: Governed>(
        &self,
        decided: Decided<A>,
    ) -> Result<Permit<A>, NotPermitted> {
        self.may_record(&decided)?;
        let Decided { act, unit, leaf, opening, announced, .. } = decided;
        let recorded = async {
            let (committed, mut openings) = self.commit(unit, vec![opening]).await;
            let committed = committed.map_err(unrecorded)?;
            leaf.mark_written();
            Ok(self.permit(act, openings.remove(0), &committed))
        };
        let permit = self.in_time(recorded).await;
        drop(announced);
        permit
    }

    /// Records what was `decided` together with the `next` act, to which it leads, if that is permitted
    /// too; otherwise alone, and begin it before the next one is asked for: that may take longer than a
    /// permit lasts.
    pub async fn record_with<A: Governed, B: Governed>(
        &self,
        decided: Decided<A>,
        next: B,
    ) -> Result<(Permit<A>, Next<B>), NotPermitted> {
        self.may_record(&decided)?;
        match self.in_time(self.record_both(decided, next)).await? {
            Both::Recorded(both) => {
                let (permit, next) = *both;
                Ok((permit, Next::Permitted(Box::new(next))))
            }
            Both::Apart(apart) => {
                let (decided, next, why) = *apart;
                Ok((self.record(decided).await?, Next::Unasked(next, why)))
            }
        }
    }

    fn may_record<A>(&self, decided: &Decided<A>) -> Result<(), NotPermitted> {
        let is_late = self.clock.monotonic() > decided.record_by;
        if is_late { Err(NotPermitted::TimedOut) } else { Ok(()) }
    }

    /// Records both, or gives them back: nothing of either is on record then.
    async fn record_both<A: Governed, B: Governed>(
        &self,
        first: Decided<A>,
        next: B,
    ) -> Result<Both<A, B>, NotPermitted> {
        let apart = |first, next, why| Ok(Both::Apart(Box::new((first, next, why))));
        let (Ok(place), Ok(Some(made))) = (self.place(), Box::pin(self.make(&next, None)).await)
        else {
            return apart(first, next, None);
        };
        let Made { answer: Answer::Permit(mut permitting), unit: own, leaf, found } = made else {
            return apart(first, next, None);
        };
        let Some(both) = first.unit.clone().and(own) else {
            return apart(first, next, None);
        };
        let Decided { act, unit, leaf: first_leaf, opening, record_by, announced } = first;
        permitting.behind(&unit);
        let opening = Opening { begins: true, ..opening };
        let openings = vec![opening, Opening { permitting, place, begins: false }];
        let (committed, mut openings) = self.commit(both, openings).await;
        let (second, opening) = (openings.remove(1), openings.remove(0));
        match committed {
            Ok(committed) => {
                first_leaf.mark_written();
                leaf.mark_written();
                self.note_found(found);
                let first = self.permit(act, opening, &committed);
                let next = self.permit(next, second, &committed);
                Ok(Both::Recorded(Box::new((first, next))))
            }
            // It is the fault of either of them: each by itself is told why.
            Err(
                why @ (CommitError::Changed { .. }
                | CommitError::Exists { .. }
                | CommitError::Used(_)
                | CommitError::OverLimit { .. }),
            ) => {
                let opening = Opening { begins: false, ..opening };
                let leaf = first_leaf;
                let first = Decided { act, unit, leaf, opening, record_by, announced };
                apart(first, next, Some(why))
            }
            Err(error) => Err(unrecorded(error)),
        }
    }
}
