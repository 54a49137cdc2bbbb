//! What a value takes in memory, which may be many times its text.

use serde_json::Value;

/// What a member takes beside its name and its value.
const MEMBER: usize = size_of::<String>() + size_of::<u64>();

/// What a text takes at least that is not empty.
const TEXT_MIN: usize = 32;

/// What an object takes at least that is not empty: it has places for four members.
const OBJECT_MIN: usize = 4 * (MEMBER + size_of::<Value>());

/// About how many bytes of memory `value` takes.
pub fn weight(value: &Value) -> usize {
    let inside = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => of_text(text),
        Value::Array(values) => {
            let free = values.capacity() - values.len();
            values.iter().map(weight).sum::<usize>() + free * size_of::<Value>()
        }
        Value::Object(members) if members.is_empty() => 0,
        Value::Object(members) => {
            let members =
                members.iter().map(|(name, value)| MEMBER + of_text(name) + weight(value));
            members.sum::<usize>().max(OBJECT_MIN)
        }
    };
    size_of::<Value>() + inside
}

fn of_text(text: &String) -> usize {
    if text.is_empty() { 0 } else { text.capacity().max(TEXT_MIN) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, parse};

    #[test]
    fn structure_weighs_more_than_its_text() {
        let check = |text: &str, (least, most): (usize, usize)| {
            let value = parse(text.as_bytes(), Limits::default()).expect("JSON");
            let (weight, one) = (weight(&value), size_of::<Value>());
            assert!((least * one..=most * one).contains(&weight), "{text}: {weight}");
        };
        check("null", (1, 1));
        check(&format!("{:?}", "x".repeat(10 * size_of::<Value>())), (11, 11));
        check("[]", (1, 1));
        check("[1]", (5, 5));
        check("[1,2,3,4,5]", (9, 9));
        check("[[1],[2]]", (13, 13));
        check("{}", (1, 1));
        check(r#"{"a":1}"#, (5, 8));
    }
}
