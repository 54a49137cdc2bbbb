//! Refusals that no decision tells of: recorded without anybody waiting for it.

use std::sync::Arc;

use authority::{Authority, RefusalLog, Refused};
use model::{AgentName, InstanceId};

use crate::catalog;

/// Who was refused, where that is known.
pub(crate) type Who = Option<(AgentName, InstanceId)>;

/// Records refusals.
#[derive(Clone)]
pub(crate) struct Recorder {
    authority: Arc<Authority>,
    log: RefusalLog,
}

impl Recorder {
    pub(crate) fn new(authority: Arc<Authority>) -> Self {
        Self { authority, log: RefusalLog::default() }
    }

    /// Records a refusal for `cause`. Returns at once.
    pub(crate) fn refuse(&self, cause: &'static str, who: Who) {
        let (agent, instance) = who.unzip();
        let refused = Refused { agent, instance, ..Refused::default() };
        self.authority.record_refusal(&self.log, (catalog::POINT, cause), refused);
    }
}
