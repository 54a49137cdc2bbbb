//! Which attributes of a resource are returned (RFC 7644 §3.9, RFC 7643 §7 `returned`).

use serde_json::Value;

use crate::schema::{Attribute, Place, Returned, Schema};
use crate::{Error, NAMES_MAX, Resource, ResourceType, ScimType};

/// What a client wants to see of resources of one type (RFC 7644 §3.9).
#[derive(Clone, Debug)]
pub struct Projection {
    of: &'static ResourceType,
    names: Names,
}

#[derive(Clone, Debug)]
enum Names {
    /// What is returned unless a client says otherwise.
    Default,
    /// `attributes`: these, and what is always returned.
    Only(Vec<Name>),
    /// `excludedAttributes`: all but these.
    Without(Vec<Name>),
}

/// What a name in a list of attributes stands for.
#[derive(Clone, Debug)]
enum Name {
    Schema(&'static Schema),
    Place(Place),
}

/// How much of an attribute is returned.
enum Share {
    None,
    All,
    /// The sub-attributes for which this holds.
    Some(Box<dyn Fn(&Attribute) -> bool>),
}

impl Projection {
    /// What is returned unless a client says otherwise.
    pub const fn default_of(of: &'static ResourceType) -> Self {
        Self { of, names: Names::Default }
    }

    /// Reads the names of `attributes` and of `excludedAttributes`, of which there may be one only.
    ///
    /// A name is an attribute's, `name.familyName`, with or without the URN of its schema, or the URN
    /// of a schema alone. Names that the type does not have are ignored.
    pub fn of_names(
        attributes: &[&str],
        excluded: &[&str],
        of: &'static ResourceType,
    ) -> Result<Self, Error> {
        if attributes.len().max(excluded.len()) > NAMES_MAX {
            return Err(invalid(format!("more than {NAMES_MAX} attributes are named")));
        }
        let read = |given: &[&str]| given.iter().filter_map(|name| Name::read(name, of)).collect();
        let names = match (attributes.is_empty(), excluded.is_empty()) {
            (true, true) => Names::Default,
            (false, true) => Names::Only(read(attributes)),
            (true, false) => Names::Without(read(excluded)),
            (false, false) => {
                let detail = "`attributes` and `excludedAttributes` exclude each other";
                return Err(invalid(detail.to_owned()));
            }
        };
        Ok(Self { of, names })
    }

    /// Whether anything of the type's own attribute `name` is returned: if not, it need not be read.
    pub fn wants(&self, name: &str) -> bool {
        let place = self.of.place(None, name, None);
        place.is_some_and(|place| !matches!(self.share(None, place.attribute), Share::None))
    }

    /// What is returned of `resource`.
    pub fn apply(&self, mut resource: Resource) -> Resource {
        let mut shown = Resource::new();
        for extension in self.of.extensions {
            if let Some(Value::Object(members)) = resource.remove(extension.id) {
                let members = self.shown(extension, members);
                if !members.is_empty() {
                    shown.insert(extension.id.to_owned(), members.into());
                }
            }
        }
        shown.extend(self.shown(self.of.schema, resource));
        shown
    }

    /// What is returned of the attributes of `schema`.
    fn shown(&self, schema: &'static Schema, mut members: Resource) -> Resource {
        let urn = self.of.urn_of(schema);
        let mut shown = Resource::new();
        for attribute in self.of.attributes_of(schema) {
            // What has no value is not there (RFC 7643 §2.5).
            let value = members.remove(attribute.name).filter(|value| !value.is_null());
            let Some(mut value) = value else { continue };
            match self.share(urn, attribute) {
                Share::None => continue,
                Share::All => {}
                Share::Some(is_shown) => retain(attribute, &mut value, &is_shown),
            }
            shown.insert(attribute.name.to_owned(), value);
        }
        shown
    }

    fn share(&self, urn: Option<&'static str>, attribute: &'static Attribute) -> Share {
        match attribute.returned {
            Returned::Always => return Share::All,
            Returned::Never => return Share::None,
            Returned::Default => {}
        }
        let (names, is_only) = match &self.names {
            Names::Default => return Share::All,
            Names::Only(names) => (names, true),
            Names::Without(names) => (names, false),
        };
        if names.iter().any(|name| name.is_whole(urn, attribute)) {
            return if is_only { Share::All } else { Share::None };
        }
        let subs = names.iter().filter_map(|name| name.sub_of(urn, attribute));
        let subs: Vec<&str> = subs.map(|sub| sub.name).collect();
        match (subs.is_empty(), is_only) {
            (true, true) => Share::None,
            (true, false) => Share::All,
            (false, _) => Share::Some(Box::new(move |sub| subs.contains(&sub.name) == is_only)),
        }
    }
}

/// Leaves those sub-attributes in `value` that are shown.
fn retain(attribute: &Attribute, value: &mut Value, is_shown: &dyn Fn(&Attribute) -> bool) {
    let of = |value: &mut Value| {
        if let Value::Object(parts) = value {
            parts.retain(|name, _| attribute.sub(name).is_some_and(is_shown));
        }
    };
    match value {
        Value::Array(values) => values.iter_mut().for_each(of),
        one => of(one),
    }
}

impl Name {
    fn read(text: &str, of: &'static ResourceType) -> Option<Self> {
        let text = text.trim();
        if let Some(schema) = of.schema_of(text) {
            return Some(Self::Schema(schema));
        }
        let (urn, name) = match text.rsplit_once(':') {
            Some((urn, name)) => (Some(urn), name),
            None => (None, text),
        };
        let (name, sub) = match name.split_once('.') {
            Some((name, sub)) => (name, Some(sub)),
            None => (name, None),
        };
        of.place(urn, name, sub).map(Self::Place)
    }

    /// Whether it names all of the attribute.
    fn is_whole(&self, urn: Option<&str>, attribute: &Attribute) -> bool {
        match self {
            Self::Schema(schema) => {
                let is_own = || schema.attributes.iter().any(|own| std::ptr::eq(own, attribute));
                urn.map_or_else(is_own, |urn| schema.id == urn)
            }
            Self::Place(place) => {
                place.sub.is_none() && place.urn == urn && place.attribute.name == attribute.name
            }
        }
    }

    /// The sub-attribute of the attribute that it names.
    fn sub_of(&self, urn: Option<&str>, attribute: &Attribute) -> Option<&'static Attribute> {
        match self {
            Self::Place(place) if place.urn == urn && place.attribute.name == attribute.name => {
                place.sub
            }
            Self::Place(_) | Self::Schema(_) => None,
        }
    }
}

fn invalid(detail: String) -> Error {
    Error::new(ScimType::InvalidValue, detail)
}
