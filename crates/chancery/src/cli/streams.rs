//! What can be typed of streams of shared signals.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Socket;

/// Streams of shared signals, by which transmitters tell of a directory's people (SSF 1.0).
#[derive(Debug, Subcommand)]
pub(crate) enum Stream {
    /// Register a stream and write its bearer token once: who pushes to it shows that.
    Add {
        /// Its name: it is pushed to at `/ssf/events/NAME`.
        name: String,
        /// Its transmitter: the issuer of all its tokens.
        #[arg(long)]
        issuer: String,
        /// For whom its tokens are, as the transmitter has it.
        #[arg(long)]
        audience: String,
        /// By which algorithms its transmitter may sign.
        #[arg(long, value_delimiter = ',', default_value = "RS256,ES256")]
        algorithm: Vec<String>,
        /// The directory of whose people it tells.
        #[arg(long)]
        directory: String,
        /// That an e-mail address names somebody among these.
        #[arg(long)]
        email: bool,
        /// After how many minutes in which nothing was heard of it these are unconfirmed; without it,
        /// nobody waits for it.
        #[arg(long)]
        silence: Option<u32>,
        #[command(flatten)]
        token: NewStreamToken,
    },
    /// Give a stream another token and write it once; the one before counts on beside it.
    Token {
        /// Its name.
        name: String,
        /// No other token counts any longer.
        #[arg(long)]
        alone: bool,
        #[command(flatten)]
        token: NewStreamToken,
    },
    /// Suspend a stream: it says nothing any longer.
    Suspend {
        /// Its name.
        name: String,
        /// Why.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// Let a stream that was suspended go on.
    Resume {
        /// Its name.
        name: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// List streams.
    List {
        #[command(flatten)]
        socket: Socket,
    },
}

/// A bearer token that is made here; the service is told its digest.
#[derive(Debug, Args)]
pub(crate) struct NewStreamToken {
    /// Where the token is written (0600); the file must not exist.
    #[arg(long = "token")]
    pub(crate) file: PathBuf,
    /// How many days it counts.
    #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(u16).range(1..=366))]
    pub(crate) days: u16,
    #[command(flatten)]
    pub(crate) socket: Socket,
}
