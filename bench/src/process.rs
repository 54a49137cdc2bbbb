//! Servers under measurement: started on their core, stopped when they are no longer needed.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::machine::SERVER_CORE;

/// How long a server may take to start, or to do what is waited for.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server on the core that servers have to themselves. It ends with this value.
#[derive(Debug)]
pub(crate) struct Server(Child);

impl Server {
    /// Starts `program`, which says nothing when it is ready.
    pub(crate) fn start(program: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = on_core(program, arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| format!("could not start {command:?}"))?;
        Ok(Self(child))
    }

    /// Starts `program` and waits for a line that begins with `ready`.
    pub(crate) fn start_until(
        program: &Path,
        arguments: &[&str],
        ready: &str,
    ) -> anyhow::Result<Self> {
        let mut command = on_core(program, arguments);
        let child = command.stdout(Stdio::piped()).spawn();
        let mut server = Self(child.with_context(|| format!("could not start {command:?}"))?);
        let output = server.0.stdout.take().context("it is piped")?;
        for line in BufReader::new(output).lines() {
            if line?.starts_with(ready) {
                return Ok(server);
            }
        }
        bail!("{command:?} ended before it was ready")
    }

    /// Waits until it takes connections at `port`.
    pub(crate) fn listening(mut self, port: u16) -> anyhow::Result<Self> {
        wait_until("the server listens", || {
            if let Some(status) = self.0.try_wait()? {
                bail!("the server ended with {status}");
            }
            Ok(TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(()))
        })?;
        Ok(self)
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `taskset` replaces itself by the program, so the process is the program's.
fn on_core(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &SERVER_CORE.to_string()]).arg(program).args(arguments);
    command
}

/// Runs a command to its end; what it printed.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("could not run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {}", said.trim());
    Ok(String::from_utf8(output.stdout)?)
}

/// Waits until `condition` gives something.
pub(crate) fn wait_until<T>(
    what: &str,
    mut condition: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if let Some(found) = condition()? {
            return Ok(found);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("waited in vain until {what}")
}

/// A port that nobody listens on at the moment.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
