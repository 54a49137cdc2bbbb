//! The conformance suite of MCP, run in server mode against a URL.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::node_modules;

/// What the suite found. A check is named `SCENARIO:CHECK`.
#[derive(Debug, Default)]
pub struct Found {
    /// The scenarios that ran.
    pub scenarios: BTreeSet<String>,
    /// The checks that failed or warned.
    pub failed: BTreeSet<String>,
    /// The checks that passed, each time that they were made.
    pub passed: BTreeSet<String>,
    /// Whether nothing failed that was not expected, and all that was expected did.
    pub is_as_expected: bool,
    /// What it printed.
    pub printed: String,
}

/// Runs every scenario of `version` against `url`, with what is `expected` to fail.
pub fn suite(url: &str, version: &str, expected: Option<&Path>) -> Found {
    let out = tempfile::tempdir().expect("a temporary directory can be made");
    // The suite needs a newer Node.js than many machines have.
    let mut command = Command::new(node_modules().join(".bin/node"));
    command.arg(node_modules().join("@modelcontextprotocol/conformance/dist/index.js"));
    command.args(["server", "--url", url, "--suite", "all", "--spec-version", version]);
    command.arg("--output-dir").arg(out.path()).current_dir(out.path());
    if let Some(expected) = expected {
        command.arg("--expected-failures").arg(expected);
    }
    let output = command.output().expect("the suite can be started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut found = Found {
        is_as_expected: output.status.success(),
        printed: text(&output.stdout) + &text(&output.stderr),
        ..Found::default()
    };
    for entry in std::fs::read_dir(out.path()).expect("it is ours").flatten() {
        let name = entry.file_name().into_string().expect("it is text");
        let checks = std::fs::read(entry.path().join("checks.json")).expect("results are there");
        found.read(scenario(&name), &serde_json::from_slice(&checks).expect("results are JSON"));
    }
    found
}

impl Found {
    fn read(&mut self, scenario: &str, checks: &Value) {
        self.scenarios.insert(scenario.to_owned());
        for check in checks.as_array().expect("results are a list") {
            let name = format!("{scenario}:{}", check["id"].as_str().expect("a check has a name"));
            match check["status"].as_str() {
                Some("FAILURE" | "WARNING") => drop(self.failed.insert(name)),
                Some("SUCCESS") => drop(self.passed.insert(name)),
                _ => {}
            }
        }
        self.passed.retain(|name| !self.failed.contains(name));
    }
}

/// The scenario whose results lie in the folder `server-SCENARIO-TIME`.
fn scenario(folder: &str) -> &str {
    const TIME: usize = "-2026-11-25T23-31-14-784Z".len();
    let name = folder.strip_prefix("server-").expect("results of a server");
    &name[..name.len() - TIME]
}
