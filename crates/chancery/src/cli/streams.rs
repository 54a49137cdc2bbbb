//! What can be typed of streams of shared signals.

use clap::Subcommand;

use super::{NewBearer, Socket};

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
        token: NewBearer,
    },
    /// Give a stream another token and write it once; the one before counts on beside it.
    Token {
        /// Its name.
        name: String,
        /// No other token counts any longer.
        #[arg(long)]
        alone: bool,
        #[command(flatten)]
        token: NewBearer,
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
