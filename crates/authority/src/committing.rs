//! A commit under way, and what becomes of it when nobody waits for it any more.
//!
//! A unit that was handed to the store is committed or not, as if nobody had asked: a decision that
//! took too long, or whose caller went away, may still permit. Then nobody holds its permit, and it
//! is closed as *not started*; as *unknown* where the commit entered what the act leads to, because
//! somebody may go on from that.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use store::{CommitError, Committed, Store, Unit};
use tokio::sync::mpsc;

use crate::outcomes::{Opening, Queued};

/// A unit on its way, with the permits that it opens.
pub(crate) struct Committing {
    commit: Option<BoxFuture<'static, Result<Committed, CommitError>>>,
    openings: Vec<Opening>,
    queue: mpsc::UnboundedSender<Queued>,
}

/// A commit that nobody waits for, of permits that nobody holds.
pub(crate) struct Abandoned {
    pub(crate) commit: BoxFuture<'static, Result<Committed, CommitError>>,
    pub(crate) openings: Vec<Opening>,
}

impl Committing {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        unit: Unit,
        openings: Vec<Opening>,
        queue: mpsc::UnboundedSender<Queued>,
    ) -> Self {
        let commit = async move { store.commit(unit).await }.boxed();
        Self { commit: Some(commit), openings, queue }
    }

    /// Waits for the commit; gives back the permits that it was to open.
    pub(crate) async fn wait(mut self) -> (Result<Committed, CommitError>, Vec<Opening>) {
        let commit = self.commit.as_mut().expect("it is taken by the end of this only");
        let committed = commit.await;
        self.commit = None;
        (committed, std::mem::take(&mut self.openings))
    }
}

impl Drop for Committing {
    fn drop(&mut self) {
        let openings = std::mem::take(&mut self.openings);
        if let Some(commit) = self.commit.take().filter(|_| !openings.is_empty()) {
            // The receiver lives as long as the process: if it is gone, the restart closes them.
            let _ = self.queue.send(Queued::Abandoned(Abandoned { commit, openings }));
        }
    }
}
