//! What can be typed of reviews.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Socket;

/// Reviews.
#[derive(Debug, Subcommand)]
pub(crate) enum Review {
    /// Open a review of agents.
    Open(OpenReview),
    /// Write what the agents of a review have, and what of it they used, to standard output.
    Export {
        /// Its id.
        id: String,
        /// As a list of SCIM resources instead of a table (CSV).
        #[arg(long)]
        scim: bool,
        #[command(flatten)]
        socket: Socket,
    },
    /// Take decisions: all that a file says, or nothing of it.
    Import {
        /// The id of the review.
        id: String,
        /// The file (CSV): `item,version,decision,reviewer,reason`.
        file: PathBuf,
        #[command(flatten)]
        socket: Socket,
    },
    /// Withdraw a review before its date: who was not answered yet does not lapse by it.
    Withdraw {
        /// Its id.
        id: String,
        /// Why.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// Show a review with what was decided.
    Show {
        /// Its id.
        id: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// List reviews.
    List {
        #[command(flatten)]
        socket: Socket,
    },
}

/// What is reviewed, and by when.
#[derive(Debug, Args)]
pub(crate) struct OpenReview {
    /// By when: what nobody answered lapses then (`2027-01-31T12:00:00Z`, or a date, whose beginning in
    /// UTC is meant). In a day at the earliest, and in 90 at the latest.
    #[arg(long, value_name = "TIME")]
    pub(crate) due: String,
    /// An agent. May stand several times; without it, all that can be reviewed are.
    #[arg(long = "agent", value_name = "NAME")]
    pub(crate) agents: Vec<String>,
    /// Only those of this sponsor.
    #[arg(long, value_name = "PERSON")]
    pub(crate) sponsor: Option<String>,
    #[command(flatten)]
    pub(crate) socket: Socket,
}
