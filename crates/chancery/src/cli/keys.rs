//! What can be typed of the deployment's keys.

use clap::Subcommand;

use super::Socket;

/// The key that signs tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Sign tokens with a new key from now on; the last one verifies for another hour.
    Rotate {
        /// The last key is in other hands: no token that it signed counts any more.
        #[arg(long)]
        compromised: bool,
        /// Why.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        socket: Socket,
    },
}
