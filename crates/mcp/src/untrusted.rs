//! Text that others wrote, shown so that it cannot pretend to be something else.

use serde_json::Value;

/// Characters that are seen as nothing though Unicode counts them among letters, marks or symbols:
/// fillers, joiners, variation selectors, the empty Braille pattern.
const BLANK: [std::ops::RangeInclusive<char>; 11] = [
    '\u{34f}'..='\u{34f}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{2800}'..='\u{2800}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0000}'..='\u{e0fff}',
];

/// The most combining marks on one character: scripts need no more, and more of them would grow over
/// the lines above and below.
const MARKS_MAX: usize = 2;

/// `text` with every character escaped that is not seen, or that changes how others are seen:
/// control characters, line and paragraph separators, bidirectional marks, zero-width characters,
/// spaces other than the plain one, what is not assigned, and marks that pile up or have nothing to
/// stand on.
pub fn render_untrusted(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut marks = MARKS_MAX;
    for c in text.chars() {
        let is_hidden = is_hidden(c);
        if !is_hidden {
            marks = if is_mark(c) { marks + 1 } else { 0 };
        }
        if is_hidden || marks > MARKS_MAX {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

fn is_hidden(c: char) -> bool {
    if BLANK.iter().any(|range| range.contains(&c)) {
        return true;
    }
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    // After a letter, combining marks are seen, and the standard library leaves them.
    let mut buffer = [b'a', 0, 0, 0, 0];
    let end = 1 + c.encode_utf8(&mut buffer[1..]).len();
    let after_a_letter = std::str::from_utf8(&buffer[..end]).unwrap_or_default();
    after_a_letter.escape_debug().nth(1) != Some(c)
}

/// Whether `c`, which is seen, is so only on the character before it.
fn is_mark(c: char) -> bool {
    // By itself the standard library escapes it.
    !c.is_ascii() && c.escape_debug().next() == Some('\\')
}

/// How the descriptor `new` differs from `old`: one line a member, `-` old and `+` new, by JSON
/// pointer, everything escaped.
pub fn descriptor_diff(old: &Value, new: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    compare(old, new, &mut String::new(), &mut lines);
    lines
}

fn compare(old: &Value, new: &Value, path: &mut String, lines: &mut Vec<String>) {
    if old == new {
        return;
    }
    let (Value::Object(before), Value::Object(after)) = (old, new) else {
        lines.push(line('-', path, old));
        lines.push(line('+', path, new));
        return;
    };
    let mut names: Vec<_> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let length = path.len();
        path.push('/');
        // RFC 6901 §3: a name with a slash is not two names.
        path.push_str(&name.replace('~', "~0").replace('/', "~1"));
        match (before.get(name), after.get(name)) {
            (Some(old), Some(new)) => compare(old, new, path, lines),
            (Some(old), None) => lines.push(line('-', path, old)),
            (None, Some(new)) => lines.push(line('+', path, new)),
            (None, None) => {}
        }
        path.truncate(length);
    }
}

fn line(sign: char, path: &str, value: &Value) -> String {
    format!("{sign} {} {}", render_untrusted(path), render_untrusted(&value.to_string()))
}
