//! `chancery founder`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Signed, Socket};

/// Founders.
#[derive(Debug, Subcommand)]
pub(crate) enum Founder {
    /// Redeem a founder's one-use code with the founder's own key.
    Redeem {
        /// The code that `init` printed, or the halves that two founders tell, `FIRST.SECOND`.
        code: String,
        /// Where the founder's key is written (0600); it must not exist.
        #[arg(long)]
        key: PathBuf,
        #[command(flatten)]
        socket: Socket,
    },
    /// Make somebody a founder: two others type this, and each tells them half of a code.
    Add(FounderNamed),
    /// Give a founder another key: two others type this, or one, again once it has waited.
    Rekey(FounderNamed),
    /// Take a founder their key away: they sign nothing any more.
    Remove {
        /// Who.
        id: String,
        /// Why, in a few words.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// Take back that somebody is to have a key.
    Withdraw {
        /// Who.
        id: String,
        /// Why, in a few words.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// List who signs, who has a code to redeem, and what waits.
    List {
        #[command(flatten)]
        socket: Socket,
    },
}

/// Who is to have a key.
#[derive(Debug, Args)]
pub(crate) struct FounderNamed {
    /// Who.
    pub(crate) id: String,
    /// Why, in a few words.
    #[arg(long)]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) signed: Signed,
    #[command(flatten)]
    pub(crate) socket: Socket,
}
