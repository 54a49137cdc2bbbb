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
        self.server == *server
            && if self.is_beginning {
                self.name.is_empty() || (name.starts_with(&self.name) && is_straight(name))
            } else {
                self.name == name
            }
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
    let is_encoded = ["%25", "%2e", "%2f", "%5c"].iter().any(|code| lower.contains(code));
    let turns = |part: &str| part == "." || part.starts_with("..");
    !is_encoded && !name.contains(char::is_control) && !name.split(['/', '\\']).any(turns)
}

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
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
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
    /// nothing.
    pub fn named(pointers: &BTreeSet<String>, input: &Value) -> Self {
        let mut named = BTreeSet::new();
        for pointer in pointers {
            let values = match input.pointer(pointer) {
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
            Self::Named(names) => {
                names.iter().all(|name| patterns.iter().any(|pattern| pattern.covers(server, name)))
            }
            Self::Any => patterns.iter().any(|pattern| pattern.covers_all_of(server)),
        }
    }
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
