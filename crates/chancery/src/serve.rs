//! `chancery serve`: wires the parts, serves, drains. Nothing here decides anything.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use api::{Agents, Hosts, Observers};
use authority::{Authority, OutcomeWriter, Parts, Pip};
use gateway::{Assertions, Gateway, GatewayLimits, GatewayParts, LinkLimits, Tokens};
use journal::{Integrator, Journal, LogDirectory, Sealer};
use keys::{KeyRing, TokenKeys};
use model::{Clock, Entropy, Timestamp};
use pap::{Administration, Publisher};
use store_sqlite::{OnFatal, Options, SqliteStore};
use sts::TokenService;
use tlog::note::NoteSigner as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::note_signer::LogSigner;
use crate::sources::{self, Sources};
use crate::system::{SystemClock, SystemEntropy, environment};

/// How often records are integrated and checkpoints published.
const INTEGRATE_EVERY: Duration = Duration::from_millis(500);

/// How often policy files are looked at, and what expired is forgotten.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Ends the process: after a failed sync nobody knows what is durable.
pub(crate) fn end_process() -> OnFatal {
    Arc::new(|error| {
        tracing::error!("{error}; ending the process");
        std::process::abort();
    })
}

/// What is wrong with the running service, if anything.
#[derive(Debug, Default)]
pub(crate) struct Status {
    pub(crate) log_stuck: AtomicBool,
    pub(crate) policy_stale: AtomicBool,
}

impl api::Health for Status {
    fn troubles(&self) -> Vec<String> {
        let all = [
            (&self.log_stuck, "the log cannot be integrated"),
            (&self.policy_stale, "the policy files do not compile: the last good set is in force"),
        ];
        let wrong = all.iter().filter(|(flag, _)| flag.load(Ordering::Relaxed));
        wrong.map(|(_, what)| (*what).to_owned()).collect()
    }

    fn metrics(&self) -> String {
        let gauge = |name: &str, flag: &AtomicBool| {
            let value = u8::from(flag.load(Ordering::Relaxed));
            format!("# TYPE {name} gauge\n{name} {value}\n")
        };
        gauge("chancery_log_stuck", &self.log_stuck)
            + &gauge("chancery_policy_stale", &self.policy_stale)
    }
}

/// Everything that runs.
struct Running {
    authority: Arc<Authority>,
    publisher: Arc<Publisher>,
    gateway: Arc<Gateway>,
    tokens: Arc<TokenService>,
    administration: Arc<Administration>,
    integrator: Integrator,
    outcomes: OutcomeWriter,
    clock: Arc<dyn Clock>,
    status: Arc<Status>,
    tasks: TaskTracker,
}

/// Serves the deployment of `config` until it is told to stop.
pub(crate) async fn serve(config: Config) -> anyhow::Result<()> {
    let running = build(&config).await?;
    let stop = CancellationToken::new();
    let agents = listen(config.listen.agents).await?;
    let observers = listen(config.listen.admin).await?;
    let socket = crate::socket::bind(&config.admin_socket()).await?;
    let (gateway, clock) = (running.gateway.clone(), running.clock.clone());
    let (status, tasks) = (running.status.clone(), running.tasks.clone());

    let agent_router = api::agents(Agents {
        gateway: gateway.clone(),
        tokens: running.tokens.clone(),
        clock: clock.clone(),
        body_max: config.limits.body_bytes,
        hosts: Hosts::new(&config.issuer(), agents.local_addr()?),
    });
    let observer_router = api::observers(Observers {
        health: status.clone(),
        log_dir: config.log_dir(),
        hosts: Hosts::new(&config.issuer(), observers.local_addr()?),
    });
    let administrator = pap::BOOTSTRAP.parse()?;
    let admin_router = api::admin(running.administration.clone(), administrator);

    let servers = TaskTracker::new();
    servers.spawn(serve_http(agents, agent_router, stop.clone()));
    servers.spawn(serve_http(observers, observer_router, stop.clone()));
    let socket = crate::socket::serve(socket, admin_router, stop.clone(), servers.clone());
    let socket = tokio::spawn(socket);
    let integrating = tokio::spawn(integrate(running.integrator, status.clone(), stop.clone()));
    let looking = look(running.authority.clone(), running.publisher.clone(), config.clone());
    let looking = tokio::spawn(looking_until(looking, status.clone(), stop.clone()));
    let outcomes = tokio::spawn(running.outcomes.run());

    println!("ready: agents at {}, observers at http://{}", config.issuer(), config.listen.admin);
    wait_for_signal().await?;
    tracing::info!("stopping: no new requests, those under way are finished");
    stop.cancel();
    let drained = tokio::time::timeout(Duration::from_millis(config.timeouts.drain_ms), async {
        servers.close();
        servers.wait().await;
        gateway.close();
        tasks.close();
        tasks.wait().await;
        running.authority.drained().await;
    });
    if drained.await.is_err() {
        tracing::warn!("some requests were still under way: their outcomes are unknown");
    }
    for task in [socket, looking] {
        let _ = task.await;
    }
    let _ = integrating.await;
    outcomes.abort();
    let _ = std::fs::remove_file(config.admin_socket());
    Ok(())
}

async fn build(config: &Config) -> anyhow::Result<Running> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::new());
    let ring = KeyRing::open(&config.keys_dir())
        .context("could not read the deployment's keys: was it founded with `chancery init`?")?;
    let options = Options { clock: clock.clone(), on_fatal: end_process() };
    let store = Arc::new(SqliteStore::open(&config.database(), options)?);
    let sealer = Arc::new(Sealer::new(ring.sealing(), entropy.clone()));
    let journal = Journal::new(store.clone(), sealer);
    ensure!(pap::is_founded(&journal).await?, "the database was not founded: `chancery init`");

    let recovered = authority::recover(&journal, &clock, &entropy).await?;
    if recovered > 0 {
        tracing::warn!(recovered, "permits without an outcome were closed as unknown");
    }
    let limits =
        authority::Limits { decision_timeout: Duration::from_millis(config.timeouts.decision_ms) };
    let (authority, outcomes) = Authority::new(Parts {
        journal: journal.clone(),
        pip: Pip::open(store.clone()).await?,
        clock: clock.clone(),
        last_record: last_record(&journal).await?,
        entropy: entropy.clone(),
        limits,
    });
    let authority = Arc::new(authority);
    let files = sources::policy_files(&config.policy.path)?;
    let publisher = Arc::new(Publisher::new(authority.clone(), files));
    for warning in publisher.publish().await? {
        tracing::warn!("{warning}");
    }

    let tasks = TaskTracker::new();
    let keys = Arc::new(TokenKeys::new(ring.token.verifying(), &[]));
    let sources = Arc::new(Sources::default());
    let gateway = gateway(config, &authority, (&ring, keys.clone()), &sources, &tasks)?;
    let log = LogDirectory::new(config.log_dir());
    let administration =
        Administration::new(authority.clone(), publisher.clone(), sources.clone(), log.clone());
    let administration = Arc::new(administration);
    sources.connect(gateway.clone(), administration.clone());
    for (server, origin) in sources::origins(config)? {
        administration.note_origin(&server, &origin).await?;
    }
    let signer = Arc::new(LogSigner::new(config, &ring)?);
    let origin = signer.name().clone();
    let integrator = Integrator::open(store, log, signer, origin).await?;
    let tokens = TokenService::new(authority.clone(), config.issuer(), ring.token.clone(), keys);
    let status = Arc::new(Status::default());
    let tokens = Arc::new(tokens);
    Ok(Running {
        authority,
        publisher,
        gateway,
        tokens,
        administration,
        integrator,
        outcomes,
        clock,
        status,
        tasks,
    })
}

fn gateway(
    config: &Config,
    authority: &Arc<Authority>,
    (ring, keys): (&KeyRing, Arc<TokenKeys>),
    sources: &Arc<Sources>,
    tasks: &TaskTracker,
) -> anyhow::Result<Arc<Gateway>> {
    let (clock, entropy) = (authority.clock().clone(), authority.entropy().clone());
    let mut nonce = [0; 16];
    entropy.fill(&mut nonce);
    let issuer = config.issuer();
    let millis = Duration::from_millis;
    let parts = GatewayParts {
        authority: authority.clone(),
        tokens: Tokens::new(issuer.clone(), keys, clock.clone(), keys::base64url(&nonce)),
        assertions: Assertions { issuer, signer: ring.token.clone(), clock, entropy },
        routes: sources::routes(config)?,
        pins: sources.clone(),
        environment: environment(),
        limits: GatewayLimits {
            links: LinkLimits {
                sessions: config.limits.mcp_sessions as u64,
                processes: config.limits.stdio_processes,
                idle: millis(config.timeouts.idle_ms),
                greeting: millis(config.timeouts.upstream_ms.min(20_000)),
            },
            call: millis(config.timeouts.upstream_ms),
            body: config.limits.body_bytes,
        },
        tasks: tasks.clone(),
    };
    Ok(Arc::new(Gateway::new(parts).context("could not set up the way to upstreams")?))
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

async fn listen(address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("could not listen on `{address}`: is another process using the port?")
    })
}

async fn serve_http(listener: TcpListener, router: axum::Router, stop: CancellationToken) {
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "a listener ended");
    }
}

async fn integrate(mut integrator: Integrator, status: Arc<Status>, stop: CancellationToken) {
    loop {
        let stopping = stop.is_cancelled();
        match integrator.step().await {
            Ok(_) => status.log_stuck.store(false, Ordering::Relaxed),
            Err(error) => {
                status.log_stuck.store(true, Ordering::Relaxed);
                tracing::error!(%error, "the log was not integrated");
                if matches!(error, journal::IntegrateError::Lost) {
                    // Guessing which checkpoint is current could sign two histories.
                    std::process::abort();
                }
            }
        }
        if stopping {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(INTEGRATE_EVERY) => {}
            () = stop.cancelled() => {}
        }
    }
}

type Look = Box<dyn Fn() -> futures_box::Looked + Send>;

mod futures_box {
    pub(super) type Looked = std::pin::Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;
}

/// One look at the policy files: put in force if they changed and compile, else left as it was.
fn look(authority: Arc<Authority>, publisher: Arc<Publisher>, config: Config) -> Look {
    let seen = Arc::new(tokio::sync::Mutex::new(None::<BTreeMap<String, String>>));
    Box::new(move || {
        let (authority, publisher) = (authority.clone(), publisher.clone());
        let (path, seen) = (config.policy.path.clone(), seen.clone());
        let reload = config.policy.reload;
        Box::pin(async move {
            let now = authority.clock().now();
            let forgotten = authority.journal().store().forget_expired(now).await;
            forgotten.map_err(|error| error.to_string())?;
            if !reload {
                return Ok(());
            }
            look_at(&path, &publisher, &mut *seen.lock().await).await
        })
    })
}

async fn look_at(
    path: &Path,
    publisher: &Publisher,
    seen: &mut Option<BTreeMap<String, String>>,
) -> Result<(), String> {
    let files = sources::policy_files(path).map_err(|error| format!("{error:#}"))?;
    if seen.as_ref() == Some(&files) {
        return Ok(());
    }
    publisher.replace(files.clone()).await.map_err(|error| error.to_string())?;
    *seen = Some(files);
    Ok(())
}

async fn looking_until(look: Look, status: Arc<Status>, stop: CancellationToken) {
    let mut hangup = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => return tracing::error!(%error, "SIGHUP cannot be waited for"),
    };
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = hangup.recv() => {}
            () = stop.cancelled() => return,
        }
        let looked = look().await;
        let was_stale = status.policy_stale.swap(looked.is_err(), Ordering::Relaxed);
        if let (Err(error), false) = (&looked, was_stale) {
            tracing::error!(%error, "policy was not reloaded: the last good set stays in force");
        }
    }
}

async fn wait_for_signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
