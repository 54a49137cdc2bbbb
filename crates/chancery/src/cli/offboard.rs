//! What can be typed of offboarding.

use std::path::PathBuf;

use clap::Args;
use model::Timestamp;

use super::Socket;

/// What stands for no file.
pub(crate) const NO_FILE: &str = "-";

/// Reports what somebody holds.
#[derive(Debug, Args)]
pub(crate) struct Offboard {
    /// The person.
    #[arg(required_unless_present = "agent", conflicts_with = "agent")]
    pub(crate) person: Option<String>,
    /// An agent instead.
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<String>,
    /// Make the report, and write it into a file too, in JSON. It ends with 3 if anything still
    /// counts. Without it, the command says what it is for.
    #[arg(long, num_args = 0..=1, value_name = "FILE", default_missing_value = NO_FILE)]
    pub(crate) report: Option<PathBuf>,
    /// List what was done by what the person, or the agent, holds since this time (RFC 3339) too.
    #[arg(long, value_name = "TIME", requires = "report")]
    pub(crate) since: Option<Timestamp>,
    /// Print the report as JSON.
    #[arg(long, requires = "report")]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) socket: Socket,
}
