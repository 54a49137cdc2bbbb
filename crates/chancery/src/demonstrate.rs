//! `chancery demo`: gives the demo what only the binary has: itself, and how to found a deployment.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use demo::{Options, ToolServerOptions};

use crate::cli::DemoServer;

/// Not everything went as told.
const NOT_AS_TOLD: u8 = 4;

/// Plays the demo.
pub(crate) async fn run(keep: bool) -> anyhow::Result<ExitCode> {
    let binary = std::env::current_exe().context("could not find this program's own file")?;
    let as_told = demo::run(Options { binary, keep }, found).await?;
    Ok(if as_told { ExitCode::SUCCESS } else { ExitCode::from(NOT_AS_TOLD) })
}

/// Founds the deployment whose configuration is at `path`, with one founder, as development.
async fn found(path: &Path) -> anyhow::Result<()> {
    let config = crate::config::read(path, std::iter::empty())?;
    let dir = config.policy.path.as_ref().context("the demo's configuration names its policies")?;
    std::fs::write(dir.join("starter.cedar"), pdp::STARTER_POLICY)?;
    crate::founding::found(&config, vec![("founder".to_owned(), None)], true).await
}

/// Serves the tools of one of the demo's servers.
pub(crate) async fn serve_tools(server: DemoServer) -> anyhow::Result<()> {
    let DemoServer { name, issuer, audience, listen, dir } = server;
    demo::serve_tools(ToolServerOptions { name, listen, issuer, audience, dir }).await
}
