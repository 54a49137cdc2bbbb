//! The conversations with upstreams that callers have open, and the MCP sessions around them.
//!
//! An MCP session belongs to one instance and one route; its id is a label, never authority. Two
//! callers never share a conversation. One that is idle, or whose server is gone, ends. Two
//! conversations share a process only where the server is declared stateless.

use std::sync::Arc;
use std::time::Duration;

use authority::Refused;
use mcp::Askable;
use model::{Entropy, InstanceId, ServerName};
use moka::notification::RemovalCause;
use moka::sync::Cache;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::authenticate::Caller;
use crate::catalog::Route;
use crate::intake::Intake;
use crate::pins::Verified;
use crate::recorder::Recorder;
use crate::refusal::Refusal;
use crate::room::Whose;
use crate::shared::Shared;
use crate::shares::{Full, Open, Tally};
use crate::upstream::{
    Greeting, HttpTransport, Link, LinkError, Listener, ProcessPlace, StdioTransport, Target,
    Transport,
};
use crate::way_back::Rooms;

/// How often idle conversations are looked for, at the longest.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What is refused beyond, and how long idle conversations stay.
#[derive(Clone, Copy, Debug)]
pub struct LinkLimits {
    /// The most conversations at once, those of MCP sessions among them.
    pub conversations: usize,
    /// The most conversations of one agent at once; of one instance, a part of that.
    pub of_agent: usize,
    /// The most stdio servers running at once.
    pub processes: usize,
    /// The most stdio servers of one agent running at once; of one instance, a part of that.
    pub processes_of_agent: usize,
    /// How long a conversation may be idle.
    pub idle: Duration,
    /// How long an upstream may take to greet.
    pub greeting: Duration,
}

/// One MCP session of the session era.
pub(crate) struct McpSession {
    pub(crate) instance: InstanceId,
    pub(crate) server: ServerName,
    pub(crate) link: Arc<Conversation>,
}

/// A conversation, and whether its tools were compared with their pins.
pub(crate) struct Conversation {
    pub(crate) link: Arc<Link>,
    pub(crate) verified: Arc<Verified>,
    /// What the client of this MCP session declares that it may be asked.
    pub(crate) askable: Askable,
    /// What the server was told that it may ask.
    pub(crate) declares: Askable,
    /// Whether the link is this conversation's alone, and ends with it.
    is_own: bool,
    /// That it counts among all, and among its instance's and its agent's.
    _counted: Option<(OwnedSemaphorePermit, Open)>,
}

impl Conversation {
    /// Ends the conversation.
    pub(crate) async fn close(&self) {
        if self.is_own {
            self.link.close().await;
        }
    }
}

type Sessions = Cache<String, Arc<McpSession>>;
type OfInstances = Cache<(InstanceId, ServerName), Arc<OnceCell<Arc<Conversation>>>>;

/// All conversations that are open.
pub(crate) struct Links {
    sessions: Sessions,
    stateless: OfInstances,
    shared: Shared,
    client: crate::upstream::HttpClient,
    places: Arc<Semaphore>,
    of_agents: Tally,
    processes: Arc<Semaphore>,
    processes_of_agents: Tally,
    environment: Vec<(String, String)>,
    limits: LinkLimits,
    recorder: Recorder,
    /// Room for what servers say.
    rooms: Rooms,
    tasks: TaskTracker,
    closed: CancellationToken,
}

/// Where a conversation is to be opened, and on whose account.
pub(crate) struct Opening<'a> {
    pub(crate) route: &'a Route,
    pub(crate) server: &'a ServerName,
    pub(crate) caller: Option<&'a Caller>,
    /// What the server is shown.
    pub(crate) assertion: Option<String>,
    /// What the client declares that it may be asked.
    pub(crate) askable: Askable,
    /// What the server is told that it may ask.
    pub(crate) declares: Askable,
}

impl Links {
    pub(crate) fn new(
        client: crate::upstream::HttpClient,
        environment: Vec<(String, String)>,
        limits: LinkLimits,
        (recorder, rooms, tasks): (Recorder, Rooms, TaskTracker),
    ) -> Self {
        let (sessions, stateless) = caches(&limits, &tasks);
        let closed = CancellationToken::new();
        let every = SWEEP_EVERY.min(limits.idle / 2).max(Duration::from_millis(10));
        tasks.spawn(sweep((sessions.clone(), stateless.clone()), every, closed.clone()));
        Self {
            sessions,
            stateless,
            shared: Shared::default(),
            client,
            places: Arc::new(Semaphore::new(limits.conversations)),
            of_agents: Tally::new(limits.of_agent),
            processes: Arc::new(Semaphore::new(limits.processes)),
            processes_of_agents: Tally::new(limits.processes_of_agent),
            environment,
            limits,
            recorder,
            rooms,
            tasks,
            closed,
        }
    }

    /// Opens a conversation.
    pub(crate) async fn open(&self, opening: Opening<'_>) -> Result<Arc<Conversation>, Refusal> {
        let Opening { route, server, caller, assertion, askable, mut declares } = opening;
        let counted = caller.map(|caller| self.counted(caller)).transpose()?;
        // Who looks at a server before any agent may sees it as it is started now.
        let is_own = caller.is_none() || !route.target.is_shared();
        let within = self.limits.greeting;
        let (link, verified) = if is_own {
            let (intake, lists) = self.intakes(caller, server);
            let greeting = Greeting { assertion, declares, within, intake, lists };
            self.start(&route.target, caller, greeting).await?
        } else {
            declares = Askable::NOTHING;
            let (intake, lists) = self.intakes(None, server);
            let greeting = Greeting { assertion: None, declares, within, intake, lists };
            let start = self.start(&route.target, None, greeting);
            self.shared.link(server, start, within).await?
        };
        let conversation =
            Conversation { link, verified, askable, declares, is_own, _counted: counted };
        Ok(Arc::new(conversation))
    }

    /// A place for a conversation of `caller`.
    fn counted(&self, caller: &Caller) -> Result<(OwnedSemaphorePermit, Open), Refusal> {
        let place = self.places.clone().try_acquire_owned();
        let place = place.map_err(|_| Refusal::TooMany("conversations"))?;
        let own = self.of_agents.open(&caller.agent, caller.subject());
        let too_many =
            |Full| Refusal::TooMany("conversations of one agent or of one subject of it");
        Ok((place, own.map_err(too_many)?))
    }

    /// Where what a server says, and what it lists, in a conversation of `caller` has room: without one, it is nobody's in
    /// particular.
    fn intakes(&self, caller: Option<&Caller>, server: &ServerName) -> (Intake, Intake) {
        let whose = caller.map(|caller| Whose::of_server(&caller.agent, &caller.subject(), server));
        let whose = (whose.unwrap_or_else(|| Arc::from([])), who(caller));
        let of = |room| Intake::new(room, &self.recorder, whose.clone());
        (of(&self.rooms.arriving), of(&self.rooms.lists))
    }

    /// Reaches a server and greets it.
    async fn start(
        &self,
        target: &Target,
        caller: Option<&Caller>,
        greeting: Greeting,
    ) -> Result<(Arc<Link>, Arc<Verified>), Refusal> {
        let verified = Arc::new(Verified::default());
        let recorder = self.recorder.clone();
        let who = who(caller);
        let listener = Arc::new(Overheard { recorder, who, verified: verified.clone() });
        let transport = self.transport((target, caller), listener.clone())?;
        let link = Link::open(transport, listener, greeting).await?;
        Ok((Arc::new(link), verified))
    }

    fn transport(
        &self,
        (target, caller): (&Target, Option<&Caller>),
        listener: Arc<dyn Listener>,
    ) -> Result<Arc<dyn Transport>, Refusal> {
        if let Target::Http { url, header } = target {
            let client = self.client.clone();
            return Ok(Arc::new(HttpTransport::new(client, url.clone(), header.clone())));
        }
        let place = self.processes.clone().try_acquire_owned();
        let place = place.map_err(|_| Refusal::TooMany("server processes"))?;
        let own =
            caller.map(|caller| self.processes_of_agents.open(&caller.agent, caller.subject()));
        let too_many =
            |Full| Refusal::TooMany("server processes of one agent or of one subject of it");
        let own = own.transpose().map_err(too_many)?;
        let held = (ProcessPlace { _one_of_all: place, _one_of_its_agent: own }, listener);
        let started = StdioTransport::start(target, &self.environment, held, &self.tasks)?;
        Ok(Arc::new(started))
    }

    /// The conversation of `instance` with `server` in the stateless era, opened if need be.
    pub(crate) async fn of_instance<'a>(
        &self,
        instance: InstanceId,
        server: &ServerName,
        opening: impl FnOnce() -> Opening<'a>,
    ) -> Result<Arc<Conversation>, Refusal> {
        let place = (instance, server.clone());
        let ended = |cell: &Arc<OnceCell<Arc<Conversation>>>| {
            cell.get().is_some_and(|conversation| !conversation.link.is_alive())
        };
        if self.stateless.get(&place).as_ref().is_some_and(ended) {
            self.stateless.invalidate(&place);
        }
        let cell = self.stateless.get_with(place.clone(), Arc::default);
        let opened = cell.get_or_try_init(|| self.open(opening())).await;
        opened.cloned().inspect_err(|_| self.stateless.invalidate(&place))
    }

    /// Whether `instance` has a conversation with `server` in the stateless era.
    pub(crate) fn is_open(&self, instance: InstanceId, server: &ServerName) -> bool {
        let cell = self.stateless.get(&(instance, server.clone()));
        cell.is_some_and(|cell| cell.get().is_some())
    }

    /// Begins an MCP session and returns its id.
    pub(crate) fn begin(&self, session: McpSession, entropy: &dyn Entropy) -> String {
        let mut bytes = [0; 16];
        entropy.fill(&mut bytes);
        let id = format!("{:032x}", u128::from_be_bytes(bytes));
        self.sessions.insert(id.clone(), Arc::new(session));
        id
    }

    /// The MCP session `id`, if it is that of `instance` with `server` and its server is there.
    pub(crate) fn session(
        &self,
        id: &str,
        instance: InstanceId,
        server: &ServerName,
    ) -> Option<Arc<McpSession>> {
        let session = self.sessions.get(id)?;
        if session.instance != instance || session.server != *server {
            return None;
        }
        if !session.link.link.is_alive() {
            self.end(id);
            return None;
        }
        Some(session)
    }

    /// Ends the MCP session `id`.
    pub(crate) fn end(&self, id: &str) {
        self.sessions.invalidate(id);
        // Its place is free again as soon as its server is told.
        self.sessions.run_pending_tasks();
    }

    /// Ends every conversation.
    pub(crate) fn close_all(&self) {
        self.closed.cancel();
        for link in self.shared.links() {
            self.tasks.spawn(async move { link.close().await });
        }
        self.sessions.invalidate_all();
        self.stateless.invalidate_all();
        self.sessions.run_pending_tasks();
        self.stateless.run_pending_tasks();
    }
}

fn who(caller: Option<&Caller>) -> Refused {
    caller.map(Caller::who).unwrap_or_default()
}

fn caches(limits: &LinkLimits, tasks: &TaskTracker) -> (Sessions, OfInstances) {
    let closer = tasks.clone();
    let close = move |conversation: Arc<Conversation>| {
        closer.spawn(async move { conversation.close().await });
    };
    let close_session = close.clone();
    // Neither has a capacity of its own: what is open ends when it is idle, and for nobody else's sake.
    let sessions = Cache::builder().time_to_idle(limits.idle).eviction_listener(
        move |_, session: Arc<McpSession>, _: RemovalCause| close_session(session.link.clone()),
    );
    let stateless = Cache::builder().time_to_idle(limits.idle);
    let stateless = stateless.eviction_listener(
        move |_, cell: Arc<OnceCell<Arc<Conversation>>>, _: RemovalCause| {
            cell.get().cloned().into_iter().for_each(&close);
        },
    );
    (sessions.build(), stateless.build())
}

/// Ends what is idle, also while nobody calls.
async fn sweep(
    (sessions, stateless): (Sessions, OfInstances),
    every: Duration,
    closed: CancellationToken,
) {
    while closed.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
        sessions.run_pending_tasks();
        stateless.run_pending_tasks();
    }
}

/// What a server says on nobody's account, in one conversation.
struct Overheard {
    recorder: Recorder,
    who: Refused,
    verified: Arc<Verified>,
}

impl Listener for Overheard {
    fn refused(&self, cause: &'static str) {
        self.recorder.refuse(cause, self.who.clone());
    }

    fn tools_changed(&self) {
        self.verified.forget();
    }
}

impl From<LinkError> for Refusal {
    fn from(source: LinkError) -> Self {
        Self::UpstreamFailed { source, decision: None }
    }
}
