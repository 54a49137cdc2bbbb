//! What can be typed of what is in reach, and of what could be less.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use model::Timestamp;

use super::Socket;
use super::policy::back;

/// Since when: a time, or how far back.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Since {
    /// Since this time.
    At(Timestamp),
    /// Since so long ago.
    Ago(Duration),
}

/// Shows what is in reach.
#[derive(Debug, Args)]
pub(crate) struct Reach {
    /// The instance.
    pub(crate) instance: String,
    /// Show what came into reach and went out of it since then, or since a week ago: a time (RFC 3339), a date, or how far back
    /// (`7d`).
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub(crate) since: Option<Since>,
    /// Print it as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) socket: Socket,
}

/// Shows what nobody is asked about.
#[derive(Debug, Args)]
pub(crate) struct Unattended {
    /// The agent; without one, all.
    pub(crate) agent: Option<String>,
    /// Its uses since then count: a time (RFC 3339), a date, or how far back (`7d`).
    #[arg(long, value_name = "TIME", value_parser = since, default_value = "30d")]
    pub(crate) since: Since,
    /// Print it as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) socket: Socket,
}

/// Suggests a narrower policy.
#[derive(Debug, Args)]
pub(crate) struct Suggest {
    /// The agent.
    pub(crate) agent: String,
    /// What it used since then counts: a time (RFC 3339), a date, or how far back (`7d`).
    #[arg(long, value_name = "TIME", value_parser = since, default_value = "30d")]
    pub(crate) since: Since,
    /// Write the policy to this file, which must not exist, instead of printing it.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) socket: Socket,
}

fn since(text: &str) -> Result<Since, String> {
    let at = text.parse().map(Since::At);
    at.or_else(|_| back(text).map(Since::Ago)).map_err(|why| format!("{why}, or a date"))
}
