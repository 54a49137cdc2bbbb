//! Decides one access request against one policy snapshot.
//!
//! [`Snapshot::decide`] is pure and total: the same request and facts give the same decision on
//! every machine, today or when an auditor replays the record.
//!
//! INVARIANT: absence never permits (`i_03_…`). A request that no policy grants and a policy that
//! Cedar could not evaluate are both denials (`i_04_…`). Two acts are permitted by a rule that is
//! compiled in, and by no policy: taking back what one gave oneself, and a directory's taking away.

use std::collections::BTreeSet;

use cedar_policy::{Entities, RestrictedExpression};
use model::{
    AccessRequest, Answer, Answers, Decision, Denial, Facts, Grant, PolicyId, Remedy, Spend,
};

use crate::candidates::{self, Placed, TooMany};
use crate::context::{self, AskedFor, Given};
use crate::entities::{Node, World};
use crate::evaluate::{Question, Said, action_entity};
use crate::kernel::{self, Passed};
use crate::remembered::Remembered;
use crate::schema::Action;
use crate::shape::Converter;
use crate::snapshot::Snapshot;

/// A question with whom it is asked of, and of which policies.
pub(crate) struct Prepared<'a> {
    pub(crate) question: Question<'a>,
    /// The instance, or whoever administers.
    pub(crate) actor: Placed,
    /// The person on whose behalf an instance acts.
    pub(crate) subject: Option<Placed>,
    pub(crate) of_actor: Vec<usize>,
    pub(crate) of_person: Vec<usize>,
}

/// What the set said to each principal of one request.
pub(crate) struct Asked {
    person: Option<Said>,
    actor: Said,
}

impl Asked {
    pub(crate) fn all(&self) -> impl Iterator<Item = &Said> {
        self.person.iter().chain([&self.actor])
    }

    /// What it said so, to any of them.
    pub(crate) fn union(&self, of: fn(&Said) -> &BTreeSet<usize>) -> BTreeSet<usize> {
        self.all().flat_map(of).copied().collect()
    }
}

impl Snapshot {
    /// Decides `request` in the light of `facts`.
    pub fn decide(&self, request: &AccessRequest, facts: &Facts) -> Decision {
        match self.conjunction(request, facts) {
            Ok(grant) => Decision::Permit(grant),
            Err(denial) => Decision::Deny(denial),
        }
    }

    fn conjunction(&self, request: &AccessRequest, facts: &Facts) -> Result<Grant, Denial> {
        let (action, passed) = self.before_policies(request, facts)?;
        let Some(prepared) = self.prepare((request, facts), (action, &passed))? else {
            return Ok(Grant {
                basis: BTreeSet::new(),
                obligations: BTreeSet::new(),
                answers: passed.answers,
                elevation: None,
                observed: BTreeSet::new(),
                spends: Vec::new(),
                uses_token: false,
            });
        };
        let answered = self.answer(&self.ask_each(&prepared)?, &passed);
        if let Some(outside) = passed.outside {
            // Nothing permits it: a policy that looks at this can say that an approval would lift it.
            return Err(answered.err().filter(|it| self.sends_on(it)).unwrap_or(outside.denial));
        }
        let grant = answered?;
        let Prepared { question, actor, .. } = &prepared;
        let spends = self.budgets.spent_by((request, facts), (question, actor))?;
        let grant = Grant { spends, ..grant };
        let known = &facts.session.used;
        let used = |spend: &Spend| known.get(&spend.counter()).copied().unwrap_or_default();
        if let (false, Some(Spend { budget, .. })) = (known.is_empty(), grant.over(used)) {
            return Err(Denial::BudgetExceeded { budget: budget.clone() });
        }
        // Last: a new token is asked for only where nothing else denies.
        let uses_token = self.strictness.uses_token(request, facts)?;
        Ok(Grant { uses_token, ..grant })
    }

    /// Asks each principal's policies.
    pub(crate) fn ask_each(&self, prepared: &Prepared<'_>) -> Result<Asked, Denial> {
        let Prepared { question, actor, subject, of_actor, of_person } = prepared;
        let person = match subject {
            Some(person) => Some(self.ask(question, person, of_person)?),
            None => None,
        };
        Ok(Asked { person, actor: self.ask(question, actor, of_actor)? })
    }

    /// What the policies are asked, and which of them; none where a built-in rule alone permits.
    pub(crate) fn prepare<'a>(
        &self,
        (request, facts): (&AccessRequest, &Facts),
        (action, passed): (&'a Action, &Passed<'_>),
    ) -> Result<Option<Prepared<'a>>, Denial> {
        let world = World::near(request, facts, &self.labels);
        if !action.resources.contains(world.resource.uid.type_name()) {
            return Err(Denial::Malformed);
        }
        if kernel::only_takes_away(request) {
            return Ok(None);
        }
        let (input, unread) = arguments(request, action).ok_or(Denial::Malformed)?;
        let of_actor = self.candidates(&world, &world.actor, action)?;
        let of_person = match &world.subject {
            Some(person) => self.candidates(&world, person, action)?,
            None => Vec::new(),
        };
        let candidates = of_actor.iter().chain(&of_person);
        let pointers = self.seen(&unread, candidates.clone());
        if !pointers.is_empty() {
            return Err(Denial::Unread { pointers });
        }
        let (principal, resource) = (&world.actor, &world.resource);
        let asked = candidates::Asked { principal, action: &action.placed, resource };
        let policies = candidates.map(|position| self.policies[*position].as_ref());
        let asked: Vec<_> = policies.chain(self.budgets.asked(&asked)).collect();
        // What nobody remembers may have been done.
        if asked.iter().any(|policy| policy.lacks(&facts.session.unremembered)) {
            return Err(Denial::Unremembered);
        }
        let asked = AskedFor::by(&asked);
        let outside = passed.outside.is_some();
        let given = Given { input, unread: &unread, provenance: None, outside };
        let named = (&self.remembered.counted, &asked);
        let context = context::of((facts, passed.elevation), given, named);
        let context = context.ok_or(Denial::Malformed)?;
        let all = (request, facts, &self.labels);
        let World { actor, subject, resource, nodes } = world.widened(&asked, all);
        let entities = entities(&action.placed, nodes, &asked).ok_or(Denial::Malformed)?;
        let question = Question { action: &action.placed, resource, context, entities, unread };
        Ok(Some(Prepared { question, actor, subject, of_actor, of_person }))
    }

    /// Whether a policy that `request` is put to, or the condition of a budget, looks at what was not remembered,
    /// or not by the same labels, while the set `then` was in force; or the answer hangs on a token of which
    /// nothing was.
    pub fn looks_beyond(&self, then: &Self, request: &AccessRequest, facts: &Facts) -> bool {
        let is_token_unknown = facts.session.token_age_s.is_none();
        let wants_token = || {
            let decision = self.decide(request, facts);
            matches!(decision, Decision::Deny(Denial::TokenTooOld { .. }))
        };
        if is_token_unknown && wants_token() {
            return true;
        }
        if !self.remembered.is_beyond(&then.remembered) {
            return false;
        }
        let prepared = self
            .before_policies(request, facts)
            .and_then(|(action, passed)| self.prepare((request, facts), (action, &passed)));
        let Ok(Some(prepared)) = prepared else { return false };
        let Prepared { question, actor, of_actor, of_person, .. } = &prepared;
        let (principal, resource) = (actor, &question.resource);
        let asked = candidates::Asked { principal, action: question.action, resource };
        let conditions = self.budgets.asked(&asked);
        let asked = of_actor.iter().chain(of_person).map(|at| self.policies[*at].as_ref());
        let asked = asked.chain(conditions);
        let said = (&self.tools, self.bundle.labels.as_deref());
        Remembered::by(asked, said).is_beyond(&then.remembered)
    }

    /// The policies whose scope matches this principal's question.
    pub(crate) fn candidates(
        &self,
        world: &World,
        principal: &Placed,
        action: &Action,
    ) -> Result<Vec<usize>, Denial> {
        let (action, resource) = (&action.placed, &world.resource);
        let asked = candidates::Asked { principal, action, resource };
        self.matching(&asked).map_err(|_| Denial::TooManyCandidates)
    }

    /// The policies whose scope matches what is asked.
    pub(crate) fn matching(&self, asked: &candidates::Asked<'_>) -> Result<Vec<usize>, TooMany> {
        self.index.candidates(asked, |position| self.policies[position].observe)
    }

    /// Applies what comes before any policy; gives the action and what was said so far.
    pub(crate) fn before_policies<'a>(
        &self,
        request: &AccessRequest,
        facts: &'a Facts,
    ) -> Result<(&Action, Passed<'a>), Denial> {
        let (action, passed) = self.built_in(request, facts)?;
        match &action.tool {
            Some(tool) if !self.names_tool(tool) => {
                let answers = Answers { instance: Some(Answer::Deny), ..passed.answers };
                Err(Denial::NotGranted { answers })
            }
            _ => Ok((action, passed)),
        }
    }

    /// Applies the rules that no set holds.
    pub(crate) fn built_in<'a>(
        &self,
        request: &AccessRequest,
        facts: &'a Facts,
    ) -> Result<(&Action, Passed<'a>), Denial> {
        let action = self.vocabulary.actions.get(request.action.as_str());
        let action = action.ok_or(Denial::Malformed)?;
        if !kernel::belongs_together(request, facts, action) {
            return Err(Denial::Malformed);
        }
        Ok((action, kernel::check(request, facts, action)?))
    }

    fn answer(&self, asked: &Asked, passed: &Passed<'_>) -> Result<Grant, Denial> {
        // Cedar skips a policy that errors. Skipping a `forbid` would turn a broken guard into an
        // open door, so here any error denies.
        let errors = asked.union(|said| &said.errors);
        if !errors.is_empty() {
            return Err(Denial::Unevaluable { policies: self.ids(&errors) });
        }
        let person = asked.person.as_ref().map(|said| Answer::from(said.permits()));
        let instance = Some(Answer::from(asked.actor.permits()));
        let answers = Answers { person, instance, ..passed.answers };
        let forbids = asked.union(|said| &said.forbids);
        if !forbids.is_empty() {
            return Err(self.forbidden(&forbids, answers));
        }
        if person == Some(Answer::Deny) || instance == Some(Answer::Deny) {
            return Err(Denial::NotGranted { answers });
        }
        let basis = asked.union(|said| &said.permits);
        assert!(!basis.is_empty(), "permitted without a permit policy");
        let owed = basis.iter().flat_map(|position| &self.policies[*position].obligations);
        let mut observed = asked.union(|said| &said.observed.forbids);
        observed.extend(asked.union(|said| &said.observed.errors));
        Ok(Grant {
            obligations: owed.cloned().collect(),
            basis: self.ids(&basis),
            answers,
            elevation: passed.elevation.map(|elevation| elevation.id),
            observed: self.ids(&observed),
            spends: Vec::new(),
            uses_token: false,
        })
    }

    /// Whether policies that forbid an act, one of them because of what it is done to, name what would lift that.
    fn sends_on(&self, denial: &Denial) -> bool {
        let by = denial.policies();
        let mut deciding = self.policies.iter().filter(|policy| by.contains(&policy.id));
        let looks = deciding.any(|it| it.attributes.contains(context::OUTSIDE_PURPOSE));
        looks && !denial.remedies().is_empty()
    }

    fn forbidden(&self, forbids: &BTreeSet<usize>, answers: Answers) -> Denial {
        let by: BTreeSet<PolicyId> = self.ids(forbids);
        let remedies: Option<BTreeSet<Remedy>> =
            forbids.iter().map(|position| self.policies[*position].remedy).collect();
        Denial::Forbidden { by, remedies: remedies.unwrap_or_default(), answers }
    }
}

/// The arguments as Cedar has them, and what it cannot have; `None` if they do not fit the schema.
pub(crate) fn arguments(
    request: &AccessRequest,
    action: &Action,
) -> Option<(RestrictedExpression, BTreeSet<String>)> {
    let mut converter = Converter::default();
    // The parameters of a method without input are none to policy: what they name is its resource.
    let none = serde_json::Value::Null;
    let takes_input = action.tool.is_some() || !action.input.is_empty();
    let given = if takes_input { &request.input } else { &none };
    let input = converter.arguments(&action.input, given).ok()?;
    Some((input, converter.unread))
}

/// The entities that Cedar evaluates with: what they lie within, and so the action, which has nothing else, only if that
/// is asked.
pub(crate) fn entities(
    action: &Placed,
    nodes: Vec<Node>,
    asked: &AskedFor<'_>,
) -> Option<Entities> {
    let mut entities = Vec::with_capacity(nodes.len() + 1);
    if asked.within() {
        entities.push(action_entity(action));
    }
    for node in nodes.into_iter().filter_map(|node| node.asked_for(asked)) {
        entities.push(node.entity()?);
    }
    // To add them walks up from each; to begin with them looks for cycles of any length, which takes longer than all
    // else. Each has all its ancestors, and any cycle is an error by either.
    Entities::empty().add_entities(entities, None).ok()
}
