//! What is refused, and how it is said.

use expect_test::{Expect, expect};
use json::{
    DEPTH_CEILING, Limits, MAX_DEPTH_DEFAULT, ReadError, from_slice, is_exact_number, parse,
};

#[expect(clippy::needless_pass_by_value, reason = "`expect!` is written in place")]
#[track_caller]
fn check(bytes: impl AsRef<[u8]>, expected: Expect) {
    let answer = match parse(bytes.as_ref(), Limits::default()) {
        Ok(value) => format!("accepted: {value}"),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&answer);
}

fn nested(levels: usize) -> Vec<u8> {
    [vec![b'['; levels], vec![b']'; levels]].concat()
}

#[test]
fn n_051_case_twin_keys_are_refused() {
    check(r#"{"name":1,"Name":2}"#, expect!["member `/name` differs from another in case alone"]);
    check(
        r#"{"params":[{"x":{"NAME":1,"b":0,"namE":2}}]}"#,
        expect!["member `/params/0/x/namE` differs from another in case alone"],
    );
    check(r#"{"ä":1,"Ä":2}"#, expect!["member `/ä` differs from another in case alone"]);
    check(
        r#"{"\u212a":1,"k":2}"#,
        expect!["member `/\u{212a}` differs from another in case alone"],
    );
    check(r#"{"\u017fum":1,"sum":2}"#, expect!["member `/ſum` differs from another in case alone"]);
    check(
        r#"{"a":{"Name":1},"b":{"name":1}}"#,
        expect![[r#"accepted: {"a":{"Name":1},"b":{"name":1}}"#]],
    );
}

#[test]
fn n_052_duplicate_keys_are_refused() {
    check(r#"{"name":1,"name":1}"#, expect!["member `/name` occurs twice"]);
    check(r#"{"name":1,"na\u006de":2}"#, expect!["member `/name` occurs twice"]);
    check(r#"{"a/b":{"~":{"":0,"":0}}}"#, expect!["member `/a~1b/~0/` occurs twice"]);
    check(
        "{\"a\\n\\u001b[31m\":0,\"a\\n\\u001b[31m\":0}",
        expect![[r"member `/a\n\u{1b}[31m` occurs twice"]],
    );
}

#[test]
fn n_052_other_encodings_and_surrogates_are_refused() {
    check(b"\xef\xbb\xbf{}", expect!["begins with a byte order mark"]);
    check(b"\xff\xfe{\0}\0", expect!["not UTF-8 at byte 0"]);
    check(b"{\0}\0", expect!["not UTF-8 at byte 1"]);
    check(b"\"ab\xc0\xaf\"", expect!["not UTF-8 at byte 3"]);
    check(b"\"\xed\xa0\x80\"", expect!["not UTF-8 at byte 1"]);
    check(r#"["\ud800"]"#, expect!["lone surrogate at byte 2"]);
    check(r#"["\udc00"]"#, expect!["lone surrogate at byte 2"]);
    check(r#"["\ud83d\u0041"]"#, expect!["lone surrogate at byte 2"]);
    check(r#"{"\ud83dx":1}"#, expect!["lone surrogate at byte 2"]);
    check(r#"["\ud83d\ude00 \\ud800"]"#, expect![[r#"accepted: ["😀 \\ud800"]"#]]);
}

#[test]
fn n_067_inexact_numbers_are_refused() {
    check("9007199254740993", expect!["number `9007199254740993` at byte 0 is not exact"]);
    check(
        r#"{"a":[0.30000000000000001]}"#,
        expect!["number `0.30000000000000001` at byte 6 is not exact"],
    );
    check("1e400", expect!["number `1e400` at byte 0 is not exact"]);
    check("-1e-400", expect!["number `-1e-400` at byte 0 is not exact"]);
    check(
        "1e99999999999999999999",
        expect!["number `1e99999999999999999999` at byte 0 is not exact"],
    );
    check("18446744073709551615", expect!["number `18446744073709551615` at byte 0 is not exact"]);
    check(
        "[1e2,100.0,0.1,1.5e3,-0,0e999999999999,9007199254740994,100.001,\"9007199254740993\"]",
        expect![[
            r#"accepted: [100,100,0.1,1500,0,0,9007199254740994,100.001,"9007199254740993"]"#
        ]],
    );
}

#[test]
fn n_067_what_is_no_number_is_not_exact() {
    for text in
        ["", "-", "01", "1.", ".5", "1e", "1e+", "+1", "0x1", "NaN", "Infinity", "1_0", " 1", "١"]
    {
        assert!(!is_exact_number(text), "{text}");
    }
    for text in
        ["0", "-0", "0.0", "1E5", "5e-324", "1.7976931348623157e308", "295147905179352830000"]
    {
        assert!(is_exact_number(text), "{text}");
    }
    assert!(!is_exact_number("295147905179352825856"), "exact as a double, but written otherwise");
}

#[test]
fn what_is_not_json_is_refused() {
    check("", expect!["not JSON (line 1, column 0)"]);
    check("{} {}", expect!["something follows the value (line 1, column 4)"]);
    check("1 x", expect!["something follows the value (line 1, column 3)"]);
    check("[1,]", expect!["not JSON (line 1, column 4)"]);
    check("{\"a\":1,\n}", expect!["not JSON (line 2, column 1)"]);
    check("[NaN]", expect!["not JSON (line 1, column 2)"]);
    check("[-Infinity]", expect!["not JSON (line 1, column 3)"]);
    check("[1] // one", expect!["something follows the value (line 1, column 5)"]);
    check("/* one */ 1", expect!["not JSON (line 1, column 1)"]);
    check("{'a':1}", expect!["not JSON (line 1, column 2)"]);
    check("[01]", expect!["not JSON (line 1, column 3)"]);
    check("\"a\nb\"", expect!["not JSON (line 2, column 0)"]);
    check("\"\\x\"", expect!["not JSON (line 1, column 3)"]);
    check("[\"a", expect!["not JSON (line 1, column 3)"]);
    check("\"\\u12", expect!["not JSON (line 1, column 5)"]);
}

#[test]
fn size_has_a_limit() {
    let limits = Limits::of_bytes(4);
    assert!(parse(b"1234", limits).is_ok());
    assert_eq!(parse(b"12345", limits).expect_err("refused").to_string(), "larger than 4 bytes");
}

#[test]
fn depth_has_a_limit() {
    check(nested(MAX_DEPTH_DEFAULT + 1), expect!["more than 64 levels deep at byte 64"]);
    assert!(parse(&nested(MAX_DEPTH_DEFAULT), Limits::default()).is_ok());
    let none = Limits { depth: 0, ..Limits::default() };
    assert!(parse(b"1", none).is_ok());
    assert!(parse(b"[]", none).is_err());
}

#[test]
fn depth_has_a_ceiling_whatever_the_limit() {
    let limits = Limits { depth: usize::MAX, ..Limits::default() };
    assert!(parse(&nested(DEPTH_CEILING), limits).is_ok());
    let refused = parse(&nested(DEPTH_CEILING + 1), limits).expect_err("refused");
    assert_eq!(refused.to_string(), "more than 127 levels deep at byte 127");
}

#[test]
fn brackets_in_strings_are_no_depth() {
    let text = format!("[\"{}\\\"[\"]", "[".repeat(1000));
    assert!(parse(text.as_bytes(), Limits::default()).is_ok());
}

#[test]
fn a_long_name_is_cut_in_the_message() {
    let name = "é".repeat(10_000);
    let text = format!("{{\"{name}\":0,\"{name}\":0}}");
    let message = parse(text.as_bytes(), Limits::default()).expect_err("refused").to_string();
    assert!(message.len() < 400, "{}", message.len());
}

#[test]
fn a_typed_read_tells_bad_json_from_another_form() {
    let read = |text: &str| from_slice::<Vec<u8>>(text.as_bytes(), Limits::default());
    assert_eq!(read("[1,2.0]").expect("read"), [1, 2]);
    assert!(matches!(read("[1,"), Err(ReadError::Parse(_))));
    assert!(matches!(read("[1,256]"), Err(ReadError::Unexpected(_))));
    assert_eq!(read("{}").expect_err("refused").to_string(), "not of the expected form");
}
