//! Reminders that the lease of an agent ends, or that nobody has answered its review, and who had them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Agent, AgentName, AgentState, FactKey, PersonId, ReviewId, Sha256Digest, Timestamp};

/// How many days before the end of a lease somebody is reminded of it, the last first.
pub const REMINDED_DAYS: [u32; 3] = [1, 7, 14];

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

    /// Names what `person` is told: the same each time that it is told again.
    pub fn id(&self, person: &PersonId) -> Sha256Digest {
        let (until, days) = (self.until.as_millis().to_string(), self.days.to_string());
        let review = self.review.map(|review| review.to_string());
        let parts = [self.agent.as_str(), &until, &days, person.as_str()];
        let parts: Vec<_> = parts.into_iter().chain(review.as_deref()).collect();
        Sha256Digest::of(parts.join("\0").as_bytes())
    }

    /// Where it stands who had it.
    pub fn place(&self) -> FactKey {
        match self.review {
            Some(_) => FactKey::reminded_of_review(&self.agent),
            None => FactKey::reminded(&self.agent),
        }
    }
}

/// Who was reminded of the end of a lease, or of a review.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reminded {
    /// When that is: of another, nobody was.
    pub until: Timestamp,
    /// Who, by how many days before.
    pub told: BTreeMap<u32, BTreeSet<PersonId>>,
}

impl Reminded {
    /// Whether `person` had `reminder`.
    pub fn had(&self, reminder: &LeaseReminder, person: &PersonId) -> bool {
        let told = self.told.get(&reminder.days);
        self.until == reminder.until && told.is_some_and(|told| told.contains(person))
    }

    /// The same, and `person` had `reminder`; what is known of another is forgotten.
    #[must_use]
    pub fn and(known: Option<Self>, reminder: &LeaseReminder, person: &PersonId) -> Self {
        let new = || Self { until: reminder.until, told: BTreeMap::new() };
        let mut all = known.filter(|known| known.until == reminder.until).unwrap_or_else(new);
        all.told.entry(reminder.days).or_default().insert(person.clone());
        all
    }
}

/// How long `days` are.
const fn before_end(days: u32) -> Duration {
    Duration::from_hours(24 * days as u64)
}
