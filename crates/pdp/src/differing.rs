//! How one policy set differs from another, policy by policy, and whom a policy can concern.
//!
//! INVARIANT: where no change is named that widens, what was forbidden or not granted is not permitted
//! (`what_is_named_no_widening_permits_no_more`).

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Effect, EntityUid, Policy};
use model::{AgentName, Obligation, PolicyId, ToolRef};
use serde::Serialize;
use serde_json::Value;

use crate::annotations;
use crate::candidates::{Constraint, Placed, ScopeOf};
use crate::context::OUTSIDE_PURPOSE;
use crate::entities::{agent_uid, server_uid, tool_uid};
use crate::explain::conditions;
use crate::extent::lets_in;
use crate::format::policies;
use crate::reads;
use crate::report::Finding;
use crate::schema::{Action, AskedBy, type_name};
use crate::snapshot::Snapshot;

/// The annotation by which a policy is only observed.
const MODE: &str = "mode";

/// The annotation that says what a permit owes.
const OBLIGATION: &str = "obligation";

/// The annotation that says what lifts a forbid.
const REMEDY: &str = "remedy";

/// How a policy is otherwise than it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It was not there.
    New,
    /// It is not there any more.
    Gone,
    /// It says something else.
    Changed,
    /// It decided, and is only observed now.
    IntoObservation,
    /// It was only observed, and decides now.
    OutOfObservation,
    /// It owes something else.
    Owes,
    /// Something else lifts it.
    Lifted,
}

impl Change {
    /// How what was `old` is otherwise as `new`, if it is.
    pub fn of<T: PartialEq + ?Sized>(old: Option<&T>, new: Option<&T>) -> Option<Self> {
        match (old, new) {
            (old, new) if old == new => None,
            (None, _) => Some(Self::New),
            (_, None) => Some(Self::Gone),
            _ => Some(Self::Changed),
        }
    }
}

/// One change of one policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyChange {
    /// Its `@id`.
    pub policy: PolicyId,
    /// How it is otherwise.
    pub is: Change,
    /// Whether that alone may permit more, or for less: a permit that is new permits, a forbid that is gone forbids no
    /// more, a policy that is only observed neither forbids nor fails any more, a permit that is not only observed any
    /// more permits, one that owed something may not owe it any more, or be gone beside others that do not, something may
    /// lift a forbid that did not, and a forbid that looks at whether an act is outside of its purpose may have that
    /// lifted, which nothing did. A policy that says something else does, unless it surely holds back as much: its scope
    /// is the same, and a permit only asks for more in the end, a forbid for less.
    pub widens: bool,
}

/// The policies that the files of `after` have otherwise than those of `before`; how they are laid out is no matter.
pub fn changes(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Result<Vec<PolicyChange>, Finding> {
    let (old, new) = (policies(before)?, policies(after)?);
    let ids: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let changed = |id: &String| {
        let (old, new) = (old.get(id), new.get(id));
        let changes = changes_of(old, new).into_iter();
        let policy = PolicyId::from(id.as_str());
        changes.map(move |is| {
            let widens = widens(is, (old, new));
            PolicyChange { policy: policy.clone(), is, widens }
        })
    };
    Ok(ids.into_iter().flat_map(changed).collect())
}

impl Snapshot {
    /// The policies that can be asked when an instance of `agent` calls `tool`, of the instance or of whomever it acts on
    /// behalf of.
    pub fn concerning(&self, agent: &AgentName, tool: &ToolRef) -> BTreeSet<&PolicyId> {
        let Some(action) = self.vocabulary.actions.get(&tool.to_string()) else {
            return BTreeSet::new();
        };
        let ancestors = vec![server_uid(tool.server.as_str())];
        let resource = Placed { uid: tool_uid(tool), ancestors };
        let agent = agent_uid(agent);
        let asked = self.index.whoever(&action.placed, &resource);
        let asked = asked.filter(|at| could_be(&self.index.scope(*at).principal, &agent));
        asked.map(|at| &self.policies[at].id).collect()
    }

    /// The acts but for calls of tools, each with those of `policies` that can be asked of it: when an instance of
    /// `agent` does it, for itself or on behalf of whomever; or, where no agent is named, when somebody administers.
    pub fn concerning_acts(
        &self,
        agent: Option<&AgentName>,
        policies: &BTreeSet<&PolicyId>,
    ) -> BTreeMap<&str, BTreeSet<&PolicyId>> {
        let agent = agent.map(agent_uid);
        let mut concerned: BTreeMap<&str, BTreeSet<&PolicyId>> = BTreeMap::new();
        for (at, policy) in self.policies.iter().enumerate() {
            if !policies.contains(&policy.id) {
                continue;
            }
            let scope = self.index.scope(at);
            for (name, action) in &self.vocabulary.actions {
                if action.tool.is_none() && could_be_asked(scope, action, agent.as_ref()) {
                    concerned.entry(name.as_str()).or_default().insert(&policy.id);
                }
            }
        }
        concerned
    }
}

/// Whether a policy of this scope can be asked when an instance of `agent` does `action`; without one, when somebody
/// administers so.
fn could_be_asked(scope: &ScopeOf, action: &Action, agent: Option<&EntityUid>) -> bool {
    let is_by_agents = action.asked_by == AskedBy::Instance;
    let is_by = if let Some(agent) = agent {
        is_by_agents && could_be(&scope.principal, agent)
    } else {
        let mut kinds = action.principals().into_iter();
        !is_by_agents && kinds.any(|kind| lets_in(&scope.principal, &type_name(kind)))
    };
    is_by
        && scope.action.matches(&action.placed)
        && action.resources.iter().any(|kind| lets_in(&scope.resource, kind))
}

fn changes_of(old: Option<&Policy>, new: Option<&Policy>) -> Vec<Change> {
    let says = Change::of(old.map(says).as_ref(), new.map(says).as_ref());
    let moved = match (old.map(is_observed), new.map(is_observed)) {
        (Some(false), Some(true)) => Some(Change::IntoObservation),
        (Some(true), Some(false)) => Some(Change::OutOfObservation),
        _ => None,
    };
    let of_both = |name: &str, is: Change| {
        let (old, new) = (old?.annotation(name), new?.annotation(name));
        (old != new).then_some(is)
    };
    let said = [of_both(OBLIGATION, Change::Owes), of_both(REMEDY, Change::Lifted)];
    says.into_iter().chain(moved).chain(said.into_iter().flatten()).collect()
}

fn widens(change: Change, (old, new): (Option<&Policy>, Option<&Policy>)) -> bool {
    match change {
        Change::IntoObservation => true,
        Change::New | Change::OutOfObservation => decides(new, Effect::Permit) || sends_on(new),
        Change::Owes => {
            let [old, new] = [old, new].map(|it| it.map(owed).unwrap_or_default());
            !old.is_subset(&new)
        }
        Change::Lifted => new.is_some_and(|it| it.annotation(REMEDY).is_some()),
        Change::Gone => {
            decides(old, Effect::Forbid)
                || (decides(old, Effect::Permit) && old.is_some_and(|it| !owed(it).is_empty()))
        }
        Change::Changed => {
            let holds_back = old.zip(new).is_none_or(|(old, new)| holds_back_as_much(old, new));
            !holds_back || (sends_on(new) && !sends_on(old))
        }
    }
}

/// Whether `policy` is one of this effect, and not only observed.
fn decides(policy: Option<&Policy>, effect: Effect) -> bool {
    policy.is_some_and(|it| it.effect() == effect && !is_observed(it))
}

/// Whether `new` surely lets no more be done than `old` did, and for no less. That either is only observed is a change of
/// its own.
fn holds_back_as_much(old: &Policy, new: &Policy) -> bool {
    if is_observed(old) || is_observed(new) {
        return true;
    }
    match (old.effect(), new.effect()) {
        // What it permits no more, others may that owe nothing.
        (Effect::Permit, Effect::Permit) => {
            begins_as(new, old) && (owed(old).is_empty() || begins_as(old, new))
        }
        (Effect::Permit, Effect::Forbid) => owed(old).is_empty(),
        (Effect::Forbid, Effect::Permit) => false,
        (Effect::Forbid, Effect::Forbid) => begins_as(old, new) && looks_at_all_of(new, old),
    }
}

/// Whether `longer` has the scope of `other`, and what that asks for before anything else: where that does not apply, or
/// fails, neither does this, or it fails as well.
fn begins_as(longer: &Policy, other: &Policy) -> bool {
    ScopeOf::new(longer) == ScopeOf::new(other)
        && conditions(longer).starts_with(&conditions(other))
}

/// Whether `policy` looks at all that `other` does: where that has no exact value, or is not remembered, it denies.
fn looks_at_all_of(policy: &Policy, other: &Policy) -> bool {
    let (Ok(own), Ok(others)) = (reads::of(policy), reads::of(other)) else { return false };
    let beyond = others.input.beyond(std::iter::once(&own.input));
    beyond.is_none() && others.attributes.is_subset(&own.attributes)
}

/// Whether `policy` can make of a denial that nothing lifts, because of what an act is done to, one that something does.
fn sends_on(policy: Option<&Policy>) -> bool {
    let looks = |it: &Policy| {
        reads::of(it).map_or(true, |reads| reads.attributes.contains(OUTSIDE_PURPOSE))
    };
    decides(policy, Effect::Forbid)
        && policy.is_some_and(|it| it.annotation(REMEDY).is_some() && looks(it))
}

pub(crate) fn is_observed(policy: &Policy) -> bool {
    policy.annotation(MODE).is_some()
}

/// What a permit owes.
fn owed(policy: &Policy) -> BTreeSet<Obligation> {
    annotations::obligations(policy.annotation(OBLIGATION), policy.effect()).unwrap_or_default()
}

/// What a policy says, but for whether it is only observed, what it owes, and what lifts it; none if that has no form.
fn says(policy: &Policy) -> Option<Value> {
    let mut form = policy.to_json().ok()?;
    if let Some(annotations) = form.get_mut("annotations").and_then(Value::as_object_mut) {
        for name in [MODE, OBLIGATION, REMEDY] {
            annotations.remove(name);
        }
    }
    Some(form)
}

/// Whether an instance of `agent` can match, or a person.
fn could_be(principal: &Constraint, agent: &EntityUid) -> bool {
    let is = |kind: &str, uid: &EntityUid| *uid.type_name() == type_name(kind);
    let named = |uid: &EntityUid| {
        uid == agent || ["Group", "Instance", "Person"].iter().any(|kind| is(kind, uid))
    };
    match principal {
        Constraint::Any => true,
        Constraint::Eq(uid) | Constraint::IsIn(_, uid) => named(uid),
        Constraint::In(uids) => uids.iter().any(named),
        Constraint::Is(kind) => ["Instance", "Person"].iter().any(|it| *kind == type_name(it)),
    }
}
