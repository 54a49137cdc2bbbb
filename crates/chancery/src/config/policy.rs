//! Where policy is read from.

use std::path::PathBuf;

use pap::Administration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where policy is read from, where it is not the release that is active.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is what it is called in the configuration")]
pub(crate) struct Policy {
    /// A directory with `*.cedar` files, which are in force in place of releases in a deployment for development.
    /// Nobody signs them.
    pub(crate) path: Option<PathBuf>,
    /// Whether that is meant: without it, `path` is refused.
    pub(crate) allow_loose: bool,
    /// Whether the starter policy is in force in place of releases, by which agents call nothing: so the way to the
    /// next release is open where none can be in force.
    pub(crate) starter: bool,
    /// Whether it is read again when its files change (and always on SIGHUP).
    pub(crate) reload: bool,
    /// How long a release decides on after it has expired, in milliseconds; then no act of an agent is permitted.
    pub(crate) grace_ms: u64,
    /// Whether a release has to be one of which its author says that it is proved.
    pub(crate) require_proof: bool,
    /// Whether an instance at high risk is revoked, and not only quarantined.
    pub(crate) revoke_at_high_risk: bool,
}

impl Policy {
    /// `administration`, as it is to be where this says so.
    pub(crate) fn rules(&self, administration: Administration) -> Administration {
        let administration = administration.requiring_proof(self.require_proof);
        administration.revoking_at_high(self.revoke_at_high_risk)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            path: None,
            allow_loose: false,
            starter: false,
            reload: true,
            grace_ms: 24 * 3_600_000,
            require_proof: false,
            revoke_at_high_risk: false,
        }
    }
}
