//! The files beside the policies of a set, as they are written: YAML, in which arguments are named by pointers.

use serde::de::DeserializeOwned;

use crate::report::Finding;

/// The longest pointer to an argument, in bytes.
const POINTER_MAX: usize = 256;

/// Reads `text`, which stands in `file`: what is wrong is told with its line, and with the page on the file.
pub(crate) fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Finding> {
    let page = file.trim_end_matches(".yaml");
    serde_saphyr::from_str(text).map_err(|error| misread((file, page), &error))
}

/// Why `file`, on which there is the `page` of the documentation, cannot be read.
pub fn misread((file, page): (&str, &str), error: &serde_saphyr::Error) -> Finding {
    let line = error.location().and_then(|it| usize::try_from(it.line()).ok());
    let message = error.without_snippet().to_string();
    let message = message.lines().next().unwrap_or_default();
    Finding::at(file, line, format!("{message}: see docs/{page}.md"))
}

/// Whether `text` is a JSON pointer (RFC 6901) to an argument.
///
/// # Errors
/// Why it is none.
pub fn is_pointer(text: &str) -> Result<(), String> {
    if text.starts_with('/') && text.len() <= POINTER_MAX {
        return Ok(());
    }
    let shown = text.escape_default();
    Err(format!("`{shown}` is no JSON pointer to an argument: write `/NAME`"))
}
