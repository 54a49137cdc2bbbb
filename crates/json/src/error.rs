//! Why a text is refused. Messages quote what was sent, escaped and cut, so they fit a log line.

/// The most characters of the sender's own text that a message repeats.
const QUOTE_MAX: usize = 128;

/// Why [`parse`](crate::parse) refuses a text. Offsets are in bytes from its start.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// It has more bytes than the reader allows.
    #[error("larger than {limit} bytes")]
    TooLarge {
        /// The most bytes allowed.
        limit: usize,
    },
    /// It is not UTF-8; UTF-16 and UTF-32 are not either.
    #[error("not UTF-8 at byte {offset}")]
    NotUtf8 {
        /// Where UTF-8 ends.
        offset: usize,
    },
    /// It begins with a byte order mark, which RFC 8259 §8.1 forbids.
    #[error("begins with a byte order mark")]
    ByteOrderMark,
    /// It has more arrays and objects inside each other than the reader allows.
    #[error("more than {limit} levels deep at byte {offset}")]
    TooDeep {
        /// The most levels allowed.
        limit: usize,
        /// Where the first level too many begins.
        offset: usize,
    },
    /// A `\u` escape is one half of a surrogate pair without the other.
    #[error("lone surrogate at byte {offset}")]
    LoneSurrogate {
        /// Where the escape begins.
        offset: usize,
    },
    /// A number's RFC 8785 form is another number than its text, so readers could disagree.
    #[error("number `{number}` at byte {offset} is not exact")]
    InexactNumber {
        /// The number's text, cut.
        number: String,
        /// Where it begins.
        offset: usize,
    },
    /// An object has a member twice, perhaps with another spelling of the name's escapes.
    #[error("member `{pointer}` occurs twice")]
    DuplicateMember {
        /// RFC 6901 pointer to the member, escaped and cut.
        pointer: String,
    },
    /// Two names of one object differ in case alone.
    #[error("member `{pointer}` differs from another in case alone")]
    CaseTwins {
        /// RFC 6901 pointer to one of the members, escaped and cut.
        pointer: String,
    },
    /// A name that the JSON library takes for a sign of its own, so that the value would be read
    /// in another way when it is read again.
    #[error("member `{pointer}` has a reserved name")]
    Reserved {
        /// RFC 6901 pointer to the member, escaped and cut.
        pointer: String,
    },
    /// Something follows the value.
    #[error("something follows the value (line {line}, column {column})")]
    TrailingBytes {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// It is not JSON.
    #[error("not JSON (line {}, column {})", .0.line(), .0.column())]
    Syntax(#[source] serde_json::Error),
}

/// Why [`from_slice`](crate::from_slice) gives nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The text is refused as JSON.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The text is JSON, but not of the form expected.
    #[error("not of the expected form")]
    Unexpected(#[source] serde_json::Error),
}

/// Makes an RFC 6901 pointer of `path`, fit for a message.
pub(crate) fn pointer<'a>(path: impl Iterator<Item = &'a str>) -> String {
    let mut all = String::new();
    for name in path {
        all.push('/');
        all.extend(
            name.chars().take(QUOTE_MAX).flat_map(char::escape_debug).flat_map(pointer_char),
        );
        if all.len() > QUOTE_MAX {
            break;
        }
    }
    cut(&all)
}

fn pointer_char(char: char) -> impl Iterator<Item = char> {
    let (first, second) = match char {
        '~' => ('~', Some('0')),
        '/' => ('~', Some('1')),
        other => (other, None),
    };
    std::iter::once(first).chain(second)
}

/// The beginning of `text`, fit for a message.
pub(crate) fn cut(text: &str) -> String {
    match text.char_indices().nth(QUOTE_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
