//! Whether whom a property names reaches what it matches by handing work on.
//!
//! Agents are classes: each that policies or properties name is one, and all others are one together. Who can be handed the
//! work is looked for step by step, from whom the property names; then, whether any of those is permitted the act. Each
//! step is asked by itself, in whatever circumstances, but that work was handed on as often as it takes to come there. So more
//! chains are looked at than there are, and what is proved holds of these, whose scope, data, labels and time only narrow
//! from step to step. INVARIANT: what is found is told as a breach only if each of its steps was decided, in this order and
//! in one task (`a_chain_is_decided_step_by_step`).

use std::collections::BTreeSet;

use cedar_policy_symcc::disjoint_asserts;
use futures::{StreamExt as _, stream};
use model::{AccessRequest, DELEGATIONS_MAX, Facts, PolicyId};
use pdp::{Environment, Posed, Provable};

use crate::claims::{Claim, over_chains};
use crate::compiled::{Guarded, Place, guarded, uid};
use crate::examples::{permits, posed};
use crate::prove::{Found, Subject, Unproved, Work, in_force};
use crate::report::{Chains, Counterexample, Step, Why};
use crate::solver::{Session, Solver};

/// The most agents that policies and properties can name where chains are looked at.
pub const CHAIN_AGENTS_MAX: usize = 32;

/// The most chains to an act in one environment that are tried, none of which is decided: each is in many ways.
const CHAINS_MAX: usize = 8;

/// What is known of one claim over chains.
pub(crate) struct Searched {
    /// Which claim, by its position.
    pub(crate) claim: usize,
    pub(crate) found: Vec<Found>,
    pub(crate) chains: Chains,
    /// How many questions that took.
    pub(crate) queries: u64,
}

/// Whose instances act.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    /// Those of an agent, as Cedar writes it.
    Agent(String),
    /// Those of agents that nothing names.
    Other,
}

/// Somebody to whom work can come.
struct Reached {
    who: Who,
    /// Who hands it on to them, by position; whom the property names, if it is none of these.
    by: Option<usize>,
    /// In how many steps.
    steps: usize,
    /// The last of these.
    posed: Posed,
}

/// What is looked at for one property.
struct Search<'w> {
    work: &'w Work<'w>,
    properties: &'w Provable,
    /// The part by which whom it names hands work on.
    handed_on: &'w PolicyId,
    /// The part by which somebody does what it matches.
    by_others: &'w PolicyId,
    reached: Vec<Reached>,
}

impl Work<'_> {
    /// What is known of those of `claims` that are over chains, looking at so many environments at once.
    pub(crate) async fn over_chains(
        &self,
        claims: &[Claim],
        (solver, at_once): (&Solver, usize),
    ) -> Vec<Searched> {
        let Some(properties) = &self.properties else { return Vec::new() };
        let claims = claims.iter().enumerate();
        let claims = claims.filter(|(_, it)| matches!(it, Claim::NeverReaches { .. }));
        let mut all = Vec::new();
        for ((claim, _), (_, [handed_on, by_others])) in claims.zip(over_chains(properties)) {
            let reached = Vec::new();
            let search = Search { work: self, properties, handed_on, by_others, reached };
            all.push(Box::pin(search.all(claim, (solver, at_once))).await);
        }
        all
    }
}

impl Search<'_> {
    async fn all(mut self, claim: usize, (solver, at_once): (&Solver, usize)) -> Searched {
        let mut session = solver.session();
        let mut chains =
            Chains { agents: BTreeSet::new(), others: false, steps: 0, is_closed: false };
        let (delegating, named) = (self.delegating(), self.work.agents.len());
        let result = match delegating {
            Some(delegating) if named <= CHAIN_AGENTS_MAX => {
                let reached = Box::pin(self.reach(delegating, &mut session)).await;
                let (steps, is_closed, unknown) = reached;
                (chains.steps, chains.is_closed) = (steps, is_closed && unknown.is_none());
                unknown.map_or(Ok(()), Err)
            }
            Some(_) => Err(Why::Unsupported(format!(
                "{named} agents are named, and chains are looked at among {CHAIN_AGENTS_MAX}"
            ))),
            None => Err(Why::Unsupported("nobody can be asked to hand work on".to_owned())),
        };
        let (environment, result) =
            (delegating.unwrap_or_default(), result.map_err(Unproved::from));
        let mut found = vec![Found { environment, claim, result }];
        for Reached { who, .. } in &self.reached {
            match who {
                Who::Agent(agent) => {
                    chains.agents.insert(agent.clone());
                }
                Who::Other => chains.others = true,
            }
        }
        let mut queries = session.queries;
        let positions = 0..self.work.set.environments.len();
        let looked = |position: usize| Box::pin(self.look(position, solver.session()));
        let mut looking = stream::iter(positions).map(looked).buffered(at_once.max(1));
        while let Some((environment, asked, result)) = looking.next().await {
            queries += asked;
            found.push(Found { environment, claim, result });
        }
        drop(looking);
        Searched { claim, found, chains, queries }
    }

    /// Looks for all to whom the work can come; in how many steps, and whether a further one reaches nobody else; why
    /// that is not known, if it is not.
    async fn reach(
        &mut self,
        delegating: usize,
        session: &mut Session<'_>,
    ) -> (usize, bool, Option<Why>) {
        let (mut from, mut unknown) = (vec![None], None);
        for steps in 0..DELEGATIONS_MAX {
            let first = self.reached.len();
            for by in from {
                // Each answer reaches somebody new, so there are no more than there are agents.
                loop {
                    match Box::pin(self.next(delegating, (by, steps), session)).await {
                        Ok(Some(next)) => self.reached.push(next),
                        Ok(None) => break,
                        Err(why) => {
                            unknown.get_or_insert(why);
                            break;
                        }
                    }
                }
            }
            if first == self.reached.len() {
                return (steps, true, unknown);
            }
            from = (first..self.reached.len()).map(Some).collect();
        }
        (DELEGATIONS_MAX, false, unknown)
    }

    /// Somebody new to whom the work can be handed `by` one of those reached in so many steps.
    async fn next(
        &self,
        delegating: usize,
        (by, steps): (Option<usize>, usize),
        session: &mut Session<'_>,
    ) -> Result<Option<Reached>, Why> {
        let Some(is_new) = self.is_new() else { return Ok(None) };
        let agents = &self.work.agents;
        let Some(part) = self.part(self.handed_on, delegating)? else { return Ok(None) };
        let handing = match by {
            None => part.of_one(agents)?,
            Some(by) => part.by_anybody()?.also(&[self.reached[by].who.acts(agents)])?,
        };
        // Nobody hands work on to an agent that has it or had it, nor oftener than it can be.
        let begun = part.agent(agents).map(|it| format!("resource != {it}"));
        let handing = handing.also(&[
            is_new,
            begun.unwrap_or_else(|| "!(principal in resource)".to_owned()),
            format!("context.depth >= {steps} && context.depth < {DELEGATIONS_MAX}"),
        ])?;
        let Some(posed) = self.ask(delegating, &handing, session).await? else { return Ok(None) };
        let is_named = agents.contains(&posed.resource);
        let who = if is_named { Who::Agent(posed.resource.clone()) } else { Who::Other };
        if self.reached.iter().any(|it| it.who == who) {
            return Err(Why::Unconfirmed("the work comes to nobody new".to_owned()));
        }
        Ok(Some(Reached { who, by, steps: steps + 1, posed }))
    }

    /// Whether somebody is permitted the act in one environment, and how many questions that took.
    async fn look(
        &self,
        position: usize,
        mut session: Session<'_>,
    ) -> (usize, u64, Result<(), Unproved>) {
        let result = Box::pin(self.acting(position, &mut session)).await;
        (position, session.queries, result)
    }

    async fn acting(&self, position: usize, session: &mut Session<'_>) -> Result<(), Unproved> {
        let mut left: Vec<usize> = (0..self.reached.len()).collect();
        let Some(part) = self.part(self.by_others, position)? else { return Ok(()) };
        let mut undecided = None;
        let fewest = left.len().saturating_sub(CHAINS_MAX);
        while left.len() > fewest {
            let one = |it: &Reached| {
                let who = it.who.acts(&self.work.agents);
                format!("({who} && context.depth >= {})", it.steps)
            };
            let any: Vec<_> = left.iter().map(|number| one(&self.reached[*number])).collect();
            let act = part.also(&[any.join(" || ")])?;
            let Some(found) = self.ask(position, &act, session).await? else { break };
            let who = self.who(&found);
            let number = left.iter().position(|number| self.reached[*number].who == who);
            let Some(number) = number else {
                return Err(Why::Unconfirmed("the work does not come to who acts".into()).into());
            };
            match self.decided(position, found, left.remove(number)) {
                found @ Unproved::Undecided(..) => undecided = undecided.or(Some(found)),
                other => return Err(other),
            }
        }
        match undecided {
            Some(undecided) => Err(undecided),
            None if self.reached.is_empty() => Ok(()),
            // Of an act on which the property cannot be evaluated it says nothing.
            None => {
                let place = Place::of(&self.work.set.environments[position], &self.work.schema)?;
                Box::pin(place.never_fails(&part, session)).await
            }
        }
    }

    /// The chain to the act that was found in an environment, by whom the work comes to so: refuted, if each step is decided.
    fn decided(&self, position: usize, act: Posed, last: usize) -> Unproved {
        let Subject { set, properties: Some(properties), chaining, .. } = *self.work.subject else {
            return Why::Unconfirmed("there are no properties".to_owned()).into();
        };
        let handings = self.path(last);
        let number_of_act = handings.len();
        let steps: Vec<Posed> = handings.into_iter().chain([act]).collect();
        let mut by = Vec::new();
        for (number, step) in steps.iter().enumerate() {
            let is_act = number == number_of_act;
            let environment = if is_act { Some(position) } else { self.delegating() };
            let assumes = environment.map(|it| self.work.set.environments[it].assumes.as_slice());
            match set.pose(step, assumes.unwrap_or_default()) {
                Ok(answer) if answer.is_permitted => by.push(answer.permits),
                Ok(_) => return Why::Unconfirmed("the answer is another".to_owned()).into(),
                Err(why) => return Why::Unconfirmed(why).into(),
            }
        }
        let deciding = |number: usize, request: &AccessRequest, facts: &Facts| {
            permits(set, (request, facts))?;
            let part = match number {
                0 => self.handed_on,
                _ if number == number_of_act => self.by_others,
                _ => return Ok(()),
            };
            let said = properties.say(request, facts).map_err(|denial| denial.to_string())?;
            let why = "no case says what the property is about";
            said.forbids.contains(part).then_some(()).ok_or_else(|| why.to_owned())
        };
        let (cases, why) = match chaining(&steps, &deciding) {
            Ok(cases) => (cases, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        let cases = cases.into_iter().map(Some).chain(std::iter::repeat(None));
        let told = steps.into_iter().zip(by).zip(cases);
        let mut told: Vec<Step> =
            told.map(|((posed, by), case)| Step { by, case, posed }).collect();
        let Some(Step { by, case, posed }) = told.pop() else {
            return Why::Unconfirmed("it has no steps".to_owned()).into();
        };
        let (is_permitted, handed_on) = (true, told);
        let example = Box::new(Counterexample { by, is_permitted, case, posed, handed_on });
        match why {
            None => Unproved::Refuted(example),
            Some(why) => Unproved::Undecided(example, why),
        }
    }

    /// The steps by which the work comes to who was reached at `last`, in their order.
    fn path(&self, last: usize) -> Vec<Posed> {
        let mut steps = Vec::new();
        let mut at = Some(last);
        while let Some(number) = at {
            let Reached { by, posed, .. } = &self.reached[number];
            steps.push(posed.clone());
            at = *by;
        }
        steps.reverse();
        steps
    }

    /// Where work is handed on.
    fn delegating(&self) -> Option<usize> {
        let number = self.number(self.handed_on)?;
        self.properties.environments.iter().position(|it| it.policies.contains(&number))
    }

    fn number(&self, id: &PolicyId) -> Option<usize> {
        self.properties.policies.iter().position(|it| it.id == *id)
    }

    /// A part of the property in an environment, as one that permits; none where its scope cannot match.
    fn part(&self, id: &PolicyId, position: usize) -> Result<Option<Guarded>, Why> {
        let environment = &self.properties.environments[position];
        let number = self.number(id).filter(|number| environment.policies.contains(number));
        let Some(number) = number else { return Ok(None) };
        let alone = Environment { policies: vec![number], ..environment.clone() };
        guarded(self.properties, &alone)?.pop().map(|it| it.as_permit()).transpose()
    }

    /// An act in an environment that the set permits and `matched` matches.
    async fn ask(
        &self,
        position: usize,
        matched: &Guarded,
        session: &mut Session<'_>,
    ) -> Result<Option<Posed>, Why> {
        let environment = &self.work.set.environments[position];
        let place = Place::of(environment, &self.work.schema)?;
        let set = in_force(&self.work.set, environment)?;
        let (left, right) = (place.compile_set(&set)?, place.compile_set([matched])?);
        let found = session.example(&disjoint_asserts(&left, &right)).await?;
        found.map(|found| posed(&found)).transpose()
    }

    /// That work is handed on to somebody to whom it did not come yet, as Cedar says it; nothing, if there is nobody left.
    fn is_new(&self) -> Option<String> {
        let has = |who: &Who| self.reached.iter().any(|it| it.who == *who);
        let agents = self.work.agents.iter();
        let (reached, left): (Vec<_>, Vec<_>) =
            agents.partition(|it| has(&Who::Agent((*it).clone())));
        if !has(&Who::Other) {
            return Some(all_of(reached.into_iter().map(|it| format!("resource != {it}"))));
        }
        let left: Vec<_> = left.into_iter().map(|it| format!("resource == {it}")).collect();
        (!left.is_empty()).then(|| left.join(" || "))
    }

    /// Who acts.
    fn who(&self, posed: &Posed) -> Who {
        let entities = posed.entities.as_array().into_iter().flatten();
        let principal = entities.filter(|it| uid(&it["uid"]).as_ref() == Some(&posed.principal));
        let parents = principal.flat_map(|it| it["parents"].as_array().into_iter().flatten());
        let mut agents = parents.filter_map(uid).filter(|it| self.work.agents.contains(it));
        agents.next().map_or(Who::Other, Who::Agent)
    }
}

impl Who {
    /// That one of these acts, as Cedar says it: an instance is of one agent.
    fn acts(&self, agents: &BTreeSet<String>) -> String {
        let own = match self {
            Self::Agent(agent) => Some(agent),
            Self::Other => None,
        };
        let others = agents.iter().filter(|it| Some(*it) != own);
        let others = others.map(|it| format!("!(principal in {it})"));
        all_of(own.map(|it| format!("principal in {it}")).into_iter().chain(others))
    }
}

/// That whoever acts is of one of `agents` at most, as Cedar says it.
pub(crate) fn of_one(agents: &BTreeSet<String>) -> String {
    let all = agents.iter().cloned().map(Who::Agent).chain([Who::Other]);
    let all: Vec<_> = all.map(|who| format!("({})", who.acts(agents))).collect();
    all.join(" || ")
}

/// That all of these hold.
fn all_of(all: impl Iterator<Item = String>) -> String {
    let all: Vec<_> = all.collect();
    if all.is_empty() { "true".to_owned() } else { all.join(" && ") }
}
