//! The policy information point: gathers what a decision may read, each fact with its revision.
//!
//! What was read before is kept and used again only while the store's own reports say that it has
//! not changed; the commit checks the same once more. A missing fact is an error, never a default.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, RwLock};

use arc_swap::ArcSwap;
use model::{
    ActDigest, FactKey, InstanceId, Person, ResourceRef, Revision, Server, ServerName,
    SessionFacts, Sourced, Standing, TaskId, TaskSubject, Tool, ToolRef,
};
use moka::sync::Cache;
use pdp::Snapshot;
use serde::de::DeserializeOwned;
use store::{CounterKey, Store, StoreError};

use crate::changes::Changes;

/// The most instances, tools and sessions whose facts are kept.
const CACHED_MAX: u64 = 100_000;

/// How many facts one page of a list has.
const LIST_PAGE: usize = 1_000;

/// Why the facts of a decision could not be gathered.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// There is no such fact.
    #[error("there is no {0}")]
    Missing(FactKey),
    /// The stored fact is not what it should be.
    #[error("the stored {key} is damaged")]
    Damaged {
        /// The fact.
        key: FactKey,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The store could not be read.
    #[error("could not read the facts")]
    Store(#[from] StoreError),
    /// The facts changed while they were read.
    #[error("the facts changed while they were read")]
    Changed,
}

/// A policy snapshot and the revision at which it was put in force.
pub struct PolicyInForce {
    /// The snapshot.
    pub snapshot: Arc<Snapshot>,
    /// When it was put in force.
    pub revision: Revision,
}

/// The facts of one act of an instance, true as of one revision.
#[derive(Clone)]
pub struct Gathered {
    /// The standing of who acts.
    pub standing: Arc<Standing>,
    /// The tool called, if one is and it is onboarded.
    pub tool: Option<Arc<Tool>>,
    /// The server concerned, if one is.
    pub server: Option<Arc<Server>>,
    /// The owner of the tool.
    pub tool_owner: Option<Arc<Person>>,
    /// The session's labels and counters.
    pub session: SessionFacts,
    /// All facts that were read.
    pub keys: Vec<FactKey>,
    /// The revision as of which all of them were true.
    pub revision: Revision,
    /// The policy set in force then.
    pub snapshot: Arc<Snapshot>,
}

type Shared<T> = Arc<Sourced<Arc<T>>>;

/// Gathers facts from the store.
pub struct Pip {
    store: Arc<dyn Store>,
    changes: Arc<Changes>,
    policy: ArcSwap<PolicyInForce>,
    standings: Cache<InstanceId, Shared<Standing>>,
    tools: Cache<ToolRef, Shared<ToolFacts>>,
    servers: Cache<ServerName, Shared<Server>>,
    labels: Cache<TaskId, Shared<SessionFacts>>,
    unknown: Arc<RwLock<HashSet<FactKey>>>,
}

struct ToolFacts {
    tool: Arc<Tool>,
    owner: Option<Arc<Person>>,
}

impl Pip {
    /// A point that reads `store` and knows no policy set yet: everything is denied.
    pub async fn open(store: Arc<dyn Store>) -> Result<Self, FactsError> {
        let start = store.load(&[]).await?.revision;
        let changes = Arc::new(Changes::since(start));
        let unknown = Arc::new(RwLock::new(HashSet::new()));
        listen(store.as_ref(), changes.clone(), unknown.clone());
        let mut after = None;
        loop {
            let page = store.list("unknown/", after.as_ref(), LIST_PAGE).await?;
            let keys = page.facts.into_iter().map(|(key, _)| key);
            unknown.write().expect("no panic while it is held").extend(keys);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let empty = PolicyInForce { snapshot: Arc::new(Snapshot::empty()), revision: start };
        Ok(Self {
            store,
            changes,
            policy: ArcSwap::from_pointee(empty),
            standings: Cache::new(CACHED_MAX),
            tools: Cache::new(CACHED_MAX),
            servers: Cache::new(CACHED_MAX),
            labels: Cache::new(CACHED_MAX),
            unknown,
        })
    }

    /// Puts `snapshot` in force, which a commit made the active one at `revision`.
    pub fn put_in_force(&self, snapshot: Arc<Snapshot>, revision: Revision) {
        self.policy.store(Arc::new(PolicyInForce { snapshot, revision }));
    }

    /// The policy set in force.
    pub fn policy(&self) -> Arc<PolicyInForce> {
        self.policy.load_full()
    }

    /// The store that facts are read from.
    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    pub(crate) const fn changes(&self) -> &Arc<Changes> {
        &self.changes
    }

    /// Whether nobody knows how an equal act ended.
    pub(crate) fn outcome_unknown(&self, act: &ActDigest) -> bool {
        let unknown = self.unknown.read().expect("no panic while it is held");
        !unknown.is_empty() && unknown.contains(&FactKey::unknown_outcome(act))
    }

    /// Gathers the facts of an act on `resource` by the registered instance `instance`.
    pub async fn gather(
        &self,
        instance: InstanceId,
        resource: &ResourceRef,
    ) -> Result<Gathered, FactsError> {
        let standing = self.standing(instance).await?;
        self.gather_for(&standing, resource).await
    }

    /// Gathers the facts of an act on `resource` by who stands as `standing` says.
    pub(crate) async fn gather_for(
        &self,
        standing: &Sourced<Arc<Standing>>,
        resource: &ResourceRef,
    ) -> Result<Gathered, FactsError> {
        let policy = self.policy.load_full();
        let policy_key = [FactKey::active_policy()];
        let server = self.server_of(resource).await?;
        let tool = match resource {
            ResourceRef::Tool(tool) => self.tool(tool).await?,
            _ => None,
        };
        let root = standing.value.task.id;
        let labels = self.labels_of(root).await?;
        let mut sources: Vec<(&[FactKey], Revision)> = vec![
            (&standing.keys, standing.revision),
            (&policy_key, policy.revision),
            (&labels.keys, labels.revision),
        ];
        sources.extend(server.iter().map(|s| (s.keys.as_slice(), s.revision)));
        sources.extend(tool.iter().map(|t| (t.keys.as_slice(), t.revision)));
        let revision = self.changes.fresh_as_of(&sources).ok_or(FactsError::Changed)?;
        let keys = sources.iter().flat_map(|(keys, _)| keys.iter().cloned()).collect();
        Ok(Gathered {
            standing: standing.value.clone(),
            tool: tool.as_ref().map(|t| t.value.tool.clone()),
            server: server.map(|s| s.value.clone()),
            tool_owner: tool.and_then(|t| t.value.owner.clone()),
            session: SessionFacts::clone(&labels.value),
            keys,
            revision,
            snapshot: policy.snapshot.clone(),
        })
    }

    /// The standing of a registered instance.
    pub async fn standing(&self, instance: InstanceId) -> Result<Shared<Standing>, FactsError> {
        if let Some(known) = self.standings.get(&instance).filter(|known| self.is_fresh(known)) {
            return Ok(known);
        }
        let read = Arc::new(read_standing(self.store.as_ref(), instance).await?);
        self.standings.insert(instance, read.clone());
        Ok(read)
    }

    /// The tool `tool` as it is onboarded, if it is.
    pub async fn find_tool(&self, tool: &ToolRef) -> Result<Option<Arc<Tool>>, FactsError> {
        Ok(self.tool(tool).await?.map(|facts| facts.value.tool.clone()))
    }

    /// All tools of `server` that are onboarded, in the order of their names.
    pub async fn tools_of(&self, server: &ServerName) -> Result<Vec<Tool>, FactsError> {
        let prefix = format!("tool/{server}/");
        let (mut tools, mut after) = (Vec::new(), None);
        loop {
            let page = self.store.list(&prefix, after.as_ref(), LIST_PAGE).await?;
            for (key, body) in page.facts {
                let tool = serde_json::from_slice(&body);
                tools.push(tool.map_err(|source| FactsError::Damaged { key, source })?);
            }
            after = page.next;
            if after.is_none() {
                return Ok(tools);
            }
        }
    }

    /// Takes note that somebody settled the act of `mark`: it may be done again.
    pub fn settled(&self, mark: &FactKey) {
        self.unknown.write().expect("no panic while it is held").remove(mark);
    }

    fn is_fresh<T>(&self, known: &Sourced<T>) -> bool {
        self.changes.fresh_as_of(&[(&known.keys, known.revision)]).is_some()
    }

    async fn server_of(
        &self,
        resource: &ResourceRef,
    ) -> Result<Option<Shared<Server>>, FactsError> {
        let name = match resource {
            ResourceRef::Tool(tool) => &tool.server,
            ResourceRef::Server(server)
            | ResourceRef::Resource { server, .. }
            | ResourceRef::Prompt { server, .. } => server,
            _ => return Ok(None),
        };
        if let Some(known) = self.servers.get(name).filter(|known| self.is_fresh(known)) {
            return Ok(Some(known));
        }
        let mut reader = Reader::new(self.store.as_ref());
        let Some(server) = reader.find::<Server>(FactKey::server(name)).await? else {
            return Ok(None);
        };
        let read = Arc::new(reader.sourced(Arc::new(server)));
        self.servers.insert(name.clone(), read.clone());
        Ok(Some(read))
    }

    async fn tool(&self, tool: &ToolRef) -> Result<Option<Shared<ToolFacts>>, FactsError> {
        if let Some(known) = self.tools.get(tool).filter(|known| self.is_fresh(known)) {
            return Ok(Some(known));
        }
        let mut reader = Reader::new(self.store.as_ref());
        let Some(found) = reader.find::<Tool>(FactKey::tool(tool)).await? else {
            return Ok(None);
        };
        let owner = match &found.owner {
            Some(owner) => reader.find::<Person>(FactKey::person(owner)).await?,
            None => None,
        };
        let facts = ToolFacts { tool: Arc::new(found), owner: owner.map(Arc::new) };
        let read = Arc::new(reader.sourced(Arc::new(facts)));
        self.tools.insert(tool.clone(), read.clone());
        Ok(Some(read))
    }

    async fn labels_of(&self, session: TaskId) -> Result<Shared<SessionFacts>, FactsError> {
        if let Some(known) = self.labels.get(&session).filter(|known| self.is_fresh(known)) {
            return Ok(known);
        }
        let mut reader = Reader::new(self.store.as_ref());
        let mut facts: SessionFacts =
            reader.find(FactKey::session(session)).await?.unwrap_or_default();
        let calls = self.store.counters(&[calls_counter(session)]).await?;
        facts.counters =
            BTreeMap::from([("calls".to_owned(), calls.first().copied().unwrap_or(0))]);
        let read = Arc::new(reader.sourced(Arc::new(facts)));
        self.labels.insert(session, read.clone());
        Ok(read)
    }

    /// Takes note that a commit added to the calls of `session`.
    pub(crate) fn count_call(&self, session: TaskId) {
        let Some(known) = self.labels.get(&session) else { return };
        let mut facts = SessionFacts::clone(&known.value);
        *facts.counters.entry("calls".to_owned()).or_default() += 1;
        let counted = Sourced { value: Arc::new(facts), ..Sourced::clone(&known) };
        self.labels.insert(session, Arc::new(counted));
    }
}

/// The counter of permitted calls in a session.
pub(crate) fn calls_counter(session: TaskId) -> CounterKey {
    CounterKey(format!("{session}/calls"))
}

fn listen(store: &dyn Store, changes: Arc<Changes>, unknown: Arc<RwLock<HashSet<FactKey>>>) {
    store.on_change(Arc::new(move |keys, revision| {
        let marks = keys.iter().filter(|key| key.as_str().starts_with("unknown/"));
        for mark in marks {
            // A mark that was removed is asked for again by the commit: staying marked denies.
            unknown.write().expect("no panic while it is held").insert(mark.clone());
        }
        changes.record(keys, revision);
    }));
}

async fn read_standing(
    store: &dyn Store,
    id: InstanceId,
) -> Result<Sourced<Arc<Standing>>, FactsError> {
    let mut reader = Reader::new(store);
    let instance: model::Instance = reader.need(FactKey::instance(id)).await?;
    let agent: model::Agent = reader.need(FactKey::agent(&instance.agent)).await?;
    let sponsor = reader.need(FactKey::person(&agent.sponsor)).await?;
    let task: model::Task = reader.need(FactKey::task(instance.task)).await?;
    let mandate = reader.need(FactKey::mandate(task.mandate)).await?;
    let purpose = reader.need(FactKey::purpose(&task.purpose)).await?;
    let subject = match &task.subject {
        TaskSubject::OnBehalfOf { person } => Some(reader.need(FactKey::person(person)).await?),
        TaskSubject::Autonomous => None,
    };
    let standing = Standing { instance, agent, sponsor, subject, task, mandate, purpose };
    Ok(reader.sourced(Arc::new(standing)))
}

/// Reads facts one after another and remembers which, and as of when.
pub struct Reader<'a> {
    store: &'a dyn Store,
    keys: Vec<FactKey>,
    /// The oldest and the newest revision read at; facts are consistent only if no key changed
    /// in between, which freshness against the oldest says.
    oldest: Option<Revision>,
}

impl<'a> Reader<'a> {
    /// A reader of `store` that has read nothing yet.
    pub fn new(store: &'a dyn Store) -> Self {
        Self { store, keys: Vec::new(), oldest: None }
    }

    /// Reads the fact at `key`, if there is one.
    pub async fn find<T: DeserializeOwned>(
        &mut self,
        key: FactKey,
    ) -> Result<Option<T>, FactsError> {
        let loaded = self.store.load(std::slice::from_ref(&key)).await?;
        self.oldest = Some(self.oldest.map_or(loaded.revision, |r| r.min(loaded.revision)));
        let body = loaded.bodies.into_iter().next().flatten();
        let parsed = body.map(|body| serde_json::from_slice(&body)).transpose();
        let found = parsed.map_err(|source| FactsError::Damaged { key: key.clone(), source });
        self.keys.push(key);
        found
    }

    /// Reads the fact at `key`, which must be there.
    pub async fn need<T: DeserializeOwned>(&mut self, key: FactKey) -> Result<T, FactsError> {
        self.find(key.clone()).await?.ok_or(FactsError::Missing(key))
    }

    /// `value`, with what was read to make it.
    pub fn sourced<T>(self, value: T) -> Sourced<T> {
        let revision = self.oldest.unwrap_or_default();
        Sourced { value, keys: self.keys, revision }
    }
}
