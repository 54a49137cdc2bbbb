//! What a server says on account of one message, as it arrives.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming};
use mcp::SseParser;
use tokio::sync::mpsc;

use super::UPSTREAM_MESSAGE_MAX;
use crate::intake::{Arriving, Intake};
use crate::room::Kept;

/// Messages of a server. Who stops waiting for the next one loses none.
pub(crate) enum Messages {
    /// There is none.
    Nothing,
    /// Somebody reads them from a process and knows that they are for us.
    Passed(mpsc::Receiver<Passed>),
    /// They are in the body of a response. Dropping it closes the connection: a server that watches
    /// it may stop.
    Body(Box<Body>),
}

/// A message that somebody passed on: none for one that had no room.
pub(crate) type Passed = Option<Box<Kept>>;

/// A body that is being read.
pub(crate) struct Body {
    /// None once it has ended, or cannot be read further.
    incoming: Option<Incoming>,
    form: Form,
    intake: Intake,
    /// What has arrived and was not read yet, or read last.
    arriving: Option<Arriving>,
}

/// Messages that were read and not passed on, and how many bytes they take.
#[derive(Default)]
struct Read {
    messages: VecDeque<Bytes>,
    bytes: usize,
}

enum Form {
    /// One message.
    Document(BytesMut),
    /// A stream of them, with those that were read already.
    Events(Box<SseParser>, Read),
}

impl Messages {
    /// Those in `incoming`, which is a stream of events or one document.
    pub(crate) fn of(incoming: Incoming, is_stream: bool, intake: Intake) -> Self {
        let form = if is_stream {
            Form::Events(Box::new(SseParser::new(UPSTREAM_MESSAGE_MAX)), Read::default())
        } else {
            Form::Document(BytesMut::new())
        };
        Self::Body(Box::new(Body { incoming: Some(incoming), form, intake, arriving: None }))
    }

    /// The next one; none if there will be no more, or if it had to make room for others.
    pub(crate) async fn recv(&mut self) -> Option<Bytes> {
        match self {
            Self::Nothing => None,
            Self::Passed(messages) => messages.recv().await.flatten()?.whole(),
            Self::Body(body) => body.next().await,
        }
    }
}

impl Body {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if !self.has_room() {
                return self.end();
            }
            if let Form::Events(_, read) = &mut self.form
                && let Some(event) = read.pop()
            {
                return Some(event);
            }
            let incoming = self.incoming.as_mut()?;
            let frame = tokio::select! {
                frame = incoming.frame() => frame,
                () = given_up(self.arriving.as_ref()) => return self.end(),
            };
            let Some(frame) = frame else {
                self.incoming = None;
                return self.form.whole();
            };
            if frame.ok().and_then(|frame| self.form.take(&frame)).is_none() {
                return self.end();
            }
        }
    }

    /// Whether there is room for what it holds. What was read before gives back its own.
    fn has_room(&mut self) -> bool {
        let held = self.form.held();
        if held == 0 {
            self.arriving = None;
            return true;
        }
        self.intake.has_room(&mut self.arriving, held)
    }

    /// Nothing more is read, nor held.
    fn end(&mut self) -> Option<Bytes> {
        (self.incoming, self.arriving) = (None, None);
        self.form = Form::Document(BytesMut::new());
        None
    }
}

/// Returns once `arriving` has to be given up, which nothing has not.
async fn given_up(arriving: Option<&Arriving>) {
    match arriving {
        Some(arriving) => arriving.given_up().await,
        None => std::future::pending().await,
    }
}

/// What a message takes beside its bytes.
const MESSAGE_MIN: usize = 64;

impl Read {
    fn push(&mut self, message: Bytes) {
        self.bytes += MESSAGE_MIN + message.len();
        self.messages.push_back(message);
    }

    fn pop(&mut self) -> Option<Bytes> {
        let message = self.messages.pop_front()?;
        self.bytes -= MESSAGE_MIN + message.len();
        Some(message)
    }
}

impl Form {
    /// Reads `frame`; nothing if what comes cannot be read any further.
    fn take(&mut self, frame: &Frame<Bytes>) -> Option<()> {
        let Some(data) = frame.data_ref() else { return Some(()) };
        match self {
            Self::Document(read) if read.len() + data.len() > UPSTREAM_MESSAGE_MAX => return None,
            Self::Document(read) => read.extend_from_slice(data),
            Self::Events(parser, read) => {
                let events = parser.push(data).ok()?;
                let events = events.into_iter().filter(|event| !event.data.is_empty());
                events.for_each(|event| read.push(event.data.into()));
            }
        }
        Some(())
    }

    /// How many bytes it holds.
    fn held(&self) -> usize {
        match self {
            Self::Document(read) => read.len(),
            Self::Events(parser, read) => parser.held() + read.bytes,
        }
    }

    /// The message that ends with the body.
    fn whole(&mut self) -> Option<Bytes> {
        match self {
            Self::Document(read) => Some(std::mem::take(read).freeze()),
            Self::Events(..) => None,
        }
    }
}
