//! Builds the value of a scanned text, and refuses objects whose member names could be confused.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::error::{ParseError, pointer};

/// Reads `text`, which has been scanned.
pub(crate) fn read(text: &str) -> Result<Value, ParseError> {
    let refused = RefCell::default();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Node { refused: &refused }.deserialize(&mut deserializer);
    let value = value.map_err(|error| match refused.take() {
        Some(refusal) => refusal.into(),
        None => ParseError::Syntax(error),
    })?;
    let end = deserializer.end();
    end.map_err(|e| ParseError::TrailingBytes { line: e.line(), column: e.column() })?;
    Ok(value)
}

/// Why an object is refused, and where it is.
struct Refusal {
    fault: Fault,
    /// The way to the member, innermost name first.
    path: Vec<String>,
}

enum Fault {
    Duplicate,
    CaseTwins,
    Reserved,
}

/// What the names begin with that `serde_json` keeps for itself.
const RESERVED: &str = "$serde_json::private::";

impl From<Refusal> for ParseError {
    fn from(refusal: Refusal) -> Self {
        let pointer = pointer(refusal.path.iter().rev().map(String::as_str));
        match refusal.fault {
            Fault::Duplicate => Self::DuplicateMember { pointer },
            Fault::CaseTwins => Self::CaseTwins { pointer },
            Fault::Reserved => Self::Reserved { pointer },
        }
    }
}

/// Reads one value of the text. serde's errors carry text only, so a refusal goes beside them.
#[derive(Clone, Copy)]
struct Node<'a> {
    refused: &'a RefCell<Option<Refusal>>,
}

impl Node<'_> {
    fn refuse<E: Error>(self, fault: Fault, name: &str) -> E {
        self.refused.replace(Some(Refusal { fault, path: vec![name.to_owned()] }));
        E::custom("refused")
    }

    /// Notes that what was refused lies below `name`.
    fn below(self, name: impl FnOnce() -> String) {
        if let Some(refusal) = self.refused.borrow_mut().as_mut() {
            refusal.path.push(name());
        }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(integer(value).unwrap_or_else(|| value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        loop {
            let element = elements.next_element_seed(self);
            match element.inspect_err(|_| self.below(|| array.len().to_string()))? {
                Some(element) => array.push(element),
                None => return Ok(array.into()),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(self.refuse(Fault::Duplicate, &name));
            }
            if name.starts_with(RESERVED) {
                return Err(self.refuse(Fault::Reserved, &name));
            }
            let value = members.next_value_seed(self);
            let value = value.inspect_err(|_| self.below(|| name.clone()))?;
            object.insert(name, value);
        }
        match case_twin(&object) {
            None => Ok(object.into()),
            Some(name) => Err(self.refuse(Fault::CaseTwins, name)),
        }
    }
}

/// `value` as an integer if it is one and fits, so that a number has one form in memory. It is the
/// integer that RFC 8785 writes: beyond 2^53 a double stands for many, and is that one for whoever
/// wrote its digits out.
fn integer(value: f64) -> Option<Value> {
    if value.fract() != 0.0 {
        return None;
    }
    let mut buffer = ryu_js::Buffer::new();
    let text = buffer.format_finite(value);
    let unsigned = text.parse::<u64>().ok().map(Value::from);
    unsigned.or_else(|| text.parse::<i64>().ok().map(Value::from))
}

/// A member whose name equals another's but for case.
fn case_twin(object: &Map<String, Value>) -> Option<&str> {
    // Different names that have nothing to fold are no twins, and most objects have only such.
    if object.keys().all(|name| is_folded(name)) {
        return None;
    }
    let mut names: Vec<_> = object.keys().map(|name| (fold(name), name.as_str())).collect();
    names.sort_unstable();
    let twins = names.windows(2).find(|pair| pair[0].0 == pair[1].0)?;
    Some(twins[1].1)
}

fn is_folded(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase())
}

/// `name` without case. Upper case first, for some letters share only that (`ſ` and `s`).
fn fold(name: &str) -> Cow<'_, str> {
    if is_folded(name) {
        return name.into();
    }
    name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}
