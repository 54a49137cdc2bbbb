//! RFC 8785: its own examples, another implementation, and random values.

use std::collections::{BTreeMap, HashMap};

use json::{Limits, canonical, canonical_of, parse};
use proptest::prelude::*;
use serde::Serialize;
use serde_json::{Number, Value, json};

#[track_caller]
fn check(text: &str, expected: &str) {
    let value = parse(text.as_bytes(), Limits::default()).expect("accepted");
    assert_eq!(String::from_utf8(canonical(&value)).expect("UTF-8"), expected);
}

#[test]
fn the_sample_of_rfc_8785_3_2_2() {
    check(
        r#"{
          "numbers": [333333333.3333333, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
          "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
          "literals": [null, true, false]
        }"#,
        r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#,
    );
}

#[test]
fn the_sort_order_of_rfc_8785_3_2_3() {
    check(
        r#"{
          "\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh",
          "1": "One", "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control",
          "\u00f6": "Latin Small Letter O With Diaeresis"
        }"#,
        "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\
         \"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",\
         \"😀\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}",
    );
}

#[test]
fn the_number_table_of_rfc_8785_b() {
    let table = [
        (0x0000_0000_0000_0000, "0"),
        (0x8000_0000_0000_0000, "0"),
        (0x0000_0000_0000_0001, "5e-324"),
        (0x8000_0000_0000_0001, "-5e-324"),
        (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
        (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
        (0x4340_0000_0000_0000, "9007199254740992"),
        (0xc340_0000_0000_0000, "-9007199254740992"),
        (0x4430_0000_0000_0000, "295147905179352830000"),
        (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
        (0x44b5_2d02_c7e1_4af6, "1e+23"),
        (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
        (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
        (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
        (0x444b_1ae4_d6e2_ef50, "1e+21"),
        (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
        (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
        (0x41b3_de43_5555_5553, "333333333.3333332"),
        (0x41b3_de43_5555_5554, "333333333.33333325"),
        (0x41b3_de43_5555_5555, "333333333.3333333"),
        (0x41b3_de43_5555_5556, "333333333.3333334"),
        (0x41b3_de43_5555_5557, "333333333.33333343"),
        (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
        (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
    ];
    for (bits, expected) in table {
        let number = Number::from_f64(f64::from_bits(bits)).expect("finite");
        let text = canonical(&Value::Number(number));
        assert_eq!(String::from_utf8_lossy(&text), expected);
        let read = parse(&text, Limits::default()).expect("a canonical number is exact");
        assert_eq!(canonical(&read), text);
    }
}

#[test]
fn a_text_is_escaped_as_it_must_be_wherever_that_is_in_it() {
    let written = |text: &str| String::from_utf8(canonical_of(text)).expect("UTF-8");
    for char in ('\0'..='\u{a0}').chain(['\u{2028}', '\u{ffff}', '\u{10ffff}']) {
        for plain in [0, 1, 15, 16, 63] {
            let (before, after) = ("a".repeat(plain), "é".repeat(63 - plain));
            let text = format!("{before}{char}{after}");
            let expected = serde_json::to_string(&text).expect("it is text");
            assert_eq!(written(&text), expected);
            assert_eq!(written(&text), String::from_utf8(canonical(&json!(text))).expect("UTF-8"));
            let is_escaped = char < ' ' || char == '"' || char == '\\';
            assert_eq!(expected.len() > text.len() + 2, is_escaped, "{char:?}");
        }
    }
}

#[test]
fn a_typed_value_is_written_like_its_json() {
    let typed = BTreeMap::from([("b", vec![1, 2]), ("a", vec![])]);
    assert_eq!(canonical_of(&typed), canonical(&json!({ "a": [], "b": [1, 2] })));
}

#[derive(Serialize)]
enum Kind {
    Unit,
    New(u64),
    Tuple(i8, char),
    Members { z: Option<bool>, a: f32 },
}

#[derive(Serialize)]
struct Inner {
    small: u8,
    kind: i64,
}

/// Nothing of it stands in the order in which it is written.
#[derive(Serialize)]
struct Typed {
    zeta: [Kind; 4],
    kind: &'static str,
    // The last of two of one name is the one that counts.
    #[serde(flatten)]
    inner: Inner,
    #[serde(rename = "\u{fb33}")]
    beyond: (),
    #[serde(rename = "\u{1f600}")]
    face: f64,
    #[serde(rename = "\"\n")]
    escaped: (u16, f64),
    numbered: HashMap<i32, Vec<Inner>>,
    named: HashMap<String, BTreeMap<bool, Inner>>,
    alpha: BTreeMap<&'static str, Option<u8>>,
}

#[test]
fn what_is_typed_is_written_like_its_value() {
    let inner = |small| Inner { small, kind: i64::MIN };
    let typed = Typed {
        zeta: [
            Kind::Unit,
            Kind::New(u64::MAX),
            Kind::Tuple(-1, '\u{7}'),
            Kind::Members { z: None, a: 0.5 },
        ],
        kind: "€",
        inner: inner(1),
        beyond: (),
        face: 1e20,
        escaped: (7, f64::NAN),
        numbered: [10, 9, -1].map(|number| (number, vec![inner(2), inner(3)])).into(),
        named: ["b", "a", "", "é"]
            .map(|name| (name.to_owned(), BTreeMap::from([(true, inner(4)), (false, inner(5))])))
            .into(),
        alpha: BTreeMap::from([("b", Some(1)), ("a", None)]),
    };
    let value = serde_json::to_value(&typed).expect("it has a JSON form");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    assert_eq!(text(canonical_of(&typed)), text(canonical(&value)));
    assert_eq!(text(canonical_of(&[typed])), text(canonical(&json!([value]))));
    assert_eq!(canonical_of(&BTreeMap::<String, u8>::new()), b"{}");
    assert_eq!(canonical_of::<[u8]>(&[]), b"[]");
}

#[test]
#[should_panic(expected = "a vocabulary type has a JSON form")]
fn what_has_no_json_form_is_not_written() {
    canonical_of(&BTreeMap::from([(vec![1], 2)]));
}

#[test]
#[should_panic(expected = "a vocabulary type has a JSON form")]
fn raw_json_is_not_written_as_what_holds_it() {
    let raw = serde_json::value::RawValue::from_string(r#"{"b":1,"a":2}"#.to_owned());
    canonical_of(&raw.expect("it is JSON"));
}

#[test]
fn spellings_of_one_number_are_one_value() {
    for text in ["100", "100.0", "1e2", "1E+2", "1000e-1"] {
        assert_eq!(parse(text.as_bytes(), Limits::default()).expect("accepted"), json!(100));
    }
    assert_eq!(parse(b"-0", Limits::default()).expect("accepted"), json!(0));
    assert_eq!(parse(b"1e19", Limits::default()).expect("accepted"), json!(10u64.pow(19)));
}

/// Beyond 2^53 a double is no one integer; the digits that were written are.
#[test]
fn spellings_of_one_large_number_are_one_value() {
    let check = |texts: &[&str], expected: Value| {
        for text in texts {
            let value = parse(text.as_bytes(), Limits::default()).expect("accepted");
            assert_eq!(value, expected, "{text}");
            let canonical = canonical(&value);
            assert_eq!(String::from_utf8_lossy(&canonical), texts[0], "{text}");
        }
    };
    let large = 300_719_925_474_099_300_i64;
    check(&["300719925474099300", "3007199254740993e2", "300719925474099300.0"], json!(large));
    check(&["-300719925474099300", "-3007199254740993e2"], json!(-large));
    check(&["18446744073709550000", "1844674407370955e4"], json!(18_446_744_073_709_550_000_u64));
    check(&["18446744073709552000", "18446744073709552e3"], json!(18_446_744_073_709_552e3));
    check(&["-9223372036854776000", "-9223372036854776e3"], json!(-9_223_372_036_854_776e3));
}

fn number() -> impl Strategy<Value = Value> {
    let fractions = any::<f64>().prop_filter("a number that stays a double", |value| {
        value.is_finite() && (value.fract() != 0.0 || value.abs() >= 1e20)
    });
    let integers = -(1_i64 << 53)..=(1 << 53);
    prop_oneof![fractions.prop_map(Value::from), integers.prop_map(Value::from)]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number(),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        let members = prop::collection::btree_map(
            "[a-z\u{e000}\u{1f600}é\\\\\"\n]{0,4}",
            inner.clone(),
            0..8,
        );
        prop_oneof![
            prop::collection::vec(inner, 0..8).prop_map(Value::from),
            members.prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn a_value_survives_its_canonical_form(value in value()) {
        let text = canonical(&value);
        let read = parse(&text, Limits::default()).expect("canonical JSON is accepted");
        prop_assert_eq!(&read, &value);
        prop_assert_eq!(canonical(&read), text);
    }

    #[test]
    fn another_implementation_writes_the_same(value in value()) {
        let theirs = serde_json_canonicalizer::to_vec(&value).expect("written");
        prop_assert_eq!(canonical(&value), theirs);
        prop_assert_eq!(canonical_of(&value), canonical(&value));
    }

    #[test]
    fn exactness_is_what_decimal_arithmetic_says(digits in "[1-9][0-9]{0,24}", exponent in -340..320) {
        let text = format!("{digits}e{exponent}");
        let value: f64 = text.parse().expect("a number");
        // An independent way: print the shortest form, then compare digit strings.
        let expected = value.is_finite() && {
            let shortest = format!("{value:e}");
            let (mantissa, power) = shortest.split_once('e').expect("scientific form");
            let power: i32 = power.parse().expect("an exponent");
            let own = digits.trim_end_matches('0');
            let own_power = exponent + i32::try_from(digits.len()).expect("short") - 1;
            mantissa.replace('.', "").trim_end_matches('0') == own && power == own_power
        };
        prop_assert_eq!(json::is_exact_number(&text), expected, "{}", text);
    }
}
