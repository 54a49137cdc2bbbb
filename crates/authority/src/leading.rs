//! Acts that lead to another one, which is recorded together with them: two decisions, each on what was
//! gathered for it, in one commit.

use std::sync::Arc;

use store::{CommitError, Unit};

use crate::authorize::{Authority, NotPermitted, unrecorded};
use crate::making::{Answer, Made};
use crate::outcomes::Opening;
use crate::permit::{Governed, Permit, PermitContext};
use crate::records::FactsLeaf;

/// An act that is permitted once it is on record: it is neither told nor begun before
/// [`Authority::record`] or [`Authority::authorize_after`].
#[must_use = "nothing of it is on record"]
pub struct Decided<A> {
    act: A,
    unit: Unit,
    leaf: Arc<FactsLeaf>,
    opening: Opening,
    /// A unit is on its way.
    announced: Box<dyn Send>,
}

/// What became of two acts that were to be recorded together.
enum Both<A, B> {
    Recorded(Box<(Permit<A>, Permit<B>)>),
    Apart(Box<(Decided<A>, B)>),
}

impl<A> Decided<A> {
    /// What is known about the act, but its place in the log.
    pub const fn context(&self) -> &PermitContext {
        &self.opening.permitting.closing.context
    }
}

impl Authority {
    /// Decides on `act`. A denial is recorded, and answered, at once.
    pub async fn decide<A: Governed>(&self, act: A) -> Result<Decided<A>, NotPermitted> {
        let (announced, place) = (self.journal.store().announce(), self.place()?);
        let Made { answer, unit, leaf } = self.in_time(self.make_settled(&act)).await?;
        match answer {
            Answer::Permit(permitting) => {
                let opening = Opening { permitting, place, begins: false };
                Ok(Decided { act, unit, leaf, opening, announced })
            }
            Answer::Deny(denial) => {
                let recorded = async { self.commit(unit, Vec::new()).await.0.map_err(unrecorded) };
                self.in_time(recorded).await?;
                leaf.mark_written();
                Err(denial)
            }
        }
    }

    /// Records what was `decided`, and nothing with it.
    pub async fn record<A: Governed>(
        &self,
        decided: Decided<A>,
    ) -> Result<Permit<A>, NotPermitted> {
        let Decided { act, unit, leaf, opening, announced } = decided;
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

    /// Decides on `next`, to which `first` has led, and records both: at once if both are permitted, and
    /// otherwise one after the other.
    pub async fn authorize_after<A: Governed, B: Governed>(
        &self,
        first: Decided<A>,
        next: B,
    ) -> Result<(Permit<A>, Result<Permit<B>, NotPermitted>), NotPermitted> {
        match self.in_time(self.record_both(first, next)).await? {
            Both::Recorded(both) => {
                let (first, next) = *both;
                Ok((first, Ok(next)))
            }
            Both::Apart(apart) => {
                let (first, next) = *apart;
                let first = self.record(first).await?;
                Ok((first, self.authorize(next).await))
            }
        }
    }

    /// Records both, or gives them back: nothing of either is on record then.
    async fn record_both<A: Governed, B: Governed>(
        &self,
        first: Decided<A>,
        next: B,
    ) -> Result<Both<A, B>, NotPermitted> {
        let apart = |first, next| Ok(Both::Apart(Box::new((first, next))));
        let (Ok(place), Ok(Some(made))) = (self.place(), Box::pin(self.make(&next, None)).await)
        else {
            return apart(first, next);
        };
        let Made { answer: Answer::Permit(mut permitting), unit: own, leaf } = made else {
            return apart(first, next);
        };
        let Some(both) = first.unit.clone().and(own) else {
            return apart(first, next);
        };
        let Decided { act, unit, leaf: first_leaf, opening, announced } = first;
        permitting.behind(&unit);
        let opening = Opening { begins: true, ..opening };
        let openings = vec![opening, Opening { permitting, place, begins: false }];
        let (committed, mut openings) = self.commit(both, openings).await;
        let (second, opening) = (openings.remove(1), openings.remove(0));
        match committed {
            Ok(committed) => {
                first_leaf.mark_written();
                leaf.mark_written();
                let first = self.permit(act, opening, &committed);
                let next = self.permit(next, second, &committed);
                Ok(Both::Recorded(Box::new((first, next))))
            }
            // It is the fault of either of them: each by itself is told which, and why.
            Err(
                CommitError::Changed { .. }
                | CommitError::Exists { .. }
                | CommitError::Used
                | CommitError::OverLimit { .. },
            ) => {
                let opening = Opening { begins: false, ..opening };
                apart(Decided { act, unit, leaf: first_leaf, opening, announced }, next)
            }
            Err(error) => Err(unrecorded(error)),
        }
    }
}
