//! Reads facts one after another and remembers which, and as of when.
//!
//! The facts of one reading may have been read at several revisions. They are consistent only if
//! none has changed since the oldest of these: freshness against that one, at the decision and
//! again at its commit, says so.

use std::sync::Arc;

use model::{
    Agent, AgentFacts, AgentName, Delegator, Device, Enrolled, FactKey, Instance, LINE_MAX, Person,
    Revision, Sourced, Succession, TaskId, Thumbprint, Timestamp,
};
use serde::de::DeserializeOwned;
use store::{CounterKey, NotKept, Store, StoreError};
use tokio::sync::MutexGuard;

use crate::FactsError;
use crate::known::{Body, Chain, Fact, KnownFacts, Read};

/// How many facts one page of a list has.
const LIST_PAGE: usize = 1_000;

/// Facts whose keys begin alike, in the order of their keys, a page at a time.
pub struct Pages<'a> {
    store: &'a dyn Store,
    prefix: &'a str,
    after: Option<FactKey>,
    is_over: bool,
}

impl<'a> Pages<'a> {
    /// Those of `store` whose keys begin with `prefix`.
    pub const fn of(store: &'a dyn Store, prefix: &'a str) -> Self {
        Self { store, prefix, after: None, is_over: false }
    }

    /// The next page: keys and bodies; none at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<(FactKey, Vec<u8>)>>, StoreError> {
        if self.is_over {
            return Ok(None);
        }
        let page = self.store.list(self.prefix, self.after.as_ref(), LIST_PAGE).await?;
        self.is_over = page.next.is_none();
        self.after = page.next;
        Ok(Some(page.facts))
    }
}

/// All facts whose keys begin with `prefix`, in the order of their keys.
pub async fn all<T: DeserializeOwned>(
    store: &dyn Store,
    prefix: &str,
) -> Result<Vec<T>, FactsError> {
    let (mut all, mut pages) = (Vec::new(), Pages::of(store, prefix));
    while let Some(facts) = pages.next().await? {
        for (key, body) in facts {
            let fact = serde_json::from_slice(&body);
            all.push(fact.map_err(|source| FactsError::Damaged { key, source })?);
        }
    }
    Ok(all)
}

/// All facts whose keys begin with `prefix` as they were at `at`, in the order of their keys; when the
/// store began to keep them, if that was later.
pub async fn all_as_of<T: DeserializeOwned>(
    store: &dyn Store,
    (prefix, at): (&str, Timestamp),
) -> Result<Result<Vec<T>, NotKept>, FactsError> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = match store.list_as_of((prefix, at), after.as_ref(), LIST_PAGE).await? {
            Ok(page) => page,
            Err(since) => return Ok(Err(since)),
        };
        for (key, body) in page.facts {
            let fact = serde_json::from_slice(&body);
            all.push(fact.map_err(|source| FactsError::Damaged { key, source })?);
        }
        after = page.next;
        if after.is_none() {
            return Ok(Ok(all));
        }
    }
}

/// Reads facts one after another and remembers which, and as of when.
pub struct Reader<'a> {
    store: &'a dyn Store,
    /// What was read before, if that may be used.
    known: Option<&'a KnownFacts>,
    keys: Vec<FactKey>,
    oldest: Option<Revision>,
}

impl<'a> Reader<'a> {
    /// A reader of `store` that has read nothing yet.
    pub fn new(store: &'a dyn Store) -> Self {
        Self { store, known: None, keys: Vec::new(), oldest: None }
    }

    /// The same, which takes what is `known` and has not changed for read.
    pub(crate) fn knowing(store: &'a dyn Store, known: &'a KnownFacts) -> Self {
        Self { known: Some(known), ..Self::new(store) }
    }

    /// Reads the facts at `keys` at one moment, those of them that are not known, so that each is at
    /// hand when it is asked for.
    pub async fn prepare(&self, keys: &[FactKey]) -> Result<(), FactsError> {
        let Some(known) = self.known else { return Ok(()) };
        let unknown = keys.iter().filter(|key| known.get(key).is_none());
        let unknown: Vec<_> = unknown.cloned().collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let loaded = self.store.load(&unknown).await?;
        for (key, body) in unknown.into_iter().zip(loaded.bodies) {
            let body = body.map(|bytes| Arc::new(Body::new(bytes)));
            known.keep(key, Read { body, revision: loaded.revision });
        }
        Ok(())
    }

    /// Who holds `task` and who handed it on, if that is known.
    pub(crate) fn known_chain(&mut self, task: TaskId) -> Option<Arc<Vec<Delegator>>> {
        let chain = self.known?.chain(task)?;
        Some(self.taken(chain))
    }

    /// The turn to read who holds `task` and who handed it on; none if nothing is kept.
    pub(crate) async fn turn_to_read_chain(&self, task: TaskId) -> Option<MutexGuard<'a, ()>> {
        match self.known {
            Some(known) => Some(known.turn_to_read_chain(task).await),
            None => None,
        }
    }

    /// A reader like this one, for what is to be kept by itself.
    pub(crate) fn apart(&self) -> Self {
        Self { known: self.known, ..Self::new(self.store) }
    }

    /// Takes what was read `apart` of `task`, and keeps it.
    pub(crate) fn take_chain(&mut self, task: TaskId, chain: Chain) -> Arc<Vec<Delegator>> {
        self.known.iter().for_each(|known| known.keep_chain(task, chain.clone()));
        self.taken(chain)
    }

    fn taken<T>(&mut self, Sourced { value, keys, revision }: Sourced<T>) -> T {
        self.keys.extend(keys);
        self.oldest = Some(self.oldest.map_or(revision, |oldest| oldest.min(revision)));
        value
    }

    /// Reads the fact at `key`, if there is one.
    pub async fn find<T: Fact>(&mut self, key: FactKey) -> Result<Option<T>, FactsError> {
        let Read { body, revision } = self.read(&key).await?;
        self.oldest = Some(self.oldest.map_or(revision, |oldest| oldest.min(revision)));
        let parsed = body.map(|body| body.parse()).transpose();
        let found = parsed.map_err(|source| {
            // Perhaps it was only read badly.
            self.known.iter().for_each(|known| known.forget(&key));
            FactsError::Damaged { key: key.clone(), source }
        });
        self.keys.push(key);
        found
    }

    /// What `counter` stands at: no part of what was read, for it only ever says how much there is.
    pub(crate) async fn counter(&self, counter: &CounterKey) -> Result<i64, FactsError> {
        let stored = self.store.counters(std::slice::from_ref(counter)).await?;
        Ok(stored.first().copied().unwrap_or(0))
    }

    async fn read(&self, key: &FactKey) -> Result<Read, FactsError> {
        let Some(known) = self.known else { return self.load(key).await };
        if let Some(read) = known.get(key) {
            return Ok(read);
        }
        let _turn = known.turn_to_read(key).await;
        if let Some(read) = known.get(key) {
            return Ok(read);
        }
        let read = self.load(key).await?;
        known.keep(key.clone(), read.clone());
        Ok(read)
    }

    async fn load(&self, key: &FactKey) -> Result<Read, FactsError> {
        let loaded = self.store.load(std::slice::from_ref(key)).await?;
        let body = loaded.bodies.into_iter().next().flatten();
        let body = body.map(|bytes| Arc::new(Body::new(bytes)));
        Ok(Read { body, revision: loaded.revision })
    }

    /// Reads the fact at `key`, which must be there.
    pub async fn need<T: Fact>(&mut self, key: FactKey) -> Result<T, FactsError> {
        self.find(key.clone()).await?.ok_or(FactsError::Missing(key))
    }

    /// The agent `name` with who answers for it, if it is registered.
    pub(crate) async fn agent(
        &mut self,
        name: &AgentName,
    ) -> Result<Option<AgentFacts>, FactsError> {
        let Some(agent) = self.find::<Agent>(FactKey::agent(name)).await? else { return Ok(None) };
        let sponsor = self.need(FactKey::person(&agent.sponsor)).await?;
        Ok(Some(AgentFacts { agent, sponsor, succession: None }))
    }

    /// The same, with whom it falls to when its sponsor is gone.
    pub(crate) async fn agent_with_succession(
        &mut self,
        name: &AgentName,
    ) -> Result<Option<AgentFacts>, FactsError> {
        let Some(known) = self.agent(name).await? else { return Ok(None) };
        let owner: Option<Person> = self.find(FactKey::person(&known.agent.business_owner)).await?;
        let (mut line, mut next) = (Vec::new(), known.sponsor.manager.clone());
        while let Some(id) = next.filter(|id| line.len() < LINE_MAX && !line.contains(id)) {
            let manager: Option<Person> = self.find(FactKey::person(&id)).await?;
            line.push(id);
            next = manager.and_then(|manager| manager.manager);
        }
        let succession = Succession { line, unit: owner.and_then(|owner| owner.unit) };
        Ok(Some(AgentFacts { succession: Some(succession), ..known }))
    }

    /// The device `id` of `agent` with who enrolled it, if it was enrolled.
    pub async fn device(
        &mut self,
        agent: &AgentName,
        id: &Thumbprint,
    ) -> Result<Option<Enrolled>, FactsError> {
        let device = self.find::<Device>(FactKey::device(agent, id)).await?;
        let Some(device) = device else { return Ok(None) };
        let by = self.need(FactKey::person(&device.by)).await?;
        Ok(Some(Enrolled { device, by }))
    }

    /// The device that vouched for `instance`, if one did, with who enrolled it.
    pub async fn vouched_by(
        &mut self,
        instance: &Instance,
    ) -> Result<Option<Enrolled>, FactsError> {
        let Some(id) = &instance.device else { return Ok(None) };
        let missing = || FactsError::Missing(FactKey::device(&instance.agent, id));
        self.device(&instance.agent, id).await?.ok_or_else(missing).map(Some)
    }

    /// `value`, with what was read to make it.
    pub fn sourced<T>(self, value: T) -> Sourced<T> {
        let revision = self.oldest.unwrap_or_default();
        Sourced { value, keys: self.keys, revision }
    }
}
