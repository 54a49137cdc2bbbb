//! What a server says on account of one message, as it arrives.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming};
use mcp::SseParser;
use tokio::sync::mpsc;

use super::UPSTREAM_MESSAGE_MAX;

/// Messages of a server. Who stops waiting for the next one loses none.
pub(crate) enum Messages {
    /// There is none.
    Nothing,
    /// Somebody reads them from a process and knows that they are for us.
    Passed(mpsc::Receiver<Bytes>),
    /// They are in the body of a response. Dropping it closes the connection: a server that watches
    /// it may stop.
    Body(Box<Body>),
}

/// A body that is being read.
pub(crate) struct Body {
    /// None once it has ended, or cannot be read further.
    incoming: Option<Incoming>,
    form: Form,
}

enum Form {
    /// One message.
    Document(BytesMut),
    /// A stream of them, with those that were read already.
    Events(Box<SseParser>, VecDeque<Bytes>),
}

impl Messages {
    /// Those in `incoming`, which is a stream of events or one document.
    pub(crate) fn of(incoming: Incoming, is_stream: bool) -> Self {
        let form = if is_stream {
            Form::Events(Box::new(SseParser::new(UPSTREAM_MESSAGE_MAX)), VecDeque::new())
        } else {
            Form::Document(BytesMut::new())
        };
        Self::Body(Box::new(Body { incoming: Some(incoming), form }))
    }

    /// The next one; none if there will be no more.
    pub(crate) async fn recv(&mut self) -> Option<Bytes> {
        match self {
            Self::Nothing => None,
            Self::Passed(messages) => messages.recv().await,
            Self::Body(body) => body.next().await,
        }
    }
}

impl Body {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Form::Events(_, read) = &mut self.form
                && let Some(event) = read.pop_front()
            {
                return Some(event);
            }
            let Some(frame) = self.incoming.as_mut()?.frame().await else {
                self.incoming = None;
                return self.form.whole();
            };
            if frame.ok().and_then(|frame| self.form.take(&frame)).is_none() {
                self.incoming = None;
            }
        }
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
                read.extend(events.map(|event| Bytes::from(event.data)));
            }
        }
        Some(())
    }

    /// The message that ends with the body.
    fn whole(&mut self) -> Option<Bytes> {
        match self {
            Self::Document(read) => Some(std::mem::take(read).freeze()),
            Self::Events(..) => None,
        }
    }
}
