//! The data in reach: what the work is for, the categories of what tools in reach touch, and the labels of what can come back.
//!
//! Which data objects a server has, nobody here knows: what is told is what is said of them, and what is not said is named.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use model::{
    ActionName, DataCategory, Label, MandateBasis, ObjectPattern, ResourceRef, ServerName,
    Standing, ToolRef,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::search::{Place, Reach};
use super::world::World;
use super::{Known, Unknown};

/// By what data is reached: by what the instance does itself, and by what others do to whom it hands its work on.
type Sources = [BTreeSet<String>; 2];

/// The data in reach of one instance.
pub(super) struct Readable {
    /// The data objects that the work is for; any, where none is named.
    objects: Option<BTreeSet<ObjectPattern>>,
    /// The categories of data that it is for; any, where none is named.
    ends: BTreeSet<DataCategory>,
    /// The servers of which more than tools may be used, if a person consented.
    resources: Option<BTreeSet<ServerName>>,
    /// The categories of what is touched.
    categories: BTreeMap<DataCategory, Sources>,
    /// The labels of what can come back.
    labels: BTreeMap<Label, Sources>,
    /// What is not said, or has no bound.
    unknown: Vec<Unknown>,
}

impl Readable {
    /// The data in `reach` of who stands as `standing` says in `world`.
    pub(super) fn of(world: &World, standing: &Standing, reach: &Reach) -> Self {
        let Standing { mandate, purpose, .. } = standing;
        let resources = match &mandate.basis {
            MandateBasis::Consented { agreed, .. } => Some(agreed.resources.clone()),
            MandateBasis::Standing { .. } | MandateBasis::Initiated { .. } => None,
        };
        let mut all = Self {
            objects: objects(standing),
            ends: purpose.data.clone(),
            resources,
            categories: BTreeMap::new(),
            labels: BTreeMap::new(),
            unknown: Vec::new(),
        };
        if all.objects.is_none() {
            all.note_unknown(&purpose.id, "any_object");
        }
        if all.ends.is_empty() {
            all.note_unknown(&purpose.id, "any_category");
        }
        if world.snapshot.labels().declared().is_empty() {
            all.note_unknown(&"labels", "no_labels");
        }
        let Known { direct, delegated } = Known::of(world, reach);
        for name in direct.into_keys() {
            all.note_tool(world, standing, (name, 0));
        }
        for name in delegated.into_keys() {
            all.note_tool(world, standing, (name, 1));
        }
        for (beside, chain) in &reach.beside {
            all.note_beside(world, standing, (beside, usize::from(!chain.is_empty())));
        }
        all
    }

    fn note_unknown(&mut self, what: &dyn Display, why: &'static str) {
        self.unknown.push(Unknown { what: what.to_string(), why });
    }

    fn note_tool(&mut self, world: &World, standing: &Standing, (name, place): (&ToolRef, usize)) {
        let Some(tool) = world.tools.get(name) else { return };
        // Where the work is for some objects alone, it is not called.
        if tool.objects.is_none() {
            self.note_unknown(name, "any_object");
        }
        if tool.data.is_empty() {
            self.note_unknown(name, "any_category");
        }
        let labels = world.snapshot.labels();
        if !labels.declared().is_empty() && !labels.speaks_of(name) {
            self.note_unknown(name, "unlabelled");
        }
        let source = name.to_string();
        note(&mut self.categories, tool.data.iter().cloned(), (source.as_str(), place));
        let asked = (ActionName::tool(name), ResourceRef::Tool(name.clone()));
        let carried = world.carried(standing, asked, &name.server);
        note(&mut self.labels, carried, (source.as_str(), place));
    }

    fn note_beside(
        &mut self,
        world: &World,
        standing: &Standing,
        ((server, method), place): (&Place, usize),
    ) {
        let (of, nothing) = (server.clone(), String::new());
        let resource = match *method {
            "prompts/get" => ResourceRef::Prompt { server: of, name: nothing },
            "resources/read" | "resources/subscribe" => {
                ResourceRef::Resource { server: of, uri: nothing }
            }
            _ => ResourceRef::Server(of),
        };
        let carried = world.carried(standing, (ActionName::method(method), resource), server);
        let source = format!("{server} {method}");
        note(&mut self.labels, carried, (source.as_str(), place));
    }

    pub(super) fn told(&self) -> Value {
        json!({
            "for": { "objects": self.objects, "categories": self.ends },
            "resources": self.resources,
            "categories": told("category", &self.categories),
            "labels": told("label", &self.labels),
            "unknown": self.unknown.iter().map(Unknown::told).collect::<Vec<_>>(),
        })
    }

    /// What is in reach and was not in `then`, and the reverse.
    pub(super) fn change_since(&self, then: &Self) -> Value {
        let beyond = |one: &Self, other: &Self| {
            let categories = one.categories.keys().filter(|it| !other.categories.contains_key(*it));
            let labels = one.labels.keys().filter(|it| !other.labels.contains_key(*it));
            json!({
                "for": one.ended().difference(&other.ended()).collect::<Vec<_>>(),
                "categories": categories.collect::<Vec<_>>(),
                "labels": labels.collect::<Vec<_>>(),
            })
        };
        json!({ "gained": beyond(self, then), "lost": beyond(then, self) })
    }

    /// What the work is for, as texts.
    fn ended(&self) -> BTreeSet<String> {
        let objects = self.objects.iter().flatten().map(|object| format!("object {object}"));
        let any_object = self.objects.is_none().then(|| "any object".to_owned());
        let categories = self.ends.iter().map(|category| format!("category {category}"));
        let any_category = self.ends.is_empty().then(|| "any category".to_owned());
        objects.chain(any_object).chain(categories).chain(any_category).collect()
    }
}

/// The data objects that all that bounds the work names; nothing, where none of it names any.
fn objects(standing: &Standing) -> Option<BTreeSet<ObjectPattern>> {
    let hops = standing.hops().flat_map(|hop| [&hop.task.scope, &hop.agent.ceiling]);
    let all = hops.chain([&standing.mandate.scope, &standing.purpose.scope]).cloned();
    all.reduce(|one, other| one.meet(&other)).and_then(|scope| scope.objects)
}

fn note<T: Ord>(
    all: &mut BTreeMap<T, Sources>,
    kinds: impl IntoIterator<Item = T>,
    (source, place): (&str, usize),
) {
    for kind in kinds {
        if let Some(sources) = all.entry(kind).or_default().get_mut(place) {
            sources.insert(source.to_owned());
        }
    }
}

/// What is told of each kind, which is named as `kind`.
fn told<T: Serialize>(kind: &str, all: &BTreeMap<T, Sources>) -> Vec<Value> {
    let rows = all.iter().map(|(it, [direct, by_delegation])| {
        json!({ kind: it, "direct": direct, "by_delegation": by_delegation })
    });
    rows.collect()
}
