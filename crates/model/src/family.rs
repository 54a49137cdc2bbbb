//! Families of refresh tokens: what came of one authorization code of an OAuth client.

use serde::{Deserialize, Serialize};

use crate::{Agent, InstanceId, ServerName, Sha256Digest, Timestamp};

/// What came of one code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Family {
    /// The client that redeemed the code.
    pub client_id: String,
    /// Since when that was registered.
    pub since: Timestamp,
    /// The instance.
    pub instance: InstanceId,
    /// The one server that its tokens are for.
    pub server: ServerName,
    /// The digest of the last refresh token.
    pub refresh: Sha256Digest,
}

impl Family {
    /// Whether `token` is the last refresh token.
    pub fn is_last(&self, token: &str) -> bool {
        self.refresh == Sha256Digest::of(token.as_bytes())
    }

    /// Whether what is `agent` by now is still the client as it was.
    pub fn is_of(&self, agent: &Agent) -> bool {
        agent.has_client(&self.client_id, self.since)
    }
}
