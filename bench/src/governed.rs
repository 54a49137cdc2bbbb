//! `governed-cpu`, `governed-64`, `idle-rss`: whole calls through the server as it is served.
//!
//! Every call carries a proof of its own, is decided on its arguments, recorded, forwarded, and its
//! outcome recorded; every answer is checked, the server behind counts what arrives, and the
//! published log must have grown by two records a call before the processor's time is read.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use keys::{KeyAlgorithm, Signer as _, SigningKey};

use crate::client::{self, Callers};
use crate::deployment::{AGENT, Deployment};
use crate::http::Connection;
use crate::load::{self, Requests};
use crate::machine::{self, SERVER_CORE};
use crate::peers::{self, Peer};
use crate::process::wait_until;
use crate::report::{Goal, Round, Row, short};
use crate::stats::median;
use crate::upstream::Upstream;

const ROUNDS: usize = 5;

/// How many calls one round makes: their proofs, all made before, are good for a minute.
const CALLS: usize = 12_000;

/// How many calls go before, so that nothing is measured cold.
pub(crate) const WARM: usize = 2_000;

/// Longer than the service lets records wait before it publishes them.
const PUBLISHED_EVERY: Duration = Duration::from_millis(1_200);

/// How many instances call.
const INSTANCES: usize = 8;

/// How long a server is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(5);

/// The programs that are measured.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) chancery: PathBuf,
    pub(crate) nginx: PathBuf,
    pub(crate) envoy: PathBuf,
    /// The folder of npm packages.
    pub(crate) npm: PathBuf,
}

/// A deployment before its server, with its callers.
pub(crate) struct Bed {
    pub(crate) upstream: Upstream,
    pub(crate) deployment: Deployment,
    pub(crate) callers: Callers,
}

/// What one round of calls came to.
pub(crate) struct Load {
    per_second: f64,
    cpu_us: f64,
}

impl Bed {
    pub(crate) fn open(dir: &Path, programs: &Programs) -> anyhow::Result<Self> {
        let upstream = Upstream::start()?;
        let deployment = Deployment::start(dir, &programs.chancery, upstream.port, "")?;
        let callers = Callers::open(&deployment, AGENT, INSTANCES)?;
        Ok(Self { upstream, deployment, callers })
    }

    /// Governed calls. The processor's time is read once all their records are published.
    pub(crate) fn governed(&mut self, callers: usize, calls: usize) -> anyhow::Result<Load> {
        let requests = self.callers.sign(calls)?;
        let (id, port) = (self.deployment.id()?, self.deployment.port);
        let before = published(self.deployment.observers)?;
        let load = load(&self.upstream, (id, port), callers, &requests, || {
            let wanted = before + 2 * calls as u64;
            wait_until("every record is published", || {
                Ok((published(self.deployment.observers)? >= wanted).then_some(()))
            })
        });
        load.context("governed calls")
    }

    /// The same calls through a plain proxy.
    fn plain(&self, peer: &Peer, callers: usize, requests: &Requests) -> anyhow::Result<Load> {
        let server = (peer.server.id(), peer.port);
        load(&self.upstream, server, callers, requests, || Ok(())).context("plain calls")
    }
}

/// Sends `requests` to the process and port of `server`; `settled` waits until it is done.
fn load(
    upstream: &Upstream,
    (process, port): (u32, u16),
    callers: usize,
    requests: &Requests,
    settled: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Load> {
    let (cpu, arrived) = (machine::cpu_time(process)?, upstream.calls());
    let took = load::run(port, callers, requests)?;
    settled()?;
    let cpu = machine::cpu_time(process)?.saturating_sub(cpu);
    let arrived = upstream.calls() - arrived;
    let calls = requests.len();
    ensure!(arrived == calls as u64, "{calls} calls were answered and {arrived} arrived");
    let calls = f64::from(u32::try_from(calls)?);
    let (per_second, cpu_us) = (calls / took.as_secs_f64(), cpu.as_secs_f64() * 1e6 / calls);
    Ok(Load { per_second, cpu_us })
}

/// Waits until every record is published.
pub(crate) fn settled(observers: u16) -> anyhow::Result<()> {
    let mut last = (0, Instant::now());
    wait_until("nothing more is published", || {
        let size = published(observers)?;
        if size != last.0 {
            last = (size, Instant::now());
        }
        Ok((last.1.elapsed() > PUBLISHED_EVERY).then_some(()))
    })
}

/// The size of the published log.
fn published(observers: u16) -> anyhow::Result<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connection = Connection::open(observers).await?;
        let request =
            format!("GET /log/checkpoint HTTP/1.1\r\nhost: 127.0.0.1:{observers}\r\n\r\n");
        let answer = connection.ask(request.as_bytes()).await?;
        let note = String::from_utf8_lossy(connection.body(&answer));
        let size = note.lines().nth(1).and_then(|size| size.parse().ok());
        size.with_context(|| format!("no checkpoint: {note}"))
    })
}

/// What one verification of the callers' proofs costs, in microseconds: the signature alone.
fn verification_us() -> anyhow::Result<f64> {
    const BATCH: u32 = 100;
    machine::pin(SERVER_CORE)?;
    let key = SigningKey::generate(KeyAlgorithm::Es256)?;
    let message = [0x2e; 420];
    let signature = key.sign(&message)?;
    let mut batches = Vec::new();
    for _ in 0..21 {
        let started = Instant::now();
        for _ in 0..BATCH {
            ensure!(key.verifying().verify(&message, &signature), "it is the key's own");
        }
        batches.push(started.elapsed().as_secs_f64() * 1e6 / f64::from(BATCH));
    }
    Ok(median(&batches))
}

/// The processor's time of a governed call, against a plain Envoy's and one verification.
pub(crate) fn processor(dir: &Path, programs: &Programs) -> anyhow::Result<Row> {
    const CALLERS: usize = 16;
    let mut bed = Bed::open(dir, programs)?;
    let envoy = peers::envoy(dir, &programs.envoy, bed.upstream.port)?;
    let plain = client::bare(envoy.port, CALLS);
    bed.governed(CALLERS, WARM)?;
    bed.plain(&envoy, CALLERS, &plain)?;
    let (mut rounds, mut envoys, mut verifications) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let verification = verification_us()?;
        let envoy = bed.plain(&envoy, CALLERS, &plain)?.cpu_us;
        let ours = bed.governed(CALLERS, CALLS)?.cpu_us;
        let ratio = ours / (envoy + verification);
        progress(&format!("{ours:.1} µs; Envoy {envoy:.1} µs, proof {verification:.1} µs"));
        rounds.push(Round { value: ours, ratio });
        envoys.push(envoy);
        verifications.push(verification);
    }
    let (envoy, proof) = (short(median(&envoys)), short(median(&verifications)));
    let against = format!("Envoy {envoy} µs + one ES256 verification {proof} µs");
    let goal = Goal { ratio_at_most: Some(1.0), ..Goal::default() };
    Ok(Row::new("governed-cpu", "µs of processor a call", rounds).against(against).wants(goal))
}

/// The rate of governed calls by 64 callers, against nginx's.
pub(crate) fn throughput(dir: &Path, programs: &Programs) -> anyhow::Result<Row> {
    const CALLERS: usize = 64;
    let mut bed = Bed::open(dir, programs)?;
    let nginx = peers::nginx(dir, &programs.nginx, bed.upstream.port)?;
    let plain = client::bare(nginx.port, CALLS);
    let straight = client::bare(bed.upstream.port, CALLS);
    bed.governed(CALLERS, WARM)?;
    bed.plain(&nginx, CALLERS, &plain)?;
    let (mut rounds, mut rates, mut direct) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let took = load::run(bed.upstream.port, CALLERS, &straight)?;
        let nginx = bed.plain(&nginx, CALLERS, &plain)?.per_second;
        let ours = bed.governed(CALLERS, CALLS)?.per_second;
        progress(&format!("{ours:.0} calls/s; nginx {nginx:.0} calls/s"));
        rounds.push(Round { value: ours, ratio: ours / nginx });
        rates.push(nginx);
        direct.push(f64::from(u32::try_from(CALLS)?) / took.as_secs_f64());
    }
    let against = format!(
        "nginx {} calls/s (the server behind alone {})",
        short(median(&rates)),
        short(median(&direct))
    );
    let goal = Goal { ratio_at_least: Some(0.25), ..Goal::default() };
    Ok(Row::new("governed-64", "calls/s", rounds).against(against).wants(goal))
}

/// The memory of a server that nobody asks anything.
pub(crate) fn memory(dir: &Path, programs: &Programs) -> anyhow::Result<Row> {
    const MOST: f64 = 60.0;
    let upstream = Upstream::start()?;
    let mut deployment = Deployment::start(dir, &programs.chancery, upstream.port, "")?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS.min(3) {
        deployment.restart()?;
        std::thread::sleep(IDLE);
        let value = machine::resident_mb(deployment.id()?)?;
        rounds.push(Round { value, ratio: value / MOST });
    }
    let goal = Goal { value_at_most: Some(MOST), ..Goal::default() };
    Ok(Row::new("idle-rss", "MB", rounds).against(format!("{MOST:.0} MB")).wants(goal))
}

/// The memory of calls under way of which nothing is heard any more. What as many calls leave that
/// have ended (rows in the database's cache, proofs that were used) is not theirs.
pub(crate) fn streams(dir: &Path, programs: &Programs) -> anyhow::Result<Row> {
    const STREAMS: usize = 1_000;
    const ENDED: usize = 4;
    const MOST: f64 = 40.0;
    let mut bed = Bed::open(dir, programs)?;
    bed.governed(16, WARM)?;
    let all = f64::from(u32::try_from(STREAMS)?);
    let kilobytes = |megabytes: f64| megabytes * 1e6 / 1_024.0 / all;
    let (mut rounds, mut ended) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        bed.deployment.restart()?;
        bed.callers = Callers::open(&bed.deployment, AGENT, INSTANCES)?;
        bed.governed(16, WARM)?;
        let id = bed.deployment.id()?;
        let warm = machine::resident_mb(id)?;
        // So many that what is kept and used again by chance is no part of it.
        bed.governed(16, ENDED * STREAMS)?;
        let left = (machine::resident_mb(id)? - warm) / f64::from(u32::try_from(ENDED)?);
        let requests = bed.callers.sign_silent(STREAMS, round)?;
        let before = machine::resident_mb(id)?;
        let port = bed.deployment.port;
        let value = load::on_load_core(async {
            let mut open = Vec::with_capacity(STREAMS);
            for request in requests.iter() {
                let mut connection = Connection::open(port).await?;
                connection.begin(request).await?;
                open.push(connection);
            }
            Ok(kilobytes(machine::resident_mb(id)? - before - left))
        })?;
        progress(&format!("{value:.1} KB a stream, an ended call left {:.1} KB", kilobytes(left)));
        rounds.push(Round { value, ratio: value / MOST });
        ended.push(kilobytes(left));
    }
    let goal = Goal { value_at_most: Some(MOST), ..Goal::default() };
    let left = short(median(&ended));
    let against = format!("{MOST:.0} KB, beside {left} KB that a call leaves which has ended");
    Ok(Row::new("idle-stream", "KB a stream", rounds).against(against).wants(goal))
}

pub(crate) fn progress(what: &str) {
    eprintln!("bench:   {what}");
}
