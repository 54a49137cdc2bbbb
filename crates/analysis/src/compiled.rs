//! Policies of one environment, each under what is assumed there, compiled to terms.

use std::collections::BTreeSet;
use std::str::FromStr as _;

use cedar_policy::{Policy, PolicyId, PolicySet, RequestEnv, Schema};
use cedar_policy_symcc::{
    CompiledPolicy, CompiledPolicySet, Env, WellFormedAsserts, never_errors_asserts,
};
use pdp::{Environment, InputReads, PolicyText, Provable};
use serde_json::{Value, json};

use crate::prove::Unproved;
use crate::report::Why;
use crate::solver::{Session, why};

/// One policy, which applies only where all that is assumed holds.
#[derive(Clone, Debug)]
pub(crate) struct Guarded {
    pub(crate) id: model::PolicyId,
    pub(crate) is_permit: bool,
    /// Its effect, scope and conditions: two policies that have them alike are alike.
    pub(crate) form: String,
    /// The arguments that it looks at.
    pub(crate) reads: InputReads,
    /// Who it is about, and what of, as far as the environment leaves that open.
    scope: [Value; 2],
    /// Without what is assumed.
    bare: Policy,
    policy: Policy,
}

/// The schema, and one environment of it.
pub(crate) struct Place<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) request: RequestEnv,
}

impl<'a> Place<'a> {
    /// Where `environment` is, in `schema`.
    pub(crate) fn of(environment: &Environment, schema: &'a Schema) -> Result<Self, Why> {
        let name = |text: &str| text.parse().map_err(|_| unsupported("a type has no name"));
        let action = json!({ "type": "Action", "id": environment.action });
        let action = cedar_policy::EntityUid::from_json(action);
        let action = action.map_err(|_| unsupported("an action has no name"))?;
        let (principal, resource) = (name(&environment.principal)?, name(&environment.resource)?);
        Ok(Self { schema, request: RequestEnv::new(principal, action, resource) })
    }

    /// The terms of one policy.
    pub(crate) fn compile(&self, policy: &Guarded) -> Result<CompiledPolicy, Why> {
        let compiled = CompiledPolicy::compile(&policy.policy, &self.request, self.schema);
        compiled.map_err(|error| why(&error))
    }

    /// An example on which `policy` cannot be evaluated.
    pub(crate) async fn failing(
        &self,
        policy: &Guarded,
        session: &mut Session<'_>,
    ) -> Result<Option<Env>, Why> {
        if self.cannot_fail(policy)? {
            return Ok(None);
        }
        let compiled = self.compile(policy)?;
        session.example(&never_errors_asserts(&compiled)).await
    }

    /// That `policy` can be evaluated, whatever is asked.
    pub(crate) async fn never_fails(
        &self,
        policy: &Guarded,
        session: &mut Session<'_>,
    ) -> Result<(), Unproved> {
        match self.failing(policy, session).await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(Why::MayFail(policy.id.clone()).into()),
            Err(why) => Err(Unproved::Unknown(Some(policy.id.clone()), why)),
        }
    }

    /// Whether terms alone show that a policy can be evaluated, even if nothing is assumed.
    fn cannot_fail(&self, policy: &Guarded) -> Result<bool, Why> {
        let compiled = CompiledPolicy::compile(&policy.bare, &self.request, self.schema);
        let compiled = compiled.map_err(|error| why(&error))?;
        Ok(is_contradictory(&never_errors_asserts(&compiled)))
    }

    /// The terms of `policies` as one set.
    pub(crate) fn compile_set<'p>(
        &self,
        policies: impl IntoIterator<Item = &'p Guarded>,
    ) -> Result<CompiledPolicySet, Why> {
        // Ids need only be unique here: two sets may use one for different policies.
        let named = policies.into_iter().enumerate();
        let named = named.map(|(n, it)| it.policy.new_id(PolicyId::new(format!("p{n}"))));
        let set = PolicySet::from_policies(named).map_err(|_| unsupported("it is no set"))?;
        let compiled = CompiledPolicySet::compile(&set, &self.request, self.schema);
        compiled.map_err(|error| why(&error))
    }
}

/// Whether terms alone show that there is no example of what is asserted.
pub(crate) fn is_contradictory(asserts: &WellFormedAsserts<'_>) -> bool {
    asserts.asserts().iter().any(|assert| *assert == false.into())
}

impl Guarded {
    /// The same policy, as one that permits: what it matches.
    pub(crate) fn as_permit(&self) -> Result<Self, Why> {
        let mut form = parts(&self.policy)?;
        form["effect"] = "permit".into();
        let policy = policy(form)?;
        Ok(Self { is_permit: true, policy, ..self.clone() })
    }

    /// The same policy, whoever is asked about.
    pub(crate) fn by_anybody(&self) -> Result<Self, Why> {
        let mut form = parts(&self.policy)?;
        form["principal"] = json!({ "op": "All" });
        Ok(Self { policy: policy(form)?, ..self.clone() })
    }

    /// The same policy, where these expressions hold, too.
    pub(crate) fn also(&self, expressions: &[String]) -> Result<Self, Why> {
        let mut form = parts(&self.policy)?;
        let more = expressions.iter().map(|it| condition(it)).collect::<Result<Vec<_>, _>>()?;
        if let Some(own) = form["conditions"].as_array_mut() {
            own.extend(more);
        }
        Ok(Self { policy: policy(form)?, ..self.clone() })
    }

    /// The one of `agents` whose instances it is about, if its scope says so.
    pub(crate) fn agent(&self, agents: &BTreeSet<String>) -> Option<String> {
        let [who, _] = &self.scope;
        let entity = who.get("entity").or_else(|| who.get("in")?.get("entity"))?;
        uid(entity).filter(|it| agents.contains(it))
    }

    /// The same policy, of whoever is of none of the other `agents`, if its scope names one: an instance is of one.
    pub(crate) fn of_one(&self, agents: &BTreeSet<String>) -> Result<Self, Why> {
        let Some(named) = self.agent(agents) else { return Ok(self.clone()) };
        let others = agents.iter().filter(|it| **it != named);
        let others: Vec<_> = others.map(|it| format!("!(principal in {it})")).collect();
        self.also(&others)
    }

    /// Whether it is asked whenever `other` is.
    pub(crate) fn is_asked_with(&self, other: &Self) -> bool {
        let mut parts = self.scope.iter().zip(&other.scope);
        parts.all(|(own, theirs)| own.is_null() || own == theirs)
    }
}

/// The agents that policies name, as Cedar writes them.
pub(crate) fn agents<'a>(sets: impl IntoIterator<Item = &'a Provable>) -> BTreeSet<String> {
    let texts = sets.into_iter().flat_map(|set| &set.policies);
    let policies = texts.filter_map(|it| Policy::from_str(&it.text).ok());
    let named = policies.flat_map(|it| it.entity_literals());
    named.filter(|it| it.type_name().basename() == "Agent").map(|it| it.to_string()).collect()
}

/// The name of an entity in JSON form, as Cedar writes it.
pub(crate) fn uid(entity: &Value) -> Option<String> {
    cedar_policy::EntityUid::from_json(entity.clone()).ok().map(|it| it.to_string())
}

/// The policies of `set` in `environment`.
pub(crate) fn guarded(set: &Provable, environment: &Environment) -> Result<Vec<Guarded>, Why> {
    let assumed: Vec<Value> =
        environment.assumes.iter().map(|it| condition(it)).collect::<Result<_, _>>()?;
    let texts = environment.policies.iter().map(|position| &set.policies[*position]);
    // Of a call, the tool is known.
    let is_call = environment.resource == "Tool";
    texts.map(|text| under(text, is_call, &assumed)).collect()
}

/// A part of a scope, null if whoever is asked about in the environment matches it.
fn open(part: &Value) -> Value {
    let is_type_alone = part["op"] == "is" && part.get("in").is_none();
    if part["op"] == "All" || is_type_alone { Value::Null } else { part.clone() }
}

fn under(text: &PolicyText, is_call: bool, assumed: &[Value]) -> Result<Guarded, Why> {
    let parsed = Policy::from_str(&text.text).map_err(|_| unsupported("a policy has no text"))?;
    let mut parts = parts(&parsed)?;
    if let Some(parts) = parts.as_object_mut() {
        parts.remove("annotations");
    }
    let form = parts.to_string();
    let bare = policy(parts.clone())?;
    let resource = if is_call { Value::Null } else { open(&parts["resource"]) };
    let scope = [open(&parts["principal"]), resource];
    // In front of its own conditions, which are not evaluated where one of these does not hold.
    if let Some(own) = parts["conditions"].as_array_mut() {
        own.splice(0..0, assumed.iter().cloned());
    }
    let (id, is_permit, reads) = (text.id.clone(), text.is_permit, text.reads.clone());
    Ok(Guarded { id, is_permit, form, reads, scope, bare, policy: policy(parts)? })
}

fn condition(expression: &str) -> Result<Value, Why> {
    let policy = format!("permit (principal, action, resource) when {{ {expression} }};");
    let policy = Policy::from_str(&policy).map_err(|_| unsupported("what is assumed"))?;
    Ok(parts(&policy)?["conditions"][0].clone())
}

fn parts(policy: &Policy) -> Result<Value, Why> {
    policy.to_json().map_err(|_| unsupported("a policy has no JSON form"))
}

fn policy(parts: Value) -> Result<Policy, Why> {
    Policy::from_json(None, parts).map_err(|_| unsupported("a policy has no JSON form"))
}

fn unsupported(what: &str) -> Why {
    Why::Unsupported(what.to_owned())
}
