//! Processes of a test: killed when the test ends, whatever happens.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(40);

/// A child process that dies with the test.
#[derive(Debug)]
pub struct Child(std::process::Child);

impl Child {
    /// Starts `command`.
    pub fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap_or_else(|error| panic!("could not start {command:?}: {error}")))
    }

    /// Its standard output, which must be piped and can be taken once.
    pub fn output(&mut self) -> ChildStdout {
        self.0.stdout.take().expect("it is piped")
    }

    /// Starts `command` and gives the first line of its standard output that `wanted` takes.
    pub fn start_and_read<T>(
        command: &mut Command,
        mut wanted: impl FnMut(&str) -> Option<T>,
    ) -> (Self, T) {
        let mut child = Self::start(command.stdout(Stdio::piped()));
        let output = child.0.stdout.take().expect("it is piped");
        let found = read_until(output, &mut wanted);
        (child, found.unwrap_or_else(|| panic!("{command:?} ended without saying so")))
    }

    /// Starts `command` and gives the first line of its standard error that `wanted` takes.
    pub fn start_and_read_errors<T>(
        command: &mut Command,
        mut wanted: impl FnMut(&str) -> Option<T>,
    ) -> (Self, T) {
        let mut child = Self::start(command.stdout(Stdio::null()).stderr(Stdio::piped()));
        let output = child.0.stderr.take().expect("it is piped");
        let found = read_until(output, &mut wanted);
        (child, found.unwrap_or_else(|| panic!("{command:?} ended without saying so")))
    }

    /// Its standard input and output, which must be piped.
    pub fn pipes(&mut self) -> (ChildStdin, ChildStdout) {
        let input = self.0.stdin.take().expect("it is piped");
        (input, self.0.stdout.take().expect("it is piped"))
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Sends SIGTERM and waits for the exit status.
    pub fn terminate(&mut self) -> std::process::ExitStatus {
        signal(self.id(), "TERM");
        self.wait()
    }

    /// Waits for the exit status.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        self.0.wait().expect("it can be waited for")
    }

    /// The exit status, if it has ended.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.0.try_wait().expect("it can be asked")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The first line of `output` that `wanted` takes. What follows is read and forgotten: a pipe that
/// nobody reads stops its writer, and one that is closed ends it (strace then lets go of all that it
/// holds).
fn read_until<T>(
    output: impl Read + Send + 'static,
    wanted: &mut impl FnMut(&str) -> Option<T>,
) -> Option<T> {
    let mut output = BufReader::new(output);
    let mut lines = output.by_ref().lines();
    let found = lines.find_map(|line| wanted(&line.expect("it writes text")));
    std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    found
}

/// Sends a signal by name.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "could not send {name} to {pid}");
}

/// Waits until `condition` gives something.
pub fn wait_until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
