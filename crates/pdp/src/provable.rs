//! A policy set as text, for proofs about it; and questions in Cedar's own terms, by which what a proof
//! found is tried, before it is decided.
//!
//! A proof holds for all that Cedar can be asked, which is more than is ever asked here. What is always so
//! where the set is asked narrows that (see [`Environment::assumes`]): only what the built-in rules refuse
//! otherwise, and what facts are made of (`what_is_permitted_is_as_proofs_assume`).

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;

use cedar_policy::{
    Context, Effect, Entities, EntityUid, EvalResult, Expression, Request, eval_expression,
};
use model::{
    AccessRequest, Attestation, Binding, DELEGATIONS_MAX, Denial, Facts, Harm, PolicyId, RiskLevel,
    ToolRef,
};
use serde::Serialize;
use serde_json::Value;

use crate::candidates::{Asked, CANDIDATES_MAX, Placed};
use crate::entities::{server_uid, tool_uid};
use crate::evaluate::{Question, Said, action_entity};
use crate::kernel;
use crate::properties::{self, NEVER_REACHES, PROPERTY};
use crate::reads::InputReads;
use crate::schema::{Action, AskedBy, chain, type_name};
use crate::snapshot::Snapshot;

/// A policy set as text.
#[derive(Clone, Debug)]
pub struct Provable {
    /// Its schema, with an action for each tool (Cedar schema syntax).
    pub schema: String,
    /// The policies in force, those under observation left out.
    pub policies: Vec<PolicyText>,
    /// Whom of what the set is asked, sorted. What no policy is asked about is left out.
    pub environments: Vec<Environment>,
}

/// A policy as text.
#[derive(Clone, Debug)]
pub struct PolicyText {
    /// Its `@id`.
    pub id: PolicyId,
    /// Its `@description`.
    pub description: Option<String>,
    /// Whether it permits, or forbids.
    pub is_permit: bool,
    /// The arguments that it looks at.
    pub reads: InputReads,
    /// Of a property that holds over chains its further parts, which are policies beside it: that whom it names hands
    /// work on, and that whoever it is does what it matches.
    pub over_chains: Option<[PolicyId; 2]>,
    /// Cedar.
    pub text: String,
}

/// Who asks for what, by type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Environment {
    /// The type of who asks.
    pub principal: String,
    /// What they ask for.
    pub action: String,
    /// The type of what they ask for it of.
    pub resource: String,
    /// What is always so where it is asked (Cedar expressions).
    #[serde(skip)]
    pub assumes: Vec<String>,
    /// Of that, what says which values there are at all; the rest is what the built-in rules guarantee.
    #[serde(skip)]
    pub values: Vec<String>,
    /// The policies whose scope can match, by their position in [`Provable::policies`].
    #[serde(skip)]
    pub policies: Vec<usize>,
    /// Whether the act can be asked for at all: a tool that no permit names is not callable.
    #[serde(skip)]
    pub is_callable: bool,
    /// Whether more policies could match than one decision looks at, and so deny.
    #[serde(skip)]
    pub is_crowded: bool,
}

/// One question in Cedar's terms.
#[derive(Clone, Debug, Serialize)]
pub struct Posed {
    /// `Instance::"…"`.
    pub principal: String,
    /// `Action::"…"`.
    pub action: String,
    /// `Tool::"…"`.
    pub resource: String,
    /// Cedar's JSON form of a context.
    pub context: Value,
    /// Cedar's JSON form of entities.
    pub entities: Value,
}

/// What a set answers to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PosedAnswer {
    /// Whether it permits: the act can be asked for, something permits, nothing forbids, nothing failed.
    pub is_permitted: bool,
    /// The policies that permit.
    pub permits: BTreeSet<PolicyId>,
    /// The policies that forbid.
    pub forbids: BTreeSet<PolicyId>,
    /// The policies that could not be evaluated.
    pub errors: BTreeSet<PolicyId>,
}

impl Snapshot {
    /// The set as text, its tools with what each can do.
    ///
    /// # Errors
    /// Something in it has no text.
    pub fn provable(&self, harm: &BTreeMap<ToolRef, BTreeSet<Harm>>) -> Result<Provable, String> {
        let mut texts = BTreeMap::new();
        let in_force = self.policies.iter().enumerate().filter(|(_, policy)| !policy.observe);
        let mut policies = Vec::new();
        for (position, policy) in in_force {
            let alone = policy.alone.policies().next();
            let kind = alone.and_then(|it| it.annotation(PROPERTY));
            let text = alone.and_then(cedar_policy::Policy::to_cedar);
            let text = text.ok_or_else(|| format!("policy `{}` has no text", policy.id))?;
            texts.insert(position, policies.len());
            let is_permit = policy.effect == Effect::Permit;
            let (id, description) = (policy.id.clone(), policy.description.clone());
            let reads = policy.reads.clone();
            let over_chains = (kind == Some(NEVER_REACHES)).then(|| properties::parts(&id));
            policies.push(PolicyText { id, description, is_permit, reads, over_chains, text });
        }
        let actions: BTreeMap<_, _> = self.vocabulary.actions.iter().collect();
        let actions = actions.into_iter().filter(|(name, _)| !kernel::asks_no_policy(name));
        let environments = actions
            .flat_map(|(name, action)| self.environments_of(name, action, harm))
            .map(|mut environment| {
                let texts = environment.policies.iter().filter_map(|it| texts.get(it).copied());
                environment.policies = texts.collect();
                environment
            })
            .collect();
        // What no policy looks at only makes the questions longer.
        let schema = self.vocabulary.text(&self.remembered.counted)?;
        Ok(Provable { schema, policies, environments })
    }

    fn environments_of(
        &self,
        name: &str,
        action: &Action,
        harm: &BTreeMap<ToolRef, BTreeSet<Harm>>,
    ) -> Vec<Environment> {
        let is_callable = action.tool.as_ref().is_none_or(|tool| self.names_tool(tool));
        let candidates = self.whoever_asks(action);
        let mut all = Vec::new();
        let principals: BTreeSet<_> = action.principals().into_iter().collect();
        for principal in principals {
            for resource in &action.resources {
                let scopes =
                    candidates.iter().map(|position| (position, self.index.scope(*position)));
                let could = scopes.filter(|(_, scope)| {
                    scope.principal.could_match(&type_name(principal))
                        && scope.resource.could_match(resource)
                });
                let policies: Vec<_> = could.map(|(position, _)| *position).collect();
                let in_force =
                    policies.iter().filter(|position| !self.policies[**position].observe);
                all.push(Environment {
                    principal: principal.to_owned(),
                    action: name.to_owned(),
                    resource: resource.to_string(),
                    assumes: assumed(action, principal, harm),
                    values: values(action, harm),
                    is_crowded: in_force.count() > CANDIDATES_MAX,
                    policies,
                    is_callable,
                });
            }
        }
        all
    }

    /// The policies whose scope can match this action, whoever asks; of a tool's, those that match the tool.
    fn whoever_asks(&self, action: &Action) -> Vec<usize> {
        let mut found: Vec<usize> = match &action.tool {
            Some(tool) => {
                let ancestors = vec![server_uid(tool.server.as_str())];
                let resource = Placed { uid: tool_uid(tool), ancestors };
                self.index.whoever(&action.placed, &resource).collect()
            }
            None => (0..self.policies.len())
                .filter(|position| self.index.scope(*position).action.matches(&action.placed))
                .collect(),
        };
        found.sort_unstable();
        found
    }

    /// Answers a question, by the very evaluation that decides: the candidates, each by itself. The
    /// built-in rules are not asked.
    ///
    /// # Errors
    /// The question cannot be asked, or `assumes` does not hold for it.
    pub fn pose(&self, posed: &Posed, assumes: &[String]) -> Result<PosedAnswer, String> {
        let uid = |text: &str| EntityUid::from_str(text).map_err(|error| chain(&error));
        let (principal, resource) = (uid(&posed.principal)?, uid(&posed.resource)?);
        let named = uid(&posed.action)?;
        let action = self.vocabulary.actions.get(named.id().unescaped());
        let action = action.ok_or("there is no such action")?;
        let context = Context::from_json_value(posed.context.clone(), None);
        let context = context.map_err(|error| chain(&error))?;
        let entities = entities(posed, action)?;
        let placed = |uid: EntityUid| {
            let ancestors = entities.ancestors(&uid).into_iter().flatten().cloned().collect();
            Placed { uid, ancestors }
        };
        let (principal, resource) = (placed(principal), placed(resource));
        let asked = Asked { principal: &principal, action: &action.placed, resource: &resource };
        let candidates = self.matching(&asked).map_err(|_| "too many policies match")?;
        let unread = BTreeSet::new();
        let question = Question { action: &action.placed, resource, context, entities, unread };
        let request = question.of(&principal).ok_or("it is no request")?;
        for expression in assumes {
            holds(expression, &request, &question.entities)?;
        }
        let said = self.ask(&question, &principal, &candidates);
        let said = said.map_err(|denial| denial.to_string())?;
        let is_callable = action.tool.as_ref().is_none_or(|tool| self.names_tool(tool));
        Ok(PosedAnswer {
            is_permitted: said.permits() && is_callable,
            permits: self.ids(&said.permits),
            forbids: self.ids(&said.forbids),
            errors: self.ids(&said.errors),
        })
    }

    /// What its policies say of `request` to all of whom they are asked together, whether or not it is permitted: of
    /// properties, which of them match it.
    ///
    /// # Errors
    /// No policy is asked: a built-in rule, or the shape of the request, decides.
    pub fn say(&self, request: &AccessRequest, facts: &Facts) -> Result<PosedAnswer, Denial> {
        let (action, passed) = self.built_in(request, facts)?;
        let nobody_asked = Denial::NotGranted { answers: passed.answers };
        let prepared = self.prepare((request, facts), (action, &passed))?.ok_or(nobody_asked)?;
        let asked = self.ask_each(&prepared)?;
        let is_callable = action.tool.as_ref().is_none_or(|tool| self.names_tool(tool));
        Ok(PosedAnswer {
            is_permitted: asked.all().all(Said::permits) && is_callable,
            permits: self.ids(&asked.union(|said| &said.permits)),
            forbids: self.ids(&asked.union(|said| &said.forbids)),
            errors: self.ids(&asked.union(|said| &said.errors)),
        })
    }
}

/// The entities of a question, the action with the groups that it is really in.
fn entities(posed: &Posed, action: &Action) -> Result<Entities, String> {
    let given = Entities::from_json_value(posed.entities.clone(), None);
    let given = given.map_err(|error| chain(&error))?;
    let others = given.into_iter().filter(|it| it.uid().type_name().basename() != "Action");
    let all = others.chain([action_entity(&action.placed)]);
    Entities::from_entities(all, None).map_err(|error| chain(&error))
}

pub(crate) fn holds(
    expression: &str,
    request: &Request,
    entities: &Entities,
) -> Result<(), String> {
    let parsed = Expression::from_str(expression).map_err(|error| chain(&error))?;
    match eval_expression(request, entities, &parsed) {
        Ok(EvalResult::Bool(true)) => Ok(()),
        _ => Err(format!("what is assumed does not hold: {expression}")),
    }
}

/// What is always so where the set is asked for `action` by a `principal` of this type.
pub(crate) fn assumed(
    action: &Action,
    principal: &str,
    harm: &BTreeMap<ToolRef, BTreeSet<Harm>>,
) -> Vec<String> {
    let text = str::to_owned;
    let mut all = match action.asked_by {
        AskedBy::Instance => vec![
            text("context.sponsor.active"),
            text("if context has subject then context.subject.active else true"),
            format!("context.depth >= 0 && context.depth <= {DELEGATIONS_MAX}"),
        ],
        AskedBy::Person => vec![text("principal.active")],
        AskedBy::Directory => Vec::new(),
    };
    if action.asked_by == AskedBy::Instance && principal == "Person" {
        all.push(text("context has subject && context.subject == principal"));
    }
    all.extend(values(action, harm));
    all
}

/// Which values there are where the set is asked for `action`: whatever names another one matches nothing.
fn values(action: &Action, harm: &BTreeMap<ToolRef, BTreeSet<Harm>>) -> Vec<String> {
    let mut all = Vec::new();
    if action.asked_by == AskedBy::Instance {
        let one_of =
            |name: &str, values: &[&str]| format!("{}.contains(context.{name})", set(values));
        let mut levels = vec!["none"];
        levels.extend(RiskLevel::ALL.map(RiskLevel::as_str));
        all.push(one_of("attestation", &Attestation::ALL.map(Attestation::as_str)));
        all.push(one_of("binding", &Binding::ALL.map(Binding::as_str)));
        all.push(one_of("risk", &levels));
    }
    if let Some(tool) = &action.tool {
        let (uid, server) = (tool_uid(tool), server_uid(tool.server.as_str()));
        all.push(format!("resource == {uid} && resource in {server}"));
        if let Some(classes) = harm.get(tool) {
            let classes: Vec<_> = classes.iter().map(|class| class.as_str()).collect();
            // No policy has an empty set literal: its type would be nobody's.
            all.push(match classes.as_slice() {
                [] => "resource.harm.isEmpty()".to_owned(),
                classes => format!("resource.harm == {}", set(classes)),
            });
        }
    }
    all
}

fn set(values: &[&str]) -> String {
    let quoted: Vec<_> = values.iter().map(|value| format!("\"{value}\"")).collect();
    format!("[{}]", quoted.join(", "))
}
