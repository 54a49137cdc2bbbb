//! The file of anchors: checkpoints, one after the other, in a file that only grows.
//!
//! Each entry is `LF "anchor/v1 " LENGTH LF NOTE`: a line that says how many bytes the signed note
//! has, and the note. The first line feed ends whatever an interrupted write left behind, so a torn
//! entry costs itself alone. Nothing in the file is believed but for the signatures in it.

/// What the line before each note begins with.
const MARK: &str = "anchor/v1 ";

/// The most bytes of a note in the file.
const NOTE_MAX: usize = 64 << 10;

/// The bytes that append `note` to a file of anchors.
pub fn anchor_entry(note: &[u8]) -> Vec<u8> {
    let mut entry = format!("\n{MARK}{}\n", note.len()).into_bytes();
    entry.extend_from_slice(note);
    entry
}

/// Whether `bytes` are a file of anchors, and not a single checkpoint.
pub(crate) fn is_anchors(bytes: &[u8]) -> bool {
    let first = bytes.split(|byte| *byte == b'\n').find(|line| !line.is_empty());
    first.is_some_and(|line| line.starts_with(MARK.as_bytes()))
}

/// The notes in a file of anchors, oldest first, and how many entries are not whole.
///
/// What comes after a line that is a mark is tried as a note; if it is none by `is_note`, reading
/// goes on at the next line, so that no entry can hide another.
pub(crate) fn anchored(bytes: &[u8], is_note: impl Fn(&[u8]) -> bool) -> (Vec<&[u8]>, usize) {
    let (mut notes, mut torn, mut rest) = (Vec::new(), 0, bytes);
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        let Some(length) = line.strip_prefix(MARK.as_bytes()) else { continue };
        let length = std::str::from_utf8(length).ok().and_then(|text| text.parse().ok());
        let whole = length.filter(|length| *length <= NOTE_MAX);
        match whole.and_then(|length| rest.split_at_checked(length)) {
            Some((note, after)) if is_note(note) => {
                notes.push(note);
                rest = after;
            }
            _ => torn += 1,
        }
    }
    (notes, torn)
}

#[cfg(test)]
mod tests {
    use super::{anchor_entry, anchored, is_anchors};

    fn read(bytes: &[u8]) -> (Vec<String>, usize) {
        let (notes, torn) = anchored(bytes, |note| note.ends_with(b"!\n"));
        (notes.into_iter().map(|note| String::from_utf8(note.to_vec()).unwrap()).collect(), torn)
    }

    #[test]
    fn entries_are_read_as_they_were_appended() {
        let file = [anchor_entry(b"one!\n"), anchor_entry(b"two\n\nlines!\n")].concat();
        assert!(is_anchors(&file));
        assert!(!is_anchors(b"example.com/log\n5\n"));
        assert_eq!(read(&file), (vec!["one!\n".into(), "two\n\nlines!\n".into()], 0));
        assert_eq!(read(b""), (Vec::new(), 0));
    }

    #[test]
    fn a_torn_entry_costs_itself_alone() {
        let (one, two) = (anchor_entry(b"one!\n"), anchor_entry(b"two!\n"));
        for cut in 1..one.len() {
            let file = [&one[..cut], &two].concat();
            let read = read(&file).0;
            assert_eq!(read.last().map(String::as_str), Some("two!\n"), "cut at {cut}");
        }
    }

    #[test]
    fn no_entry_can_hide_another() {
        let two = anchor_entry(b"two!\n");
        for mark in
            ["\nanchor/v1 99999\n", "\nanchor/v1 3\n", "\nanchor/v1 x\n", "\nanchor/v1 20\n"]
        {
            let file = [mark.as_bytes(), &two].concat();
            assert_eq!(read(&file), (vec!["two!\n".into()], 1), "{mark:?}");
        }
    }
}
