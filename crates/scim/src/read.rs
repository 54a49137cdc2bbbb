//! Reads what a client writes: types, limits, and whose an attribute is to write (RFC 7643 §2,
//! RFC 7644 §3.3, §3.5.1).
//!
//! Attributes that no schema of the type has are dropped, and so are extensions that the type does
//! not have, and whatever is the provider's to write. An absent attribute, `null` and an empty list
//! are one (RFC 7643 §2.5).

use jiff::Timestamp;
use serde_json::Value;

use crate::filter::is_present;
use crate::schema::{Attribute, Kind, Mutability, Returned, Schema};
use crate::{
    BINARY_CHARS_MAX, Error, MEMBERS_MAX, RESOURCE_BYTES_MAX, Resource, ResourceType,
    STRING_CHARS_MAX, ScimType, VALUES_MAX,
};

impl ResourceType {
    /// Reads a resource that a client sent to create one, or to replace one whole (RFC 7644 §3.3,
    /// §3.5.1).
    ///
    /// It comes back with its names as the schema spells them and with the `schemas` that it has
    /// something of; without `id`, `meta` and whatever else the provider writes, and without its
    /// password. Of the resource's own schema the URN must have been sent.
    pub fn read(&'static self, sent: Value) -> Result<Resource, Error> {
        let Value::Object(sent) = sent else {
            return Err(syntax("the resource is not a JSON object"));
        };
        self.check_schemas(&sent)?;
        let mut resource = Resource::new();
        for (name, value) in sent {
            let (holder, read) = match self.schema_of(&name) {
                Some(schema) => (self.urn_of(schema), self.read_extension(schema, value)?),
                None => (None, self.read_attribute(self.schema, &name, value)?),
            };
            let into = holder_mut(&mut resource, holder);
            for (name, value) in read {
                if into.insert(name.to_owned(), value).is_some() {
                    return Err(syntax(format!("attribute `{name}` is there twice")));
                }
            }
        }
        self.finish(&mut resource)?;
        Ok(resource)
    }

    /// Of the resource's own schema the URN is there (RFC 7643 §3).
    fn check_schemas(&self, sent: &Resource) -> Result<(), Error> {
        let mut named = sent.iter().filter(|(name, _)| name.eq_ignore_ascii_case("schemas"));
        if !named.any(|(_, value)| is_named(value, self.schema.id)) {
            return Err(syntax(format!("`schemas` does not name `{}`", self.schema.id)));
        }
        Ok(())
    }

    fn read_extension(
        &self,
        schema: &'static Schema,
        value: Value,
    ) -> Result<Vec<(&'static str, Value)>, Error> {
        let Value::Object(sent) = value else {
            return Err(syntax(format!("`{}` is not a JSON object", schema.id)));
        };
        let mut read = Vec::new();
        for (name, value) in sent {
            read.extend(self.read_attribute(schema, &name, value)?);
        }
        Ok(read)
    }

    /// The attribute `name` of `schema`, if there is one and its value is the client's to write.
    fn read_attribute(
        &self,
        schema: &'static Schema,
        name: &str,
        value: Value,
    ) -> Result<Vec<(&'static str, Value)>, Error> {
        let known = self.attributes_of(schema).find(|known| known.name.eq_ignore_ascii_case(name));
        let Some(known) = known.filter(|known| is_kept(known)) else { return Ok(Vec::new()) };
        Ok(whole(known, value)?.map(|value| (known.name, value)).into_iter().collect())
    }

    /// Checks `resource` as a whole, and says in `schemas` what it has something of.
    pub(crate) fn finish(&self, resource: &mut Resource) -> Result<(), Error> {
        let mut urns = vec![Value::from(self.schema.id)];
        for extension in self.extensions {
            match resource.get(extension.id) {
                Some(Value::Object(members)) if !members.is_empty() => {
                    urns.push(extension.id.into());
                }
                _ => drop(resource.remove(extension.id)),
            }
        }
        resource.insert("schemas".to_owned(), urns.into());
        for schema in self.schemas() {
            let holder = self
                .urn_of(schema)
                .map_or(Some(&*resource), |urn| resource.get(urn).and_then(Value::as_object));
            for attribute in self.attributes_of(schema) {
                let value = holder.and_then(|holder| holder.get(attribute.name));
                check_present(attribute, value)?;
                check_count(attribute, value)?;
            }
        }
        let bytes = self.bytes(resource);
        if bytes > RESOURCE_BYTES_MAX {
            let detail = format!("the resource is larger than {RESOURCE_BYTES_MAX} bytes");
            return Err(Error::of_status(413, detail));
        }
        Ok(())
    }

    /// The bytes of what clients wrote, but for a group's members.
    fn bytes(&self, resource: &Resource) -> usize {
        let is_counted = |name: &str| {
            let place = self.place(None, name, None);
            place.is_none_or(|place| is_kept(place.attribute) && !place.attribute.is_large())
        };
        let counted = resource.iter().filter(|(name, _)| is_counted(name));
        counted.map(|(name, value)| name.len() + value.to_string().len()).sum()
    }
}

/// Whether `urn` is among the URNs of `schemas`, whatever its case (RFC 7643 §3).
pub(crate) fn is_named(schemas: &Value, urn: &str) -> bool {
    let mut urns = schemas.as_array().into_iter().flatten().filter_map(Value::as_str);
    urns.any(|named| named.eq_ignore_ascii_case(urn))
}

fn check_present(attribute: &Attribute, value: Option<&Value>) -> Result<(), Error> {
    if attribute.required && !value.is_some_and(is_present) {
        return Err(invalid(format!("attribute `{}` is required", attribute.name)));
    }
    Ok(())
}

fn check_count(attribute: &Attribute, value: Option<&Value>) -> Result<(), Error> {
    let count = value.and_then(Value::as_array).map_or(0, Vec::len);
    if is_kept(attribute) && !attribute.is_large() && count > VALUES_MAX {
        let name = attribute.name;
        return Err(invalid(format!("attribute `{name}` has more than {VALUES_MAX} values")));
    }
    Ok(())
}

/// Whether what a client writes there is kept.
pub(crate) fn is_kept(attribute: &Attribute) -> bool {
    attribute.mutability != Mutability::ReadOnly && attribute.returned != Returned::Never
}

/// Where in `resource` what stands below `name` is: an extension's attributes, or a complex
/// attribute's parts. Without a name, where its own are.
pub(crate) fn holder_mut<'r>(resource: &'r mut Resource, name: Option<&str>) -> &'r mut Resource {
    let Some(name) = name else { return resource };
    let holder = resource.entry(name).or_insert_with(|| Resource::new().into());
    if !holder.is_object() {
        *holder = Resource::new().into();
    }
    holder.as_object_mut().expect("it is an object")
}

/// The value of `attribute`, all values if it has several; none if there is nothing in it.
pub(crate) fn whole(attribute: &Attribute, value: Value) -> Result<Option<Value>, Error> {
    if !attribute.is_multi_valued() {
        return one(attribute, value);
    }
    let values = match value {
        Value::Null => return Ok(None),
        Value::Array(values) => values,
        _ => return Err(wrong(attribute, "a list")),
    };
    let most = if attribute.is_large() { MEMBERS_MAX } else { VALUES_MAX };
    if values.len() > most {
        return Err(invalid(format!("attribute `{}` has more than {most} values", attribute.name)));
    }
    let mut read = Vec::with_capacity(values.len());
    for value in values {
        read.push(one(attribute, value)?.ok_or_else(|| wrong(attribute, "a list of values"))?);
    }
    if read.iter().filter(|value| is_primary(value)).count() > 1 {
        return Err(invalid(format!("attribute `{}` has two primary values", attribute.name)));
    }
    Ok((!read.is_empty()).then_some(Value::Array(read)))
}

/// Whether `value` is the preferred one of its attribute (RFC 7643 §2.4).
pub(crate) fn is_primary(value: &Value) -> bool {
    value.get("primary") == Some(&Value::Bool(true))
}

/// One value of `attribute`; none if there is nothing in it.
pub(crate) fn one(attribute: &Attribute, value: Value) -> Result<Option<Value>, Error> {
    if value.is_null() {
        return Ok(None);
    }
    match attribute.kind {
        Kind::Complex(_) => return parts(attribute, value),
        Kind::Boolean if !value.is_boolean() => Err(wrong(attribute, "a boolean")),
        Kind::Text | Kind::Reference(_) => check_text(attribute, &value, STRING_CHARS_MAX),
        Kind::Binary => check_text(attribute, &value, BINARY_CHARS_MAX).and_then(|()| {
            let is_base64 = value.as_str().is_some_and(is_base64);
            if is_base64 { Ok(()) } else { Err(wrong(attribute, "base64")) }
        }),
        Kind::DateTime if !value.as_str().is_some_and(is_time) => {
            Err(wrong(attribute, "a time as RFC 3339 has it"))
        }
        Kind::Boolean | Kind::DateTime => Ok(()),
    }?;
    Ok(Some(value))
}

/// The sub-attributes of one value of a complex attribute.
fn parts(attribute: &Attribute, value: Value) -> Result<Option<Value>, Error> {
    let Value::Object(sent) = value else { return Err(wrong(attribute, "a JSON object")) };
    let mut read = Resource::new();
    for (name, value) in sent {
        let Some(sub) = attribute.sub(&name).filter(|sub| is_kept(sub)) else { continue };
        let Some(value) = whole(sub, value)? else { continue };
        if read.insert(sub.name.to_owned(), value).is_some() {
            return Err(syntax(format!("`{}.{}` is there twice", attribute.name, sub.name)));
        }
    }
    if read.is_empty() {
        return Ok(None);
    }
    let read = Value::Object(read);
    check_parts(attribute, &read)?;
    Ok(Some(read))
}

/// Whether `value`, one of `attribute`, has all that it must have.
pub(crate) fn check_parts(attribute: &Attribute, value: &Value) -> Result<(), Error> {
    attribute.subs().iter().try_for_each(|sub| check_present(sub, value.get(sub.name)))
}

fn check_text(attribute: &Attribute, value: &Value, most: usize) -> Result<(), Error> {
    let text = value.as_str().ok_or_else(|| wrong(attribute, "a string"))?;
    if text.chars().count() > most {
        let name = attribute.name;
        return Err(invalid(format!("attribute `{name}` has more than {most} characters")));
    }
    Ok(())
}

fn is_time(text: &str) -> bool {
    text.parse::<Timestamp>().is_ok()
}

/// Whether `text` is base64, with either alphabet (RFC 7643 §2.3.6).
fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte);
    text.len() - digits.len() <= 2 && digits.len() % 4 != 1 && digits.bytes().all(is_digit)
}

fn wrong(attribute: &Attribute, expected: &str) -> Error {
    invalid(format!("attribute `{}` is not {expected}", attribute.name))
}

fn invalid(detail: impl Into<String>) -> Error {
    Error::new(ScimType::InvalidValue, detail)
}

fn syntax(detail: impl Into<String>) -> Error {
    Error::new(ScimType::InvalidSyntax, detail)
}
