//! What schema parts declare, and under which names.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use cedar_policy::SchemaFragment;
use serde_json::Value;

use crate::limits::is_short;
use crate::nesting::{is_in_word, is_shallow, tokens};
use crate::report::{Said, parsed};
use crate::schema::{BASE, UNKNOWN_INPUT, UNKNOWN_PROVENANCE, chain};

/// The names that no schema part declares, in a namespace or in none: those of the base schema, of what stands for what is
/// not known yet, and of Cedar's own types. Cedar would take such a type for what is meant there, or refuse both together.
static TAKEN: LazyLock<BTreeSet<&'static str>> = LazyLock::new(|| {
    let cedar = ["Bool", "Long", "String", "datetime", "decimal", "duration", "ipaddr"];
    let own = [UNKNOWN_INPUT, UNKNOWN_PROVENANCE].into_iter().chain(cedar);
    declared(&BASE).map(|(_, name)| name).chain(own).collect()
});

/// What a schema part declares, under `names` that nothing else has; without these, as earlier builds read one: under any
/// names, and of any length. Else what is wrong with it, and at which byte, if that is known.
///
/// INVARIANT: no schema part says what a word of the base schema means
/// (`n_094_no_schema_part_says_what_a_word_means`). Else what is proved, and what cannot fail, would be so of other acts
/// than are asked for.
pub(crate) fn extra_part(
    text: &str,
    names: Option<&mut BTreeSet<String>>,
) -> Result<(SchemaFragment, Value), Said> {
    if names.is_some() {
        is_short(text, "schema parts")?;
    }
    // What a set is of stands in brackets, too.
    let shallow = is_shallow(&text.replace('<', "(").replace('>', ")"));
    shallow.map_err(|(at, why)| (Some(at), why))?;
    let (fragment, _warnings) =
        SchemaFragment::from_cedarschema_str(text).map_err(|error| parsed(&error))?;
    let syntax = fragment.clone().to_json_value().map_err(|error| (None, chain(&error)))?;
    let mut namespaces = syntax.as_object().into_iter().flatten();
    if namespaces.any(|(_, part)| part["actions"].as_object().is_some_and(|it| !it.is_empty())) {
        let why = "a schema part declares types; actions come from methods and tools";
        return Err((action_at(text), why.to_owned()));
    }
    if let Some(names) = names {
        for (namespace, name) in declared(&syntax) {
            if TAKEN.contains(name) || !names.insert(format!("{namespace}::{name}")) {
                let why =
                    format!("`{name}` names something else already: give the type another name");
                return Err((declared_at(text, name), why));
            }
        }
    }
    Ok((fragment, syntax))
}

/// The types that `schema` (JSON form) declares, each after its namespace, which is empty beside all namespaces.
fn declared(schema: &Value) -> impl Iterator<Item = (&str, &str)> {
    schema.as_object().into_iter().flatten().flat_map(|(namespace, part)| {
        let kinds = ["commonTypes", "entityTypes"].into_iter();
        let kinds = kinds.filter_map(move |kind| part[kind].as_object());
        kinds.flatten().map(move |(name, _)| (namespace.as_str(), name.as_str()))
    })
}

/// At which byte of the schema part `text`, which Cedar could read, it declares an action first: where a declaration can
/// begin, that word, and a name. Members, types and annotations can be called so, too.
fn action_at(text: &str) -> Option<usize> {
    let (mut before, mut last, mut found) = (&b""[..], &b""[..], None);
    for (at, token) in tokens(text) {
        let is_name = token.first().is_some_and(|it| is_in_word(*it) || *it == b'"');
        if found.is_some() && is_name {
            return found;
        }
        // Behind a declaration, at the start of a namespace, behind one, behind an annotation, or behind its own word.
        let begins =
            before == b"@" || matches!(last, b"" | b";" | b"{" | b"}" | b")" | b"external");
        found = (begins && token == b"action").then_some(at);
        (before, last) = (last, token);
    }
    None
}

/// At which byte of the schema part `text` the type `name` is declared, as far as that is seen.
pub(crate) fn declared_at(text: &str, name: &str) -> Option<usize> {
    let mut last = &b""[..];
    let declared = tokens(text).find(|&(_, token)| {
        let before = std::mem::replace(&mut last, token);
        token == name.as_bytes() && matches!(before, b"entity" | b"type" | b",")
    });
    declared.map(|(at, _)| at)
}
