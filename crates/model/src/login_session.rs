//! Login sessions: what is known of a person's session at their provider.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{FactKey, SessionDigest, SourceName, Timestamp};

/// How the keys begin of what says that a session is over of which nobody knew whose it is.
pub const SESSION_OVER: &str = "session-over/";

/// The most people of whom it is known that they consented to something in login sessions of one name.
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

/// The most bytes of a class of authentication that is kept, and of all methods together: tokens have them.
pub const AUTHENTICATION_MAX: usize = 128;

/// How a person authenticated, as far as their provider says (RFC 9068 §2.2.1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authentication {
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<Timestamp>,
    /// Its class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// Its methods (RFC 8176).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub amr: BTreeSet<String>,
}

impl Authentication {
    /// What a provider says of it, if it says anything. What is too long to be kept is left out.
    pub fn said(
        auth_time: Option<Timestamp>,
        acr: Option<&str>,
        amr: &BTreeSet<String>,
    ) -> Option<Self> {
        let acr = acr.filter(|acr| acr.len() <= AUTHENTICATION_MAX).map(str::to_owned);
        let is_short = amr.iter().map(String::len).sum::<usize>() <= AUTHENTICATION_MAX;
        let amr = if is_short { amr.clone() } else { BTreeSet::new() };
        let said = Self { auth_time, acr, amr };
        (said != Self::default()).then_some(said)
    }
}

/// The login session in which a person consents to something, and how they authenticated for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsentSession {
    /// Which, if their provider names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<SessionDigest>,
    /// When they authenticated for it, or began to log in, if their provider does not say that.
    pub since: Timestamp,
    /// How, as far as that was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Box<Authentication>>,
}

impl ConsentSession {
    /// A session in which somebody consents who authenticated so.
    pub fn of(LoginSession { id, since }: LoginSession, how: Option<&Authentication>) -> Self {
        Self { id, since, authentication: how.cloned().map(Box::new) }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever a provider calls it, it fits a token; of what does not, nothing is kept.
    #[test]
    fn what_is_said_of_an_authentication_is_kept_as_far_as_it_fits() {
        let check = |(acr, amr): (usize, &[usize]), expected: Option<(usize, usize)>| {
            let amr = amr.iter().map(|length| "m".repeat(*length)).collect();
            let said = Authentication::said(None, Some("a".repeat(acr)).as_deref(), &amr);
            let kept = said.map(|it| (it.acr.map_or(0, |acr| acr.len()), it.amr.len()));
            assert_eq!(kept, expected, "{acr} {amr:?}");
        };
        let (fits, beyond) = (AUTHENTICATION_MAX, AUTHENTICATION_MAX + 1);
        check((fits, &[fits]), Some((fits, 1)));
        check((3, &[1, fits - 1]), Some((3, 2)));
        check((3, &[2, fits - 1]), Some((3, 0)));
        check((beyond, &[3]), Some((0, 1)));
        check((beyond, &[beyond]), None);
        assert_eq!(Authentication::said(None, None, &BTreeSet::new()), None);
        let at = Some(Timestamp::from_seconds(7));
        let said = Authentication::said(at, None, &BTreeSet::new()).expect("it says when");
        assert_eq!(serde_json::json!(said), serde_json::json!({ "auth_time": 7_000 }));
    }
}
