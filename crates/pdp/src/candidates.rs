//! Which policies can have a say: an index of permits and forbids by their rarest scope constraint.
//!
//! Cedar evaluates each policy by itself and tests the scope first, without errors; so a policy
//! whose scope does not match changes neither decision nor reasons nor errors, and leaving it out
//! is sound; and one whose scope matches comes to what it says beside it, which alone is evaluated.
//! The ancestors used here are those that Cedar is handed.

use std::collections::{BTreeSet, HashMap};

use cedar_policy::{
    ActionConstraint, EntityTypeName, EntityUid, Policy, PrincipalConstraint, ResourceConstraint,
};

/// The most policies in force that one decision looks at, for one principal.
pub const CANDIDATES_MAX: usize = 256;

/// The most policies under observation that one decision asks, for one principal.
pub(crate) const OBSERVED_MAX: usize = 256;

/// What one part of a policy's scope asks of an entity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Constraint {
    Any,
    Eq(EntityUid),
    In(Vec<EntityUid>),
    Is(EntityTypeName),
    IsIn(EntityTypeName, EntityUid),
}

/// The scope of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScopeOf {
    pub(crate) principal: Constraint,
    pub(crate) action: Constraint,
    pub(crate) resource: Constraint,
}

/// An entity with all its ancestors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) uid: EntityUid,
    pub(crate) ancestors: Vec<EntityUid>,
}

/// Who does what to what.
pub(crate) struct Asked<'a> {
    pub(crate) principal: &'a Placed,
    pub(crate) action: &'a Placed,
    pub(crate) resource: &'a Placed,
}

/// More policies than one decision may look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

/// The index.
#[derive(Debug, Default)]
pub(crate) struct Index {
    principal: Slot,
    action: Slot,
    resource: Slot,
    any: Vec<usize>,
    scopes: Vec<ScopeOf>,
}

// The order of the maps reaches nothing: they are looked into by key, or sorted after.
#[derive(Debug, Default)]
struct Slot {
    equal: HashMap<EntityUid, Vec<usize>>,
    within: HashMap<EntityUid, Vec<usize>>,
    of_type: HashMap<EntityTypeName, Vec<usize>>,
}

impl Constraint {
    pub(crate) fn matches(&self, placed: &Placed) -> bool {
        let within = |uid: &EntityUid| placed.uid == *uid || placed.ancestors.contains(uid);
        match self {
            Self::Any => true,
            Self::Eq(uid) => placed.uid == *uid,
            Self::In(uids) => uids.iter().any(within),
            Self::Is(kind) => placed.uid.type_name() == kind,
            Self::IsIn(kind, uid) => placed.uid.type_name() == kind && within(uid),
        }
    }
}

impl Constraint {
    /// Whether it can match something of this type, as far as the type alone says.
    pub(crate) fn could_match(&self, kind: &EntityTypeName) -> bool {
        match self {
            Self::Any | Self::In(_) => true,
            Self::Eq(uid) => uid.type_name() == kind,
            Self::Is(wanted) | Self::IsIn(wanted, _) => wanted == kind,
        }
    }

    /// Whether it can match something of this type within `place`, whatever its name; or `place` itself,
    /// if that is of this type.
    pub(crate) fn could_match_within(&self, kind: &EntityTypeName, place: &EntityUid) -> bool {
        let is_unnamed = place.type_name() != kind;
        let meets = |uid: &EntityUid| uid == place || (is_unnamed && uid.type_name() == kind);
        match self {
            Self::Any => true,
            Self::Eq(uid) => uid.type_name() == kind && meets(uid),
            Self::In(uids) => uids.iter().any(meets),
            Self::Is(wanted) => wanted == kind,
            Self::IsIn(wanted, uid) => wanted == kind && meets(uid),
        }
    }
}

impl ScopeOf {
    pub(crate) fn new(policy: &Policy) -> Self {
        let principal = match policy.principal_constraint() {
            PrincipalConstraint::Any => Constraint::Any,
            PrincipalConstraint::In(uid) => Constraint::In(vec![uid]),
            PrincipalConstraint::Eq(uid) => Constraint::Eq(uid),
            PrincipalConstraint::Is(kind) => Constraint::Is(kind),
            PrincipalConstraint::IsIn(kind, uid) => Constraint::IsIn(kind, uid),
        };
        let action = match policy.action_constraint() {
            ActionConstraint::Any => Constraint::Any,
            ActionConstraint::In(uids) => Constraint::In(uids),
            ActionConstraint::Eq(uid) => Constraint::Eq(uid),
        };
        let resource = match policy.resource_constraint() {
            ResourceConstraint::Any => Constraint::Any,
            ResourceConstraint::In(uid) => Constraint::In(vec![uid]),
            ResourceConstraint::Eq(uid) => Constraint::Eq(uid),
            ResourceConstraint::Is(kind) => Constraint::Is(kind),
            ResourceConstraint::IsIn(kind, uid) => Constraint::IsIn(kind, uid),
        };
        Self { principal, action, resource }
    }

    pub(crate) fn matches(&self, asked: &Asked<'_>) -> bool {
        self.principal.matches(asked.principal)
            && self.action.matches(asked.action)
            && self.resource.matches(asked.resource)
    }
}

impl Slot {
    fn count(&mut self, constraint: &Constraint, policy: usize) {
        match constraint {
            Constraint::Any => {}
            Constraint::Eq(uid) => self.equal.entry(uid.clone()).or_default().push(policy),
            Constraint::In(uids) => {
                for uid in uids {
                    self.within.entry(uid.clone()).or_default().push(policy);
                }
            }
            Constraint::IsIn(_, uid) => self.within.entry(uid.clone()).or_default().push(policy),
            Constraint::Is(kind) => self.of_type.entry(kind.clone()).or_default().push(policy),
        }
    }

    /// How many policies would be looked at to find this one here; `None` if it cannot be.
    fn cost(&self, constraint: &Constraint) -> Option<usize> {
        let within = |uid: &EntityUid| self.within.get(uid).map_or(0, Vec::len);
        match constraint {
            Constraint::Any => None,
            Constraint::Eq(uid) => self.equal.get(uid).map(Vec::len),
            Constraint::In(uids) => Some(uids.iter().map(within).sum()),
            Constraint::IsIn(_, uid) => Some(within(uid)),
            Constraint::Is(kind) => self.of_type.get(kind).map(Vec::len),
        }
    }

    fn probe<'a>(&'a self, placed: &'a Placed) -> impl Iterator<Item = &'a usize> {
        let equal = self.equal.get(&placed.uid).into_iter().flatten();
        let above = std::iter::once(&placed.uid).chain(&placed.ancestors);
        let within = above.filter_map(|uid| self.within.get(uid)).flatten();
        let of_type = self.of_type.get(placed.uid.type_name()).into_iter().flatten();
        equal.chain(within).chain(of_type)
    }
}

impl Index {
    /// Files each of `scopes` under its rarest constraint.
    pub(crate) fn new(scopes: Vec<ScopeOf>) -> Self {
        let mut every = Self::default();
        for (policy, scope) in scopes.iter().enumerate() {
            every.principal.count(&scope.principal, policy);
            every.action.count(&scope.action, policy);
            every.resource.count(&scope.resource, policy);
        }
        let mut index = Self::default();
        for (policy, scope) in scopes.iter().enumerate() {
            let costs = [
                (every.resource.cost(&scope.resource), 0),
                (every.action.cost(&scope.action), 1),
                (every.principal.cost(&scope.principal), 2),
            ]
            .into_iter()
            .filter_map(|(cost, slot)| cost.map(|cost| (cost, slot)))
            .min();
            match costs {
                Some((_, 0)) => index.resource.count(&scope.resource, policy),
                Some((_, 1)) => index.action.count(&scope.action, policy),
                Some(_) => index.principal.count(&scope.principal, policy),
                None => index.any.push(policy),
            }
        }
        index.scopes = scopes;
        index
    }

    /// The policies that can match this action on this resource, whoever the principal is.
    pub(crate) fn whoever<'a>(
        &'a self,
        action: &'a Placed,
        resource: &'a Placed,
    ) -> impl Iterator<Item = usize> + 'a {
        let filed = self.resource.probe(resource).chain(self.action.probe(action)).chain(&self.any);
        let by_principal = self.principal.equal.values().chain(self.principal.within.values());
        let by_principal = by_principal.chain(self.principal.of_type.values()).flatten();
        filed.chain(by_principal).copied().filter(|policy| {
            let scope = &self.scopes[*policy];
            scope.action.matches(action) && scope.resource.matches(resource)
        })
    }

    /// The scope of the policy at `position`.
    pub(crate) fn scope(&self, position: usize) -> &ScopeOf {
        &self.scopes[position]
    }

    /// The scopes of all policies, by position.
    #[cfg(test)]
    pub(crate) fn scopes(&self) -> &[ScopeOf] {
        &self.scopes
    }

    /// The policies whose scope matches, in order of their position. Only those in force can be too many: of those
    /// that are `observed` there is one more than is asked, if there are more.
    pub(crate) fn candidates(
        &self,
        asked: &Asked<'_>,
        observed: impl Fn(usize) -> bool,
    ) -> Result<Vec<usize>, TooMany> {
        let filed = self
            .resource
            .probe(asked.resource)
            .chain(self.action.probe(asked.action))
            .chain(self.principal.probe(asked.principal))
            .chain(&self.any);
        let (mut found, mut beside) = (Vec::new(), BTreeSet::new());
        for policy in filed {
            if !self.scopes[*policy].matches(asked) {
                continue;
            }
            if observed(*policy) {
                beside.insert(*policy);
            } else if !found.contains(policy) {
                if found.len() == CANDIDATES_MAX {
                    return Err(TooMany);
                }
                found.push(*policy);
            }
        }
        found.extend(beside.into_iter().take(OBSERVED_MAX + 1));
        found.sort_unstable();
        Ok(found)
    }
}
