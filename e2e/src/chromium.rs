//! A real browser: Chromium, which npm `playwright-core` drives.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::process::Child;
use crate::{node_modules, repository};

/// Where Debian's package `chromium` puts it.
const CHROMIUM: &str = "/usr/bin/chromium";

/// The browser, with one page.
#[derive(Debug)]
pub struct Chromium {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _process: Child,
}

impl Chromium {
    /// Starts it with a profile of its own; pages run scripts or do not.
    pub fn start(scripts: bool) -> Self {
        let is_there = Path::new(CHROMIUM).exists();
        assert!(is_there, "there is no `{CHROMIUM}`: run `cargo xtask provision` as root");
        let module = node_modules().join("playwright-core/index.mjs").canonicalize();
        let module = module.expect("`cargo xtask provision` provisions `playwright-core`");
        let mut command = Command::new(node_modules().join(".bin/node"));
        command.arg(repository().join("e2e/clients/node/browser.mjs")).arg(module);
        command.args([CHROMIUM, &scripts.to_string()]);
        let mut process = Child::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let (input, output) = process.pipes();
        let mut browser = Self { input, output: BufReader::new(output), _process: process };
        let started = browser.answer();
        assert!(started["version"].is_string(), "{started}");
        browser
    }

    /// Does one step of `e2e/clients/node/browser.mjs`, which must succeed.
    pub fn step(&mut self, name: &str, value: impl Into<Value>) -> Value {
        let line = json!({ name: value.into() }).to_string() + "\n";
        self.input.write_all(line.as_bytes()).expect("it reads");
        let done = self.answer();
        assert!(done["failed"].is_null(), "{name}: {done}");
        done
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it writes text");
        serde_json::from_str(&line).expect("a line of JSON: did it end?")
    }
}
