//! Short texts that are shared, written without memory of their own first.

use std::fmt::{self, Write as _};
use std::sync::Arc;

/// The longest text that is written so, in bytes. Keys of facts are shorter, but for those with long names.
const SHORT_MAX: usize = 160;

/// A text that is being written.
struct Short {
    bytes: [u8; SHORT_MAX],
    length: usize,
}

impl fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        let place = self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// What `text` says.
pub(crate) fn written(text: fmt::Arguments<'_>) -> Arc<str> {
    let mut short = Short { bytes: [0; SHORT_MAX], length: 0 };
    if short.write_fmt(text).is_err() {
        return text.to_string().into();
    }
    str::from_utf8(&short.bytes[..short.length]).expect("it was written as text").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_what_it_says_however_long_it_is() {
        for length in [0, 1, SHORT_MAX - 3, SHORT_MAX - 2, SHORT_MAX - 1, SHORT_MAX, 10_000] {
            for piece in ["", "é", "é/"] {
                let name = "a".repeat(length);
                let expected = format!("{piece}{name}{piece}");
                assert_eq!(&*written(format_args!("{piece}{name}{piece}")), expected);
            }
        }
    }
}
