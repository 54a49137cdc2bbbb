//! Writes RFC 8785 (JCS): one byte sequence per value.

use std::cmp::Ordering;

use serde::Serialize;
use serde_json::{Map, Number, Value};

use crate::write;

/// The greatest integer up to which all integers are doubles, 2^53.
const EXACT_INTEGERS_END: u64 = 1 << 53;

/// Room for a record of usual size, so that writing one allocates once.
pub(crate) const USUAL_BYTES: usize = 512;

/// The canonical form of `value`.
///
/// A number is written as the double nearest to it; for values that [`parse`](crate::parse) gives,
/// that is the number itself.
pub fn canonical(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(USUAL_BYTES);
    write_value(&mut out, value);
    out
}

/// The canonical form of `value`, whose type is one of ours and always is JSON.
///
/// # Panics
///
/// If `value` has no JSON form: a map with keys that are no text, or a failing `Serialize`.
pub fn canonical_of<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    write::written(value).expect("a vocabulary type has a JSON form")
}

pub(crate) fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(out, number),
        Value::String(text) => write_string(out, text),
        Value::Array(elements) => write_array(out, elements),
        Value::Object(members) => write_object(out, members),
    }
}

pub(crate) fn write_number(out: &mut Vec<u8>, number: &Number) {
    let magnitude = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
    if magnitude.is_some_and(|magnitude| magnitude <= EXACT_INTEGERS_END) {
        return write_plain(out, number);
    }
    let value = number.as_f64().expect("a JSON number is a finite double");
    out.extend_from_slice(ryu_js::Buffer::new().format_finite(value).as_bytes());
}

/// `serde_json` escapes as RFC 8785 §3.2.2.2 does: the short escapes, `\u00xx`, nothing else. Most texts
/// need no escape, and are written as they are.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    if needs_escapes(text) {
        return write_plain(out, text);
    }
    out.reserve(text.len() + 2);
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Whether something of `text` is escaped. It looks at all of it: that takes many bytes at a time, where an
/// early end would take one after the other.
fn needs_escapes(text: &str) -> bool {
    let is_escaped = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    text.bytes().fold(0, |found, byte| found | u8::from(is_escaped(byte))) != 0
}

fn write_plain<T: Serialize + ?Sized>(out: &mut Vec<u8>, scalar: &T) {
    serde_json::to_writer(out, scalar).expect("writing a scalar to memory does not fail");
}

fn write_array(out: &mut Vec<u8>, elements: &[Value]) {
    out.push(b'[');
    for (index, element) in elements.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_value(out, element);
    }
    out.push(b']');
}

fn write_object(out: &mut Vec<u8>, members: &Map<String, Value>) {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_unstable_by(|(a, _), (b, _)| by_units(a, b));
    out.push(b'{');
    for (index, (name, value)) in members.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(out, name);
        out.push(b':');
        write_value(out, value);
    }
    out.push(b'}');
}

/// RFC 8785 §3.2.3 sorts by UTF-16 units, which is not the order of UTF-8 beyond U+FFFF: what is there is written
/// with surrogates, which come before U+E000 to U+FFFF. Of these UTF-8 begins with EE or EF.
pub(crate) fn by_units(a: &str, b: &str) -> Ordering {
    let place = |byte: u8| if matches!(byte, 0xee | 0xef) { byte + 7 } else { byte };
    let differing = a.bytes().zip(b.bytes()).find(|(a, b)| a != b);
    differing.map_or_else(|| a.len().cmp(&b.len()), |(a, b)| place(a).cmp(&place(b)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Names with characters from where encodings change, and where their orders part.
    const NAMES: &str = "[ab\u{7f}-\u{81}\u{7ff}-\u{801}\u{d7fe}\u{d7ff}\u{e000}-\u{f000}\
                         \u{ffff}\u{10000}\u{10001}\u{10ffff}]{0,3}";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_096))]

        #[test]
        fn names_are_in_the_order_of_their_units(a in NAMES, b in NAMES) {
            prop_assert_eq!(by_units(&a, &b), a.encode_utf16().cmp(b.encode_utf16()));
        }
    }
}
