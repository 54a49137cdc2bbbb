//! The arguments of the guided demo.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

/// Runs the guided demo.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Leave everything running afterwards, until interrupted, and say where it is.
    #[arg(long)]
    pub(crate) keep: bool,
}

/// Runs a tool server of the demo.
#[derive(Debug, Args)]
pub(crate) struct DemoServer {
    /// Which: `payments`, `crm` or `tickets`.
    pub(crate) name: String,
    /// The gateway whose assertions it trusts.
    #[arg(long)]
    pub(crate) issuer: String,
    /// Its own name in assertions; default: the URL at which it listens.
    #[arg(long)]
    pub(crate) audience: Option<String>,
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Where it writes down what reaches it.
    #[arg(long)]
    pub(crate) dir: PathBuf,
}
