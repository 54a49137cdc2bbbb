//! What can be typed of labels.

use clap::Subcommand;
use model::Marked;

use super::{Signed, Socket};

/// Labels of what was read, for policy to read.
#[derive(Debug, Subcommand)]
pub(crate) enum Label {
    /// Take a label off. Not for the sponsor of the agent whose task it is.
    Remove {
        /// The label.
        label: model::Label,
        /// What it is on: `task/ID` (the root task), `kept/SERVER` or `kept/SERVER/NAME`.
        what: Marked,
        /// Why it no longer holds.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        signed: Signed,
        #[command(flatten)]
        socket: Socket,
    },
}
