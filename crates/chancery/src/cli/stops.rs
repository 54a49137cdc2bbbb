//! What can be typed to stop at once, and to start again.

use std::path::PathBuf;

use clap::Args;
use model::{AgentName, StopTarget, ToolRef};

use super::Socket;

/// What is stopped or started.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Target {
    /// Whatever any agent does.
    #[arg(long)]
    all: bool,
    /// Calls of a tool (`SERVER/TOOL`).
    #[arg(long)]
    tool: Option<ToolRef>,
    /// Whatever instances of an agent do, and all to whom they handed work on.
    #[arg(long)]
    agent: Option<AgentName>,
}

impl Target {
    /// What was named: one of the three, as the parser sees to.
    pub(crate) fn what(self) -> StopTarget {
        let tool = self.tool.map(StopTarget::Tool);
        tool.or_else(|| self.agent.map(StopTarget::Agent)).unwrap_or(StopTarget::All)
    }
}

/// Stops at once.
#[derive(Debug, Args)]
pub(crate) struct Stop {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Why.
    #[arg(long)]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) socket: Socket,
}

/// Starts again.
#[derive(Debug, Args)]
pub(crate) struct Start {
    #[command(flatten)]
    pub(crate) target: Target,
    /// What was found.
    #[arg(long)]
    pub(crate) reason: String,
    /// The founder who asks, if it is not the administrator of this machine.
    #[arg(long = "as", value_name = "FOUNDER", requires = "key")]
    pub(crate) founder: Option<String>,
    /// The file of the founder's key.
    #[arg(long, requires = "founder")]
    pub(crate) key: Option<PathBuf>,
    /// The base URL of the gateway, for which the founder signs; default: that of the deployment
    /// that `dev` runs, else `http://127.0.0.1:8420`.
    #[arg(long, env = "CHANCERY_URL")]
    pub(crate) url: Option<String>,
    #[command(flatten)]
    pub(crate) socket: Socket,
}
