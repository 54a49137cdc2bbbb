//! Directories that push who their people are, one change at a time (SCIM 2.0, RFC 7644).

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    GroupName, Person, PersonId, PurposeId, Sha256Digest, SourceName, Timestamp, UnitName,
};

/// The most bearer tokens of one directory that count at once: the one in use and its successor.
pub const DIRECTORY_TOKENS_MAX: usize = 2;

/// A registered directory. It acts for itself: nobody's leaving keeps it from saying who else left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// Its name; also that of the source of its people.
    pub name: SourceName,
    /// How its people log in; without it, they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logins: Option<LoginRule>,
    /// After how many minutes in which nothing was heard of it its people are unconfirmed; without that,
    /// nobody waits for it.
    #[serde(default)]
    pub silence_min: Option<u32>,
    /// When it was registered.
    pub registered: Timestamp,
    /// Whether it may say anything.
    pub state: DirectoryState,
}

/// Which login is a person's of whom a directory tells (OpenID Connect Core §2: issuer and subject).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginRule {
    /// The issuer.
    pub issuer: String,
    /// Which member of the directory's user is the subject there.
    pub subject: LoginSubject,
}

/// A member of a directory's user that its provider uses as the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LoginSubject {
    /// `externalId`.
    ExternalId,
    /// `userName`, byte for byte.
    UserName,
}

/// Whether a directory, or a stream that tells of its people, counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum DirectoryState {
    /// It does.
    Active,
    /// It says nothing any longer; of whom it told stays as they were.
    Suspended {
        /// Why, in a few words.
        reason: String,
        /// Since when.
        since: Timestamp,
    },
}

/// By what a directory, or a stream, is known, apart from what decisions read of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DirectoryTokens(pub Vec<DirectoryToken>);

impl DirectoryTokens {
    /// The token of `digest`, if it counts at `now`.
    pub fn counting(&self, digest: &Sha256Digest, now: Timestamp) -> Option<&DirectoryToken> {
        self.0.iter().find(|token| token.digest == *digest && token.expires > now)
    }

    /// Whether that of `digest`, which was shown, has not been taken back since.
    pub fn has(&self, digest: &Sha256Digest) -> bool {
        self.0.iter().any(|token| token.digest == *digest)
    }

    /// The same with `token`, beside the newest that there is or `alone`.
    #[must_use]
    pub fn with(mut self, token: DirectoryToken, alone: bool) -> Self {
        let kept = if alone { 0 } else { DIRECTORY_TOKENS_MAX - 1 };
        self.0.drain(..self.0.len().saturating_sub(kept));
        self.0.push(token);
        self
    }
}

/// A bearer token of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectoryToken {
    /// The digest of it.
    pub digest: Sha256Digest,
    /// When it stops counting.
    pub expires: Timestamp,
    /// Whether it reads only.
    #[serde(default)]
    pub read_only: bool,
}

/// What a directory gives a person whom it tells of, or an agent. What it takes away needs no leave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provisioning {
    /// The person as they are, if they are in the register.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<Box<Person>>,
    /// What becomes of the person.
    pub gives: Gives,
    /// The groups that they join.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub joins: BTreeSet<GroupName>,
    /// The unit that they are in from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitName>,
    /// To whom they report from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<PersonId>,
    /// Whether they log in from now on as somebody whom they were not known by.
    #[serde(default)]
    pub login: bool,
    /// If it is about an agent, whose sponsor the person is: for what that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<PurposeId>,
}

/// What becomes of a person, or an agent, of whom a directory tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gives {
    /// Nothing: something is taken away.
    Nothing,
    /// They are new.
    Added,
    /// They come back.
    Returned,
    /// They are given something else.
    Changed,
}

impl Gives {
    /// The value as policies spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Added => "added",
            Self::Returned => "returned",
            Self::Changed => "changed",
        }
    }
}

impl Provisioning {
    /// What somebody is given who `was` so, if anybody, and `is` to be so, perhaps with another `login`.
    /// Who comes back is given all that they have.
    pub fn between(was: Option<&Person>, is: &Person, login: bool) -> Self {
        let person = was.cloned().map(Box::new);
        // That something waits once it is given is no reason not to ask.
        let (was, is) = (&was.map(Person::as_told), &is.as_told());
        let was = was.as_ref();
        let returns = was.is_some_and(|was| !was.is_active()) && is.is_active();
        let Some(was) = was.filter(|_| !returns) else {
            let gives = if returns { Gives::Returned } else { Gives::Added };
            let (joins, unit, manager) = (is.groups.clone(), is.unit.clone(), is.manager.clone());
            return Self { person, gives, joins, unit, manager, login, purpose: None };
        };
        let joins: BTreeSet<_> = is.groups.difference(&was.groups).cloned().collect();
        let unit = is.unit.clone().filter(|unit| was.unit.as_ref() != Some(unit));
        let manager = is.manager.clone().filter(|manager| was.manager.as_ref() != Some(manager));
        let is_nothing = joins.is_empty()
            && unit.is_none()
            && manager.is_none()
            && !login
            && !was.is_rated_above(is);
        let gives = if is_nothing { Gives::Nothing } else { Gives::Changed };
        Self { person, gives, joins, unit, manager, login, purpose: None }
    }

    /// What an agent is given, for `purpose`, for which `sponsor` answers.
    pub fn of_agent(sponsor: Person, purpose: PurposeId, gives: Gives) -> Self {
        let person = Some(Box::new(sponsor));
        let (joins, unit, manager, login) = (BTreeSet::new(), None, None, false);
        Self { person, gives, joins, unit, manager, login, purpose: Some(purpose) }
    }
}

impl Directory {
    /// Whether it counts.
    pub const fn is_active(&self) -> bool {
        matches!(self.state, DirectoryState::Active)
    }

    /// After how many minutes of silence its people are unconfirmed. Whoever may not say anything is not waited for.
    pub fn waited_for(&self) -> Option<u32> {
        self.silence_min.filter(|_| self.is_active())
    }
}

/// A resource as a directory left it (RFC 7643 §3), with what is kept beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScimResource {
    /// The resource, without `id`, `meta` and what follows from others.
    pub resource: serde_json::Map<String, serde_json::Value>,
    /// How often it was written.
    pub version: u64,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last written.
    pub modified: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PersonState, Risk, RiskLevel, Speaker};

    #[test]
    fn who_comes_back_is_given_all_that_they_have_and_who_loses_something_nothing() {
        let check = |was: Option<&Person>, is: &Person, gives: Gives, joins: usize| {
            let given = Provisioning::between(was, is, false);
            assert_eq!((given.gives, given.joins.len()), (gives, joins));
        };
        let groups = ["one", "two"].map(|name| name.parse().expect("a group"));
        let here = Person::new("ann".parse().expect("a person"), groups.into());
        let gone = Person {
            state: PersonState::Inactive { since: Timestamp::from_millis(1) },
            ..here.clone()
        };
        let fewer = Person { groups: BTreeSet::new(), ..here.clone() };
        check(None, &here, Gives::Added, 2);
        check(Some(&gone), &here, Gives::Returned, 2);
        check(Some(&fewer), &here, Gives::Changed, 2);
        check(Some(&here), &fewer, Gives::Nothing, 0);
        check(Some(&here), &gone, Gives::Nothing, 0);
        check(Some(&here), &here, Gives::Nothing, 0);
        assert_eq!(Provisioning::between(Some(&here), &here, true).gives, Gives::Changed);
    }

    /// What one of them said before it takes back by leave alone, also while others say as much, or more.
    #[test]
    fn whoever_is_rated_lower_by_anybody_is_given_something() {
        use RiskLevel::{High, Low, Medium};
        let speakers = ["one", "two"].map(|name| Speaker::stream(&name.parse().expect("a source")));
        let ann = |levels: [Option<RiskLevel>; 2]| {
            let ann = Person::new("ann".parse().expect("a person"), BTreeSet::new());
            speakers.iter().zip(levels).fold(ann, |ann, (speaker, level)| {
                let since = Timestamp::from_millis(1);
                ann.with_rating(speaker, level.map(|level| Risk { level, since }))
            })
        };
        for (was, is, expected) in [
            ([Some(High), Some(High)], [Some(Low), Some(High)], Gives::Changed),
            ([Some(Medium), Some(High)], [None, Some(High)], Gives::Changed),
            ([Some(High), None], [Some(Medium), None], Gives::Changed),
            ([Some(High), None], [None, None], Gives::Changed),
            ([Some(Low), Some(High)], [Some(Medium), Some(High)], Gives::Nothing),
            ([None, Some(High)], [Some(Low), Some(High)], Gives::Nothing),
            ([None, None], [Some(High), None], Gives::Nothing),
            ([Some(High), Some(Low)], [Some(High), Some(Low)], Gives::Nothing),
        ] {
            let (was, is) = (ann(was), ann(is));
            assert_eq!(Provisioning::between(Some(&was), &is, false).gives, expected, "{is:?}");
            let restricted = if expected == Gives::Changed { &was } else { &is };
            assert_eq!(was.restricted_to(&is).rated, restricted.rated, "{is:?}");
        }
    }
}
