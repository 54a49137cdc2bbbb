//! What can be typed of signals that were a mistake.

use clap::{Args, Subcommand};
use model::Timestamp;

use super::{Signed, Socket};

/// What a directory, or a stream for it, told by mistake: one person asks that it is undone, another
/// approves.
#[derive(Debug, Subcommand)]
pub(crate) enum Signal {
    /// Ask that whom an event suspended is back: it waits an hour for somebody else's approval.
    Undo(UndoSignal),
    /// Approve what somebody else asked for; go on with what was cut short.
    Approve {
        /// Its id.
        id: String,
        #[command(flatten)]
        signed: Signed,
        #[command(flatten)]
        socket: Socket,
    },
    /// List what was asked for, whatever became of it.
    List {
        #[command(flatten)]
        socket: Socket,
    },
}

/// What is undone.
#[derive(Debug, Args)]
pub(crate) struct UndoSignal {
    /// The one record that tells of it (`person/restrict`).
    #[arg(required_unless_present = "directory", conflicts_with_all = ["directory", "stream", "from", "until"])]
    pub(crate) record: Option<String>,
    /// All that this directory told for a time.
    #[arg(long, requires_all = ["from", "until"])]
    pub(crate) directory: Option<String>,
    /// All that this stream told of it, instead of the directory itself.
    #[arg(long, requires = "directory")]
    pub(crate) stream: Option<String>,
    /// From when it was wrong (RFC 3339).
    #[arg(long, requires = "directory")]
    pub(crate) from: Option<Timestamp>,
    /// Until when.
    #[arg(long, requires = "directory")]
    pub(crate) until: Option<Timestamp>,
    /// Why.
    #[arg(long)]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) signed: Signed,
    #[command(flatten)]
    pub(crate) socket: Socket,
}
