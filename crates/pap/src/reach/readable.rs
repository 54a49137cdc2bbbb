//! The data in reach: the categories that the purpose may touch, and the labels of what can come back from what is in reach.
//!
//! Which data objects a server has, nobody here knows: what is told is what is said of them, and what is not said is named.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    ActionName, DataCategory, Label, MandateBasis, ResourceRef, ServerName, Standing, ToolRef,
};
use serde_json::{Value, json};

use super::search::Reach;
use super::world::World;
use super::{Known, Unknown};

/// By what data comes back: by what the instance does itself, and by what others do to whom it hands its work on.
type Sources = [BTreeSet<String>; 2];

/// The data in reach of one instance.
pub(super) struct Readable {
    categories: BTreeSet<DataCategory>,
    /// The servers of which more than tools may be used, if a person consented.
    resources: Option<BTreeSet<ServerName>>,
    labels: BTreeMap<Label, Sources>,
    /// What is not said, or has no bound.
    unknown: Vec<Unknown>,
}

impl Readable {
    /// The data in `reach` of who stands as `standing` says in `world`.
    pub(super) fn of(world: &World, standing: &Standing, reach: &Reach) -> Self {
        let resources = match &standing.mandate.basis {
            MandateBasis::Consented { agreed, .. } => Some(agreed.resources.clone()),
            MandateBasis::Standing { .. } | MandateBasis::Initiated { .. } => None,
        };
        let (categories, labels) = (standing.purpose.data.clone(), BTreeMap::new());
        let mut all = Self { categories, resources, labels, unknown: Vec::new() };
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
        if all.categories.is_empty() {
            let what = standing.purpose.id.to_string();
            all.unknown.push(Unknown { what, why: "no_categories" });
        }
        if world.snapshot.labels().declared().is_empty() {
            all.unknown.push(Unknown { what: "labels".to_owned(), why: "no_labels" });
        }
        all
    }

    fn note_tool(&mut self, world: &World, standing: &Standing, (tool, place): (&ToolRef, usize)) {
        let labels = world.snapshot.labels();
        if !labels.declared().is_empty() && !labels.speaks_of(tool) {
            self.unknown.push(Unknown { what: tool.to_string(), why: "unlabelled" });
        }
        let asked = (ActionName::tool(tool), ResourceRef::Tool(tool.clone()));
        let carried = world.carried(standing, asked, &tool.server);
        self.note(carried, (tool.to_string(), place));
    }

    fn note_beside(
        &mut self,
        world: &World,
        standing: &Standing,
        ((server, method), place): (&(ServerName, &str), usize),
    ) {
        let (of, nothing) = (server.clone(), String::new());
        let resource = match *method {
            "prompts/get" => ResourceRef::Prompt { server: of, name: nothing },
            _ => ResourceRef::Resource { server: of, uri: nothing },
        };
        let carried = world.carried(standing, (ActionName::method(method), resource), server);
        self.note(carried, (format!("{server} {method}"), place));
    }

    fn note(&mut self, carried: BTreeSet<Label>, (source, place): (String, usize)) {
        for label in carried {
            let sources = self.labels.entry(label).or_default();
            if let Some(sources) = sources.get_mut(place) {
                sources.insert(source.clone());
            }
        }
    }

    pub(super) fn told(&self) -> Value {
        let labels = self.labels.iter().map(|(label, [direct, by_delegation])| {
            json!({ "label": label, "direct": direct, "by_delegation": by_delegation })
        });
        json!({
            "categories": self.categories,
            "resources": self.resources,
            "labels": labels.collect::<Vec<_>>(),
            "unknown": self.unknown.iter().map(Unknown::told).collect::<Vec<_>>(),
        })
    }

    /// What is in reach and was not in `then`, and the reverse.
    pub(super) fn change_since(&self, then: &Self) -> Value {
        let beyond = |one: &Self, other: &Self| {
            let categories: Vec<_> = one.categories.difference(&other.categories).collect();
            let labels = one.labels.keys().filter(|label| !other.labels.contains_key(*label));
            json!({ "categories": categories, "labels": labels.collect::<Vec<_>>() })
        };
        json!({ "gained": beyond(self, then), "lost": beyond(then, self) })
    }
}
