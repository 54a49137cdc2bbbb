//! Replay: every recorded decision is made again, from its record and disclosures alone.

use std::collections::BTreeSet;

use model::record::Verdict;
use model::{Decision, Denial, PolicyId};
use serde_json::{Value, json};

use crate::command::{AdminError, Administration};
use crate::recall::{Question, Recall, Recorded};

/// The most records of one page.
const PAGE: usize = 1_000;

/// The denial that follows from what was used up of a budget, which its record tells.
const BUDGET_EXCEEDED: &str = "budget_exceeded";

/// Rules that earlier builds did not have: what these permitted, they may deny.
const LATER: [&str; 1] = ["owners_not_active"];

#[derive(Default)]
struct Tally {
    agreed: u64,
    erased: u64,
    /// Permits of an earlier build that a later rule denies.
    earlier: u64,
    /// Whether a decision of this build was seen: none of an earlier one comes after it.
    is_current: bool,
    differ: Vec<String>,
}

/// What came of making one decision again.
enum Again {
    Agrees,
    Erased,
    /// An earlier build permitted what this later rule denies.
    DeniedLater(&'static str),
    Differs(String),
}

impl Administration {
    /// Decides every recorded decision again; all must agree.
    pub(crate) async fn replay(&self) -> Result<Value, AdminError> {
        let (mut recall, mut tally) = (Recall::default(), Tally::default());
        let mut from = 0;
        loop {
            let (records, recalled) = self.recalled((from, PAGE), &mut recall).await?;
            for (recorded, question) in recalled {
                tally.is_current |= recorded.is_current;
                let id = recorded.id;
                match self.again(&recorded, question, &mut recall).await? {
                    Again::DeniedLater(_) if !tally.is_current => tally.earlier += 1,
                    Again::DeniedLater(rule) => {
                        tally.differ.push(format!("{id}: recorded granted, now {rule}"));
                    }
                    Again::Agrees => tally.agreed += 1,
                    Again::Erased => tally.erased += 1,
                    Again::Differs(why) => tally.differ.push(format!("{id}: {why}")),
                }
            }
            if records == 0 {
                break;
            }
            from += records as u64;
        }
        let Tally { agreed, erased, earlier, differ, .. } = tally;
        Ok(json!({ "agreed": agreed, "erased": erased, "earlier": earlier, "differ": differ }))
    }

    /// Puts the question to the policy set that answered it, if that is kept.
    async fn again(
        &self,
        recorded: &Recorded,
        question: Question,
        recall: &mut Recall,
    ) -> Result<Again, AdminError> {
        if recorded.is_by_commit() {
            return Ok(Again::Agrees);
        }
        let (request, facts) = match question {
            Question::Known(known) => *known,
            Question::Erased => return Ok(Again::Erased),
            Question::Damaged(why) => return Ok(Again::Differs(why)),
        };
        if recorded.reason == BUDGET_EXCEEDED && facts.session.used.is_empty() {
            // Earlier builds did not tell what was used up.
            return Ok(Again::Agrees);
        }
        let Some(snapshot) = self.snapshot(recorded.policy, recall).await? else {
            return Ok(Again::Differs(format!("the policy set {} is not kept", recorded.policy)));
        };
        // Others want to be served meanwhile.
        tokio::task::yield_now().await;
        Ok(recorded.held_against(&snapshot.decide(&request, &facts)))
    }
}

impl Recorded {
    /// Whether it follows from what the commit alone has seen, or from how long the set counted: it is not made
    /// again.
    pub(crate) fn is_by_commit(&self) -> bool {
        let reason = self.reason.as_str();
        Denial::NOT_BY_POLICY.contains(&reason) && reason != BUDGET_EXCEEDED
    }

    /// Whether `decision` is what is recorded; else how it differs.
    pub(crate) fn is_answered(&self, decision: &Decision) -> Result<(), String> {
        match self.held_against(decision) {
            Again::Agrees | Again::Erased => Ok(()),
            Again::DeniedLater(rule) => Err(format!("recorded {}, now {rule}", self.reason)),
            Again::Differs(why) => Err(why),
        }
    }

    fn held_against(&self, decision: &Decision) -> Again {
        let (verdict, reason, policies, elevation) = match decision {
            Decision::Permit(grant) => {
                (Verdict::Permit, "granted", grant.basis.clone(), grant.elevation)
            }
            Decision::Deny(denial) => (Verdict::Deny, denial.code(), denial.policies(), None),
        };
        let budget = match decision {
            Decision::Permit(_) => None,
            Decision::Deny(denial) => denial.budget().cloned(),
        };
        let later = LATER.into_iter().find(|rule| *rule == reason);
        if let (Verdict::Permit, Some(rule)) = (self.verdict, later) {
            return Again::DeniedLater(rule);
        }
        let recorded: BTreeSet<PolicyId> = self.policies.iter().cloned().collect();
        if verdict != self.verdict || reason != self.reason {
            return Again::Differs(format!("recorded {}, now {reason}", self.reason));
        }
        if policies != recorded {
            return Again::Differs("other policies determine it now".to_owned());
        }
        if budget != self.budget {
            return Again::Differs("another budget determines it now".to_owned());
        }
        if elevation != self.elevation {
            return Again::Differs("it rests on another elevation now".to_owned());
        }
        Again::Agrees
    }
}
