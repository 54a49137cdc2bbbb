//! Upstreams in processes that we start: one process, one conversation.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{LinkError, MESSAGES_WAITING_MAX, Outgoing, Target, Transport, UPSTREAM_MESSAGE_MAX};

/// What of our environment a server's process sees.
const PASSED_ON: [&str; 3] = ["PATH", "HOME", "LANG"];

type Waiting = Arc<Mutex<HashMap<u64, mpsc::Sender<Bytes>>>>;

/// A conversation with a process.
pub(crate) struct StdioTransport {
    input: tokio::sync::Mutex<Option<ChildStdin>>,
    waiting: Waiting,
    ended: CancellationToken,
}

impl StdioTransport {
    /// Starts the process of `target`. It ends when the conversation does; `place` is its place
    /// among the processes that may run.
    pub(crate) fn start(
        target: &Target,
        base_environment: &[(String, String)],
        place: OwnedSemaphorePermit,
        tasks: &TaskTracker,
    ) -> Result<Self, LinkError> {
        let Target::Stdio { command, args, env } = target else {
            return Err(LinkError::Unreached("the server is not a process".to_owned()));
        };
        let passed = base_environment.iter().filter(|(name, _)| PASSED_ON.contains(&name.as_str()));
        let mut child = Command::new(command)
            .args(args)
            .env_clear()
            .envs(passed.map(|(name, value)| (name, value)))
            .envs(env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                LinkError::Unreached(format!("could not start `{}`: {error}", command.display()))
            })?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let waiting = Waiting::default();
        let ended = CancellationToken::new();
        let output = output.ok_or_else(|| LinkError::Unreached("no output".to_owned()))?;
        tasks.spawn(watch(child, output, (waiting.clone(), ended.clone()), place));
        Ok(Self { input: tokio::sync::Mutex::new(input), waiting, ended })
    }
}

#[async_trait]
impl Transport for StdioTransport {
    async fn send(&self, message: Outgoing) -> Result<mpsc::Receiver<Bytes>, LinkError> {
        let (sender, receiver) = mpsc::channel(MESSAGES_WAITING_MAX);
        if let Some(id) = message.id {
            self.waiting.lock().expect("no panic while it is held").insert(id, sender);
        }
        // A newline within a message would be two messages: JSON has none outside of strings, and
        // those it has as white space mean nothing.
        let mut line = message.body.to_vec();
        line.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
        line.push(b'\n');
        let mut input = self.input.lock().await;
        let gone = || LinkError::Unreached("the process has ended".to_owned());
        if self.ended.is_cancelled() {
            return Err(gone());
        }
        let pipe = input.as_mut().ok_or_else(gone)?;
        let written = async { pipe.write_all(&line).await.and(pipe.flush().await) };
        written.await.map_err(|_| LinkError::Unanswered)?;
        Ok(receiver)
    }

    async fn close(&self) {
        self.ended.cancel();
        self.input.lock().await.take();
    }
}

impl Drop for StdioTransport {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

/// Passes on what the process says until it ends or the conversation does.
async fn watch(
    mut child: Child,
    output: ChildStdout,
    (waiting, ended): (Waiting, CancellationToken),
    _place: OwnedSemaphorePermit,
) {
    let mut lines = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        tokio::select! {
            () = ended.cancelled() => break,
            read = lines.read_until(b'\n', &mut line) => match read {
                Ok(0) | Err(_) => break,
                Ok(length) if length > UPSTREAM_MESSAGE_MAX => break,
                Ok(_) => deliver(&line, &waiting).await,
            },
        }
    }
    ended.cancel();
    // Whoever waits learns that nobody will answer.
    waiting.lock().expect("no panic while it is held").clear();
    if let Err(error) = child.kill().await {
        tracing::debug!(%error, "a server's process had ended");
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(default, borrow)]
    id: Option<&'a RawValue>,
    #[serde(default)]
    method: Option<String>,
    #[serde(default, borrow)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Progress {
    #[serde(rename = "progressToken")]
    token: serde_json::Value,
}

async fn deliver(line: &[u8], waiting: &Waiting) {
    let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(line) else { return };
    let answered = envelope.id.and_then(|id| id.get().parse::<u64>().ok());
    let sender = match (answered, &envelope.method) {
        (Some(id), None) => waiting.lock().expect("no panic while it is held").remove(&id),
        (None, Some(method)) if method == "notifications/progress" => {
            concerned(envelope.params, waiting)
        }
        _ => None,
    };
    if let Some(sender) = sender {
        let _ = sender.send(Bytes::copy_from_slice(line.trim_ascii_end())).await;
    }
}

/// The request that a progress notification is about: the gateway asks with its own id as token.
fn concerned(params: Option<&RawValue>, waiting: &Waiting) -> Option<mpsc::Sender<Bytes>> {
    let progress: Progress = serde_json::from_str(params?.get()).ok()?;
    let waiting = waiting.lock().expect("no panic while it is held");
    match progress.token.as_u64() {
        Some(id) => waiting.get(&id).cloned(),
        // A client's own token: with one request under way there is no doubt whose it is.
        None if waiting.len() == 1 => waiting.values().next().cloned(),
        None => None,
    }
}
