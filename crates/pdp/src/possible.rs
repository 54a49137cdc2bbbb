//! Whether a call could be permitted at all, its arguments not being known yet.
//!
//! What a listing shows. Everything but the arguments is known, so the set is evaluated partially,
//! with types. INVARIANT: what is hidden is never permitted (`i_24_…`); what is shown may still be
//! denied, if no single set of arguments satisfies all that is asked of it at once, or if a policy
//! forbids it that names what would lift it.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{
    Context, Decision as CedarDecision, EntityId, EntityUid, PartialEntities, PartialEntity,
    PartialEntityUid, PartialRequest, PolicySet, RestrictedExpression, Schema,
};
use model::{AccessRequest, Decision, Elevation, Facts, ToolRef};

use crate::candidates::{Asked, Placed};
use crate::context::{self, AskedFor};
use crate::entities::{Node, World, server_uid, tool_uid};
use crate::schema::{Action, Part, UNKNOWN_INPUT, type_name};
use crate::snapshot::Snapshot;

impl Snapshot {
    /// Whether some arguments could make `decide` permit `request`, whose `input` is ignored.
    ///
    /// Also `false` if that cannot be told because something fails.
    pub fn could_permit(&self, request: &AccessRequest, facts: &Facts) -> bool {
        let Ok((action, passed)) = self.before_policies(request, facts) else { return false };
        match &action.tool {
            Some(tool) => {
                self.possible(request, (facts, passed.elevation), action, tool).unwrap_or(false)
            }
            None => matches!(self.decide(request, facts), Decision::Permit(_)),
        }
    }

    fn possible(
        &self,
        request: &AccessRequest,
        (facts, elevation): (&Facts, Option<&Elevation>),
        action: &Action,
        tool: &ToolRef,
    ) -> Option<bool> {
        let schema = self.schema_without_input(tool)?;
        let world = World::of(request, facts, &self.labels);
        let unknown =
            EntityUid::from_type_name_and_id(type_name(UNKNOWN_INPUT), EntityId::new("input"));
        let input = RestrictedExpression::new_entity_uid(unknown.clone());
        let context =
            context::of((facts, elevation), input, &BTreeSet::new(), &AskedFor::Everything)?;
        let mut entities = vec![PartialEntity::new(unknown, None, None, None, schema).ok()?];
        for node in world.nodes {
            entities.push(partial(node, schema)?);
        }
        let entities = PartialEntities::from_partial_entities(entities, schema).ok()?;
        for principal in world.subject.iter().chain([&world.actor]) {
            let asked = Asked { principal, action: &action.placed, resource: &world.resource };
            let candidates = self.index.candidates(&asked).ok()?;
            let in_force = candidates.iter().map(|position| &self.policies[*position]);
            // What something could lift hides nothing: who asks is told what would.
            let policies = in_force.filter(|policy| !policy.observe && policy.remedy.is_none());
            let policies = policies.flat_map(|policy| policy.alone.policies().cloned());
            let policies = PolicySet::from_policies(policies).ok()?;
            let request = partial_request(&asked, context.clone(), schema)?;
            if !could_permit(&policies, &request, &entities, schema) {
                return Some(false);
            }
        }
        Some(true)
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
        node.attributes.into_iter().map(|(name, value)| (name.into(), value)).collect();
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

fn could_permit(
    policies: &PolicySet,
    request: &PartialRequest,
    entities: &PartialEntities,
    schema: &Schema,
) -> bool {
    let Ok(response) = policies.tpe(request, entities, schema) else { return false };
    // What fails whatever the arguments are denies whatever they are.
    let fails =
        response.error_permits().next().is_some() || response.error_forbids().next().is_some();
    !fails && response.decision() != Some(CedarDecision::Deny)
}
