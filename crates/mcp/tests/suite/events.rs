//! Server-sent events: the same events however the bytes are cut, and nothing beyond the limit.

use mcp::{SseError, SseParser};
use proptest::prelude::*;

const MAX: usize = 64;

/// The data of the events in `bytes`, pushed in pieces of these lengths, and the error if one came.
fn read(bytes: &[u8], pieces: &[usize]) -> (Vec<String>, Option<SseError>) {
    let mut parser = SseParser::new(MAX);
    let (mut events, mut rest, mut pieces) = (Vec::new(), bytes, pieces.iter().cycle());
    while !rest.is_empty() {
        let length = pieces.next().copied().unwrap_or(rest.len()).clamp(1, rest.len());
        let (piece, after) = rest.split_at(length);
        match parser.push(piece) {
            Ok(new) => events.extend(new.into_iter().map(|event| event.data)),
            Err(error) => {
                assert_eq!(parser.push(b"data: more\n\n"), Err(error), "nothing follows an error");
                return (events, Some(error));
            }
        }
        rest = after;
    }
    (events, None)
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    for pieces in [&[1][..], &[2], &[3, 1], &[]] {
        let (events, error) = read(text.as_bytes(), pieces);
        assert_eq!(events, expected, "{text:?}");
        assert_eq!(error, None, "{text:?}");
    }
}

#[test]
fn events_end_with_a_blank_line() {
    check("data: one\n\ndata: two\n\n", &["one", "two"]);
    check("data: one\r\n\r\ndata: two\r\r", &["one", "two"]);
    check("data: one\r\ndata: more\n\r\ndata: two\n\r", &["one\nmore", "two"]);
    check("data: unfinished", &[]);
    check("data: unfinished\n", &[]);
    check("\n\n\r\n\r", &[]);
}

#[test]
fn the_examples_of_the_standard() {
    check("data: YHOO\ndata: +2\ndata: 10\n\n", &["YHOO\n+2\n10"]);
    check(
        ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        &["first event", "second event", " third event"],
    );
    // The standard has an event with empty data first: it says nothing.
    check("data\n\ndata\ndata\n\ndata:", &["\n"]);
    check("data:test\n\ndata: test\n\n", &["test", "test"]);
}

/// MCP 2025-11-25 begins a stream with an id and empty data; keep-alives are comments.
#[test]
fn what_says_nothing_is_no_event() {
    check("id: 1\ndata:\n\ndata: {}\n\n", &["{}"]);
    check("data: \n\n:\r\n: keep-alive\n\nretry: 100\n\ndata: {}\n\n", &["{}"]);
}

#[test]
fn events_of_another_type_are_no_messages() {
    check("event: message\ndata: a\n\nevent: ping\ndata: b\n\ndata: c\n\n", &["a", "c"]);
    check("event\ndata: a\n\nevent:\ndata: b\n\nevent:message\ndata: c\n\n", &["a", "b", "c"]);
    check("data: a\nevent: endpoint\n\nevent: Message\ndata: b\n\n", &[]);
    check("event: ping\nevent: message\ndata: a\n\n", &["a"]);
}

#[test]
fn only_the_field_of_that_name_is_data() {
    check("Data: a\n data: b\ndata : c\ndatax: d\nxdata: e\n\n", &[]);
    check("data: a: b\n\n", &["a: b"]);
    check("data::\n\n", &[":"]);
}

#[test]
fn one_byte_order_mark_may_stand_first() {
    check("\u{feff}data: a\n\n", &["a"]);
    check("\u{feff}\u{feff}data: a\n\n", &[]);
    check("data: \u{feff}a\n\n\u{feff}data: b\n\n", &["\u{feff}a"]);
}

#[test]
fn i_18_lines_and_events_have_a_limit() {
    let line = |length: usize| format!("data:{}", "x".repeat(length - 5));
    check(&format!("{}\n\n", line(MAX)), &[&"x".repeat(MAX - 5)]);
    let long = format!("{}\n\n", line(MAX + 1));
    assert_eq!(read(long.as_bytes(), &[7]), (vec![], Some(SseError::TooLarge)));
    // A comment that never ends is held to it as well.
    let comment = format!(":{}", "x".repeat(MAX));
    assert_eq!(read(comment.as_bytes(), &[1]).1, Some(SseError::TooLarge));
    // Many lines of one event: 31 of one character and 30 newlines are 61, and a line is 6.
    let many = |lines: usize| format!("{}\n", "data:x\n".repeat(lines));
    let fits = (1..64).take_while(|lines| read(many(*lines).as_bytes(), &[]).1.is_none()).count();
    assert_eq!(fits, (MAX - 6).div_ceil(2) + 1);
    let (events, _) = read(many(fits).as_bytes(), &[]);
    assert!(events[0].len() <= MAX);
    // The limit is of one event, not of the stream.
    let (events, error) = read(many(3).repeat(100).as_bytes(), &[11]);
    assert_eq!((events.len(), error), (100, None));
}

#[test]
fn what_is_not_utf8_is_refused() {
    for bad in [&b"data: \xff\n\n"[..], b": \xc3\n", b"\xed\xa0\x80\n", b"\xff\xfed\0a\0\n"] {
        assert_eq!(read(bad, &[1]).1, Some(SseError::NotUtf8), "{bad:?}");
    }
    // A character that is cut between two pieces is whole in its line.
    check("data: é\u{1f600}\n\n", &["é\u{1f600}"]);
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("data: ".to_owned()),
        Just("data".to_owned()),
        Just("event: message".to_owned()),
        Just("event: x".to_owned()),
        Just(":".to_owned()),
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("\r\n".to_owned()),
        Just("\n\n".to_owned()),
        Just("\u{feff}".to_owned()),
        "[a-z{}\" é\u{1f600}]{0,12}",
    ];
    let text = prop::collection::vec(piece, 0..40).prop_map(|all| all.concat().into_bytes());
    let bytes = prop::collection::vec(any::<u8>(), 0..60);
    prop_oneof![4 => text, 1 => bytes]
}

proptest! {
    /// Where the bytes are cut changes nothing: neither events nor, but for what the last piece
    /// held before it, an error.
    #[test]
    fn cuts_do_not_matter(bytes in stream(), pieces in prop::collection::vec(1_usize..9, 1..8)) {
        let (by_byte, error) = read(&bytes, &[1]);
        let (by_piece, same) = read(&bytes, &pieces);
        prop_assert_eq!(error, same);
        prop_assert!(by_byte.starts_with(&by_piece));
        if error.is_none() {
            prop_assert_eq!(&by_byte, &by_piece);
        }
        prop_assert!(by_byte.iter().all(|data| !data.is_empty() && data.len() <= MAX));
    }

    /// What is sent as an event is what is read, whatever line breaks it has.
    #[test]
    fn what_is_sent_is_read(lines in prop::collection::vec("[a-z {}:\"é]{0,3}", 1..4)) {
        let data = lines.join("\n");
        let sent: String = lines.iter().flat_map(|line| ["data: ", line, "\n"]).collect();
        let (events, error) = read(format!("{sent}\n").as_bytes(), &[3]);
        prop_assert_eq!(error, None);
        prop_assert_eq!(events, if data.is_empty() { vec![] } else { vec![data] });
    }
}
