//! Upstream MCP servers: how a message reaches one and how what it says comes back.
//!
//! A [`Link`] is one conversation with one server, over HTTP or with a process of our own. It
//! carries JSON-RPC messages and knows nothing of callers, policy or permits: those who may use it
//! hold a permit. What a server asks while nobody's call is under way is refused here.

mod carrier;
mod http;
mod link;
mod messages;
mod requests;
mod stdio;

pub(crate) use http::{HttpClient, HttpTransport, client};
pub use link::LinkError;
pub(crate) use link::{Asking, CANCELLED, Greeting, Link, Most, Said, stateless_meta};
pub(crate) use messages::{Messages, Passed};
pub(crate) use requests::{ServerAsks, answer, cause, pong, refusal};
pub(crate) use stdio::{ProcessPlace, StdioTransport};

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;

use crate::intake::Intake;

/// The largest message that an upstream may send, in bytes.
pub const UPSTREAM_MESSAGE_MAX: usize = 8 << 20;

/// The most messages of one answer that wait to be read by the client.
pub(crate) const MESSAGES_WAITING_MAX: usize = 64;

/// Where an upstream server is.
#[derive(Clone, Debug)]
pub enum Target {
    /// At a URL.
    Http {
        /// The URL of its endpoint.
        url: ::http::Uri,
        /// A fixed header that it wants instead of our assertion.
        header: Option<(::http::HeaderName, ::http::HeaderValue)>,
    },
    /// In a process that we start.
    Stdio {
        /// The program.
        command: PathBuf,
        /// Its arguments.
        args: Vec<String>,
        /// Its environment beside PATH, HOME and LANG.
        env: BTreeMap<String, String>,
        /// What it is started through, a program and arguments before its own: it narrows what the
        /// process may do. Nothing starts the program itself; or why it is not to be started.
        launcher: Result<Vec<OsString>, String>,
        /// That it keeps nothing from one call to the next: one process serves all callers, and
        /// what it says besides answers is for nobody.
        is_stateless: bool,
    },
}

impl Target {
    /// Whether it is shown an assertion of ours: a process is ours anyway, and who has a header
    /// of its own gets that.
    pub(crate) const fn is_shown_assertions(&self) -> bool {
        matches!(self, Self::Http { header: None, .. })
    }

    /// Whether one process serves all callers.
    pub(crate) const fn is_shared(&self) -> bool {
        matches!(self, Self::Stdio { is_stateless: true, .. })
    }
}

/// The version of the protocol that a message is sent under, for servers behind HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// None is agreed on yet: the session era's greeting.
    Greeting,
    /// The session era, this version.
    Session(&'static str),
    /// The stateless era: header and body say the same.
    Stateless(&'static str),
}

/// One message to an upstream.
#[derive(Clone)]
pub(crate) struct Outgoing {
    /// The JSON-RPC id under which we ask; none for what wants no answer.
    pub(crate) id: Option<u64>,
    /// The method; none if the message answers a request of the server's.
    pub(crate) method: Option<String>,
    /// What the header `Mcp-Name` carries in the stateless era.
    pub(crate) name: Option<String>,
    /// Headers computed from the arguments, in the stateless era.
    pub(crate) param_headers: Vec<(::http::HeaderName, ::http::HeaderValue)>,
    /// The whole message.
    pub(crate) body: Bytes,
    /// Our assertion of who calls, for this upstream alone.
    pub(crate) assertion: Option<String>,
    /// The version of the protocol.
    pub(crate) protocol: Protocol,
    /// The token by which the server names this request in its progress notifications.
    pub(crate) progress: Option<Value>,
    /// Where what the server says on its account has room.
    pub(crate) intake: Intake,
}

/// Told of what a server says that answers nothing.
pub(crate) trait Listener: Send + Sync {
    /// The server asked something of its client and was refused.
    fn refused(&self, cause: &'static str);
    /// The server says that its tools have changed.
    fn tools_changed(&self);
}

/// Carries messages to one upstream and brings back what it says.
#[async_trait]
pub(crate) trait Transport: Send + Sync {
    /// Sends `message`. What comes back on its account follows, the answer last; there is none if
    /// the way to the server breaks.
    async fn send(&self, message: Outgoing) -> Result<Messages, LinkError>;

    /// Forgets a request: nobody waits for its answer any more.
    fn forget(&self, id: u64);

    /// Whether the other end is, as far as is known, still there.
    fn is_alive(&self) -> bool;

    /// Ends the conversation.
    async fn close(&self);
}
