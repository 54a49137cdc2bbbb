//! Login sessions: what is known of a person's session at their provider.

use serde::{Deserialize, Serialize};

use crate::{FactKey, SessionDigest, SourceName, Timestamp};

/// A login session in which a person does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginSession {
    /// Which, if their provider names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<SessionDigest>,
    /// When they authenticated for it.
    pub since: Timestamp,
}

impl FactKey {
    /// Whose a login session is that a person of `directory` began: holds the person's id, once they consented to
    /// something in it.
    pub fn session_of(directory: &SourceName, session: SessionDigest) -> Self {
        Self::from_text(&format!("session-of/{directory}/{session}"))
    }

    /// Until when such a session is over that a signal named when nobody knew whose it is.
    pub fn session_over(directory: &SourceName, session: SessionDigest) -> Self {
        Self::from_text(&format!("session-over/{directory}/{session}"))
    }
}
