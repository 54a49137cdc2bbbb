//! Refusals that no decision tells of: recorded without anybody waiting for it.

use std::sync::Arc;

use authority::{Authority, RefusalLog};
use model::{AgentName, InstanceId};
use tokio_util::task::TaskTracker;

use crate::catalog;

/// Who was refused, where that is known.
pub(crate) type Refused = Option<(AgentName, InstanceId)>;

/// Records refusals.
#[derive(Clone)]
pub(crate) struct Recorder {
    authority: Arc<Authority>,
    log: Arc<RefusalLog>,
    tasks: TaskTracker,
}

impl Recorder {
    pub(crate) fn new(authority: Arc<Authority>, tasks: TaskTracker) -> Self {
        Self { authority, log: Arc::default(), tasks }
    }

    /// Records a refusal for `cause`. Returns at once.
    pub(crate) fn refuse(&self, cause: &'static str, who: Refused) {
        let place = (catalog::POINT, cause);
        let Some(unit) = self.log.refuse(&self.authority, place, who) else { return };
        let store = self.authority.journal().store().clone();
        self.tasks.spawn(async move {
            if let Err(error) = store.commit(unit).await {
                tracing::warn!(%error, "could not record a refusal");
            }
        });
    }
}
