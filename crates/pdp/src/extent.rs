//! Whether one scope matches whatever another one does, by what is always so of the hierarchy: a tool, a resource
//! and a prompt are in their server, a tool's action is in `tools/call` and on that tool, and no type but those of the
//! base schema can be in another one.
//!
//! Who is in which group, and of which agent an instance is, is a fact of each decision and not looked at. INVARIANT:
//! what covers a scope matches every request that the scope does (`what_covers_a_scope_matches_what_it_does`).

use std::collections::BTreeSet;

use cedar_policy::{EntityTypeName, EntityUid};
use model::ToolRef;

use crate::candidates::{Constraint, Placed, ScopeOf};
use crate::entities::{server_uid, tool_uid};
use crate::schema::{CALLERS, TOOL_CALLS, Vocabulary, action_uid, can_be_in, type_name};

/// All that a scope can match, each action of which it names several by itself.
pub(crate) struct Extent {
    parts: Vec<Part>,
}

struct Part {
    acts: Acts,
    principal: Span,
    resource: Span,
}

/// What is asked for.
enum Acts {
    Any,
    /// Any call of a tool.
    Calls,
    Call(EntityUid),
    Method(EntityUid),
}

/// A constraint, and the types of what it can match there.
struct Span {
    constraint: Constraint,
    kinds: BTreeSet<EntityTypeName>,
}

/// The types of all who ask, and of all that they ask for something of.
pub(crate) struct Kinds {
    principals: BTreeSet<EntityTypeName>,
    resources: BTreeSet<EntityTypeName>,
}

impl Kinds {
    pub(crate) fn of(vocabulary: &Vocabulary) -> Self {
        let actions = || vocabulary.actions.values();
        let principals = actions().flat_map(|action| action.principals()).map(type_name);
        let resources = actions().flat_map(|action| &action.resources).cloned();
        Self { principals: principals.collect(), resources: resources.collect() }
    }
}

impl Extent {
    /// What `scope` can match of these.
    pub(crate) fn of(scope: &ScopeOf, (vocabulary, kinds): (&Vocabulary, &Kinds)) -> Self {
        let one = |uid: &EntityUid| one(uid, vocabulary);
        let acts: Vec<_> = match &scope.action {
            Constraint::In(uids) => uids.iter().filter_map(one).collect(),
            // The group itself is nothing that is asked for.
            Constraint::Eq(uid) => one(uid).into_iter().filter(|it| !it.is_calls()).collect(),
            Constraint::Any | Constraint::Is(_) | Constraint::IsIn(..) => vec![Acts::Any],
        };
        let part = |acts| Part::of(acts, scope, (vocabulary, kinds));
        Self { parts: acts.into_iter().filter_map(part).collect() }
    }
}

/// What is asked for by the action, or any of the group, `uid`.
fn one(uid: &EntityUid, vocabulary: &Vocabulary) -> Option<Acts> {
    let name = uid.id().unescaped();
    if name == TOOL_CALLS {
        return Some(Acts::Calls);
    }
    match vocabulary.actions.get(name) {
        Some(action) if action.tool.is_none() => Some(Acts::Method(uid.clone())),
        // A tool to come is one, too.
        _ => name.parse::<ToolRef>().ok().map(|_| Acts::Call(uid.clone())),
    }
}

impl Acts {
    const fn is_calls(&self) -> bool {
        matches!(self, Self::Calls)
    }

    /// Whether an action constraint matches all of it.
    fn is_within(&self, wide: &Constraint) -> bool {
        let calls = || action_uid(TOOL_CALLS);
        let named = |uid: &EntityUid, in_calls: bool| match wide {
            Constraint::Any => true,
            Constraint::Eq(wide) => wide == uid,
            Constraint::In(uids) => uids.contains(uid) || (in_calls && uids.contains(&calls())),
            Constraint::Is(_) | Constraint::IsIn(..) => false,
        };
        match self {
            Self::Any => *wide == Constraint::Any,
            // Who names the group by `==` matches no call.
            Self::Calls => !matches!(wide, Constraint::Eq(_)) && named(&calls(), true),
            Self::Call(uid) => named(uid, true),
            Self::Method(uid) => named(uid, false),
        }
    }
}

impl Part {
    /// What `scope` can match of `acts`, if anything.
    fn of(
        mut acts: Acts,
        scope: &ScopeOf,
        (vocabulary, all): (&Vocabulary, &Kinds),
    ) -> Option<Self> {
        let named = |uid: &EntityUid| vocabulary.actions.get(uid.id().unescaped());
        let (principals, resources) = match &acts {
            Acts::Any => (all.principals.clone(), all.resources.clone()),
            Acts::Calls | Acts::Call(_) => {
                (BTreeSet::from(CALLERS.map(type_name)), BTreeSet::from([type_name("Tool")]))
            }
            Acts::Method(uid) => {
                let action = named(uid)?;
                let principals = action.principals().into_iter().map(type_name).collect();
                (principals, action.resources.iter().cloned().collect())
            }
        };
        let mut resource = Span::of(&scope.resource, resources)?;
        // A call is on the tool that it calls.
        match &acts {
            Acts::Calls => acts = resource.only_tool().map_or(Acts::Calls, Acts::Call),
            Acts::Call(uid) => {
                let tool: ToolRef = uid.id().unescaped().parse().ok()?;
                let ancestors = vec![server_uid(tool.server.as_str())];
                let placed = Placed { uid: tool_uid(&tool), ancestors };
                scope.resource.matches(&placed).then_some(())?;
                resource = Span { constraint: Constraint::Eq(placed.uid), ..resource };
            }
            Acts::Any | Acts::Method(_) => {}
        }
        let principal = Span::of(&scope.principal, principals)?;
        Some(Self { acts, principal, resource })
    }

    fn is_within(&self, wide: &ScopeOf) -> bool {
        self.acts.is_within(&wide.action)
            && self.principal.is_within(&wide.principal)
            && self.resource.is_within(&wide.resource)
    }
}

/// Whether `constraint` can match something of this type, as the hierarchy has it.
pub(crate) fn lets_in(constraint: &Constraint, kind: &EntityTypeName) -> bool {
    let below = |uid: &EntityUid| can_be_in(&kind.to_string(), &uid.type_name().to_string());
    match constraint {
        Constraint::Any => true,
        Constraint::Eq(uid) => uid.type_name() == kind,
        Constraint::In(uids) => uids.iter().any(below),
        Constraint::Is(wanted) => wanted == kind,
        Constraint::IsIn(wanted, uid) => wanted == kind && below(uid),
    }
}

impl Span {
    /// What `constraint` can match of these types, if anything.
    fn of(constraint: &Constraint, kinds: BTreeSet<EntityTypeName>) -> Option<Self> {
        let could = |kind: &EntityTypeName| lets_in(constraint, kind);
        let kinds: BTreeSet<_> = kinds.into_iter().filter(could).collect();
        (!kinds.is_empty()).then(|| Self { constraint: constraint.clone(), kinds })
    }

    /// What all that it matches is in, or is one of; none is known where this is empty.
    fn places(&self) -> &[EntityUid] {
        match &self.constraint {
            Constraint::Any | Constraint::Is(_) => &[],
            Constraint::In(uids) => uids,
            Constraint::Eq(uid) | Constraint::IsIn(_, uid) => std::slice::from_ref(uid),
        }
    }

    fn is_only(&self, kind: &EntityTypeName) -> bool {
        self.kinds.iter().all(|it| it == kind)
    }

    /// The action of the one tool that it matches, if it is one.
    fn only_tool(&self) -> Option<EntityUid> {
        let [uid] = self.places() else { return None };
        (uid.type_name().basename() == "Tool").then(|| action_uid(uid.id().unescaped()))
    }

    /// Whether `wide` matches all that it does.
    fn is_within(&self, wide: &Constraint) -> bool {
        let places = self.places();
        let all = |is_there: &dyn Fn(&EntityUid) -> bool| {
            !places.is_empty() && places.iter().all(is_there)
        };
        match wide {
            Constraint::Any => true,
            Constraint::Is(kind) => self.is_only(kind),
            Constraint::In(uids) => all(&|place| uids.iter().any(|uid| is_at(place, uid))),
            Constraint::IsIn(kind, uid) => self.is_only(kind) && all(&|place| is_at(place, uid)),
            // Of its own type nothing is in it but itself.
            Constraint::Eq(uid) => self.is_only(uid.type_name()) && all(&|place| place == uid),
        }
    }
}

/// Whether `uid` is `place`, or what is always in it.
fn is_at(uid: &EntityUid, place: &EntityUid) -> bool {
    let is_server = place.type_name().basename() == "Server";
    let is_on_one = matches!(uid.type_name().basename(), "Tool" | "Resource" | "Prompt");
    let server = || uid.id().unescaped().split_once('/').map(|(server, _)| server);
    uid == place || (is_server && is_on_one && server() == Some(place.id().unescaped()))
}

impl ScopeOf {
    /// Whether it matches whatever there is in `extent`, which is something.
    pub(crate) fn covers(&self, extent: &Extent) -> bool {
        !extent.parts.is_empty() && extent.parts.iter().all(|part| part.is_within(self))
    }
}
