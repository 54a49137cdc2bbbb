//! The answer to a call as a stream: what is said while the call runs, and its end.

use bytes::Bytes;
use mcp::DenialStyle;
use model::DecisionId;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::DropGuard;

use crate::entry::About;
use crate::refusal::Refusal;
use crate::reply::{Reply, ReplyBody};
use crate::room::Kept;
use crate::way_back::{Lost, Message, Saying, WayBack};

/// How a forwarded call ended, for whoever waits for it.
pub(crate) enum Ended {
    /// With the status that it has if nothing was said before it, and by which decision.
    Answer(u16, Kept, DecisionId),
    Refused(Refusal),
}

impl Ended {
    /// The answer and its status, or the refusal. One that made room for others is unknown to the
    /// client.
    pub(crate) fn taken(self) -> Result<(u16, Bytes), Refusal> {
        match self {
            Self::Answer(status, kept, decision) => {
                let whole = kept.whole().ok_or(Refusal::OutcomeUnknown { decision });
                Ok((status, whole?))
            }
            Self::Refused(refusal) => Err(refusal),
        }
    }
}

/// Tells a refusal that ends a stream.
pub(crate) struct Telling {
    pub(crate) about: About,
    pub(crate) style: DenialStyle,
    pub(crate) way_back: WayBack,
}

/// What a stream tells: one JSON-RPC message.
#[derive(Debug)]
pub struct Told {
    /// The message.
    pub message: Bytes,
    /// Whether it is the answer, the last one.
    pub is_answer: bool,
    /// Cancelled if the client loses it, where it asks something.
    pub asks: Option<Lost>,
}

/// How a call ends, what tells it, and what cuts it if it is dropped before.
type End = (oneshot::Receiver<Ended>, Telling, DropGuard);

/// Messages for the client, each a JSON-RPC message, the answer last. Dropped before that, the call
/// is cut: the client went away.
pub struct Events {
    first: Option<Message>,
    heard: mpsc::Receiver<Message>,
    end: Option<Box<End>>,
    way_back: WayBack,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Events {
    /// What was heard first, and what follows it.
    pub(crate) fn new((first, heard): (Message, mpsc::Receiver<Message>), end: End) -> Self {
        let way_back = end.1.way_back.clone();
        Self { first: Some(first), heard, end: Some(Box::new(end)), way_back }
    }

    /// The way back on which they are told.
    pub fn way_back(&self) -> WayBack {
        self.way_back.clone()
    }

    /// The next message; none after the answer. Who stops waiting for it loses none.
    pub async fn recv(&mut self) -> Option<Told> {
        while let Some(message) = self.next().await {
            let Saying { kept, asks } = *message;
            // Otherwise it made room for others.
            if let Some(message) = kept.whole() {
                return Some(Told { message, is_answer: false, asks });
            }
        }
        let (ended, ..) = self.end.as_deref_mut()?;
        // If there is none, the task that called broke: its outcome is recorded as unknown.
        let ended = ended.await.unwrap_or(Ended::Refused(Refusal::Broken));
        let (_, telling, gone) = *self.end.take()?;
        let _ = gone.disarm();
        let taken = ended.taken();
        let message = taken.map_or_else(|refusal| telling.told(&refusal), |(_, body)| body);
        Some(Told { message, is_answer: true, asks: None })
    }

    async fn next(&mut self) -> Option<Message> {
        match self.first.take() {
            Some(first) => Some(first),
            None => self.heard.recv().await,
        }
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
    /// The answer that tells of `refusal`.
    pub(crate) fn reply(&self, refusal: &Refusal) -> Reply {
        crate::list::refusal_reply(refusal, &self.about, Some(self.style))
    }

    fn told(self, refusal: &Refusal) -> Bytes {
        if !refusal.is_decided() {
            self.way_back.refuse(refusal.cause());
        }
        match self.reply(refusal).body {
            ReplyBody::Json(body) => body,
            ReplyBody::Empty | ReplyBody::Events(_) => Bytes::new(),
        }
    }
}
