//! Labels: what was read marks the session that read it, and what the session stores after that.
//!
//! INVARIANT: a label is on before what it stands for can be seen (`n_085_…`): what a result can carry
//! joins in the commit of the permit, and what only the result reveals before its first byte is let go;
//! with that it joins again what the permit joined, for somebody may have taken that off meanwhile.
//! Each decision reads what it may join, so of two that are made at once the later one sees what the
//! earlier one joined. What is on already is not written again, and nothing here takes a label off.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use model::{
    AccessRequest, DecisionId, FactKey, Label, ResourceRef, Revision, ServerName, SessionFacts,
    TaskId,
};
use pdp::{Flow, Snapshot};
use store::{CommitError, CounterKey, Effect, NewEntry, Unit};
use tokio::sync::Notify;

use crate::Authority;
use crate::memory::Memory;
use crate::pip::{FactsError, Gathered};
use crate::reader::Reader;
use crate::refusals::event;

/// The most names of what one server keeps that ever have labels of their own; whatever is named beyond
/// that is marked as what has no name, which is read under every name.
pub const KEPT_NAMES_MAX: i64 = 100_000;

/// How often it is tried again to join what an answer carries, while others change the session: the answer
/// is there, and is lost if that fails.
pub(crate) const JOIN_ATTEMPTS_MAX: u32 = 64;

/// What an act lets flow, with the labels of the places that it flows between.
#[derive(Clone, Debug, Default)]
pub struct Flowing {
    /// The session as it is kept.
    session: Arc<SessionFacts>,
    /// What the processes that have a part in it have read in all their tasks.
    memory: Memory,
    /// What the result can carry.
    carries: BTreeSet<Label>,
    /// What is kept of which the result tells.
    pub(crate) read: BTreeSet<Label>,
    /// Where that is kept.
    reads: Vec<FactKey>,
    /// Where the act stores what it brings, with the labels of what is kept there.
    stored: Vec<(FactKey, BTreeSet<Label>)>,
    /// What counts the names that have labels, if this is a new one.
    new_name: Option<CounterKey>,
    /// From what that was read.
    pub(crate) source: Option<(Vec<FactKey>, Revision)>,
}

/// What comes back of a permitted act, as far as it was known when that was decided.
#[derive(Debug)]
pub struct Marking {
    /// The session that reads it.
    pub(crate) session: TaskId,
    /// Where what the processes have read is kept that read it.
    memory: BTreeMap<FactKey, bool>,
    /// What is kept of which it tells: what is stored there meanwhile is in it, too.
    reads: Vec<FactKey>,
    decision: DecisionId,
    /// What it carries, which the permit has joined.
    pub(crate) carries: BTreeSet<Label>,
    /// What it may say that it carries besides.
    reveals: BTreeSet<Label>,
    /// Whether outsiders have a part in it, by the set that permitted it.
    pub(crate) is_of_outsiders: bool,
    /// What the act has put on the session by itself besides, or is about to, each as often as it does: no news
    /// to it.
    own: Mutex<BTreeMap<Label, u64>>,
    /// Tells whoever watches the act that it does not put on what it was about to.
    is_not_on: Notify,
}

/// What an act is about to put on its session by itself: no news to it. Dropped before that is on, it is as that of
/// anybody.
#[derive(Debug)]
#[must_use = "dropped, it is as if the act put nothing on"]
pub struct Coming<'a> {
    marking: &'a Marking,
    labels: BTreeSet<Label>,
}

/// What labels are joined to.
#[derive(Clone, Copy)]
enum Joining<'a> {
    /// The session, to which they come with an answer.
    Read(&'a BTreeSet<Label>),
    /// What the act stores that was asked for.
    Stored(&'a AccessRequest),
}

/// Why labels are not on.
#[derive(Debug, thiserror::Error)]
pub enum NotJoined {
    /// The session cannot be read.
    #[error("could not read the session")]
    Facts(#[from] FactsError),
    /// It cannot be recorded.
    #[error("could not record the labels")]
    Commit(#[from] CommitError),
}

impl Flowing {
    /// What `request` lets flow by the policy set `snapshot`, in this `session`, by the processes of which
    /// what they read is kept at `memory`.
    pub(crate) async fn gathered(
        mut reader: Reader<'_>,
        (request, snapshot): (&AccessRequest, &Snapshot),
        (session, memory): (Arc<SessionFacts>, &BTreeMap<FactKey, bool>),
    ) -> Result<Self, FactsError> {
        let Flow { carries, reads, stores } = snapshot.labels().of(request);
        let mut flowing = Self { session, carries, ..Self::default() };
        if reads.is_empty() && stores.is_none() && memory.is_empty() {
            return Ok(flowing);
        }
        flowing.memory = Memory::at(memory, &mut reader).await?;
        flowing.read = kept(&mut reader, &reads).await?;
        flowing.reads = reads;
        if let Some((server, object)) = stores {
            let whole = FactKey::kept(&server, None);
            let mut place = object.unwrap_or_else(|| FactKey::kept_unnamed(&server));
            let mut kept = reader.find(place.clone()).await?;
            if kept.is_none() && place != FactKey::kept_unnamed(&server) {
                let names = CounterKey(format!("{whole}/names"));
                if reader.counter(&names).await? < KEPT_NAMES_MAX {
                    flowing.new_name = Some(names);
                } else {
                    place = FactKey::kept_unnamed(&server);
                    kept = reader.find(place.clone()).await?;
                }
            }
            flowing.stored.push((place, kept.unwrap_or_default()));
            // Who does not say which of it they read has read what is stored now, too.
            let kept = reader.find(whole.clone()).await?.unwrap_or_default();
            flowing.stored.push((whole, kept));
        }
        let source = reader.sourced(());
        flowing.source = Some((source.keys, source.revision));
        Ok(flowing)
    }

    /// What was read before the act, with what is kept of which its result tells: that counts as read by
    /// whoever is about to, also if that sends it out.
    pub(crate) fn known(&self) -> BTreeSet<Label> {
        let Self { session, memory, read, .. } = self;
        session.labels.union(read).chain(memory.labels()).cloned().collect()
    }

    /// What is on the session by now, and what its processes remember, but for what the act that `marking`
    /// is of has put there by itself.
    pub(crate) fn of_others(&self, marking: &Marking) -> BTreeSet<Label> {
        let own = marking.own.lock().expect("no panic while it is held");
        let is_own = |label: &Label| marking.carries.contains(label) || own.contains_key(label);
        let known = self.session.labels.iter().chain(self.memory.labels());
        known.filter(|label| !is_own(label)).cloned().collect()
    }

    /// What puts `labels` on what the act stores: only what is not there yet.
    fn kept_with(&self, labels: &BTreeSet<Label>) -> Vec<Effect> {
        let lacking = self.stored.iter().filter(|(_, kept)| !kept.is_superset(labels));
        let mut effects: Vec<_> = lacking
            .map(|(key, kept)| {
                let all: BTreeSet<_> = kept.union(labels).collect();
                Effect::Put { key: key.clone(), body: json::canonical_of(&all) }
            })
            .collect();
        if let Some(names) = self.new_name.clone().filter(|_| !labels.is_empty()) {
            effects.push(Effect::Count { counter: names, amount: 1, limit: None });
        }
        effects
    }
}

impl Marking {
    pub(crate) fn of(gathered: &Gathered, decision: DecisionId) -> Self {
        let Flowing { carries, read, reads, .. } = &gathered.flowing;
        let labels = gathered.snapshot.labels();
        let carries: BTreeSet<_> = carries.union(read).cloned().collect();
        Self {
            session: gathered.standing.root().id,
            memory: gathered.standing.memory(),
            reads: reads.clone(),
            decision,
            is_of_outsiders: !carries.is_disjoint(labels.outsiders()),
            carries,
            reveals: gathered.server.iter().flat_map(|it| labels.revealed_by(&it.name)).collect(),
            own: Mutex::default(),
            is_not_on: Notify::new(),
        }
    }

    /// Where what others read is kept that have a part in the act.
    pub(crate) fn places(&self) -> impl Iterator<Item = FactKey> {
        let memory = self.memory.iter().filter(|(_, counts)| **counts).map(|(key, _)| key.clone());
        std::iter::once(FactKey::session(self.session)).chain(memory)
    }

    /// Takes note that the act itself is about to put `labels` on the session: before it does, so that nobody
    /// takes them for what others have put there.
    fn puts_on(&self, labels: &BTreeSet<Label>) -> Coming<'_> {
        let labels: BTreeSet<_> = labels.difference(&self.carries).cloned().collect();
        let mut own = self.own.lock().expect("no panic while it is held");
        for label in &labels {
            *own.entry(label.clone()).or_default() += 1;
        }
        Coming { marking: self, labels }
    }

    /// Resolves once the act does not put on what it was about to, if its one watcher was not told of that yet: until
    /// then what others had put on of it was taken for its own.
    pub(crate) async fn puts_on_less(&self) {
        self.is_not_on.notified().await;
    }

    fn details(&self, labels: &[&Label]) -> BTreeMap<String, String> {
        let labels: Vec<_> = labels.iter().map(ToString::to_string).collect();
        let (decision, task) = (self.decision.to_string(), self.session.to_string());
        let all = [("decision", decision), ("labels", labels.join(" ")), ("task", task)];
        all.map(|(name, value)| (name.to_owned(), value)).into()
    }
}

impl Coming<'_> {
    /// It is on.
    pub fn is_on(mut self) {
        self.labels.clear();
    }
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        let mut own = self.marking.own.lock().expect("no panic while it is held");
        for label in &self.labels {
            let Some(times) = own.get_mut(label) else { continue };
            *times -= 1;
            if *times == 0 {
                own.remove(label);
            }
        }
        drop(own);
        if !self.labels.is_empty() {
            self.marking.is_not_on.notify_one();
        }
    }
}

/// What a permit for `request` joins: only what is not there yet.
pub(crate) fn joined(gathered: &Gathered, request: &AccessRequest) -> Vec<Effect> {
    let Flowing { session, carries, .. } = &gathered.flowing;
    let mut labels = gathered.session.labels.clone();
    labels.extend(carries.iter().cloned());
    let mut used_tools = session.used_tools.clone();
    let mut effects = gathered.flowing.kept_with(&labels);
    let (root, remembered) = (gathered.standing.root().id, gathered.snapshot.remembered());
    effects.extend(gathered.flowing.memory.with(root, &labels));
    if let ResourceRef::Tool(tool) = &request.resource
        && remembered.used_tools
    {
        used_tools.insert(tool.clone());
    }
    if labels != session.labels || used_tools != session.used_tools {
        let session = SessionFacts { labels, used_tools, ..SessionFacts::default() };
        effects.push(put(root, &session));
    }
    effects
}

/// What is on what is kept at `places`.
async fn kept(reader: &mut Reader<'_>, places: &[FactKey]) -> Result<BTreeSet<Label>, FactsError> {
    let mut all = BTreeSet::new();
    for place in places {
        all.extend(reader.find::<BTreeSet<Label>>(place.clone()).await?.unwrap_or_default());
    }
    Ok(all)
}

fn put(session: TaskId, facts: &SessionFacts) -> Effect {
    Effect::Put { key: FactKey::session(session), body: json::canonical_of(facts) }
}

/// Whether the fact says what was read before: what an act under way has sent it has sent, and it goes on with
/// the session that it was permitted in; only one that streams is decided again with what others have read
/// since ([`crate::Watch::stream_no_longer_permitted`]).
pub(crate) fn is_of_the_past(key: &FactKey) -> bool {
    ["session/", "memory/", "said/", "kept/"].iter().any(|prefix| key.as_str().starts_with(prefix))
}

impl Authority {
    /// What the answer to an act may reveal: by the set that permitted it, and by the one in force.
    pub fn revealable(&self, marking: &Marking, server: &ServerName) -> BTreeSet<Label> {
        let mut labels = self.pip.policy().snapshot.labels().revealed_by(server);
        labels.extend(marking.reveals.iter().cloned());
        labels
    }

    /// Joins to a session what the answer to an act carries, with what only that reveals, and with what is
    /// by now on what it tells of: all of that. It is let go after that, or not at all.
    pub async fn reveal(
        &self,
        marking: &Marking,
        revealed: &BTreeSet<Label>,
    ) -> Result<BTreeSet<Label>, NotJoined> {
        let mut labels: BTreeSet<Label> = marking.carries.union(revealed).cloned().collect();
        if !marking.reads.is_empty() {
            labels.extend(kept(&mut self.pip.reader(), &marking.reads).await?);
        }
        if !labels.is_empty() {
            let coming = marking.puts_on(&labels);
            self.join(marking, Joining::Read(&labels)).await?;
            coming.is_on();
        }
        Ok(labels)
    }

    /// Takes note that what `request` lets flow comes of the act that brings `marking`, too: its server asks
    /// on account of it, and is about to be let. Whoever decides that says so of what is given.
    pub async fn comes_with<'a>(
        &self,
        marking: &'a Marking,
        request: &AccessRequest,
    ) -> Result<Coming<'a>, FactsError> {
        let policy = self.pip.policy_as_it_is().await?;
        let Flow { mut carries, reads, .. } = policy.snapshot.labels().of(request);
        carries.extend(kept(&mut self.pip.reader(), &reads).await?);
        Ok(marking.puts_on(&carries))
    }

    /// Joins to what the act that `request` asked for stores whatever its session has read by now: something
    /// more is about to go to its server on account of it.
    pub async fn bring(&self, marking: &Marking, request: &AccessRequest) -> Result<(), NotJoined> {
        self.join(marking, Joining::Stored(request)).await
    }

    async fn join(&self, marking: &Marking, what: Joining<'_>) -> Result<(), NotJoined> {
        for _ in 1..JOIN_ATTEMPTS_MAX {
            match self.try_join(marking, what).await {
                Err(
                    NotJoined::Commit(CommitError::Changed { .. })
                    | NotJoined::Facts(FactsError::Changed),
                ) => {}
                done => return done,
            }
        }
        self.try_join(marking, what).await
    }

    async fn try_join(&self, marking: &Marking, what: Joining<'_>) -> Result<(), NotJoined> {
        let unit = match what {
            Joining::Read(labels) => self.joins_session(marking, labels).await?,
            Joining::Stored(request) => self.joins_stored(marking, request).await?,
        };
        if let Some(unit) = unit {
            self.journal.store().commit(unit).await?;
        }
        Ok(())
    }

    /// What puts `labels` on the session, and on what is kept of the process, unless they are on.
    async fn joins_session(
        &self,
        marking: &Marking,
        labels: &BTreeSet<Label>,
    ) -> Result<Option<Unit>, FactsError> {
        let known = self.pip.session(marking.session).await?;
        let mut reader = self.pip.reader();
        let memory = Memory::at(&marking.memory, &mut reader).await?;
        let mut effects = memory.with(marking.session, labels);
        let new: Vec<_> = labels.difference(&known.value.labels).collect();
        if new.is_empty() && effects.is_empty() {
            return Ok(None);
        }
        let entry = self.joining("labels_revealed", marking.details(&new));
        let mut session = known.value.as_ref().clone();
        session.labels.extend(new.into_iter().cloned());
        effects.push(put(marking.session, &session));
        let remembered = reader.sourced(());
        let read = [(&*known.keys, known.revision), (&*remembered.keys, remembered.revision)];
        self.resting_on(read, (entry, effects)).map(Some)
    }

    /// What puts the labels of the session, and of what its processes remember, on what the act stores that
    /// `request` asked for, unless they are on.
    async fn joins_stored(
        &self,
        marking: &Marking,
        request: &AccessRequest,
    ) -> Result<Option<Unit>, FactsError> {
        let policy = self.pip.policy_as_it_is().await?;
        let known = self.pip.session(marking.session).await?;
        let asked = (request, policy.snapshot.as_ref());
        let places = (known.value.clone(), &marking.memory);
        let flowing = Flowing::gathered(self.pip.reader(), asked, places).await?;
        let labels = flowing.known();
        let effects = flowing.kept_with(&labels);
        if effects.is_empty() {
            return Ok(None);
        }
        let all: Vec<_> = labels.iter().collect();
        let entry = self.joining("labels_stored", marking.details(&all));
        let (keys, revision) = flowing.source.unwrap_or_default();
        let read = [(&*known.keys, known.revision), (&*keys, revision)];
        self.resting_on(read, (entry, effects)).map(Some)
    }

    /// What commits that, if all is still as it was read.
    fn resting_on(
        &self,
        read: [(&[FactKey], Revision); 2],
        (entry, effects): (NewEntry, Vec<Effect>),
    ) -> Result<Unit, FactsError> {
        let read: Vec<_> = read.into_iter().filter(|(keys, _)| !keys.is_empty()).collect();
        let revision = self.pip.as_of(&read)?;
        let reads = read.iter().flat_map(|(keys, _)| keys.iter().cloned()).collect();
        Ok(Unit { entries: vec![entry], effects, reads, revision, ..Unit::default() })
    }

    /// The record that labels were joined besides a decision.
    fn joining(&self, name: &str, details: BTreeMap<String, String>) -> NewEntry {
        event((self.clock.now(), self.entropy.as_ref()), name, details)
    }
}
