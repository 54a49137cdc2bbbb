//! Annotations: what a policy carries that Cedar does not decide.
//!
//! All of them are read and checked when the set is compiled; an unknown one is an error, so that
//! a misspelt `@obligation` never silently obliges nobody.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Effect, Policy};
use model::{Obligation, Remedy};

use crate::properties::{ALWAYS_PERMITS, NEVER_PERMITS, NEVER_REACHES, PROPERTY};

const KNOWN: [&str; 7] =
    ["control", "description", "id", "mode", "obligation", "property", "remedy"];

/// What only a policy that decides can carry: of a property it would mean nothing.
const OF_DECIDING: [&str; 3] = ["mode", "obligation", "remedy"];

/// The kinds of obligation that enforcement points can discharge.
pub const OBLIGATION_KINDS: [&str; 2] = ["notify", "redact"];

/// The most bytes that an annotation may hold.
const VALUE_MAX: usize = 1_024;

/// What the annotations of one policy say.
#[derive(Debug, Default)]
pub(crate) struct Annotations {
    pub(crate) id: String,
    pub(crate) observe: bool,
    pub(crate) obligations: BTreeSet<Obligation>,
    pub(crate) remedy: Option<Remedy>,
    /// Whether it is something to prove of a set, and no policy of one.
    pub(crate) is_property: bool,
}

/// The annotation of `policy` that is called so. Cedar parses a name that it is asked for, each time.
pub(crate) fn of<'p>(policy: &'p Policy, name: &str) -> Option<&'p str> {
    policy.annotations().find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Reads the annotations of `policy`; the errors are messages.
pub(crate) fn read(policy: &Policy) -> Result<Annotations, Vec<String>> {
    let mut errors = Vec::new();
    let given: BTreeMap<&str, &str> = policy.annotations().collect();
    for (key, value) in &given {
        if !KNOWN.contains(key) {
            errors.push(format!("unknown annotation `@{key}`; known are {}", list(&KNOWN)));
        }
        if value.len() > VALUE_MAX {
            errors.push(format!("`@{key}` is longer than {VALUE_MAX} bytes: shorten it"));
        }
    }
    let mut read = Annotations::default();
    let mut keep = |result: Result<(), String>| errors.extend(result.err());
    keep(id(given.get("id").copied()).map(|id| read.id = id));
    keep(mode(given.get("mode").copied()).map(|observe| read.observe = observe));
    keep(remedy(given.get("remedy").copied(), policy.effect()).map(|it| read.remedy = it));
    let obliged = obligations(given.get("obligation").copied(), policy.effect());
    keep(obliged.map(|it| read.obligations = it));
    keep(control(given.get("control").copied()));
    let property = property(&given, policy.effect());
    keep(property.map(|is_property| read.is_property = is_property));
    if errors.is_empty() { Ok(read) } else { Err(errors) }
}

fn id(value: Option<&str>) -> Result<String, String> {
    let value = value.ok_or("every policy needs an `@id`: write `@id(\"NAME\")` before it")?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:".contains(&byte);
    if (1..=128).contains(&value.len()) && value.bytes().all(allowed) {
        return Ok(value.to_owned());
    }
    let shown: String = value.chars().take(80).flat_map(char::escape_default).collect();
    Err(format!(
        "`{shown}` is not a policy id: expected 1 to 128 of a-z, A-Z, 0-9, `.`, `_`, `-`, `/`, `:`"
    ))
}

fn mode(value: Option<&str>) -> Result<bool, String> {
    match value {
        None => Ok(false),
        Some("observe") => Ok(true),
        Some(other) => Err(format!("unknown mode `{other}`; known is `observe`")),
    }
}

fn remedy(value: Option<&str>, effect: Effect) -> Result<Option<Remedy>, String> {
    let Some(value) = value else { return Ok(None) };
    if effect != Effect::Forbid {
        return Err(
            "`@remedy` says what lifts a forbid, and this is a permit: take it out".to_owned()
        );
    }
    match value {
        "approval" => Ok(Some(Remedy::Approval)),
        "step_up" => Ok(Some(Remedy::StepUp)),
        other => Err(format!("unknown remedy `{other}`; known are `approval`, `step_up`")),
    }
}

/// What the value of `@obligation` says that a policy of this effect owes.
pub(crate) fn obligations(
    value: Option<&str>,
    effect: Effect,
) -> Result<BTreeSet<Obligation>, String> {
    let Some(value) = value else { return Ok(BTreeSet::new()) };
    if effect != Effect::Permit {
        return Err(
            "`@obligation` says what a permit owes, and this is a forbid: take it out".to_owned()
        );
    }
    value.split(';').map(|part| obligation(part.trim())).collect()
}

fn obligation(part: &str) -> Result<Obligation, String> {
    let (kind, argument) = part.split_once(':').unwrap_or((part, ""));
    if !OBLIGATION_KINDS.contains(&kind) {
        return Err(format!("unknown obligation `{kind}`; known are {}", list(&OBLIGATION_KINDS)));
    }
    if argument.trim().is_empty() {
        return Err(format!("obligation `{kind}` needs an argument: `{kind}:ARGUMENT`"));
    }
    Ok(Obligation(format!("{kind}:{}", argument.trim())))
}

/// Whether it is a property.
fn property(given: &BTreeMap<&str, &str>, effect: Effect) -> Result<bool, String> {
    let Some(value) = given.get(PROPERTY) else { return Ok(false) };
    if let Some(name) = OF_DECIDING.into_iter().find(|name| given.contains_key(name)) {
        return Err(format!("`@{name}` means nothing of a property: take it out"));
    }
    let wanted = match *value {
        NEVER_PERMITS | NEVER_REACHES => Effect::Forbid,
        ALWAYS_PERMITS => Effect::Permit,
        other => {
            let known = list(&[NEVER_PERMITS, NEVER_REACHES, ALWAYS_PERMITS]);
            return Err(format!("unknown property `{other}`; known are {known}"));
        }
    };
    if effect == wanted {
        Ok(true)
    } else {
        Err(format!("`{value}` is written as a {wanted}: write `{wanted} (…)`"))
    }
}

fn control(value: Option<&str>) -> Result<(), String> {
    match value {
        Some(value) if value.trim().is_empty() => {
            Err("`@control` names no control: say which, or take it out".to_owned())
        }
        _ => Ok(()),
    }
}

fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
