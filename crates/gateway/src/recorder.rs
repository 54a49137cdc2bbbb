//! Refusals that no decision tells of: recorded without anybody waiting for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use authority::{Authority, RefusalLog, Refused};
use model::{AgentName, DecisionId, InstanceId, RecordId};

use crate::catalog;

/// Who was refused, where that is known.
pub(crate) type Who = Option<(AgentName, InstanceId)>;

/// Records refusals.
#[derive(Clone)]
pub(crate) struct Recorder {
    authority: Arc<Authority>,
    log: RefusalLog,
    /// Of answers that clients lost alone: nothing else that is refused has them only counted.
    lost: RefusalLog,
}

/// What a client loses.
#[derive(Clone, Copy)]
pub(crate) enum Loss {
    /// The answer to its request.
    Answer,
    /// What its server said before.
    Message,
}

impl Recorder {
    pub(crate) fn new(authority: Arc<Authority>) -> Self {
        Self { authority, log: RefusalLog::default(), lost: RefusalLog::default() }
    }

    /// Records a refusal for `cause`. Returns at once.
    pub(crate) fn refuse(&self, cause: &'static str, who: Who) {
        self.refused(cause, who);
    }

    /// The same: the id of the record, unless it is only counted.
    pub(crate) fn refused(&self, cause: &'static str, who: Who) -> Option<RecordId> {
        let (agent, instance) = who.unzip();
        let refused = Refused { agent, instance, ..Refused::default() };
        self.authority.record_refusal(&self.log, (catalog::POINT, cause), refused)
    }

    /// Records that a client lost something of the call that `decision` permitted, if it was one.
    /// Returns at once.
    pub(crate) fn lose(&self, loss: Loss, who: Who, decision: Option<DecisionId>) {
        let (log, cause) = match loss {
            Loss::Answer => (&self.lost, "answers"),
            Loss::Message => (&self.log, "messages"),
        };
        let details = decision.map(|id| BTreeMap::from([("decision".to_owned(), id.to_string())]));
        let (agent, instance) = who.unzip();
        let refused = Refused { agent, instance, details };
        self.authority.record_refusal(log, (catalog::POINT, cause), refused);
    }
}
