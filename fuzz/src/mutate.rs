//! Changes one input into another, not far from it: `fastrand` chooses, the rest is splicing.

use fastrand::Rng;

/// The largest input, in bytes: somewhat more than most parsers take.
const INPUT_MAX: usize = 40 << 10;

/// What parsers trip over, whatever they parse.
const TOKENS: [&str; 48] = [
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "\\udc00",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "e",
    "E",
    "-",
    "+",
    ".",
    "0",
    "1e400",
    "9007199254740993",
    "18446744073709551616",
    "\"a\":1,",
    "\"A\":1,",
    "null",
    "true",
    "\u{feff}",
    "\0",
    "ſ",
    "\u{212a}",
    " ",
    "\n",
    "\r\n",
    "\n\n",
    "=",
    "==",
    "/",
    "..",
    "%",
    "%ff",
    "&",
    "\u{202e}",
    "é",
    "— ",
    "data: ",
    "=?base64?",
    "?=",
    ".p/",
    "_meta",
    "x-mcp-header",
];

/// Changes `input` once to eight times, with pieces of `other`, which some parser of the same kind
/// takes.
pub(crate) fn mutate(rng: &mut Rng, input: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..1 << rng.u8(0..4) {
        change(rng, input, other);
    }
    input.truncate(INPUT_MAX);
}

fn change(rng: &mut Rng, input: &mut Vec<u8>, other: &[u8]) {
    let at = rng.usize(0..=input.len());
    let range = at..input.len().min(at + rng.usize(0..24));
    match rng.u8(0..11) {
        0 => input.truncate(at),
        1 => drop(input.splice(at..at, TOKENS[rng.usize(0..TOKENS.len())].bytes())),
        2 => drop(input.splice(range, TOKENS[rng.usize(0..TOKENS.len())].bytes())),
        3 if at < input.len() => input[at] ^= 1 << rng.u8(0..8),
        4 if at < input.len() => input[at] = rng.u8(..),
        5 => drop(input.drain(range)),
        6 => repeat(rng, input, range),
        7 => {
            let piece = piece(rng, other);
            drop(input.splice(at..at, piece.iter().copied()));
        }
        8 => {
            let piece = piece(rng, other);
            drop(input.splice(range, piece.iter().copied()));
        }
        9 => digit(rng, input),
        _ => swap(rng, input),
    }
}

/// A piece of `bytes`, at times all of it.
fn piece<'a>(rng: &mut Rng, bytes: &'a [u8]) -> &'a [u8] {
    let start = rng.usize(0..=bytes.len());
    let end = rng.usize(start..=bytes.len());
    if rng.u8(0..16) == 0 { bytes } else { &bytes[start..end] }
}

/// Writes a piece again, mostly once, at times until the parser's limits are met.
fn repeat(rng: &mut Rng, input: &mut Vec<u8>, range: std::ops::Range<usize>) {
    let piece = input[range.clone()].to_vec();
    let times = if rng.u8(0..8) == 0 { rng.usize(1..2_000) } else { rng.usize(1..4) };
    let times = times.min(INPUT_MAX / (piece.len() + 1));
    drop(input.splice(range.end..range.end, piece.repeat(times)));
}

/// Changes one digit into another.
fn digit(rng: &mut Rng, input: &mut [u8]) {
    let digits: Vec<_> = (0..input.len()).filter(|at| input[*at].is_ascii_digit()).collect();
    if let Some(at) = rng.choice(&digits) {
        input[*at] = b'0' + rng.u8(0..10);
    }
}

/// Changes two bytes for each other.
fn swap(rng: &mut Rng, input: &mut [u8]) {
    if !input.is_empty() {
        let (a, b) = (rng.usize(0..input.len()), rng.usize(0..input.len()));
        input.swap(a, b);
    }
}
