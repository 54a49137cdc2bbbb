//! Facts as Cedar entities: the few that one decision needs, each with all its ancestors.

use std::borrow::Cow;
use std::sync::LazyLock;

use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression};
use model::{
    AccessRequest, Agent, AgentName, DataCategory, Directory, Facts, Label, Person, PersonId,
    PrincipalFacts, Provisioning, ResourceRef, ServerName, Standing, ToolRef,
};

use crate::candidates::Placed;
use crate::context::AskedFor;
use crate::kernel;
use crate::labels::Labels;
use crate::schema::type_name;

/// The names of all entity types, parsed once.
pub(crate) struct Types {
    agent: EntityTypeName,
    bundle: EntityTypeName,
    deployment: EntityTypeName,
    directory: EntityTypeName,
    elevation: EntityTypeName,
    group: EntityTypeName,
    instance: EntityTypeName,
    mandate: EntityTypeName,
    person: EntityTypeName,
    prompt: EntityTypeName,
    purpose: EntityTypeName,
    resource: EntityTypeName,
    server: EntityTypeName,
    system: EntityTypeName,
    task: EntityTypeName,
    tool: EntityTypeName,
}

pub(crate) static TYPES: LazyLock<Types> = LazyLock::new(|| Types {
    agent: type_name("Agent"),
    bundle: type_name("Bundle"),
    deployment: type_name("Deployment"),
    directory: type_name("Directory"),
    elevation: type_name("Elevation"),
    group: type_name("Group"),
    instance: type_name("Instance"),
    mandate: type_name("Mandate"),
    person: type_name("Person"),
    prompt: type_name("Prompt"),
    purpose: type_name("Purpose"),
    resource: type_name("Resource"),
    server: type_name("Server"),
    system: type_name("System"),
    task: type_name("Task"),
    tool: type_name("Tool"),
});

/// One entity: its attributes and its parents, all of them known.
pub(crate) struct Node {
    pub(crate) uid: EntityUid,
    pub(crate) attributes: Vec<(&'static str, Attribute)>,
    pub(crate) parents: Vec<EntityUid>,
}

/// The value of an attribute, which is an expression once somebody asks for it: of most nobody does.
pub(crate) enum Attribute {
    Bool(bool),
    Text(Cow<'static, str>),
    Texts(Vec<Cow<'static, str>>),
    Entity(EntityUid),
}

/// Who asks and what for, with every entity that a policy can reach from there.
pub(crate) struct World {
    /// The instance, the person who administers, or the directory.
    pub(crate) actor: Placed,
    /// The person on whose behalf the instance acts.
    pub(crate) subject: Option<Placed>,
    pub(crate) resource: Placed,
    pub(crate) nodes: Vec<Node>,
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn text(value: &str) -> Attribute {
    Attribute::Text(Cow::Owned(value.to_owned()))
}

const fn word(value: &'static str) -> Attribute {
    Attribute::Text(Cow::Borrowed(value))
}

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> Attribute {
    Attribute::Texts(values.map(|value| Cow::Owned(value.to_owned())).collect())
}

pub(crate) fn person_uid(person: &Person) -> EntityUid {
    person_named(&person.id)
}

pub(crate) fn person_named(id: &PersonId) -> EntityUid {
    uid(&TYPES.person, id.as_str())
}

/// The entity of a tool, and the server that it belongs to.
pub(crate) fn tool_uid(tool: &ToolRef) -> EntityUid {
    uid(&TYPES.tool, &tool.to_string())
}

pub(crate) fn server_uid(server: &str) -> EntityUid {
    uid(&TYPES.server, server)
}

pub(crate) fn agent_uid(agent: &AgentName) -> EntityUid {
    uid(&TYPES.agent, agent.as_str())
}

/// The attributes that hold an entity: the only ways from one entity, or from the context, to
/// another, for policies that look at what a literal names do not compile.
pub(crate) const LEADING_ON: [&str; 7] =
    ["approver", "backup", "line", "owner", "sponsor", "subject", "technical_owner"];

impl World {
    /// The world of `request` in the light of `facts`.
    pub(crate) fn of(request: &AccessRequest, facts: &Facts, labels: &Labels) -> Self {
        Self::reaching((request, facts, labels), true)
    }

    /// Who asks and what for alone, without the entities that only an attribute leads to: most of
    /// a decision's time would go into relating those to each other.
    pub(crate) fn near(request: &AccessRequest, facts: &Facts, labels: &Labels) -> Self {
        // What does not belong to a server may itself be one of those entities.
        let further = kernel::server_of(&request.resource).is_none();
        Self::reaching((request, facts, labels), further)
    }

    /// This world, if policies that ask for `asked` come no further, else the whole.
    pub(crate) fn widened(
        self,
        asked: &AskedFor<'_>,
        (request, facts, labels): (&AccessRequest, &Facts, &Labels),
    ) -> Self {
        let further = LEADING_ON.iter().any(|name| asked.has(name));
        if further { Self::of(request, facts, labels) } else { self }
    }

    fn reaching(
        (request, facts, labels): (&AccessRequest, &Facts, &Labels),
        further: bool,
    ) -> Self {
        let mut nodes = Vec::with_capacity(8);
        let (actor, subject) = match &facts.principal {
            PrincipalFacts::Instance(standing) => add_standing(&mut nodes, standing, further),
            PrincipalFacts::Administrator(person) => (add_person(&mut nodes, person), None),
            PrincipalFacts::Directory(directory, _) => (add_directory(&mut nodes, directory), None),
        };
        if let PrincipalFacts::Directory(_, Provisioning { person: Some(person), .. }) =
            &facts.principal
        {
            add_person(&mut nodes, person);
        }
        let resource = match &request.resource {
            ResourceRef::Tool(tool) => add_tool(&mut nodes, tool, (facts, labels), further),
            other => add_resource(&mut nodes, other, (facts, labels), further),
        };
        Self { actor, subject, resource, nodes }
    }
}

impl Node {
    /// What somebody asks for of it; none if that is nothing, for then it is as if it were not there.
    pub(crate) fn asked_for(mut self, asked: &AskedFor<'_>) -> Option<Self> {
        self.attributes.retain(|(name, _)| asked.has(name));
        if !asked.within() {
            self.parents.clear();
        }
        (asked.within() || !self.attributes.is_empty()).then_some(self)
    }

    /// The entity that Cedar evaluates with.
    pub(crate) fn entity(self) -> Option<Entity> {
        let attributes = self.attributes.into_iter();
        let attributes = attributes.map(|(key, it)| (key.to_owned(), it.expression()));
        Entity::new_with_tags(self.uid, attributes, self.parents, []).ok()
    }
}

impl Attribute {
    /// The value in Cedar's terms.
    pub(crate) fn expression(self) -> RestrictedExpression {
        let text = |it: Cow<'static, str>| RestrictedExpression::new_string(it.into_owned());
        match self {
            Self::Bool(it) => RestrictedExpression::new_bool(it),
            Self::Text(it) => text(it),
            Self::Texts(all) => RestrictedExpression::new_set(all.into_iter().map(text)),
            Self::Entity(uid) => RestrictedExpression::new_entity_uid(uid),
        }
    }
}

/// Adds an entity once: a person may be sponsor, subject and owner. It is placed as the one that is there.
///
/// INVARIANT: the ancestors by which policies are looked for are those that Cedar is handed
/// (`everybody_is_placed_as_their_entity_is`).
fn add(nodes: &mut Vec<Node>, node: Node) -> Placed {
    let present = nodes.iter().position(|present| present.uid == node.uid);
    let at = present.unwrap_or(nodes.len());
    if present.is_none() {
        nodes.push(node);
    }
    Placed { uid: nodes[at].uid.clone(), ancestors: nodes[at].parents.clone() }
}

fn add_person(nodes: &mut Vec<Node>, person: &Person) -> Placed {
    let uid = person_uid(person);
    let groups: Vec<EntityUid> =
        person.groups.iter().map(|group| self::uid(&TYPES.group, group.as_str())).collect();
    let mut attributes = vec![("active", Attribute::Bool(person.is_active()))];
    attributes.extend(person.unit.as_ref().map(|unit| ("unit", text(unit.as_str()))));
    add(nodes, Node { uid, attributes, parents: groups })
}

fn add_directory(nodes: &mut Vec<Node>, directory: &Directory) -> Placed {
    let uid = uid(&TYPES.directory, directory.name.as_str());
    add(nodes, Node { uid, attributes: Vec::new(), parents: Vec::new() })
}

fn add_standing(
    nodes: &mut Vec<Node>,
    standing: &Standing,
    further: bool,
) -> (Placed, Option<Placed>) {
    let agent = agent_uid(&standing.agent.name);
    if further {
        add_agent(nodes, agent.clone(), &standing.agent);
    }
    let uid = uid(&TYPES.instance, &standing.instance.id.to_string());
    let actor = add(nodes, Node { uid, attributes: Vec::new(), parents: vec![agent] });
    // Before the others that they may be, so that they are placed alike however far one looks.
    let subject = standing.subject.as_ref().map(|person| add_person(nodes, person));
    if further {
        add_person(nodes, &standing.sponsor);
    }
    (actor, subject)
}

fn add_agent(nodes: &mut Vec<Node>, uid: EntityUid, agent: &Agent) {
    let person = |id: &PersonId| Attribute::Entity(person_named(id));
    let attributes = vec![
        ("sponsor", person(&agent.sponsor)),
        ("technical_owner", person(&agent.technical_owner)),
        ("purposes", texts(agent.purposes.iter().map(model::PurposeId::as_str))),
    ];
    add(nodes, Node { uid, attributes, parents: Vec::new() });
}

fn add_resource(
    nodes: &mut Vec<Node>,
    resource: &ResourceRef,
    (facts, labels): (&Facts, &Labels),
    further: bool,
) -> Placed {
    let types = &*TYPES;
    let (uid, server) = match resource {
        ResourceRef::Tool(tool) => (tool_uid(tool), Some(&tool.server)),
        ResourceRef::Server(name) => {
            return add_server(nodes, name, (facts, labels));
        }
        ResourceRef::Resource { server, uri } => {
            (uid(&types.resource, &format!("{server}/{uri}")), Some(server))
        }
        ResourceRef::Prompt { server, name } => {
            (uid(&types.prompt, &format!("{server}/{name}")), Some(server))
        }
        ResourceRef::Task(id) => (uid(&types.task, &id.to_string()), None),
        ResourceRef::Mandate(id) => (uid(&types.mandate, &id.to_string()), None),
        ResourceRef::Elevation(id) => (uid(&types.elevation, &id.to_string()), None),
        ResourceRef::Agent(name) => {
            let uid = agent_uid(name);
            if let Some(known) = facts.agent.as_ref().filter(|known| known.agent.name == *name) {
                add_agent(nodes, uid.clone(), &known.agent);
                add_person(nodes, &known.sponsor);
            }
            (uid, None)
        }
        ResourceRef::Instance(id) => (uid(&types.instance, &id.to_string()), None),
        ResourceRef::Person(id) => (uid(&types.person, id.as_str()), None),
        ResourceRef::Purpose(id) => (uid(&types.purpose, id.as_str()), None),
        ResourceRef::System(name) => (uid(&types.system, name.as_str()), None),
        ResourceRef::Bundle(digest) => (uid(&types.bundle, digest), None),
        ResourceRef::Deployment => (uid(&types.deployment, "this"), None),
    };
    let (mut parents, mut attributes) = (Vec::with_capacity(1), Vec::new());
    if let Some(name) = server {
        parents.push(server_uid(name.as_str()));
        attributes.push(("sink", Attribute::Bool(labels.sends(name))));
        if further {
            add_server(nodes, name, (facts, labels));
        }
    }
    // Somebody who is also the actor keeps the ancestors known of the actor.
    add(nodes, Node { uid, attributes, parents })
}

fn add_server(
    nodes: &mut Vec<Node>,
    name: &ServerName,
    (facts, labels): (&Facts, &Labels),
) -> Placed {
    let uid = server_uid(name.as_str());
    let mut attributes = Vec::from(of_server(facts));
    attributes.push(("sink", Attribute::Bool(labels.sends(name))));
    add(nodes, Node { uid, attributes, parents: Vec::new() })
}

fn add_tool(
    nodes: &mut Vec<Node>,
    tool: &ToolRef,
    (facts, labels): (&Facts, &Labels),
    further: bool,
) -> Placed {
    let server = server_uid(tool.server.as_str());
    if further {
        add_server(nodes, &tool.server, (facts, labels));
    }
    let known = facts.tool.as_ref().filter(|known| known.tool == *tool);
    let harm = known.into_iter().flat_map(|tool| &tool.harm);
    let harm = harm.map(|class| Cow::Borrowed(class.as_str())).collect();
    let mut attributes = vec![("harm", Attribute::Texts(harm))];
    attributes.extend(of_server(facts));
    attributes.push(("sink", Attribute::Bool(labels.is_sink(tool))));
    attributes.push(("carries", texts(labels.carried_by(tool).map(Label::as_str))));
    let data = known.into_iter().flat_map(|tool| &tool.data);
    attributes.push(("data", texts(data.map(DataCategory::as_str))));
    let owner = known.and_then(|tool| tool.owner.as_ref());
    if let Some(owner) = owner {
        attributes.push(("owner", Attribute::Entity(person_named(owner))));
    }
    if let Some(owner) = facts.tool_owner.as_ref().filter(|_| further) {
        add_person(nodes, owner);
    }
    add(nodes, Node { uid: tool_uid(tool), attributes, parents: vec![server] })
}

/// What a server and its tools have in common.
fn of_server(facts: &Facts) -> [(&'static str, Attribute); 4] {
    let place = facts.server.as_ref().map(|server| &server.place);
    let environment = place.and_then(|place| place.environment.as_ref());
    let region = place.and_then(|place| place.region.as_ref());
    [
        ("enforcement", word(enforcement(facts))),
        ("account", word(account(facts))),
        ("environment", environment.map_or(word("none"), |it| text(it.as_str()))),
        ("region", region.map_or(word("none"), |it| text(it.as_str()))),
    ]
}

/// A server of which nothing is known is taken to be the least that it can be.
fn enforcement(facts: &Facts) -> &'static str {
    facts.server.as_ref().map_or("cooperative", |server| server.enforcement.as_str())
}

/// Whose the account is with which the server is called.
fn account(facts: &Facts) -> &'static str {
    let agent = match &facts.principal {
        PrincipalFacts::Instance(standing) => Some(&standing.agent.name),
        PrincipalFacts::Administrator(_) | PrincipalFacts::Directory(..) => None,
    };
    facts.server.as_ref().map_or("none", |server| server.account_of(agent))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use cedar_policy::SchemaFragment;
    use serde_json::Value;

    use super::*;

    /// The attributes below `node` whose type, or whose elements' type, is one of `entities`.
    fn holding(node: &Value, entities: &BTreeSet<&str>, found: &mut BTreeSet<String>) {
        let Some(members) = node.as_object() else { return };
        for (name, attribute) in
            members.get("attributes").and_then(Value::as_object).into_iter().flatten()
        {
            let held = |it: &Value| it["name"].as_str().is_some_and(|name| entities.contains(name));
            if held(attribute) || held(&attribute["element"]) {
                found.insert(name.clone());
            }
        }
        members.values().for_each(|below| holding(below, entities, found));
    }

    #[test]
    fn every_attribute_that_holds_an_entity_is_known_to_lead_on() {
        let (schema, _) = SchemaFragment::from_cedarschema_str(crate::BASE_SCHEMA).expect("parses");
        let schema = schema.to_json_value().expect("it has a JSON form");
        let types = schema[""]["entityTypes"].as_object().expect("it has types");
        let types: BTreeSet<&str> = types.keys().map(String::as_str).collect();
        let mut found = BTreeSet::new();
        holding(&schema[""], &types, &mut found);
        assert_eq!(found, LEADING_ON.map(str::to_owned).into());
    }
}
