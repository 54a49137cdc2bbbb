//! Whether a call could be permitted at all, its arguments not being known yet.
//!
//! What a listing shows, and what is in reach. Everything but the arguments is known, so the set is evaluated partially,
//! with types. INVARIANT: what is hidden is never permitted (`i_24_…`); what is shown may still be
//! denied, if no single set of arguments satisfies all that is asked of it at once, or if a policy
//! forbids it that names what would lift it.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{
    Context, Decision as CedarDecision, Effect, EntityId, EntityUid, PartialEntities,
    PartialEntity, PartialEntityUid, PartialRequest, PolicySet, RestrictedExpression, Schema,
};
use model::{AccessRequest, AgentName, Decision, Elevation, Facts, PolicyId, ServerName, ToolRef};

use crate::candidates::{Asked, Placed, ScopeOf};
use crate::context::{self, AskedFor, Given};
use crate::entities::{Node, World, agent_uid, server_uid, tool_uid};
use crate::schema::{Action, Part, UNKNOWN_INPUT, UNKNOWN_PROVENANCE, type_name};
use crate::snapshot::{Compiled, Snapshot};

/// What could come of a call whose arguments are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// It is denied, whatever the arguments.
    Denied,
    /// Some arguments could make it permitted.
    Possible,
    /// The same, once somebody lifts what forbids it as things are.
    Liftable,
    /// Nobody can tell: something fails.
    Untold,
}

/// What could come of a call whose arguments are not known, and on what that would rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreseen {
    /// What could come of it.
    pub outlook: Outlook,
    /// The permits on which it would rest with some arguments; none, where none would do.
    pub basis: BTreeSet<PolicyId>,
}

impl Foreseen {
    const fn nothing(outlook: Outlook) -> Self {
        Self { outlook, basis: BTreeSet::new() }
    }
}

/// Which forbids count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counting {
    All,
    /// Those that nothing could lift.
    Lasting,
}

impl Snapshot {
    /// Whether some arguments could make `decide` permit `request`, whose `input` is ignored.
    ///
    /// Also `false` if that cannot be told because something fails.
    pub fn could_permit(&self, request: &AccessRequest, facts: &Facts) -> bool {
        // What something could lift hides nothing: who asks is told what would.
        self.counting(request, facts, Counting::Lasting).outlook == Outlook::Possible
    }

    /// What could come of `request`, whose `input` is ignored.
    pub fn foresee(&self, request: &AccessRequest, facts: &Facts) -> Foreseen {
        let foreseen = self.counting(request, facts, Counting::All);
        let has_remedy = || self.policies.iter().any(|policy| policy.remedy.is_some());
        if foreseen.outlook != Outlook::Denied || !has_remedy() {
            return foreseen;
        }
        let lasting = self.counting(request, facts, Counting::Lasting);
        let is_lifted = lasting.outlook == Outlook::Possible;
        let outlook = if is_lifted { Outlook::Liftable } else { lasting.outlook };
        Foreseen { outlook, ..lasting }
    }

    /// Whether some permit in force could match `method` of an instance of `agent` on something of `server`,
    /// whatever its name.
    pub fn could_touch(&self, agent: &AgentName, (method, server): (&str, &ServerName)) -> bool {
        let Some(action) = self.vocabulary.actions.get(method) else { return false };
        let (agent, server) = (agent_uid(agent), server_uid(server.as_str()));
        let instance = type_name("Instance");
        self.policies.iter().any(|policy| {
            let ScopeOf { principal, action: wanted, resource } = &policy.scope;
            let mut kinds = action.resources.iter();
            policy.effect == Effect::Permit
                && !policy.observe
                && wanted.matches(&action.placed)
                && principal.could_match_within(&instance, &agent)
                && kinds.any(|kind| resource.could_match_within(kind, &server))
        })
    }

    /// What could come of `request` if of the forbids those alone hold that count: it is possible, denied, or nobody can
    /// tell.
    fn counting(&self, request: &AccessRequest, facts: &Facts, counting: Counting) -> Foreseen {
        let Ok((action, passed)) = self.before_policies(request, facts) else {
            return Foreseen::nothing(Outlook::Denied);
        };
        if passed.outside.as_ref().is_some_and(|outside| !outside.by_arguments) {
            return Foreseen::nothing(Outlook::Denied);
        }
        let Some(tool) = &action.tool else {
            return match self.decide(request, facts) {
                Decision::Permit(grant) => {
                    Foreseen { outlook: Outlook::Possible, basis: grant.basis }
                }
                Decision::Deny(_) => Foreseen::nothing(Outlook::Denied),
            };
        };
        let asked = (action, tool, counting);
        let possible = self.possible(request, (facts, passed.elevation), asked);
        possible.unwrap_or(Foreseen::nothing(Outlook::Untold))
    }

    fn possible(
        &self,
        request: &AccessRequest,
        (facts, elevation): (&Facts, Option<&Elevation>),
        (action, tool, counting): (&Action, &ToolRef, Counting),
    ) -> Option<Foreseen> {
        let schema = self.schema_without_input(tool)?;
        let world = World::of(request, facts, &self.labels);
        let unknown = [UNKNOWN_INPUT, UNKNOWN_PROVENANCE]
            .map(|kind| EntityUid::from_type_name_and_id(type_name(kind), EntityId::new("given")));
        let [input, provenance] = unknown.clone().map(RestrictedExpression::new_entity_uid);
        let unread = BTreeSet::new();
        // What is outside is never permitted, whatever a policy says of it.
        let given = Given { input, unread: &unread, provenance: Some(provenance), outside: false };
        let named = (&self.remembered.counted, &AskedFor::Everything);
        let context = context::of((facts, elevation), given, named)?;
        let unknown = unknown.map(|it| PartialEntity::new(it, None, None, None, schema).ok());
        let mut entities = unknown.into_iter().collect::<Option<Vec<_>>>()?;
        for node in world.nodes {
            entities.push(partial(node, schema)?);
        }
        let entities = PartialEntities::from_partial_entities(entities, schema).ok()?;
        let mut basis = BTreeSet::new();
        for principal in world.subject.iter().chain([&world.actor]) {
            let asked = Asked { principal, action: &action.placed, resource: &world.resource };
            let candidates = self.matching(&asked).ok()?;
            let unremembered = &facts.session.unremembered;
            if candidates.iter().any(|position| self.policies[*position].lacks(unremembered)) {
                return Some(Foreseen::nothing(Outlook::Denied));
            }
            let in_force = candidates.iter().map(|position| &self.policies[*position]);
            let counts = |policy: &Compiled| policy.remedy.is_none() || counting == Counting::All;
            let policies = in_force.filter(|policy| !policy.observe && counts(policy));
            let policies = policies.flat_map(|policy| policy.alone.policies().cloned());
            let policies = PolicySet::from_policies(policies).ok()?;
            let request = partial_request(&asked, context.clone(), schema)?;
            let permits = permits(&policies, &request, &entities, schema)?;
            if permits.is_empty() {
                return Some(Foreseen::nothing(Outlook::Denied));
            }
            basis.extend(permits);
        }
        Some(Foreseen { outlook: Outlook::Possible, basis })
    }

    /// The schema for one tool in which its arguments are unknown.
    fn schema_without_input(&self, tool: &ToolRef) -> Option<&Schema> {
        let compiled = self.tools.get(tool)?;
        let make = || {
            let name = tool.to_string();
            let action = &self.vocabulary.actions.get(&name)?.placed;
            let server = server_uid(tool.server.as_str());
            let resource = Placed { uid: tool_uid(tool), ancestors: vec![server] };
            let relevant = self.index.whoever(action, &resource);
            let names = relevant.flat_map(|position| &self.policies[position].actions);
            let names = names.map(String::as_str);
            let part = Part {
                actions: BTreeSet::from([name.as_str()]),
                names: names.collect(),
                unknown_input: true,
            };
            self.vocabulary.part(&part).ok()
        };
        compiled.unknown_input.get_or_init(make).as_ref()
    }
}

fn partial(node: Node, schema: &Schema) -> Option<PartialEntity> {
    let attributes: BTreeMap<_, _> =
        node.attributes.into_iter().map(|(name, it)| (name.into(), it.expression())).collect();
    let ancestors = node.parents.into_iter().collect();
    PartialEntity::new(node.uid, Some(attributes), Some(ancestors), Some(BTreeMap::new()), schema)
        .ok()
}

fn partial_request(asked: &Asked<'_>, context: Context, schema: &Schema) -> Option<PartialRequest> {
    let known = |placed: &Placed| PartialEntityUid::from_concrete(placed.uid.clone());
    let action = asked.action.uid.clone();
    let (principal, resource) = (known(asked.principal), known(asked.resource));
    PartialRequest::new(principal, action, resource, Some(context), schema).ok()
}

/// The permits on which `request` would rest with some arguments: none, if it is denied with all.
fn permits(
    policies: &PolicySet,
    request: &PartialRequest,
    entities: &PartialEntities,
    schema: &Schema,
) -> Option<BTreeSet<PolicyId>> {
    let response = policies.tpe(request, entities, schema).ok()?;
    // What fails whatever the arguments denies whatever they are.
    let fails =
        response.error_permits().next().is_some() || response.error_forbids().next().is_some();
    if fails || response.decision() == Some(CedarDecision::Deny) {
        return Some(BTreeSet::new());
    }
    let permits = response.true_permits().chain(response.residual_permits());
    Some(permits.map(|id| PolicyId::from(AsRef::<str>::as_ref(id))).collect())
}
