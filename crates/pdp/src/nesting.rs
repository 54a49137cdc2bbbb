//! How deep a text of Cedar nests, before it is parsed: its parser, and whatever walks what was read, goes as deep
//! on the stack, and a process that has none left is gone.
//!
//! It is rather counted too much than too little. What else is wrong with a text, its parser says.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::split::{after_comment, after_string};

/// The most brackets that stand in one another.
pub(crate) const BRACKETS_MAX: usize = 32;

/// The most operators in a row, with those in the brackets there.
pub(crate) const OPERATORS_MAX: usize = 256;

/// How deep a type nests at most, in the JSON form of schemas, with the types that it names.
const DEPTH_MAX: usize = 4 * BRACKETS_MAX;

/// The most members of all that schema parts declare, with those of the types that they name.
pub(crate) const MEMBERS_MAX: u64 = 100_000;

/// What stands between brackets, as far as it was looked at: the operators that go deeper.
#[derive(Default)]
struct Level {
    /// In what ended with a comma, or a policy.
    before: usize,
    /// Those that join: `&&`, `||`, `if`, and from one condition of a policy to the next.
    joining: usize,
    /// All others of what is joined last, and the most of what was before.
    own: usize,
    most: usize,
    /// The most that stand in the brackets there.
    within: usize,
}

impl Level {
    fn join(&mut self) {
        self.most = self.most.max(self.own);
        (self.own, self.joining) = (0, self.joining + 1);
    }

    fn end(&mut self) {
        *self = Self { before: self.depth(), ..Self::default() };
    }

    fn depth(&self) -> usize {
        self.before.max(self.joining + self.most.max(self.own) + self.within)
    }
}

/// Whether `text` nests no deeper than can be parsed; else where it does, and in what.
pub(crate) fn is_shallow(text: &str) -> Result<(), (usize, String)> {
    let bytes = text.as_bytes();
    let (mut open, mut level, mut at) = (Vec::new(), Level::default(), 0);
    let mut is_of_something = false;
    while let Some(byte) = bytes.get(at) {
        let end = token_end(bytes, at);
        // A call, or a member by its name, is one more of what it is of.
        level.own += usize::from(is_of_something && matches!(byte, b'(' | b'['));
        if !is_blank(&bytes[at..end]) {
            is_of_something = is_in_word(*byte) || matches!(byte, b')' | b']');
        }
        match &bytes[at..end] {
            b"&&" | b"||" | b"if" => level.join(),
            b"." | b"+" | b"-" | b"*" => level.own += 1,
            b"," | b";" => level.end(),
            b"(" | b"[" | b"{" => {
                if open.len() == BRACKETS_MAX {
                    let why = "brackets stand in one another";
                    return Err((at, format!("more than {BRACKETS_MAX} {why}: nest less")));
                }
                if open.is_empty() && *byte == b'{' {
                    level.join();
                }
                open.push(std::mem::take(&mut level));
            }
            b")" | b"]" | b"}" => {
                let within = level.depth();
                level = open.pop().unwrap_or_default();
                level.within = level.within.max(within);
            }
            _ => {}
        }
        if level.depth() > OPERATORS_MAX {
            let remedy = "ask whether it is in a set, or write several policies";
            return Err((at, format!("more than {OPERATORS_MAX} operators in a row: {remedy}")));
        }
        at = end;
    }
    Ok(())
}

/// What `text` is of but for what Cedar skips: words, texts and signs, each after the byte at which it begins.
pub(crate) fn tokens(text: &str) -> impl Iterator<Item = (usize, &[u8])> {
    let bytes = text.as_bytes();
    let mut end = 0;
    let all = std::iter::from_fn(move || {
        let at = end;
        if at >= bytes.len() {
            return None;
        }
        end = token_end(bytes, at);
        Some((at, &bytes[at..end]))
    });
    all.filter(|(_, token)| !is_blank(token))
}

/// Behind what begins at `at`: a text, a comment, a word, an operator of two characters, or one byte.
fn token_end(bytes: &[u8], at: usize) -> usize {
    let byte = bytes[at];
    let is_twice = bytes.get(at + 1) == Some(&byte);
    match byte {
        b'"' => after_string(bytes, at),
        b'/' if is_twice => after_comment(bytes, at),
        b'&' | b'|' if is_twice => at + 2,
        _ if is_in_word(byte) => {
            let length = bytes[at..].iter().position(|byte| !is_in_word(*byte));
            length.map_or(bytes.len(), |length| at + length)
        }
        _ => at + 1,
    }
}

/// Whether Cedar skips `token`: a comment, or white space, which outside of texts all that is not ASCII is, too.
fn is_blank(token: &[u8]) -> bool {
    let is_white = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b || !byte.is_ascii();
    token.starts_with(b"//") || token.iter().all(is_white)
}

pub(crate) const fn is_in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// How much a type comes to, with the types that it names: Cedar puts these in the place of their names.
#[derive(Clone, Copy)]
struct Size {
    members: u64,
    depth: usize,
}

/// The types that schema parts name, in their JSON form.
#[derive(Default)]
struct Named<'a> {
    types: BTreeMap<&'a str, Vec<&'a Value>>,
    known: BTreeMap<&'a str, Size>,
}

/// The first of schema `parts`, in their JSON form, of which a namespace declares too much or too deep, with the types
/// that it names; and the type there that does so by itself, if one does.
pub(crate) fn too_large(parts: &[Value]) -> Option<(usize, Option<&str>)> {
    let mut named = Named::default();
    let all = parts.iter().enumerate().filter_map(|(at, part)| Some((at, part.as_object()?)));
    let spaces: Vec<(usize, &Value)> =
        all.flat_map(|(at, part)| part.values().map(move |space| (at, space))).collect();
    let common = spaces.iter().filter_map(|&(_, space)| space["commonTypes"].as_object());
    for (name, what) in common.flatten() {
        named.types.entry(name).or_default().push(what);
    }
    let mut spaces = spaces.into_iter();
    let (at, space) = spaces.find(|&(_, space)| named.size(space, DEPTH_MAX).is_none())?;
    let kinds = ["commonTypes", "entityTypes"].into_iter();
    let mut types = kinds.filter_map(move |kind| space[kind].as_object()).flatten();
    // A type stands two deeper than its namespace: in those of its kind.
    let of_it = types.find(|&(_, what)| named.size(what, DEPTH_MAX - 2).is_none());
    Some((at, of_it.map(|(name, _)| name.as_str())))
}

impl<'a> Named<'a> {
    /// How much `what` comes to; none, if that is too much, or deeper than `left`.
    fn size(&mut self, what: &'a Value, left: usize) -> Option<Size> {
        let nothing = Size { members: 1, depth: 0 };
        let parts: Vec<&Value> = match what {
            Value::String(path) => {
                return self.of_name(path.rsplit("::").next().unwrap_or(path), left);
            }
            Value::Array(all) => all.iter().collect(),
            Value::Object(all) => all.values().collect(),
            _ => return Some(nothing),
        };
        let left = left.checked_sub(1)?;
        let mut all = nothing;
        for part in parts {
            let part = self.size(part, left)?;
            all.members = all.members.saturating_add(part.members);
            all.depth = all.depth.max(part.depth + 1);
        }
        (all.members <= MEMBERS_MAX).then_some(all)
    }

    /// How much all come to that have the name.
    fn of_name(&mut self, name: &'a str, left: usize) -> Option<Size> {
        if let Some(known) = self.known.get(name) {
            return (known.depth <= left).then_some(*known);
        }
        let mut most = Size { members: 1, depth: 0 };
        for what in self.types.get(name).cloned().unwrap_or_default() {
            let size = self.size(what, left.checked_sub(1)?)?;
            most.members = most.members.max(size.members);
            most.depth = most.depth.max(size.depth + 1);
        }
        self.known.insert(name, most);
        Some(most)
    }
}

#[cfg(test)]
mod tests {
    use cedar_policy::SchemaFragment;

    use super::*;

    /// Each type is twice the one before, in a line of its own, or one deeper than that.
    #[test]
    fn types_that_name_types_are_small_with_them() {
        let check = |each: &str, times: usize, expected: bool| {
            let lines = (1..=times).map(|at| {
                let (own, before) = (format!("A{at}"), format!("A{}", at - 1));
                format!("type {own} = {};\n", each.replace("BEFORE", &before))
            });
            let lines: String = lines.collect();
            let text = format!("type A0 = {{ a: Long }};\n{lines}entity E {{ a: A{times} }};");
            let (fragment, _) = SchemaFragment::from_cedarschema_str(&text).expect("it is a part");
            let part = fragment.to_json_value().expect("it has a form in JSON");
            assert_eq!(too_large(&[part]).is_none(), expected, "{each} {times}");
        };
        check("{ a: BEFORE, b: BEFORE }", 5, true);
        check("{ a: BEFORE, b: BEFORE }", 40, false);
        check("Set<BEFORE>", 10, true);
        check("Set<BEFORE>", 5_000, false);
        check("{ a: Long }", 1_000, true);
    }

    fn check(condition: &str, expected: bool) {
        let text = format!("permit (principal, action, resource) when {{ {condition} }};");
        let shown: String = condition.chars().take(40).collect();
        assert_eq!(is_shallow(&text).is_ok(), expected, "{shown}: {}", condition.len());
    }

    /// The braces of the condition are one of the brackets; they are joined to what is of `permit`.
    #[test]
    fn i_18_a_policy_nests_only_so_deep() {
        let [most, others] = [BRACKETS_MAX - 1, OPERATORS_MAX - 2];
        for (open, close) in [("(", ")"), ("[", "]"), ("{a: ", "}"), ("f(", ")")] {
            let nested = |times: usize| [open.repeat(times), close.repeat(times)].join("1");
            check(&nested(most), true);
            check(&nested(most + 1), false);
        }
        let blank = ["//\n[a]", "\u{b}[a]", "\u{85}[a]", "\u{a0}(a)", "\u{2003}//(\n [a]"];
        let plain = [" && a", " || a", ".a", "[a]", "(a)", " + 1", " - 1", " * 1"];
        for operator in plain.into_iter().chain(blank) {
            check(&format!("a{}", operator.repeat(others)), true);
            check(&format!("a{}", operator.repeat(others + 1)), false);
        }
        check(&format!("{}a", "if a then a else ".repeat(others)), true);
        check(&format!("{}a", "if a then a else ".repeat(others + 1)), false);
        // However it is shared out among brackets.
        let shared = |times: usize| format!("a{} && (a{})", ".a".repeat(100), ".a".repeat(times));
        check(&shared(others - 101), true);
        check(&shared(others - 100), false);
    }

    /// Nor does what stands beside each other go deeper, or what is no operator.
    #[test]
    fn what_is_long_is_not_deep() {
        check(&format!("[{}].contains(a)", "a.b.c, ".repeat(5_000)), true);
        check(&["a.b.c.d == 1"; 200].join(" && "), true);
        check(&format!("a == \"{}\"", "(((\\\"&&".repeat(5_000)), true);
        check(&format!("// {}\na", "(((&&".repeat(5_000)), true);
        check(&"iff ".repeat(5_000), true);
        let many = "permit (principal, action, resource) when { a && b };".repeat(5_000);
        assert_eq!(is_shallow(&many), Ok(()));
        let joined = format!("permit (principal){};", " when { a }".repeat(OPERATORS_MAX - 1));
        assert_eq!(is_shallow(&joined), Ok(()));
        let joined = format!("permit (principal){};", " when { a }".repeat(OPERATORS_MAX));
        is_shallow(&joined).expect_err("they are one conjunction");
    }

    #[test]
    fn it_is_said_where() {
        let text = format!("permit (principal) when {{ {} }};", "(".repeat(40));
        let (at, why) = is_shallow(&text).expect_err("it is deep");
        assert_eq!(
            (at, why.as_str()),
            (57, "more than 32 brackets stand in one another: nest less")
        );
        // What is not in order is for the parser to say.
        for text in [")", "\"", "\\", "&", "| |", "//", "é(", "{", "\"\\"] {
            assert_eq!(is_shallow(text), Ok(()), "{text}");
        }
    }
}
