//! Upstream MCP servers: how a message reaches one and how what it says comes back.
//!
//! A [`Link`] is one conversation with one server, over HTTP or with a process of our own. It
//! carries JSON-RPC messages and knows nothing of callers, policy or permits: those who may use it
//! hold a permit.

mod http;
mod link;
mod stdio;

pub(crate) use http::{HttpClient, HttpTransport, client};
pub use link::LinkError;
pub(crate) use link::{Link, Said, stateless_meta};
pub(crate) use stdio::StdioTransport;

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

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
    },
}

/// One message to an upstream.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    /// The JSON-RPC id under which we ask; none for a notification.
    pub(crate) id: Option<u64>,
    /// The method.
    pub(crate) method: String,
    /// What the header `Mcp-Name` carries in the stateless era.
    pub(crate) name: Option<String>,
    /// The whole message.
    pub(crate) body: Bytes,
    /// Our assertion of who calls, for this upstream alone.
    pub(crate) assertion: Option<String>,
    /// Whether the stateless era's headers go with it, and for which version.
    pub(crate) version: Option<&'static str>,
}

/// Carries messages to one upstream and brings back what it says.
#[async_trait]
pub(crate) trait Transport: Send + Sync {
    /// Sends `message`. What comes back on its account arrives on the channel, the answer last;
    /// the channel closes without an answer if the way to the server breaks.
    async fn send(&self, message: Outgoing) -> Result<mpsc::Receiver<Bytes>, LinkError>;

    /// Ends the conversation.
    async fn close(&self);
}
