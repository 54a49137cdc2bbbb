//! Reminds who answers for agents, and who may follow them, before leases end and before agents lapse for
//! want of an answer; and asks who may follow once an agent stopped because its sponsor left or moved.
//!
//! INVARIANT: each of them is told once of each reminder, over restarts. What was told and could not be
//! written down is written down later; only a process that ends between the two tells it again, under
//! the same name. What ends ends without any of this: a reminder is no condition of anything.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use journal::Journal;
use model::{
    Agent, AgentName, AgentState, Clock, Entropy, Heard, LeaseReminder, PersonId, Reminded,
    Reminder, Sha256Digest, SponsorLeft, Timestamp,
};
use store::{Effect, Store, Unit, Urgency};

use crate::followers::People;
use crate::reader::{Pages, Reader, all};
use crate::telling::{Attempt, Messenger, News, Telling};
use crate::{Authority, FactsError, refusals};

/// How often agents are looked through.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// How often what hangs is given up, and what waits is begun.
const TURN_EVERY: Duration = Duration::from_secs(1);

/// The most reminders that wait to be told; the others are found at the next look.
const WAITING_MAX: usize = 1_000;

/// Of leases that end within this, metrics tell how many there are.
const ENDING: Duration = Duration::from_hours(7 * 24);

/// How it stands with leases, and with those who tell of the people who answer, as numbers for metrics.
#[derive(Debug, Default)]
pub struct LeaseNumbers {
    /// How many agents have a lease that ends within seven days.
    pub ending: AtomicU64,
    /// Of how many directories, or sources of signed lists, the people are unconfirmed.
    pub silent: AtomicU64,
    /// How many reminders did not get through.
    pub untold: AtomicU64,
}

/// Reminds of leases that end, in the background.
pub struct LeaseKeeper {
    journal: Journal,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    telling: Telling,
    numbers: Arc<LeaseNumbers>,
    /// When agents were last looked through, on the monotonic clock.
    looked: Option<Duration>,
    waiting: VecDeque<(PersonId, Reminder)>,
    /// About which agent whom it was last tried to remind.
    tried: Option<(AgentName, PersonId)>,
    /// What was told and is not written down yet.
    unwritten: BTreeSet<Sha256Digest>,
    /// What did not get through.
    untold: BTreeSet<Sha256Digest>,
}

impl Authority {
    /// What reminds of leases that end, by `messenger`.
    pub fn lease_keeper(&self, messenger: Option<Arc<dyn Messenger>>) -> LeaseKeeper {
        LeaseKeeper {
            journal: self.journal.clone(),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            telling: Telling::new(messenger, self.clock.clone()),
            numbers: Arc::default(),
            looked: None,
            waiting: VecDeque::new(),
            tried: None,
            unwritten: BTreeSet::new(),
            untold: BTreeSet::new(),
        }
    }
}

impl LeaseKeeper {
    /// The numbers that it keeps up to date.
    pub fn numbers(&self) -> Arc<LeaseNumbers> {
        self.numbers.clone()
    }

    /// Reminds, for ever.
    pub async fn run(mut self) {
        let mut turn = tokio::time::interval(TURN_EVERY);
        loop {
            tokio::select! {
                attempt = self.telling.ended() => self.ended(attempt).await,
                _ = turn.tick() => self.turn().await,
            }
            let untold = u64::try_from(self.untold.len()).unwrap_or(u64::MAX);
            self.numbers.untold.store(untold, Ordering::Relaxed);
        }
    }

    /// Gives up what hangs, looks agents through if it is time, and begins to tell.
    async fn turn(&mut self) {
        for id in self.telling.cut_off() {
            tracing::warn!(reminder = %id, "nobody was reminded: no answer in time");
            self.untold.insert(id);
        }
        let now = self.clock.monotonic();
        if self.looked.is_none_or(|looked| now.saturating_sub(looked) >= LOOK_EVERY) {
            match self.look().await {
                Ok(()) => self.looked = Some(now),
                Err(error) => tracing::warn!(%error, "leases could not be looked through"),
            }
        }
        while self.telling.has_room() {
            let Some((person, reminder)) = self.waiting.pop_front() else { return };
            self.tried = Some((reminder.agent().clone(), person.clone()));
            self.telling.begin(person, News::Reminder(reminder));
        }
    }

    /// Looks all agents through: how many leases end, and who has to be reminded.
    async fn look(&mut self) -> Result<(), FactsError> {
        let (journal, now) = (self.journal.clone(), self.clock.now());
        let (mut ending, mut due) = (0, Due::default());
        let mut people = People::of(journal.store().as_ref());
        let mut pages = Pages::of(journal.store().as_ref(), "agent/");
        while let Some(facts) = pages.next().await? {
            for (key, body) in facts {
                let agent: Agent = serde_json::from_slice(&body)
                    .map_err(|source| FactsError::Damaged { key, source })?;
                ending += u64::from(ends_within(&agent, now, ENDING));
                let sponsor = people.find(&agent.sponsor).await?;
                let left = sponsor.and_then(|sponsor| SponsorLeft::of(&agent, sponsor));
                let ends = LeaseReminder::due(&agent, now).map(Reminder::Ends);
                for reminder in ends.chain(left.map(Reminder::Stopped)) {
                    for person in self.who_lacks(&mut people, &agent, &reminder).await? {
                        due.add(self.tried.as_ref(), (person, reminder.clone()));
                    }
                }
            }
        }
        self.numbers.ending.store(ending, Ordering::Relaxed);
        let due: Vec<_> = due.in_turn().map(|it| (it.1.id(&it.0), it)).collect();
        let ids: BTreeSet<_> = due.iter().map(|(id, _)| *id).collect();
        self.untold.retain(|id| ids.contains(id));
        if due.len() < WAITING_MAX {
            self.unwritten.retain(|id| ids.contains(id));
        }
        self.waiting.clear();
        for (id, (person, reminder)) in due {
            if self.unwritten.contains(&id) {
                self.write(id, &reminder, &person).await;
            } else if !self.telling.is_under_way(&id) {
                self.waiting.push_back((person, reminder));
            }
        }
        let silent = silent(journal.store().as_ref(), now).await?;
        self.numbers.silent.store(silent, Ordering::Relaxed);
        Ok(())
    }

    /// Who has not had `reminder` yet of those who are asked about `agent`.
    async fn who_lacks(
        &self,
        people: &mut People<'_>,
        agent: &Agent,
        reminder: &Reminder,
    ) -> Result<Vec<PersonId>, FactsError> {
        let mut reader = Reader::new(self.journal.store().as_ref());
        let known = reader.find::<Reminded>(reminder.place()).await?;
        let mut asked = people.asked(agent, reminder).await?;
        asked.retain(|id| !known.as_ref().is_some_and(|known| known.had(reminder, id)));
        Ok(asked)
    }

    /// An attempt to remind somebody has ended.
    async fn ended(&mut self, Attempt { id, person, news, result }: Attempt) {
        let News::Reminder(reminder) = news else { return };
        match result {
            Ok(()) => {
                self.untold.remove(&id);
                self.unwritten.insert(id);
                self.write(id, &reminder, &person).await;
            }
            Err(error) => {
                tracing::warn!(error, agent = %reminder.agent(), "nobody was reminded of an agent");
                self.untold.insert(id);
            }
        }
    }

    /// Writes that `person` had `reminder`, with a record of it.
    async fn write(&mut self, id: Sha256Digest, reminder: &Reminder, person: &PersonId) {
        match self.written(reminder, person).await {
            Ok(()) => drop(self.unwritten.remove(&id)),
            Err(error) => tracing::warn!(error, "that somebody was reminded was not written"),
        }
    }

    async fn written(&self, reminder: &Reminder, person: &PersonId) -> Result<(), String> {
        let key = reminder.place();
        let mut reader = Reader::new(self.journal.store().as_ref());
        let known = reader.find::<Reminded>(key.clone()).await;
        let known = known.map_err(|error| error.to_string())?;
        let all = Reminded::and(known, reminder, person);
        let (event, details) = recorded(reminder);
        let details = details.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let stamp = (self.clock.now(), self.entropy.as_ref());
        let unit = Unit {
            entries: vec![refusals::event(stamp, event, details)],
            reads: vec![key.clone()],
            revision: reader.sourced(()).revision,
            effects: vec![Effect::Put { key, body: json::canonical_of(&all) }],
            urgency: Urgency::Deferred,
        };
        let committed = self.journal.store().commit(unit).await;
        committed.map(drop).map_err(|error| error.to_string())
    }
}

/// Reminders that are due, found in the order of agents and people: those after the last one that was tried
/// come first, so that none waits for others that never get through.
#[derive(Default)]
struct Due {
    next: Vec<(PersonId, Reminder)>,
    again: Vec<(PersonId, Reminder)>,
}

impl Due {
    fn add(&mut self, tried: Option<&(AgentName, PersonId)>, due: (PersonId, Reminder)) {
        let of = (due.1.agent(), &due.0);
        let is_next = tried.is_none_or(|(agent, person)| of > (agent, person));
        let place = if is_next { &mut self.next } else { &mut self.again };
        if place.len() < WAITING_MAX {
            place.push(due);
        }
    }

    fn in_turn(self) -> impl Iterator<Item = (PersonId, Reminder)> {
        self.next.into_iter().chain(self.again).take(WAITING_MAX)
    }
}

/// What records that somebody had `reminder`. Who that was stays out of the log: the store has it.
fn recorded(reminder: &Reminder) -> (&'static str, Vec<(&'static str, String)>) {
    let agent = ("agent", reminder.agent().to_string());
    match reminder {
        Reminder::Ends(LeaseReminder { until, days, review, .. }) => {
            let details = [agent, ("days", days.to_string()), ("until", until.to_string())];
            let review = review.map(|review| ("review", review.to_string()));
            ("lease_reminder_told", details.into_iter().chain(review).collect())
        }
        Reminder::Stopped(left) => {
            let (since, why) = (left.since.to_string(), left.why().to_owned());
            ("sponsor_left_told", vec![agent, ("since", since), ("why", why)])
        }
    }
}

/// Of how many directories, or sources of signed lists, the people are unconfirmed at `now`.
async fn silent(store: &dyn Store, now: Timestamp) -> Result<u64, FactsError> {
    let heard = all::<Heard>(store, "heard/").await?;
    let silent = heard.iter().filter(|heard| heard.until().is_some_and(|until| until <= now));
    Ok(silent.count() as u64)
}

/// Whether the lease of an agent that acts runs at `now` and ends within `within`.
fn ends_within(agent: &Agent, now: Timestamp, within: Duration) -> bool {
    let until = agent.leased_until();
    agent.state == AgentState::Active && now < until && until <= now.plus(within)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However many never get through, and though one is tried in each look: it is the turn of each.
    #[test]
    fn r_14_nobody_waits_for_reminders_that_never_get_through() {
        let reminder = |number: usize| {
            Reminder::Ends(LeaseReminder {
                agent: format!("agent-{number:04}").parse().expect("a name"),
                sponsor: "ann".parse().expect("a person"),
                until: Timestamp::from_millis(0),
                days: 1,
                review: None,
            })
        };
        let people: [PersonId; 2] = ["ann", "bob"].map(|id| id.parse().expect("a person"));
        let reminders: Vec<_> = (0..=WAITING_MAX / 2).map(reminder).collect();
        let (agents, mut tried, mut all) = (reminders.len(), None, BTreeSet::new());
        for _ in 0..agents * people.len() {
            let mut due = Due::default();
            for reminder in &reminders {
                for person in &people {
                    due.add(tried.as_ref(), (person.clone(), reminder.clone()));
                }
            }
            let mut turn = due.in_turn();
            let (person, reminder) = turn.next().expect("all are due");
            assert_eq!(turn.count(), WAITING_MAX - 1);
            all.insert((reminder.agent().clone(), person.clone()));
            tried = Some((reminder.agent().clone(), person));
        }
        assert_eq!(all.len(), agents * people.len());
    }
}
