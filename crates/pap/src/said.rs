//! What administrators say of purposes, agents and tools.

use model::{HostRule, Memory, WorkloadRule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clients::ClientRegistration;

/// What somebody says of a server; what is left out stays as it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerSaid {
    /// Who answers for exposing its tools.
    pub owner: Option<String>,
    /// The harm classes of its tools: `TOOL=CLASS,…` or `*=CLASS`.
    pub harm: Vec<String>,
    /// In which environment it acts.
    #[serde(default)]
    pub environment: Option<String>,
    /// In which region it keeps data.
    #[serde(default)]
    pub region: Option<String>,
}

/// What somebody says of a tool; what is left out stays as it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolSaid {
    /// Who answers for exposing it.
    pub owner: Option<String>,
    /// Its harm classes.
    pub harm: Vec<String>,
    /// Whether it may be called on behalf of a person only.
    pub requires_subject: Option<bool>,
    /// Whether nobody may call it in work that was handed on.
    pub not_delegable: Option<bool>,
    /// Where its arguments name the data objects that it is used on (JSON pointers).
    #[serde(default)]
    pub objects: Vec<String>,
    /// That it is used on none.
    #[serde(default)]
    pub no_object: bool,
    /// The categories of data that it touches.
    #[serde(default)]
    pub data: Vec<String>,
}

/// What a registration of a purpose names.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the members are those of the command line, documented there")]
pub struct PurposeRegistration {
    pub id: String,
    pub owner: String,
    pub tools: Vec<String>,
    pub harm: Vec<String>,
    #[serde(default)]
    pub objects: Vec<String>,
    #[serde(default)]
    pub data: Vec<String>,
    pub max_calls: Option<u64>,
    pub max_tasks_a_day: Option<u64>,
    pub description: String,
}

/// What somebody says of what a purpose is for; of what is left out, it stays as it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PurposeSaid {
    /// Which.
    pub id: String,
    /// Tools.
    #[serde(default)]
    pub tools: Vec<String>,
    /// Data objects, as patterns.
    #[serde(default)]
    pub objects: Vec<String>,
    /// Any of them.
    #[serde(default)]
    pub any_object: bool,
    /// Categories of data.
    #[serde(default)]
    pub data: Vec<String>,
    /// Any of them.
    #[serde(default)]
    pub any_data: bool,
}

/// What a registration of an agent names.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the members are those of the command line, documented there")]
pub struct Registration {
    pub name: String,
    pub sponsor: String,
    pub purpose: String,
    pub business_owner: String,
    pub technical_owner: String,
    #[serde(default)]
    pub backups: Vec<String>,
    /// The agent's public key (JWK).
    pub key: Value,
    #[serde(default)]
    pub host: Option<HostRule>,
    #[serde(default)]
    pub workloads: Vec<WorkloadRule>,
    /// The OAuth client that people use as this agent over HTTP.
    #[serde(default)]
    pub client: Option<ClientRegistration>,
    /// That it never works for nobody: the sponsor gives no standing mandate.
    #[serde(default)]
    pub on_behalf_only: bool,
    /// What its processes remember from one task to the next.
    #[serde(default)]
    pub memory: Memory,
}
