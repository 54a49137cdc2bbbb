//! `chancery serve`: wires the parts, serves, drains. Nothing here decides anything.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use api::{Agents, Bodies, Directories, Door, Hosts, Observers, People, Receivers, Streams};
use authority::{
    Authority, Expiring, FindingKeeper, Forgetting, LeaseKeeper, Messenger, OutcomeWriter, Parts,
    Pip, SteadyClock,
};
use gateway::{Assertions, Gateway, GatewayLimits, GatewayParts, LinkLimits, Routes, Tokens};
use journal::{Integrator, Journal, LogDirectory, Sealer};
use keys::{KeyRing, TokenKeys};
use model::{Clock, Entropy, Timestamp};
use oauth::nonces::Nonces;
use pap::{Administration, PolicyKey};
use store_sqlite::{Options, SqliteStore};
use sts::TokenService;
use tlog::note::NoteSigner as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::anchors::AnchorAlarms;
use crate::config::Config;
use crate::findings::Webhook;
use crate::founding;
use crate::isolate;
use crate::listener::{self, ConnectionLimits, Serving, Tell};
use crate::note_signer::LogSigner;
use crate::own_process::{announce, end_process, lock, raise_descriptor_limit};
use crate::receivers::Signals;
use crate::reload::{self, Looked, PolicyWatch, Stale};
use crate::sources::{self, Sources};
use crate::status::Status;
use crate::system::{SystemClock, SystemEntropy, environment};
use crate::tls;
use crate::watched::WatchedStore;

/// How long one step of integrating may take before it is an alarm.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// How often records are integrated and checkpoints published.
const INTEGRATE_EVERY: Duration = Duration::from_millis(500);

/// How often policy files are looked at, and what expired is forgotten.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Everything that runs.
struct Running {
    authority: Arc<Authority>,
    policy: Option<PolicyWatch>,
    gateway: Arc<Gateway>,
    tokens: Arc<TokenService>,
    administration: Arc<Administration>,
    signals: Signals,
    door: Option<Arc<Door>>,
    integrator: Integrator,
    outcomes: OutcomeWriter,
    findings: FindingKeeper,
    leases: LeaseKeeper,
    clock: Arc<dyn Clock>,
    status: Arc<Status>,
    tasks: TaskTracker,
}

/// Serves the deployment of `config` until it is told to stop.
pub(crate) async fn serve(config: Config) -> anyhow::Result<()> {
    // A file that may not grow is a write that fails, not the end of the process.
    let _file_too_large = signal(SignalKind::from_raw(nix::libc::SIGXFSZ))?;
    raise_descriptor_limit();
    let acceptor = config.tls.as_ref().map(tls::acceptor).transpose()?;
    let _only_we = lock(&config.state_dir)?;
    let [stop, drained, anchors_stop] = std::array::from_fn(|_| CancellationToken::new());
    let running = build(&config, &stop).await?;
    // Before anybody is told that it is ready: a signal nobody waits for would end the process.
    let (told_to_stop, hangup) =
        (crate::stop_signals::StopSignals::new()?, signal(SignalKind::hangup())?);
    let agents = listen(config.listen.agents).await?;
    let observers = listen(config.listen.admin).await?;
    let socket = crate::socket::bind(&config.admin_socket(), 0o600).await?;
    let host = crate::socket::bind(&config.host_socket(), 0o666).await?;
    let admin = observers.local_addr()?;
    let (gateway, clock) = (running.gateway.clone(), running.clock.clone());
    let (status, tasks) = (running.status.clone(), running.tasks.clone());
    let addresses = [agents.local_addr()?, admin];
    let [agent_router, observer_router, admin_router] = routers(&config, &running, addresses)?;

    let servers = TaskTracker::new();
    let listeners = [(agents, agent_router), (observers, observer_router)];
    for serving in serving(&config, &gateway, listeners, acceptor) {
        servers.spawn(listener::serve(serving, stop.clone()));
    }
    let socket = crate::socket::serve(socket, admin_router, stop.clone(), servers.clone());
    let socket = tokio::spawn(socket);
    let host = (host, running.tokens.clone(), stop.clone(), servers.clone());
    let host = tokio::spawn(crate::host::serve(host.0, host.1, host.2, host.3));
    let newest = running.integrator.checkpoint().map(Arc::from);
    let (newest, checkpoints) = tokio::sync::watch::channel(newest);
    let anchoring = crate::anchors::start(
        &config.log.anchors,
        &status.anchors,
        (&checkpoints, &clock),
        &anchors_stop,
    )?;
    let integrating = integrate(running.integrator, status.clone(), newest, drained.clone());
    let integrating = tokio::spawn(integrating);
    let authority = running.authority;
    let policy = (running.policy, config.policy.reload, hangup);
    let kept = (authority.clone(), running.tokens, running.administration);
    let looking = tokio::spawn(look(kept, policy, status.clone(), stop.clone()));
    let keeping = keep(running.outcomes, running.findings, running.leases);

    let (issuer, scheme) = (config.issuer(), config.scheme());
    announce(format_args!("ready: agents at {issuer}, observers at {scheme}://{admin}"));
    told_to_stop.wait().await;
    tracing::info!("stopping: no new requests, those under way are finished");
    stop.cancel();
    let drain = tokio::time::timeout(Duration::from_millis(config.timeouts.drain_ms), async {
        servers.close();
        servers.wait().await;
        gateway.close();
        tasks.close();
        tasks.wait().await;
        authority.drained().await;
    });
    if drain.await.is_err() {
        tracing::warn!("some requests were still under way: their outcomes are unknown");
    }
    // What the last outcomes added is published too.
    drained.cancel();
    let _ = futures::future::join_all([socket, host, looking]).await;
    let in_time = Duration::from_millis(config.timeouts.drain_ms);
    let _ = tokio::time::timeout(in_time, integrating).await;
    anchors_stop.cancel();
    let _ = tokio::time::timeout(in_time, anchoring.wait()).await;
    keeping.iter().for_each(JoinHandle::abort);
    for socket in [config.admin_socket(), config.host_socket()] {
        let _ = std::fs::remove_file(socket);
    }
    Ok(())
}

/// What is kept in the background, until the end.
fn keep(
    outcomes: OutcomeWriter,
    findings: FindingKeeper,
    leases: LeaseKeeper,
) -> [JoinHandle<()>; 3] {
    [tokio::spawn(outcomes.run()), tokio::spawn(findings.run()), tokio::spawn(leases.run())]
}

/// The listeners for agents and for observers, each with its limits.
fn serving(
    config: &Config,
    gateway: &Arc<Gateway>,
    [(agents, agent_router), (observers, observer_router)]: [(TcpListener, axum::Router); 2],
    acceptor: Option<TlsAcceptor>,
) -> [Serving; 2] {
    let limits = ConnectionLimits::of(config);
    let serving = |listener, router, tell| Serving {
        listener,
        acceptor: acceptor.clone(),
        router,
        limits,
        tell,
    };
    let gateway = gateway.clone();
    let record: Tell = Arc::new(move |cause| gateway.note_refusal(cause));
    let warn: Tell = Arc::new(|cause| tracing::debug!(cause, "an observer is refused"));
    [serving(agents, agent_router, record), serving(observers, observer_router, warn)]
}

/// What is answered to agents, observers and the administrator, the first two of whom reach us at
/// these addresses.
fn routers(
    config: &Config,
    running: &Running,
    addresses: [SocketAddr; 2],
) -> anyhow::Result<[axum::Router; 3]> {
    let [agents, observers] = addresses;
    let issuer = config.issuer();
    let hosts = Hosts::new(&issuer, agents);
    let receivers = Receivers::new(running.signals.transmitter.clone(), hosts.clone());
    let agents = Agents {
        gateway: running.gateway.clone(),
        tokens: running.tokens.clone(),
        clock: running.clock.clone(),
        bodies: Bodies::new(
            config.limits.body_bytes,
            Duration::from_millis(config.timeouts.request_ms),
        ),
        hosts,
        behind_proxy: config.behind_tls_proxy,
    };
    let people = People {
        administration: running.administration.clone(),
        tokens: running.tokens.clone(),
        clock: running.clock.clone(),
        door: running.door.clone(),
        hosts: Hosts::new(&config.people_url(), observers),
        behind_proxy: config.behind_tls_proxy,
    };
    let observers = Observers {
        health: running.status.clone(),
        log_dir: config.log_dir(),
        hosts: Hosts::new(&issuer, observers),
    };
    let directories = Directories::new(
        running.administration.clone(),
        &config.people_url(),
        people.hosts.clone(),
    )
    .with_agents(config.directories.agents);
    let streams = Streams::new(running.signals.receiver.clone(), people.hosts.clone());
    let admin = api::admin(running.administration.clone(), pap::BOOTSTRAP.parse()?);
    let agents = api::agents(agents, receivers);
    Ok([agents, api::admin_listener(observers, people, (directories, streams)), admin])
}

/// What is decided on and recorded in, as it was found.
struct Found {
    store: Arc<WatchedStore>,
    journal: Journal,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    last_record: Timestamp,
}

/// Opens the journal, and closes what a crash left open.
async fn open(config: &Config, ring: &KeyRing) -> anyhow::Result<Found> {
    let machine: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::new());
    // What facts were is kept by the same time as records.
    let clock = Arc::new(SteadyClock::new(machine, Timestamp::from_millis(0)));
    let options = Options { clock: clock.clone(), on_fatal: end_process() };
    // Whoever founds a deployment makes one, and nobody else.
    let database = config.database();
    let (is_there, shown) = (database.try_exists().unwrap_or(true), database.display());
    ensure!(is_there, "the database `{shown}` is gone: put it back, with its `-wal` if it had one");
    let store = Arc::new(WatchedStore::new(Arc::new(SqliteStore::open(&database, options)?)));
    let sealer = Arc::new(Sealer::new(ring.sealing(), entropy.clone()));
    let journal = Journal::new(store.clone(), sealer);
    ensure!(pap::is_founded(&journal).await?, "the database was not founded: `chancery init`");

    // Before anything is written: what recovery writes is not what the clock ran by.
    let last_record = last_record(&journal).await?;
    clock.follow(last_record);
    let clock: Arc<dyn Clock> = clock;
    let recovered = authority::recover(&journal, &clock, &entropy).await?;
    if recovered > 0 {
        tracing::warn!(recovered, "permits without an outcome were closed as unknown");
    }
    Ok(Found { store, journal, clock, entropy, last_record })
}

/// The bounds of decisions.
const fn limits(config: &Config) -> authority::Limits {
    authority::Limits {
        decision_timeout: Duration::from_millis(config.timeouts.decision_ms),
        review_interval: authority::REVIEW_INTERVAL,
        tasks_of_person: Some(config.limits.tasks_per_person_a_day),
        calls_of_person: Some(config.limits.calls_per_person_a_day),
        policy_grace: Duration::from_millis(config.policy.grace_ms),
    }
}

async fn build(config: &Config, stop: &CancellationToken) -> anyhow::Result<Running> {
    let ring = KeyRing::open(&config.keys_dir())
        .context("could not read the deployment's keys: was it founded with `chancery init`?")?;
    let Found { store, journal, clock, entropy, last_record } = open(config, &ring).await?;
    let (authority, outcomes) = Authority::new(Parts {
        journal: journal.clone(),
        pip: Pip::open(&journal).await?,
        clock: clock.clone(),
        last_record,
        entropy: entropy.clone(),
        limits: limits(config),
    });
    let authority = Arc::new(authority);
    let policy_key = PolicyKey::new(ring.policy.clone(), &config.keys_dir());
    let (publisher, policy) = reload::in_force(config, &authority, &policy_key).await?;
    let tasks = TaskTracker::new();
    let token_keys = founding::token_keys(config, store.as_ref()).await?;
    let keys = token_keys.keys.clone();
    let sources = Arc::new(Sources::default());
    let servers = isolate::settle(config);
    let routes = sources::routes(config, &isolate::launchers(&servers))?;
    let mut secret = [0; 32];
    entropy.fill(&mut secret);
    let nonces = Arc::new(Nonces::new(&secret));
    let keyed = (&ring, (keys.clone(), nonces.clone()));
    let gateway = gateway(config, &authority, keyed, (&sources, routes), &tasks)?;
    let log = LogDirectory::new(config.log_dir());
    let (by, to, from) = (authority.clone(), publisher.clone(), sources.clone());
    let signing = (config.issuer(), token_keys, policy_key);
    let administration = Administration::new(by, to, from, log.clone(), signing);
    let administration = Arc::new(config.policy.rules(administration));
    let signals = Signals::new(config, (&administration, &ring), (&clock, &tasks), stop)?;
    sources.connect(gateway.clone(), administration.clone());
    isolate::tell(&servers, &administration).await?;
    for (server, origin) in sources::origins(config)? {
        administration.note_origin(&server, &origin).await?;
    }
    let signer = Arc::new(LogSigner::new(config, &ring)?);
    let origin = signer.name().clone();
    let integrator = Integrator::open(store.clone(), log, signer, origin).await?;
    let platforms = crate::attestation::platforms(config, &clock, &tasks)?;
    let development = pap::is_for_development(&journal).await?;
    let door = crate::login::door(config, development, (&clock, &entropy))?;
    let by = (door.is_some(), platforms.as_ref(), gateway.known_tokens());
    let tokens = crate::tokens::service(config, (&authority, keys, nonces), by, stop)?.into();
    let anchors = AnchorAlarms::of(&config.log.anchors);
    let (findings, leases) = keepers(config, &authority).await?;
    let watched = (anchors, (findings.numbers(), leases.numbers()), platforms.clone());
    let status = Arc::new(Status::new(store, authority.clone(), watched, servers));
    Ok(Running {
        authority,
        policy,
        gateway,
        tokens,
        administration,
        signals,
        door,
        integrator,
        outcomes,
        findings,
        leases,
        clock,
        status,
        tasks,
    })
}

fn gateway(
    config: &Config,
    authority: &Arc<Authority>,
    (ring, (keys, nonces)): (&KeyRing, (Arc<TokenKeys>, Arc<Nonces>)),
    (sources, routes): (&Arc<Sources>, Routes),
    tasks: &TaskTracker,
) -> anyhow::Result<Arc<Gateway>> {
    let (clock, entropy) = (authority.clock().clone(), authority.entropy().clone());
    let issuer = config.issuer();
    let millis = Duration::from_millis;
    let parts = GatewayParts {
        authority: authority.clone(),
        tokens: Tokens::new(issuer.clone(), keys.clone(), clock.clone(), nonces)
            .taking_bearer(config.login.is_some()),
        assertions: Assertions { issuer, keys, clock, entropy },
        routes,
        states: ring.state_sealing(),
        pins: sources.clone(),
        environment: environment(),
        limits: GatewayLimits {
            links: LinkLimits {
                conversations: config.limits.mcp_sessions,
                of_agent: config.limits.conversations_per_agent,
                processes: config.limits.stdio_processes,
                processes_of_agent: config.limits.stdio_processes_per_agent,
                idle: millis(config.timeouts.idle_ms),
                greeting: millis(config.timeouts.upstream_ms.min(20_000)),
            },
            call: millis(config.timeouts.upstream_ms),
            body: config.limits.body_bytes,
            requests_per_agent: config.limits.requests_per_agent,
            threads: config.threads(),
        },
        tasks: tasks.clone(),
    };
    Ok(Arc::new(Gateway::new(parts).context("could not set up the way to upstreams")?))
}

/// What keeps findings, and what reminds of leases, told by the webhook of the configuration if it has
/// one.
async fn keepers(
    config: &Config,
    authority: &Authority,
) -> anyhow::Result<(FindingKeeper, LeaseKeeper)> {
    let webhook = Webhook::of(config)?;
    let webhook = webhook.map(|webhook| Arc::new(webhook) as Arc<dyn Messenger>);
    let escalate_after = Duration::from_millis(config.findings.escalate_after_ms);
    let leases = authority.lease_keeper(webhook.clone());
    let findings = authority.finding_keeper(webhook, escalate_after).await?;
    Ok((findings.behind_proxy(config.behind_tls_proxy), leases))
}

/// The time of the newest record: the clock may not run before it.
async fn last_record(journal: &Journal) -> anyhow::Result<Timestamp> {
    let size = journal.store().log_size().await?;
    let newest = match size.checked_sub(1) {
        Some(index) => journal.record(index).await?,
        None => None,
    };
    let value =
        newest.and_then(|entry| serde_json::from_slice::<serde_json::Value>(&entry.bytes).ok());
    let time = value.and_then(|value| value.get("time")?.as_i64()).unwrap_or(0);
    Ok(Timestamp::from_millis(time))
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("could not listen on `{address}`: is another process using the port?")
    })
}

/// Integrates what was sequenced, and tells of each checkpoint.
async fn integrate(
    mut integrator: Integrator,
    status: Arc<Status>,
    newest: tokio::sync::watch::Sender<Option<Arc<[u8]>>>,
    stop: CancellationToken,
) {
    loop {
        let mut is_last = stop.is_cancelled();
        let under_way = integrator.step();
        tokio::pin!(under_way);
        let integrated = loop {
            tokio::select! {
                integrated = &mut under_way => break integrated,
                () = tokio::time::sleep(STUCK_AFTER) => {
                    status.log_stuck.store(true, Ordering::Relaxed);
                    tracing::error!("integrating the log takes too long");
                }
            }
        };
        status.log_stuck.store(integrated.is_err(), Ordering::Relaxed);
        match integrated {
            Ok(Some(note)) => {
                // Before the end, all that is recorded is published.
                is_last = false;
                drop(newest.send_replace(Some(note.into())));
            }
            Ok(None) => {}
            Err(error) => {
                let error = anyhow::Error::from(error);
                tracing::error!("the log was not integrated: {error:#}");
            }
        }
        if is_last {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(INTEGRATE_EVERY) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Looks, until it is told to stop, whether policy changed (on its own, or by SIGHUP), or which keys
/// sign tokens, and whether what failed works again, and forgets what expired.
async fn look(
    (authority, tokens, administration): (Arc<Authority>, Arc<TokenService>, Arc<Administration>),
    (mut policy, on_change, mut hangup): (Option<PolicyWatch>, bool, Signal),
    status: Arc<Status>,
    stop: CancellationToken,
) {
    let (mut forgetting, mut expiring) =
        (Forgetting::new(crate::host::started), Expiring::default());
    let mut stale = Stale::default();
    loop {
        let meant = tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => false,
            _ = hangup.recv() => true,
            () = stop.cancelled() => return,
        };
        status.store().probe().await;
        administration.catch_up_token_keys().await;
        // By a clock that ran ahead, what could still be used again would be forgotten.
        if let Ok(now) = authority.trusted_now() {
            let forgotten = authority.forget_past(&mut forgetting, now).await;
            let forgotten = forgotten.and(tokens.forget_shown(now).await);
            let forgotten = forgotten.and(administration.forget_signals(now).await);
            if let Err(error) = authority.end_expired(&mut expiring, now).await {
                tracing::warn!(%error, "tasks that ran out are not ended on record yet");
            }
            if let Err(error) = administration.widen(now).await {
                tracing::warn!(%error, "what waited does not count yet");
            }
            if let Err(error) = forgotten {
                tracing::warn!(%error, "what expired is not forgotten yet");
            }
        }
        let followed = administration.follow_releases().await;
        let looked = match &mut policy {
            Some(_) if !meant && !on_change => continue,
            Some(files) => files.look(meant).await,
            None => followed.map_or_else(Looked::Refused, |()| Looked::InForce),
        };
        if let Some(error) = stale.news(looked) {
            tracing::error!(%error, "policy was not reloaded: the last good set stays in force");
        }
        status.policy_stale.store(stale.is_so(), Ordering::Relaxed);
    }
}
