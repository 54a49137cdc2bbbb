//! Tables: what reviewers' tools send.

use super::text;

/// A table: what is read of it is read in the same way again once it is written, and no cell of that is a
/// formula.
pub fn table(bytes: &[u8]) -> bool {
    let Some(Ok(lines)) = text(bytes).map(csv::parse) else { return false };
    for line in &lines {
        let written = csv::line(&line.fields);
        let Ok(again) = csv::parse(&written) else { continue };
        assert_eq!(again.len(), 1, "{written:?}");
        for (cell, was) in again[0].fields.iter().zip(&line.fields) {
            assert!(!cell.starts_with(['=', '+', '-', '@']), "{written:?}");
            assert_eq!(
                cell.strip_prefix('\'').unwrap_or(cell),
                was.strip_prefix('\'').unwrap_or(was)
            );
        }
    }
    true
}
