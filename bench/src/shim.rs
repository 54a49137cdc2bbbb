//! `shim-added`: what a call takes longer if the client makes it through `chancery mcp`.
//!
//! The same call goes by turns through the shim and straight to the gateway, by a client that makes
//! the proof for it itself: that is part of the call, as without a shim somebody has to make it.
//! Shim, holder of the key and client are on one core together, as they are on one desk.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::Instant;

use crate::client::{self, Callers};
use crate::deployment::{AGENT, Deployment};
use crate::governed::{Bed, Programs, WARM, progress};
use crate::http::Connection;
use crate::load;
use crate::open_loop::percentile;
use crate::report::{Goal, Round, Row, short};
use crate::stats::median;
use crate::upstream::NAME;

const ROUNDS: usize = 5;

/// How many calls one round makes each way.
const CALLS: usize = 1_000;

/// How many calls each way go before.
const WARM_EACH: usize = 200;

/// A running shim with a session of its own.
struct Shim {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    answer: String,
    _process: Child,
}

impl Shim {
    async fn start(
        dir: &Path,
        programs: &Programs,
        deployment: &Deployment,
    ) -> anyhow::Result<Self> {
        let (key, host) = (deployment.key(AGENT), deployment.host_socket());
        let mut command = Command::new(&programs.chancery);
        command.args(["mcp", NAME, "--agent", AGENT, "--key", &key]);
        command.args(["--url", &format!("http://127.0.0.1:{}", deployment.port)]);
        // Where it meets the holder of the key.
        command.arg("--host-socket").arg(host).env("XDG_RUNTIME_DIR", dir);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().context("could not start the shim")?;
        let pipes = process.stdin.take().zip(process.stdout.take());
        let (input, output) = pipes.context("they are piped")?;
        let output = BufReader::new(output);
        let mut shim = Self { input, output, answer: String::new(), _process: process };
        let said = shim.ask(&client::initialize().to_string()).await?;
        ensure!(said.contains("protocolVersion"), "no session was begun: {said}");
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        shim.tell(&initialized.to_string()).await?;
        Ok(shim)
    }

    async fn tell(&mut self, message: &str) -> anyhow::Result<()> {
        Ok(self.input.write_all(format!("{message}\n").as_bytes()).await?)
    }

    /// Sends one message and reads one.
    async fn ask(&mut self, message: &str) -> anyhow::Result<&str> {
        self.tell(message).await?;
        self.answer.clear();
        ensure!(self.output.read_line(&mut self.answer).await? > 0, "the shim has ended");
        Ok(self.answer.trim_end())
    }
}

/// How long call `id` takes through the shim, in milliseconds.
async fn through(shim: &mut Shim, id: usize) -> anyhow::Result<f64> {
    let call = client::call(id);
    let began = Instant::now();
    let said = shim.ask(&call).await?;
    let took = began.elapsed().as_secs_f64() * 1e3;
    ensure!(load::is_right(said.as_bytes(), id), "call {id} was answered: {said}");
    Ok(took)
}

/// How long it takes straight to the gateway, its proof included.
async fn straight(
    callers: &Callers,
    connection: &mut Connection,
    id: usize,
) -> anyhow::Result<f64> {
    let began = Instant::now();
    let request = callers.signed(id)?;
    let answer = connection.ask(&request).await?;
    let took = began.elapsed().as_secs_f64() * 1e3;
    load::check(connection, &answer, id)?;
    Ok(took)
}

/// What a call through the shim takes longer than the same call straight to the gateway.
pub(crate) fn added(dir: &Path, programs: &Programs) -> anyhow::Result<Row> {
    const MOST: f64 = 0.3;
    let mut bed = Bed::open(dir, programs)?;
    bed.governed(16, WARM)?;
    let (port, before) = (bed.deployment.port, bed.upstream.calls());
    let rounds = load::on_load_core(async {
        let mut shim = Shim::start(dir, programs, &bed.deployment).await?;
        let mut connection = Connection::open(port).await?;
        let mut rounds = Vec::new();
        for round in 0..=ROUNDS {
            let calls = if round == 0 { WARM_EACH } else { CALLS };
            let (mut shims, mut directs) = (Vec::new(), Vec::new());
            for id in 0..calls {
                shims.push(through(&mut shim, id).await?);
                directs.push(straight(&bed.callers, &mut connection, id).await?);
            }
            for taken in [&mut shims, &mut directs] {
                taken.sort_unstable_by(f64::total_cmp);
            }
            rounds.push((percentile(&shims, 50), percentile(&directs, 50)));
        }
        Ok(rounds.split_off(1))
    })?;
    let (arrived, made) = (bed.upstream.calls() - before, 2 * (WARM_EACH + ROUNDS * CALLS));
    ensure!(arrived == made as u64, "{made} calls were answered and {arrived} arrived");
    let of = |get: fn(&(f64, f64)) -> f64| median(&rounds.iter().map(get).collect::<Vec<_>>());
    let against =
        format!("{} ms through it, {} ms straight", short(of(|it| it.0)), short(of(|it| it.1)));
    let rounds = rounds.into_iter().map(|(shim, direct)| {
        let value = shim - direct;
        progress(&format!("{shim:.2} ms through the shim, {direct:.2} ms straight"));
        Round { value, ratio: value / MOST }
    });
    let goal = Goal { value_at_most: Some(MOST), ..Goal::default() };
    Ok(Row::new("shim-added", "ms at p50", rounds.collect()).against(against).wants(goal))
}
