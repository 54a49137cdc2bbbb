//! How a recorded decision came about: it is made again, and every policy that was asked tells what it saw.

use model::Decision;
use serde_json::{Value, json};

use crate::command::{AdminError, Administration};
use crate::recall::{Question, Recall};

impl Administration {
    /// Explains the decision `id`.
    pub(crate) async fn explain(&self, id: &str) -> Result<Value, AdminError> {
        let (index, _) = self.found(id).await?;
        let mut recall = Recall::default();
        let (_, recalled) = self.recalled((index, 1), &mut recall).await?;
        let Some((recorded, question)) = recalled.into_iter().next() else {
            return Err(AdminError::Invalid(format!("`{id}` is not a decision")));
        };
        let known = match question {
            Question::Known(known) => known,
            Question::Erased => {
                let why = format!("what `{id}` was decided on has been erased");
                return Err(AdminError::Invalid(why));
            }
            Question::Damaged(why) => return Err(AdminError::Unavailable(why)),
        };
        let Some(snapshot) = self.snapshot(recorded.policy, &mut recall).await? else {
            let why = format!("the policy set {} is not kept", recorded.policy);
            return Err(AdminError::Unavailable(why));
        };
        let (request, facts) = *known;
        let explained = snapshot.explain(&request, &facts);
        let (answer, why, remedies) = match &explained.decision {
            Decision::Permit(_) => ("permit", None, Vec::new()),
            Decision::Deny(denial) => {
                ("deny", Some(denial.to_string()), denial.remedies().into_iter().collect())
            }
        };
        Ok(json!({
            "decision": recorded.id,
            "time": recorded.time.to_string(),
            "policy": recorded.policy,
            "action": request.action,
            "resource": authority::resource_text(&request.resource),
            "recorded": { "decision": recorded.verdict, "reason": recorded.reason },
            "answer": answer,
            "why": why,
            "remedies": remedies,
            "asked": explained.asked,
        }))
    }
}
