//! Callers that are no active agent: found, recorded, kept in the register, told to who answers.
//!
//! Nobody waits for any of it. Each is one finding, however often it comes; the first to be told is
//! the owner of a tool of the server that it wanted, then, as long as nobody has looked, whom owners
//! report to and each administrator in turn ([`Lines`]). What a stranger says of itself is kept as
//! what it says, and decides nothing.
//!
//! INVARIANT: no stranger keeps another from being found: who has no room left for a finding of its
//! own counts in that of its cause and server, for which there always is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use journal::Journal;
use model::{
    Clock, Entropy, FactKey, Finding, Revision, Server, Sha256Digest, Stranger, Thumbprint, Told,
};
use store::{Effect, LOAD_MAX, NewEntry, Unit, Urgency};
use tokio::sync::mpsc;

use crate::answering::Lines;
use crate::reader::{self, Reader};
use crate::shown::{Apart, Shown};
use crate::telling::{Attempt, Messenger, News, Telling};
use crate::{Authority, FactsError, refusals};

/// The most findings that are open at once; a stranger beyond counts among many
/// ([`Stranger::among_many`]).
pub const FINDINGS_OPEN_MAX: usize = 1_000;

/// The most findings that are open at once for one network, and for one agent.
pub const FINDINGS_OF_SOURCE_MAX: usize = 16;

/// The most findings that are open at once for all whose address tells nobody from another.
pub const FINDINGS_OF_NOBODY_MAX: usize = 250;

/// The most strangers that wait to be written down; one beyond is in its refusal record only.
pub const STRANGERS_WAITING_MAX: usize = 256;

/// What records that a finding is open.
const FOUND: &str = "unknown_agent";

/// What is noted for a keeper of findings.
pub(crate) enum Seen {
    /// Somebody who is to be written down.
    Stranger(Box<Stranger>),
    /// Somebody who may have shown what is a person's own.
    Shown(Box<Shown>),
    /// Somebody who has shown what is another's, and proved this key.
    Proved(Box<Stranger>, Thumbprint),
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
    /// Whether there are findings that others committed.
    committed: Arc<AtomicBool>,
    journal: Journal,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    telling: Telling,
    apart: Apart,
    escalate_after: Duration,
    /// Whether all strangers come by one address.
    is_behind_proxy: bool,
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

    /// Notes a caller of whom it is still to be looked up whether it showed a person's own credential. As
    /// [`Authority::note_stranger`].
    pub fn note_shown(&self, shown: Shown) {
        let _ = self.strangers.try_send(Seen::Shown(Box::new(shown)));
    }

    /// Notes a caller that showed what is another's and proved `key`: whose instance has that is still to be
    /// looked up. As [`Authority::note_stranger`].
    pub fn note_proved(&self, stranger: Stranger, key: Thumbprint) {
        let _ = self.strangers.try_send(Seen::Proved(Box::new(stranger), key));
    }

    /// The finding that `stranger` is, and what records it, for the commit of what came of it: it is not lost with
    /// the process. Whoever has committed it says so ([`Authority::note_committed`]). A damaged one is written anew.
    pub async fn found(
        &self,
        reader: &mut Reader<'_>,
        stranger: Stranger,
    ) -> Result<(Finding, NewEntry), FactsError> {
        let before = match reader.find::<Finding>(FactKey::finding(&stranger.id())).await {
            Err(FactsError::Damaged { .. }) => None,
            found => found?,
        };
        let finding = Finding::seen(stranger, self.clock.now(), before);
        let details = details(&finding).map(|(name, value)| (name.to_owned(), value));
        let stamp = (finding.last, self.entropy.as_ref());
        let record = refusals::event(stamp, FOUND, details.into_iter().collect());
        Ok((finding, record))
    }

    /// Notes that a finding was committed, so that people are told of it at the next look, and not after the next
    /// start. It waits for no place behind strangers.
    pub fn note_committed(&self) {
        self.findings_committed.store(true, Ordering::Release);
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
            committed: self.findings_committed.clone(),
            journal: self.journal.clone(),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            telling: Telling::new(messenger, self.clock.clone()),
            apart: Apart::of(self),
            escalate_after,
            is_behind_proxy: false,
            numbers: Arc::default(),
            open: BTreeMap::new(),
        };
        keeper.open_all().await?;
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

    /// The same, of a service at which all connect by one address if it `is_behind_proxy`.
    #[must_use]
    pub fn behind_proxy(self, is_behind_proxy: bool) -> Self {
        Self { is_behind_proxy, ..self }
    }

    /// Keeps findings until the authority is gone.
    pub async fn run(mut self) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                stranger = self.strangers.recv() => match stranger {
                    Some(Seen::Stranger(stranger)) => self.seen(*stranger).await,
                    Some(Seen::Shown(shown)) => {
                        if let Some(stranger) = self.apart.told(*shown).await {
                            self.seen(stranger).await;
                        }
                    }
                    Some(Seen::Proved(stranger, key)) => {
                        let stranger = self.apart.with_key(*stranger, &key).await;
                        self.seen(stranger).await;
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

    /// Opens what is stored and not closed, but for what is known better here.
    async fn open_all(&mut self) -> Result<(), FactsError> {
        let store = self.journal.store().clone();
        for finding in reader::all::<Finding>(store.as_ref(), "finding/").await? {
            let known = self.open.get(&finding.id);
            let is_as_stored = known.is_none_or(|open| open.unwritten == Unwritten::Nothing);
            if finding.closed.is_none() && is_as_stored {
                self.open.insert(finding.id, Open::new(finding));
            }
        }
        Ok(())
    }

    /// A stranger was seen: a new finding, or one more time of one that there is.
    async fn seen(&mut self, stranger: Stranger) {
        let stranger = Stranger { network: self.network_of(&stranger), ..stranger };
        let Some(stranger) = self.at_a_server_of_ours(stranger).await else { return };
        let has_room = self.open.contains_key(&stranger.id()) || self.has_room(&stranger);
        let stranger = if has_room { stranger } else { stranger.among_many() };
        let (id, now) = (stranger.id(), self.clock.now());
        if let Some(open) = self.open.get_mut(&id) {
            open.finding.last = now;
            open.finding.count += 1;
            open.finding.stranger = stranger;
            open.unwritten = open.unwritten.max(Unwritten::Seen);
            return;
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

    /// The same stranger, who wanted to reach a server only if there is such a one: names that it makes up
    /// make no further findings. None if that cannot be read now.
    async fn at_a_server_of_ours(&self, stranger: Stranger) -> Option<Stranger> {
        let Some(name) = &stranger.server else { return Some(stranger) };
        if self.open.contains_key(&stranger.id()) {
            return Some(stranger);
        }
        let mut reader = Reader::new(self.journal.store().as_ref());
        let server = reader.find::<Server>(FactKey::server(name)).await;
        let server =
            server.inspect_err(|error| tracing::warn!(%error, "a finding is lost")).ok()?;
        Some(Stranger { server: server.map(|server| server.name), ..stranger })
    }

    /// The network that `stranger` came from, as far as its address tells that.
    fn network_of(&self, stranger: &Stranger) -> Option<String> {
        let address = stranger.source.as_ref().filter(|_| !self.is_behind_proxy)?;
        Some(model::network(address.parse().ok()?)?.to_string())
    }

    /// Whether one more finding may be open: one network does not fill the register, nor does one
    /// agent; and who is unknown at an address takes no room from what agents are found at there.
    fn has_room(&self, stranger: &Stranger) -> bool {
        let of_it = |open: &&Open| {
            let other = &open.finding.stranger;
            let same_network = stranger.proven.is_some() || other.network == stranger.network;
            other.proven == stranger.proven && same_network
        };
        let is_somebodys = stranger.proven.is_some() || stranger.network.is_some();
        let most = if is_somebodys { FINDINGS_OF_SOURCE_MAX } else { FINDINGS_OF_NOBODY_MAX };
        self.open.values().filter(of_it).count() < most && self.open.len() < FINDINGS_OPEN_MAX
    }

    /// Brings the register up to date, gives up what hangs, and tells who has to be told. However many
    /// are open, it reads and writes so many at once that strangers do not wait for it for long.
    async fn look(&mut self) {
        if self.committed.swap(false, Ordering::Acquire)
            && let Err(error) = self.open_all().await
        {
            tracing::warn!(%error, "findings could not be read");
            self.committed.store(true, Ordering::Release);
        }
        for ids in self.open.keys().copied().collect::<Vec<_>>().chunks(LOAD_MAX) {
            self.settle(ids).await;
        }
        for id in self.telling.cut_off() {
            self.untold(&id, "no answer in time");
        }
        self.tell_due().await;
        let untold = self.open.values().filter(|open| open.is_untold).count();
        self.numbers.untold.store(untold.try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Forgets those of `ids`, at most [`LOAD_MAX`], that somebody closed, and writes of the others what
    /// was not written yet.
    async fn settle(&mut self, ids: &[Sha256Digest]) {
        let keys: Vec<_> = ids.iter().map(FactKey::finding).collect();
        // What cannot be read now is looked at again.
        let Ok(stored) = self.journal.store().load(&keys).await else { return };
        let mut there = Vec::with_capacity(ids.len());
        for (id, body) in ids.iter().zip(stored.bodies) {
            let finding = body.map(|body| serde_json::from_slice::<Finding>(&body)).transpose();
            match finding {
                Ok(Some(Finding { closed: Some(_), .. })) => drop(self.open.remove(id)),
                Ok(_) => there.push(id),
                Err(_) => {}
            }
        }
        let open = there.iter().filter_map(|id| self.open.get(id));
        let written: Vec<_> =
            open.map(|open| self.bring_up_to_date(open, stored.revision)).collect();
        let written = join_all(written).await;
        for (id, _) in there.iter().zip(written).filter(|(_, is_done)| *is_done) {
            if let Some(open) = self.open.get_mut(id) {
                open.unwritten = Unwritten::Nothing;
            }
        }
    }

    /// Writes what was not written yet of a finding that nobody changed since `revision`; whether
    /// nothing is left of that.
    async fn bring_up_to_date(&self, open: &Open, revision: Revision) -> bool {
        let Open { finding, unwritten, .. } = open;
        // Who was told stays out of the log: the register has it.
        let number = finding.told.len().to_string();
        let details = [("finding", finding.id.to_string()), ("told", number)];
        let event = match unwritten {
            Unwritten::Nothing => return true,
            Unwritten::Seen => None,
            Unwritten::Told => Some(("unknown_agent_told", &details[..])),
        };
        self.write(finding, revision, event).await
    }

    /// Begins to tell the next in line of each finding for which it is time, those first that were
    /// not tried for longest.
    async fn tell_due(&mut self) {
        let due = self.open.iter().filter(|(id, open)| self.is_due(id, open));
        let mut due: Vec<_> = due.map(|(id, open)| (open.tried, *id)).collect();
        due.sort_unstable();
        let mut lines = Lines::of(self.journal.clone());
        for (_, id) in due {
            if !self.telling.has_room() {
                return;
            }
            let Some(open) = self.open.get_mut(&id) else { continue };
            open.tried = Some(self.clock.monotonic());
            match lines.next(&open.finding).await {
                Ok(Some(person)) => {
                    self.telling.begin(person, News::UnknownAgent(Box::new(open.finding.clone())));
                }
                Ok(None) => open.is_all_told = true,
                // The others come first at the next look.
                Err(error) => return self.untold(&id, &error.to_string()),
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
        self.settle(&[id]).await;
    }

    /// Nobody was told of `id`: it is tried again.
    fn untold(&mut self, id: &Sha256Digest, error: &str) {
        tracing::warn!(error, finding = %id, "a finding could not be told");
        if let Some(open) = self.open.get_mut(id) {
            open.is_untold = true;
        }
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
