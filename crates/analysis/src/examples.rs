//! What a solver found. It is put to the policies as it is ([`pdp::Snapshot::pose`]), which asks no built-in rule; and
//! then said as facts, on which it is decided ([`pdp::Snapshot::decide`]): what no decision confirms is told apart.

use std::collections::BTreeSet;

use cedar_policy_symcc::Env;
use model::{AccessRequest, Amount, Decision, Denial, Facts, PolicyId, Spend};
use pdp::{Environment, Posed, PosedAnswer, Snapshot};
use serde_json::Value;

use crate::prove::Unproved;
use crate::report::{Counterexample, Why};

/// A question as a case of a set, and as what is asked and the facts that it is decided on.
pub type Said = (Value, AccessRequest, Facts);

/// Says a question, which the set permits or does not, as facts: in each way that is to be tried, the first that is
/// decided so is told; or why there are none.
pub type Saying<'a> = dyn Fn(&Posed, bool) -> Vec<Result<Said, String>> + Sync + 'a;

/// Says the steps of a chain, in their order, as cases of one task, in each way that is to be tried, and has each step
/// decided: the cases of the first way in which each is decided as it should be, one for each step, or why there is none.
pub type Chaining<'a> = dyn Fn(
        &[Posed],
        &dyn Fn(usize, &AccessRequest, &Facts) -> Result<(), String>,
    ) -> Result<Vec<Value>, String>
    + Sync
    + 'a;

/// Whether a decision on these facts is as a counterexample has it; else why not.
pub(crate) type Deciding<'a> = dyn Fn(&AccessRequest, &Facts) -> Result<(), String> + 'a;

/// The question that a solver found.
pub(crate) fn posed(found: &Env) -> Result<Posed, Why> {
    let unreadable = |what: &str| Why::Unconfirmed(format!("it has no readable {what}"));
    let request = &found.request;
    let uid = |uid: Option<&cedar_policy::EntityUid>| {
        uid.map(ToString::to_string).ok_or_else(|| unreadable("request"))
    };
    let context = request.context().ok_or_else(|| unreadable("context"))?;
    let context = context.to_json_value().map_err(|_| unreadable("context"))?;
    let entities = found.entities.to_json_value().map_err(|_| unreadable("entities"))?;
    Ok(Posed {
        principal: uid(request.principal())?,
        action: uid(request.action())?,
        resource: uid(request.resource())?,
        context,
        entities,
    })
}

/// Decides what was found.
pub(crate) struct Trial<'a> {
    pub(crate) environment: &'a Environment,
    pub(crate) posed: Posed,
}

impl<'a> Trial<'a> {
    pub(crate) fn of(environment: &'a Environment, found: &Env) -> Result<Self, Why> {
        Ok(Self { environment, posed: posed(found)? })
    }

    /// What `snapshot` answers to it.
    pub(crate) fn by(&self, snapshot: &Snapshot) -> Result<PosedAnswer, Why> {
        snapshot.pose(&self.posed, &self.environment.assumes).map_err(Why::Unconfirmed)
    }

    /// A counterexample by these policies, if it `is` one: refuted if a decision confirms it, in one of the ways in which
    /// it can be said.
    pub(crate) fn confirmed(
        self,
        is: bool,
        is_permitted: bool,
        by: BTreeSet<PolicyId>,
        (saying, deciding): (&Saying<'_>, &Deciding<'_>),
    ) -> Unproved {
        if !is {
            return Why::Unconfirmed("the answer is another".to_owned()).into();
        }
        let mut because = None;
        let mut case = None;
        for said in saying(&self.posed, is_permitted) {
            let tried =
                said.and_then(|(case, request, facts)| deciding(&request, &facts).map(|()| case));
            match tried {
                Ok(confirmed) => {
                    case = Some(confirmed);
                    break;
                }
                Err(why) => because = because.or(Some(why)),
            }
        }
        let is_confirmed = case.is_some();
        let (posed, handed_on) = (self.posed, Vec::new());
        let example = Box::new(Counterexample { by, is_permitted, case, posed, handed_on });
        if is_confirmed {
            return Unproved::Refuted(example);
        }
        Unproved::Undecided(example, because.unwrap_or_else(|| "no facts say it".to_owned()))
    }
}

/// Whether `set` decides that it is permitted, as long as nothing was used up of budgets.
pub(crate) fn permits(
    set: &Snapshot,
    (request, facts): (&AccessRequest, &Facts),
) -> Result<(), String> {
    match set.decide(request, facts) {
        Decision::Permit(grant) => match grant.over(|_| Amount::default()) {
            None => Ok(()),
            Some(Spend { budget, .. }) => {
                Err(Denial::BudgetExceeded { budget: budget.clone() }.to_string())
            }
        },
        Decision::Deny(denial) => Err(denial.to_string()),
    }
}

/// Whether `set` decides that it is denied, by what its policies say.
pub(crate) fn denies(
    set: &Snapshot,
    (request, facts): (&AccessRequest, &Facts),
) -> Result<(), String> {
    match set.decide(request, facts) {
        Decision::Deny(
            Denial::NotGranted { .. } | Denial::Forbidden { .. } | Denial::Unevaluable { .. },
        ) => Ok(()),
        other => Err(otherwise(&other)),
    }
}

/// Whether `set` decides that it is denied, as `policy` cannot be evaluated.
pub(crate) fn fails(
    set: &Snapshot,
    policy: &PolicyId,
    (request, facts): (&AccessRequest, &Facts),
) -> Result<(), String> {
    match set.decide(request, facts) {
        Decision::Deny(Denial::Unevaluable { policies }) if policies.contains(policy) => Ok(()),
        other => Err(otherwise(&other)),
    }
}

fn otherwise(decision: &Decision) -> String {
    match decision {
        Decision::Permit(_) => "it is permitted".to_owned(),
        Decision::Deny(denial) => denial.to_string(),
    }
}
