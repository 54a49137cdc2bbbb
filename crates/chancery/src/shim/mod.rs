//! `chancery mcp`: puts a client that speaks MCP on stdio, or HTTP on loopback, under governance.
//!
//! Each run is one instance: it makes a key that never leaves the process, obtains tokens with the
//! agent's key, and signs a proof for every request. It passes messages on as they are; what the
//! gateway refuses, the client reads.

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
    let pem = std::fs::read_to_string(&options.key)
        .with_context(|| format!("could not read the agent's key `{}`", options.key.display()))?;
    let credentials = Credentials::new(&options, &pem)?;
    let gateway = Gateway::new(&options.url, &options.server, credentials)?;
    gateway.credentials().token(gateway.client()).await.with_context(|| {
        format!("could not get a token for agent `{}` at `{}`", options.agent, options.url)
    })?;
    match options.listen {
        Some(address) => listen::run(gateway, address).await,
        None => stdio::run(gateway).await,
    }
}
