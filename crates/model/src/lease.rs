//! Reminders that the lease of an agent ends, that nobody has answered its review, or that it stopped as its
//! sponsor left, and who had them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    Agent, AgentName, AgentState, FactKey, Person, PersonId, PersonState, ReviewId, Sha256Digest,
    Timestamp,
};

/// How many days before the end of a lease somebody is reminded of it, the last first.
pub const REMINDED_DAYS: [u32; 3] = [1, 7, 14];

/// What somebody is told of an agent for which they answer, or may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reminder {
    /// It ends soon.
    Ends(LeaseReminder),
    /// It stopped.
    Stopped(SponsorLeft),
}

impl Reminder {
    /// The agent.
    pub const fn agent(&self) -> &AgentName {
        match self {
            Self::Ends(LeaseReminder { agent, .. }) | Self::Stopped(SponsorLeft { agent, .. }) => {
                agent
            }
        }
    }

    /// Names what `person` is told: the same each time that it is told again.
    pub fn id(&self, person: &PersonId) -> Sha256Digest {
        match self {
            Self::Ends(reminder) => reminder.id(person),
            Self::Stopped(left) => left.id(person),
        }
    }

    /// Where it stands who had it.
    pub fn place(&self) -> FactKey {
        match self {
            Self::Ends(reminder) => reminder.place(),
            Self::Stopped(left) => left.place(),
        }
    }

    /// By what it stands there.
    const fn of(&self) -> (Timestamp, u32) {
        match self {
            Self::Ends(LeaseReminder { until, days, .. }) => (*until, *days),
            Self::Stopped(left) => (left.of_what(), 0),
        }
    }
}

/// That an agent stopped because its sponsor left or moved, as whoever may follow them is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SponsorLeft {
    /// The agent.
    pub agent: AgentName,
    /// Who answers for it no longer.
    pub sponsor: PersonId,
    /// Since when.
    pub since: Timestamp,
    /// Whether they are here, have moved, and may affirm it.
    pub has_moved: bool,
    /// When they last said that they answer for it.
    pub answered: Timestamp,
}

impl SponsorLeft {
    /// What there is to tell of `agent`, of which `sponsor` is the sponsor, if that is anything.
    pub fn of(agent: &Agent, sponsor: &Person) -> Option<Self> {
        if agent.state != AgentState::Active || agent.is_answered_for_by(sponsor) {
            return None;
        }
        let moved = sponsor.moved.filter(|_| sponsor.answers_for(agent.registered));
        let since = match (moved, sponsor.state) {
            (Some(moved), _) => moved,
            (None, PersonState::Inactive { since }) => since,
            (None, PersonState::Active { authorization_cutoff }) => authorization_cutoff?,
        };
        Some(Self {
            agent: agent.name.clone(),
            sponsor: sponsor.id.clone(),
            since,
            has_moved: moved.is_some(),
            answered: agent.answered(),
        })
    }

    fn id(&self, person: &PersonId) -> Sha256Digest {
        let (of_what, why) = (self.of_what().as_millis().to_string(), self.why());
        let parts = [self.agent.as_str(), why, &of_what, person.as_str()];
        Sha256Digest::of(parts.join("\0").as_bytes())
    }

    /// What is told once: each move, as one may be undone before there is another; of who left, and may be back, that
    /// what they said counts no longer.
    const fn of_what(&self) -> Timestamp {
        if self.has_moved { self.since } else { self.answered }
    }

    /// Where it stands who had it. Who moved and leaves then is told of twice: they may affirm it no longer.
    fn place(&self) -> FactKey {
        if self.has_moved {
            FactKey::reminded_of_move(&self.agent)
        } else {
            FactKey::reminded_of_leaver(&self.agent)
        }
    }

    /// What became of the sponsor, in a word that stays.
    pub const fn why(&self) -> &'static str {
        if self.has_moved { "moved" } else { "left" }
    }
}

/// That the lease of an agent ends, or that it lapses for want of an answer, as somebody is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseReminder {
    /// The agent.
    pub agent: AgentName,
    /// Who answers for it.
    pub sponsor: PersonId,
    /// When that is.
    pub until: Timestamp,
    /// That this is the reminder of so many days before.
    pub days: u32,
    /// The review that nobody has answered, if it is of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<ReviewId>,
}

impl LeaseReminder {
    /// The reminders that are due of `agent` at `now`: of its lease and of its review, each the last that
    /// there is.
    pub fn due(agent: &Agent, now: Timestamp) -> impl Iterator<Item = Self> {
        let of_review = agent.review.open.as_ref().map(|open| (open.due, Some(open.id)));
        let ends = std::iter::once((agent.leased_until(), None)).chain(of_review);
        let is_due = move |until: Timestamp| agent.state == AgentState::Active && now < until;
        ends.filter(move |(until, _)| is_due(*until)).filter_map(move |(until, review)| {
            let mut days = REMINDED_DAYS.into_iter();
            let days = days.find(|days| until <= now.plus(before_end(*days)))?;
            let (agent, sponsor) = (agent.name.clone(), agent.sponsor.clone());
            Some(Self { agent, sponsor, until, days, review })
        })
    }

    fn id(&self, person: &PersonId) -> Sha256Digest {
        let (until, days) = (self.until.as_millis().to_string(), self.days.to_string());
        let review = self.review.map(|review| review.to_string());
        let parts = [self.agent.as_str(), &until, &days, person.as_str()];
        let parts: Vec<_> = parts.into_iter().chain(review.as_deref()).collect();
        Sha256Digest::of(parts.join("\0").as_bytes())
    }

    fn place(&self) -> FactKey {
        match self.review {
            Some(_) => FactKey::reminded_of_review(&self.agent),
            None => FactKey::reminded(&self.agent),
        }
    }
}

/// Who had reminders of an agent, of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reminded {
    /// When what they are of is, when the sponsor moved, or when the one who left had last answered for it: of another,
    /// nobody had.
    pub until: Timestamp,
    /// Who, by how many days before.
    pub told: BTreeMap<u32, BTreeSet<PersonId>>,
}

impl Reminded {
    /// Whether `person` had `reminder`.
    pub fn had(&self, reminder: &Reminder, person: &PersonId) -> bool {
        let (until, days) = reminder.of();
        let told = self.told.get(&days);
        self.until == until && told.is_some_and(|told| told.contains(person))
    }

    /// The same, and `person` had `reminder`; what is known of another is forgotten.
    #[must_use]
    pub fn and(known: Option<Self>, reminder: &Reminder, person: &PersonId) -> Self {
        let (until, days) = reminder.of();
        let new = || Self { until, told: BTreeMap::new() };
        let mut all = known.filter(|known| known.until == until).unwrap_or_else(new);
        all.told.entry(days).or_default().insert(person.clone());
        all
    }
}

/// How long `days` are.
const fn before_end(days: u32) -> Duration {
    Duration::from_hours(24 * days as u64)
}
