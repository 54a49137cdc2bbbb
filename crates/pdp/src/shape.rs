//! JSON Schema → Cedar: which type an argument has in a policy, and what its value is there.
//!
//! The table is `docs/policy-schema.md`. What has no exact Cedar type is no member of
//! `context.input` at all; what has a type but, in one call, no exact value is left out of that
//! call and named in `context.unread`. Nothing is ever rounded.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::RestrictedExpression;
use model::Amount;
use serde_json::{Map, Value, json};

use crate::formats::Format;
use crate::reads::push_token;

/// How deep a schema is read; what lies deeper is left out.
const DEPTH_MAX: usize = 16;

/// The most members of one object that are read; an object with more is left out.
const MEMBERS_MAX: usize = 512;

/// The most arguments of one call that may be left out.
pub(crate) const UNREAD_MAX: usize = 1_024;

/// The most bytes of texts to choose from that are told; how many more there are is said.
const LISTED_BYTES_MAX: usize = 1_024;

/// The Cedar type of an argument.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shape {
    Text,
    /// A text with a format that has a type of its own.
    Formatted(Format),
    Long,
    Bool,
    Decimal,
    Set(Box<Shape>),
    Record(Members),
}

/// The members of an object, by name.
pub(crate) type Members = BTreeMap<String, Member>;

/// One member of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Member {
    pub(crate) shape: Shape,
    pub(crate) required: bool,
}

/// What a schema says of a text, or of the texts in a list, that no type says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// Which texts there can be, if only these.
    pub(crate) one_of: Option<BTreeSet<String>>,
    /// The format that the schema names.
    pub(crate) format: Option<String>,
}

/// What is said of each text among the arguments, by its JSON pointer; of those in a list, by the list's.
pub(crate) type Notes = BTreeMap<String, Note>;

/// A value that its shape rules out: it was never validated against its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Misfit;

/// The members of a tool's arguments.
pub(crate) fn of_arguments(schema: &Value) -> Members {
    with_notes(schema, false).0
}

/// The members of a tool's arguments, and what is said of the texts among them, which are texts whatever their format
/// if they are read `as_texts`.
pub(crate) fn with_notes(schema: &Value, as_texts: bool) -> (Members, Notes) {
    let mut reader = Reader { root: schema, as_texts, pointer: String::new(), notes: Notes::new() };
    let members = reader.members(schema, 0).unwrap_or_default();
    (members, reader.notes)
}

/// Reads a schema.
struct Reader<'a> {
    root: &'a Value,
    as_texts: bool,
    /// The argument that is read.
    pointer: String,
    notes: Notes,
}

impl Reader<'_> {
    fn of(&mut self, schema: &Value, depth: usize) -> Option<Shape> {
        const MIXED: [&str; 6] = ["anyOf", "oneOf", "allOf", "not", "if", "$dynamicRef"];
        let keywords = schema.as_object().filter(|_| depth < DEPTH_MAX)?;
        if MIXED.iter().any(|keyword| keywords.contains_key(*keyword)) {
            return None;
        }
        if let Some(reference) = keywords.get("$ref") {
            let target = self.root.pointer(reference.as_str()?.strip_prefix('#')?)?;
            return self.of(target, depth + 1);
        }
        let only = |wanted: fn(&Value) -> bool| match keywords.get("enum") {
            Some(Value::Array(values)) => values.iter().all(wanted),
            Some(_) => false,
            None => true,
        };
        match single_type(keywords)? {
            "string" if only(Value::is_string) => Some(self.text(keywords)),
            "integer" if only(Value::is_number) => Some(Shape::Long),
            "number" if only(Value::is_number) => Some(Shape::Decimal),
            "boolean" if only(Value::is_boolean) => Some(Shape::Bool),
            "array" if !keywords.contains_key("prefixItems") => {
                let items = self.of(keywords.get("items")?, depth + 1)?;
                Some(Shape::Set(Box::new(items)))
            }
            "object" if keywords.contains_key("properties") => {
                self.members(schema, depth).map(Shape::Record)
            }
            _ => None,
        }
    }

    fn text(&mut self, keywords: &Map<String, Value>) -> Shape {
        let only = match (keywords.get("const"), keywords.get("enum")) {
            (Some(only), _) => Some(std::slice::from_ref(only)),
            (None, listed) => listed.and_then(Value::as_array).map(Vec::as_slice),
        };
        let texts = |only: &[Value]| -> BTreeSet<String> {
            only.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let format = keywords.get("format").and_then(Value::as_str);
        let note = Note { one_of: only.map(texts), format: format.map(str::to_owned) };
        self.notes.insert(self.pointer.clone(), note);
        let typed = format.filter(|_| !self.as_texts).and_then(Format::named);
        typed.map_or(Shape::Text, Shape::Formatted)
    }

    fn members(&mut self, schema: &Value, depth: usize) -> Option<Members> {
        let properties = schema.get("properties")?.as_object()?;
        if properties.len() > MEMBERS_MAX {
            return None;
        }
        let listed = schema.get("required").and_then(Value::as_array);
        let required: BTreeSet<&str> =
            listed.into_iter().flatten().filter_map(Value::as_str).collect();
        let mut members = Members::new();
        for (name, schema) in properties {
            let parent = self.pointer.len();
            push_token(&mut self.pointer, name);
            if let Some(shape) = self.of(schema, depth + 1) {
                let required = required.contains(name.as_str());
                members.insert(name.clone(), Member { shape, required });
            }
            self.pointer.truncate(parent);
        }
        Some(members)
    }
}

/// The one type that a schema allows; a list of strings to choose from is a string.
fn single_type(keywords: &Map<String, Value>) -> Option<&str> {
    match keywords.get("type") {
        Some(Value::String(name)) => Some(name),
        Some(Value::Array(names)) if names.len() == 1 => names[0].as_str(),
        Some(_) => None,
        None => {
            let choices = keywords.get("enum")?.as_array()?;
            (!choices.is_empty() && choices.iter().all(Value::is_string)).then_some("string")
        }
    }
}

/// Says of the texts in `record`, which has its JSON form, what `notes` say of them, as editors show it.
pub(crate) fn annotate(record: &mut Value, notes: &Notes, pointer: &mut String) {
    for (name, attribute) in record["attributes"].as_object_mut().into_iter().flatten() {
        let parent = pointer.len();
        push_token(pointer, name);
        if let Some(doc) = notes.get(pointer.as_str()).and_then(Note::doc) {
            attribute["annotations"] = json!({ "doc": doc });
        }
        let mut of = attribute;
        while of["type"] == "Set" {
            of = &mut of["element"];
        }
        if of["type"] == "Record" {
            annotate(of, notes, pointer);
        }
        pointer.truncate(parent);
    }
}

impl Note {
    fn doc(&self) -> Option<String> {
        let one_of = self.one_of.as_ref();
        let one_of = one_of.map(|texts| format!("one of {}", listed(texts.iter())));
        let format = self.format.as_ref().map(|name| format!("format {name:?}"));
        let said: Vec<_> = one_of.into_iter().chain(format).collect();
        (!said.is_empty()).then(|| said.join("; "))
    }
}

/// `texts`, each quoted, as many as are easily read.
pub(crate) fn listed<T: AsRef<str>>(texts: impl ExactSizeIterator<Item = T>) -> String {
    let (all, mut shown) = (texts.len(), Vec::new());
    let mut bytes = 0;
    for text in texts {
        let text = format!("{:?}", text.as_ref());
        bytes += text.len();
        if bytes > LISTED_BYTES_MAX {
            shown.push(format!("{} more", all - shown.len()));
            break;
        }
        shown.push(text);
    }
    shown.join(", ")
}

/// The type of `members` in a Cedar schema (JSON form).
pub(crate) fn record_type(members: &Members) -> Value {
    json!({ "type": "Record", "attributes": attributes(members) })
}

/// The attributes of an entity type or record with these members (JSON form).
fn attributes(members: &Members) -> Value {
    let attribute = |(name, member): (&String, &Member)| {
        let mut attribute = member.shape.cedar_type();
        attribute["required"] = member.required.into();
        (name.clone(), attribute)
    };
    Value::Object(members.iter().map(attribute).collect())
}

impl Shape {
    fn cedar_type(&self) -> Value {
        match self {
            Self::Text => json!({ "type": "String" }),
            Self::Formatted(format) => json!({ "type": "Extension", "name": format.type_name() }),
            Self::Long => json!({ "type": "Long" }),
            Self::Bool => json!({ "type": "Boolean" }),
            Self::Decimal => json!({ "type": "Extension", "name": "decimal" }),
            Self::Set(element) => json!({ "type": "Set", "element": element.cedar_type() }),
            Self::Record(members) => record_type(members),
        }
    }
}

/// Turns the arguments of one call into Cedar values, and collects what has none.
#[derive(Default)]
pub(crate) struct Converter {
    pointer: String,
    /// JSON pointers of what was left out.
    pub(crate) unread: BTreeSet<String>,
}

impl Converter {
    /// The value of `context.input` for these arguments.
    pub(crate) fn arguments(
        &mut self,
        members: &Members,
        arguments: &Value,
    ) -> Result<RestrictedExpression, Misfit> {
        match arguments {
            Value::Object(given) => self.record(members, given),
            Value::Null => self.record(members, &Map::new()),
            _ => Err(Misfit),
        }
    }

    fn record(
        &mut self,
        members: &Members,
        given: &Map<String, Value>,
    ) -> Result<RestrictedExpression, Misfit> {
        if members.iter().any(|(name, member)| member.required && !given.contains_key(name)) {
            return Err(Misfit);
        }
        let mut fields = Vec::with_capacity(given.len());
        for (name, value) in given {
            let parent = self.pointer.len();
            push_token(&mut self.pointer, name);
            match members.get(name) {
                Some(member) => {
                    let value = self.value(&member.shape, value)?;
                    fields.extend(value.map(|value| (name.clone(), value)));
                }
                None => self.leave_out()?,
            }
            self.pointer.truncate(parent);
        }
        RestrictedExpression::new_record(fields).map_err(|_| Misfit)
    }

    fn value(
        &mut self,
        shape: &Shape,
        value: &Value,
    ) -> Result<Option<RestrictedExpression>, Misfit> {
        let exact = match (shape, value) {
            (_, Value::Null) => None,
            (Shape::Text, Value::String(text)) => {
                Some(RestrictedExpression::new_string(text.clone()))
            }
            (Shape::Formatted(format), Value::String(text)) => format.value(text),
            (Shape::Bool, Value::Bool(value)) => Some(RestrictedExpression::new_bool(*value)),
            (Shape::Long, Value::Number(number)) => {
                exact_long(number).map(RestrictedExpression::new_long)
            }
            (Shape::Decimal, Value::Number(number)) => {
                exact_decimal(number).map(RestrictedExpression::new_decimal)
            }
            (Shape::Set(element), Value::Array(items)) => set_of(element, items)?,
            (Shape::Record(members), Value::Object(given)) => Some(self.record(members, given)?),
            _ => return Err(Misfit),
        };
        if exact.is_none() {
            self.leave_out()?;
        }
        Ok(exact)
    }

    fn leave_out(&mut self) -> Result<(), Misfit> {
        if self.unread.len() == UNREAD_MAX {
            return Err(Misfit);
        }
        self.unread.insert(self.pointer.clone());
        Ok(())
    }
}

/// A set is left out whole if one of its elements has no exact value: a smaller set is another set.
fn set_of(shape: &Shape, items: &[Value]) -> Result<Option<RestrictedExpression>, Misfit> {
    let mut below = Converter::default();
    let mut elements = Vec::with_capacity(items.len());
    for item in items {
        elements.extend(below.value(shape, item)?);
    }
    Ok(below.unread.is_empty().then(|| RestrictedExpression::new_set(elements)))
}

/// The number as an integer, however it is spelt (`100`, `100.0`, `1e2`).
fn exact_long(number: &serde_json::Number) -> Option<i64> {
    /// Beyond this a double skips integers (RFC 8785 reads numbers as doubles).
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if let Some(long) = number.as_i64() {
        return Some(long);
    }
    let double = number.as_f64().filter(|_| number.is_f64())?;
    #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53: exact")]
    (double.fract() == 0.0 && double.abs() <= EXACT_MAX).then_some(double as i64)
}

/// The number as a Cedar decimal: at most four places, and within the range of one.
fn exact_decimal(number: &serde_json::Number) -> Option<String> {
    Amount::of_number(number).map(decimal)
}

/// The amount as Cedar spells decimals.
pub(crate) fn decimal(amount: Amount) -> String {
    let text = amount.to_string();
    if text.contains('.') { text } else { format!("{text}.0") }
}
