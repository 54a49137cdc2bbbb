//! Data objects: what an act is done to, and what work may be done to.
//!
//! INVARIANT: what is not known is outside. An argument that names nothing, or that a tool could read as
//! another name, is held against no pattern but one for all of a server (`r_41_…`).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::{InvalidName, ServerName};

/// The most patterns of data objects that one scope may hold.
pub const OBJECT_PATTERNS_MAX: usize = 256;

/// The longest pattern of data objects, in bytes.
const PATTERN_BYTES_MAX: usize = 512;

/// The most data objects that one call may name.
pub const OBJECTS_OF_CALL_MAX: usize = 1_024;

const OBJECT_RULE: &str = "`SERVER/NAME`, `SERVER/BEGINNING*` or `SERVER/*`, of at most 512 bytes, none of \
     them a control character";

/// One data object of a server (`crm/customer-7`), or all whose names begin so (`crm/customer-*`, `crm/*`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectPattern {
    server: ServerName,
    /// The name, or how it begins.
    name: String,
    is_beginning: bool,
}

impl ObjectPattern {
    /// Whether the pattern covers the object that `server` knows as `name`.
    pub fn covers(&self, server: &ServerName, name: &str) -> bool {
        self.matches(server, name) && (self.is_whole() || is_straight(name))
    }

    /// Whether `name` is, or begins, as the pattern says.
    fn matches(&self, server: &ServerName, name: &str) -> bool {
        let is_so =
            if self.is_beginning { name.starts_with(&self.name) } else { self.name == name };
        self.server == *server && is_so
    }

    /// Whether it says of a name all that there is to say: which it is, or that it is whichever.
    fn is_whole(&self) -> bool {
        !self.is_beginning || self.name.is_empty()
    }

    /// The one object that the pattern covers, by the name that `server` has for it; none, if it covers more, or is
    /// of another server.
    pub fn exact(&self, server: &ServerName) -> Option<&str> {
        (self.server == *server && !self.is_beginning).then_some(self.name.as_str())
    }

    /// Whether the pattern covers whatever `server` has.
    pub fn covers_all_of(&self, server: &ServerName) -> bool {
        self.server == *server && self.is_beginning && self.name.is_empty()
    }

    /// Whether the pattern covers all that `other` covers.
    pub fn includes(&self, other: &Self) -> bool {
        if other.is_beginning {
            let is_longer = self.is_beginning && other.name.starts_with(&self.name);
            self.server == other.server && is_longer
        } else {
            self.covers(&other.server, &other.name)
        }
    }

    /// What both patterns cover, if that is anything.
    pub fn meet(&self, other: &Self) -> Option<Self> {
        let narrower = if self.includes(other) { other } else { self };
        (self.includes(narrower) && other.includes(narrower)).then(|| narrower.clone())
    }
}

/// Whether nobody who takes `name` for a path comes to another one: of what only begins as it should, the rest
/// must not lead away.
fn is_straight(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let is_code = |rest: &str| ENCODED.iter().any(|code| rest.starts_with(code));
    let is_encoded = lower.match_indices('%').any(|(at, _)| lower.get(at..).is_some_and(is_code));
    let turns = |part: &str| part == "." || part.starts_with("..");
    let is_odd = |it: char| it.is_control() || COMPATIBLE.contains(&it);
    !is_encoded && !name.contains(is_odd) && !name.split(['/', '\\']).any(turns)
}

/// How percent signs, dots, slashes and control characters are encoded, also in what is no UTF-8 (too long a form,
/// or `%uXXXX`): some decode that.
const ENCODED: [&str; 13] =
    ["%25", "%2e", "%2f", "%5c", "%0", "%1", "%7f", "%c0", "%c1", "%e0%8", "%e0%9", "%f0%8", "%u"];

/// What becomes a dot, a slash or a percent sign where names are brought into a normal form (NFKC).
const COMPATIBLE: [char; 9] = [
    '\u{2024}', '\u{2025}', '\u{fe52}', '\u{fe68}', '\u{fe6a}', '\u{ff05}', '\u{ff0e}', '\u{ff0f}',
    '\u{ff3c}',
];

impl fmt::Display for ObjectPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.server, self.name, if self.is_beginning { "*" } else { "" })
    }
}

impl FromStr for ObjectPattern {
    type Err = InvalidName;

    /// Reads `SERVER/NAME` or `SERVER/BEGINNING*`; a `*` stands for nothing but the rest, and so at the end only.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = || InvalidName::new(text, "a pattern of data objects", OBJECT_RULE);
        let (server, rest) = text.split_once('/').ok_or_else(invalid)?;
        let (name, is_beginning) = match rest.strip_suffix('*') {
            Some(beginning) => (beginning, true),
            None => (rest, false),
        };
        let is_said = is_beginning || !name.is_empty();
        let is_odd = name.contains('*') || name.contains(char::is_control);
        if !is_said || is_odd || text.len() > PATTERN_BYTES_MAX {
            return Err(invalid());
        }
        Ok(Self { server: server.parse()?, name: name.to_owned(), is_beginning })
    }
}

impl Serialize for ObjectPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ObjectPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::spelt::read(deserializer)
    }
}

/// The data objects of a server that an act is done to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Objects {
    /// None.
    None,
    /// Those with these names.
    Named(BTreeSet<String>),
    /// Whichever: nobody can tell.
    Any,
}

impl Objects {
    /// What the arguments at these `pointers` (RFC 6901) name, each one or a list: `Any`, if one of them names
    /// nothing, or it is not told which argument that is.
    pub fn named(pointers: &BTreeSet<String>, input: &Value) -> Self {
        let mut named = BTreeSet::new();
        for pointer in pointers {
            let values = match argument(input, pointer) {
                Some(Value::Array(items)) if !items.is_empty() => items.as_slice(),
                Some(one) => std::slice::from_ref(one),
                None => return Self::Any,
            };
            if named.len() + values.len() > OBJECTS_OF_CALL_MAX {
                return Self::Any;
            }
            for value in values {
                let Some(name) = name_of(value) else { return Self::Any };
                named.insert(name);
            }
        }
        if named.is_empty() { Self::None } else { Self::Named(named) }
    }

    /// Whether each of them, at `server`, is covered by one of `patterns`.
    pub fn are_within(&self, patterns: &BTreeSet<ObjectPattern>, server: &ServerName) -> bool {
        match self {
            Self::None => true,
            Self::Named(names) => names.iter().all(|name| is_covered(name, patterns, server)),
            Self::Any => patterns.iter().any(|pattern| pattern.covers_all_of(server)),
        }
    }
}

/// Whether one of `patterns` covers the object that `server` knows as `name`. Both may be chosen by who is held to
/// them: a long name is looked through once, however many patterns it begins as.
fn is_covered(name: &str, patterns: &BTreeSet<ObjectPattern>, server: &ServerName) -> bool {
    let mut begins = false;
    for pattern in patterns.iter().filter(|pattern| pattern.matches(server, name)) {
        if pattern.is_whole() {
            return true;
        }
        begins = true;
    }
    begins && is_straight(name)
}

/// The argument at `pointer`; none too, if there could be others: it is one of a list, or a server that reads the
/// names of arguments without regard to case finds another.
fn argument<'a>(input: &'a Value, pointer: &str) -> Option<&'a Value> {
    pointer.split('/').skip(1).try_fold(input, |value, part| {
        let name = part.replace("~1", "/").replace("~0", "~");
        let members = value.as_object()?;
        let is_doubled = members.keys().any(|other| is_alike(other, &name));
        if is_doubled { None } else { members.get(&name) }
    })
}

/// Whether `one` is another name than `other`, and the same without regard to case.
fn is_alike(one: &str, other: &str) -> bool {
    if one.is_ascii() && other.is_ascii() {
        return one != other && one.eq_ignore_ascii_case(other);
    }
    // Some letters have one form only, and are others in the other case (`\u{212a}`, `\u{17f}`).
    let folded = |name: &str| name.to_uppercase().to_lowercase();
    one != other && folded(one) == folded(other)
}

/// The name that an argument is; none, if it is no name.
fn name_of(value: &Value) -> Option<String> {
    match value {
        Value::String(name) => (!name.is_empty()).then(|| name.clone()),
        // However it is spelt, it is that number.
        Value::Number(_) | Value::Bool(_) => String::from_utf8(json::canonical(value)).ok(),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
