//! The forms in which identity providers write values beside RFC 7643, told at
//! [`Patch`](super::Patch).
//!
//! Only the form is adapted here. What comes out is read as strictly as everything.

use serde_json::{Value, json};

use crate::filter::boolean;
use crate::schema::{Attribute, Kind};

/// `value` in the form that the RFC has for `attribute`: for all its values if `is_list`.
pub(super) fn adapt(attribute: &Attribute, value: Value, is_list: bool) -> Value {
    match value {
        Value::Array(values) if is_list => {
            values.into_iter().map(|value| adapt_one(attribute, value)).collect()
        }
        value if is_list => Value::Array(vec![adapt_one(attribute, value)]),
        Value::Array(mut values) if values.len() == 1 && attribute.is_complex() => {
            adapt_one(attribute, values.remove(0))
        }
        value => adapt_one(attribute, value),
    }
}

fn adapt_one(attribute: &Attribute, value: Value) -> Value {
    match (attribute.kind, value) {
        (Kind::Boolean, Value::String(text)) => {
            boolean(&text).map_or(Value::String(text), Value::Bool)
        }
        (Kind::Complex(_), Value::String(text)) if attribute.sub("value").is_some() => {
            json!({ "value": text })
        }
        (Kind::Complex(_), Value::Object(parts)) => {
            let adapted = |(name, value): (String, Value)| match attribute.sub(&name) {
                Some(sub) => (name, adapt_one(sub, value)),
                None => (name, value),
            };
            Value::Object(parts.into_iter().map(adapted).collect())
        }
        (_, value) => value,
    }
}
