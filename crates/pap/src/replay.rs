//! Replay: every recorded decision is made again, from its record and disclosures alone.

use std::collections::BTreeSet;

use model::record::{ObservedSet, Verdict};
use model::{AccessRequest, Decision, Denial, Facts, PolicyId};
use pdp::Snapshot;
use serde_json::{Value, json};

use crate::command::{AdminError, Administration};
use crate::recall::{Question, Recall, Recorded, Told};

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
    /// Denials by what the commit alone has seen: they are not made again.
    by_commit: u64,
    /// Permits of an earlier build that a later rule denies.
    earlier: u64,
    /// Answers of sets under observation that come out again.
    observed: u64,
    /// How often such a set was not in time, or broke off: that is not made again.
    unanswered: u64,
    /// Whether a decision of this build was seen: none of an earlier one comes after it.
    is_current: bool,
    differ: Vec<String>,
}

/// What came of asking a set under observation again.
enum Beside {
    /// None was asked, or nobody knows what it was asked.
    Nothing,
    Agrees,
    /// It was not in time, or broke off.
    Unanswered,
    Differs(String),
}

/// What came of making one decision again.
enum Again {
    Agrees,
    Erased,
    /// It is not made again: the state at its commit denied it.
    ByCommit,
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
            let mut page = self.decisions(from, PAGE).await?;
            while let Some((recorded, question)) = self.recalled(&mut page, &mut recall).await? {
                tally.is_current |= recorded.told.is_some();
                let id = recorded.id;
                match self.beside(&recorded, &question, &mut recall).await? {
                    Beside::Nothing => {}
                    Beside::Agrees => tally.observed += 1,
                    Beside::Unanswered => tally.unanswered += 1,
                    Beside::Differs(why) => tally.differ.push(format!("{id}: {why}")),
                }
                match self.again(&recorded, question, &mut recall).await? {
                    Again::DeniedLater(_) if !tally.is_current => tally.earlier += 1,
                    Again::DeniedLater(rule) => {
                        tally.differ.push(format!("{id}: recorded granted, now {rule}"));
                    }
                    Again::Agrees => tally.agreed += 1,
                    Again::Erased => tally.erased += 1,
                    Again::ByCommit => tally.by_commit += 1,
                    Again::Differs(why) => tally.differ.push(format!("{id}: {why}")),
                }
            }
            if page.records == 0 {
                break;
            }
            from += page.records as u64;
        }
        let Tally { agreed, erased, by_commit, earlier, observed, unanswered, differ, .. } = tally;
        Ok(json!({
            "agreed": agreed, "erased": erased, "by_commit": by_commit, "earlier": earlier,
            "observed": observed, "unanswered": unanswered, "differ": differ,
        }))
    }

    /// Puts the question to the policy set that was under observation, if one was.
    async fn beside(
        &self,
        recorded: &Recorded,
        question: &Question,
        recall: &mut Recall,
    ) -> Result<Beside, AdminError> {
        let (Some(was), Question::Known(known)) = (&recorded.observed_set, question) else {
            return Ok(Beside::Nothing);
        };
        if !authority::was_answered(was) {
            return Ok(Beside::Unanswered);
        }
        let Some(in_force) = self.snapshot(recorded.policy, recall).await? else {
            // That is told of the decision.
            return Ok(Beside::Nothing);
        };
        let Some(observed) = self.snapshot(was.policy, recall).await? else {
            let why = format!("the policy set {} under observation is not kept", was.policy);
            return Ok(Beside::Differs(why));
        };
        let (request, mut facts) = (**known).clone();
        // What is left of budgets is no matter of it.
        facts.session.used.clear();
        let sets = (observed.as_ref(), in_force.as_ref());
        let now = authority::observed_set(sets, recorded.before(), (&request, &facts));
        Ok(held_beside(was, &now))
    }

    /// Puts the question to the policy set that answered it, if that is kept.
    async fn again(
        &self,
        recorded: &Recorded,
        question: Question,
        recall: &mut Recall,
    ) -> Result<Again, AdminError> {
        let known = match question {
            Question::Damaged(why) => return Ok(Again::Differs(why)),
            _ if recorded.is_by_commit() => return Ok(Again::ByCommit),
            Question::Known(known) => known,
            Question::Erased => return Ok(Again::Erased),
        };
        let (request, facts) = known.as_ref();
        if recorded.reason == BUDGET_EXCEEDED && facts.session.used.is_empty() {
            // Earlier builds did not tell what was used up.
            return Ok(Again::ByCommit);
        }
        let Some(snapshot) = self.snapshot(recorded.policy, recall).await? else {
            return Ok(Again::Differs(format!("the policy set {} is not kept", recorded.policy)));
        };
        Ok(recorded.made_again(&snapshot, (request, facts)))
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
            Again::Agrees | Again::Erased | Again::ByCommit => Ok(()),
            Again::DeniedLater(rule) => Err(format!("recorded {}, now {rule}", self.reason)),
            Again::Differs(why) => Err(why),
        }
    }

    /// Has `snapshot` decide again: all that is recorded of the answer must come out.
    fn made_again(&self, snapshot: &Snapshot, (request, facts): (&AccessRequest, &Facts)) -> Again {
        let decision = snapshot.decide(request, facts);
        let again = self.held_against(&decision);
        let (Again::Agrees, Some(told)) = (&again, &self.told) else { return again };
        let (answers, obligations, remedies) = match &decision {
            Decision::Permit(grant) => (grant.answers, grant.obligations.clone(), BTreeSet::new()),
            Decision::Deny(denial) => (denial.answers(), BTreeSet::new(), denial.remedies()),
        };
        let observed = match decision {
            // Earlier builds did not tell it of denials, nor is it told where the record would be too large.
            _ if told.observed.is_empty() => BTreeSet::new(),
            Decision::Permit(grant) => grant.observed,
            Decision::Deny(_) => snapshot.observed(request, facts),
        };
        told.held_against(&Told { answers, obligations, observed, remedies })
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

/// Whether the set under observation comes to what `was` recorded of it.
fn held_beside(was: &ObservedSet, now: &ObservedSet) -> Beside {
    if was == now {
        return Beside::Agrees;
    }
    Beside::Differs(if was.reason == now.reason {
        "other policies of the set under observation determine its answer now".to_owned()
    } else {
        format!("the set under observation was recorded {}, now {}", was.reason, now.reason)
    })
}

impl Told {
    fn held_against(&self, now: &Self) -> Again {
        let differs = |why: &str| Again::Differs(why.to_owned());
        if self.answers != now.answers {
            return differs("its parts are answered otherwise now");
        }
        if self.obligations != now.obligations {
            return differs("it owes something else now");
        }
        if self.remedies != now.remedies {
            return differs("something else lifts it now");
        }
        if self.observed != now.observed {
            return differs("other policies under observation have a part in it now");
        }
        Again::Agrees
    }
}

#[cfg(test)]
mod tests {
    use model::{Answer, Answers, Obligation, Remedy};

    use super::*;

    fn told(change: impl FnOnce(&mut Told)) -> Told {
        let mut told = Told {
            answers: Answers { instance: Some(Answer::Deny), ..Answers::default() },
            obligations: [Obligation("notify:desk".to_owned())].into(),
            observed: ["canary".into()].into(),
            remedies: [Remedy::Approval].into(),
        };
        change(&mut told);
        told
    }

    #[test]
    fn r_38_whatever_is_recorded_of_an_answer_is_held_against_it() {
        let check = |change: fn(&mut Told), expected: &str| {
            let again = match told(|_| {}).held_against(&told(change)) {
                Again::Differs(why) => why,
                _ => "it agrees".to_owned(),
            };
            assert_eq!(again, expected);
        };
        check(|_| {}, "it agrees");
        let answered = "its parts are answered otherwise now";
        check(|told| told.answers.person = Some(Answer::Permit), answered);
        check(|told| told.obligations.clear(), "it owes something else now");
        check(|told| told.remedies.clear(), "something else lifts it now");
        let observed = "other policies under observation have a part in it now";
        check(|told| told.observed.clear(), observed);
    }

    #[test]
    fn r_38_whatever_is_recorded_of_a_set_under_observation_is_held_against_it() {
        let of = |decision, policies: &[&str], reason: &str| ObservedSet {
            decision,
            policies: policies.iter().map(|id| PolicyId::from(*id)).collect(),
            policy: Snapshot::empty().digest(),
            reason: reason.to_owned(),
        };
        let was = of(Some(Verdict::Deny), &["guard"], "forbidden");
        let check = |now: &ObservedSet, expected: &str| {
            let again = match held_beside(&was, now) {
                Beside::Differs(why) => why,
                _ => "it agrees".to_owned(),
            };
            assert_eq!(again, expected);
        };
        check(&was, "it agrees");
        let others = "other policies of the set under observation determine its answer now";
        check(&of(Some(Verdict::Deny), &["guard", "more"], "forbidden"), others);
        check(&of(Some(Verdict::Deny), &[], "forbidden"), others);
        let otherwise =
            |now: &str| format!("the set under observation was recorded forbidden, now {now}");
        check(&of(Some(Verdict::Permit), &["guard"], "granted"), &otherwise("granted"));
        check(&of(None, &[], "unknown"), &otherwise("unknown"));
    }
}
