//! Tables: one reading each, and none in which a spreadsheet calculates.

use csv::{FIELD_MAX, FIELDS_MAX, NotTable, TABLE_MAX, line, parse};
use proptest::prelude::*;

fn read(text: &str) -> Result<Vec<Vec<String>>, NotTable> {
    Ok(parse(text)?.into_iter().map(|line| line.fields).collect())
}

#[test]
fn tables_have_one_reading() {
    let check = |text: &str, expected: Result<&[&[&str]], NotTable>| {
        let expected = expected.map(|lines| lines.iter().map(|line| line.to_vec()).collect());
        let read = read(text);
        let read = read.as_ref().map(|lines| {
            let texts = |line: &'_ Vec<String>| line.iter().map(String::clone).collect::<Vec<_>>();
            lines.iter().map(texts).collect::<Vec<_>>()
        });
        let expected: Result<Vec<Vec<&str>>, _> = expected;
        let expected = expected.map(|lines| {
            lines.into_iter().map(|line| line.into_iter().map(str::to_owned).collect()).collect()
        });
        assert_eq!(read.map_err(|wrong| *wrong), expected, "{text:?}");
    };
    check("", Ok(&[]));
    check("a,b", Ok(&[&["a", "b"]]));
    check("a,b\r\n,\n", Ok(&[&["a", "b"], &["", ""]]));
    check("\"a,\"\"b\"\"\",c\n", Ok(&[&["a,\"b\"", "c"]]));
    check("a\n\nb\n", Ok(&[&["a"], &[""], &["b"]]));
    check("a\n\"b", Err(NotTable::Quote(2)));
    check("a\"b", Err(NotTable::Quote(1)));
    check("\"a\"b", Err(NotTable::Quote(1)));
    check("\"a\nb\"", Err(NotTable::Quote(1)));
    check("a\nb\tc", Err(NotTable::Control(2)));
    check("a\rb", Err(NotTable::Control(1)));
    check("\u{0}", Err(NotTable::Control(1)));
}

#[test]
fn i_18_tables_are_read_up_to_their_limits() {
    let long = |bytes: usize| "x".repeat(bytes);
    assert!(parse(&long(FIELD_MAX)).is_ok());
    assert_eq!(parse(&long(FIELD_MAX + 1)), Err(NotTable::TooLarge(1)));
    assert!(parse(&",".repeat(FIELDS_MAX - 1)).is_ok());
    assert_eq!(parse(&",".repeat(FIELDS_MAX)), Err(NotTable::TooLarge(1)));
    assert!(parse(&"\n".repeat(TABLE_MAX)).is_ok());
    assert_eq!(parse(&"\n".repeat(TABLE_MAX + 1)), Err(NotTable::TooLong));
}

/// What attackers name things so that whoever opens the table runs it.
#[test]
fn no_cell_is_a_formula() {
    for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=HYPERLINK(\"http://x\")"] {
        let written = line([text]);
        let first = written.trim_start_matches('"').chars().next();
        assert_eq!(first, Some('\''), "{written:?}");
    }
    assert_eq!(line(["a", "b c", "d,\"e\""]), "a,\"b c\",\"d,\"\"e\"\"\"\r\n");
    assert_eq!(line(["a\r\nb"]), "\"a  b\"\r\n", "no cell begins a line of its own");
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(cells in prop::collection::vec("[ -~äß,\"]{0,20}", 1..6)) {
        let read = read(&line(&cells)).unwrap();
        let texts: Vec<_> = read[0].iter().map(|cell| cell.strip_prefix('\'').unwrap_or(cell)).collect();
        let same = cells.iter().map(|cell| cell.strip_prefix('\'').unwrap_or(cell)).collect::<Vec<_>>();
        prop_assert_eq!(texts, same);
    }

    #[test]
    fn no_text_is_more_than_one_table(text in "[a\"',\r\n=]{0,12}") {
        if let Ok(lines) = read(&text) && !lines.is_empty() {
            let again: String = lines.iter().map(line).collect();
            prop_assert_eq!(parse(&again).unwrap().len(), lines.len());
        }
    }
}
