//! Validates a call's arguments against the tool's pinned input schema.
//!
//! A schema comes from an untrusted server. It is never fetched from anywhere, its regular
//! expressions may backtrack only so far, and it must unfold to a bounded size: a recursive schema
//! is refused, because what it costs to check depends on the arguments alone.

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

/// The most nodes that a schema may have once every `$ref` is followed.
pub const SCHEMA_NODES_MAX: usize = 20_000;

/// The deepest that a schema may nest once every `$ref` is followed.
const SCHEMA_DEPTH_MAX: usize = 64;

/// The most steps back that one regular expression may take on one argument.
const BACKTRACK_MAX: usize = 100_000;

/// The most bytes that one compiled regular expression may take.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// The most bytes of a validation message that are kept.
const MESSAGE_MAX: usize = 300;

/// Arguments that the tool's input schema refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", if .pointer.is_empty() { String::new() } else { format!("`{}`: ", .pointer) })]
pub struct InvalidArguments {
    /// Where, as a JSON pointer; empty for the arguments as a whole.
    pub pointer: String,
    /// What is wrong there.
    pub message: String,
}

/// Compiles `schema`, or says why it cannot be used.
pub(crate) fn compile(schema: &Value) -> Result<Validator, String> {
    build(schema).map_err(|why| format!("its input schema {why}"))
}

fn build(schema: &Value) -> Result<Validator, String> {
    let mut left = SCHEMA_NODES_MAX;
    unfold(schema, schema, 0, &mut left)?;
    let patterns =
        PatternOptions::fancy_regex().backtrack_limit(BACKTRACK_MAX).size_limit(REGEX_BYTES_MAX);
    let mut options = jsonschema::options().offline().with_pattern_options(patterns);
    if schema.get("$schema").is_none() {
        options = options.with_draft(Draft::Draft202012);
    }
    options.build(schema).map_err(|error| format!("is none: {}", short(&error.to_string())))
}

/// Validates `arguments`; the first thing that is wrong is told.
pub(crate) fn validate(schema: &Validator, arguments: &Value) -> Result<(), InvalidArguments> {
    schema.validate(arguments).map_err(|error| InvalidArguments {
        pointer: error.instance_path().to_string(),
        // The value itself is not repeated: arguments stay out of messages and logs.
        message: short(&error.masked().to_string()),
    })
}

/// Walks a schema with every `$ref` followed, as far as the limits allow.
fn unfold(node: &Value, root: &Value, depth: usize, left: &mut usize) -> Result<(), String> {
    let Some(rest) = left.checked_sub(1) else {
        return Err(format!("unfolds to more than {SCHEMA_NODES_MAX} nodes"));
    };
    *left = rest;
    if depth > SCHEMA_DEPTH_MAX {
        return Err(format!("is recursive, or nests deeper than {SCHEMA_DEPTH_MAX}"));
    }
    match node {
        Value::Array(items) => items.iter().try_for_each(|it| unfold(it, root, depth + 1, left)),
        Value::Object(members) => {
            members.iter().try_for_each(|member| unfold_keyword(member, root, depth, left))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn unfold_keyword(
    (keyword, value): (&String, &Value),
    root: &Value,
    depth: usize,
    left: &mut usize,
) -> Result<(), String> {
    match (keyword.as_str(), value) {
        ("$dynamicRef" | "$recursiveRef" | "$dynamicAnchor", _) => Err(format!("uses `{keyword}`")),
        ("$id" | "id", Value::String(_)) if depth > 0 => {
            Err(format!("uses `{keyword}` below its root"))
        }
        ("$ref", Value::String(target)) => {
            let local = target.strip_prefix('#').and_then(|path| root.pointer(path));
            let local = local.ok_or_else(|| format!("refers to `{}`", short(target)))?;
            unfold(local, root, depth + 1, left)
        }
        // Values, not schemas: what looks like a keyword in them is none.
        ("const" | "default" | "enum" | "examples", _) => Ok(()),
        // The keys of these are names, not keywords.
        (
            "properties" | "patternProperties" | "dependentSchemas" | "dependencies" | "$defs"
            | "definitions",
            Value::Object(named),
        ) => named.values().try_for_each(|it| unfold(it, root, depth + 1, left)),
        _ => unfold(value, root, depth + 1, left),
    }
}

fn short(message: &str) -> String {
    let mut end = message.len().min(MESSAGE_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message[..end].to_owned()
}
