//! Strict JSON.

use json::{Limits, canonical, is_exact_number, parse};
use serde_json::Value;

/// Limits as small as those of most readers.
const LIMITS: Limits = Limits { bytes: 16 << 10, depth: 32 };

/// What is accepted has one reading, also to another parser, and one canonical form.
pub fn strict(bytes: &[u8]) -> bool {
    let Ok(value) = parse(bytes, LIMITS) else { return false };
    let text = canonical(&value);
    let again =
        parse(&text, Limits { bytes: usize::MAX, ..LIMITS }).expect("canonical is accepted");
    assert_eq!(again, value);
    assert_eq!(canonical(&again), text);
    let lax: Value = serde_json::from_slice(bytes).expect("others accept it too");
    assert_eq!(canonical(&lax), text);
    true
}

/// A number is exact exactly if it is accepted as a text of its own.
pub fn number(bytes: &[u8]) -> bool {
    let Some(text) = super::text(bytes) else { return false };
    let exact = is_exact_number(text);
    let limits = Limits { bytes: usize::MAX, ..LIMITS };
    let read = parse(bytes, limits).ok().filter(Value::is_number);
    let spaced = text.trim_matches([' ', '\n', '\t', '\r']) != text;
    assert!(spaced || exact == read.is_some(), "{text}");
    exact
}
