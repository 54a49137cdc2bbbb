//! Asks the policies of a snapshot: the candidates only, each by itself.

use std::collections::BTreeSet;

use cedar_policy::{
    Context, Effect, Entities, Entity, EvalResult, Expression, Policy, Request, eval_expression,
};
use model::{Denial, PolicyId};

use crate::candidates::{OBSERVED_MAX, Placed};
use crate::snapshot::{Compiled, Snapshot};

/// Everything that a policy can look at, in Cedar's terms.
pub(crate) struct Question<'a> {
    pub(crate) action: &'a Placed,
    pub(crate) resource: Placed,
    pub(crate) context: Context,
    pub(crate) entities: Entities,
    /// Arguments that have no exact value.
    pub(crate) unread: BTreeSet<String>,
}

/// What the candidates said, by position.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) permits: BTreeSet<usize>,
    pub(crate) forbids: BTreeSet<usize>,
    pub(crate) errors: BTreeSet<usize>,
    /// Policies under observation: they are never part of an answer.
    pub(crate) observed: Observed,
}

/// What policies under observation would have done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) permits: BTreeSet<usize>,
    pub(crate) forbids: BTreeSet<usize>,
    pub(crate) errors: BTreeSet<usize>,
}

/// What one policy came to.
pub(crate) enum Outcome {
    Satisfied,
    NotSatisfied,
    Failed,
}

impl Question<'_> {
    /// The question, of `principal`.
    pub(crate) fn of(&self, principal: &Placed) -> Option<Request> {
        let (uid, context) = (principal.uid.clone(), self.context.clone());
        let (action, resource) = (self.action.uid.clone(), self.resource.uid.clone());
        Request::new(uid, action, resource, context, None).ok()
    }
}

impl Said {
    /// Whether the set permits: something permits, nothing forbids, nothing failed.
    pub(crate) fn permits(&self) -> bool {
        !self.permits.is_empty() && self.forbids.is_empty() && self.errors.is_empty()
    }
}

impl Snapshot {
    /// Asks `candidates` with `principal`. One under observation beyond [`OBSERVED_MAX`] is told as one that could not
    /// be evaluated.
    pub(crate) fn ask(
        &self,
        question: &Question<'_>,
        principal: &Placed,
        candidates: &[usize],
    ) -> Result<Said, Denial> {
        let request = question.of(principal).ok_or(Denial::Malformed)?;
        let (mut said, mut observed) = (Said::default(), 0);
        for position in candidates {
            let policy = &self.policies[*position];
            observed += usize::from(policy.observe);
            let sees = |unread: &String| policy.reads.see(unread);
            let is_beyond = observed > OBSERVED_MAX || question.unread.iter().any(sees);
            let outcome = if policy.observe && is_beyond {
                Outcome::Failed
            } else {
                policy.outcome(&request, &question.entities)
            };
            said.note(*position, policy, &outcome);
        }
        Ok(said)
    }

    /// The arguments without an exact value that one of `candidates` in force could look at.
    pub(crate) fn seen<'a>(
        &self,
        unread: &BTreeSet<String>,
        candidates: impl Iterator<Item = &'a usize> + Clone,
    ) -> BTreeSet<String> {
        let policies = candidates.map(|position| &self.policies[*position]);
        let in_force = policies.filter(|policy| !policy.observe);
        let seen = |pointer: &&String| in_force.clone().any(|policy| policy.reads.see(pointer));
        unread.iter().filter(seen).cloned().collect()
    }

    /// The ids of policies, sorted: Cedar reports them unordered, and records must not.
    pub(crate) fn ids<'a>(
        &self,
        positions: impl IntoIterator<Item = &'a usize>,
    ) -> BTreeSet<PolicyId> {
        positions.into_iter().map(|position| self.policies[*position].id.clone()).collect()
    }
}

impl Said {
    fn note(&mut self, position: usize, policy: &Compiled, outcome: &Outcome) {
        let set = match (outcome, policy.effect, policy.observe) {
            (Outcome::Failed, _, false) => &mut self.errors,
            (Outcome::Failed, _, true) => &mut self.observed.errors,
            (Outcome::Satisfied, Effect::Permit, false) => &mut self.permits,
            (Outcome::Satisfied, Effect::Forbid, false) => &mut self.forbids,
            (Outcome::Satisfied, Effect::Permit, true) => &mut self.observed.permits,
            (Outcome::Satisfied, Effect::Forbid, true) => &mut self.observed.forbids,
            (Outcome::NotSatisfied, _, _) => return,
        };
        set.insert(position);
    }
}

impl Compiled {
    /// What it comes to where its scope matches, which is why it is a candidate, and is not looked at again.
    pub(crate) fn outcome(&self, request: &Request, entities: &Entities) -> Outcome {
        let Some(conditions) = &self.beside_scope else { return Outcome::Satisfied };
        match eval_expression(request, entities, conditions) {
            Ok(EvalResult::Bool(true)) => Outcome::Satisfied,
            Ok(EvalResult::Bool(false)) => Outcome::NotSatisfied,
            // What is neither fails in a policy, too.
            Ok(_) | Err(_) => Outcome::Failed,
        }
    }
}

/// What `policy` says beside its scope, if it says something.
pub(crate) fn beside_scope(policy: &Policy) -> Option<Expression> {
    policy.as_ref().non_scope_constraints().cloned().map(Expression::from)
}

/// The entity of an action, with the groups that it is in.
pub(crate) fn action_entity(action: &Placed) -> Entity {
    Entity::new_no_attrs(action.uid.clone(), action.ancestors.iter().cloned().collect())
}
