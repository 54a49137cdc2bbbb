//! A copy of the deployment to be broken: the same binary, configuration and policy; its own state,
//! ports and tool server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full};
use keys::{KeyAlgorithm, SigningKey};
use model::Sha256Digest;
use pap::Command as Asked;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::canary::Canary;
use crate::config::{Config, Server};
use crate::shim::{Credentials, Gateway, Options};
use crate::socket;
use crate::system::SystemEntropy;

/// How long a scratch copy may take to be ready, or to do what is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked whether what is waited for is so.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The version of MCP that the drill's agent speaks.
const MCP_VERSION: &str = "2026-07-28";

/// What a mark contains that no call may have.
pub(super) const FORBIDDEN: &str = "forbidden";

/// Who answers for the agent that something is taken away from.
pub(super) const LEAVER: &str = "leaver";

/// The agent that something is taken away from.
pub(super) const LEAVING: &str = "leaving";

/// Who takes over what nobody answers for any longer.
const SUCCESSOR: &str = "successor";

/// The agent of a drill.
const AGENT: &str = "drill";

/// The file of the canary's policy.
const OWN: &str = "drill.cedar";

/// The policy of the canary: all that it does, but for one kind of mark; that there may be a directory, which says who
/// is there; and that whoever is named for that takes over.
pub(super) const POLICY: &str = r#"@id("drill-canary")
permit (principal, action in Action::"tools/call", resource in Server::"canary");

@id("drill-forbidden")
forbid (principal, action == Action::"canary/touch", resource)
when { context.input.mark like "*forbidden*" };

@id("drill-directory")
permit (principal, action == Action::"people/directory", resource);

@id("drill-people")
permit (principal, action == Action::"person/provision", resource);

@id("drill-take-over")
permit (principal is Person, action == Action::"agent/take-over", resource is Agent)
when { context.backup.contains(principal) };
"#;

/// A scratch copy that runs.
pub(super) struct Scratch {
    /// Its configuration.
    pub(super) config: Config,
    /// What its agent calls.
    pub(super) canary: Canary,
    /// Its agent, which has acted before.
    pub(super) agent: Gateway,
    dir: TempDir,
    process: Child,
    marks: AtomicU64,
    /// The key of who takes over.
    successor: SigningKey,
}

/// What became of one call.
pub(super) struct Tried {
    /// Whether the agent was told that it was done.
    pub(super) done: bool,
    /// How long the answer took.
    pub(super) took: Duration,
}

impl Scratch {
    /// Copies the deployment of `config`, and serves the copy; a call of its canary works.
    pub(super) async fn start(config: &Config) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir().context("could not make a temporary directory")?;
        let canary = Canary::start().await?;
        let config = copied(config, dir.path(), &canary.url).await?;
        let code = crate::founders::new_code(&SystemEntropy::new());
        let digest = Sha256Digest::of(code.as_bytes());
        let founders = vec![("drill".to_owned(), None), (SUCCESSOR.to_owned(), Some(digest))];
        crate::founding::found(&config, founders, true).await?;
        let process = serve(dir.path()).await?;
        let successor = SigningKey::generate(KeyAlgorithm::Es256)?;
        let redeem = Asked::FounderRedeem { code, key: successor.verifying().to_jwk() };
        socket::call(&config.admin_socket(), &redeem).await?;
        onboard(&config.admin_socket(), dir.path()).await?;
        let agent = agent(&config, (dir.path(), AGENT))?;
        let marks = AtomicU64::new(0);
        let scratch = Self { config, canary, agent, dir, process, marks, successor };
        let tried = scratch.touch("").await;
        ensure!(
            tried.done && scratch.canary.calls() == 1,
            "a call of the canary does not work before anything is broken: does a policy forbid it?"
        );
        Ok(scratch)
    }

    /// The process id.
    pub(super) fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// The file with the canary's policy.
    pub(super) fn policy(&self) -> PathBuf {
        self.dir.path().join("policies").join(OWN)
    }

    /// Its agent calls the canary, with a new mark that contains `word`.
    pub(super) async fn touch(&self, word: &str) -> Tried {
        let mark = self.mark(word);
        touch(&self.agent, &mark).await
    }

    /// A new instance of its agent, that nothing is known of, calls the canary.
    pub(super) async fn touch_as_stranger(&self) -> anyhow::Result<Tried> {
        let mark = self.mark("");
        let stranger = self.agent_of(AGENT)?;
        Ok(touch(&stranger, &mark).await)
    }

    /// A new instance of the agent `name`, that nothing is known of.
    pub(super) fn agent_of(&self, name: &str) -> anyhow::Result<Gateway> {
        agent(&self.config, (self.dir.path(), name))
    }

    /// `agent` calls the canary; whether it was done.
    pub(super) async fn touch_as(&self, agent: &Gateway) -> bool {
        touch(agent, &self.mark("")).await.done
    }

    /// `agent` calls what goes on until it is cut; whether it ended by itself.
    pub(super) async fn follow(&self, agent: &Gateway) -> bool {
        let ended = tokio::time::timeout(PATIENCE, call(agent, ("follow", &self.mark("")))).await;
        matches!(ended, Ok(Ok(true)))
    }

    /// Who is named for that takes over the agent `name`, by their own act.
    pub(super) async fn takes_over(&self, name: &str) -> anyhow::Result<()> {
        let (name, reason) = (name.to_owned(), "a drill".to_owned());
        let said = json!({ "do": "agent-take-over", "name": name, "reason": reason });
        let url = self.config.issuer();
        let word = Some(crate::words::made((SUCCESSOR, url.as_str()), &self.successor, said)?);
        let asked = Asked::AgentTakeOver { name, reason, word };
        socket::call(&self.config.admin_socket(), &asked).await.map(drop)
    }

    /// Waits until the canary was called `more` times, and a stream did as much.
    pub(super) async fn is_busy(&self, more: u64) -> anyhow::Result<()> {
        let (calls, started) = (self.canary.calls() + more, Instant::now());
        while self.canary.calls() < calls || self.canary.steps() < more {
            ensure!(started.elapsed() < PATIENCE, "the agents of the drill are not at work");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    fn mark(&self, word: &str) -> String {
        format!("{word}-{}", self.marks.fetch_add(1, Ordering::SeqCst))
    }

    /// Waits until its metrics have `line`.
    pub(super) async fn tells(&self, line: &str) -> anyhow::Result<()> {
        let url = format!("http://{}/metrics", self.config.listen.admin);
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            let request = Request::get(&url).body(Full::new(Bytes::new()))?;
            if let Ok(response) = self.agent.client().request(request).await
                && let Ok(body) = response.into_body().collect().await
                && String::from_utf8_lossy(&body.to_bytes()).contains(line)
            {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        bail!("the scratch copy did not tell `{line}`")
    }

    /// Whether a call is done again within a while.
    pub(super) async fn recovers(&self) -> bool {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if self.touch("").await.done {
                return true;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        false
    }

    /// Ends the process.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        self.process.kill().await.context("could not end the scratch copy")
    }

    /// Serves again, from the state as it is.
    pub(super) async fn serve_again(&mut self) -> anyhow::Result<()> {
        self.process = serve(self.dir.path()).await?;
        Ok(())
    }
}

/// `config` for a copy in `dir` whose one server is at `canary`.
async fn copied(config: &Config, dir: &Path, canary: &str) -> anyhow::Result<Config> {
    let policies = dir.join("policies");
    std::fs::create_dir(&policies)?;
    let set = match &config.policy.path {
        Some(path) => crate::policy_set::files(path)?,
        None => crate::releases::in_force(&config.admin_socket()).await?,
    };
    for (name, text) in set.policies.into_iter().chain(set.schema) {
        std::fs::write(policies.join(name), text)?;
    }
    std::fs::write(policies.join(OWN), POLICY)?;
    let mut copy = config.clone();
    copy.state_dir = dir.join("state");
    copy.policy.path = Some(policies);
    (copy.policy.allow_loose, copy.policy.reload, copy.policy.starter) = (true, true, false);
    [copy.listen.agents, copy.listen.admin] = free()?;
    copy.listen.host = None;
    (copy.public_url, copy.people_url) = (None, None);
    copy.log = crate::config::Log::default();
    // Nobody is asked to take over what is only a drill.
    copy.findings = crate::config::Findings::default();
    "error".clone_into(&mut copy.logging.level);
    let server = Server { url: Some(canary.to_owned()), ..Server::default() };
    copy.servers = BTreeMap::from([("canary".to_owned(), server)]);
    std::fs::write(dir.join("chancery.yaml"), serde_json::to_vec(&copy)?)?;
    Ok(copy)
}

/// Two loopback addresses that nobody listens at.
fn free() -> anyhow::Result<[SocketAddr; 2]> {
    let listen = || std::net::TcpListener::bind(("127.0.0.1", 0));
    // Both at once, so that they differ.
    let [agents, admin] = [listen()?, listen()?];
    Ok([agents.local_addr()?, admin.local_addr()?])
}

/// The file in `dir` with the key of the agent `name`.
fn key(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.pem"))
}

/// Starts the binary on what is in `dir`, and waits until it is ready.
async fn serve(dir: &Path) -> anyhow::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["serve", "--config"]).arg(dir.join("chancery.yaml"));
    // The environment would change the configuration as it does that of the deployment.
    let kept = ["PATH", "HOME", "LANG"];
    let environment = crate::system::environment().into_iter();
    command.env_clear().envs(environment.filter(|(name, _)| kept.contains(&name.as_str())));
    command.stdout(Stdio::piped()).kill_on_drop(true);
    let mut process = command.spawn().context("could not start the binary again")?;
    let output = process.stdout.take().context("no output")?;
    let mut lines = BufReader::new(output).lines();
    let ready = async {
        while let Some(line) = lines.next_line().await? {
            if line.starts_with("ready") {
                return Ok(());
            }
        }
        bail!("it ended before it was ready")
    };
    tokio::time::timeout(PATIENCE, ready).await.context("it did not get ready in time")??;
    Ok(process)
}

async fn onboard(socket: &Path, dir: &Path) -> anyhow::Result<()> {
    let commands = json!([
        { "do": "person-add", "id": LEAVER, "groups": [] },
        { "do": "purpose-add", "id": "drill", "owner": "drill", "tools": ["canary/*"],
          "harm": ["changes-production"], "max_calls": null, "description": "" },
        of_agent(dir, AGENT, "drill")?,
        of_agent(dir, LEAVING, LEAVER)?,
        { "do": "server-add", "name": "canary",
          "said": { "owner": "drill", "harm": ["*=changes-production"] } },
    ]);
    for command in commands.as_array().into_iter().flatten() {
        let asked: Asked = serde_json::from_value(command.clone())?;
        socket::call(socket, &asked).await?;
    }
    Ok(())
}

/// What registers the agent `name` with a new key, for which `sponsor` answers.
fn of_agent(dir: &Path, name: &str, sponsor: &str) -> anyhow::Result<Value> {
    let made = SigningKey::generate(KeyAlgorithm::Es256)?;
    keys::write_private(&key(dir, name), made.to_pem()?.as_bytes())?;
    Ok(json!({
        "do": "agent-add", "name": name, "sponsor": sponsor, "purpose": "drill",
        "business_owner": sponsor, "technical_owner": sponsor, "key": made.verifying().to_jwk(),
        "host": { "uid": nix::unistd::geteuid().as_raw() }, "backups": [SUCCESSOR],
    }))
}

/// A new instance of the agent `name`.
fn agent(config: &Config, (dir, name): (&Path, &str)) -> anyhow::Result<Gateway> {
    let options = Options {
        server: "canary".to_owned(),
        agent: name.to_owned(),
        key: Some(key(dir, name)),
        is_device: false,
        platform: None,
        url: config.issuer(),
        host: config.host_socket(),
        initiation: None,
        listen: None,
    };
    let pem = std::fs::read_to_string(key(dir, name))?;
    let credentials = Credentials::own(&options, &pem)?;
    Gateway::new(&options.url, &options.server, credentials)
}

/// Calls the canary; an answer that does not come is none.
async fn touch(agent: &Gateway, mark: &str) -> Tried {
    let started = Instant::now();
    let answered = tokio::time::timeout(PATIENCE, call(agent, ("touch", mark))).await;
    let done = matches!(answered, Ok(Ok(true)));
    Tried { done, took: started.elapsed() }
}

/// Calls a tool of the canary; whether it was done, when the answer has ended.
async fn call(agent: &Gateway, (tool, mark): (&str, &str)) -> anyhow::Result<bool> {
    let mut headers = HeaderMap::new();
    for (name, value) in
        [("mcp-protocol-version", MCP_VERSION), ("mcp-method", "tools/call"), ("mcp-name", tool)]
    {
        headers.insert(name, HeaderValue::from_str(value)?);
    }
    let meta = json!({
        "progressToken": 1,
        "io.modelcontextprotocol/protocolVersion": MCP_VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({ "name": tool, "arguments": { "mark": mark }, "_meta": meta });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let response = agent.send(Method::POST, &headers, Bytes::from(body.to_string())).await?;
    let bytes = response.into_body().collect().await?.to_bytes();
    let text = String::from_utf8_lossy(&bytes);
    // The answer is the last message of a stream.
    let last = text.lines().rev().find_map(|line| line.strip_prefix("data:"));
    let answer: Value = serde_json::from_str(last.unwrap_or(&text))?;
    Ok(answer.get("result").is_some_and(|result| result["isError"] != true))
}
