//! Who is told of callers that are no active agent, as the configuration says it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who is told of callers that are no active agent, and how.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Findings {
    /// A URL that takes each finding by POST, with the person who is to be told; `https` unless it
    /// is on loopback.
    pub(crate) webhook: Option<String>,
    /// A file whose one line (`Name: value`) goes with it.
    pub(crate) header_file: Option<PathBuf>,
    /// After how long without anybody looking the next person is told, in milliseconds.
    pub(crate) escalate_after_ms: u64,
}

impl Default for Findings {
    fn default() -> Self {
        Self { webhook: None, header_file: None, escalate_after_ms: 900_000 }
    }
}
