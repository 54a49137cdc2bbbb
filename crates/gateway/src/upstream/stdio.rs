//! Upstreams in processes that we start: one process, one conversation. Only a server that is
//! declared stateless serves several conversations with one process, each call by an id of its own.
//!
//! A process sees nothing of our environment but PATH, HOME and LANG, and ends with its
//! conversation, together with whatever it started itself. What else it may do is narrowed by the
//! launcher that it is started through. A message is written whole or not at
//! all; a line that is longer than a message may be ends the process.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::codec::{AnyDelimiterCodec, AnyDelimiterCodecError, FramedRead};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::link::TOOLS_CHANGED;
use super::{
    LinkError, Listener, MESSAGES_WAITING_MAX, Messages, Outgoing, Passed, Target, Transport,
    UPSTREAM_MESSAGE_MAX, requests,
};
use crate::intake::Intake;
use crate::shares::Open;

/// What of our environment a server's process sees.
const PASSED_ON: [&str; 3] = ["PATH", "HOME", "LANG"];

/// The most messages that wait to be written to a process that does not read.
const WRITES_WAITING_MAX: usize = 64;

/// How long a process may take to read before what is to be written to it is given up: it has not
/// seen it.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// How long a process may take to end once it is asked to.
const END_WITHIN: Duration = Duration::from_secs(2);

/// The place of one process among those that may run.
pub(crate) struct ProcessPlace {
    pub(crate) _one_of_all: OwnedSemaphorePermit,
    pub(crate) _one_of_its_agent: Option<Open>,
}

/// What is to be written to a process.
enum Line {
    /// The request with this id, if somebody waits for its answer by then.
    Of(u64),
    /// This.
    Said(Bytes),
}

/// Who waits for what the process says.
#[derive(Default)]
struct Waiting(Mutex<HashMap<u64, Waiter>>);

struct Waiter {
    passing: Passing,
    /// The request, until it is written.
    line: Option<Bytes>,
    /// The progress token of the request.
    progress: Option<Value>,
}

/// Passes on what the process says to one who waits for it.
#[derive(Clone)]
struct Passing {
    to: mpsc::Sender<Passed>,
    intake: Intake,
}

/// A conversation with a process.
pub(crate) struct StdioTransport {
    lines: mpsc::Sender<Line>,
    waiting: Arc<Waiting>,
    ended: CancellationToken,
}

impl StdioTransport {
    /// Starts the process of `target`. It ends when the conversation does; `place` is its place
    /// among the processes that may run.
    pub(crate) fn start(
        target: &Target,
        base_environment: &[(String, String)],
        (place, listener): (ProcessPlace, Arc<dyn Listener>),
        tasks: &TaskTracker,
    ) -> Result<Self, LinkError> {
        let Target::Stdio { command, args, env, launcher, is_stateless } = target else {
            return Err(LinkError::Unreached("the server is not a process".to_owned()));
        };
        let launcher = launcher.as_ref().map_err(|why| LinkError::Unreached(why.clone()))?;
        let words = launcher.iter().map(OsString::as_os_str).chain([command.as_os_str()]);
        let words: Vec<_> = words.chain(args.iter().map(OsStr::new)).collect();
        // What a server writes there may hold what it was told: it is nobody's to read. A launcher
        // tells there why it could not start it, and gives it none of it.
        let errors = if launcher.is_empty() { Stdio::null() } else { Stdio::inherit() };
        let passed = base_environment.iter().filter(|(name, _)| PASSED_ON.contains(&name.as_str()));
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .env_clear()
            .envs(passed.map(|(name, value)| (name, value)))
            .envs(env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                LinkError::Unreached(format!("could not start `{}`: {error}", command.display()))
            })?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (input, output) =
            pipes.ok_or_else(|| LinkError::Unreached("the process has no pipes".to_owned()))?;
        let (waiting, ended) = (Arc::new(Waiting::default()), CancellationToken::new());
        let (lines, to_write) = mpsc::channel(WRITES_WAITING_MAX);
        tasks.spawn(write(input, (to_write, waiting.clone()), ended.clone()));
        let (is_shared, reading) = (*is_stateless, waiting.clone());
        let reader = Reader { waiting: reading, listener, lines: lines.clone(), is_shared };
        tasks.spawn(watch(child, output, (reader, ended.clone()), place));
        Ok(Self { lines, waiting, ended })
    }
}

#[async_trait]
impl Transport for StdioTransport {
    async fn send(&self, message: Outgoing) -> Result<Messages, LinkError> {
        let gone = || LinkError::Unreached("the process has ended".to_owned());
        let (sender, receiver) = mpsc::channel(MESSAGES_WAITING_MAX);
        let line = line(&message.body);
        let to_write = if let Some(id) = message.id {
            let passing = Passing { to: sender, intake: message.intake };
            let waiter = Waiter { passing, line: Some(line), progress: message.progress };
            self.waiting.insert(id, waiter);
            Line::Of(id)
        } else {
            Line::Said(line)
        };
        // The end clears those who wait after it is said: whoever came later sees it here.
        if self.ended.is_cancelled() {
            message.id.into_iter().for_each(|id| self.forget(id));
            return Err(gone());
        }
        let room = tokio::time::timeout(READ_WITHIN, self.lines.reserve()).await;
        let unread = |_| LinkError::Unreached("the process does not read".to_owned());
        room.map_err(unread)?.map_err(|_| gone())?.send(to_write);
        Ok(Messages::Passed(receiver))
    }

    fn forget(&self, id: u64) {
        self.waiting.remove(id);
    }

    fn is_alive(&self) -> bool {
        !self.ended.is_cancelled()
    }

    async fn close(&self) {
        self.ended.cancel();
    }
}

impl Drop for StdioTransport {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

impl Waiting {
    fn insert(&self, id: u64, waiter: Waiter) {
        self.0.lock().expect("no panic while it is held").insert(id, waiter);
    }

    fn remove(&self, id: u64) -> Option<Waiter> {
        self.0.lock().expect("no panic while it is held").remove(&id)
    }

    /// The request with this id, which is written now, if somebody waits for its answer.
    fn line(&self, id: u64) -> Option<Bytes> {
        self.0.lock().expect("no panic while it is held").get_mut(&id)?.line.take()
    }

    fn clear(&self) {
        self.0.lock().expect("no panic while it is held").clear();
    }

    /// Who asked for the progress that `params` tell of: exactly one request has the token.
    fn of_progress(&self, params: Option<&RawValue>) -> Option<Passing> {
        let told: Progress = serde_json::from_str(params?.get()).ok()?;
        let waiting = self.0.lock().expect("no panic while it is held");
        let mut same =
            waiting.values().filter(|waiter| waiter.progress.as_ref() == Some(&told.token));
        same.next().filter(|_| same.next().is_none()).map(|waiter| waiter.passing.clone())
    }

    /// Whoever waits, if that is one: another notification is then on account of that request.
    fn only(&self) -> Option<Passing> {
        let waiting = self.0.lock().expect("no panic while it is held");
        let mut all = waiting.values();
        all.next().filter(|_| all.next().is_none()).map(|waiter| waiter.passing.clone())
    }
}

/// One line with `body`. A newline within a message would be two messages: JSON has none outside
/// of strings, and those it has as white space mean nothing.
fn line(body: &[u8]) -> Bytes {
    let mut line = Vec::with_capacity(body.len() + 1);
    line.extend(body.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
    line.push(b'\n');
    line.into()
}

/// Writes lines whole, whoever has stopped waiting for them once they are begun. What nobody waits for
/// before that is not asked any more.
async fn write(
    mut input: ChildStdin,
    (mut lines, asked): (mpsc::Receiver<Line>, Arc<Waiting>),
    ended: CancellationToken,
) {
    let writing = async {
        while let Some(line) = lines.recv().await {
            let line = match line {
                Line::Of(id) => asked.line(id),
                Line::Said(line) => Some(line),
            };
            let Some(line) = line else { continue };
            if input.write_all(&line).await.is_err() || input.flush().await.is_err() {
                return;
            }
        }
    };
    ended.run_until_cancelled(writing).await;
    ended.cancel();
}

/// Passes on what the process says until it ends or the conversation does.
async fn watch(
    mut child: Child,
    output: ChildStdout,
    (reader, ended): (Reader, CancellationToken),
    _place: ProcessPlace,
) {
    let newline = || vec![b'\n'];
    let codec = AnyDelimiterCodec::new_with_max_length(newline(), newline(), UPSTREAM_MESSAGE_MAX);
    let mut lines = FramedRead::new(output, codec);
    let reading = async {
        loop {
            match lines.next().await {
                Some(Ok(line)) => {
                    if !reader.deliver(line).await {
                        return;
                    }
                }
                // An answer that is too long is one caller's: others share the process.
                Some(Err(AnyDelimiterCodecError::MaxChunkLengthExceeded)) if reader.is_shared => {
                    // After an error the reader says once that there is nothing more.
                    let _ = lines.next().await;
                }
                // Otherwise it is the end, as what cannot be read is: nothing after it can be
                // trusted.
                _ => return,
            }
        }
    };
    ended.run_until_cancelled(reading).await;
    ended.cancel();
    // Whoever waits learns that nobody will answer.
    reader.waiting.clear();
    end(&mut child).await;
}

/// Ends a process and all that it started: first asked, then killed.
async fn end(child: &mut Child) {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let tell = |signal| {
        // A group that is gone is what is wanted.
        let _ = group.map(|group| killpg(group, signal));
    };
    tell(Signal::SIGTERM);
    if tokio::time::timeout(END_WITHIN, child.wait()).await.is_err() {
        tell(Signal::SIGKILL);
        if let Err(error) = child.wait().await {
            tracing::debug!(%error, "a server's process had ended");
        }
    }
}

/// Knows for whom a line of the process is.
struct Reader {
    waiting: Arc<Waiting>,
    listener: Arc<dyn Listener>,
    lines: mpsc::Sender<Line>,
    /// Whether several callers wait: then what answers no call may be about any of them, and is
    /// told to none.
    is_shared: bool,
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
    token: Value,
}

impl Reader {
    /// Delivers one line; false if the process cannot be talked to any more.
    async fn deliver(&self, line: Bytes) -> bool {
        // What is not JSON is not for us: some servers print there what they should not.
        let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(&line) else { return true };
        let Envelope { id, method, params } = envelope;
        let receiver = match (id, method.as_deref()) {
            // Nobody answers it. What cannot be answered is the end, unless others depend on the process.
            (Some(id), Some(method)) if !requests::is_short(id, method) => return self.is_shared,
            // What a process asks names no call: it is on account of the only one, or of none.
            (Some(id), Some(method)) => match self.only() {
                Some(receiver) if method != "ping" => Some(receiver),
                _ => return self.refuse(id, method),
            },
            (Some(id), None) => {
                let id = id.get().parse().ok();
                id.and_then(|id| self.waiting.remove(id)).map(|waiter| waiter.passing)
            }
            (None, Some("notifications/progress")) if !self.is_shared => {
                self.waiting.of_progress(params)
            }
            (None, Some(TOOLS_CHANGED)) => {
                self.listener.tools_changed();
                self.only()
            }
            (None, Some(_)) => self.only(),
            (None, None) => None,
        };
        if let Some(Passing { to, intake }) = receiver {
            // Whoever stopped waiting does not want it.
            let _ = to.send(intake.keep(line).map(Box::new)).await;
        }
        true
    }

    /// Who alone waits, of a process that serves one conversation.
    fn only(&self) -> Option<Passing> {
        if self.is_shared { None } else { self.waiting.only() }
    }

    fn refuse(&self, id: &RawValue, method: &str) -> bool {
        let answer = if method == "ping" {
            requests::pong(id)
        } else {
            self.listener.refused(requests::cause(method));
            requests::refusal(id)
        };
        // A process that asks without reading what it is told is ended, unless others depend on it.
        self.lines.try_send(Line::Said(line(&answer))).is_ok() || self.is_shared
    }
}
