//! What can be typed of budgets.

use clap::Subcommand;

use super::Socket;

/// Budgets: how much may be used up, and what is left.
#[derive(Debug, Subcommand)]
pub(crate) enum Budget {
    /// List the budgets in force, with what is left of each.
    List {
        #[command(flatten)]
        socket: Socket,
    },
}
