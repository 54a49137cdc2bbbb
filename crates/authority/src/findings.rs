//! Callers that are no active agent: found, recorded, kept in the register, told to who answers.
//!
//! Nobody waits for any of it. Each is one finding, however often it comes; the first to be told is
//! the owner of a tool of the server that it wanted, then, as long as nobody has looked, each
//! administrator in turn. What a stranger says of itself is kept as what it says, and decides
//! nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use journal::Journal;
use model::{
    Clock, Entropy, FactKey, Finding, Person, PersonId, Revision, Sha256Digest, Stranger, Told,
    Tool,
};
use serde::de::DeserializeOwned;
use store::{Effect, Unit, Urgency};
use tokio::sync::mpsc;

use crate::reader::{self, Reader};
use crate::{Authority, FactsError, refusals};

/// The most findings that are open at once; a stranger beyond is in its refusal record only.
pub const FINDINGS_OPEN_MAX: usize = 1_000;

/// The most findings that are open at once for one address.
pub(crate) const FINDINGS_OF_SOURCE_MAX: usize = 16;

/// The most strangers that wait to be written down.
pub(crate) const STRANGERS_WAITING_MAX: usize = 256;

/// How often what was seen again is written, and whom to tell is looked up.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The group whose members the starter policy lets administer.
pub const ADMINISTRATORS: &str = "administrators";

/// Tells a person of a finding.
#[async_trait]
pub trait Messenger: Send + Sync {
    /// Tells `person`; an error if that did not get through.
    async fn tell(&self, person: &PersonId, finding: &Finding) -> Result<(), String>;
}

/// What is wrong with findings, as numbers for metrics.
#[derive(Debug, Default)]
pub struct FindingNumbers {
    /// How many are open.
    pub open: AtomicU64,
    /// How many have to be told and did not get through.
    pub untold: AtomicU64,
}

/// Keeps findings, in the background.
pub struct FindingKeeper {
    strangers: mpsc::Receiver<Stranger>,
    journal: Journal,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    messenger: Option<Arc<dyn Messenger>>,
    escalate_after: Duration,
    numbers: Arc<FindingNumbers>,
    open: BTreeMap<Sha256Digest, Open>,
}

/// An open finding, as it is known here.
struct Open {
    finding: Finding,
    /// It was seen since it was written.
    is_dirty: bool,
    /// Nobody is left to be told.
    is_all_told: bool,
}

impl Authority {
    /// Notes a caller that is no active agent. Returns at once; of a flood, what cannot be written
    /// down in time is in its refusal records only.
    pub fn note_stranger(&self, stranger: Stranger) {
        let _ = self.strangers.try_send(stranger);
    }

    /// What keeps the findings of this authority, told by `messenger` to one person after another,
    /// `escalate_after` each. It can be had once.
    pub async fn finding_keeper(
        &self,
        messenger: Option<Arc<dyn Messenger>>,
        escalate_after: Duration,
    ) -> Result<FindingKeeper, FactsError> {
        let strangers = self.strangers_seen.lock().expect("no panic while it is held").take();
        let strangers = strangers.expect("it is asked for once");
        let mut keeper = FindingKeeper {
            strangers,
            journal: self.journal.clone(),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            messenger,
            escalate_after,
            numbers: Arc::default(),
            open: BTreeMap::new(),
        };
        for finding in keeper.all::<Finding>("finding/").await? {
            if finding.closed.is_none() {
                keeper.open.insert(finding.id, Open::new(finding));
            }
        }
        Ok(keeper)
    }
}

impl Open {
    const fn new(finding: Finding) -> Self {
        Self { finding, is_dirty: false, is_all_told: false }
    }
}

impl FindingKeeper {
    /// The numbers that it keeps up to date.
    pub fn numbers(&self) -> Arc<FindingNumbers> {
        self.numbers.clone()
    }

    /// Keeps findings until the authority is gone.
    pub async fn run(mut self) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                stranger = self.strangers.recv() => match stranger {
                    Some(stranger) => self.seen(stranger).await,
                    None => return,
                },
                _ = look.tick() => self.look().await,
            }
            let open = u64::try_from(self.open.len()).unwrap_or(u64::MAX);
            self.numbers.open.store(open, Ordering::Relaxed);
        }
    }

    /// A stranger was seen: a new finding, or one more time of one that there is.
    async fn seen(&mut self, stranger: Stranger) {
        let (id, now) = (stranger.id(), self.clock.now());
        if let Some(open) = self.open.get_mut(&id) {
            open.finding.last = now;
            open.finding.count += 1;
            open.finding.stranger = stranger;
            open.is_dirty = true;
            return;
        }
        if !self.has_room(&stranger) {
            return tracing::debug!("too many findings are open: close some");
        }
        let state = "unknown".to_owned();
        let (first, told) = (now, Vec::new());
        let new = Finding { id, state, stranger, first, last: now, count: 1, told, closed: None };
        // One that somebody closed is opened again, with what was known of it.
        let (before, revision) = match self.stored(&id).await {
            Ok(stored) => stored,
            Err(error) => return tracing::warn!(%error, "a finding could not be read"),
        };
        let finding = match before {
            Some(Finding { first, count, .. }) => Finding { first, count: count + 1, ..new },
            None => new,
        };
        let cause = finding.stranger.cause.clone();
        let details = [("finding", id.to_string()), ("cause", cause)];
        if self.write(&finding, revision, Some(("unknown_agent", &details))).await {
            self.open.insert(id, Open::new(finding));
        }
    }

    /// Whether one more finding may be open: one address does not fill the register.
    fn has_room(&self, stranger: &Stranger) -> bool {
        let of_it = |open: &&Open| open.finding.stranger.source == stranger.source;
        let own = self.open.values().filter(of_it).count();
        own < FINDINGS_OF_SOURCE_MAX && self.open.len() < FINDINGS_OPEN_MAX
    }

    /// Writes what was seen again, forgets what somebody closed, and tells who has to be told.
    async fn look(&mut self) {
        let mut untold = 0;
        for id in self.open.keys().copied().collect::<Vec<_>>() {
            let Some(mut open) = self.open.remove(&id) else { continue };
            let revision = match self.stored(&id).await {
                Ok((Some(Finding { closed: Some(_), .. }), _)) => continue,
                Ok((_, revision)) => revision,
                Err(_) => {
                    // What cannot be read now is looked at again.
                    self.open.insert(id, open);
                    continue;
                }
            };
            match self.tell_next(&mut open).await {
                Ok(Some(told)) => {
                    open.finding.told.push(told);
                    // Who it was stays out of the log: the register has it.
                    let number = open.finding.told.len().to_string();
                    let details = [("finding", id.to_string()), ("told", number)];
                    let event = Some(("unknown_agent_told", &details[..]));
                    open.is_dirty = !self.write(&open.finding, revision, event).await;
                }
                Ok(None) if open.is_dirty => {
                    open.is_dirty = !self.write(&open.finding, revision, None).await;
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, finding = %id, "a finding could not be told");
                    untold += 1;
                }
            }
            self.open.insert(id, open);
        }
        self.numbers.untold.store(untold, Ordering::Relaxed);
    }

    /// Tells the next person in line, if it is time.
    async fn tell_next(&self, open: &mut Open) -> Result<Option<Told>, String> {
        let Some(messenger) = self.messenger.as_ref().filter(|_| !open.is_all_told) else {
            return Ok(None);
        };
        let finding = &open.finding;
        let now = self.clock.now();
        let due = finding.told.last().is_none_or(|last| now.since(last.at) >= self.escalate_after);
        if !due {
            return Ok(None);
        }
        let line = self.line(finding).await.map_err(|error| error.to_string())?;
        let is_told = |person: &PersonId| finding.told.iter().any(|told| told.person == *person);
        let Some(person) = line.into_iter().find(|person| !is_told(person)) else {
            open.is_all_told = true;
            return Ok(None);
        };
        messenger.tell(&person, finding).await?;
        Ok(Some(Told { person, at: now }))
    }

    /// Who answers, nearest first: owners of the server's tools, then who administers.
    async fn line(&self, finding: &Finding) -> Result<Vec<PersonId>, FactsError> {
        let mut line = Vec::new();
        if let Some(server) = &finding.stranger.server {
            let tools = self.all::<Tool>(&format!("tool/{server}/")).await?;
            line.extend(tools.into_iter().filter_map(|tool| tool.owner));
        }
        let people = self.all::<Person>("person/").await?;
        let administers =
            |person: &Person| person.groups.iter().any(|group| group.as_str() == ADMINISTRATORS);
        let active: Vec<_> = people.into_iter().filter(Person::is_active).collect();
        line.retain(|owner| active.iter().any(|person| person.id == *owner));
        line.extend(active.into_iter().filter(administers).map(|person| person.id));
        Ok(line)
    }

    async fn all<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<T>, FactsError> {
        reader::all(self.journal.store().as_ref(), prefix).await
    }

    /// The finding as it is stored, and as of when.
    async fn stored(&self, id: &Sha256Digest) -> Result<(Option<Finding>, Revision), FactsError> {
        let mut reader = Reader::new(self.journal.store().as_ref());
        let found = reader.find(FactKey::finding(id)).await?;
        Ok((found, reader.sourced(()).revision))
    }

    /// Writes a finding, if nobody changed it since `revision`, with a record of the event if there
    /// is one; whether that got through.
    async fn write(
        &self,
        finding: &Finding,
        revision: Revision,
        event: Option<(&str, &[(&str, String)])>,
    ) -> bool {
        let stamp = (self.clock.now(), self.entropy.as_ref());
        let entries = event.map(|(event, details)| {
            let details = details.iter().map(|(name, it)| ((*name).to_owned(), it.clone()));
            refusals::event(stamp, event, details.collect())
        });
        let (key, body) = (FactKey::finding(&finding.id), json::canonical_of(finding));
        let unit = Unit {
            entries: entries.into_iter().collect(),
            reads: vec![key.clone()],
            revision,
            effects: vec![Effect::Put { key, body }],
            urgency: Urgency::Deferred,
        };
        let committed = self.journal.store().commit(unit).await;
        committed.inspect_err(|error| tracing::warn!(%error, "a finding was not written")).is_ok()
    }
}
