//! What is doubtful in a policy set that compiles: it decides, but hardly as somebody meant it.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Effect, EntityUid};
use model::{Harm, ToolRef};

use crate::candidates::{Constraint, Placed, ScopeOf};
use crate::entities::{server_uid, tool_uid};
use crate::report::Finding;
use crate::schema::{TOOL_CALLS, action_uid};
use crate::snapshot::{Compiled, Snapshot};

impl Snapshot {
    /// What is doubtful in the set, with the harm that each tool can do: what compiling it warned of; permits of
    /// everything; policies without a description; policies that another one makes idle; tools that can do more
    /// than read and that no forbid guards; obligations that nothing discharges.
    pub fn lint(&self, harm: &BTreeMap<ToolRef, BTreeSet<Harm>>) -> Vec<Finding> {
        let mut findings = self.warnings.clone();
        for (position, policy) in self.policies.iter().enumerate() {
            let own = self.doubts(position, policy);
            findings.extend(
                own.into_iter().map(|message| Finding::general(message).of(policy.id.as_str())),
            );
        }
        findings.extend(self.unguarded(harm));
        findings
    }

    fn doubts(&self, position: usize, policy: &Compiled) -> Vec<String> {
        let scope = self.index.scope(position);
        let mut doubts = Vec::new();
        if policy.effect == Effect::Permit && policy.is_unconditional && scope.is_open() {
            doubts.push("permits everything to everybody".to_owned());
        }
        if policy.description.is_none() {
            doubts.push("has no `@description`".to_owned());
        }
        if !policy.obligations.is_empty() {
            doubts.push("owes an obligation that nothing discharges: it is never begun".to_owned());
        }
        let others = self.policies.iter().enumerate().filter(|(other, _)| *other != position);
        for (other, by) in others {
            if by.observe || !by.is_unconditional || !self.index.scope(other).covers(scope) {
                continue;
            }
            let id = &by.id;
            match (by.effect, policy.effect) {
                (Effect::Forbid, Effect::Permit) => {
                    doubts.push(format!("is unreachable: `{id}` forbids all that it permits"));
                }
                // Of two that say the same, the second is idle.
                (effect, same) if effect == same => {
                    let twins = policy.is_unconditional && scope.covers(self.index.scope(other));
                    if !twins || other < position {
                        doubts.push(format!("is shadowed: `{id}` applies wherever it does"));
                    }
                }
                _ => {}
            }
        }
        doubts
    }

    /// The tools that can do more than read, and that some permit names and no forbid guards.
    fn unguarded(&self, harm: &BTreeMap<ToolRef, BTreeSet<Harm>>) -> Vec<Finding> {
        let consequential = |tool: &&ToolRef| {
            harm.get(*tool).is_some_and(|harm| harm.iter().any(|it| *it != Harm::ReadsData))
        };
        let tools = self.tools.keys().filter(consequential).filter(|tool| self.names_tool(tool));
        let unguarded = tools.filter(|tool| !self.is_guarded(tool));
        let say = |tool: &ToolRef| {
            Finding::general(format!(
                "no forbid guards `{tool}`, which can do more than read: whatever a permit misses is done"
            ))
        };
        unguarded.map(say).collect()
    }

    fn is_guarded(&self, tool: &ToolRef) -> bool {
        let action =
            Placed { uid: action_uid(&tool.to_string()), ancestors: vec![action_uid(TOOL_CALLS)] };
        let ancestors = vec![server_uid(tool.server.as_str())];
        let resource = Placed { uid: tool_uid(tool), ancestors };
        let mut whoever = self.index.whoever(&action, &resource);
        whoever.any(|position| {
            let policy = &self.policies[position];
            policy.effect == Effect::Forbid && !policy.observe
        })
    }
}

impl ScopeOf {
    fn is_open(&self) -> bool {
        let is_any = |constraint: &Constraint| *constraint == Constraint::Any;
        is_any(&self.principal) && is_any(&self.action) && is_any(&self.resource)
    }

    /// Whether whatever `other` matches is matched by this, as far as the constraints alone tell.
    fn covers(&self, other: &Self) -> bool {
        self.principal.covers(&other.principal)
            && self.action.covers(&other.action)
            && self.resource.covers(&other.resource)
    }
}

impl Constraint {
    fn covers(&self, other: &Self) -> bool {
        let within = |uids: &[EntityUid], uid: &EntityUid| uids.contains(uid);
        match (self, other) {
            (Self::Any, _) => true,
            (Self::In(uids), Self::Eq(uid) | Self::IsIn(_, uid)) => within(uids, uid),
            (Self::In(uids), Self::In(others)) => others.iter().all(|uid| within(uids, uid)),
            (Self::Is(kind), Self::Eq(uid)) => uid.type_name() == kind,
            (Self::Is(kind), Self::Is(other) | Self::IsIn(other, _)) => kind == other,
            (mine, other) => mine == other,
        }
    }
}
