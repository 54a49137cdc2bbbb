//! Finds what a JSON parser would let pass: encoding, depth, lone surrogates, inexact numbers.
//!
//! On a text that is JSON it sees the same tokens as the parser that reads it next. On one that is
//! not it may see anything, for the parser refuses that text.

use crate::error::{ParseError, cut};
use crate::number::{is_exact_number, is_number};

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The text of `bytes`, if they are UTF-8 without a byte order mark.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, ParseError> {
    if bytes.starts_with(BYTE_ORDER_MARK) {
        return Err(ParseError::ByteOrderMark);
    }
    let text = std::str::from_utf8(bytes);
    let text = text.map_err(|error| ParseError::NotUtf8 { offset: error.valid_up_to() })?;
    // JSON begins with an ASCII character, so a NUL this early is the other half of a UTF-16 or
    // UTF-32 one, and would otherwise be reported as a matter of syntax.
    match bytes.iter().take(4).position(|byte| *byte == 0) {
        Some(offset) => Err(ParseError::NotUtf8 { offset }),
        None => Ok(text),
    }
}

/// Checks the tokens of `text` that the parser does not.
pub(crate) fn scan(text: &str, depth_limit: usize) -> Result<(), ParseError> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = string_end(bytes, at + 1)?;
                continue;
            }
            b'-' | b'0'..=b'9' => {
                let end = number_end(bytes, at);
                check_number(&text[at..end], at)?;
                at = end;
                continue;
            }
            b'{' | b'[' => {
                depth += 1;
                if depth > depth_limit {
                    return Err(ParseError::TooDeep { limit: depth_limit, offset: at });
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

fn number_end(bytes: &[u8], start: usize) -> usize {
    let inside = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    bytes[start..].iter().position(|byte| !inside(byte)).map_or(bytes.len(), |len| start + len)
}

fn check_number(number: &str, offset: usize) -> Result<(), ParseError> {
    if is_exact_number(number) || !is_number(number) {
        return Ok(());
    }
    Err(ParseError::InexactNumber { number: cut(number), offset })
}

/// Where the string whose content begins at `at` is over.
fn string_end(bytes: &[u8], mut at: usize) -> Result<usize, ParseError> {
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return Ok(at + 1),
            b'\\' => at = escape_end(bytes, at)?,
            _ => at += 1,
        }
    }
    Ok(at)
}

/// Where the escape that begins at `at` is over, a surrogate pair being one.
fn escape_end(bytes: &[u8], at: usize) -> Result<usize, ParseError> {
    match unit(bytes, at) {
        None => Ok(at + 2),
        Some(0xD800..=0xDBFF) if matches!(unit(bytes, at + 6), Some(0xDC00..=0xDFFF)) => {
            Ok(at + 12)
        }
        Some(0xD800..=0xDFFF) => Err(ParseError::LoneSurrogate { offset: at }),
        Some(_) => Ok(at + 6),
    }
}

/// The UTF-16 unit that a `\u` escape at `at` names.
fn unit(bytes: &[u8], at: usize) -> Option<u16> {
    let hex = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    hex.iter().try_fold(0, |unit: u16, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(unit << 4 | u16::try_from(digit).ok()?)
    })
}
