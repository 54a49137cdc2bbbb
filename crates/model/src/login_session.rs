//! Login sessions: what is known of a person's session at their provider.

use serde::{Deserialize, Serialize};

use crate::{FactKey, SessionDigest, SourceName, Timestamp};

/// How the keys begin of what says that a session is over of which nobody knew whose it is.
pub const SESSION_OVER: &str = "session-over/";

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

/// That a login session is over which a signal named when nobody knew whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionOver {
    /// By when what began in it is over.
    pub until: Timestamp,
    /// Until when a token that told of it could come again: as long it is kept.
    pub kept: Timestamp,
}

impl SessionOver {
    /// The same, by what another token tells as well.
    #[must_use]
    pub fn and(self, told: Self) -> Self {
        Self { until: self.until.max(told.until), kept: self.kept.max(told.kept) }
    }
}

impl FactKey {
    /// Whose a login session is that a person of `directory` began: holds the person's id, once they consented to
    /// something in it. It is kept as what they consented to is, for good: there are no more of these than of that.
    pub fn session_of(directory: &SourceName, session: SessionDigest) -> Self {
        Self::from_text(&format!("session-of/{directory}/{session}"))
    }

    /// That such a session is over: holds a [`SessionOver`].
    pub fn session_over(directory: &SourceName, session: SessionDigest) -> Self {
        Self::from_text(&format!("{SESSION_OVER}{directory}/{session}"))
    }
}
