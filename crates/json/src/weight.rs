//! What a text takes in memory once it is read, which may be many times its length.

use serde_json::Value;

/// What a member takes beside its value and the bytes of its name.
const MEMBER: usize = size_of::<String>() + size_of::<u64>();

/// What an object takes at least that is not empty: it has places for four members.
const OBJECT_MIN: usize = 4 * (MEMBER + size_of::<Value>());

/// What an array takes at least that is not empty.
const ARRAY_MIN: usize = 4 * size_of::<Value>();

/// What a name or a text takes at least.
const TEXT_MIN: usize = 32;

/// How many bytes of memory `text` takes at most, about, if it is JSON and is read: what grows has up to
/// twice the places that it needs. It is found without reading it.
pub fn weight(text: &[u8]) -> usize {
    let (mut weight, mut at) = (size_of::<Value>() + text.len(), 0);
    // Whether what is open is an object, the innermost last. What is deeper than a text may be is not read.
    let mut objects = 0_u128;
    while let Some(byte) = text.get(at) {
        let is_object = objects & 1 == 1;
        weight += match byte {
            b'"' => {
                at = end_of_text(text, at);
                TEXT_MIN
            }
            b'{' => OBJECT_MIN,
            b'[' => ARRAY_MIN,
            b',' if is_object => 2 * (MEMBER + size_of::<Value>()),
            b',' => 2 * size_of::<Value>(),
            _ => 0,
        };
        objects = match byte {
            b'{' => objects << 1 | 1,
            b'[' => objects << 1,
            b'}' | b']' => objects >> 1,
            _ => objects,
        };
        at += 1;
    }
    weight
}

/// Where the text that begins at `at` ends.
fn end_of_text(text: &[u8], mut at: usize) -> usize {
    loop {
        at += 1;
        match text.get(at) {
            Some(b'\\') => at += 1,
            Some(b'"') | None => return at,
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In values.
    fn check(text: &str, (least, most): (usize, usize)) {
        let (weight, one) = (weight(text.as_bytes()), size_of::<Value>());
        assert!((least * one..=most * one).contains(&weight), "{text}: {weight}");
    }

    #[test]
    fn structure_weighs_more_than_its_text() {
        check("null", (1, 2));
        check(&format!("{:?}", "x".repeat(10 * size_of::<Value>())), (11, 12));
        check("[1]", (5, 6));
        check("[1,2,3,4,5]", (9, 14));
        check("[[1],[2]]", (13, 16));
        check(r#"{"a":1}"#, (5, 9));
        check(r#"[{"a":1,"b":2},3]"#, (10, 20));
    }

    #[test]
    fn what_is_in_a_text_is_no_structure() {
        check(r#""[[[[{{{{,,,,""#, (1, 2));
        check(r#""\"[[[[{{{{,,,,""#, (1, 2));
        check(r#"["\\",[1]]"#, (11, 13));
    }
}
