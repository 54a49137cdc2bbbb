//! The deployment of the demo: its directory, its configuration, the service, and the commands that
//! a person would type.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Resource, Rlimit, Signal};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::Instant;

use crate::process::{self, Process};
use crate::provider::Provider;

/// What the demo permits.
const POLICY: &str = include_str!("demo.cedar");

/// Within how many milliseconds every decision is answered: longer than a busy machine takes for those of twenty
/// agents at once.
pub(crate) const DECISION_MS: u64 = 5_000;

/// How long to wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long nothing may be published before nothing is on its way: longer than the service waits
/// between two checkpoints.
const QUIET: Duration = Duration::from_millis(700);

/// How long to wait before looking again.
const LOOK_AGAIN: Duration = Duration::from_millis(40);

/// A deployment in a directory of its own.
#[derive(Debug)]
pub(crate) struct Deployment {
    binary: PathBuf,
    dir: PathBuf,
    /// The port for agents.
    agents: u16,
    /// The port for observers.
    observers: u16,
    service: Option<Process>,
}

impl Deployment {
    /// A deployment to be in `dir`, of the program `binary`.
    pub(crate) fn new(binary: &Path, dir: &Path) -> anyhow::Result<Self> {
        let [agents, observers] = free_ports()?;
        let (binary, dir) = (binary.to_owned(), dir.to_owned());
        Ok(Self { binary, dir, agents, observers, service: None })
    }

    /// Writes policy and configuration with these servers and this provider, at which people log in,
    /// and gives the configuration's path.
    pub(crate) fn configure(
        &self,
        servers: &[(&str, String)],
        provider: &Provider,
    ) -> anyhow::Result<PathBuf> {
        let key = self.path("login.pem");
        keys::write_private(&key, provider.client_key.to_pem()?.as_bytes())?;
        std::fs::create_dir_all(self.path("policies"))?;
        std::fs::write(self.path("policies/demo.cedar"), POLICY)?;
        let servers = servers.iter().map(|(name, url)| ((*name).to_owned(), json!({ "url": url })));
        let servers: serde_json::Map<_, _> = servers.collect();
        let configuration = json!({
            "state_dir": "state",
            "listen": { "agents": loopback(self.agents), "admin": loopback(self.observers) },
            "timeouts": { "decision_ms": DECISION_MS },
            "policy": { "path": "policies", "allow_loose": true },
            "servers": servers,
            "login": provider.configuration("login.pem"),
        });
        let path = self.path("chancery.yaml");
        // JSON is YAML.
        std::fs::write(&path, serde_json::to_string_pretty(&configuration)?)?;
        Ok(path)
    }

    /// Starts the service and waits until it is ready.
    pub(crate) async fn serve(&mut self) -> anyhow::Result<()> {
        let mut command = process::command(&self.binary);
        command.arg("serve").arg("--config").arg(self.path("chancery.yaml"));
        let ready = |line: &str| line.starts_with("ready").then_some(());
        let (process, ()) = Process::start(command, &self.path("serve.log"), ready).await?;
        self.service = Some(process);
        Ok(())
    }

    /// A path in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The base URL for agents.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", loopback(self.agents))
    }

    /// The base URL for observers.
    pub(crate) fn observers_url(&self) -> String {
        format!("http://{}", loopback(self.observers))
    }

    /// The administrator's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path("state/admin.sock")
    }

    /// The socket at which the service vouches for processes.
    pub(crate) fn host_socket(&self) -> PathBuf {
        self.path("state/host.sock")
    }

    /// The key file of `agent`.
    pub(crate) fn agent_key(&self, agent: &str) -> PathBuf {
        self.path(&format!("{agent}.pem"))
    }

    /// A command of the program, to be run against this deployment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.told_where(process::command(&self.binary), arguments)
    }

    /// The same, started by a client process of its own: another client is another instance.
    pub(crate) fn client(&self, arguments: &[&str]) -> Command {
        let mut shell = process::command(Path::new("sh"));
        // Because more follows, the shell stays.
        shell.args(["-c", r#""$0" "$@"; exit $?"#]).arg(&self.binary);
        self.told_where(shell, arguments)
    }

    fn told_where(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.args(arguments).env("CHANCERY_SOCKET", self.socket());
        command.env("CHANCERY_HOST_SOCKET", self.host_socket());
        command
    }

    /// Types a command, which must succeed, and gives what it printed.
    pub(crate) async fn typed(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.command(arguments).output().await?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!("`chancery {}` failed: {}", arguments.join(" "), said.trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Types a command that prints JSON.
    pub(crate) async fn typed_json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let printed = self.typed(arguments).await?;
        serde_json::from_str(&printed).with_context(|| format!("not JSON: `{printed}`"))
    }

    /// The records of the log, oldest first.
    pub(crate) async fn records(&self) -> anyhow::Result<Vec<Value>> {
        let printed = self.typed(&["log", "export"]).await?;
        let records = printed.lines().map(serde_json::from_str).collect::<Result<_, _>>();
        records.context("a record is not JSON")
    }

    /// The size of the log that is published.
    pub(crate) fn published(&self) -> u64 {
        let checkpoint = std::fs::read_to_string(self.path("state/log/checkpoint"));
        let checkpoint = checkpoint.unwrap_or_default();
        checkpoint.lines().nth(1).and_then(|size| size.parse().ok()).unwrap_or(0)
    }

    /// Waits until everything that is in the log now is published, and nothing more is on its way.
    pub(crate) async fn publish(&self) -> anyhow::Result<()> {
        let mut size = self.records().await?.len() as u64;
        let published = async || Ok(Some(self.published()).filter(|found| *found >= size));
        let mut found = until("the log is published", published).await?;
        while found != size {
            size = found;
            tokio::time::sleep(QUIET).await;
            found = self.published();
        }
        Ok(())
    }

    /// The service's process id.
    pub(crate) fn service_id(&self) -> anyhow::Result<Pid> {
        let id = self.service.as_ref().and_then(Process::id);
        id.and_then(Pid::from_raw).context("the service does not run")
    }

    /// Limits how large the service's files may grow, in bytes; `None` lifts the limit.
    pub(crate) fn limit_files(&self, most: Option<u64>) -> anyhow::Result<()> {
        // The service has the limits that we have: only the soft one is touched.
        let maximum = rustix::process::getrlimit(Resource::Fsize).maximum;
        let limit = Rlimit { current: most.or(maximum), maximum };
        let set = rustix::process::prlimit(Some(self.service_id()?), Resource::Fsize, limit);
        set.map(drop).context("could not limit the service's files")
    }

    /// Kills the service with SIGKILL, at once.
    pub(crate) fn strike(&self) -> anyhow::Result<()> {
        rustix::process::kill_process(self.service_id()?, Signal::KILL)
            .context("could not kill the service")
    }

    /// Ends the service, if it runs, and waits until it is gone.
    pub(crate) async fn end(&mut self) -> anyhow::Result<()> {
        match self.service.take() {
            Some(mut service) => service.kill().await,
            None => Ok(()),
        }
    }
}

/// Waits until `condition` gives something.
pub(crate) async fn until<T>(
    what: &str,
    condition: impl AsyncFn() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = condition().await? {
            return Ok(found);
        }
        if started.elapsed() > PATIENCE {
            bail!("waited in vain until {what}");
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn loopback(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// Two ports that nobody listens on at the moment.
fn free_ports() -> anyhow::Result<[u16; 2]> {
    let first = TcpListener::bind("127.0.0.1:0").context("loopback has no free port")?;
    let second = TcpListener::bind("127.0.0.1:0").context("loopback has no free port")?;
    Ok([first.local_addr()?.port(), second.local_addr()?.port()])
}
