//! Drives the parser with mutated texts: it never panics, and what it accepts has one reading.

use json::{Limits, canonical, parse};

const ROUNDS: u32 = 60_000;

const CORPUS: &[&str] = &[
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"refund","arguments":{"amount":12.50}}}"#,
    r#"{"numbers":[0,-0,1e2,1.5e3,9007199254740992,5e-324,1.7976931348623157e308,0.1,-12.34E-5]}"#,
    r#"["\u0000\ud83d\ude00\\\"\/\b\f\n\r\t","\u20ac€",true,false,null,[[[[{}]]]]]"#,
    r#"{"a":{"A":{"a":{"b":[{"c":1,"d":2},{"c":1,"D":2}]}}},"":"","~/":0}"#,
];

const SPLICES: &[&str] = &[
    "\"",
    "\\",
    "\\u",
    "\\ud800",
    "\\udc00",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "e",
    "-",
    ".",
    "0",
    "9",
    "99999999999999999999",
    "e400",
    "\"a\":1,",
    "\"A\":1,",
    "null",
    "\u{feff}",
    "\0",
    "ſ",
    "K",
    " ",
];

/// Takes any bytes. Whatever it accepts must read the same again, and to another parser.
fn drive(bytes: &[u8]) -> bool {
    let limits = Limits { bytes: 4096, depth: 32 };
    let Ok(value) = parse(bytes, limits) else { return false };
    let text = canonical(&value);
    let again =
        parse(&text, Limits { bytes: usize::MAX, ..limits }).expect("canonical is accepted");
    assert_eq!(again, value);
    assert_eq!(canonical(&again), text);
    let lax: serde_json::Value = serde_json::from_slice(bytes).expect("others accept it too");
    assert_eq!(canonical(&lax), text);
    true
}

/// Steps a xorshift generator: the same texts in every run.
fn next(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    usize::try_from(*state >> 33).expect("31 bits")
}

fn mutate(text: &mut Vec<u8>, state: &mut u64) {
    let at = next(state) % (text.len() + 1);
    match next(state) % 5 {
        0 => text.truncate(at),
        1 => drop(text.splice(at..at, SPLICES[next(state) % SPLICES.len()].bytes())),
        2 if at < text.len() => text[at] ^= 1 << (next(state) % 8),
        3 if at < text.len() => drop(text.remove(at)),
        _ => {
            let end = (at + next(state) % 16).min(text.len());
            let piece = text[at..end].to_vec();
            drop(text.splice(at..at, piece));
        }
    }
}

#[test]
fn mutated_texts_are_refused_or_have_one_reading() {
    let mut state = 0x9e37_79b9_7f4a_7c15;
    let mut accepted = 0;
    for round in 0..ROUNDS {
        let mut text = CORPUS[round as usize % CORPUS.len()].as_bytes().to_vec();
        for _ in 0..=next(&mut state) % 3 {
            mutate(&mut text, &mut state);
        }
        accepted += u32::from(drive(&text));
    }
    assert!(accepted > ROUNDS / 50, "the mutations reach accepted texts too: {accepted}");
    assert!(accepted < ROUNDS, "the mutations reach refused texts too");
}
