//! What can be typed of tasks and mandates.

use clap::Subcommand;

use super::Socket;

/// Units of work, each held by one instance.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// List tasks.
    List {
        #[command(flatten)]
        socket: Socket,
    },
    /// Draw a task with all that was handed on of it.
    Show {
        /// Its id.
        id: String,
        /// Write it as JSON instead.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        socket: Socket,
    },
    /// Take a task away: it is over at once, with all that was handed on of it.
    End {
        /// Its id.
        id: String,
        /// Why.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        socket: Socket,
    },
}

/// On what tasks rest: who authorised which purpose.
#[derive(Debug, Subcommand)]
pub(crate) enum Mandate {
    /// List mandates.
    List {
        #[command(flatten)]
        socket: Socket,
    },
    /// Withdraw a mandate: all tasks that rest on it are over at once.
    Withdraw {
        /// Its id.
        id: String,
        /// Why.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        socket: Socket,
    },
}
