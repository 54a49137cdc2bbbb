//! The OpenID provider at which people log in, as the configuration says it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The OpenID provider at which people log in, and how this service is registered there.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginAt {
    /// The issuer, exactly as its metadata and tokens spell it.
    pub(crate) issuer: String,
    /// The id under which this service is registered there.
    pub(crate) client_id: String,
    /// A file with the private key, in PEM, by which this service shows the provider who it is.
    #[serde(default)]
    pub(crate) key: Option<PathBuf>,
    /// A file with the secret that the provider gave instead.
    #[serde(default)]
    pub(crate) client_secret_file: Option<PathBuf>,
    /// What is asked for beside `openid`.
    #[serde(default)]
    pub(crate) scopes: BTreeSet<String>,
    /// The claim that holds a person's groups.
    #[serde(default)]
    pub(crate) groups_claim: Option<String>,
    /// The classes of authentication of which one must have been met.
    #[serde(default)]
    pub(crate) acr_values: BTreeSet<String>,
    /// How long ago a person may have authenticated at the provider, in seconds.
    #[serde(default)]
    pub(crate) max_age_s: Option<u64>,
    /// By what the provider signs: `RS256` (default), `PS256`, `ES256` or `EdDSA`.
    #[serde(default)]
    pub(crate) signed_by: Option<String>,
    /// Hosts beside the issuer's at which the provider has endpoints or keys.
    #[serde(default)]
    pub(crate) other_hosts: BTreeSet<String>,
    /// Audiences that an ID token may have beside this service.
    #[serde(default)]
    pub(crate) other_audiences: BTreeSet<String>,
}

impl LoginAt {
    /// The files that it names.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.key.iter().chain(&self.client_secret_file)
    }

    /// The same, to be changed.
    pub(crate) fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.key.iter_mut().chain(&mut self.client_secret_file)
    }
}
