//! Asks the policies of a snapshot: the candidates only, each by itself.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use cedar_policy::{
    ActionConstraint, Authorizer, Context, Effect, Entities, Entity, Policy, PolicySet, Request,
};
use model::{Denial, PolicyId};
use serde_json::json;

use crate::candidates::{OBSERVED_MAX, Placed};
use crate::snapshot::{Compiled, Snapshot};

static AUTHORIZER: LazyLock<Authorizer> = LazyLock::new(Authorizer::new);

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

/// What one policy, or what is asked as one, came to.
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
    /// Asks `candidates`, whose scopes match, with `principal`. One under observation beyond [`OBSERVED_MAX`] is told as one that could not
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
            } else if policy.is_unconditional {
                // Its scope matches, and that is all that it says.
                Outcome::Satisfied
            } else {
                // Only whose action matches is a candidate.
                let set = policy.of_its_actions.as_ref().unwrap_or(&policy.alone);
                outcome(set, &request, &question.entities)
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

/// What `policy`, which is alone in its set, comes to.
pub(crate) fn outcome(policy: &PolicySet, request: &Request, entities: &Entities) -> Outcome {
    let response = AUTHORIZER.is_authorized(request, policy, entities);
    let diagnostics = response.diagnostics();
    if diagnostics.errors().next().is_some() {
        Outcome::Failed
    } else if diagnostics.reason().next().is_some() {
        Outcome::Satisfied
    } else {
        Outcome::NotSatisfied
    }
}

/// `policy` for any action, if it is for those of a list.
pub(crate) fn of_its_actions(policy: &Policy) -> Option<PolicySet> {
    let ActionConstraint::In(_) = policy.action_constraint() else { return None };
    let mut syntax = policy.to_json().ok()?;
    *syntax.get_mut("action")? = json!({ "op": "All" });
    let policy = Policy::from_json(Some(policy.id().clone()), syntax).ok()?;
    PolicySet::from_policies([policy]).ok()
}

/// The entity of an action, with the groups that it is in.
pub(crate) fn action_entity(action: &Placed) -> Entity {
    Entity::new_no_attrs(action.uid.clone(), action.ancestors.iter().cloned().collect())
}
