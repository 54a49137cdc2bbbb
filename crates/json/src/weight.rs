//! What a value takes in memory, which may be many times its text.

use serde_json::Value;

/// What a member takes beside its name and its value.
const MEMBER: usize = size_of::<String>() + size_of::<u64>();

/// What an object takes at least that is not empty: it has places for four members.
const OBJECT_MIN: usize = 4 * (MEMBER + size_of::<Value>());

/// About how many bytes of memory `value` takes.
pub fn weight(value: &Value) -> usize {
    let inside = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(weight).sum(),
        Value::Object(members) if members.is_empty() => 0,
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| MEMBER + name.len() + weight(value));
            members.sum::<usize>().max(OBJECT_MIN)
        }
    };
    size_of::<Value>() + inside
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn structure_weighs_more_than_its_text() {
        let check = |value: Value, (least, most): (usize, usize)| {
            let (weight, one) = (weight(&value), size_of::<Value>());
            assert!((least * one..=most * one).contains(&weight), "{value}: {weight}");
        };
        check(json!(null), (1, 1));
        check(json!("x".repeat(10 * size_of::<Value>())), (11, 11));
        check(json!([1, 2, 3]), (4, 4));
        check(json!({}), (1, 1));
        check(json!({ "a": 1 }), (5, 8));
        check(json!([{ "a": 1 }, { "a": 1 }, [[]]]), (13, 20));
    }
}
