//! What goes back to the client, before anybody thinks of HTTP types.

use bytes::Bytes;

use crate::events::Events;

/// An answer to one HTTP request.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Headers beside the content type.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: ReplyBody,
}

/// The body of an answer.
#[derive(Debug)]
pub enum ReplyBody {
    /// None.
    Empty,
    /// One JSON document.
    Json(Bytes),
    /// Server-sent events, each one JSON-RPC message, the answer last.
    Events(Events),
}

impl Reply {
    /// An answer without a body.
    pub const fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: ReplyBody::Empty }
    }

    /// An answer with one JSON document.
    pub fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, headers: Vec::new(), body: ReplyBody::Json(body.into()) }
    }

    /// The answer with one more header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}
