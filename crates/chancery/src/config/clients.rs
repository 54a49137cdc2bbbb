//! From where the documents of OAuth clients may be fetched (`docs/http-clients.md`).

use std::collections::BTreeSet;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the documents of OAuth clients are fetched from, beside public addresses.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Clients {
    /// Hosts in the operator's own network, in lower case, from which documents may be fetched.
    pub(crate) private_hosts: BTreeSet<String>,
    /// Files with certificates, in PEM, that vouch for those servers beside the system's.
    pub(crate) ca_files: Vec<PathBuf>,
}
