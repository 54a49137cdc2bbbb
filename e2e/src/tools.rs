//! Tool servers: real processes whose effects file says what reached them.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::Child;

/// One effect, as the tool itself wrote it down.
pub type Effect = Value;

/// A tool server of the demo's, as a process of its own.
#[derive(Debug)]
pub struct Tools {
    /// Its endpoint.
    pub url: String,
    /// The process.
    pub process: Child,
    effects: PathBuf,
    _dir: TempDir,
}

impl Tools {
    /// Starts the tool server `name` with further arguments.
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let effects = dir.path().join("effects.jsonl");
        let mut command = Command::new(crate::binary());
        command.args(["demo-server", name, "--effects"]).arg(&effects).args(arguments);
        let listening = |line: &str| line.strip_prefix("listening on ").map(str::to_owned);
        let (process, address) = Child::start_and_read(&mut command, listening);
        Self { url: format!("http://{address}/mcp"), process, effects, _dir: dir }
    }

    /// What reached the tools so far.
    pub fn effects(&self) -> Vec<Effect> {
        let text = std::fs::read_to_string(&self.effects).unwrap_or_default();
        let parse = |line: &str| serde_json::from_str(line).expect("effects are JSON lines");
        text.lines().map(parse).collect()
    }

    /// How many calls of `tool` reached it.
    pub fn count(&self, tool: &str) -> usize {
        self.effects().iter().filter(|effect| effect["tool"] == tool).count()
    }
}
