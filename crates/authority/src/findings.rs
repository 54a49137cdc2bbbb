//! Callers that are no active agent: found, recorded, kept in the register, told to who answers.
//!
//! Nobody waits for any of it. Each is one finding, however often it comes; the first to be told is
//! the owner of a tool of the server that it wanted, then, as long as nobody has looked, each
//! administrator in turn: people have no managers in the register. What a stranger says of itself
//! is kept as what it says, and decides nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use journal::Journal;
use model::{
    Clock, Entropy, FactKey, Finding, Person, PersonId, Revision, Sha256Digest, Stranger, Told,
    Tool,
};
use serde::de::DeserializeOwned;
use store::{Effect, NewEntry, Unit, Urgency};
use tokio::sync::mpsc;

use crate::reader::{self, Reader};
use crate::telling::{Attempt, Messenger, News, Telling};
use crate::{Authority, FactsError, refusals};

/// The cause of a refusal where a person's own credential is shown: no agent acts by that.
pub const HUMAN_CREDENTIAL: &str = "human_credential";

/// The most findings that are open at once; a stranger beyond is in its refusal record only.
pub const FINDINGS_OPEN_MAX: usize = 1_000;

/// The most findings that are open at once for one address.
pub const FINDINGS_OF_SOURCE_MAX: usize = 16;

/// The most strangers that wait to be written down.
pub(crate) const STRANGERS_WAITING_MAX: usize = 256;

/// What records that a finding is open.
const FOUND: &str = "unknown_agent";

/// What is noted for a keeper of findings.
pub(crate) enum Seen {
    /// Somebody who is to be written down.
    Stranger(Box<Stranger>),
    /// A finding that is.
    Committed(Box<Finding>),
}

/// How often what was seen again is written, and whom to tell is looked up.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The group whose members the starter policy lets administer.
pub use model::ADMINISTRATORS;

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
    strangers: mpsc::Receiver<Seen>,
    journal: Journal,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    telling: Telling,
    escalate_after: Duration,
    numbers: Arc<FindingNumbers>,
    open: BTreeMap<Sha256Digest, Open>,
}

/// An open finding, as it is known here.
struct Open {
    finding: Finding,
    unwritten: Unwritten,
    /// Nobody is left to be told.
    is_all_told: bool,
    /// The last attempt to tell somebody did not get through.
    is_untold: bool,
    /// When somebody was last tried to be told, on the monotonic clock.
    tried: Option<Duration>,
}

/// What became of a finding since it was written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unwritten {
    Nothing,
    /// It was seen again.
    Seen,
    /// Somebody was told.
    Told,
}

impl Authority {
    /// Notes a caller that is no active agent. Returns at once; of a flood, what cannot be written
    /// down in time is in its refusal records only.
    pub fn note_stranger(&self, stranger: Stranger) {
        let _ = self.strangers.try_send(Seen::Stranger(Box::new(stranger)));
    }

    /// The finding that `stranger` is, and what records it, for the commit of what came of it: it is not lost with
    /// the process. Whoever has committed it says so ([`Authority::note_finding`]).
    pub async fn found(
        &self,
        reader: &mut Reader<'_>,
        stranger: Stranger,
    ) -> Result<(Finding, NewEntry), FactsError> {
        let before = reader.find::<Finding>(FactKey::finding(&stranger.id())).await?;
        let finding = Finding::seen(stranger, self.clock.now(), before);
        let details = details(&finding).map(|(name, value)| (name.to_owned(), value));
        let stamp = (finding.last, self.entropy.as_ref());
        let record = refusals::event(stamp, FOUND, details.into_iter().collect());
        Ok((finding, record))
    }

    /// Notes a finding that was committed, so that people are told of it now, and not after the next start.
    pub fn note_finding(&self, finding: Finding) {
        let _ = self.strangers.try_send(Seen::Committed(Box::new(finding)));
    }

    /// The person whose login `issuer` calls `subject`, if there is one and it can be read now. It
    /// says whose a credential is that is refused anyway, and is no ground for anything else.
    pub async fn whose_login(&self, issuer: &str, subject: &str) -> Option<PersonId> {
        let mut reader = Reader::new(self.journal.store().as_ref());
        let found = reader.find(FactKey::login(issuer, subject));
        let found = tokio::time::timeout(self.limits.decision_timeout, found).await;
        found.ok()?.ok()?
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
            telling: Telling::new(messenger, self.clock.clone()),
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

/// What the record of a finding tells.
fn details(finding: &Finding) -> [(&'static str, String); 2] {
    [("finding", finding.id.to_string()), ("cause", finding.stranger.cause.clone())]
}

impl Open {
    const fn new(finding: Finding) -> Self {
        let unwritten = Unwritten::Nothing;
        Self { finding, unwritten, is_all_told: false, is_untold: false, tried: None }
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
                    Some(Seen::Stranger(stranger)) => self.seen(*stranger).await,
                    Some(Seen::Committed(finding)) => {
                        self.open.insert(finding.id, Open::new(*finding));
                    }
                    None => return,
                },
                attempt = self.telling.ended() => self.ended(attempt).await,
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
            open.unwritten = open.unwritten.max(Unwritten::Seen);
            return;
        }
        if !self.has_room(&stranger) {
            return tracing::debug!("too many findings are open: close some");
        }
        let (before, revision) = match self.stored(&id).await {
            Ok(stored) => stored,
            Err(error) => return tracing::warn!(%error, "a finding could not be read"),
        };
        let finding = Finding::seen(stranger, now, before);
        if self.write(&finding, revision, Some((FOUND, &details(&finding)))).await {
            self.open.insert(id, Open::new(finding));
        }
    }

    /// Whether one more finding may be open: one address does not fill the register, nor does one
    /// agent; and who is unknown at an address takes no room from what agents are found at there.
    fn has_room(&self, stranger: &Stranger) -> bool {
        let of_it = |open: &&Open| {
            let other = &open.finding.stranger;
            let same_source = stranger.proven.is_some() || other.source == stranger.source;
            other.proven == stranger.proven && same_source
        };
        let own = self.open.values().filter(of_it).count();
        own < FINDINGS_OF_SOURCE_MAX && self.open.len() < FINDINGS_OPEN_MAX
    }

    /// Brings the register up to date, gives up what hangs, and tells who has to be told.
    async fn look(&mut self) {
        for id in self.open.keys().copied().collect::<Vec<_>>() {
            self.settle(id).await;
        }
        for id in self.telling.cut_off() {
            self.untold(&id, "no answer in time");
        }
        self.tell_due().await;
        let untold = self.open.values().filter(|open| open.is_untold).count();
        self.numbers.untold.store(untold.try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Forgets what somebody closed, else writes what was not written yet.
    async fn settle(&mut self, id: Sha256Digest) {
        let revision = match self.stored(&id).await {
            Ok((Some(Finding { closed: Some(_), .. }), _)) => {
                self.open.remove(&id);
                return;
            }
            Ok((_, revision)) => revision,
            // What cannot be read now is looked at again.
            Err(_) => return,
        };
        let Some(Open { finding, unwritten, .. }) = self.open.get(&id) else { return };
        // Who was told stays out of the log: the register has it.
        let number = finding.told.len().to_string();
        let details = [("finding", id.to_string()), ("told", number)];
        let event = match unwritten {
            Unwritten::Nothing => return,
            Unwritten::Seen => None,
            Unwritten::Told => Some(("unknown_agent_told", &details[..])),
        };
        if self.write(finding, revision, event).await
            && let Some(open) = self.open.get_mut(&id)
        {
            open.unwritten = Unwritten::Nothing;
        }
    }

    /// Begins to tell the next in line of each finding for which it is time, those first that were
    /// not tried for longest.
    async fn tell_due(&mut self) {
        let due = self.open.iter().filter(|(id, open)| self.is_due(id, open));
        let mut due: Vec<_> = due.map(|(id, open)| (open.tried, *id)).collect();
        due.sort_unstable();
        for (_, id) in due {
            let Some(open) = self.open.get(&id).filter(|_| self.telling.has_room()) else { return };
            let line = self.line(&open.finding).await;
            let Some(open) = self.open.get_mut(&id) else { continue };
            let told = &open.finding.told;
            let is_told = |person: &PersonId| told.iter().any(|told| told.person == *person);
            match line.map(|line| line.into_iter().find(|person| !is_told(person))) {
                Ok(Some(person)) => {
                    open.tried = Some(self.clock.monotonic());
                    self.telling.begin(person, News::UnknownAgent(Box::new(open.finding.clone())));
                }
                Ok(None) => open.is_all_told = true,
                Err(error) => self.untold(&id, &error.to_string()),
            }
        }
    }

    /// Whether it is time to tell the next person.
    fn is_due(&self, id: &Sha256Digest, open: &Open) -> bool {
        let last = open.finding.told.last();
        let is_time =
            last.is_none_or(|last| self.clock.now().since(last.at) >= self.escalate_after);
        is_time && !open.is_all_told && !self.telling.is_under_way(id)
    }

    /// An attempt to tell somebody has ended.
    async fn ended(&mut self, attempt: Attempt) {
        let Attempt { id, person, result, .. } = attempt;
        if let Err(error) = result {
            return self.untold(&id, &error);
        }
        let Some(open) = self.open.get_mut(&id) else { return };
        open.is_untold = false;
        open.finding.told.push(Told { person, at: self.clock.now() });
        open.unwritten = Unwritten::Told;
        self.settle(id).await;
    }

    /// Nobody was told of `id`: it is tried again.
    fn untold(&mut self, id: &Sha256Digest, error: &str) {
        tracing::warn!(error, finding = %id, "a finding could not be told");
        if let Some(open) = self.open.get_mut(id) {
            open.is_untold = true;
        }
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
