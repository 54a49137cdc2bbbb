//! Refusals that no decision tells of: recorded without anybody waiting for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use authority::{Authority, RefusalLog, Refused};
use model::{DecisionId, RecordId};

use crate::catalog;

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

    /// Records that `who` was refused, for `cause`. Returns at once: the id of the record, unless it is only counted.
    pub(crate) fn refuse(&self, cause: &'static str, who: Refused) -> Option<RecordId> {
        self.authority.record_refusal(&self.log, (catalog::POINT, cause), who)
    }

    /// Records that a client lost something of the call that `decision` permitted, if it was one.
    /// Returns at once.
    pub(crate) fn lose(&self, loss: Loss, who: Refused, decision: Option<DecisionId>) {
        let (log, cause) = match loss {
            Loss::Answer => (&self.lost, "answers"),
            Loss::Message => (&self.log, "messages"),
        };
        let details = decision.map(|id| BTreeMap::from([("decision".to_owned(), id.to_string())]));
        let refused = Refused { details, ..who };
        self.authority.record_refusal(log, (catalog::POINT, cause), refused);
    }
}
