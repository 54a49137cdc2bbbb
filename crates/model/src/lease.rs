//! Reminders that the lease of an agent ends, and who had them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Agent, AgentName, AgentState, PersonId, Sha256Digest, Timestamp};

/// How many days before the end of a lease somebody is reminded of it, the last first.
pub const REMINDED_DAYS: [u32; 3] = [1, 7, 14];

/// That the lease of an agent ends, as somebody is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseReminder {
    /// The agent.
    pub agent: AgentName,
    /// Who says that it is to go on.
    pub sponsor: PersonId,
    /// When the lease ends.
    pub until: Timestamp,
    /// That this is the reminder of so many days before.
    pub days: u32,
}

impl LeaseReminder {
    /// The reminder that is due of `agent` at `now`, if one is: the last that there is.
    pub fn due(agent: &Agent, now: Timestamp) -> Option<Self> {
        let until = agent.leased_until();
        let days = REMINDED_DAYS.into_iter().find(|days| until <= now.plus(before_end(*days)))?;
        let is_due = agent.state == AgentState::Active && now < until;
        let (name, sponsor) = (agent.name.clone(), agent.sponsor.clone());
        is_due.then_some(Self { agent: name, sponsor, until, days })
    }

    /// Names what `person` is told: the same each time that it is told again.
    pub fn id(&self, person: &PersonId) -> Sha256Digest {
        let (until, days) = (self.until.as_millis().to_string(), self.days.to_string());
        let parts = [self.agent.as_str(), &until, &days, person.as_str()];
        Sha256Digest::of(parts.join("\0").as_bytes())
    }
}

/// Who was reminded of the end of a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reminded {
    /// When that lease ends: of another, nobody was.
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

    /// The same, and `person` had `reminder`; what is known of another lease is forgotten.
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
