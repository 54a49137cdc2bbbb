//! Access reviews: agents of which somebody has to say by a date that they are to keep what they have.
//!
//! Nobody has to do anything for an agent to lapse: that its date has passed is in what every decision on
//! it reads anyway ([`crate::Agent::has_lapsed`]).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{AgentName, PersonId, ReviewId, Sha256Digest, Timestamp};

/// The most agents of one review: all of them are marked by one commit, and by one commit answered.
pub const REVIEW_ITEMS_MAX: usize = 400;

/// How long whoever is asked has at least: nobody opens a review so that agents lapse at once.
pub const REVIEW_MIN: Duration = Duration::from_hours(24);

/// How long at most.
pub const REVIEW_MAX: Duration = Duration::from_hours(90 * 24);

/// How long before its date a review is answered, or withdrawn, at the latest: whatever that takes, nobody has lapsed by
/// then.
pub const SETTLED_BEFORE: Duration = Duration::from_mins(1);

/// A review of agents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Review {
    /// Its id.
    pub id: ReviewId,
    /// Who opened it.
    pub opened_by: PersonId,
    /// When.
    pub opened: Timestamp,
    /// By when each of its agents is answered, or lapses.
    pub due: Timestamp,
    /// The agents, each with what was decided of it, if anything was.
    pub items: BTreeMap<AgentName, Option<Certified>>,
    /// That it was withdrawn before that: who was not answered does not lapse by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<ReviewWithdrawn>,
}

/// Who withdrew a review.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewWithdrawn {
    /// Who.
    pub by: PersonId,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

/// What a reviewer decided of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certified {
    /// What.
    pub decision: Certification,
    /// Who, as whoever brought it said.
    pub reviewer: PersonId,
    /// Why.
    pub reason: String,
    /// What the agent was then: [`crate::Agent::version`].
    pub version: Sha256Digest,
    /// When it was taken.
    pub at: Timestamp,
    /// The file that said so.
    pub file: Sha256Digest,
}

/// What can be decided of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certification {
    /// It keeps what it has. Its lease ends when it did.
    Keep,
    /// It keeps of its tools those that it used.
    Reduce,
    /// It is suspended.
    Revoke,
}

impl Certification {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Keep, Self::Reduce, Self::Revoke];

    /// The decision as files spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Reduce => "reduce",
            Self::Revoke => "revoke",
        }
    }
}

/// How it stands with an agent and its reviews.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentReview {
    /// The one that awaits an answer, or had none by its date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<OpenReview>,
    /// When a reviewer last decided that it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed: Option<Timestamp>,
}

impl AgentReview {
    /// Whether nobody ever reviewed it, or wants to.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// When the agent lapses, if it awaits an answer.
    pub fn due(&self) -> Option<Timestamp> {
        self.open.as_ref().map(|open| open.due)
    }
}

/// A review that awaits an answer of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenReview {
    /// Which.
    pub id: ReviewId,
    /// By when.
    pub due: Timestamp,
    /// Who opened it.
    pub opened_by: PersonId,
}
