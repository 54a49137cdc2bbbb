//! Tables as other people's tools exchange them (RFC 4180), read strictly and in one way only, and written
//! so that no spreadsheet calculates.
//!
//! INVARIANT: no cell that [`line`] writes begins as a formula does, whatever the text
//! (`no_cell_is_a_formula`).
//!
//! It knows no IO.

/// The longest table that is read, in bytes.
pub const TABLE_MAX: usize = 512 << 10;

/// The longest field that is read, in bytes.
pub const FIELD_MAX: usize = 1_024;

/// The most fields of one line that are read.
pub const FIELDS_MAX: usize = 64;

/// With what a cell begins that a spreadsheet takes for a formula.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// A line of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which of the file's: the first is 1.
    pub number: usize,
    /// What stands in it.
    pub fields: Vec<String>,
}

/// Why a text is no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTable {
    /// It has more than [`TABLE_MAX`] bytes.
    #[error("the table has more than {TABLE_MAX} bytes")]
    TooLong,
    /// A line has a field that is too long, or too many of them.
    #[error("line {0}: a field has at most {FIELD_MAX} bytes, and a line {FIELDS_MAX} fields")]
    TooLarge(usize),
    /// A line holds a control character: fields are of one line.
    #[error("line {0}: it holds a control character")]
    Control(usize),
    /// A quote stands where none may.
    #[error("line {0}: a quote stands at the beginning and the end of a field, or is doubled")]
    Quote(usize),
}

/// Reads `text` as a table: fields with commas between them, quoted where that is needed, and lines that
/// end with CRLF or LF. A field has no line break.
pub fn parse(text: &str) -> Result<Vec<Line>, NotTable> {
    if text.len() > TABLE_MAX {
        return Err(NotTable::TooLong);
    }
    let whole = text.strip_suffix('\n').unwrap_or(text);
    let lines = whole.split('\n').enumerate();
    let lines = lines.map(|(index, line)| {
        let number = index + 1;
        let fields = fields(line.strip_suffix('\r').unwrap_or(line), number)?;
        Ok(Line { number, fields })
    });
    if text.is_empty() { Ok(Vec::new()) } else { lines.collect() }
}

/// The fields of the line `number`.
fn fields(line: &str, number: usize) -> Result<Vec<String>, NotTable> {
    if line.contains(char::is_control) {
        return Err(NotTable::Control(number));
    }
    let (mut fields, mut rest) = (Vec::new(), line);
    loop {
        let (field, after) = if let Some(quoted) = rest.strip_prefix('"') {
            unquoted(quoted).ok_or(NotTable::Quote(number))?
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let (field, after) = rest.split_at(end);
            if field.contains('"') {
                return Err(NotTable::Quote(number));
            }
            (field.to_owned(), after)
        };
        if field.len() > FIELD_MAX || fields.len() == FIELDS_MAX {
            return Err(NotTable::TooLarge(number));
        }
        fields.push(field);
        if after.is_empty() {
            return Ok(fields);
        }
        rest = after.strip_prefix(',').ok_or(NotTable::Quote(number))?;
    }
}

/// The field of which `quoted` is what follows its first quote, and what follows its last.
fn unquoted(quoted: &str) -> Option<(String, &str)> {
    let (mut field, mut rest) = (String::new(), quoted);
    loop {
        let (before, after) = rest.split_once('"')?;
        field.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None => return Some((field, after)),
        }
    }
}

/// A line of `cells`, with its end. What would be a formula is text, by an apostrophe before it; a control
/// character, of which a cell has none, is a space.
pub fn line<S: AsRef<str>>(cells: impl IntoIterator<Item = S>) -> String {
    let cells = cells.into_iter().map(|text| cell(text.as_ref()));
    cells.collect::<Vec<_>>().join(",") + "\r\n"
}

fn cell(text: &str) -> String {
    let mark = if text.starts_with(FORMULA) { "'" } else { "" };
    let plain = format!("{mark}{}", text.replace(char::is_control, " "));
    if plain.contains([',', '"', ' ']) {
        format!("\"{}\"", plain.replace('"', "\"\""))
    } else {
        plain
    }
}
