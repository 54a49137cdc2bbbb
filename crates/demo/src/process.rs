//! Processes of the demo: killed when it ends, however it ends.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// How long a process may take until it says that it is ready.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// What of our environment the demo's processes see: nothing that could configure them.
const PASSED_ON: [&str; 4] = ["PATH", "HOME", "LANG", "TMPDIR"];

/// A process of the demo.
#[derive(Debug)]
pub(crate) struct Process(Child);

/// A command of `binary` with an environment in which nothing is configured.
pub(crate) fn command(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    command.env_clear().kill_on_drop(true).stdin(Stdio::null());
    let passed = PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    command.envs(passed);
    command
}

impl Process {
    /// Starts `command` and gives what `wanted` takes from the first line of its output that it
    /// takes. What the process says is kept in `log`: it goes through us, so that a limit on its
    /// files does not concern its own log.
    pub(crate) async fn start<T>(
        mut command: Command,
        log: &Path,
        wanted: impl Fn(&str) -> Option<T>,
    ) -> anyhow::Result<(Self, T)> {
        // The other end of its input closes when we are gone, whatever ended us.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("could not start {command:?}"))?;
        let output = BufReader::new(child.stdout.take().context("its output is piped")?);
        let mut errors = child.stderr.take().context("its errors are piped")?;
        let file = File::options().create(true).append(true).open(log).await;
        let file = file.with_context(|| format!("could not write `{}`", log.display()))?;
        let mut errors_log = file.try_clone().await?;
        tokio::spawn(async move { tokio::io::copy(&mut errors, &mut errors_log).await });
        let ready = tokio::time::timeout(READY_WITHIN, ready(output, file, wanted)).await;
        let ready = ready.context("it did not get ready in time").and_then(|ready| ready);
        let ready = ready.with_context(|| format!("{command:?}, see `{}`", log.display()))?;
        Ok((Self(child), ready))
    }

    /// The process id, as long as it runs.
    pub(crate) fn id(&self) -> Option<i32> {
        self.0.id().and_then(|id| i32::try_from(id).ok())
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        self.0.kill().await.context("could not kill the process")
    }
}

async fn ready<T>(
    mut output: BufReader<ChildStdout>,
    mut log: File,
    wanted: impl Fn(&str) -> Option<T>,
) -> anyhow::Result<T> {
    let mut line = String::new();
    while output.read_line(&mut line).await? > 0 {
        log.write_all(line.as_bytes()).await?;
        if let Some(found) = wanted(line.trim_end()) {
            tokio::spawn(async move { tokio::io::copy_buf(&mut output, &mut log).await });
            return Ok(found);
        }
        line.clear();
    }
    bail!("it ended before it was ready")
}
