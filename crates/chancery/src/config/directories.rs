//! What directories reach, as the configuration says it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What directories reach beside people.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Directories {
    /// Whether they see agents and register them, at `/scim/v2/Agents`: a draft, which may change.
    pub(crate) agents: bool,
}
