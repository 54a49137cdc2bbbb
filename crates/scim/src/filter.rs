//! Filters (RFC 7644 §3.4.2.2), read for one resource type and matched against resources.
//!
//! An attribute that the type does not have is one without a value (RFC 7644 §3.4.2.1). A value that
//! is compared with `null` is asked whether it is there (RFC 7643 §2.5). `ne` holds for a value that
//! differs, and where there is none. No attribute is a number, so that comparing one with a number is
//! refused.

mod grammar;
mod operand;

use serde_json::Value;

use crate::schema::{Attribute, Place};
use crate::{Error, Resource, ResourceType};
pub(crate) use grammar::Path;
pub(crate) use operand::boolean;
pub use operand::fold;
use operand::{Operand, Test};

/// A filter that can be answered for each resource of one type (RFC 7644 §3.4.2.2).
///
/// Beyond the RFC a boolean is also compared with the text `"True"` or `"False"`: Microsoft Entra ID
/// writes `roles[primary eq "True"]`.
#[derive(Clone, Debug)]
pub struct Filter {
    node: Node,
}

/// What a resource must have for a [`Filter`] to match it: text that can be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Equality<'f> {
    /// The attribute, a single-valued one of the resource itself: `userName`, `id`, `externalId`.
    pub attribute: &'static str,
    /// Its value; as [`fold`] writes it, unless the attribute is compared exactly as are `id` and
    /// `externalId` (RFC 7643 §3.1).
    pub value: &'f str,
}

/// A filter or a part of it.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    /// Answered by the schema alone: nothing has the attribute.
    Always(bool),
    Present(Place),
    Compare(Place, Test),
    /// A value path: one and the same value meets all of it.
    Within(Place, Box<Self>),
    Not(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
}

/// Whose attributes a filter names.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scope {
    /// A resource's.
    Resource(&'static ResourceType),
    /// The values' of this attribute.
    Values(&'static Attribute),
}

impl Filter {
    /// Reads `text` as a filter on resources of the type `of`.
    pub fn parse(text: &str, of: &'static ResourceType) -> Result<Self, Error> {
        Ok(Self { node: grammar::filter(text, of)? })
    }

    /// Whether it matches `resource`, one of the type that it was read for.
    pub fn matches(&self, resource: &Resource) -> bool {
        self.node.matches(resource)
    }

    /// Whether nothing of the type can match it: it asks for what only other types have.
    pub fn matches_nothing(&self) -> bool {
        self.node.is_never()
    }

    /// What every resource that it matches has: its comparisons by `eq` with a text that stand alone or
    /// are joined to the rest by `and`.
    ///
    /// One of them may be looked up in an index, so that the filter is asked of few resources.
    pub fn equalities(&self) -> Vec<Equality<'_>> {
        match &self.node {
            Node::And(all) => all.iter().filter_map(Node::equality).collect(),
            one => one.equality().into_iter().collect(),
        }
    }
}

impl Node {
    /// Whether `object` is such: a resource, or a value of the attribute in whose scope this was read.
    pub(crate) fn matches(&self, object: &Resource) -> bool {
        match self {
            Self::Always(answer) => *answer,
            Self::Present(place) => place.values(object).any(is_present),
            Self::Compare(place, test) => test.holds(place.values(object)),
            Self::Within(place, node) => {
                let mut values = place.values(object).filter_map(Value::as_object);
                values.any(|value| node.matches(value))
            }
            Self::Not(node) => !node.matches(object),
            Self::And(all) => all.iter().all(|node| node.matches(object)),
            Self::Or(any) => any.iter().any(|node| node.matches(object)),
        }
    }

    fn is_never(&self) -> bool {
        match self {
            Self::Always(answer) => !answer,
            Self::And(all) => all.iter().any(Self::is_never),
            Self::Or(any) => any.iter().all(Self::is_never),
            Self::Present(_) | Self::Compare(..) | Self::Within(..) | Self::Not(_) => false,
        }
    }

    fn equality(&self) -> Option<Equality<'_>> {
        let Self::Compare(place, Test::Equal(Operand::Text { text, .. })) = self else {
            return None;
        };
        let is_plain =
            place.urn.is_none() && place.sub.is_none() && !place.attribute.is_multi_valued();
        is_plain.then_some(Equality { attribute: place.attribute.name, value: text })
    }

    /// The value that meets this and nothing else: what `add` makes where it finds no such value.
    ///
    /// There is one if this is a comparison by `eq`, or several joined by `and`.
    pub(crate) fn example(&self) -> Option<Resource> {
        match self {
            Self::Compare(place, Test::Equal(operand)) if place.sub.is_none() => {
                Some([(place.attribute.name.to_owned(), operand.value()?)].into_iter().collect())
            }
            Self::And(all) => {
                let mut whole = Resource::new();
                for part in all {
                    whole.extend(part.example()?);
                }
                Some(whole)
            }
            Self::Always(_)
            | Self::Present(_)
            | Self::Compare(..)
            | Self::Within(..)
            | Self::Not(_)
            | Self::Or(_) => None,
        }
    }
}

/// Whether there is something in `value` (RFC 7644 §3.4.2.2, `pr`).
pub(crate) fn is_present(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => values.iter().any(is_present),
        Value::Object(members) => members.values().any(is_present),
    }
}
