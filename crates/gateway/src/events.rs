//! The answer to a call as a stream: what is said while the call runs, and its end.

use bytes::Bytes;
use mcp::DenialStyle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::DropGuard;

use crate::authenticate::Caller;
use crate::entry::About;
use crate::recorder::Recorder;
use crate::refusal::Refusal;
use crate::reply::ReplyBody;

/// A message for the client. A channel keeps room for 32 of them as long as it is there: boxed, they
/// take a quarter of it.
pub(crate) type Message = Box<Bytes>;

/// How a forwarded call ended, for whoever waits for it.
pub(crate) enum Ended {
    /// With the status that it has if nothing was said before it.
    Answer(u16, Bytes),
    Refused(Refusal),
}

/// Tells a refusal that ends a stream.
pub(crate) struct Telling {
    pub(crate) about: About,
    pub(crate) style: DenialStyle,
    pub(crate) caller: Caller,
    pub(crate) recorder: Recorder,
}

/// How a call ends, what tells it, and what cuts it if it is dropped before.
type End = (oneshot::Receiver<Ended>, Telling, DropGuard);

/// Messages for the client, each a JSON-RPC message, the answer last. Dropped before that, the call
/// is cut: the client went away.
pub struct Events {
    first: Option<Bytes>,
    heard: mpsc::Receiver<Message>,
    end: Option<Box<End>>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Events {
    /// What was heard first, and what follows it.
    pub(crate) fn new((first, heard): (Message, mpsc::Receiver<Message>), end: End) -> Self {
        Self { first: Some(*first), heard, end: Some(Box::new(end)) }
    }

    /// The next message; none after the answer.
    pub async fn recv(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        if let Some(message) = self.heard.recv().await {
            return Some(*message);
        }
        let (ended, ..) = self.end.as_deref_mut()?;
        let ended = ended.await;
        let (_, telling, gone) = *self.end.take()?;
        let _ = gone.disarm();
        Some(match ended {
            Ok(Ended::Answer(_, body)) => body,
            Ok(Ended::Refused(refusal)) => telling.told(&refusal),
            // The task that called broke: its outcome is recorded as unknown.
            Err(_) => telling.told(&Refusal::Broken),
        })
    }
}

impl Drop for Events {
    /// A refusal that the client did not read to is on the record all the same.
    fn drop(&mut self) {
        let Some((mut ended, telling, _gone)) = self.end.take().map(|end| *end) else { return };
        if let Ok(Ended::Refused(refusal)) = ended.try_recv() {
            telling.told(&refusal);
        }
    }
}

impl Telling {
    fn told(self, refusal: &Refusal) -> Bytes {
        if !refusal.is_decided() {
            let who = (self.caller.agent, self.caller.instance);
            self.recorder.refuse(refusal.cause(), Some(who));
        }
        let reply = crate::list::refusal_reply(refusal, &self.about, Some(self.style));
        match reply.body {
            ReplyBody::Json(body) => body,
            ReplyBody::Empty | ReplyBody::Events(_) => Bytes::new(),
        }
    }
}
