//! PATCH (RFC 7644 §3.5.2): what a request changes, read for one resource type, and its effect.
//!
//! Where the RFC leaves it open: `remove` of what is not there changes nothing, so that it can be
//! sent again. Without a path, attributes that are unknown or the provider's to write are dropped, as
//! they are when a resource is created; with one they are refused.

mod adapt;
mod apply;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::filter::{Node, Path};
use crate::read::{is_kept, is_named, one, whole};
use crate::schema::{Attribute, Mutability, Place, Schema};
use crate::{Error, MEMBERS_MAX, OPERATIONS_MAX, Resource, ResourceType, ScimType};
use adapt::adapt;

/// The schema of a PATCH request (RFC 7644 §3.5.2).
const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// The changes of a PATCH request to a resource of one type (RFC 7644 §3.5.2).
///
/// What identity providers send beside the RFC is taken all the same:
///
/// - Microsoft Entra ID: `"op": "Add"`; booleans as strings, `"active": "False"`; names with a dot and
///   whole paths as the names of a path-less value, `"name.givenName": "Ann"`; a manager by a string,
///   `"path": "urn:…:User:manager", "value": "id"`, or in a list of one; members that are to be removed
///   in `value` instead of a filter; `add` to `emails[type eq "work"].value` where there is no such
///   value yet, which makes one.
/// - Okta: path-less `replace` with `{ "active": false }`, and with the resource's own `id` in it,
///   which is dropped.
/// - Either: one value where a list is, and a string where a value with a `value` is.
#[derive(Clone, Debug)]
pub struct Patch {
    of: &'static ResourceType,
    changes: Vec<Change>,
}

/// What is done in one place.
#[derive(Clone, Debug)]
struct Change {
    place: Place,
    /// To which values of the attribute it is done.
    select: Option<Node>,
    act: Act,
}

/// What is done there. Values are of the type of the place.
#[derive(Clone, Debug)]
enum Act {
    Add(Value),
    Replace(Value),
    Remove,
    /// Of a multi-valued attribute, those whose `value` is one of these.
    RemoveValues(BTreeSet<String>),
}

/// The name of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Add,
    Replace,
    Remove,
}

impl Patch {
    /// Reads `body` as a request to change a resource of the type `of`.
    ///
    /// Values are checked here, by type and by who may write them; whether the place is there, and
    /// whether the whole is a resource still, when it is applied.
    pub fn parse(body: Value, of: &'static ResourceType) -> Result<Self, Error> {
        let Value::Object(body) = body else {
            return Err(syntax("the request is not a JSON object"));
        };
        let mut operations = None;
        let mut is_patch = false;
        for (name, value) in body {
            if name.eq_ignore_ascii_case("Operations") {
                operations = Some(value);
            } else if name.eq_ignore_ascii_case("schemas") {
                is_patch = is_named(&value, PATCH_OP);
            }
        }
        if !is_patch {
            return Err(syntax(format!("`schemas` does not name `{PATCH_OP}`")));
        }
        let Some(Value::Array(operations)) = operations else {
            return Err(syntax("`Operations` is not a list"));
        };
        if !(1..=OPERATIONS_MAX).contains(&operations.len()) {
            return Err(syntax(format!("`Operations` has not from 1 to {OPERATIONS_MAX} of them")));
        }
        let mut patch = Self { of, changes: Vec::new() };
        for operation in operations {
            patch.read(operation)?;
        }
        let members: usize = patch.changes.iter().map(Change::members).sum();
        if members > MEMBERS_MAX {
            return Err(invalid(format!("the request names more than {MEMBERS_MAX} members")));
        }
        Ok(patch)
    }

    /// Reads one operation.
    fn read(&mut self, operation: Value) -> Result<(), Error> {
        let Value::Object(operation) = operation else {
            return Err(syntax("an operation is not a JSON object"));
        };
        let (mut op, mut path, mut value) = (None, None, None);
        for (name, given) in operation {
            match name.to_ascii_lowercase().as_str() {
                "op" => op = Some(Op::read(&given)?),
                "path" if given.is_null() => {}
                "path" => match given {
                    Value::String(text) => path = Some(text),
                    _ => return Err(Error::new(ScimType::InvalidPath, "`path` is not a string")),
                },
                "value" => value = Some(given),
                _ => {}
            }
        }
        let op = op.ok_or_else(|| syntax("an operation has no `op`"))?;
        if op != Op::Remove && value.is_none() {
            return Err(invalid("an operation that adds or replaces has no `value`"));
        }
        match (path, value) {
            (None, _) if op == Op::Remove => {
                Err(Error::new(ScimType::NoTarget, "an operation that removes has no `path`"))
            }
            (None, value) => self.pathless(op, value.unwrap_or_default()),
            (Some(path), value) => match Path::parse(&path, self.of)? {
                Path::Schema(schema) => self.schema(op, schema, value),
                Path::Place(place, select) => {
                    check_mutability(op, &place)?;
                    self.change(op, (place, select), value)
                }
            },
        }
    }

    /// An operation on the resource itself: its value has attributes by name or, as some providers
    /// send them, by path.
    fn pathless(&mut self, op: Op, value: Value) -> Result<(), Error> {
        let Value::Object(attributes) = value else {
            return Err(invalid("the value of an operation without `path` is not a JSON object"));
        };
        for (name, value) in attributes {
            match Path::parse(&name, self.of) {
                Ok(Path::Schema(schema)) => self.schema(op, schema, Some(value))?,
                Ok(Path::Place(place, select)) if is_kept_at(&place) => {
                    self.change(op, (place, select), Some(value))?;
                }
                Ok(Path::Place(..)) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// An operation on the attributes of `schema`: those that the value has, or all to be removed.
    fn schema(
        &mut self,
        op: Op,
        schema: &'static Schema,
        value: Option<Value>,
    ) -> Result<(), Error> {
        let urn = self.of.urn_of(schema);
        let place = |attribute| Place { urn, attribute, sub: None };
        if op == Op::Remove || value.as_ref().is_some_and(Value::is_null) {
            for attribute in schema.attributes.iter().filter(|attribute| is_kept(attribute)) {
                check_mutability(Op::Remove, &place(attribute))?;
                self.change(Op::Remove, (place(attribute), None), None)?;
            }
            return Ok(());
        }
        let Some(Value::Object(attributes)) = value else {
            return Err(invalid(format!("the value for `{}` is not a JSON object", schema.id)));
        };
        for (name, value) in attributes {
            let (name, sub) = name.split_once('.').map_or((&*name, None), |(n, s)| (n, Some(s)));
            let place = self.of.place(Some(schema.id), name, sub);
            if let Some(place) = place.filter(is_kept_at) {
                self.change(op, (place, None), Some(value))?;
            }
        }
        Ok(())
    }

    /// An operation in one place, with its value read as the type of that place.
    fn change(
        &mut self,
        op: Op,
        (place, select): (Place, Option<Node>),
        value: Option<Value>,
    ) -> Result<(), Error> {
        let Place { attribute, sub, .. } = place;
        let target = sub.unwrap_or(attribute);
        // A list is written where a list is: not to one of its values, nor to a part of them.
        let is_list = target.is_multi_valued() && select.is_none();
        let value =
            value.filter(|value| !value.is_null()).map(|value| adapt(target, value, is_list));
        if op == Op::Remove {
            let act = match value {
                Some(value) if is_list => Act::RemoveValues(identities(target, value)?),
                _ => Act::Remove,
            };
            self.changes.push(Change { place, select, act });
            return Ok(());
        }
        let is_merged = target.is_complex() && (!target.is_multi_valued() || op == Op::Add);
        match value {
            // Sub-attributes that the value does not have stay as they are (RFC 7644 §3.5.2.1,
            // §3.5.2.3).
            Some(Value::Object(parts)) if is_merged && !is_list => {
                self.merge(op, (place, select), parts)
            }
            value => {
                let value = value.unwrap_or_default();
                let read = if is_list { whole(target, value) } else { one(target, value) };
                let act = match (read?, op) {
                    (Some(value), Op::Add) => Act::Add(value),
                    (Some(value), _) => Act::Replace(value),
                    (None, Op::Add) => return Ok(()),
                    (None, _) => Act::Remove,
                };
                if matches!(act, Act::Remove) {
                    check_mutability(Op::Remove, &place)?;
                }
                if is_kept_at(&place) {
                    self.changes.push(Change { place, select, act });
                }
                Ok(())
            }
        }
    }

    /// Writes each of `parts` by itself, to the sub-attribute of its name.
    fn merge(
        &mut self,
        op: Op,
        (place, select): (Place, Option<Node>),
        parts: Resource,
    ) -> Result<(), Error> {
        for (name, value) in parts {
            let part = Place { sub: place.attribute.sub(&name), ..place };
            if part.sub.is_some_and(is_kept) {
                self.change(op, (part, select.clone()), Some(value))?;
            }
        }
        Ok(())
    }
}

impl Op {
    /// The operation that `given` names: Microsoft Entra writes `Add` (RFC 7644 §3.5.2 has `add`).
    fn read(given: &Value) -> Result<Self, Error> {
        let name = given.as_str().unwrap_or_default().to_ascii_lowercase();
        match name.as_str() {
            "add" => Ok(Self::Add),
            "replace" => Ok(Self::Replace),
            "remove" => Ok(Self::Remove),
            _ => Err(syntax("`op` is none of `add`, `replace` and `remove`")),
        }
    }
}

impl Change {
    /// How many members of a group it names.
    fn members(&self) -> usize {
        match &self.act {
            _ if !self.place.attribute.is_large() => 0,
            Act::Add(value) | Act::Replace(value) => value.as_array().map_or(0, Vec::len),
            Act::RemoveValues(values) => values.len(),
            Act::Remove => 0,
        }
    }
}

/// Whether the client may do `op` at `place` (RFC 7644 §3.5.2).
///
/// What is immutable may be added; whether there was nothing before is seen when it is.
fn check_mutability(op: Op, place: &Place) -> Result<(), Error> {
    let Place { attribute, sub, .. } = place;
    let target = sub.unwrap_or(attribute);
    let name = target.name;
    let refused = |what| Error::new(ScimType::Mutability, format!("attribute `{name}` is {what}"));
    let is_read_only = |it: &Attribute| it.mutability == Mutability::ReadOnly;
    if is_read_only(attribute) || is_read_only(target) {
        return Err(refused("read-only"));
    }
    if op == Op::Remove && target.required {
        return Err(refused("required"));
    }
    if op == Op::Remove && target.mutability == Mutability::Immutable {
        return Err(refused("immutable"));
    }
    Ok(())
}

/// Whether what a client writes at `place` is kept.
fn is_kept_at(place: &Place) -> bool {
    is_kept(place.attribute) && place.sub.is_none_or(is_kept)
}

/// By what the values that are to be removed are known: their `value`.
fn identities(attribute: &Attribute, value: Value) -> Result<BTreeSet<String>, Error> {
    let Value::Array(values) = value else { return Ok(BTreeSet::new()) };
    let known = |value: &Value| apply::identity(attribute, value);
    let unknown = || invalid(format!("a value of `{}` is not named by `value`", attribute.name));
    values.iter().map(|value| known(value).ok_or_else(unknown)).collect()
}

fn invalid(detail: impl Into<String>) -> Error {
    Error::new(ScimType::InvalidValue, detail)
}

fn syntax(detail: impl Into<String>) -> Error {
    Error::new(ScimType::InvalidSyntax, detail)
}
