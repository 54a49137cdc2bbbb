//! What varies in a case: it is asked once for each combination.
//!
//! A case that varies in nothing would be asked never, or once and by accident: it is an error.

use serde_json::{Map, Value};

use super::NAME;

/// The member of a case that holds what varies.
pub(super) const VARY: &str = "vary";

/// How many combinations there are of what a case says under [`VARY`]; one, if that says nothing that varies.
pub(super) fn combinations(vary: Option<&Value>) -> usize {
    let Some(Value::Object(members)) = vary else { return 1 };
    let of_one = |values: &Value| values.as_array().map_or(1, Vec::len);
    members.values().map(of_one).fold(1, usize::saturating_mul).max(1)
}

/// A case, with what varies in it. Its combinations are made one by one: together they may be large.
pub(super) struct Varied {
    case: Map<String, Value>,
    /// The members that vary, each with its values, of which there is one at least.
    members: Vec<(String, Vec<Value>)>,
}

impl Varied {
    /// What varies in `case`.
    pub(super) fn of(mut case: Map<String, Value>) -> Result<Self, String> {
        let Some(vary) = case.remove(VARY) else { return Ok(Self { case, members: Vec::new() }) };
        let vary = match vary {
            Value::Object(vary) if !vary.is_empty() => vary,
            _ => return Err("`vary` says of no member which values it has".to_owned()),
        };
        let mut members = Vec::new();
        for (member, values) in vary {
            let values = match values {
                Value::Array(values) => values,
                value => vec![value],
            };
            if values.is_empty() {
                return Err(format!("`vary` gives `{member}` no value"));
            }
            members.push((member, values));
        }
        Ok(Self { case, members })
    }

    /// How many combinations there are.
    pub(super) fn count(&self) -> usize {
        self.members.iter().fold(1, |count, (_, values)| count.saturating_mul(values.len()))
    }

    /// The case once for each combination, its name saying which; what stands last varies first.
    pub(super) fn all(&self) -> impl Iterator<Item = Map<String, Value>> {
        (0..self.count()).map(|combination| self.at(combination))
    }

    fn at(&self, combination: usize) -> Map<String, Value> {
        let (mut case, mut rest) = (self.case.clone(), combination);
        let mut chosen = Vec::new();
        for (member, values) in self.members.iter().rev() {
            chosen.push((member, &values[rest % values.len()]));
            rest /= values.len();
        }
        let mut name = case.get(NAME).and_then(Value::as_str).unwrap_or_default().to_owned();
        for (member, value) in chosen.into_iter().rev() {
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            name = format!("{name} [{member}: {shown}]");
            case.insert(member.clone(), value.clone());
        }
        if !self.members.is_empty() {
            case.insert(NAME.to_owned(), name.into());
        }
        case
    }
}
