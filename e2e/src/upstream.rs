//! Tool servers of other people's making.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::process::Child;
use crate::recorder::Recorder;
use crate::{free_port, node_modules, python, repository, wait_until};

/// A server over streamable HTTP, behind a recorder that writes down what reaches it.
#[derive(Debug)]
pub struct HttpServer {
    /// What passes.
    pub recorder: Recorder,
    /// The process.
    pub process: Child,
}

/// The reference server `@modelcontextprotocol/server-everything`, which speaks the session era.
pub fn everything() -> HttpServer {
    let port = free_port();
    let mut command = Command::new("node");
    command.arg(everything_script()).arg("streamableHttp").env("PORT", port.to_string());
    serve(&mut command, port, Recorder::to(port))
}

/// A server on the official Python SDK, which speaks 2026-07-28 to whoever does and wants to see
/// an assertion of `issuer`. It writes what its tools did to `effects`.
pub fn modern(issuer: &str, effects: &Path) -> HttpServer {
    let port = free_port();
    let recorder = Recorder::to(port);
    let url = format!("http://127.0.0.1:{}/mcp", recorder.port());
    let mut command = Command::new(python());
    command.arg(modern_script()).arg(effects).args(["http", &port.to_string(), &url, issuer]);
    serve(&mut command, port, recorder)
}

/// The server that the conformance suite is run against, of one era: `session`, or `stateless`.
pub fn conformance(era: &str) -> HttpServer {
    let port = free_port();
    let mut command = Command::new(python());
    command.arg(repository().join("e2e/servers/conformance.py"));
    serve(command.args([&port.to_string(), era]), port, Recorder::to(port))
}

fn serve(command: &mut Command, port: u16, recorder: Recorder) -> HttpServer {
    let mut process = Child::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
    wait_until("the tool server listens", || {
        assert!(process.ended().is_none(), "the tool server ended");
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
    HttpServer { recorder, process }
}

impl HttpServer {
    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.recorder.port())
    }

    /// What stands under its name in the configuration.
    pub fn configured(&self) -> String {
        format!("{{ url: '{}' }}", self.url())
    }
}

/// What stands in the configuration for the reference server as a process, with every line that
/// reaches it written to `heard`.
pub fn everything_process(heard: &Path) -> String {
    overheard(heard, &["node", &everything_script(), "stdio"])
}

/// The same for the server on the official Python SDK.
pub fn modern_process(heard: &Path, effects: &Path) -> String {
    let python = python().display().to_string();
    let effects = effects.display().to_string();
    overheard(heard, &[&python, &modern_script(), &effects, "stdio"])
}

/// A command whose standard input is written to `heard` on its way: the process is the server's
/// own, so that it ends when it is told to.
fn overheard(heard: &Path, command: &[&str]) -> String {
    let words: Vec<_> = command.iter().map(|word| format!("'{word}'")).collect();
    let (words, dir, heard) = (words.join(", "), directory(heard), heard.display());
    let script = "exec \"$@\" < <(exec tee -a \"$0\")";
    let args = format!("[-c, '{script}', '{heard}', {words}]");
    format!("{{ command: bash, args: {args}, writes: ['{dir}'] }}")
}

/// The directory of a file that a server writes.
pub(crate) fn directory(file: &Path) -> String {
    file.parent().expect("it is in a directory").display().to_string()
}

/// The lines of JSON in a file that may not be there yet, nor the end of its last line.
pub fn lines(path: &Path) -> Vec<Value> {
    let bytes = std::fs::read(path).unwrap_or_default();
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    let text = std::str::from_utf8(&bytes[..whole]).expect("it is text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect()
}

fn everything_script() -> String {
    let script = node_modules().join("@modelcontextprotocol/server-everything/dist/index.js");
    script.display().to_string()
}

fn modern_script() -> String {
    repository().join("e2e/servers/modern.py").display().to_string()
}
