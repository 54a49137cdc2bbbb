//! `chancery mcp`: puts a client that speaks MCP on stdio, or HTTP on loopback, under governance.
//!
//! Each run is one instance: it makes a key that never leaves the process, obtains tokens with the
//! agent's key, and signs a proof for every request. It passes messages on as they are; what the
//! gateway refuses, the client reads.

mod answer;
mod credentials;
mod listen;
mod stdio;
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;

pub(crate) use credentials::Credentials;
pub(crate) use wire::{Gateway, HttpClient, http_client};

/// What a run of the shim needs to know.
pub(crate) struct Options {
    /// The upstream server.
    pub(crate) server: String,
    /// The agent.
    pub(crate) agent: String,
    /// The file of the agent's key.
    pub(crate) key: PathBuf,
    /// The base URL of the gateway.
    pub(crate) url: String,
    /// Where to speak HTTP instead of stdio.
    pub(crate) listen: Option<SocketAddr>,
}

/// Runs until the client goes away.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let pem = keys::read_private(&options.key).context("could not read the agent's key")?;
    let pem = String::from_utf8(pem).unwrap_or_default();
    let credentials = Credentials::new(&options, &pem)?;
    let gateway = Gateway::new(&options.url, &options.server, credentials)?;
    // What cannot work is said at once, and not to whoever waits for an answer.
    gateway.credentials().token(gateway.client()).await?;
    match options.listen {
        Some(address) => listen::run(gateway, address).await,
        None => stdio::run(gateway).await,
    }
}
