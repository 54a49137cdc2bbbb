//! Schemas and resource types as data (RFC 7643 §2, §4, §6, §7).

mod agent;
mod attribute;
mod group;
mod user;

use serde_json::Value;

use crate::Resource;
pub use agent::{AGENT, GOVERNANCE};
pub(crate) use attribute::{Attribute, Kind, Mutability, Returned, Uniqueness};
pub use group::GROUP;
pub use user::USER;

/// The attributes of every resource (RFC 7643 §3, §3.1). They stand in no schema.
static COMMON: [Attribute; 4] = [
    Attribute::text("schemas", "The URNs of the schemas of the resource.")
        .multi()
        .exact()
        .read_only()
        .always(),
    Attribute::text("id", "The provider's id of the resource.").exact().read_only().always(),
    Attribute::text("externalId", "The client's id of the resource.").exact(),
    Attribute::complex("meta", "What the provider knows of the resource.", &META).read_only(),
];

/// The sub-attributes of `meta` (RFC 7643 §3.1).
static META: [Attribute; 5] = [
    Attribute::text("resourceType", "The name of the resource type.").exact().read_only(),
    Attribute::time("created", "When the resource was added.").read_only(),
    Attribute::time("lastModified", "When the resource was last changed.").read_only(),
    Attribute::reference("location", "The URI of the resource.", &["uri"]).read_only(),
    Attribute::text("version", "The version of the resource, an entity tag.").exact().read_only(),
];

/// A schema: a URN and the attributes below it (RFC 7643 §7).
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) attributes: &'static [Attribute],
}

/// A resource type: what its resources are made of, and where they are (RFC 7643 §6).
#[derive(Debug)]
pub struct ResourceType {
    pub(crate) name: &'static str,
    pub(crate) endpoint: &'static str,
    pub(crate) schema: &'static Schema,
    pub(crate) extensions: &'static [&'static Schema],
}

/// Where an attribute stands: in the resource or in one of its extensions, or in a value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// The URN of the extension whose attribute it is.
    pub(crate) urn: Option<&'static str>,
    pub(crate) attribute: &'static Attribute,
    pub(crate) sub: Option<&'static Attribute>,
}

impl ResourceType {
    /// The name of the type, as `meta.resourceType` has it.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The path of its resources below the base URL: `/Users`.
    pub const fn endpoint(&self) -> &'static str {
        self.endpoint
    }

    /// The URNs of the schema of the type and of its extensions.
    pub fn urns(&self) -> Vec<&'static str> {
        self.schemas().map(|schema| schema.id).collect()
    }

    /// The URL of the resource `id`, where the provider's base URL is `base`.
    pub fn location(&self, base: &str, id: &str) -> String {
        format!("{base}{}/{id}", self.endpoint)
    }

    /// The schema of this type or of one of its extensions whose URN is `urn`.
    pub(crate) fn schema_of(&self, urn: &str) -> Option<&'static Schema> {
        self.schemas().find(|schema| schema.id.eq_ignore_ascii_case(urn))
    }

    /// The schema of the type and those of its extensions.
    pub(crate) fn schemas(&self) -> impl Iterator<Item = &'static Schema> {
        std::iter::once(self.schema).chain(self.extensions.iter().copied())
    }

    /// The attributes of `schema`, with those of every resource if it is the type's own.
    pub(crate) fn attributes_of(
        &self,
        schema: &'static Schema,
    ) -> impl Iterator<Item = &'static Attribute> {
        let common: &[Attribute] = if self.urn_of(schema).is_none() { &COMMON } else { &[] };
        common.iter().chain(schema.attributes)
    }

    /// Below which URN a resource has the attributes of `schema`; the type's own stand at the top.
    pub(crate) fn urn_of(&self, schema: &'static Schema) -> Option<&'static str> {
        (schema.id != self.schema.id).then_some(schema.id)
    }

    /// The place that `[urn:]name[.sub]` names, whatever the case (RFC 7643 §2.1, RFC 7644 §3.10).
    pub(crate) fn place(&self, urn: Option<&str>, name: &str, sub: Option<&str>) -> Option<Place> {
        let schema = match urn {
            Some(urn) => self.schema_of(urn)?,
            None => self.schema,
        };
        let named = |attribute: &&Attribute| attribute.name.eq_ignore_ascii_case(name);
        let attribute = self.attributes_of(schema).find(named)?;
        let sub = match sub {
            Some(sub) => Some(attribute.sub(sub)?),
            None => None,
        };
        Some(Place { urn: self.urn_of(schema), attribute, sub })
    }
}

impl Place {
    /// The value of the attribute, all values of it if it has several.
    pub(crate) fn value<'r>(&self, object: &'r Resource) -> Option<&'r Value> {
        let holder = match self.urn {
            Some(urn) => object.get(urn)?.as_object()?,
            None => object,
        };
        holder.get(self.attribute.name)
    }

    /// Each value that is there, of the sub-attribute if the place has one.
    pub(crate) fn values<'r>(&self, object: &'r Resource) -> impl Iterator<Item = &'r Value> {
        let sub = self.sub;
        let all = self.value(object).map_or(&[][..], |value| match value {
            Value::Array(values) => values.as_slice(),
            one => std::slice::from_ref(one),
        });
        let of = move |value: &'r Value| match sub {
            Some(sub) => value.get(sub.name),
            None => Some(value),
        };
        all.iter().filter_map(of).filter(|value| !value.is_null())
    }
}
