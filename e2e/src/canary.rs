//! A tool server that somebody else's SDK serves, and what reached it.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Child, wait_until};
use crate::upstream::{directory, lines};

/// A tool server on loopback that writes down every call that reached it.
#[derive(Debug)]
pub struct Canary {
    /// Where it listens.
    pub port: u16,
    /// How many operations it has beside its tools.
    more: u32,
    dir: TempDir,
    process: Option<Child>,
}

/// One call that reached the tool.
#[derive(Clone, Debug)]
pub struct Effect {
    /// The argument by which the call is known again.
    pub mark: String,
    /// When it reached the tool, by the clock of this machine.
    pub at: SystemTime,
    /// On whose behalf, by what the caller showed.
    pub subject: Option<String>,
    /// Who acted, if that was another.
    pub actor: Option<String>,
    /// The decision that the caller's assertion named.
    pub decision: Option<String>,
}

impl Canary {
    /// A policy by which it may be touched.
    pub const PERMIT: &str = r#"@id("canary")
@description("The canary may be touched")
permit (
  principal,
  action in Action::"tools/call",
  resource in Server::"canary"
);
"#;

    /// A policy by which nobody touches it.
    pub const FORBID: &str = r#"@id("nobody")
@description("Nobody touches the canary")
forbid (
  principal,
  action in Action::"tools/call",
  resource in Server::"canary"
)
when { context.purpose != "none" };
"#;

    /// Starts one on a free port.
    pub fn start() -> Self {
        Self::with_operations(0)
    }

    /// The same, which has so many more tools: `operation-0` and on.
    pub fn with_operations(more: u32) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let mut canary = Self { port: crate::free_port(), more, dir, process: None };
        canary.resume();
        canary
    }

    /// Starts it again where it was.
    pub fn resume(&mut self) {
        let mut command = script();
        command.arg(self.file()).args([self.port.to_string(), self.more.to_string()]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(Child::start(&mut command));
        wait_until("the tool server listens", || TcpStream::connect(("127.0.0.1", self.port)).ok());
    }

    /// Kills it: its port is closed.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Every call that reached it, oldest first.
    pub fn effects(&self) -> Vec<Effect> {
        effects(&self.file())
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("calls")
    }
}

/// The configuration entry of a canary that Chancery starts itself, which writes to `file`.
pub fn stdio_canary(file: &Path) -> String {
    let script = script_path();
    let (python, script, dir) = (crate::python(), script.display(), directory(file));
    let args = format!("['{script}', '{}']", file.display());
    format!("{{ command: '{}', args: {args}, writes: ['{dir}'] }}", python.display())
}

/// Every call that a canary wrote to `file`, oldest first.
pub fn effects(file: &Path) -> Vec<Effect> {
    let parse = |value: Value| {
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        let at = Duration::from_secs_f64(value["at"].as_f64().expect("it has a time"));
        let mark = text("mark").expect("it has a mark");
        let (subject, actor) = (text("subject"), text("actor"));
        Effect { mark, at: UNIX_EPOCH + at, subject, actor, decision: text("decision") }
    };
    lines(file).into_iter().map(parse).collect()
}

fn script() -> Command {
    let mut command = Command::new(crate::python());
    command.arg(script_path());
    command
}

fn script_path() -> PathBuf {
    crate::repository().join("e2e/servers/canary.py")
}
