//! Says how an answer came about: which policies were asked, what each of their conditions came to, and
//! the values that they saw.
//!
//! It asks exactly what [`Snapshot::decide`] asks. Conditions are taken apart at their outermost `&&`, and
//! each part is evaluated by itself: one after a part that does not hold may fail, which the whole never
//! came to.

use std::collections::BTreeSet;
use std::str::FromStr as _;
use std::sync::Arc;

use cedar_policy::{Effect, EvalResult, Expression, Policy, Request, eval_expression, pst};
use model::{AccessRequest, Decision, Facts, PolicyId};
use serde::Serialize;
use serde_json::Value;

use crate::candidates::{Constraint, Placed};
use crate::decide::Prepared;
use crate::evaluate::{Question, beside_scope};
use crate::snapshot::{Compiled, Snapshot};

/// The longest value that is shown, in characters.
const SHOWN_MAX: usize = 200;

/// Why a condition was not evaluated that stands after one by which the policy does not apply.
const NOT_COME_TO: &str = "one before it is not met, so it was never come to";

/// What is shown of an argument that has no exact value.
const INEXACT: &str = "a value that policies cannot see exactly";

/// The most permits that are told of which others are asked.
const FOR_OTHERS_MAX: usize = 20;

/// An answer, and how it came about.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The answer.
    pub decision: Decision,
    /// The policies whose scope matches, by id and by whom they were asked of; none if a built-in rule,
    /// or the shape of the request, decided before any policy.
    pub asked: Vec<AskedPolicy>,
    /// Permits that were asked of nobody here, as their scope is about others; some, if there are many.
    pub for_others: Vec<ForOthers>,
}

/// A permit of the same act that is about others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ForOthers {
    /// Its `@id`.
    pub policy: PolicyId,
    /// Whom it is about, as its scope says it.
    pub whom: String,
}

/// One policy, as it was asked of one principal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AskedPolicy {
    /// Its `@id`.
    pub policy: PolicyId,
    /// Its `@description`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `permit` or `forbid`.
    pub effect: &'static str,
    /// Whether it is under observation, and so never part of an answer.
    pub observed: bool,
    /// Of whom it was asked: `person` or `instance`, or whoever administers.
    pub of: &'static str,
    /// Whether it applies; none if it could not be evaluated.
    pub applies: Option<bool>,
    /// Why it could not be evaluated, if it could not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Its conditions.
    pub conditions: Vec<Condition>,
}

/// A part of a policy's conditions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// As it is written, `unless` in front if it must not hold.
    pub text: String,
    /// Whether it is as the policy needs it; none if it could not be evaluated.
    pub met: Option<bool>,
    /// Why it could not be evaluated, if it could not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What it looks at, and what that is; none if it is not there.
    pub saw: Vec<(String, Option<String>)>,
}

impl Snapshot {
    /// Decides `request` in the light of `facts`, and says how.
    pub fn explain(&self, request: &AccessRequest, facts: &Facts) -> Explanation {
        let decision = self.decide(request, facts);
        let prepared = self
            .before_policies(request, facts)
            .and_then(|(action, passed)| self.prepare((request, facts), (action, &passed)));
        let (asked, for_others) = match prepared {
            Ok(Some(prepared)) => (self.asked(&prepared), self.for_others(&prepared)),
            Ok(None) | Err(_) => (Vec::new(), Vec::new()),
        };
        Explanation { decision, asked, for_others }
    }

    /// The permits in force of such an act whose scope lets in nobody of whom it is asked.
    fn for_others(&self, prepared: &Prepared<'_>) -> Vec<ForOthers> {
        let Prepared { question, of_actor, of_person, .. } = prepared;
        let is_asked = |at: &usize| of_actor.contains(at) || of_person.contains(at);
        let all: BTreeSet<usize> =
            self.index.whoever(question.action, &question.resource).collect();
        let permits = all.into_iter().filter(|at| {
            let policy = &self.policies[*at];
            policy.effect == Effect::Permit && !policy.observe && !is_asked(at)
        });
        let told = permits.map(|at| {
            let policy = self.policies[at].id.clone();
            ForOthers { policy, whom: whom(&self.index.scope(at).principal) }
        });
        told.take(FOR_OTHERS_MAX).collect()
    }

    /// Every condition of its policies, with the policy, as [`Condition::text`] tells it.
    pub fn conditions(&self) -> impl Iterator<Item = (&PolicyId, String)> {
        self.policies.iter().flat_map(|compiled| {
            let parts = compiled.alone.policies().next().map(each_alone).unwrap_or_default();
            let told = |(kind, _, alone): (String, Value, Option<Policy>)| {
                (&compiled.id, text(&kind, alone.as_ref()))
            };
            parts.into_iter().map(told).collect::<Vec<_>>()
        })
    }

    fn asked(&self, prepared: &Prepared<'_>) -> Vec<AskedPolicy> {
        let Prepared { question, actor, subject, of_actor, of_person, .. } = prepared;
        let is_instance = actor.uid.type_name().basename() == "Instance";
        let actor = (actor, if is_instance { "instance" } else { "administrator" }, of_actor);
        let person = subject.iter().map(|person| (person, "person", of_person));
        let mut asked: Vec<_> = person
            .chain([actor])
            .flat_map(|(principal, of, candidates)| {
                let one = |position: &usize| {
                    explained(&self.policies[*position], (question, principal, of))
                };
                candidates.iter().filter_map(one).collect::<Vec<_>>()
            })
            .collect();
        asked.sort_by(|a, b| (&a.policy, a.of).cmp(&(&b.policy, b.of)));
        asked
    }
}

/// A constraint on the principal as policies spell it.
fn whom(principal: &Constraint) -> String {
    match principal {
        Constraint::Any => "principal".to_owned(),
        Constraint::Eq(uid) => format!("principal == {uid}"),
        Constraint::In(uids) => {
            let uids: Vec<_> = uids.iter().map(ToString::to_string).collect();
            format!("principal in {}", uids.join(", "))
        }
        Constraint::Is(kind) => format!("principal is {kind}"),
        Constraint::IsIn(kind, uid) => format!("principal is {kind} in {uid}"),
    }
}

fn explained(
    compiled: &Compiled,
    (question, principal, of): (&Question<'_>, &Placed, &'static str),
) -> Option<AskedPolicy> {
    let request = question.of(principal)?;
    let policy = compiled.alone.policies().next()?;
    let mut conditions: Vec<Condition> = each_alone(policy)
        .into_iter()
        .map(|(kind, body, alone)| condition((kind.as_str(), &body), alone, (&request, question)))
        .collect();
    let first_unmet = conditions.iter().position(|it| it.met == Some(false));
    for after in conditions.iter_mut().skip(first_unmet.unwrap_or(usize::MAX)) {
        if after.met.is_none() {
            after.why = Some(NOT_COME_TO.to_owned());
        }
    }
    let applies = match question.unread.iter().find(|it| compiled.reads.see(it)) {
        Some(pointer) => Err(inexact(pointer)),
        None => holds(compiled.beside_scope.as_ref(), (&request, question)),
    };
    let forbids = compiled.effect == Effect::Forbid;
    Some(AskedPolicy {
        policy: compiled.id.clone(),
        description: compiled.description.clone(),
        effect: if forbids { "forbid" } else { "permit" },
        observed: compiled.observe,
        of,
        applies: applies.as_ref().ok().copied(),
        why: applies.err(),
        conditions,
    })
}

/// The conditions of `policy`, each with whether it must hold or not (`when`, `unless`), those with `when`
/// taken apart.
pub(crate) fn conditions(policy: &Policy) -> Vec<(String, Value)> {
    policy.to_json().map_or_else(|_| Vec::new(), |syntax| conditions_in(&syntax))
}

/// The same of the policy with this `syntax`.
pub(crate) fn conditions_in(syntax: &Value) -> Vec<(String, Value)> {
    let mut parts = Vec::new();
    for condition in syntax["conditions"].as_array().into_iter().flatten() {
        let kind = condition["kind"].as_str().unwrap_or_default().to_owned();
        if kind == "when" {
            take_apart(&condition["body"], &mut parts);
        } else {
            parts.push((kind, condition["body"].clone()));
        }
    }
    parts
}

fn take_apart(body: &Value, parts: &mut Vec<(String, Value)>) {
    match body.get("&&") {
        Some(both) => {
            take_apart(&both["left"], parts);
            take_apart(&both["right"], parts);
        }
        None => parts.push(("when".to_owned(), body.clone())),
    }
}

/// The conditions of `policy`, as [`conditions`] takes them apart, each with a policy that has it alone, if there is one.
/// That is not made of the JSON form: of that Cedar reads, and keeps meanwhile, for each level of an expression all that
/// is below anew.
fn each_alone(policy: &Policy) -> Vec<(String, Value, Option<Policy>)> {
    let mut bodies = Vec::new();
    let form = policy.to_pst().ok();
    for clause in form.iter().flat_map(|form| form.body().clauses()) {
        match clause {
            pst::Clause::When(body) => operands(body, &mut bodies),
            pst::Clause::Unless(body) => bodies.push(body.clone()),
        }
    }
    let mut bodies = bodies.into_iter();
    let parts = conditions(policy).into_iter();
    parts.map(|(kind, body)| (kind, body, bodies.next().and_then(alone))).collect()
}

/// What `body` is the conjunction of.
fn operands(body: &Arc<pst::Expr>, parts: &mut Vec<Arc<pst::Expr>>) {
    if let pst::Expr::BinaryOp { op: pst::BinaryOp::And, left, right } = body.as_ref() {
        operands(left, parts);
        operands(right, parts);
    } else {
        parts.push(body.clone());
    }
}

fn condition(
    (kind, body): (&str, &Value),
    alone: Option<Policy>,
    asked: (&Request, &Question<'_>),
) -> Condition {
    let mut paths = BTreeSet::new();
    looked_at(body, &mut paths);
    let left_out = paths.iter().find_map(|path| unread(path, asked.1)).map(|it| inexact(it));
    let saw = paths.into_iter().map(|path| (path.clone(), value(&path, asked))).collect();
    let text = text(kind, alone.as_ref());
    let held = match (left_out, alone) {
        (Some(why), _) => Err(why),
        (None, Some(policy)) => holds(beside_scope(&policy).as_ref(), asked),
        (None, None) => Err("it cannot be asked by itself".to_owned()),
    };
    let (met, why) = match held {
        Ok(held) => (Some(held == (kind == "when")), None),
        Err(why) => (None, Some(why)),
    };
    Condition { text, met, why, saw }
}

/// A policy that has this condition alone.
fn alone(body: Arc<pst::Expr>) -> Option<Policy> {
    let any = pst::Template::new(
        "it",
        pst::Effect::Permit,
        pst::PrincipalConstraint::Any,
        pst::ActionConstraint::Any,
        pst::ResourceConstraint::Any,
    );
    let form = any.try_with_clauses([pst::Clause::When(body)]).ok()?;
    Policy::from_pst(pst::StaticPolicy::try_from(form).ok()?.into()).ok()
}

/// A condition as it is written, which the policy `alone` has alone.
fn text(kind: &str, alone: Option<&Policy>) -> String {
    let text = alone.and_then(Policy::to_cedar).unwrap_or_default();
    let text = text.split_once("when {").and_then(|(_, rest)| rest.rsplit_once('}'));
    let text = text.map(|(text, _)| text.split_whitespace().collect::<Vec<_>>().join(" "));
    let text = text.unwrap_or_else(|| "a condition that has no text".to_owned());
    if kind == "when" { text } else { format!("unless {text}") }
}

/// Whether a policy applies that says these `conditions` beside a scope that matches, or nothing.
///
/// # Errors
/// Why it cannot be evaluated.
fn holds(
    conditions: Option<&Expression>,
    (request, question): (&Request, &Question<'_>),
) -> Result<bool, String> {
    let Some(conditions) = conditions else { return Ok(true) };
    match eval_expression(request, &question.entities, conditions) {
        Ok(EvalResult::Bool(holds)) => Ok(holds),
        Ok(other) => Err(format!("it is neither true nor false, but `{other}`")),
        Err(error) => Err(error.to_string().replace('\n', " ")),
    }
}

/// The attributes that an expression looks at, as they are written: `context.input.amount`.
fn looked_at(expression: &Value, paths: &mut BTreeSet<String>) {
    if let Some(path) = path(expression) {
        paths.insert(path);
        return;
    }
    match expression {
        Value::Object(members) => members.values().for_each(|member| looked_at(member, paths)),
        Value::Array(items) => items.iter().for_each(|item| looked_at(item, paths)),
        _ => {}
    }
}

/// The expression as a path from a variable, if it is one.
fn path(expression: &Value) -> Option<String> {
    if let Some(variable) = expression.get("Var").and_then(Value::as_str) {
        return Some(variable.to_owned());
    }
    let access = expression.get(".").or_else(|| expression.get("has"))?;
    let (left, name) = (path(access.get("left")?)?, access.get("attr")?.as_str()?);
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let plain = name.bytes().all(is_word) && !name.starts_with(|it: char| it.is_ascii_digit());
    Some(if plain { format!("{left}.{name}") } else { format!("{left}[{name:?}]") })
}

/// The argument at `path`, by its pointer, if it has no exact value.
fn unread<'q>(path: &str, question: &'q Question<'_>) -> Option<&'q String> {
    let names = path.strip_prefix("context.input.")?;
    question.unread.get(&format!("/{}", names.replace('.', "/")))
}

/// Why what looks at the argument at `pointer` is not evaluated.
fn inexact(pointer: &str) -> String {
    format!("it looks at the argument `{pointer}`, which is {INEXACT}")
}

/// What is at `path`, as text; none if there is nothing.
fn value(path: &str, (request, question): (&Request, &Question<'_>)) -> Option<String> {
    if unread(path, question).is_some() {
        return Some(INEXACT.to_owned());
    }
    let expression = Expression::from_str(path).ok()?;
    let text = eval_expression(request, &question.entities, &expression).ok()?.to_string();
    let mut shown: String = text.chars().take(SHOWN_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    Some(shown)
}
