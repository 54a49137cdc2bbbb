//! The policy information point: gathers what a decision may read, each fact with its revision.
//!
//! What was read before is kept and used again only while the store's own reports say that it has
//! not changed; the commit checks the same once more. A missing fact is an error, never a default.

use std::collections::BTreeMap;
use std::sync::Arc;

use journal::Journal;
use keys::SealingKey;
use model::{
    AccessRequest, ActDigest, AgentFacts, AgentName, FactKey, InstanceId, Person, ResourceRef,
    Revision, Server, ServerName, SessionFacts, Sourced, Standing, Stop, StopTarget, Stops, TaskId,
    Timestamp, Tool, ToolRef,
};
use moka::sync::Cache;
use pdp::{Remembered, Snapshot};
use store::{Store, StoreError};

use crate::changes::Changes;
use crate::counted::{calls_counter, counter_name};
use crate::handed_to::HandedTo;
use crate::in_force::{Activating, InForce, PolicyInForce};
use crate::known::KnownFacts;
use crate::known_calls::KnownCalls;
use crate::labels::Flowing;
use crate::observing::{Observation, Observing};
use crate::reader::{self, Pages, Reader};
use crate::reserved::MARKS;
use crate::standing::read_standing;
use crate::unknown::Unknown;

/// The most instances, tools and sessions whose facts are kept.
const CACHED_MAX: u64 = 100_000;

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
    /// The policy set that the store says is in force does not compile.
    #[error("the policy set in force does not compile")]
    Policy(#[from] pdp::CompileErrors),
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
    /// The agent that the act concerns, if it concerns one that is registered.
    pub agent: Option<Arc<AgentFacts>>,
    /// The session's labels and counters.
    pub session: SessionFacts,
    /// What it lets flow.
    pub flowing: Flowing,
    /// What administrators have stopped of all that it needs.
    pub stops: Arc<Stops>,
    /// All facts that were read.
    pub keys: Vec<FactKey>,
    /// The revision as of which all of them were true.
    pub revision: Revision,
    /// The policy set in force then.
    pub snapshot: Arc<Snapshot>,
}

pub(crate) type Shared<T> = Arc<Sourced<Arc<T>>>;

/// Gathers facts from the store.
pub struct Pip {
    store: Arc<dyn Store>,
    changes: Arc<Changes>,
    policy: InForce,
    observing: Observing,
    known: KnownFacts,
    standings: Cache<InstanceId, Shared<Standing>>,
    tools: Cache<ToolRef, Shared<ToolFacts>>,
    servers: Cache<ServerName, Shared<Server>>,
    /// The agents that work was handed on to.
    pub(crate) handed_to: Cache<AgentName, Shared<HandedTo>>,
    /// What was read and used in each session.
    sessions: Cache<TaskId, Shared<SessionFacts>>,
    /// What is stopped of all that an instance needs, whatever it does: who is in its delegation
    /// chain never changes.
    stops: Cache<InstanceId, Shared<Stops>>,
    pub(crate) calls: KnownCalls,
    unknown: Arc<Unknown>,
    /// By its codes it is remembered what results said.
    pub(crate) saying: Arc<SealingKey>,
}

struct ToolFacts {
    tool: Arc<Tool>,
    owner: Option<Arc<Person>>,
    is_stopped: bool,
}

impl Pip {
    /// A point that reads what `journal` is kept with and knows no policy set yet: everything is denied.
    pub async fn open(journal: &Journal) -> Result<Self, FactsError> {
        let store = journal.store().clone();
        let start = store.load(&[]).await?.revision;
        let changes = Arc::new(Changes::since(start));
        let (unknown, calls) = (Arc::<Unknown>::default(), KnownCalls::new(CACHED_MAX));
        listen(store.as_ref(), changes.clone(), (unknown.clone(), calls.clone()));
        let mut pages = Pages::of(store.as_ref(), MARKS);
        while let Some(facts) = pages.next().await? {
            unknown.changed(facts.into_iter().map(|(key, _)| key), start);
        }
        Ok(Self {
            store,
            policy: InForce::nothing(start, changes.clone()),
            observing: Observing::nothing(),
            known: KnownFacts::new(changes.clone()),
            changes,
            standings: Cache::new(CACHED_MAX),
            tools: Cache::new(CACHED_MAX),
            servers: Cache::new(CACHED_MAX),
            handed_to: Cache::new(CACHED_MAX),
            sessions: Cache::new(CACHED_MAX),
            stops: Cache::new(CACHED_MAX),
            calls,
            unknown,
            saying: Arc::new(journal.sealer().saying()),
        })
    }

    /// Says that `snapshot` is about to be made the active one, so that it need not be compiled
    /// again once it is.
    pub fn announce_policy(&self, snapshot: Arc<Snapshot>) {
        self.policy.announce(snapshot);
    }

    /// Puts `snapshot` in force, which a commit made the active one at `revision`.
    pub fn put_in_force(&self, snapshot: Arc<Snapshot>, revision: Revision) {
        self.policy.put(snapshot, revision);
    }

    /// What makes `snapshot` the active set.
    pub async fn activating(&self, snapshot: &Snapshot) -> Result<Activating, FactsError> {
        Activating::of(snapshot, self.store.as_ref()).await
    }

    /// Says when the release in force expires, if ever: after that, and its grace, no act of an instance is
    /// permitted by it.
    pub fn policy_expires(&self, at: Option<Timestamp>) {
        self.policy.expires(at);
    }

    /// Since when the release in force has expired.
    pub(crate) fn policy_expiry(&self) -> Timestamp {
        self.policy.expiry()
    }

    /// The policy set in force.
    pub fn policy(&self) -> Arc<PolicyInForce> {
        self.policy.current()
    }

    /// Has `snapshot` decide beside the policy set in force from now on, without any part in the answers; or none any
    /// more.
    pub fn observe(&self, snapshot: Option<Arc<Snapshot>>) {
        self.observing.observe(snapshot);
    }

    /// What came of the policy set under observation, if one is.
    pub fn observation(&self) -> Option<Observation> {
        self.observing.observation()
    }

    pub(crate) const fn observing(&self) -> &Observing {
        &self.observing
    }

    /// The policy set in force, as the store has it now if that was not told here.
    pub(crate) async fn policy_as_it_is(&self) -> Result<Arc<PolicyInForce>, FactsError> {
        self.policy.as_it_is(self.store.as_ref()).await
    }

    /// The store that facts are read from.
    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// A reader that takes what was read before, and has not changed, for read.
    pub fn reader(&self) -> Reader<'_> {
        Reader::knowing(self.store.as_ref(), &self.known)
    }

    pub(crate) const fn changes(&self) -> &Arc<Changes> {
        &self.changes
    }

    pub(crate) const fn unknown(&self) -> &Arc<Unknown> {
        &self.unknown
    }

    /// Whether nobody knows how an equal act ended.
    pub(crate) async fn outcome_unknown(&self, act: &ActDigest) -> Result<bool, FactsError> {
        let mark = FactKey::unknown_outcome(act);
        if !self.unknown.may_have(&mark) {
            return Ok(false);
        }
        let loaded = self.store.load(std::slice::from_ref(&mark)).await?;
        if loaded.bodies.iter().any(Option::is_some) {
            return Ok(true);
        }
        Ok(!self.unknown.is_settled(&mark, loaded.revision))
    }

    /// Gathers the facts of the act that `request` asks for, by the registered instance `instance`.
    pub async fn gather(
        &self,
        instance: InstanceId,
        request: &AccessRequest,
    ) -> Result<Gathered, FactsError> {
        let standing = self.standing(instance).await?;
        self.gather_for(&standing, request).await
    }

    /// Gathers the facts of the act that `request` asks for, by who stands as `standing` says.
    pub(crate) async fn gather_for(
        &self,
        standing: &Sourced<Arc<Standing>>,
        request: &AccessRequest,
    ) -> Result<Gathered, FactsError> {
        let resource = &request.resource;
        let policy = self.policy_as_it_is().await?;
        let policy_key = [FactKey::active_policy()];
        let server = self.server_of(resource).await?;
        let tool = match resource {
            ResourceRef::Tool(tool) => self.tool(tool).await?,
            _ => None,
        };
        let root = standing.value.root();
        let counters = self.counters_of(root.id, policy.snapshot.remembered()).await?;
        let unremembered = self.unremembered(&policy.snapshot, root.opened).await?;
        let session = self.session(root.id).await?;
        let asked = (request, policy.snapshot.as_ref());
        let provenance = self.provenance(asked, &standing.value).await?;
        let memory = standing.value.memory();
        let places = (session.value.clone(), &memory);
        let flowing = Flowing::gathered(self.reader(), asked, places).await?;
        let stops = self.stops_of(&standing.value).await?;
        let handed_to = match resource {
            ResourceRef::Agent(agent) => Some(self.handed_to(agent).await?),
            _ => None,
        };
        let mut sources: Vec<(&[FactKey], Revision)> = vec![
            (&standing.keys, standing.revision),
            (&policy_key, policy.revision),
            (&session.keys, session.revision),
            (&stops.keys, stops.revision),
        ];
        sources.extend(provenance.iter().map(|it| (it.keys.as_slice(), it.revision)));
        sources.extend(flowing.source.iter().map(|(keys, revision)| (keys.as_slice(), *revision)));
        sources.extend(handed_to.iter().map(|s| (s.keys.as_slice(), s.revision)));
        sources.extend(server.iter().map(|s| (s.keys.as_slice(), s.revision)));
        sources.extend(tool.iter().map(|t| (t.keys.as_slice(), t.revision)));
        let revision = self.as_of(&sources)?;
        let mut stops = stops.value.clone();
        if let Some(tool) = tool.iter().find(|tool| tool.value.is_stopped) {
            let tool = StopTarget::Tool(tool.value.tool.tool.clone());
            Arc::make_mut(&mut stops).0.insert(tool);
        }
        if let (Some(HandedTo { is_stopped: true, .. }), ResourceRef::Agent(agent)) =
            (handed_to.as_ref().map(|handed_to| handed_to.value.as_ref()), resource)
        {
            Arc::make_mut(&mut stops).0.insert(StopTarget::Agent(agent.clone()));
        }
        let keys = sources.iter().flat_map(|(keys, _)| keys.iter().cloned()).collect();
        Ok(Gathered {
            standing: standing.value.clone(),
            tool: tool.as_ref().map(|t| t.value.tool.clone()),
            server: server.map(|s| s.value.clone()),
            tool_owner: tool.and_then(|t| t.value.owner.clone()),
            agent: handed_to.and_then(|handed_to| handed_to.value.agent.clone()),
            session: SessionFacts {
                labels: flowing.known(),
                used_tools: session.value.used_tools.clone(),
                counters,
                unremembered,
                provenance: provenance.map(|it| it.value).unwrap_or_default(),
                ..SessionFacts::default()
            },
            flowing,
            stops,
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
        let mut reader = self.reader();
        let standing = Arc::new(read_standing(&mut reader, instance).await?);
        let read = Arc::new(reader.sourced(standing));
        self.standings.insert(instance, read.clone());
        Ok(read)
    }

    /// The tool `tool` as it is onboarded, if it is.
    pub async fn find_tool(&self, tool: &ToolRef) -> Result<Option<Arc<Tool>>, FactsError> {
        Ok(self.tool(tool).await?.map(|facts| facts.value.tool.clone()))
    }

    /// All tools of `server` that are onboarded, in the order of their names.
    pub async fn tools_of(&self, server: &ServerName) -> Result<Vec<Tool>, FactsError> {
        reader::all(self.store.as_ref(), &format!("tool/{server}/")).await
    }

    /// The revision as of which all that was read so is true.
    pub(crate) fn as_of(&self, read: &[(&[FactKey], Revision)]) -> Result<Revision, FactsError> {
        self.changes.fresh_as_of(read).ok_or(FactsError::Changed)
    }

    pub(crate) fn is_fresh<T>(&self, known: &Sourced<T>) -> bool {
        self.as_of(&[(&known.keys, known.revision)]).is_ok()
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
        let mut reader = self.reader();
        let Some(mut server) = reader.find::<Server>(FactKey::server(name)).await? else {
            return Ok(None);
        };
        if let Some(account) = &server.account {
            server.callers = reader.find(FactKey::account(account)).await?.unwrap_or_default();
        }
        let read = Arc::new(reader.sourced(Arc::new(server)));
        self.servers.insert(name.clone(), read.clone());
        Ok(Some(read))
    }

    async fn tool(&self, tool: &ToolRef) -> Result<Option<Shared<ToolFacts>>, FactsError> {
        if let Some(known) = self.tools.get(tool).filter(|known| self.is_fresh(known)) {
            return Ok(Some(known));
        }
        let mut reader = self.reader();
        let Some(found) = reader.find::<Tool>(FactKey::tool(tool)).await? else {
            return Ok(None);
        };
        let owner = match &found.owner {
            Some(owner) => reader.find::<Person>(FactKey::person(owner)).await?,
            None => None,
        };
        let stop = FactKey::stop(&StopTarget::Tool(tool.clone()));
        let is_stopped = reader.find::<Stop>(stop).await?.is_some();
        let facts = ToolFacts { tool: Arc::new(found), owner: owner.map(Arc::new), is_stopped };
        let read = Arc::new(reader.sourced(Arc::new(facts)));
        self.tools.insert(tool.clone(), read.clone());
        Ok(Some(read))
    }

    /// What was read and used in a session.
    pub(crate) async fn session(
        &self,
        session: TaskId,
    ) -> Result<Shared<SessionFacts>, FactsError> {
        if let Some(known) = self.sessions.get(&session).filter(|known| self.is_fresh(known)) {
            return Ok(known);
        }
        let mut reader = self.reader();
        let facts: SessionFacts = reader.find(FactKey::session(session)).await?.unwrap_or_default();
        let read = Arc::new(reader.sourced(Arc::new(facts)));
        self.sessions.insert(session, read.clone());
        Ok(read)
    }

    async fn stops_of(&self, standing: &Standing) -> Result<Shared<Stops>, FactsError> {
        let instance = standing.instance.id;
        if let Some(known) = self.stops.get(&instance).filter(|known| self.is_fresh(known)) {
            return Ok(known);
        }
        let agents = standing.hops().map(|hop| StopTarget::Agent(hop.agent.name.clone()));
        let all = std::iter::once(StopTarget::All).chain(agents);
        let (mut reader, mut stops) = (self.reader(), Stops::default());
        for what in all {
            if reader.find::<Stop>(FactKey::stop(&what)).await?.is_some() {
                stops.0.insert(what);
            }
        }
        let read = Arc::new(reader.sourced(Arc::new(stops)));
        self.stops.insert(instance, read.clone());
        Ok(read)
    }

    /// How many calls of a session were permitted: of all tools, and of those that are counted by themselves.
    async fn counters_of(
        &self,
        session: TaskId,
        remembered: &Remembered,
    ) -> Result<BTreeMap<String, i64>, FactsError> {
        let tools = std::iter::once(None).chain(remembered.counted.iter().map(Some));
        let (mut counters, mut unread) = (BTreeMap::new(), Vec::new());
        for tool in tools {
            let (name, counter) = (counter_name(tool), calls_counter(session, tool));
            match self.calls.of(&counter) {
                Some(known) => drop(counters.insert(name, known)),
                None => unread.push((name, counter)),
            }
        }
        if !unread.is_empty() {
            let (names, unread): (Vec<_>, Vec<_>) = unread.into_iter().unzip();
            let since = self.calls.since();
            let stored = self.store.counters(&unread).await?.into_iter();
            let noted = unread.into_iter().zip(stored);
            let noted = noted.map(|(counter, calls)| self.calls.read(&counter, calls, since));
            counters.extend(names.into_iter().zip(noted));
        }
        Ok(counters)
    }
}

fn listen(store: &dyn Store, changes: Arc<Changes>, (unknown, calls): (Arc<Unknown>, KnownCalls)) {
    store.on_change(Arc::new(move |keys, revision| {
        let mut marks = keys.iter().filter(|key| key.as_str().starts_with(MARKS)).peekable();
        if marks.peek().is_some() {
            // Who settles one may give back what it took.
            calls.forget_all();
            // Marked before the change is recorded: a decision that was made as of this revision
            // sees the mark, and one that was made before is refused at its commit.
            unknown.changed(marks.cloned(), revision);
        }
        changes.record(keys, revision);
    }));
}
