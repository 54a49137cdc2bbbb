//! How an answer comes about: a recorded decision is made again, or a question is put as a case puts it, and every
//! policy that is asked tells what it sees.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::record::Verdict;
use model::{AccessRequest, Decision, Denial, Facts};
use pdp::{AskedPolicy, Explanation, Snapshot};
use serde_json::{Map, Value, json};

use crate::cases::{self, Tools};
use crate::command::{AdminError, Administration};
use crate::recall::{Question, Recall, Recorded};

/// A decision as it is recorded, with what it was decided on and by which set.
struct Behind {
    recorded: Recorded,
    request: AccessRequest,
    facts: Facts,
    snapshot: Arc<Snapshot>,
}

impl Administration {
    /// Explains the decision `id`.
    pub(crate) async fn explain(&self, id: &str) -> Result<Value, AdminError> {
        let Behind { recorded, request, facts, snapshot } = self.decided(id).await?;
        let mut told = told(&request, &snapshot.explain(&request, &facts));
        if recorded.verdict != Verdict::Permit {
            let (member, value) = match permitted_with(&recorded, (&request, &facts), &snapshot) {
                Ok(with) => ("permitted_with", with),
                Err(why) => ("untried", why.into()),
            };
            told.insert(member.to_owned(), value);
        }
        told.extend([
            ("decision".to_owned(), json!(recorded.id)),
            ("time".to_owned(), recorded.time.to_string().into()),
            ("policy".to_owned(), json!(recorded.policy)),
            (
                "recorded".to_owned(),
                json!({ "decision": recorded.verdict, "reason": recorded.reason }),
            ),
        ]);
        Ok(told.into())
    }

    /// Puts the question of `case` to the set in force, with the tools as they are onboarded.
    pub(crate) async fn ask(&self, case: Map<String, Value>) -> Result<Value, AdminError> {
        let tools = self.publisher.onboarded().await?;
        let in_force = self.authority.pip().policy();
        cases::ask(case, (&in_force.snapshot, &tools)).map_err(AdminError::Invalid)
    }

    /// The decision `id` as a case, as far as a case can say what it was decided on.
    pub(crate) async fn as_case(&self, id: &str) -> Result<Value, AdminError> {
        let Behind { recorded, request, facts, snapshot } = self.decided(id).await?;
        let case = cases::recorded(&recorded, (&request, &facts), &snapshot);
        case.map_err(|why| AdminError::Invalid(format!("`{id}` cannot be told as a case: {why}")))
    }

    async fn decided(&self, id: &str) -> Result<Behind, AdminError> {
        let (index, _) = self.found(id).await?;
        let mut recall = Recall::default();
        let mut found = self.decisions(index, 1).await?;
        let Some((recorded, question)) = self.recalled(&mut found, &mut recall).await? else {
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
        Ok(Behind { recorded, request, facts, snapshot })
    }
}

/// In which other circumstances a denial would have been a permit, if a case can tell all that policies saw.
///
/// # Errors
/// Why that was not tried.
fn permitted_with(
    recorded: &Recorded,
    (request, facts): (&AccessRequest, &Facts),
    snapshot: &Snapshot,
) -> Result<Value, String> {
    let unasked = |why: String| format!("no case tells it: {why}");
    let mut told = cases::recorded(recorded, (request, facts), snapshot).map_err(unasked)?;
    let untold = told["untold"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let untold: Vec<_> = untold.collect();
    if !untold.is_empty() {
        return Err(format!("policies saw what no case tells: {}", untold.join(", ")));
    }
    let unread = |error: serde_json::Error| unasked(error.to_string());
    let case = serde_json::from_value(told["case"].take()).map_err(unread)?;
    let tools: Tools = serde_json::from_value(told["tools"].take()).map_err(unread)?;
    let mut asked = cases::ask(case, (snapshot, &tools)).map_err(unasked)?;
    Ok(asked["permitted_with"].take())
}

/// What is told of an answer to `request`: by which policies, what each that was asked saw, and what is missing.
pub(crate) fn told(request: &AccessRequest, explained: &Explanation) -> Map<String, Value> {
    let (answer, reason, by, why, remedies) = match &explained.decision {
        Decision::Permit(grant) => {
            ("permit", "granted", grant.basis.clone(), None, BTreeSet::new())
        }
        Decision::Deny(denial) => {
            let why = Some(why(denial));
            ("deny", denial.code(), denial.policies(), why, denial.remedies())
        }
    };
    let missing = if answer == "deny" { missing(&explained.asked) } else { Vec::new() };
    let is_not_granted = matches!(explained.decision, Decision::Deny(Denial::NotGranted { .. }));
    let for_others = if is_not_granted { explained.for_others.as_slice() } else { &[] };
    let told = json!({
        "action": request.action,
        "resource": authority::resource_text(&request.resource),
        "answer": answer,
        "reason": reason,
        "by": by,
        "why": why,
        "remedies": remedies,
        "owes": owes(&explained.decision),
        "missing": missing,
        "for_others": for_others,
        "asked": explained.asked,
    });
    let Value::Object(told) = told else { unreachable!("it is an object") };
    told
}

/// Why it is denied, in words.
pub(crate) fn why(denial: &Denial) -> String {
    match denial {
        Denial::Kernel(rule) => format!("{denial}: {}", rule.in_words()),
        other => other.to_string(),
    }
}

/// What a permit owes and uses up, in words.
fn owes(decision: &Decision) -> Vec<String> {
    let Decision::Permit(grant) = decision else { return Vec::new() };
    let obligations = grant.obligations.iter().map(|it| format!("`{}`", it.0));
    let token = grant.uses_token.then(|| "a token of its own".to_owned());
    let spends =
        grant.spends.iter().map(|it| format!("{} of the budget `{}`", it.amount, it.budget));
    obligations.chain(token).chain(spends).collect()
}

/// What each permit lacks that is asked of somebody whom nothing permits it.
fn missing(asked: &[AskedPolicy]) -> Vec<Value> {
    let permits = || asked.iter().filter(|it| it.effect == "permit" && !it.observed);
    let is_permitted = |of: &str| permits().any(|it| it.of == of && it.applies == Some(true));
    let lacking = permits().filter(|it| !is_permitted(it.of));
    let needs = lacking.map(|it| {
        let unmet = it.conditions.iter().filter(|condition| condition.met != Some(true));
        let needs: Vec<_> = unmet.map(|condition| &condition.text).collect();
        json!({ "policy": it.policy, "of": it.of, "needs": needs })
    });
    needs.collect()
}

#[cfg(test)]
mod tests {
    use model::{
        ActionName, Answers, Grant, KernelRule, Obligation, Principal, ResourceRef, Spend,
    };

    use super::*;

    /// What is told of `decision`.
    fn explained(decision: Decision) -> Map<String, Value> {
        let request = AccessRequest {
            principal: Principal::Person("sam".parse().expect("a person")),
            action: ActionName::method("tools/list"),
            resource: ResourceRef::Server("crm".parse().expect("a server")),
            input: Value::Null,
        };
        let (asked, for_others) = (Vec::new(), Vec::new());
        told(&request, &Explanation { decision, asked, for_others })
    }

    #[test]
    fn a_built_in_rule_and_what_is_owed_are_told_in_words() {
        let told = explained(Decision::Deny(Denial::Kernel(KernelRule::SponsorMoved)));
        assert_eq!((&told["reason"], &told["owes"]), (&json!("sponsor_moved"), &json!([])));
        let why = "denied by the built-in rule `sponsor_moved`: its sponsor's unit, manager, roles or eligible \
                   groups changed: they affirm that they still answer for it";
        assert_eq!(told["why"], why);
        let amount = serde_json::from_value(json!("2.50")).expect("an amount");
        let spend = Spend {
            budget: "refunds".parse().expect("a budget"),
            place: "ever/deployment".to_owned(),
            amount,
            cap: amount,
        };
        let told = explained(Decision::Permit(Grant {
            basis: ["lists".into()].into(),
            obligations: [Obligation("notify:desk".to_owned())].into(),
            answers: Answers::default(),
            elevation: None,
            observed: BTreeSet::new(),
            spends: vec![spend],
            uses_token: true,
        }));
        let owes = json!(["`notify:desk`", "a token of its own", "2.5 of the budget `refunds`"]);
        assert_eq!((&told["answer"], &told["owes"]), (&json!("permit"), &owes));
    }
}
