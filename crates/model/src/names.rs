//! Names that people choose: each kind its own type, checked once.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that cannot be a name of the kind that was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {kind}: expected {rule}")]
pub struct InvalidName {
    text: String,
    kind: &'static str,
    rule: &'static str,
}

impl InvalidName {
    pub(crate) fn new(text: &str, kind: &'static str, rule: &'static str) -> Self {
        let text = text.chars().take(80).flat_map(char::escape_default).collect();
        Self { text, kind, rule }
    }
}

const LABEL_RULE: &str = "1 to 63 characters of a-z, 0-9 and `-`";
const PERSON_RULE: &str = "1 to 128 characters of a-z, A-Z, 0-9 and `.`, `_`, `@`, `+`, `-`";
const UNIT_RULE: &str =
    "1 to 128 characters, none of them control or invisible, and no space at either end";
const TOOL_RULE: &str = "1 to 128 characters, none of them control, invisible or a slash";

fn is_label(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(allowed)
}

fn is_person(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(allowed)
}

/// Whether nobody sees the character.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{00ad}')
}

/// Whether a server may call a tool this: visible characters, and no `/`, which separates the
/// server's name from the tool's in every action and resource id.
fn is_tool(text: &str) -> bool {
    (1..=128).contains(&text.len()) && !text.chars().any(|c| is_hidden(c) || c == '/')
}

/// Whether a directory may call a unit this.
fn is_unit(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.trim() == text && !text.chars().any(is_hidden)
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:path, $rule:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                if $check(text) {
                    return Ok(Self(Arc::from(text)));
                }
                Err(InvalidName::new(text, $kind, $rule))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "`{}`", self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::spelt::read(deserializer)
            }
        }
    };
}

name!(
    /// Names a natural person in this deployment; never an e-mail address by itself.
    PersonId, "a person id", is_person, PERSON_RULE
);
name!(
    /// Names a group of persons.
    GroupName, "a group name", is_label, LABEL_RULE
);
name!(
    /// Names a unit of the organisation, as its directory does.
    UnitName, "a unit", is_unit, UNIT_RULE
);
name!(
    /// Names a category of data, as the organisation classifies it.
    DataCategory, "a category of data", is_label, LABEL_RULE
);
name!(
    /// Names a kind of data, by what may be done once it was read.
    Label, "a label", is_label, LABEL_RULE
);
name!(
    /// Names a budget.
    BudgetName, "a name of a budget", is_label, LABEL_RULE
);
name!(
    /// Names a directory that says, under its signature, who the organisation's people are.
    SourceName, "a name of a source", is_label, LABEL_RULE
);
name!(
    /// Names an agent: registered software that acts.
    AgentName, "an agent name", is_label, LABEL_RULE
);
name!(
    /// Names an entry of the register of purposes.
    PurposeId, "a purpose id", is_label, LABEL_RULE
);
name!(
    /// Names an elevation, so that policy can refer to it.
    ElevationName, "a name of an elevation", is_label, LABEL_RULE
);
name!(
    /// Names a system of the organisation that starts work of agents.
    SystemName, "a system name", is_label, LABEL_RULE
);
name!(
    /// Names an upstream MCP server.
    ServerName, "a server name", is_label, LABEL_RULE
);
name!(
    /// Names an environment in which tools act: `production`, `staging`, …
    EnvironmentName, "an environment", is_label, LABEL_RULE
);
name!(
    /// Names a region in which tools keep data.
    RegionName, "a region", is_label, LABEL_RULE
);
name!(
    /// Names a tool within its server, byte for byte as the server does.
    ToolName, "a tool name", is_tool, TOOL_RULE
);

/// One tool of one server, written `SERVER/TOOL`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ToolRef {
    /// The server that offers the tool.
    pub server: ServerName,
    /// The tool's name there.
    pub tool: ToolName,
}

impl fmt::Display for ToolRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.server, self.tool)
    }
}

impl FromStr for ToolRef {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let whole = || InvalidName::new(text, "a tool of a server", "`SERVER/TOOL`");
        let (server, tool) = text.split_once('/').ok_or_else(whole)?;
        Ok(Self { server: server.parse()?, tool: tool.parse()? })
    }
}

impl Serialize for ToolRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ToolRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::spelt::read(deserializer)
    }
}
