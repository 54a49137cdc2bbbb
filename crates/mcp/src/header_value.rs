//! The values of headers that repeat what stands in a body: themselves, or encoded where they are
//! not plain ASCII (MCP 2026-07-28, "Value Encoding").

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;

const START: &str = "=?base64?";
const END: &str = "?=";

/// The value of a header that stands once, or not at all.
pub(crate) fn single(headers: &HeaderMap, name: &str) -> Result<Option<String>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(|text| Some(text.to_owned())).map_err(|_| ()),
        (Some(_), Some(_)) => Err(()),
    }
}

/// The text that a header value stands for: itself, or what `=?base64?…?=` encodes.
pub fn decode_header_value(value: &str) -> Option<String> {
    let Some(encoded) = value.strip_prefix(START).and_then(|v| v.strip_suffix(END)) else {
        return Some(value.to_owned());
    };
    String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
}

/// The header value that stands for `text`.
pub fn encode_header_value(text: &str) -> String {
    let plain = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let edges = text.trim_matches([' ', '\t']) == text;
    if plain && edges && !text.starts_with(START) {
        return text.to_owned();
    }
    format!("{START}{}{END}", STANDARD.encode(text))
}
