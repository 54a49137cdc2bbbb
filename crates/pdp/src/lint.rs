//! What is doubtful in a policy set that compiles: it decides, but hardly as somebody meant it.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Effect, EntityUid};
use model::{Harm, ToolRef};
use serde_json::Value;

use crate::candidates::{Constraint, Placed, ScopeOf};
use crate::entities::{server_uid, tool_uid};
use crate::extent::{Extent, Kinds};
use crate::report::Finding;
use crate::schema::{TOOL_CALLS, action_uid, type_name};
use crate::snapshot::{Compiled, Snapshot, names_of};
use crate::split::placed;

/// What a forbid can look at that says nothing of any tool but that it does more than read: the circumstances in which
/// every set begins by forbidding all of that.
const CIRCUMSTANCES: [&str; 5] = ["attestation", "binding", "confirmed", "harm", "risk"];

impl Snapshot {
    /// What is doubtful in the set, with the harm that each tool can do: what compiling it warned of; permits of
    /// everything; policies without a description, or by which reading lets more be done; policies that another one
    /// makes idle; tools that can do more than read and that no forbid guards; obligations that nothing discharges.
    pub fn lint(&self, harm: &BTreeMap<ToolRef, BTreeSet<Harm>>) -> Vec<Finding> {
        let mut findings = self.warnings.clone();
        let kinds = Kinds::of(&self.vocabulary);
        let extent = |position| Extent::of(self.index.scope(position), (&self.vocabulary, &kinds));
        let extents: Vec<_> = (0..self.policies.len()).map(extent).collect();
        let conditions = self.numbered_conditions();
        let places: Vec<_> = placed(&self.bundle.policies).collect();
        for (position, (policy, (file, line, _))) in self.policies.iter().zip(&places).enumerate() {
            let mut own = self.doubts(position, policy);
            own.extend(self.idle(position, (&extents, &conditions)));
            let finding = |message| Finding::at(file, Some(*line), message);
            findings.extend(own.into_iter().map(|it: String| finding(it).of(policy.id.as_str())));
        }
        findings.extend(self.unguarded(harm, &places));
        findings
    }

    fn doubts(&self, position: usize, policy: &Compiled) -> Vec<String> {
        let scope = self.index.scope(position);
        let mut doubts = Vec::new();
        if policy.effect == Effect::Permit
            && policy.is_unconditional
            && let Some(what) = scope.open_to_everybody()
        {
            doubts.push(format!(
                "permits {what} to everybody: say in its scope to whom, what, or of what"
            ));
        }
        if policy.description.is_none() {
            doubts.push("has no `@description`: say what it is for".to_owned());
        }
        if !policy.obligations.is_empty() {
            doubts.push(
                "owes an obligation that nothing discharges: it is never begun, so take \
                 `@obligation` out"
                    .to_owned(),
            );
        }
        for by in &policy.lifting {
            doubts.push(format!(
                "lets more be done by what was read (`{by}`): whoever can have a tool say something lifts it; \
                 ask for what must not have been read"
            ));
        }
        doubts
    }

    /// By which others the policy at `position` does nothing, or nothing more.
    fn idle(&self, position: usize, (extents, conditions): (&[Extent], &[usize])) -> Vec<String> {
        let policy = &self.policies[position];
        let covers = |wide: usize, narrow: usize| self.index.scope(wide).covers(&extents[narrow]);
        let mut doubts = Vec::new();
        for (other, by) in self.policies.iter().enumerate() {
            let is_same = conditions[position] == conditions[other];
            let is_in_force = (by.is_unconditional || is_same) && !by.observe && other != position;
            if !is_in_force || !covers(other, position) {
                continue;
            }
            let id = &by.id;
            match (by.effect, policy.effect) {
                (Effect::Forbid, Effect::Permit) => {
                    doubts.push(format!(
                        "is unreachable: `{id}` forbids all that it permits; narrow that, or take this out"
                    ));
                }
                // Of two that say the same, the second is idle.
                (effect, same) if effect == same && self.names_all_of(policy, by) => {
                    let twins = is_same && covers(position, other);
                    if !twins || other < position {
                        doubts.push(format!(
                            "is shadowed: `{id}` applies wherever it does; take this out, or narrow that"
                        ));
                    }
                }
                _ => {}
            }
        }
        doubts
    }

    /// Which of all different conditions each policy has.
    fn numbered_conditions(&self) -> Vec<usize> {
        let mut known = BTreeMap::new();
        let all = self.policies.iter().map(|policy| policy.conditions().to_string());
        all.map(|text| {
            let next = known.len();
            *known.entry(text).or_insert(next)
        })
        .collect()
    }

    /// Whether `by` makes all tools callable that `policy` does: a permit that names more is not idle.
    fn names_all_of(&self, policy: &Compiled, by: &Compiled) -> bool {
        let wider = by.names();
        let names = policy.names().into_iter().filter(|_| policy.effect == Effect::Permit);
        let is_method = |uid: &EntityUid| {
            let action = self.vocabulary.actions.get(uid.id().unescaped());
            uid.type_name().basename() == "Action" && action.is_some_and(|it| it.tool.is_none())
        };
        names.filter(|uid| !is_method(uid)).all(|uid| {
            let tool = uid.id().unescaped().parse::<ToolRef>().ok();
            wider.contains(&uid)
                || tool.is_some_and(|tool| names_of(&tool).iter().any(|it| wider.contains(it)))
        })
    }

    /// The tools that can do more than read, and that some permit names and no forbid guards; each at the first such
    /// permit. The policies stand at these `places`.
    fn unguarded(
        &self,
        harm: &BTreeMap<ToolRef, BTreeSet<Harm>>,
        places: &[(&str, usize, &str)],
    ) -> Vec<Finding> {
        let consequential = |tool: &&ToolRef| {
            harm.get(*tool).is_some_and(|harm| harm.iter().any(|it| *it != Harm::ReadsData))
        };
        let tools = self.tools.keys().filter(consequential).filter(|tool| self.names_tool(tool));
        let unguarded = tools.filter(|tool| !self.is_guarded(tool, &harm[*tool]));
        let say = |tool: &ToolRef| {
            let message = format!(
                "no forbid guards `{tool}`, which can do more than read: whatever a permit misses is done; forbid \
                 what must never be"
            );
            let by = self.policies.iter().position(|it| it.is_naming(tool));
            match by.and_then(|position| places.get(position)) {
                Some((file, line, _)) => Finding::at(file, Some(*line), message),
                None => Finding::general(message),
            }
        };
        unguarded.map(say).collect()
    }

    /// Whether a forbid in force guards `tool`, which can do this `harm`: one that could match it, and is about it, its
    /// server or what it can do, or about more than who acts in what circumstances.
    fn is_guarded(&self, tool: &ToolRef, harm: &BTreeSet<Harm>) -> bool {
        let action =
            Placed { uid: action_uid(&tool.to_string()), ancestors: vec![action_uid(TOOL_CALLS)] };
        let ancestors = vec![server_uid(tool.server.as_str())];
        let resource = Placed { uid: tool_uid(tool), ancestors };
        let mut whoever = self.index.whoever(&action, &resource);
        whoever.any(|position| {
            let policy = &self.policies[position];
            policy.effect == Effect::Forbid && !policy.observe && policy.is_about(tool, harm)
        })
    }
}

impl Compiled {
    /// Whether it is a permit in force that names `tool`.
    fn is_naming(&self, tool: &ToolRef) -> bool {
        let named = self.names();
        let is_permit = self.effect == Effect::Permit && !self.observe;
        is_permit && names_of(tool).iter().any(|uid| named.contains(uid))
    }

    /// Whether it says something of `tool`, which can do this `harm`, that it does not say of whatever does more than
    /// read: it names it or its server, or what it can do; or else it names no such harm, and looks at more than who
    /// acts in what circumstances.
    fn is_about(&self, tool: &ToolRef, harm: &BTreeSet<Harm>) -> bool {
        let named = self.names();
        if self.is_unconditional || names_of(tool).iter().any(|uid| named.contains(uid)) {
            return true;
        }
        let mut classes = BTreeSet::new();
        harm_in(&self.conditions(), &mut classes);
        if classes.is_empty() {
            self.attributes.iter().any(|name| !CIRCUMSTANCES.contains(&name.as_str()))
        } else {
            !classes.is_disjoint(harm)
        }
    }

    /// The syntax of what it says beside its scope.
    fn conditions(&self) -> Value {
        let mut policies = self.alone.policies();
        let syntax = policies.next().and_then(|policy| policy.to_json().ok());
        syntax.map(|mut syntax| syntax["conditions"].take()).unwrap_or_default()
    }
}

/// Notes the classes of harm beyond reading that stand in `syntax`.
fn harm_in(syntax: &Value, classes: &mut BTreeSet<Harm>) {
    match syntax {
        Value::String(text) => {
            classes.extend(Harm::named(text).filter(|class| *class != Harm::ReadsData));
        }
        Value::Array(items) => items.iter().for_each(|item| harm_in(item, classes)),
        Value::Object(members) => members.values().for_each(|value| harm_in(value, classes)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

impl ScopeOf {
    /// What it lets in of whoever acts or asks, if that is everything, or every call of a tool.
    fn open_to_everybody(&self) -> Option<&'static str> {
        let is_any = |constraint: &Constraint| *constraint == Constraint::Any;
        let is =
            |constraint: &Constraint, kind: &str| *constraint == Constraint::Is(type_name(kind));
        // A person calls nothing alone: of the instance that acts on their behalf is asked, too.
        let is_everybody = is_any(&self.principal)
            || is(&self.principal, "Instance")
            || (is_any(&self.action) && is(&self.principal, "Person"));
        let calls = action_uid(TOOL_CALLS);
        let is_calls = matches!(&self.action, Constraint::In(uids) if uids.contains(&calls));
        let has_calls = is_any(&self.action) || is_calls;
        let has_tools = is_any(&self.resource) || is(&self.resource, "Tool");
        let is_all = is_any(&self.action) && is_any(&self.resource);
        let what = if is_all { "everything" } else { "every call" };
        (is_everybody && has_calls && has_tools).then_some(what)
    }
}
