//! The commitments of a record about an act: the sponsor is always among them.

use std::collections::BTreeMap;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

use super::Commitments;
use crate::Commitment;

/// The member that commits to the sponsor.
const SPONSOR: &str = "sponsor";

/// The member that commits to the person on whose behalf the act is done.
const SUBJECT: &str = "subject";

/// The commitments do not name a sponsor, so this is no record of an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record of an act commits to its sponsor")]
pub struct NoSponsor;

/// The members of a decision, outcome or issuance record that are commitments, by name.
///
/// INVARIANT: `sponsor` is one of them (`r_62_…`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Commitments", into = "Commitments")]
pub struct ActCommitments(Commitments);

/// Those of a decision's commitments that name people: what the records that follow from it repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeopleCommitments {
    sponsor: Commitment,
    subject: Option<Commitment>,
}

impl ActCommitments {
    /// The commitments of an act for which the sponsor behind `sponsor` answers.
    pub fn new(sponsor: Commitment) -> Self {
        Self(BTreeMap::from([(SPONSOR.to_owned(), sponsor)]))
    }

    /// Adds the commitment of `member`.
    pub fn insert(&mut self, member: &str, commitment: Commitment) {
        self.0.insert(member.to_owned(), commitment);
    }

    /// Those that name people.
    pub fn people(&self) -> PeopleCommitments {
        let sponsor = *self.0.get(SPONSOR).expect("an act has a sponsor");
        PeopleCommitments { sponsor, subject: self.0.get(SUBJECT).copied() }
    }
}

impl From<PeopleCommitments> for ActCommitments {
    fn from(people: PeopleCommitments) -> Self {
        let mut commitments = Self::new(people.sponsor);
        people.subject.into_iter().for_each(|subject| commitments.insert(SUBJECT, subject));
        commitments
    }
}

impl Deref for ActCommitments {
    type Target = Commitments;

    fn deref(&self) -> &Commitments {
        &self.0
    }
}

impl TryFrom<Commitments> for ActCommitments {
    type Error = NoSponsor;

    fn try_from(commitments: Commitments) -> Result<Self, NoSponsor> {
        if commitments.contains_key(SPONSOR) { Ok(Self(commitments)) } else { Err(NoSponsor) }
    }
}

impl From<ActCommitments> for Commitments {
    fn from(commitments: ActCommitments) -> Self {
        commitments.0
    }
}
