//! Text that others wrote, shown so that it cannot pretend to be something else.

use serde_json::Value;

/// `text` with every character escaped that is not seen, or that changes how others are seen:
/// control characters, bidirectional marks, zero-width characters.
pub fn render_untrusted(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{00ad}' | '\u{061c}' | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
                | '\u{e0000}'..='\u{e007f}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if hidden(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
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
        path.push_str(name);
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
