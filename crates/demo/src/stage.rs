//! What all steps share: the deployment, the tool servers, the relay, and the agents.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use model::Timestamp;
use serde_json::{Value, json};

use crate::accounts::{Effect, effects_file};
use crate::agent::{Agent, Answer, Speaks};
use crate::deployment::{Deployment, until};
use crate::instance::now;
use crate::process::{self, Process};
use crate::provider::{Provider, SUBJECT};
use crate::relay::Relay;
use crate::story::say;
use crate::tools::desk::steps_file;

/// The agent.
pub(crate) const AGENT: &str = "care";

/// An agent that works for the first, and hands work on itself.
pub(crate) const TEAM: &str = "team";

/// An agent that works for either.
pub(crate) const WORKER: &str = "worker";

/// An agent that works on behalf of people who consent.
pub(crate) const ERRAND: &str = "errand";

/// A person on whose behalf agents work.
pub(crate) const PERSON: &str = "carla";

/// How long the key of the directory counts.
const DIRECTORY_LIFETIME_S: i64 = 200 * 86_400;

/// The person who answers for the agent.
pub(crate) const SPONSOR: &str = "sam";

/// The person who answers for the tools.
const OWNER: &str = "olga";

/// What the agent is for.
const PURPOSE: &str = "customer-care";

/// Each tool server, with what its tools can do.
const SERVERS: [(&str, &[&str]); 3] = [
    ("payments", &["*=moves-money"]),
    ("crm", &["lookup=reads-data", "export=exposes-data"]),
    ("tickets", &["*=changes-production"]),
];

/// A tool server that runs.
#[derive(Debug)]
struct ToolServer {
    process: Process,
    /// The URL at which it listens itself.
    url: String,
}

/// Everything that runs.
pub(crate) struct Stage {
    binary: PathBuf,
    dir: PathBuf,
    pub(crate) deployment: Deployment,
    /// Stands between the gateway and `payments`.
    relay: Option<Relay>,
    servers: BTreeMap<&'static str, ToolServer>,
    agents: BTreeMap<&'static str, Agent>,
    /// The decision whose chain is shown at the end.
    pub(crate) remembered: Option<String>,
}

impl Stage {
    /// An empty stage in `dir`.
    pub(crate) fn new(binary: &Path, dir: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            binary: binary.to_owned(),
            dir: dir.to_owned(),
            deployment: Deployment::new(binary, dir)?,
            relay: None,
            servers: BTreeMap::new(),
            agents: BTreeMap::new(),
            remembered: None,
        })
    }

    /// Starts the tool servers, founds the deployment, serves it and registers who is who.
    pub(crate) async fn set_up(
        &mut self,
        found: impl AsyncFn(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let urls = self.start_servers().await?;
        say("three tool servers run: payments (behind a relay of the demo's), crm, tickets");
        let provider = Provider::start(&self.deployment.observers_url()).await?;
        let configuration = self.deployment.configure(&urls, &provider)?;
        found(&configuration).await.context("could not found the deployment")?;
        self.deployment.serve().await?;
        say("a development deployment is founded, with one founder; `chancery serve` runs");
        self.register().await?;
        self.directory(&provider.issuer).await?;
        say(&format!("agent `{AGENT}` is registered: {SPONSOR} answers for it, {PURPOSE} is why"));
        for (server, harm) in SERVERS {
            self.onboard(server, harm).await?;
        }
        say("the three servers are onboarded: each refuses whoever does not come from Chancery");
        // What an auditor takes along: the log must extend it at the end.
        self.deployment.publish().await?;
        let checkpoint = self.deployment.path("state/log/checkpoint");
        std::fs::copy(checkpoint, self.early_checkpoint())?;
        Ok(())
    }

    async fn start_servers(&mut self) -> anyhow::Result<Vec<(&'static str, String)>> {
        std::fs::create_dir_all(self.tools_dir())?;
        let mut relay = Relay::bind().await?;
        let mut urls = Vec::new();
        for (name, _) in SERVERS {
            let relayed = format!("http://{}/mcp", relay.address);
            let audience = (name == "payments").then_some(relayed);
            let server = self.start_server(name, audience.as_deref()).await?;
            if audience.is_some() {
                relay.start(address_of(&server.url)?);
            }
            urls.push((name, audience.unwrap_or_else(|| server.url.clone())));
            self.servers.insert(name, server);
        }
        self.relay = Some(relay);
        Ok(urls)
    }

    async fn start_server(&self, name: &str, audience: Option<&str>) -> anyhow::Result<ToolServer> {
        let mut command = process::command(&self.binary);
        command.args(["demo-server", name, "--issuer", &self.deployment.url(), "--dir"]);
        command.arg(self.tools_dir());
        if let Some(audience) = audience {
            command.args(["--audience", audience]);
        }
        let log = self.dir.join(format!("{name}.log"));
        let listening = |line: &str| line.strip_prefix("listening ").map(str::to_owned);
        let (process, url) = Process::start(command, &log, listening).await?;
        Ok(ToolServer { process, url })
    }

    async fn register(&self) -> anyhow::Result<()> {
        let deployment = &self.deployment;
        for person in [OWNER, SPONSOR] {
            deployment.typed(&["person", "add", person]).await?;
        }
        let mut purpose = vec!["purpose", "add", PURPOSE, "--owner", OWNER];
        for tools in ["payments/*", "crm/*", "tickets/*"] {
            purpose.extend(["--tool", tools]);
        }
        for harm in ["moves-money", "changes-production"] {
            purpose.extend(["--harm", harm]);
        }
        deployment.typed(&purpose).await?;
        self.agent_is((AGENT, SPONSOR), &[]).await?;
        // These work for others only.
        for agent in [TEAM, WORKER, ERRAND] {
            self.agent_is((agent, SPONSOR), &["--on-behalf-only"]).await?;
        }
        Ok(())
    }

    /// Puts a signed list in force that says who logs in at the provider `issuer`.
    async fn directory(&self, issuer: &str) -> anyhow::Result<()> {
        let deployment = &self.deployment;
        let files = ["hr.pem", "hr.jwk", "people.json", "people.jwt"];
        let paths = files.map(|name| deployment.path(name).display().to_string());
        let [key, public, list, signed] = paths.each_ref().map(String::as_str);
        std::fs::write(public, deployment.typed(&["people", "key", key]).await?)?;
        let expires = Timestamp::from_seconds(now() + DIRECTORY_LIFETIME_S).to_string();
        let expires = expires.get(..10).unwrap_or_default();
        let add = ["people", "source", "add", "hr", "--key", public, "--expires", expires];
        deployment.typed(&add).await?;
        let logins = json!([{ "issuer": issuer, "subject": SUBJECT }]);
        let people = json!([{ "id": PERSON, "active": true, "logins": logins }]);
        std::fs::write(list, json!({ "version": 1, "people": people }).to_string())?;
        let url = deployment.url();
        let sign = ["people", "sign", list, "--source", "hr", "--key", key, "--url", &url];
        std::fs::write(signed, deployment.typed(&sign).await?)?;
        deployment.typed(&["people", "apply", signed]).await?;
        say(&format!("the directory says that {PERSON} is `{SUBJECT}` at her OpenID provider"));
        Ok(())
    }

    /// Registers the agent `name`, for which `sponsor` answers.
    pub(crate) async fn agent_is(
        &self,
        (name, sponsor): (&str, &str),
        more: &[&str],
    ) -> anyhow::Result<()> {
        let key = self.deployment.agent_key(name);
        let key = key.to_str().context("the temporary directory has no plain name")?;
        let agent = ["agent", "add", name, "--sponsor", sponsor, "--purpose", PURPOSE];
        let uid = own_uid();
        let host = ["--owner", sponsor, "--key", key, "--host-uid", &uid];
        self.deployment.typed(&[&agent[..], &host, more].concat()).await.map(drop)
    }

    async fn onboard(&self, server: &str, harm: &[&str]) -> anyhow::Result<()> {
        let mut add = vec!["server", "add", server, "--owner", OWNER];
        for class in harm {
            add.extend(["--harm", class]);
        }
        let told = self.deployment.typed_json(&add).await?;
        let enforcement = told["server"]["enforcement"].as_str().unwrap_or_default();
        ensure!(enforcement == "mandatory", "`{server}` is {enforcement}, not mandatory");
        Ok(())
    }

    /// The relay.
    pub(crate) fn relay(&self) -> anyhow::Result<&Relay> {
        self.relay.as_ref().context("there is no relay")
    }

    /// The URL at which the server `name` itself listens: the way around the gateway.
    pub(crate) fn direct_url(&self, name: &str) -> anyhow::Result<&str> {
        let server = self.servers.get(name).context("there is no such server")?;
        Ok(&server.url)
    }

    /// The agent that reaches `server`, started if need be.
    pub(crate) async fn agent(&mut self, server: &'static str) -> anyhow::Result<&Agent> {
        if !self.agents.contains_key(server) {
            // Both protocols are shown: sessions for payments, 2026-07-28 for the others.
            let speaks = if server == "payments" { Speaks::Sessions } else { Speaks::Stateless };
            let agent = Agent::start(&self.deployment, (AGENT, server), speaks).await?;
            self.agents.insert(server, agent);
        }
        self.known_agent(server)
    }

    /// The agent that reaches `server`, which runs already.
    pub(crate) fn known_agent(&self, server: &str) -> anyhow::Result<&Agent> {
        self.agents.get(server).context("the agent does not run")
    }

    /// Ends the agent that reaches `server`: the next one is a new instance.
    pub(crate) fn dismiss(&mut self, server: &str) {
        self.agents.remove(server);
    }

    /// Ends all agents.
    pub(crate) fn dismiss_all(&mut self) {
        self.agents.clear();
    }

    /// Lets the agent call a tool that must do what is asked, and gives the decision behind it.
    pub(crate) async fn does(
        &mut self,
        (server, tool): (&'static str, &str),
        arguments: &Value,
    ) -> anyhow::Result<String> {
        let before = self.effects()?.len();
        let answer = self.agent(server).await?.call(tool, arguments).await?;
        ensure!(!answer.is_error, "the call was not done: {}", answer.text);
        let effect = self.one_more(before)?;
        ensure!(effect.arguments == *arguments, "the tool received {}", effect.arguments);
        say(&format!("{tool} {arguments} → {}", answer.text));
        Ok(effect.decision)
    }

    /// Lets the agent call a tool, which must be refused with `code` without reaching the tool.
    pub(crate) async fn is_refused(
        &mut self,
        (server, tool): (&'static str, &str),
        arguments: &Value,
        code: &str,
    ) -> anyhow::Result<Answer> {
        let before = self.effects()?.len();
        let answer = self.agent(server).await?.call(tool, arguments).await?;
        say(&format!("{tool} {arguments} → {} ({})", answer.text, answer.code()));
        ensure!(answer.is_error && answer.code() == code, "expected the refusal `{code}`");
        self.none_more(before)?;
        Ok(answer)
    }

    /// What reached the tools so far, as they wrote it down, in time's order.
    pub(crate) fn effects(&self) -> anyhow::Result<Vec<Effect>> {
        let mut effects: Vec<Effect> = Vec::new();
        for (name, _) in SERVERS {
            effects.extend(written(&effects_file(&self.tools_dir(), name))?);
        }
        effects.sort_by_key(|effect| effect.time);
        Ok(effects)
    }

    /// What `server` did while calls went on, as it wrote it down.
    pub(crate) fn steps(&self, server: &str) -> anyhow::Result<Vec<Effect>> {
        written(&steps_file(&self.tools_dir(), server))
    }

    /// The one effect that came after the first `before`.
    pub(crate) fn one_more(&self, before: usize) -> anyhow::Result<Effect> {
        let effects = self.effects()?;
        ensure!(effects.len() == before + 1, "{} calls reached a tool", effects.len() - before);
        effects.into_iter().last().context("nothing reached a tool")
    }

    /// Checks that nothing reached a tool after the first `before` effects.
    pub(crate) fn none_more(&self, before: usize) -> anyhow::Result<()> {
        let now = self.effects()?.len();
        ensure!(now == before, "{} calls reached a tool", now - before);
        Ok(())
    }

    /// Waits until the outcome of `decision` is in the log, and checks that it is `outcome`.
    pub(crate) async fn ends_as(&self, decision: &str, outcome: &str) -> anyhow::Result<()> {
        let found = until("the outcome is recorded", async || {
            let chain = self.deployment.typed_json(&["log", "chain", decision]).await?;
            Ok(chain["outcome"].as_str().map(str::to_owned))
        });
        let found = found.await?;
        ensure!(found == outcome, "the outcome is `{found}`, not `{outcome}`");
        Ok(())
    }

    /// Where the tool servers write.
    pub(crate) fn tools_dir(&self) -> PathBuf {
        self.dir.join("tools")
    }

    /// The checkpoint that was taken before the first call.
    pub(crate) fn early_checkpoint(&self) -> PathBuf {
        self.dir.join("early-checkpoint")
    }

    /// Says where everything is, and how to look around.
    pub(crate) fn show_around(&self) {
        let (deployment, dir) = (&self.deployment, self.dir.display());
        let (url, program) = (deployment.url(), self.binary.display());
        println!("\nEverything is left running until you interrupt (Ctrl-C).");
        println!("  agents      {url}");
        println!("  observers   {}", deployment.observers_url());
        println!("  socket      {}", deployment.socket().display());
        println!("  directory   {dir}");
        for (name, server) in &self.servers {
            println!("  {name:<10}  {}", server.url);
        }
        println!("Look around in another terminal:");
        println!("  export CHANCERY_SOCKET={}", deployment.socket().display());
        println!("  export CHANCERY_URL={url}");
        println!("  {program} log tail");
        println!("  {program} server list");
        println!("  curl {}/log/checkpoint", deployment.observers_url());
        println!(
            "{SPONSOR} is deactivated: for an agent of your own, and your MCP client's command:"
        );
        println!("  {program} person add you");
        println!(
            "  {program} agent add yours --sponsor you --owner you --purpose {PURPOSE} --key {dir}/yours.pem \
             --host-uid {}",
            own_uid()
        );
        let host = deployment.host_socket();
        println!("  export CHANCERY_HOST_SOCKET={}", host.display());
        println!("  {program} mcp crm --agent yours --key {dir}/yours.pem --url {url}");
    }

    /// Ends everything that runs.
    pub(crate) async fn end(&mut self) {
        self.dismiss_all();
        let mut ended = vec![self.deployment.end().await];
        for server in self.servers.values_mut() {
            ended.push(server.process.kill().await);
        }
        for error in ended.into_iter().filter_map(Result::err) {
            eprintln!("chancery: {error:#}");
        }
    }
}

/// What a tool server wrote down in a file.
fn written(file: &Path) -> anyhow::Result<Vec<Effect>> {
    let text = std::fs::read_to_string(file).context("a tool server wrote nothing down")?;
    let lines = text.lines().map(serde_json::from_str).collect::<Result<_, _>>();
    lines.context("a tool's own line")
}

/// The user whose processes the demo's agents are.
fn own_uid() -> String {
    rustix::process::geteuid().as_raw().to_string()
}

/// The address in a URL of the form `http://ADDRESS/mcp`.
fn address_of(url: &str) -> anyhow::Result<SocketAddr> {
    let address = url.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/mcp"));
    Ok(address.context("not a tool server's URL")?.parse()?)
}
