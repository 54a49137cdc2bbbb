//! The question put to the decision point.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    AgentName, ElevationId, InstanceId, MandateId, PersonId, PurposeId, ServerName, SourceName,
    SystemName, TaskId, ToolRef,
};

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Principal {
    /// An instance of an agent, in its task.
    Instance(InstanceId),
    /// A person who administers.
    Person(PersonId),
    /// A directory that tells of its people.
    Directory(SourceName),
}

/// The name of an action: a tool (`SERVER/TOOL`) or a method (`tools/list`, `agent/add`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActionName(Arc<str>);

impl ActionName {
    /// The action that calls `tool`.
    pub fn tool(tool: &ToolRef) -> Self {
        Self(tool.to_string().into())
    }

    /// The action of the method `method`, one of those that the schema declares.
    pub fn method(method: &str) -> Self {
        Self(method.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ActionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the action is done to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceRef {
    /// A tool.
    Tool(ToolRef),
    /// A server as a whole.
    Server(ServerName),
    /// A resource of a server, by URI.
    Resource {
        /// The server.
        server: ServerName,
        /// The URI, byte for byte.
        uri: String,
    },
    /// A prompt of a server.
    Prompt {
        /// The server.
        server: ServerName,
        /// The prompt's name.
        name: String,
    },
    /// A task.
    Task(TaskId),
    /// A mandate.
    Mandate(MandateId),
    /// An elevation.
    Elevation(ElevationId),
    /// An agent of the register.
    Agent(AgentName),
    /// An instance.
    Instance(InstanceId),
    /// A person of the register.
    Person(PersonId),
    /// A purpose of the register.
    Purpose(PurposeId),
    /// A system that starts work of agents.
    System(SystemName),
    /// A policy set, by digest.
    Bundle(String),
    /// The deployment itself.
    Deployment,
}

/// One question: may this principal do this, to that, with these arguments?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccessRequest {
    /// Who acts.
    pub principal: Principal,
    /// What is done.
    pub action: ActionName,
    /// To what.
    pub resource: ResourceRef,
    /// The arguments, validated against the pinned schema; an object, or null where the action has
    /// none.
    pub input: serde_json::Value,
}

impl AccessRequest {
    /// The question whether `principal` may do `act` to `target` where they administer.
    pub fn of_administration(principal: Principal, act: &str, target: ResourceRef) -> Self {
        let (action, input) = (ActionName::method(act), serde_json::Value::Null);
        Self { principal, action, resource: target, input }
    }
}
