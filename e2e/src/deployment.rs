//! A deployment under test: founded, configured, served.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Child, wait_until};

/// What differs from test to test.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Upstream servers: name and, in YAML, what stands under it.
    pub servers: Vec<(String, String)>,
    /// Further lines of the configuration.
    pub configuration: String,
    /// Policy beside the starter policy.
    pub policy: String,
    /// Whether it is founded to run what two people release; otherwise it is for development, and reads files.
    pub releases: bool,
    /// The port for agents, where something has to know it beforehand.
    pub port: Option<u16>,
    /// The port for observers and people, where something has to know it beforehand.
    pub observers: Option<u16>,
    /// Where the service's own log goes instead of the test's.
    pub service_log: Option<PathBuf>,
    /// The URL by which agents reach it, where something stands before it.
    pub public_url: Option<String>,
    /// Where its directory is made, if not among temporary files.
    pub parent: Option<PathBuf>,
}

/// A running deployment in a directory of its own.
#[derive(Debug)]
pub struct Deployment {
    /// The directory.
    pub dir: TempDir,
    /// The port for agents.
    pub port: u16,
    /// The service.
    pub process: Option<Child>,
    /// The port for observers.
    observers: u16,
    service_log: Option<PathBuf>,
    public_url: Option<String>,
    /// How many commands were typed that did what they say.
    typed: AtomicU32,
}

impl Deployment {
    /// Starts one before the [`crate::Canary`] at `port`, whose tools can do `harm`.
    pub fn with_canary(port: u16, harm: &str, options: Options) -> Self {
        let servers =
            vec![("canary".to_owned(), format!("{{ url: 'http://127.0.0.1:{port}/mcp' }}"))];
        let deployment = Self::start(&Options { servers, ..options });
        deployment.onboard(&["canary"], harm);
        deployment
    }

    /// Founds a deployment with the founders `alice` and `bob`, who redeem, and serves it.
    pub fn start(options: &Options) -> Self {
        let (deployment, codes) = Self::founded(options);
        for (founder, code) in ["alice", "bob"].iter().zip(codes) {
            deployment.redeem(founder, &code);
        }
        deployment
    }

    /// Redeems the code of a founder; gives what that prints.
    pub fn redeem(&self, founder: &str, code: &str) -> String {
        let key = self.path(&format!("{founder}.pem"));
        self.run(&["founder", "redeem", code, "--key", key.to_str().unwrap()])
    }

    /// Founds a deployment with the founders `alice` and `bob`, and serves it; gives their codes, too.
    pub fn founded(options: &Options) -> (Self, Vec<String>) {
        let parent = options.parent.clone().unwrap_or_else(std::env::temp_dir);
        let dir = tempfile::tempdir_in(parent).expect("a temporary directory can be made");
        let (port, observers) =
            (options.port.unwrap_or_else(free_port), options.observers.unwrap_or_else(free_port));
        let service_log = options.service_log.clone();
        let public_url = options.public_url.clone();
        let typed = AtomicU32::new(0);
        let mut deployment =
            Self { dir, port, observers, process: None, service_log, public_url, typed };
        let home = deployment.path("home");
        let init = ["init", home.to_str().unwrap(), "--founder", "alice", "--founder", "bob"];
        let development: &[&str] = if options.releases { &[] } else { &["--development"] };
        let printed = deployment.run_raw(&[&init[..], development].concat());
        assert!(printed.status.success(), "{}", text(&printed));
        deployment.count();
        deployment.configure(options);
        deployment.serve();
        (deployment, codes(&text(&printed)))
    }

    fn configure(&self, options: &Options) {
        let path = self.path("home/chancery.yaml");
        let (agents, admin) = (self.port, self.observers);
        let entry = |(name, body): &(String, String)| format!("  {name}: {body}\n");
        let servers: Vec<_> = options.servers.iter().map(entry).collect();
        let servers = servers.concat();
        let servers = if servers.is_empty() { servers } else { format!("servers:\n{servers}") };
        let public = options.public_url.as_ref();
        let public = public.map(|url| format!("public_url: '{url}'\n")).unwrap_or_default();
        let policy =
            if options.releases { "" } else { "policy:\n  path: policies\n  allow_loose: true\n" };
        // Where nothing is said of it, what a busy machine takes is no matter of the test.
        let is_said = options.configuration.contains("timeouts:");
        let timeouts = if is_said { "" } else { "timeouts: { decision_ms: 10000 }\n" };
        let text = format!(
            "{public}state_dir: state\nlisten:\n  agents: 127.0.0.1:{agents}\n  admin: 127.0.0.1:{admin}\n\
             {timeouts}{policy}{servers}{}",
            options.configuration
        );
        std::fs::write(path, text).expect("the configuration can be written");
        if !options.policy.is_empty() {
            std::fs::write(self.path("home/policies/test.cedar"), &options.policy)
                .expect("policy can be written");
        }
    }

    /// Releases the set in its directory as the next version, and puts it in force: `alice` publishes it, and `bob`
    /// approves it.
    pub fn release(&self) {
        let url = self.url();
        let signed = |founder: &str, asked: &[&str]| {
            let key = self.path(&format!("{founder}.pem")).display().to_string();
            self.run(&[asked, &["--as", founder, "--key", &key, "--url", &url]].concat())
        };
        let policies = self.path("home/policies").display().to_string();
        let published = signed("alice", &["policy", "publish", &policies]);
        let published: Value = serde_json::from_str(&published).expect("it is JSON");
        let version = published["version"].as_u64().expect("it has a version").to_string();
        let content = published["content"].as_str().expect("it has a content");
        signed("bob", &["policy", "approve", &version, "--digest", content]);
        self.run(&["policy", "activate", &version]);
    }

    /// A copy of this deployment, which does not run, at ports of its own.
    #[must_use]
    pub fn copy(&self) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        copy_dir(self.dir.path(), dir.path());
        let (port, observers) = (free_port(), free_port());
        let (process, service_log, public_url, typed) = (None, None, None, AtomicU32::new(0));
        let copy = Self { dir, port, process, observers, service_log, public_url, typed };
        let path = copy.path("home/chancery.yaml");
        let text = std::fs::read_to_string(&path).expect("it was copied");
        let ports = [(self.port, copy.port), (self.observers, copy.observers)];
        let text = ports.iter().fold(text, |text, (old, new)| {
            text.replace(&format!("127.0.0.1:{old}\n"), &format!("127.0.0.1:{new}\n"))
        });
        std::fs::write(path, text).expect("it can be written");
        copy
    }

    /// Whether somebody listens at the port for agents.
    pub fn is_listening(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.port)).is_ok()
    }

    /// Starts the service, and waits until it is ready.
    pub fn serve(&mut self) {
        self.serve_under(Command::new(crate::binary()));
    }

    /// Starts the service by `command`, which is the binary, or runs the binary, and waits until it
    /// is ready.
    pub fn serve_under(&mut self, mut command: Command) {
        command.args(["serve", "--config"]).arg(self.path("home/chancery.yaml"));
        command.stderr(self.service_log.as_ref().map_or_else(Stdio::inherit, |path| {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
            file.expect("the log can be written").into()
        }));
        let ready = |line: &str| line.starts_with("ready").then_some(());
        let (process, ()) = Child::start_and_read(&mut command, ready);
        self.process = Some(process);
        self.count();
    }

    fn count(&self) {
        self.typed.fetch_add(1, Ordering::Relaxed);
    }

    /// How many commands it took by now to found, serve and administer it.
    pub fn commands(&self) -> u32 {
        self.typed.load(Ordering::Relaxed)
    }

    /// Tells the service to stop, and waits until it has.
    pub fn stop(&mut self) {
        let status = self.process.take().expect("it runs").terminate();
        assert!(status.success(), "the service ended with {status}");
    }

    /// A path in the deployment's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A path in the deployment's directory that was not given before.
    pub(crate) fn fresh(&self, name: &str) -> PathBuf {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        self.path(&format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// The base URL for agents.
    pub fn url(&self) -> String {
        self.public_url.clone().unwrap_or_else(|| format!("http://127.0.0.1:{}", self.port))
    }

    /// The log's directory.
    pub fn log(&self) -> PathBuf {
        self.path("home/state/log")
    }

    /// The socket at which the service vouches for processes.
    pub fn host_socket(&self) -> PathBuf {
        self.path("home/state/host.sock")
    }

    /// The key file of `agent`.
    pub fn agent_key(&self, agent: &str) -> PathBuf {
        self.path(&format!("{agent}.pem"))
    }

    /// Types `block` into a shell, as somebody who administers it and holds the key of the agent `bot`; gives what
    /// that printed.
    pub fn shell(&self, block: &str) -> String {
        let bin = crate::binary().parent().expect("a directory").display().to_string();
        let mut shell = Command::new("sh");
        shell.args(["-e", "-c", block]).current_dir(self.path("home"));
        shell.env("PATH", format!("{bin}:{}", std::env::var("PATH").unwrap_or_default()));
        shell.env("CHANCERY_SOCKET", self.path("home/state/admin.sock"));
        shell.env("CHANCERY_URL", self.url());
        shell.env("CHANCERY_HOST_SOCKET", self.host_socket());
        shell.env("CHANCERY_AGENT_KEY", self.agent_key("bot"));
        shell.env("XDG_RUNTIME_DIR", self.path("")).stdin(Stdio::null());
        let output = shell.output().expect("it starts");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{block}: {told}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a command of the binary, which must succeed, and gives what it printed.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.run_raw(arguments);
        assert!(output.status.success(), "chancery {arguments:?}: {}", text(&output));
        self.count();
        String::from_utf8(output.stdout).expect("it prints text")
    }

    /// Runs a command of the binary, which must fail, and gives what it said.
    pub fn run_refused(&self, arguments: &[&str]) -> String {
        let output = self.run_raw(arguments);
        assert!(!output.status.success(), "chancery {arguments:?} did: {}", text(&output));
        text(&output)
    }

    /// Runs a command of the binary, whether it succeeds or not, and gives what it said.
    pub fn run_any(&self, arguments: &[&str]) -> String {
        text(&self.run_raw(arguments))
    }

    /// The same, with the code that it ended with, and its standard output alone.
    pub fn run_told(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.run_raw(arguments);
        let printed = String::from_utf8(output.stdout).expect("it prints text");
        (output.status.code(), printed)
    }

    fn run_raw(&self, arguments: &[&str]) -> Output {
        Command::new(crate::binary())
            .args(arguments)
            .env("CHANCERY_SOCKET", self.path("home/state/admin.sock"))
            .output()
            .expect("the binary can be started")
    }

    /// Registers purpose, agent and servers in one go: what most tests begin with.
    pub fn onboard(&self, servers: &[&str], harm: &str) {
        self.run(&["person", "add", "sam"]);
        let all: Vec<_> = servers.iter().map(|server| format!("{server}/*")).collect();
        let mut purpose = vec!["purpose", "add", "work", "--owner", "alice"];
        purpose.extend(all.iter().flat_map(|tools| ["--tool", tools]));
        if harm != "reads-data" {
            purpose.extend(["--harm", harm]);
        }
        self.run(&purpose);
        let uid = nix::unistd::geteuid().to_string();
        self.agent(("bot", "sam"), &["--host-uid", &uid]);
        let class = format!("*={harm}");
        for server in servers {
            let add = ["server", "add", server, "--owner", "alice", "--harm", &class];
            // Its first answer may take longer than a test lets a call take.
            wait_until("the server's tools are read", || {
                let output = self.run_raw(&add);
                let (is_done, said) = (output.status.success(), text(&output));
                assert!(is_done || said.contains("did not answer"), "chancery {add:?}: {said}");
                is_done.then_some(())
            });
            self.count();
        }
    }

    /// Registers the agent `name`, for which `person` alone answers.
    pub fn agent(&self, (name, person): (&str, &str), more: &[&str]) {
        let key = self.agent_key(name).display().to_string();
        let who = ["--sponsor", person, "--owner", person, "--purpose", "work"];
        self.run(&[&["agent", "add", name][..], &who, &["--key", &key], more].concat());
    }

    /// What observers are answered at `path`.
    pub fn observed(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.observers)).expect("it listens");
        let host = format!("127.0.0.1:{}", self.observers);
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }

    /// The records of the log, oldest first.
    pub fn records(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).expect("records are JSON lines");
        self.run(&["log", "export"]).lines().map(parse).collect()
    }

    /// Puts `text` in force as the file `name` of its policies.
    pub fn put_in_force(&self, name: &str, text: &str) {
        let in_force = || {
            let records = self.records();
            records.iter().filter(|record| record["event"] == "policy_in_force").count()
        };
        let before = in_force();
        let path = self.path("home/policies").join(name);
        std::fs::write(path, text).expect("it is written");
        wait_until("it is in force", || (in_force() > before).then_some(()));
    }

    /// Verifies the log offline, on a copy of its directory.
    pub fn verify(&self) -> String {
        let copy = self.path("copy");
        let _ = std::fs::remove_dir_all(&copy);
        // The checkpoint first: what it covers was published before it.
        std::fs::create_dir_all(&copy).expect("the copy can be made");
        let checkpoint = std::fs::read(self.log().join("checkpoint")).expect("there is one");
        copy_dir(&self.log(), &copy);
        std::fs::write(copy.join("checkpoint"), checkpoint).expect("it can be written");
        let key = self.path("home/state/keys/log.pub");
        self.run(&["log", "verify", copy.to_str().unwrap(), "--key", key.to_str().unwrap()])
    }
}

/// The one-use codes that `init` printed, one a line: `code NAME CODE`.
fn codes(printed: &str) -> Vec<String> {
    let code =
        |line: &str| line.trim().strip_prefix("code ")?.split_once(' ').map(|c| c.1.to_owned());
    printed.lines().filter_map(code).collect()
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// A port that nobody listens on, and that no connection takes meanwhile: systems give those out
/// from 32768 on. The one after it, which `dev` takes too, is given to nobody else.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 20_000;
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(std::process::id() * 61);
        let port = u16::try_from(FIRST + number.wrapping_mul(2) % COUNT);
        let port = port.expect("it is below 65536");
        // To see that, nobody listens on it: what another thread starts at that moment would have it, too, until it is
        // the program that it becomes, and take connections that are meant for somebody else.
        if TcpStream::connect(("127.0.0.1", port)).is_err() {
            return port;
        }
    }
}

fn ignore_gone(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Copies a directory with all that is in it.
fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the copy can be made");
    for entry in std::fs::read_dir(from).expect("the directory can be read").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            // A partial tile goes when a wider one is there.
            let copied = std::fs::copy(entry.path(), target).map(drop);
            copied.or_else(ignore_gone).expect("the file can be copied");
        }
    }
}
