//! What a snapshot is compiled from: policy texts, schema parts and the tools' input schemas.
//!
//! Serialises canonically (RFC 8785), so that its digest names it in every record and an auditor
//! can compile the very same snapshot again.

use std::collections::BTreeMap;

use model::{PolicyDigest, ToolRef};
use serde::{Deserialize, Serialize};

/// A policy set as it is published: everything that decides, as text, and what it was tried on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// The Cedar policies, by file name.
    pub policies: BTreeMap<String, String>,
    /// Schema parts beyond the base schema (Cedar schema syntax), by file name.
    #[serde(default)]
    pub schema: BTreeMap<String, String>,
    /// What results carry and where data goes (`labels.yaml`), if it is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
    /// How much may be used up, and by whom (`budgets.yaml`), if it is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budgets: Option<String>,
    /// How strict it is beyond what it permits (`strictness.yaml`), if that is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strictness: Option<String>,
    /// What it must answer (`cases/*.yaml`), and of which tools (`tools.yaml`), by the paths of the files in the set:
    /// they decide nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cases: BTreeMap<String, String>,
    /// The tools that may be called, with the schemas that were pinned.
    #[serde(default)]
    pub tools: BTreeMap<ToolRef, ToolSchema>,
}

/// What a tool's arguments look like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolSchema {
    /// The `inputSchema` of the pinned descriptor (JSON Schema, 2020-12 unless it says otherwise).
    pub input_schema: serde_json::Value,
}

impl Bundle {
    /// The digest of the canonical form.
    pub fn digest(&self) -> PolicyDigest {
        PolicyDigest::of(&json::canonical_of(self))
    }

    /// The digest of the set without tools: by which a release names its content.
    pub fn content(&self) -> PolicyDigest {
        Self { tools: BTreeMap::new(), ..self.clone() }.digest()
    }
}
