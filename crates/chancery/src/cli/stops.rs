//! What can be typed to stop at once, and to start again.

use clap::Args;
use model::{AgentName, StopTarget, ToolRef};

use super::{Signed, Socket};

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
    #[command(flatten)]
    pub(crate) signed: Signed,
    #[command(flatten)]
    pub(crate) socket: Socket,
}
