//! A commit under way, and what becomes of it when nobody waits for it any more.
//!
//! A unit that was handed to the store is committed or not, as if nobody had asked: a decision that
//! took too long, or whose caller went away, may still permit. Then nobody holds its permit, and it
//! is closed as *not started*.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use store::{CommitError, Committed, Store, Unit};
use tokio::sync::mpsc;

use crate::outcomes::{Opening, Queued};

/// A unit on its way, with the permit that it opens if it opens one.
pub(crate) struct Committing {
    commit: Option<BoxFuture<'static, Result<Committed, CommitError>>>,
    opening: Option<Opening>,
    queue: mpsc::UnboundedSender<Queued>,
}

/// A commit that nobody waits for, of a permit that nobody holds.
pub(crate) struct Abandoned {
    pub(crate) commit: BoxFuture<'static, Result<Committed, CommitError>>,
    pub(crate) opening: Opening,
}

impl Committing {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        unit: Unit,
        opening: Option<Opening>,
        queue: mpsc::UnboundedSender<Queued>,
    ) -> Self {
        let commit = async move { store.commit(unit).await }.boxed();
        Self { commit: Some(commit), opening, queue }
    }

    /// Waits for the commit; gives back the permit that it was to open.
    pub(crate) async fn wait(mut self) -> (Result<Committed, CommitError>, Option<Opening>) {
        let commit = self.commit.as_mut().expect("it is taken by the end of this only");
        let committed = commit.await;
        self.commit = None;
        (committed, self.opening.take())
    }
}

impl Drop for Committing {
    fn drop(&mut self) {
        if let (Some(commit), Some(opening)) = (self.commit.take(), self.opening.take()) {
            // The receiver lives as long as the process: if it is gone, the restart closes it.
            let _ = self.queue.send(Queued::Abandoned(Abandoned { commit, opening }));
        }
    }
}
