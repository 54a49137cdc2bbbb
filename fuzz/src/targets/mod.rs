//! The parsers of untrusted bytes, each with what it promises.

pub mod json;
pub mod log;
pub mod mcp;
pub mod oauth;
pub mod pdp;
pub mod records;

/// Takes any bytes, says whether they were accepted, and panics if a promise does not hold.
pub type Target = fn(&[u8]) -> bool;

/// The text of `bytes`, where a parser takes text.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// Whether `bytes` are text that `T` is parsed from; if so, it is written back as it was read.
fn is_written_back<T: std::str::FromStr + ToString>(bytes: &[u8]) -> bool {
    let Some(text) = text(bytes) else { return false };
    let Ok(parsed) = text.parse::<T>() else { return false };
    assert_eq!(parsed.to_string(), text);
    true
}
