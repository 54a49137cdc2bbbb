//! What can be typed about the decision log.

use std::path::PathBuf;

use clap::Subcommand;

use super::Socket;

/// The log.
#[derive(Debug, Subcommand)]
pub(crate) enum Log {
    /// Verify a copy of the log's directory offline.
    Verify {
        /// The directory.
        #[arg(default_value = "state/log")]
        dir: PathBuf,
        /// The log's verifier key (`NAME+HASH+KEY`), or a file that holds it.
        #[arg(long)]
        key: String,
        /// A checkpoint that you had from elsewhere: the log must extend it.
        #[arg(long)]
        since: Option<PathBuf>,
    },
    /// Show a record, with what may be disclosed of it.
    Show {
        /// The id of a decision or a record.
        id: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// Prove that a record is in the log, as a C2SP tlog-proof.
    Prove {
        /// The id.
        id: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// Trace a decision back: tool, instance, task, mandate, purpose, sponsor, rule, outcome.
    Chain {
        /// The decision.
        id: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// Show the newest records.
    Tail {
        /// How many.
        #[arg(short, default_value_t = 20)]
        n: usize,
        #[command(flatten)]
        socket: Socket,
    },
    /// Write all records, one a line, to standard output.
    Export {
        #[command(flatten)]
        socket: Socket,
    },
    /// Decide every recorded decision again; all must agree.
    Replay {
        #[command(flatten)]
        socket: Socket,
    },
}
