//! A deployment to be measured: founded, one server onboarded, one agent registered, served.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use serde_json::Value;

use crate::process::{Server, free_port, run};
use crate::upstream::{NAME, TOOL};

/// The agent that calls.
pub(crate) const AGENT: &str = "billing";

/// Another agent, which calls seldom.
pub(crate) const QUIET: &str = "audit";

/// A permit that looks at the arguments, and a forbid that does.
const POLICY: &str = r#"
@id("small-refunds")
permit (principal in Agent::"billing", action == Action::"payments/refund", resource)
when { context.purpose == "care" && context.input.amount <= 1000 && context.depth <= 3 };

@id("small-refunds-of-the-quiet")
permit (principal in Agent::"audit", action == Action::"payments/refund", resource)
when { context.purpose == "care" && context.input.amount <= 1000 && context.depth <= 3 };

@id("hands-on")
permit (principal in Agent::"billing", action == Action::"delegate", resource == Agent::"audit");

@id("not-to-held-accounts")
forbid (principal, action in Action::"tools/call", resource in Server::"payments")
when { context.input has account && context.input.account like "HELD-*" };
"#;

/// What a configuration says that reads policy from files.
const FILES: &str = "policy:\n  path: policies\n  allow_loose: true\n";

/// A deployment in a directory of its own.
pub(crate) struct Deployment {
    pub(crate) port: u16,
    pub(crate) observers: u16,
    dir: PathBuf,
    binary: PathBuf,
    server: Option<Server>,
}

impl Deployment {
    /// Founds one in `dir` before the server at `upstream`, with `policy` beside its own, and serves it.
    pub(crate) fn start(
        dir: &Path,
        binary: &Path,
        upstream: u16,
        policy: &str,
    ) -> anyhow::Result<Self> {
        let (port, observers) = (free_port()?, free_port()?);
        let (dir, binary) = (dir.to_owned(), binary.to_owned());
        let mut deployment = Self { port, observers, dir, binary, server: None };
        let home = deployment.path("home");
        let home = home.to_str().context("the directory's name is no text")?;
        // For development: it reads files, until they are released.
        let founders = ["--founder", "alice", "--founder", "bob", "--development"];
        let printed = deployment.command(&[&["init", home][..], &founders].concat())?;
        deployment.configure(upstream, policy)?;
        deployment.serve()?;
        for line in printed.lines() {
            let code = line.trim().strip_prefix("code ").and_then(|rest| rest.split_once(' '));
            let Some((founder, code)) = code else { continue };
            let key = deployment.key(founder);
            deployment.command(&["founder", "redeem", code, "--key", &key])?;
        }
        deployment.onboard()?;
        Ok(deployment)
    }

    fn configure(&self, upstream: u16, policy: &str) -> anyhow::Result<()> {
        let (port, observers) = (self.port, self.observers);
        let text = format!(
            "state_dir: state\nlisten:\n  agents: 127.0.0.1:{port}\n  admin: 127.0.0.1:{observers}\n\
             {FILES}directories:\n  agents: true\n\
             limits:\n  worker_threads: 1\n  requests_per_agent: 10000\n\
             servers:\n  {NAME}:\n    url: http://127.0.0.1:{upstream}/mcp\n"
        );
        std::fs::write(self.path("home/chancery.yaml"), text)?;
        Ok(std::fs::write(self.path("home/policies/bench.cedar"), [POLICY, policy].concat())?)
    }

    /// A directory with its policies and, beside them, `more`.
    pub(crate) fn policies_and(&self, more: &str) -> anyhow::Result<String> {
        let dir = self.path("tried");
        std::fs::create_dir_all(&dir)?;
        for file in std::fs::read_dir(self.path("home/policies"))? {
            let file = file?;
            if file.file_type()?.is_file() {
                std::fs::copy(file.path(), dir.join(file.file_name()))?;
            }
        }
        std::fs::write(dir.join("more.cedar"), more)?;
        self.text_path("tried")
    }

    /// Releases the policies that it read from files, and is served by releases from then on.
    pub(crate) fn release(&mut self) -> anyhow::Result<()> {
        let version = self.approved(str::to_owned)?;
        self.command(&["policy", "activate", &version])?;
        let configuration = self.path("home/chancery.yaml");
        let text = std::fs::read_to_string(&configuration)?;
        std::fs::write(configuration, text.replace(FILES, ""))?;
        self.restart()
    }

    /// What `change` makes of its own policies is the next release, published by one founder and approved by another;
    /// its version.
    pub(crate) fn approved(&self, change: impl Fn(&str) -> String) -> anyhow::Result<String> {
        let own = self.path("home/policies/bench.cedar");
        let text = change(&std::fs::read_to_string(&own)?);
        std::fs::write(own, text)?;
        let url = format!("http://127.0.0.1:{}", self.port);
        let signed = |founder: &str, asked: &[&str]| {
            let key = self.key(founder);
            self.command(&[asked, &["--as", founder, "--key", &key, "--url", &url]].concat())
        };
        let policies = self.text_path("home/policies")?;
        let published = signed("alice", &["policy", "publish", &policies])?;
        let published: Value = serde_json::from_str(&published)?;
        let version = published["version"].as_u64().context("it has no version")?.to_string();
        let content = published["content"].as_str().context("it has no content")?;
        signed("bob", &["policy", "approve", &version, "--digest", content])?;
        Ok(version)
    }

    fn onboard(&self) -> anyhow::Result<()> {
        let tool = format!("{NAME}/{TOOL}");
        let harm = format!("{TOOL}=moves-money");
        self.command(&["person", "add", "sam"])?;
        let purpose = ["purpose", "add", "care", "--owner", "alice", "--tool", &tool];
        self.command(&[&purpose[..], &["--harm", "moves-money"]].concat())?;
        for agent in [AGENT, QUIET] {
            self.register(agent, "sam")?;
        }
        self.command(&["server", "add", NAME, "--owner", "alice", "--harm", &harm])?;
        Ok(())
    }

    /// Registers `agent` with a key of its own, whose processes are this user's.
    pub(crate) fn register(&self, agent: &str, sponsor: &str) -> anyhow::Result<()> {
        let uid = std::fs::metadata(self.path("home"))?.uid().to_string();
        let key = self.key(agent);
        let registered =
            ["--sponsor", sponsor, "--owner", sponsor, "--purpose", "care", "--key", &key];
        let attested = ["--host-uid", &uid];
        self.command(&[&["agent", "add", agent][..], &registered, &attested].concat())?;
        Ok(())
    }

    fn serve(&mut self) -> anyhow::Result<()> {
        let configuration = self.path("home/chancery.yaml").display().to_string();
        let arguments = ["serve", "--config", &configuration];
        self.server = Some(Server::start_until(&self.binary, &arguments, "ready")?);
        Ok(())
    }

    /// Serves it by a new process.
    pub(crate) fn restart(&mut self) -> anyhow::Result<()> {
        self.server = None;
        self.serve()
    }

    /// The serving process.
    pub(crate) fn id(&self) -> anyhow::Result<u32> {
        Ok(self.server.as_ref().context("it is not served")?.id())
    }

    /// The socket at which it vouches for processes.
    pub(crate) fn host_socket(&self) -> PathBuf {
        self.path("home/state/host.sock")
    }

    /// The key file of an agent or founder.
    pub(crate) fn key(&self, name: &str) -> String {
        self.path(&format!("{name}.pem")).display().to_string()
    }

    /// The path of a file beside the deployment.
    pub(crate) fn text_path(&self, name: &str) -> anyhow::Result<String> {
        let path = self.path(name).into_os_string().into_string();
        path.map_err(|path| anyhow::anyhow!("{} is no text", path.display()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Runs one of the program's commands; what it printed.
    pub(crate) fn command(&self, arguments: &[&str]) -> anyhow::Result<String> {
        run(&mut self.asking(arguments))
    }

    /// One of the program's commands, to be run.
    pub(crate) fn asking(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).env("CHANCERY_SOCKET", self.path("home/state/admin.sock"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}
