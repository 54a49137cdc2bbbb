//! People: the only ones who can answer for what an agent does.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    GroupName, PersonId, Rated, Risk, RiskLevel, Risks, Sha256Digest, SourceName, Speaker,
    Timestamp, UnitName, Waits,
};

/// A natural person known to this deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// The name under which everything here refers to the person.
    pub id: PersonId,
    /// The groups that the person belongs to; policy may refer to them.
    #[serde(default)]
    pub groups: BTreeSet<GroupName>,
    /// Since when they are in those of them that approve, administer, or make eligible to take over, as far as that is
    /// known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub joined: BTreeMap<GroupName, Timestamp>,
    /// The unit of the organisation; policy may refer to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitName>,
    /// Whom the person reports to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<PersonId>,
    /// The digest of the roles that their directory says they have, if it says any: all that counts of these is
    /// whether they are others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Sha256Digest>,
    /// The source that says all this, and that alone changes it; none if an administrator did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceName>,
    /// When their unit, manager or roles last changed, or they left a group that approves, administers, or makes
    /// eligible to take over: whom they sponsored before, they affirm anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<Timestamp>,
    /// When they last left a group, whichever it is, or were last to administer no longer, in whatever groups they were:
    /// who undoes that they left one sees that it was another time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub narrowed: Option<Timestamp>,
    /// The risk that is said of them, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<Risk>,
    /// How transmitters rate them: what one says later takes the place of what it said.
    #[serde(default, skip_serializing_if = "Rated::is_by_nobody")]
    pub rated: Rated,
    /// Until when the login sessions of the person are over: what was begun on their behalf by then is
    /// too. What they sponsor stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions_cutoff: Option<Timestamp>,
    /// What is said of them and does not count yet.
    #[serde(default, skip_serializing_if = "Waits::is_empty")]
    pub waits: Waits,
    /// Whether the person still stands behind anything.
    pub state: PersonState,
}

/// Whether a person is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum PersonState {
    /// Present; nothing granted before `authorization_cutoff` counts.
    Active {
        /// What was granted before this instant stays dead, whoever comes back.
        authorization_cutoff: Option<Timestamp>,
    },
    /// Gone; everything that hangs on the person stops.
    Inactive {
        /// Since when.
        since: Timestamp,
    },
}

impl Person {
    /// An active person of no source, to whom everything may be granted.
    pub const fn new(id: PersonId, groups: BTreeSet<GroupName>) -> Self {
        let state = PersonState::Active { authorization_cutoff: None };
        Self {
            id,
            groups,
            joined: BTreeMap::new(),
            unit: None,
            manager: None,
            roles: None,
            source: None,
            moved: None,
            narrowed: None,
            risk: None,
            rated: Rated::by_nobody(),
            sessions_cutoff: None,
            waits: Waits { returns: None, joins: BTreeMap::new() },
            state,
        }
    }

    /// Whether the person is active and what was granted at `granted` still counts.
    pub fn answers_for(&self, granted: Timestamp) -> bool {
        match self.state {
            PersonState::Active { authorization_cutoff } => {
                authorization_cutoff.is_none_or(|cutoff| granted > cutoff)
            }
            PersonState::Inactive { .. } => false,
        }
    }

    /// Whether what was `begun` then on behalf of the person, by their own word, still counts: they are
    /// active, and that login session of theirs may not be over.
    pub fn stands_by(&self, begun: Timestamp) -> bool {
        self.answers_for(begun) && self.sessions_cutoff.is_none_or(|cutoff| begun > cutoff)
    }

    /// The same person, whose source says at `now` what `is` says: who comes back revives nothing, and
    /// who moves affirms anew what they sponsor.
    #[must_use]
    pub fn becomes(&self, mut is: Self, now: Timestamp) -> Self {
        is.state = match (self.state, is.is_active()) {
            (PersonState::Inactive { .. }, true) => {
                PersonState::Active { authorization_cutoff: Some(now) }
            }
            (PersonState::Active { .. }, false) => PersonState::Inactive { since: now },
            (as_before, _) => as_before,
        };
        let moves = self.unit != is.unit || self.manager != is.manager || self.roles != is.roles;
        is.moved = if moves { Some(now) } else { self.moved };
        let leaves = self.as_told().groups.iter().any(|group| !is.groups.contains(group));
        is.narrowed = if leaves { Some(now) } else { self.narrowed };
        is.risk.clone_from(&self.risk);
        is.rated.clone_from(&self.rated);
        is.sessions_cutoff = self.sessions_cutoff.max(is.sessions_cutoff);
        is
    }

    /// What is left of the person where of what `is` says only that counts which takes away.
    #[must_use]
    pub fn restricted_to(&self, is: &Self) -> Self {
        let both = |was: &BTreeSet<GroupName>| was.intersection(&is.groups).cloned().collect();
        let mut joined = self.joined.clone();
        joined.retain(|group, _| is.groups.contains(group));
        Self {
            groups: both(&self.groups),
            joined,
            unit: self.unit.clone().filter(|unit| is.unit.as_ref() == Some(unit)),
            manager: self.manager.clone().filter(|manager| is.manager.as_ref() == Some(manager)),
            roles: is.roles,
            moved: is.moved,
            narrowed: is.narrowed,
            rated: self.rated.raised_to(&is.rated),
            sessions_cutoff: self.sessions_cutoff.max(is.sessions_cutoff),
            waits: self.waits.restricted_to(&is.as_told()),
            state: if is.is_active() { self.state } else { is.state },
            ..self.clone()
        }
    }

    /// Whether any transmitter rated them a greater risk than `is` has it of that one, whatever others say.
    pub(crate) fn is_rated_above(&self, is: &Self) -> bool {
        self.rated.raised_to(&is.rated) != is.rated
    }

    /// The greatest risk that anybody says of them.
    pub fn risk_level(&self) -> Option<RiskLevel> {
        self.rated.level_beside(self.risk.as_ref())
    }

    /// What is said of their risk, by whomever.
    pub fn risks(&self) -> Risks {
        Risks { risk: self.risk.clone(), rated: self.rated.clone(), departed: None }
    }

    /// The person, whom `speaker` rates so, or no longer.
    #[must_use]
    pub fn with_rating(mut self, speaker: &Speaker, risk: Option<Risk>) -> Self {
        self.rated.say(speaker, risk);
        self
    }

    /// Whether the person is active now.
    pub fn is_active(&self) -> bool {
        matches!(self.state, PersonState::Active { .. })
    }
}

/// A registered directory that says, under its signature, who its people are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeopleSource {
    /// Its name; also the `iss` of what it signs.
    pub name: SourceName,
    /// The public key (JWK) by which it signs.
    pub key: serde_json::Value,
    /// When that key stops counting.
    pub key_expires: Timestamp,
    /// When it was registered.
    pub registered: Timestamp,
    /// After how many minutes in which no newer list of it came into force its people are unconfirmed; without that,
    /// nobody waits for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence_min: Option<u32>,
    /// The newest version that is in force whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<PeopleVersion>,
    /// A newer one, of which only a part is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applying: Option<PeopleVersion>,
}

/// One version of what a source says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeopleVersion {
    /// Its number: each is greater than the one before.
    pub version: u64,
    /// The digest of the signed file.
    pub file: Sha256Digest,
    /// When it came into force, or began to.
    pub since: Timestamp,
}

/// How far beyond the newest version that was in force the next one may be: whoever forged a list
/// would else take every number that is left.
pub const VERSION_STEP_MAX: u64 = 1 << 20;

impl PeopleSource {
    /// Gives it the key `key` until `expires`. With another key than before its numbers begin anew:
    /// what the one before signed counts no longer anyway, whatever number it bears.
    #[must_use]
    pub fn rekeyed(self, key: serde_json::Value, expires: Timestamp) -> Self {
        let is_other = self.key != key;
        let known = |version: Option<PeopleVersion>| version.filter(|_| !is_other);
        let (applied, applying) = (known(self.applied), known(self.applying));
        Self { key, key_expires: expires, applied, applying, ..self }
    }

    /// Whether `version` is too far beyond what is in force.
    pub fn leaps(&self, version: u64) -> bool {
        let known = self.applied.iter().chain(&self.applying).map(|known| known.version).max();
        known.is_some_and(|known| version > known.saturating_add(VERSION_STEP_MAX))
    }

    /// Whether the version `version`, signed as `file`, may be applied now: it is newer than what is
    /// in force, and not older than, nor another than, what is in force in part.
    pub fn takes(&self, version: u64, file: &Sha256Digest) -> bool {
        let is_newer = self.applied.as_ref().is_none_or(|applied| version > applied.version);
        let goes_on = self.applying.as_ref().is_none_or(|begun| {
            version > begun.version || (version == begun.version && *file == begun.file)
        });
        is_newer && goes_on
    }
}
