//! An MCP server on stdio: a small script that keeps every line that it is told.

use std::collections::BTreeMap;
use std::path::PathBuf;

use gateway::Target;
use serde_json::Value;
use tempfile::TempDir;

/// The script's place, and what its processes keep.
pub struct Process {
    dir: TempDir,
    era: &'static str,
    is_stateless: bool,
}

impl Process {
    /// A server that speaks `session` or `stateless`.
    pub fn new(era: &'static str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Self { dir, era, is_stateless: false }
    }

    /// The same, declared to keep nothing from one call to the next.
    pub fn stateless(era: &'static str) -> Self {
        Self { is_stateless: true, ..Self::new(era) }
    }

    pub fn target(&self) -> Target {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../gateway/tests/support/server.py");
        let kept = self.dir.path().display().to_string();
        Target::Stdio {
            command: PathBuf::from("python3"),
            args: vec![script.to_owned(), kept, self.era.to_owned()],
            env: BTreeMap::from([("CONFIGURED".to_owned(), "yes".to_owned())]),
            launcher: Ok(Vec::new()),
            is_stateless: self.is_stateless,
        }
    }

    fn kept(&self, extension: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).expect("it is there").flatten();
        let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
        files.retain(|path| path.extension().is_some_and(|found| found == extension));
        files.sort();
        files.iter().map(|path| std::fs::read_to_string(path).expect("text")).collect()
    }

    /// Every line that any process was told.
    pub fn lines(&self) -> Vec<Value> {
        let lines: Vec<_> = self.kept("in").concat().lines().map(str::to_owned).collect();
        lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Every byte that any process was told.
    pub fn bytes(&self) -> Vec<u8> {
        self.kept("in").concat().into_bytes()
    }

    /// The ids of the processes that were started.
    pub fn started(&self) -> Vec<i32> {
        self.kept("pid").iter().map(|text| text.trim().parse().expect("a number")).collect()
    }

    /// The ids of those that still run.
    pub fn running(&self) -> Vec<i32> {
        let mut started = self.started();
        started.retain(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit(')')
                .next()
                .is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with(['Z', 'X']))
        });
        started
    }
}
