//! Splits a text into its policies without parsing them.
//!
//! A `;` ends a policy wherever it is no part of a string or comment: Cedar's syntax has it nowhere else.
//! What is wrong within a policy is for Cedar's parser to say, which is handed every one of them; nothing of
//! the text is left out but comments and white space between policies.

use std::collections::BTreeMap;

use crate::report::line_of;

/// A policy in its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    /// Where it begins, in bytes.
    pub(crate) offset: usize,
    /// From its first annotation or word to its `;`, or to the end of the text.
    pub(crate) text: &'a str,
}

/// The policies of all `files`, in order, each with its file and the line, counted from 1, on which it begins.
pub(crate) fn placed(
    files: &BTreeMap<String, String>,
) -> impl Iterator<Item = (&str, usize, &str)> {
    files.iter().flat_map(|(file, text)| {
        in_lines(text).map(move |(line, policy)| (file.as_str(), line, policy))
    })
}

/// The policies of `text`, in order, each with the line, counted from 1, on which it begins.
pub(crate) fn in_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let (mut from, mut line) = (0, 1);
    split(text).into_iter().map(move |Piece { offset, text: policy }| {
        // Counted on from the policy before, so that a long file takes linear time.
        line += line_of(&text[from..], offset - from) - 1;
        from = offset;
        (line, policy)
    })
}

/// The policies of `text`, in order.
pub(crate) fn split(text: &str) -> Vec<Piece<'_>> {
    let bytes = text.as_bytes();
    let mut pieces = Vec::new();
    let (mut begun, mut at) = (None, 0);
    while let Some(byte) = bytes.get(at) {
        let end = match byte {
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                at = after_comment(bytes, at);
                continue;
            }
            b'"' => after_string(bytes, at),
            _ => at + 1,
        };
        if begun.is_none() && !byte.is_ascii_whitespace() {
            begun = Some(at);
        }
        if let (b';', Some(offset)) = (byte, begun) {
            pieces.push(Piece { offset, text: &text[offset..end] });
            begun = None;
        }
        at = end;
    }
    pieces.extend(begun.map(|offset| Piece { offset, text: &text[offset..] }));
    pieces
}

/// Where the line of the comment at `at` ends.
pub(crate) fn after_comment(bytes: &[u8], at: usize) -> usize {
    let ends = |byte: &u8| matches!(byte, b'\n' | b'\r');
    bytes[at..].iter().position(ends).map_or(bytes.len(), |length| at + length)
}

/// Behind the string that begins at `at`, or behind the text if it does not end.
pub(crate) fn after_string(bytes: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while let Some(byte) = bytes.get(end) {
        end += 1;
        match byte {
            b'"' => return end,
            b'\\' => end += 1,
            _ => {}
        }
    }
    bytes.len()
}
