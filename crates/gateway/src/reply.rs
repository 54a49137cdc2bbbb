//! What goes back to the client, before anybody thinks of HTTP types.

use bytes::Bytes;

use crate::events::Events;
use crate::way_back::WayBack;

/// An answer to one HTTP request.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Headers beside the content type.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: ReplyBody,
    /// The way back of a request that counts until its body is taken.
    pub way_back: Option<WayBack>,
    /// What is answered instead if there is no room for the body, of what may have happened.
    pub unkept: Option<Box<Reply>>,
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
        Self::of(status, ReplyBody::Empty)
    }

    /// An answer with one JSON document.
    pub fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self::of(status, ReplyBody::Json(body.into()))
    }

    /// An answer with this body.
    pub(crate) const fn of(status: u16, body: ReplyBody) -> Self {
        Self { status, headers: Vec::new(), body, way_back: None, unkept: None }
    }

    /// The answer with one more header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}
