//! What varies in a case: it is asked once for each combination.
//!
//! A case that varies in nothing would be asked never, or once and by accident: it is an error.

use serde_json::{Map, Value};

use super::{CASES_MAX, NAME};

/// The member of a case that holds what varies.
const VARY: &str = "vary";

/// A case once for each combination of what varies in it, its name saying which.
pub(super) fn varied(mut case: Map<String, Value>) -> Result<Vec<Map<String, Value>>, String> {
    let Some(vary) = case.remove(VARY) else { return Ok(vec![case]) };
    let vary = vary.as_object().filter(|vary| !vary.is_empty());
    let vary = vary.ok_or("`vary` says of no member which values it has")?;
    let mut all = vec![case];
    for (member, values) in vary {
        let values = values.as_array().cloned().unwrap_or_else(|| vec![values.clone()]);
        if values.is_empty() {
            return Err(format!("`vary` gives `{member}` no value"));
        }
        all =
            all.iter().flat_map(|case| values.iter().map(|it| with(case, (member, it)))).collect();
        all.truncate(CASES_MAX + 1);
    }
    Ok(all)
}

/// The same case with this `value`, and its name saying so.
fn with(case: &Map<String, Value>, (member, value): (&String, &Value)) -> Map<String, Value> {
    let mut case = case.clone();
    let name = case.get(NAME).and_then(Value::as_str).unwrap_or_default();
    let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let name = format!("{name} [{member}: {shown}]");
    case.insert(NAME.to_owned(), name.into());
    case.insert(member.clone(), value.clone());
    case
}
