//! Withdraws reviews: opened by mistake, of the wrong agents, or to be opened anew.
//!
//! INVARIANT: nobody who lapsed is brought back by that: from its date on a review is over
//! (`r_75_a_review_that_is_withdrawn_in_time_lapses_nobody`). Nor does anybody go on by that whom who withdraws it may
//! not certify (`r_75_who_withdraws_a_review_may_certify_all_who_go_on_by_that`).

use model::{AgentName, FactKey, PersonId, ResourceRef, ReviewId, ReviewWithdrawn, SETTLED_BEFORE};
use serde_json::{Value, json};

use super::{CERTIFY, found, stands};
use crate::command::{AdminError, Administration};
use crate::logged_in::By;
use crate::register::{put, registered};
use crate::sponsor::check_reason;

impl Administration {
    /// Withdraws a review before its date. What was decided by then stands; who was not answered goes on as if
    /// they had not been in it: who withdraws it needs the right to certify that each of these goes on.
    pub(super) async fn review_withdraw(
        &self,
        by: &PersonId,
        (id, reason): (&str, String),
    ) -> Result<Value, AdminError> {
        let id: ReviewId = id.parse().map_err(AdminError::invalid)?;
        check_reason(&reason)?;
        let mut draft = self.draft(by, "review/withdraw", ResourceRef::Deployment).await?;
        let mut review = found(&mut draft.reader, id).await?;
        let now = self.now();
        match stands(&review, now.plus(SETTLED_BEFORE)) {
            "open" => {}
            "lapsed" => {
                let why = "the date of the review has passed, or does within a minute: whoever lapses is begun anew \
                           by their sponsor (`agent reinstate`)";
                return Err(AdminError::Invalid(why.to_owned()));
            }
            other => return Err(AdminError::Invalid(format!("the review is {other} already"))),
        }
        let unanswered = review.items.iter().filter(|(_, decided)| decided.is_none());
        let unanswered: Vec<AgentName> = unanswered.map(|(agent, _)| agent.clone()).collect();
        let mut effects = Vec::new();
        for name in &unanswered {
            let mut agent = registered(&mut draft.reader, name).await?;
            let target = ResourceRef::Agent(name.clone());
            if let Err(why) = draft.includes(By::from(by), CERTIFY, target).await? {
                return Err(AdminError::Invalid(format!(
                    "`{by}` may not `{CERTIFY}` `{name}`: {why}"
                )));
            }
            if agent.review.open.take_if(|open| open.id == id).is_some() {
                effects.push(put(FactKey::agent(name), &agent));
            }
        }
        let withdrawn = ReviewWithdrawn { by: by.clone(), at: now, reason };
        let change = json!({ "review": id, "withdrawn": withdrawn, "agents": unanswered });
        review.withdrawn = Some(withdrawn);
        effects.push(put(FactKey::review(id), &review));
        let done = draft.make(change, effects).await?;
        Ok(json!({ "review": id, "goes_on": unanswered, "decision": done.decision }))
    }
}
