//! `chancery mcp`: puts a client that speaks MCP on stdio, or HTTP on loopback, under governance.
//!
//! All runs below one client process are one instance: another process holds its key, obtains tokens
//! with the agent's key, and signs a proof for every request (`holder`). A run passes messages on as
//! they are; what the gateway refuses, the client reads.

mod answer;
mod credentials;
mod held;
mod holder;
mod instance;
mod listen;
mod stdio;
mod wire;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use model::Sha256Digest;

pub(crate) use credentials::Credentials;
pub(crate) use holder::run as hold;
pub(crate) use wire::Gateway;

/// What a run of the shim needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The upstream server.
    pub(crate) server: String,
    /// The agent.
    pub(crate) agent: String,
    /// The file of the agent's key.
    pub(crate) key: PathBuf,
    /// The base URL of the gateway.
    pub(crate) url: String,
    /// The socket at which the service on this host vouches for processes.
    pub(crate) host: PathBuf,
    /// What a system signed to start the work.
    pub(crate) initiation: Option<Initiation>,
    /// Where to speak HTTP instead of stdio.
    pub(crate) listen: Option<SocketAddr>,
}

/// What a system signed to start the work, as it was read once.
#[derive(Clone, Debug)]
pub(crate) struct Initiation {
    file: PathBuf,
    text: String,
}

impl Initiation {
    /// Reads the one in `file`.
    pub(crate) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file);
        let text = text.with_context(|| format!("could not read `{}`", file.display()))?;
        Ok(Self { file: std::path::absolute(file)?, text: text.trim().to_owned() })
    }

    /// By what another process knows that it has read the same.
    fn digest(&self) -> String {
        Sha256Digest::of(self.text.as_bytes()).to_string()
    }
}

/// Runs until the client goes away.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let pem = keys::read_private(&options.key).context("could not read the agent's key")?;
    let pem = String::from_utf8(pem).unwrap_or_default();
    let credentials = Credentials::Held(Box::new(held::Held::meet(&options, &pem).await?));
    let gateway = Gateway::new(&options.url, &options.server, credentials)?;
    // What cannot work is said at once, and not to whoever waits for an answer.
    gateway.show("POST").await?;
    match options.listen {
        Some(address) => listen::run(gateway, address).await,
        None => stdio::run(gateway).await,
    }
}
