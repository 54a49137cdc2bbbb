//! Closing findings: somebody looked at a caller that is no active agent.

use model::{Closed, FactKey, Finding, PersonId, ResourceRef, Sha256Digest};
use serde_json::{Value, json};

use crate::command::{AdminError, Administration};
use crate::register::put;

impl Administration {
    /// Closes the finding `id`. If the caller comes again, it is opened again.
    pub(crate) async fn finding_close(
        &self,
        by: &PersonId,
        id: &str,
        reason: String,
    ) -> Result<Value, AdminError> {
        let mut draft = self.draft(by, "finding/close", ResourceRef::Deployment).await?;
        let key = FactKey::finding(&id.parse::<Sha256Digest>().map_err(AdminError::invalid)?);
        let found = draft.reader.find::<Finding>(key.clone()).await;
        let found = found.map_err(AdminError::unavailable)?;
        let open = found.filter(|finding| finding.closed.is_none());
        let mut finding =
            open.ok_or_else(|| AdminError::Missing(format!("open finding `{id}`")))?;
        let change = json!({ "finding": id, "reason": reason });
        finding.closed = Some(Closed { by: by.clone(), at: self.now(), reason });
        let done = draft.make(change, vec![put(key, &finding)]).await?;
        Ok(json!({ "closed": id, "decision": done.decision }))
    }
}
