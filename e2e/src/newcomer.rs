//! A newcomer's machine: a home of their own, the program, and nothing of ours in the environment.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::process::Child;
use crate::{binary, free_port, node_modules, python, repository};

/// Somebody who has the program and a home, and nothing else.
#[derive(Debug)]
pub struct Newcomer {
    home: tempfile::TempDir,
    /// What `dev` printed.
    pub printed: String,
    /// The `dev` that runs.
    pub dev: Option<Child>,
    /// The port for agents.
    pub port: u16,
}

impl Default for Newcomer {
    fn default() -> Self {
        Self::new()
    }
}

impl Newcomer {
    /// A fresh home.
    pub fn new() -> Self {
        let home = tempfile::tempdir().expect("a temporary directory can be made");
        let bin = home.path().join("bin");
        std::fs::create_dir(&bin).expect("the home is ours");
        std::os::unix::fs::symlink(binary(), bin.join("chancery")).expect("the home is ours");
        Self { home, printed: String::new(), dev: None, port: free_port() }
    }

    /// The home.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The file by which `dev` says where it is.
    pub fn announced(&self) -> PathBuf {
        self.home().join(".local/state/chancery/dev.json")
    }

    fn own(&self, command: &mut Command) {
        let of_ours = ["SOCKET", "HOST_SOCKET", "URL", "AGENT", "AGENT_KEY"];
        for name in of_ours {
            command.env_remove(format!("CHANCERY_{name}"));
        }
        command.env_remove("XDG_RUNTIME_DIR");
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", self.home().join("bin").display());
        command.env("PATH", path).env_remove("XDG_STATE_HOME").env("HOME", self.home());
        command.current_dir(self.home());
    }

    /// The program, with these arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments);
        self.own(&mut command);
        command
    }

    /// Starts `dev` before the reference server, and keeps what it prints until it is ready.
    pub fn start_dev(&mut self) {
        let script = "@modelcontextprotocol/server-everything/dist/index.js";
        let server = format!("everything=node '{}' stdio", node_modules().join(script).display());
        self.start_dev_with(&["--server", &server]);
    }

    /// Starts `dev` with these options, and keeps what it prints until it is ready.
    pub fn start_dev_with(&mut self, options: &[&str]) {
        let port = self.port.to_string();
        let mut command = self.command(&[&["dev", "--port", &port][..], options].concat());
        // Which no newcomer says; but their machine is not as busy as one that runs tests.
        command.env("CHANCERY_TIMEOUTS_DECISION_MS", "10000");
        let mut printed = String::new();
        let read = |line: &str| {
            printed.extend([line, "\n"]);
            line.starts_with("ready").then_some(())
        };
        let (dev, ()) = Child::start_and_read(&mut command, read);
        (self.dev, self.printed) = (Some(dev), printed);
    }

    /// The lines of what `dev` printed that are meant to be typed, or to be copied.
    pub fn lines(&self) -> Vec<String> {
        let indented = self.printed.lines().filter_map(|line| line.strip_prefix("  "));
        indented.map(str::to_owned).collect()
    }

    /// Types the lines that onboard a server and register an agent.
    pub fn onboard(&self) {
        let lines = self.lines();
        let onboards = |line: &&String| !line.starts_with('{') && !line.contains(" log ");
        for line in lines.iter().filter(onboards) {
            let done = self.shell(line);
            assert!(done.status.success(), "{line}: {}", text(&done));
        }
    }

    /// Types a line into a shell.
    pub fn shell(&self, line: &str) -> Output {
        self.shell_command(line).output().expect("there is a shell")
    }

    /// A shell that is told a line, to be started.
    pub fn shell_command(&self, line: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", line]);
        self.own(&mut command);
        command
    }

    /// Starts what an MCP client starts, or reaches what it reaches, by this entry of its
    /// configuration, as the official Python SDK does, and calls `echo`.
    pub fn client(&self, entry: &Value) -> Output {
        let mut command = Command::new(python());
        command.arg(repository().join("e2e/clients/python/client.py")).arg("legacy");
        if let Some(url) = entry["url"].as_str() {
            command.args(["http", url]);
        } else {
            command.args(["stdio", entry["command"].as_str().expect("a command")]);
            let args = entry["args"].as_array().into_iter().flatten();
            command.args(args.filter_map(Value::as_str));
        }
        self.own(&mut command);
        let steps = self.home().join("steps");
        let call = json!({ "call": "echo", "arguments": { "message": "hello" } });
        std::fs::write(&steps, format!("{call}\n")).expect("the home is ours");
        command.stdin(std::fs::File::open(steps).expect("it was just written"));
        command.output().expect("the client starts")
    }
}

/// All that a command wrote.
pub fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}
