//! `Mcp-Param-*`: arguments that a tool wants repeated in headers (MCP 2026-07-28, "Custom Headers
//! from Tool Parameters").
//!
//! Which arguments, says `x-mcp-header` in the tool's input schema: the pinned one, never what a
//! client or server says at the moment of the call.
//!
//! INVARIANT: a call that passes [`check_param_headers`] says the same in every header that its
//! tool asks for as in its arguments.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use crate::era::{EraError, PARAM_PREFIX};
use crate::header_value::{decode_header_value, encode_header_value, single};

/// The annotation.
const ANNOTATION: &str = "x-mcp-header";

/// The longest name in an annotation, in bytes.
const NAME_MAX: usize = 128;

/// The most annotations of one schema.
const ANNOTATIONS_MAX: usize = 64;

/// Integers up to this magnitude are the same in every language (2^53 - 1).
const SAFE_INTEGER_MAX: u64 = (1 << 53) - 1;

/// Keywords whose members are schemas of their own, by name.
const SCHEMAS_BY_NAME: [&str; 4] =
    ["patternProperties", "$defs", "definitions", "dependentSchemas"];

/// Keywords whose values are data, in which nothing is an annotation.
const DATA: [&str; 4] = ["const", "enum", "default", "examples"];

/// Why the annotations of a schema are not valid, so that the tool is not to be offered to clients
/// that would have to follow them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnnotationError {
    /// It is empty, no text, too long, or not the name of a header.
    #[error("`x-mcp-header` of `{0}` is not the name of a header")]
    Name(String),
    /// Two are the same but for case.
    #[error("`x-mcp-header` names `{0}` twice")]
    Twice(String),
    /// The argument is neither text, integer nor truth value.
    #[error("`x-mcp-header` of `{0}` is not on a text, an integer or a truth value")]
    Type(String),
    /// It stands where no path of plain properties leads.
    #[error("`x-mcp-header` stands below `{0}`, where no property of the arguments is")]
    Unreachable(String),
    /// There are more than can be taken.
    #[error("there are more than {ANNOTATIONS_MAX} `x-mcp-header`")]
    TooMany,
}

/// One argument that is repeated in a header.
struct Annotated {
    header: HeaderName,
    /// The properties that lead to the argument.
    path: Vec<String>,
}

/// Checks that the `Mcp-Param-*` headers say what `arguments` say, for a tool with `input_schema`.
///
/// A header is there exactly if its argument is, and is not null; it is encoded or plain; integers
/// are compared as numbers. Headers that the schema does not ask for mean nothing, and nobody may
/// act on them.
pub fn check_param_headers(
    headers: &HeaderMap,
    input_schema: &Value,
    arguments: &Value,
) -> Result<(), EraError> {
    for annotated in annotations(input_schema).map_err(EraError::Annotation)? {
        let name = annotated.header.as_str();
        let mismatch = || EraError::ParamMismatch(name.to_owned());
        let found = single(headers, name).map_err(|()| mismatch())?;
        let agree = match (found, annotated.argument(arguments)) {
            (None, None) => true,
            (Some(found), Some(argument)) => {
                decode_header_value(&found).is_some_and(|text| says(&text, argument))
            }
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !agree {
            return Err(mismatch());
        }
    }
    Ok(())
}

/// The `Mcp-Param-*` headers that go with `arguments` to a tool with `input_schema`. An argument
/// that no header can repeat gets none: the server refuses the call.
pub fn param_headers(
    input_schema: &Value,
    arguments: &Value,
) -> Result<Vec<(HeaderName, HeaderValue)>, AnnotationError> {
    let header = |annotated: Annotated| {
        let text = written(annotated.argument(arguments)?)?;
        let value = HeaderValue::from_str(&encode_header_value(&text)).ok()?;
        Some((annotated.header, value))
    };
    Ok(annotations(input_schema)?.into_iter().filter_map(header).collect())
}

impl Annotated {
    /// The argument, if there is one that is not null.
    fn argument<'a>(&self, arguments: &'a Value) -> Option<&'a Value> {
        let found = self.path.iter().try_fold(arguments, |value, name| value.get(name))?;
        Some(found).filter(|value| !value.is_null())
    }
}

/// The argument as a header writes it.
fn written(argument: &Value) -> Option<String> {
    match argument {
        Value::String(text) => Some(text.clone()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Number(number) => is_safe(number).then(|| number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Whether `text` says `argument`.
fn says(text: &str, argument: &Value) -> bool {
    let Value::Number(number) = argument else {
        return written(argument).as_deref() == Some(text);
    };
    // Read as strictly as the body: one number has one value, however it is spelled.
    let read = json::parse(text.as_bytes(), json::Limits::of_bytes(text.len()));
    is_safe(number) && json::is_exact_number(text) && read.is_ok_and(|value| value == *argument)
}

fn is_safe(number: &serde_json::Number) -> bool {
    let magnitude = number.as_i64().map(i64::unsigned_abs);
    magnitude.is_some_and(|magnitude| magnitude <= SAFE_INTEGER_MAX)
}

/// Every annotation of a schema, or why one of them is not valid.
fn annotations(schema: &Value) -> Result<Vec<Annotated>, AnnotationError> {
    let mut found = Vec::new();
    // The arguments as a whole are no argument.
    refuse_annotation(schema, "")?;
    walk(schema, Some(&mut Vec::new()), &mut found)?;
    Ok(found)
}

/// Looks for annotations below `schema`, which `path` leads to; `None` if no plain path does.
fn walk(
    schema: &Value,
    mut path: Option<&mut Vec<String>>,
    found: &mut Vec<Annotated>,
) -> Result<(), AnnotationError> {
    let Some(members) = schema.as_object() else { return Ok(()) };
    for (keyword, value) in members {
        let by_name = SCHEMAS_BY_NAME.contains(&keyword.as_str());
        match value {
            _ if DATA.contains(&keyword.as_str()) || keyword == ANNOTATION => {}
            Value::Object(properties) if keyword == "properties" => {
                for (name, property) in properties {
                    match path.as_deref_mut() {
                        Some(path) => walk_property(name, property, path, found)?,
                        None => walk_unreachable(property, keyword, found)?,
                    }
                }
            }
            Value::Object(schemas) if by_name => {
                for schema in schemas.values() {
                    walk_unreachable(schema, keyword, found)?;
                }
            }
            Value::Array(schemas) => {
                for schema in schemas {
                    walk_unreachable(schema, keyword, found)?;
                }
            }
            schema => walk_unreachable(schema, keyword, found)?,
        }
    }
    Ok(())
}

fn walk_property(
    name: &str,
    property: &Value,
    path: &mut Vec<String>,
    found: &mut Vec<Annotated>,
) -> Result<(), AnnotationError> {
    path.push(name.to_owned());
    if let Some(annotation) = property.get(ANNOTATION) {
        let annotated = annotated(annotation, property, path)?;
        if found.iter().any(|other| other.header == annotated.header) {
            return Err(AnnotationError::Twice(annotated.header.to_string()));
        }
        if found.len() == ANNOTATIONS_MAX {
            return Err(AnnotationError::TooMany);
        }
        found.push(annotated);
    }
    walk(property, Some(path), found)?;
    path.pop();
    Ok(())
}

fn walk_unreachable(
    schema: &Value,
    below: &str,
    found: &mut Vec<Annotated>,
) -> Result<(), AnnotationError> {
    refuse_annotation(schema, below)?;
    walk(schema, None, found)
}

fn refuse_annotation(schema: &Value, below: &str) -> Result<(), AnnotationError> {
    let annotated = schema.get(ANNOTATION).is_some();
    if annotated { Err(AnnotationError::Unreachable(below.to_owned())) } else { Ok(()) }
}

fn annotated(
    annotation: &Value,
    property: &Value,
    path: &[String],
) -> Result<Annotated, AnnotationError> {
    let shown = || path.join("/");
    let name = annotation.as_str().filter(|name| (1..=NAME_MAX).contains(&name.len()));
    let header = name.and_then(|name| format!("{PARAM_PREFIX}{name}").parse().ok());
    let header = header.ok_or_else(|| AnnotationError::Name(shown()))?;
    if !property.as_object().is_some_and(is_primitive) {
        return Err(AnnotationError::Type(shown()));
    }
    Ok(Annotated { header, path: path.to_vec() })
}

/// Whether the type is text, integer or truth value, or one of them and null.
fn is_primitive(property: &Map<String, Value>) -> bool {
    let primitive = |kind: &Value| matches!(kind.as_str(), Some("string" | "integer" | "boolean"));
    match property.get("type") {
        Some(Value::Array(kinds)) => {
            let mut kinds = kinds.iter().filter(|kind| *kind != "null");
            kinds.next().is_some_and(primitive) && kinds.next().is_none()
        }
        kind => kind.is_some_and(primitive),
    }
}
