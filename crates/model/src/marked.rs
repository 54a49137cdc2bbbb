//! What labels are on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{FactKey, InvalidName, ResourceRef, ServerName, TaskId};

const RULE: &str = "`task/ID`, `kept/SERVER`, `kept/SERVER/NAME` or `unnamed/SERVER`";

/// What labels are on, written `task/ID`, `kept/SERVER`, `kept/SERVER/NAME` or `unnamed/SERVER`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marked {
    /// The session of a task.
    Session(TaskId),
    /// All that a server keeps, for whoever does not say which of it they read, or one object.
    Kept(ServerName, Option<String>),
    /// What a server keeps under no name of its own, which is read under every name.
    Unnamed(ServerName),
}

impl Marked {
    /// The fact that holds them.
    pub fn key(&self) -> FactKey {
        match self {
            Self::Session(task) => FactKey::session(*task),
            Self::Kept(server, name) => {
                FactKey::kept(server, name.clone().map(Into::into).as_ref())
            }
            Self::Unnamed(server) => FactKey::kept_unnamed(server),
        }
    }

    /// The resource that an act on them is an act on.
    pub fn resource(&self) -> ResourceRef {
        match self {
            Self::Session(task) => ResourceRef::Task(*task),
            Self::Kept(server, _) | Self::Unnamed(server) => ResourceRef::Server(server.clone()),
        }
    }
}

impl fmt::Display for Marked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(task) => write!(f, "task/{task}"),
            Self::Kept(server, None) => write!(f, "kept/{server}"),
            Self::Kept(server, Some(name)) => write!(f, "kept/{server}/{name}"),
            Self::Unnamed(server) => write!(f, "unnamed/{server}"),
        }
    }
}

impl FromStr for Marked {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let unknown = || InvalidName::new(text, "what labels are on", RULE);
        match text.split_once('/').ok_or_else(unknown)? {
            ("task", id) => id.parse().map(Self::Session).map_err(|_| unknown()),
            ("unnamed", server) => Ok(Self::Unnamed(server.parse()?)),
            ("kept", place) => {
                let (server, name) = match place.split_once('/') {
                    Some((server, name)) => (server, Some(name.to_owned())),
                    None => (place, None),
                };
                Ok(Self::Kept(server.parse()?, name))
            }
            _ => Err(unknown()),
        }
    }
}

impl Serialize for Marked {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Marked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::spelt::read(deserializer)
    }
}
