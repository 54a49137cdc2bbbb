//! Login sessions: what is known of a person's session at their provider.

use serde::{Deserialize, Serialize};

use crate::{FactKey, SessionDigest, SourceName, Timestamp};

/// How the keys begin of what says that a session is over of which nobody knew whose it is.
pub const SESSION_OVER: &str = "session-over/";

/// The most people of whom it is known that they did something in login sessions of one name.
pub const SESSION_PEOPLE_MAX: usize = 16;

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
    /// Who consented to something in a login session of this name, at whatever provider and of whatever source: holds a
    /// set of [`PersonId`](crate::PersonId), [`SESSION_PEOPLE_MAX`] at most. Whose directory a person is of may change
    /// later. It is kept as what they consented to is, for good: there are no more of these than of that.
    pub fn session_of(session: SessionDigest) -> Self {
        Self::from_text(&format!("session-of/{session}"))
    }

    /// The same, as it was written by builds before, of one person who was of `directory` then: holds their id.
    pub fn session_of_one(directory: &SourceName, session: SessionDigest) -> Self {
        Self::from_text(&format!("session-of/{directory}/{session}"))
    }

    /// That such a session is over: holds a [`SessionOver`].
    pub fn session_over(directory: &SourceName, session: SessionDigest) -> Self {
        Self::from_text(&format!("{SESSION_OVER}{directory}/{session}"))
    }
}
