//! The grammar of filters and paths (RFC 7644 §3.4.2.2, §3.5.2), by the parser of `scim_v2`, and
//! what the names in it stand for.
//!
//! INVARIANT: what is read here has at most [`FILTER_DEPTH_MAX`] levels and [`FILTER_TERMS_MAX`]
//! terms, so that whoever walks it needs no limits.

use scim_v2::filter::{self as parsed, AttrExp, AttrPath, ParseError, PatchPath, ValFilter};

use super::{Node, Scope, Test};
use crate::schema::{Place, Schema};
use crate::{Error, FILTER_BYTES_MAX, FILTER_DEPTH_MAX, FILTER_TERMS_MAX, ResourceType, ScimType};

/// Where a PATCH operation acts (RFC 7644 §3.5.2).
#[derive(Debug)]
pub(crate) enum Path {
    /// On all attributes of a schema: its URN alone.
    Schema(&'static Schema),
    /// On an attribute, or a sub-attribute, of the values that the filter selects if there is one.
    Place(Place, Option<Node>),
}

/// Reads a filter.
pub(super) fn filter(text: &str, of: &'static ResourceType) -> Result<Node, Error> {
    if text.len() > FILTER_BYTES_MAX {
        return Err(refused(format!("the filter is longer than {FILTER_BYTES_MAX} bytes")));
    }
    let read: parsed::Filter = text.parse().map_err(|error| refused(told(&error)))?;
    Reader { terms: 0 }.node(Tree::Resource(&read), Scope::Resource(of), 1)
}

impl Path {
    /// Reads the path of an operation on a resource of the type `of`.
    pub(crate) fn parse(text: &str, of: &'static ResourceType) -> Result<Self, Error> {
        let invalid = |detail: String| Error::new(ScimType::InvalidPath, detail);
        if text.len() > FILTER_BYTES_MAX {
            return Err(invalid(format!("the path is longer than {FILTER_BYTES_MAX} bytes")));
        }
        if let Some(schema) = of.schema_of(text) {
            return Ok(Self::Schema(schema));
        }
        let read: PatchPath = text.parse().map_err(|error| invalid(told(&error)))?;
        let unknown = |path: &AttrPath| invalid(format!("there is no attribute `{path}`"));
        let found = |path: &AttrPath, sub: Option<&str>| {
            let place = of.place(path.uri.as_deref(), &path.name, sub);
            place.ok_or_else(|| unknown(path))
        };
        match &read {
            PatchPath::Attr(path) => Ok(Self::Place(found(path, path.sub_attr.as_deref())?, None)),
            PatchPath::Value(selected) => {
                let place = found(&selected.attr, selected.sub_attr.as_deref())?;
                if !place.attribute.is_multi_valued() || selected.attr.sub_attr.is_some() {
                    let name = place.attribute.name;
                    return Err(invalid(format!("`{name}` has no values to select from")));
                }
                let tree = Tree::Value(&selected.filter);
                let node = Reader { terms: 0 }.node(tree, Scope::Values(place.attribute), 1)?;
                Ok(Self::Place(place, Some(node)))
            }
        }
    }
}

fn refused(detail: String) -> Error {
    Error::new(ScimType::InvalidFilter, detail)
}

/// Where the parser stopped. What it expected is a list of its own tokens, of no use to a client.
fn told(error: &ParseError) -> String {
    match error {
        ParseError::InvalidToken { location: at }
        | ParseError::UnrecognizedEof { location: at, .. }
        | ParseError::UnrecognizedToken { token: (at, ..), .. }
        | ParseError::ExtraToken { token: (at, ..) } => {
            format!("it is not built as RFC 7644 has it, from byte {at} on")
        }
        ParseError::User { error } => error.to_string(),
    }
}

/// A part of what the parser read: of a filter on resources, or on the values of an attribute.
#[derive(Clone, Copy)]
enum Tree<'t> {
    Resource(&'t parsed::Filter),
    Value(&'t ValFilter),
}

/// Reads names and limits of what was parsed.
struct Reader {
    terms: usize,
}

impl Reader {
    fn node(&mut self, tree: Tree<'_>, scope: Scope, depth: usize) -> Result<Node, Error> {
        if depth > FILTER_DEPTH_MAX {
            return Err(refused(format!("the filter has more than {FILTER_DEPTH_MAX} levels")));
        }
        match tree {
            Tree::Resource(parsed::Filter::Attr(term)) | Tree::Value(ValFilter::Attr(term)) => {
                self.term(term, scope)
            }
            Tree::Resource(parsed::Filter::ValuePath(path)) => {
                let Some(place) = scope.place(&path.attr) else { return Ok(Node::Always(false)) };
                if place.sub.is_some() || !place.attribute.is_complex() {
                    return Err(refused(format!("`{}` has no sub-attributes", path.attr)));
                }
                let values = Scope::Values(place.attribute);
                let node = self.node(Tree::Value(&path.filter), values, depth + 1)?;
                Ok(Node::Within(place, Box::new(node)))
            }
            Tree::Resource(parsed::Filter::Not(inner)) => {
                Ok(Node::Not(Box::new(self.node(Tree::Resource(inner), scope, depth + 1)?)))
            }
            Tree::Value(ValFilter::Not(inner)) => {
                Ok(Node::Not(Box::new(self.node(Tree::Value(inner), scope, depth + 1)?)))
            }
            Tree::Resource(parsed::Filter::And(all)) => {
                Ok(Node::And(self.nodes(all.iter().map(Tree::Resource), scope, depth)?))
            }
            Tree::Resource(parsed::Filter::Or(any)) => {
                Ok(Node::Or(self.nodes(any.iter().map(Tree::Resource), scope, depth)?))
            }
            Tree::Value(ValFilter::And(all)) => {
                Ok(Node::And(self.nodes(all.iter().map(Tree::Value), scope, depth)?))
            }
            Tree::Value(ValFilter::Or(any)) => {
                Ok(Node::Or(self.nodes(any.iter().map(Tree::Value), scope, depth)?))
            }
        }
    }

    fn nodes<'t>(
        &mut self,
        trees: impl Iterator<Item = Tree<'t>>,
        scope: Scope,
        depth: usize,
    ) -> Result<Vec<Node>, Error> {
        trees.map(|tree| self.node(tree, scope, depth + 1)).collect()
    }

    fn term(&mut self, term: &AttrExp, scope: Scope) -> Result<Node, Error> {
        self.terms += 1;
        if self.terms > FILTER_TERMS_MAX {
            return Err(refused(format!("the filter has more than {FILTER_TERMS_MAX} terms")));
        }
        match term {
            AttrExp::Present(path) => {
                Ok(scope.place(path).map_or(Node::Always(false), Node::Present))
            }
            AttrExp::Comparison(path, op, with) => Test::read(scope.place(path), op, with),
        }
    }
}

impl Scope {
    fn place(self, path: &AttrPath) -> Option<Place> {
        match self {
            Self::Resource(of) => {
                of.place(path.uri.as_deref(), &path.name, path.sub_attr.as_deref())
            }
            Self::Values(attribute) => {
                let is_plain = path.uri.is_none() && path.sub_attr.is_none();
                let attribute = is_plain.then(|| attribute.sub(&path.name)).flatten()?;
                Some(Place { urn: None, attribute, sub: None })
            }
        }
    }
}
