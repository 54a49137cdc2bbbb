//! Cases that vary: one is written, and each combination of what varies in it is decided.

use serde_json::{Map, Value};

use super::CASES_MAX;

/// The member of a case that holds what varies.
const VARY: &str = "vary";

/// A case once for each combination of what varies in it, its name saying which.
pub(super) fn varied(case: &Map<String, Value>) -> Vec<Map<String, Value>> {
    let mut case = case.clone();
    let Some(Value::Object(vary)) = case.remove(VARY) else { return vec![case] };
    let mut all = vec![case];
    for (member, values) in &vary {
        let values = values.as_array().cloned().unwrap_or_else(|| vec![values.clone()]);
        let with = |case: &Map<String, Value>, value: &Value| {
            let mut case = case.clone();
            let name = case.get("name").and_then(Value::as_str).unwrap_or_default();
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let name = format!("{name} [{member}: {shown}]");
            case.insert("name".to_owned(), name.into());
            case.insert(member.clone(), value.clone());
            case
        };
        all = all.iter().flat_map(|case| values.iter().map(|it| with(case, it))).collect();
        all.truncate(CASES_MAX + 1);
    }
    all
}
