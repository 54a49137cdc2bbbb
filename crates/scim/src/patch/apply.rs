//! What a PATCH request does to a resource (RFC 7644 §3.5.2.1 to §3.5.2.3).
//!
//! INVARIANT: all changes are made, or none.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Act, Change, Patch};
use crate::filter::{Node, fold};
use crate::read::{check_parts, holder_mut, is_primary};
use crate::schema::{Attribute, Mutability};
use crate::{Error, Resource, ScimType};

impl Patch {
    /// Makes the changes to `resource`, and says whether they changed anything.
    ///
    /// If one of them cannot be made, or the whole would be no resource any more, `resource` stays as
    /// it is.
    pub fn apply(&self, resource: &mut Resource) -> Result<bool, Error> {
        let mut changed = resource.clone();
        for change in &self.changes {
            change.apply(&mut changed)?;
        }
        self.of.finish(&mut changed)?;
        let is_changed = changed != *resource;
        *resource = changed;
        Ok(is_changed)
    }
}

impl Change {
    fn apply(&self, resource: &mut Resource) -> Result<(), Error> {
        let attribute = self.place.attribute;
        let holder = holder_mut(resource, self.place.urn);
        match (self.place.sub, &self.select) {
            (None, None) => self.set(holder),
            (Some(sub), None) if !attribute.is_multi_valued() => self.set_part(holder, sub),
            (_, _) => self.set_selected(holder),
        }
    }

    /// Writes the attribute as a whole.
    fn set(&self, holder: &mut Resource) -> Result<(), Error> {
        let name = self.place.attribute.name;
        let values = holder.get_mut(name).and_then(Value::as_array_mut);
        match (&self.act, values) {
            (Act::Add(Value::Array(added)), Some(values)) => {
                return add(self.place.attribute, values, added);
            }
            (Act::Add(value) | Act::Replace(value), _) => {
                holder.insert(name.to_owned(), value.clone());
            }
            (Act::RemoveValues(removed), Some(values)) => {
                let is_removed = |value: &Value| {
                    let identity = identity(self.place.attribute, value);
                    identity.is_some_and(|identity| removed.contains(&identity))
                };
                values.retain(|value| !is_removed(value));
                if values.is_empty() {
                    holder.remove(name);
                }
            }
            (Act::RemoveValues(_), None) => {}
            (Act::Remove, _) => drop(holder.remove(name)),
        }
        Ok(())
    }

    /// Writes the sub-attribute `sub` of a single-valued attribute.
    fn set_part(&self, holder: &mut Resource, sub: &Attribute) -> Result<(), Error> {
        let name = self.place.attribute.name;
        let parts = holder_mut(holder, Some(name));
        self.write(parts, sub)?;
        if parts.is_empty() {
            holder.remove(name);
        }
        Ok(())
    }

    /// Writes those values of a multi-valued attribute that are selected, or their sub-attribute.
    fn set_selected(&self, holder: &mut Resource) -> Result<(), Error> {
        let name = self.place.attribute.name;
        let mut values = match holder.remove(name) {
            Some(Value::Array(values)) => values,
            _ => Vec::new(),
        };
        let mut selected: Vec<usize> =
            (0..values.len()).filter(|at| self.is_selected(&values, *at)).collect();
        if selected.is_empty() {
            match (&self.act, self.made()) {
                (Act::Remove | Act::RemoveValues(_), _) => {}
                (Act::Add(_), Some(made)) => {
                    selected.push(values.len());
                    values.push(made.into());
                }
                _ => {
                    let detail = format!("no value of `{name}` is selected");
                    return Err(Error::new(ScimType::NoTarget, detail));
                }
            }
        }
        for &at in &selected {
            let Some(value) = values.get_mut(at) else { continue };
            match (self.place.sub, value, &self.act) {
                (Some(sub), Value::Object(parts), _) => self.write(parts, sub)?,
                (None, value, Act::Add(new) | Act::Replace(new)) => *value = new.clone(),
                (_, value, _) => *value = Value::Null,
            }
        }
        settle_primary(self.place.attribute, &mut values, &selected)?;
        values.retain(|value| !is_empty(value));
        for value in &values {
            check_parts(self.place.attribute, value)?;
        }
        if !values.is_empty() {
            holder.insert(name.to_owned(), values.into());
        }
        Ok(())
    }

    fn is_selected(&self, values: &[Value], at: usize) -> bool {
        let value = values.get(at).and_then(Value::as_object);
        value.is_some_and(|value| self.select.as_ref().is_none_or(|node| node.matches(value)))
    }

    /// The value that `add` makes where none is selected: one that would be.
    fn made(&self) -> Option<Resource> {
        self.select.as_ref().map_or(Some(Resource::new()), Node::example)
    }

    /// Writes `sub` among the sub-attributes `parts`.
    fn write(&self, parts: &mut Resource, sub: &Attribute) -> Result<(), Error> {
        let (Act::Add(new) | Act::Replace(new)) = &self.act else {
            parts.remove(sub.name);
            return Ok(());
        };
        let old = parts.insert(sub.name.to_owned(), new.clone());
        if sub.mutability == Mutability::Immutable && old.is_some_and(|old| old != *new) {
            let detail = format!("attribute `{}` is immutable", sub.name);
            return Err(Error::new(ScimType::Mutability, detail));
        }
        Ok(())
    }
}

/// Adds those of `added` that are not there yet to `values` (RFC 7644 §3.5.2.1).
///
/// A member is there if one of that id is.
fn add(attribute: &Attribute, values: &mut Vec<Value>, added: &[Value]) -> Result<(), Error> {
    let before = values.len();
    if attribute.is_large() {
        let known = |value: &Value| identity(attribute, value);
        let mut there: BTreeSet<String> = values.iter().filter_map(known).collect();
        let is_new = |value: &&Value| known(value).is_none_or(|identity| there.insert(identity));
        values.extend(added.iter().filter(is_new).cloned());
    } else {
        for value in added {
            if !values.contains(value) {
                values.push(value.clone());
            }
        }
    }
    let new: Vec<usize> = (before..values.len()).collect();
    settle_primary(attribute, values, &new)
}

/// Leaves one primary value where several are now: the one that was `written` (RFC 7644 §3.5.2).
fn settle_primary(
    attribute: &Attribute,
    values: &mut [Value],
    written: &[usize],
) -> Result<(), Error> {
    let is_written_primary = |at: &usize| values.get(*at).is_some_and(is_primary);
    let primary: Vec<usize> = written.iter().copied().filter(is_written_primary).collect();
    let [primary] = primary[..] else {
        let name = attribute.name;
        let detail = format!("attribute `{name}` has two primary values");
        let is_none = primary.is_empty();
        return if is_none { Ok(()) } else { Err(Error::new(ScimType::InvalidValue, detail)) };
    };
    for (at, value) in values.iter_mut().enumerate() {
        if at != primary && is_primary(value) {
            value["primary"] = false.into();
        }
    }
    Ok(())
}

/// By what a value of `attribute` is known: its `value`.
pub(super) fn identity(attribute: &Attribute, value: &Value) -> Option<String> {
    let sub = attribute.sub("value")?;
    let text = value.get(sub.name)?.as_str()?;
    Some(if sub.case_exact { text.to_owned() } else { fold(text) })
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(Resource::is_empty)
}
