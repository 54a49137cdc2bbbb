//! People: the only ones who can answer for what an agent does.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    GroupName, PersonId, Rated, Risk, RiskLevel, Risks, SessionDigest, Sha256Digest, SourceName,
    Speaker, Timestamp, UnitName, Waits,
};

/// The most login sessions of a person of which it is known one by one that they are over.
pub const SESSIONS_OVER_MAX: usize = 16;

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
    /// Which of their login sessions are over beyond that, and until when. What was begun in one that nobody knows may
    /// have been begun in any of these.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sessions_over: BTreeMap<SessionDigest, Timestamp>,
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
            sessions_over: BTreeMap::new(),
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
    /// active, and the `session` of theirs in which it was begun is not over. Where none is known, none may be.
    pub fn stands_by(&self, begun: Timestamp, session: Option<SessionDigest>) -> bool {
        let alone = match session {
            Some(session) => self.sessions_over.get(&session).copied(),
            None => self.sessions_over.values().copied().max(),
        };
        let over = self.sessions_cutoff.max(alone);
        self.answers_for(begun) && over.is_none_or(|over| begun > over)
    }

    /// The person, of whose login sessions `ended` are over, as far as they had begun by `until`: all, where none is
    /// named.
    #[must_use]
    pub fn logged_out(mut self, ended: &BTreeSet<SessionDigest>, until: Timestamp) -> Self {
        if ended.is_empty() {
            self.sessions_cutoff = self.sessions_cutoff.max(Some(until));
        }
        self.end_sessions(ended.iter().map(|session| (*session, until)));
        self
    }

    /// Takes it that these sessions are over until then, beside those that are.
    ///
    /// INVARIANT: what is over stays over. Which sessions were over longest ago is forgotten only where all of the
    /// person's are over until then (`i_18_no_ended_session_is_forgotten_while_it_matters`).
    fn end_sessions(&mut self, ended: impl IntoIterator<Item = (SessionDigest, Timestamp)>) {
        for (session, until) in ended {
            let known = self.sessions_over.entry(session).or_insert(until);
            *known = until.max(*known);
        }
        loop {
            let cutoff = self.sessions_cutoff;
            self.sessions_over.retain(|_, until| Some(*until) > cutoff);
            if self.sessions_over.len() <= SESSIONS_OVER_MAX {
                return;
            }
            self.sessions_cutoff = self.sessions_over.values().copied().min();
        }
    }

    /// The same person, whose sessions that are over of `other` are over too.
    fn with_sessions_of(mut self, other: &Self) -> Self {
        self.sessions_cutoff = self.sessions_cutoff.max(other.sessions_cutoff);
        self.end_sessions(other.sessions_over.clone());
        self
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
        is.with_sessions_of(self)
    }

    /// What is left of the person where of what `is` says only that counts which takes away.
    #[must_use]
    pub fn restricted_to(&self, is: &Self) -> Self {
        let both = |was: &BTreeSet<GroupName>| was.intersection(&is.groups).cloned().collect();
        let mut joined = self.joined.clone();
        joined.retain(|group, _| is.groups.contains(group));
        let restricted = Self {
            groups: both(&self.groups),
            joined,
            unit: self.unit.clone().filter(|unit| is.unit.as_ref() == Some(unit)),
            manager: self.manager.clone().filter(|manager| is.manager.as_ref() == Some(manager)),
            roles: is.roles,
            moved: is.moved,
            narrowed: is.narrowed,
            rated: self.rated.raised_to(&is.rated),
            waits: self.waits.restricted_to(&is.as_told()),
            state: if is.is_active() { self.state } else { is.state },
            ..self.clone()
        };
        restricted.with_sessions_of(is)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn session(number: u8) -> SessionDigest {
        SessionDigest::of(&[number])
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn ann() -> Person {
        Person::new("ann".parse().expect("a person"), BTreeSet::new())
    }

    /// Ann, of whom `count` sessions ended one after the other, each at its second.
    fn after(count: u8) -> Person {
        (1..=count).fold(ann(), |ann, number| {
            ann.logged_out(&BTreeSet::from([session(number)]), at(i64::from(number)))
        })
    }

    #[test]
    fn i_18_no_ended_session_is_forgotten_while_it_matters() {
        let most = u8::try_from(SESSIONS_OVER_MAX).expect("few");
        let (full, other) = (after(most), Some(session(0)));
        assert_eq!((full.sessions_over.len(), full.sessions_cutoff), (SESSIONS_OVER_MAX, None));
        assert!(full.stands_by(at(1), other));
        let beyond = after(most + 1);
        assert_eq!(beyond.sessions_over.len(), SESSIONS_OVER_MAX);
        // What was begun by when the one ended that is forgotten is over in all.
        assert_eq!(beyond.sessions_cutoff, Some(at(1)));
        assert!(!beyond.stands_by(at(1), other) && beyond.stands_by(at(2), other));
        assert!(!beyond.stands_by(at(1), Some(session(1))));
    }

    /// What is kept of a person without sessions is read as it was kept before they were.
    #[test]
    fn who_has_no_ended_session_is_kept_as_before() {
        let kept = serde_json::to_value(ann()).expect("JSON");
        assert!(kept.get("sessions_over").is_none(), "{kept}");
        assert_eq!(serde_json::from_value::<Person>(kept).expect("a person"), ann());
        let ended = serde_json::to_string(&after(2)).expect("JSON");
        assert_eq!(serde_json::from_str::<Person>(&ended).expect("a person"), after(2));
    }

    /// A logout: of the sessions of these numbers, or of all, until when.
    fn logouts() -> impl Strategy<Value = Vec<(BTreeSet<u8>, i64)>> {
        let which = prop_oneof![
            3 => prop::collection::btree_set(0_u8..24, 1..3),
            1 => Just(BTreeSet::new()),
        ];
        prop::collection::vec((which, 0_i64..60), 0..40)
    }

    proptest! {
        /// Whatever ends in whatever order, in whichever of two places it was told: nothing that was begun in a session
        /// that is over stands, of no session known in any, and as long as few ended, everything else does.
        #[test]
        fn sc_02_nothing_stands_that_was_begun_in_an_ended_session(
            (here, there) in (logouts(), logouts()),
            (number, begun) in (prop::option::of(0_u8..24), 0_i64..60),
        ) {
            let ended = |all: &[(BTreeSet<u8>, i64)]| {
                all.iter().fold(ann(), |ann, (which, until)| {
                    let which = which.iter().copied().map(session).collect();
                    ann.logged_out(&which, at(*until))
                })
            };
            let (told, known) = (ended(&there), ended(&here));
            let is_of = |which: &BTreeSet<u8>| {
                which.is_empty() || number.is_none_or(|number| which.contains(&number))
            };
            let mut all = here.iter().chain(&there);
            let is_over = all.any(|(which, until)| is_of(which) && begun <= *until);
            let named: BTreeSet<_> = here.iter().chain(&there).flat_map(|(which, _)| which).collect();
            for ann in [known.becomes(told.clone(), at(60)), known.restricted_to(&told)] {
                prop_assert!(ann.sessions_over.len() <= SESSIONS_OVER_MAX);
                let stands = ann.stands_by(at(begun), number.map(session));
                prop_assert!(!(is_over && stands), "{ann:?}");
                prop_assert!(is_over || stands || named.len() > SESSIONS_OVER_MAX, "{ann:?}");
            }
        }
    }
}
