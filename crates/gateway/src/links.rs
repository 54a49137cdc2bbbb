//! The conversations with upstreams that callers have open, and the MCP sessions around them.
//!
//! An MCP session belongs to one instance and one route; its id is a label, never authority. Two
//! callers never share a conversation.

use std::sync::Arc;
use std::time::Duration;

use model::{Entropy, InstanceId, ServerName};
use moka::notification::RemovalCause;
use moka::sync::Cache;
use tokio::sync::{OnceCell, Semaphore};
use tokio_util::task::TaskTracker;

use crate::catalog::Route;
use crate::refusal::Refusal;
use crate::upstream::{HttpTransport, Link, LinkError, StdioTransport, Target, Transport};

/// What is refused beyond, and how long idle conversations stay.
#[derive(Clone, Copy, Debug)]
pub struct LinkLimits {
    /// The most MCP sessions at once.
    pub sessions: u64,
    /// The most stdio servers running at once.
    pub processes: usize,
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
    pub(crate) link: Link,
    pub(crate) verified: crate::pins::Verified,
}

/// All conversations that are open.
pub(crate) struct Links {
    sessions: Cache<String, Arc<McpSession>>,
    stateless: Cache<(InstanceId, ServerName), Arc<OnceCell<Arc<Conversation>>>>,
    client: crate::upstream::HttpClient,
    processes: Arc<Semaphore>,
    environment: Vec<(String, String)>,
    limits: LinkLimits,
    tasks: TaskTracker,
}

impl Links {
    pub(crate) fn new(
        client: crate::upstream::HttpClient,
        environment: Vec<(String, String)>,
        limits: LinkLimits,
        tasks: TaskTracker,
    ) -> Self {
        let closer = tasks.clone();
        let close = move |conversation: Arc<Conversation>| {
            closer.spawn(async move { conversation.link.close().await });
        };
        let close_session = close.clone();
        let sessions = Cache::builder()
            .max_capacity(limits.sessions)
            .time_to_idle(limits.idle)
            .eviction_listener(move |_, session: Arc<McpSession>, _: RemovalCause| {
                close_session(session.link.clone());
            });
        let stateless = Cache::builder().max_capacity(limits.sessions).time_to_idle(limits.idle);
        let stateless = stateless.eviction_listener(
            move |_, cell: Arc<OnceCell<Arc<Conversation>>>, _: RemovalCause| {
                cell.get().cloned().into_iter().for_each(&close);
            },
        );
        Self {
            sessions: sessions.build(),
            stateless: stateless.build(),
            client,
            processes: Arc::new(Semaphore::new(limits.processes)),
            environment,
            limits,
            tasks,
        }
    }

    /// Opens a conversation with the server at `route`.
    pub(crate) async fn open(
        &self,
        route: &Route,
        assertion: Option<String>,
    ) -> Result<Arc<Conversation>, Refusal> {
        let transport = self.transport(&route.target)?;
        let link = Link::open(transport, assertion, self.limits.greeting).await;
        let link = link.map_err(|source| Refusal::UpstreamFailed { source, decision: None })?;
        Ok(Arc::new(Conversation { link, verified: crate::pins::Verified::default() }))
    }

    fn transport(&self, target: &Target) -> Result<Arc<dyn Transport>, Refusal> {
        if let Target::Http { url, header } = target {
            let (client, tasks) = (self.client.clone(), self.tasks.clone());
            return Ok(Arc::new(HttpTransport::new(client, url.clone(), header.clone(), tasks)));
        }
        let place = self.processes.clone().try_acquire_owned();
        let place = place.map_err(|_| Refusal::TooMany("server processes"))?;
        let started = StdioTransport::start(target, &self.environment, place, &self.tasks);
        match started {
            Ok(transport) => Ok(Arc::new(transport)),
            Err(source) => Err(Refusal::UpstreamFailed { source, decision: None }),
        }
    }

    /// The conversation of `instance` with `server` in the stateless era, opened if need be.
    pub(crate) async fn of_instance(
        &self,
        instance: InstanceId,
        (server, route): (&ServerName, &Route),
        assertion: Option<String>,
    ) -> Result<Arc<Conversation>, Refusal> {
        let place = (instance, server.clone());
        let cell = self.stateless.get_with(place.clone(), Arc::default);
        let opened = cell.get_or_try_init(|| self.open(route, assertion)).await;
        opened.cloned().inspect_err(|_| self.stateless.invalidate(&place))
    }

    /// Begins an MCP session and returns its id.
    pub(crate) fn begin(
        &self,
        session: McpSession,
        entropy: &dyn Entropy,
    ) -> Result<String, Refusal> {
        if self.sessions.entry_count() >= self.limits.sessions {
            self.sessions.run_pending_tasks();
        }
        if self.sessions.entry_count() >= self.limits.sessions {
            return Err(Refusal::TooMany("MCP sessions"));
        }
        let mut bytes = [0; 16];
        entropy.fill(&mut bytes);
        let id = format!("{:032x}", u128::from_be_bytes(bytes));
        self.sessions.insert(id.clone(), Arc::new(session));
        Ok(id)
    }

    /// The MCP session `id`, if it is that of `instance` with `server`.
    pub(crate) fn session(
        &self,
        id: &str,
        instance: InstanceId,
        server: &ServerName,
    ) -> Option<Arc<McpSession>> {
        let session = self.sessions.get(id)?;
        (session.instance == instance && session.server == *server).then_some(session)
    }

    /// Ends the MCP session `id`.
    pub(crate) fn end(&self, id: &str) {
        self.sessions.invalidate(id);
    }

    /// Forgets the stateless conversation of `instance` with `server`, which broke.
    pub(crate) fn forget(&self, instance: InstanceId, server: &ServerName) {
        self.stateless.invalidate(&(instance, server.clone()));
    }

    /// Ends every conversation.
    pub(crate) fn close_all(&self) {
        self.sessions.invalidate_all();
        self.stateless.invalidate_all();
        self.sessions.run_pending_tasks();
        self.stateless.run_pending_tasks();
    }
}

impl From<LinkError> for Refusal {
    fn from(source: LinkError) -> Self {
        Self::UpstreamFailed { source, decision: None }
    }
}
