//! What stands under `servers.NAME`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An upstream MCP server: reached at a URL, or started as a command.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Server {
    /// The URL of a streamable-HTTP server.
    pub(crate) url: Option<String>,
    /// The command of a stdio server.
    pub(crate) command: Option<String>,
    /// Its arguments.
    pub(crate) args: Vec<String>,
    /// Its environment beside PATH, HOME and LANG.
    pub(crate) env: BTreeMap<String, String>,
    /// How a denied `tools/call` looks: a result that the model reads, or a JSON-RPC error.
    pub(crate) denials: Denials,
    /// A file whose one line (`Name: value`) is sent instead of our own assertion.
    pub(crate) header_file: Option<PathBuf>,
    /// The hosts to which the server may send whoever is at the client (URL elicitation, https).
    pub(crate) elicitation_hosts: BTreeSet<String>,
    /// The user (name or uid) as whom a stdio server runs; the service must be root. Default: the
    /// service's own user, in a user namespace.
    pub(crate) user: Option<Account>,
    /// What a stdio server may write to beside its own temporary directory; it must exist.
    pub(crate) writes: Vec<PathBuf>,
    /// What a process of a stdio server may use.
    pub(crate) limits: ProcessLimits,
    /// A stdio server keeps nothing from one call to the next: one process serves all agents and
    /// persons, instead of one for each.
    pub(crate) stateless: bool,
    /// Start a stdio server even where it cannot be isolated.
    pub(crate) allow_unisolated: bool,
}

impl Server {
    /// Whether something is said of how its process is kept apart, or shared.
    pub(crate) const fn is_narrowed(&self) -> bool {
        self.user.is_some() || !self.writes.is_empty() || self.allow_unisolated || self.stateless
    }
}

/// A user of this machine.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Account {
    /// By number.
    Uid(u32),
    /// By name.
    Name(String),
}

/// What a process of a stdio server may use.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ProcessLimits {
    /// Memory of one process in MiB, and as much in its temporary directory.
    #[schemars(range(min = 64, max = 1_048_576))]
    pub(crate) memory_mb: u64,
    /// Processes and threads of one server; of all servers of one user where that user has no
    /// namespaces.
    #[schemars(range(min = 1, max = 65_536))]
    pub(crate) processes: u64,
    /// Open files of one process.
    #[schemars(range(min = 16, max = 1_048_576))]
    pub(crate) files: u64,
}

impl Default for ProcessLimits {
    fn default() -> Self {
        Self { memory_mb: 4_096, processes: 256, files: 1_024 }
    }
}

/// How a denied `tools/call` looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Denials {
    /// HTTP 200 with a result that says `isError`.
    #[default]
    Result,
    /// A JSON-RPC error, -32001.
    Jsonrpc,
}
