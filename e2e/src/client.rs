//! Official clients of other people's making, driven step by step.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::Child;
use crate::{Deployment, binary, python, repository, wait_until};

/// How long one step may take, of which some are what a hundred clients do at once.
const PATIENCE: Duration = Duration::from_mins(2);

/// An official SDK, in the era that it is asked to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sdk {
    /// Python `mcp`, as of the session era.
    PythonSession,
    /// Python `mcp`, as of 2026-07-28.
    PythonStateless,
    /// TypeScript `@modelcontextprotocol/sdk`, which knows the session era only.
    TypeScript1,
    /// TypeScript `@modelcontextprotocol/client`, as of the session era.
    TypeScript2Session,
    /// TypeScript `@modelcontextprotocol/client`, as of 2026-07-28.
    TypeScript2Stateless,
}

/// How a client gets to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// It starts `chancery mcp` and speaks with it on stdio.
    Stdio,
    /// The same, of a user whose home is `laptop` below the deployment's directory: no host vouches for it,
    /// nor any key, unless its device was enrolled.
    Enrolled,
    /// It speaks streamable HTTP to `chancery mcp --listen`.
    Listen,
    /// It speaks to the gateway itself, with its own key and proofs.
    Dpop,
}

/// A running client.
#[derive(Debug)]
pub struct Client {
    /// The version that it and the gateway agreed on.
    pub greeted: String,
    steps: Option<ChildStdin>,
    answers: Receiver<String>,
    /// What it wrote to standard error, for when something goes wrong.
    complaints: PathBuf,
    process: Child,
    /// What listens for it.
    _shim: Option<Child>,
}

impl Sdk {
    /// The version that it should agree on with the gateway.
    pub const fn version(self) -> &'static str {
        match self {
            Self::PythonSession | Self::TypeScript1 | Self::TypeScript2Session => "2025-11-25",
            Self::PythonStateless | Self::TypeScript2Stateless => "2026-07-28",
        }
    }

    fn command(self) -> Command {
        let scripts = repository().join("e2e/clients");
        let (program, script) = match self {
            Self::PythonSession | Self::PythonStateless => (python(), "python/client.py"),
            Self::TypeScript1 => ("node".into(), "node/sdk1.mjs"),
            Self::TypeScript2Session | Self::TypeScript2Stateless => {
                ("node".into(), "node/sdk2.mjs")
            }
        };
        let mode = match self {
            Self::PythonStateless | Self::TypeScript2Stateless => self.version(),
            _ => "legacy",
        };
        let mut command = Command::new(program);
        command.arg(scripts.join(script)).arg(mode);
        command
    }
}

impl Client {
    /// Starts `sdk` as an instance of `agent` and lets it greet `server` through `door`.
    pub fn start(deployment: &Deployment, (agent, server): (&str, &str), way: (Sdk, Door)) -> Self {
        Self::try_start(deployment, (agent, server), way).unwrap_or_else(|why| panic!("{why}"))
    }

    /// The same, of a client (in Python) that declares that servers may ask it, and answers.
    pub fn able(deployment: &Deployment, whose: (&str, &str), way: (Sdk, Door)) -> Self {
        let (mut command, shim) = command(deployment, whose, way);
        let started = Self::run(deployment, command.env("ANSWERS", "yes"), shim);
        started.unwrap_or_else(|why| panic!("{why}"))
    }

    /// The same as `start`; gives what it complained of if it did not get through.
    pub fn try_start(
        deployment: &Deployment,
        whose: (&str, &str),
        way: (Sdk, Door),
    ) -> Result<Self, String> {
        let (mut command, shim) = command(deployment, whose, way);
        Self::run(deployment, &mut command, shim)
    }

    /// Starts a sender of raw messages as instances of `agent`, with their own keys.
    pub fn raw(deployment: &Deployment, (agent, server): (&str, &str)) -> Self {
        let mut command = Command::new(python());
        command.arg(repository().join("e2e/clients/python/raw.py"));
        command.arg(format!("{}/mcp/{server}", deployment.url())).arg(agent);
        command.arg(deployment.agent_key(agent));
        Self::run(deployment, &mut command, None).unwrap_or_else(|why| panic!("{why}"))
    }

    /// Starts `sdk`, which knows the URL of `server` and the client that it is by its document
    /// and where answers to it go. `person` goes where it sends them, and says where they came back to.
    pub fn authorized(
        deployment: &Deployment,
        (sdk, server): (Sdk, &str),
        (client_id, redirect_uri): (&str, &str),
        person: impl FnOnce(&str) -> String,
    ) -> Self {
        let mut command = sdk.command();
        let url = format!("{}/mcp/{server}", deployment.url());
        command.args(["oauth", &url, client_id, redirect_uri]);
        let mut client = Self::spawn(deployment, &mut command, None);
        let sent = client.next().unwrap_or_else(|| panic!("{}", client.complaint()));
        let to = sent["authorize"].as_str().unwrap_or_else(|| panic!("{sent}"));
        let greeting = client.ask(&json!({ "callback": person(to) }));
        greeting["greeted"].as_str().unwrap_or_default().clone_into(&mut client.greeted);
        client
    }

    fn run(
        deployment: &Deployment,
        command: &mut Command,
        shim: Option<Child>,
    ) -> Result<Self, String> {
        let mut client = Self::spawn(deployment, command, shim);
        let greeting = client.next().ok_or_else(|| client.complaint())?;
        greeting["greeted"].as_str().unwrap_or_default().clone_into(&mut client.greeted);
        Ok(client)
    }

    fn spawn(deployment: &Deployment, command: &mut Command, shim: Option<Child>) -> Self {
        let complaints = deployment.fresh("complaints");
        let file = std::fs::File::create(&complaints).expect("the directory is ours");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file);
        let mut process = Child::start(command);
        let (steps, output) = process.pipes();
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self {
            greeted: String::new(),
            steps: Some(steps),
            answers,
            complaints,
            process,
            _shim: shim,
        }
    }

    /// Does one step and gives what came of it.
    pub fn ask(&mut self, step: &Value) -> Value {
        let steps = self.steps.as_mut().expect("it is open");
        writeln!(steps, "{step}").and_then(|()| steps.flush()).expect("it listens");
        self.next().unwrap_or_else(|| panic!("no answer to {step}: {}", self.complaint()))
    }

    /// Lets it say goodbye.
    pub fn close(mut self) {
        self.steps.take();
        wait_until("the client has ended", || self.process.ended());
    }

    fn next(&mut self) -> Option<Value> {
        let line = self.answers.recv_timeout(PATIENCE).ok()?;
        Some(serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}")))
    }

    /// What it wrote to standard error.
    pub fn complaint(&self) -> String {
        std::fs::read_to_string(&self.complaints).unwrap_or_default()
    }
}

/// What starts a client, and what listens for it.
fn command(
    deployment: &Deployment,
    (agent, server): (&str, &str),
    (sdk, door): (Sdk, Door),
) -> (Command, Option<Child>) {
    let key = deployment.agent_key(agent);
    let mut command = sdk.command();
    let mut shim = None;
    match door {
        Door::Stdio => {
            let arguments = shim_arguments(deployment, (agent, server), &key);
            command.arg("stdio").arg(binary()).args(arguments);
        }
        Door::Enrolled => {
            let url = deployment.url();
            command.arg("stdio").arg(binary()).args(["mcp", server, "--agent", agent]);
            command.args(["--url", &url, "--host-socket", "/nowhere"]);
            command.env("HOME", deployment.path("laptop"));
        }
        Door::Listen => {
            let (listening, url) = listen(deployment, (agent, server));
            shim = Some(listening);
            command.args(["http", &url]);
        }
        Door::Dpop => {
            let url = format!("{}/mcp/{server}", deployment.url());
            command.args(["dpop", &url, agent]).arg(&key);
        }
    }
    (command, shim)
}

fn shim_arguments(
    deployment: &Deployment,
    (agent, server): (&str, &str),
    key: &Path,
) -> Vec<String> {
    let key = key.to_str().expect("it is text");
    let (url, host) = (deployment.url(), deployment.host_socket().display().to_string());
    ["mcp", server, "--agent", agent, "--url", &url, "--key", key, "--host-socket", &host]
        .map(str::to_owned)
        .into()
}

/// Starts `chancery mcp --listen` as an instance of the agent, for the server, and gives the URL
/// that it listens on. The shell is the client process whose instance it is: another call of this
/// function starts another.
pub fn listen(deployment: &Deployment, who: (&str, &str)) -> (Child, String) {
    let key = deployment.agent_key(who.0);
    let mut command = Command::new("sh");
    command.args(["-c", "setpriv --pdeathsig KILL \"$0\" \"$@\"; exit"]).arg(binary());
    command.args(shim_arguments(deployment, who, &key)).args(["--listen", "127.0.0.1:0"]);
    command.env("XDG_STATE_HOME", deployment.path("user"));
    let url = |line: &str| line.split_once("speaking MCP on ").map(|(_, url)| url.to_owned());
    Child::start_and_read_errors(&mut command, url)
}
