//! What can be typed of receivers of shared signals.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use model::EventAlgorithm;

use super::{NewBearer, Socket};

/// Receivers of shared signals, which are told when instances and agents stop (SSF 1.0).
#[derive(Debug, Subcommand)]
pub(crate) enum Receiver {
    /// Register a receiver, by its key, or by a bearer token that is written once: by that it manages its stream,
    /// and polls it.
    Add {
        /// Its name.
        name: String,
        /// Who it is: the audience of all tokens for it.
        #[arg(long)]
        audience: String,
        #[command(flatten)]
        covered: Covered,
        /// The issuer of the streams by which it tells us, if it is a transmitter, too: what these alone say of a
        /// risk it is not told back.
        #[arg(long)]
        issuer: Option<String>,
        /// The host to which it may have signals pushed; without it, it polls.
        #[arg(long)]
        push_host: Option<String>,
        /// By which algorithm what it is told is signed: ES256, or RS256 for a receiver that takes nothing else.
        #[arg(long, default_value = "ES256")]
        algorithm: EventAlgorithm,
        /// Where a token is written (0600) that counts as long as `--days`; the file must not exist.
        #[arg(long, required_unless_present = "key")]
        token: Option<PathBuf>,
        #[command(flatten)]
        key: KnownBy,
    },
    /// Say anew of whom a receiver is told.
    Cover {
        /// Its name.
        name: String,
        #[command(flatten)]
        covered: Covered,
        #[command(flatten)]
        socket: Socket,
    },
    /// Say anew by which issuer's streams a receiver tells us, if it is a transmitter, too, or that it is none.
    #[command(group = ArgGroup::new("whose").args(["issuer", "none"]).required(true))]
    Issuer {
        /// Its name.
        name: String,
        /// The issuer of these streams: what they alone say of a risk it is not told back.
        #[arg(long)]
        issuer: Option<String>,
        /// That it is no transmitter: it is told what all say.
        #[arg(long)]
        none: bool,
        #[command(flatten)]
        socket: Socket,
    },
    /// Give a receiver another token and write it once; the one before counts on beside it.
    Token {
        /// Its name.
        name: String,
        /// No other token that was written counts any longer.
        #[arg(long)]
        alone: bool,
        /// That it manages no stream.
        #[arg(long)]
        read_only: bool,
        #[command(flatten)]
        token: NewBearer,
    },
    /// Give a receiver another key, by which it gets short-lived tokens for itself, or none; of the one that it has,
    /// say anew how long it counts, and what for. What it got for itself before counts no longer.
    #[command(group = ArgGroup::new("which").args(["key", "none"]).required(true))]
    Key {
        /// Its name.
        name: String,
        /// That it has no key any longer, and gets no tokens for itself.
        #[arg(long, conflicts_with_all = ["days", "read_only"])]
        none: bool,
        #[command(flatten)]
        key: KnownBy,
    },
    /// Suspend a receiver: it is told nothing, until it is resumed.
    Suspend {
        /// Its name.
        name: String,
        /// Why.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// Let a receiver that was suspended, or was gone for too long, go on from where it was.
    Resume {
        /// Its name.
        name: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// Remove a receiver, with its tokens, its stream and all that it was still to be told.
    Remove {
        /// Its name.
        name: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// List receivers, and their streams.
    List {
        #[command(flatten)]
        socket: Socket,
    },
}

/// By what a receiver is known, for how long, and what it may do.
#[derive(Debug, Args)]
pub(crate) struct KnownBy {
    /// The file of its public key (JWK), by which it gets tokens for itself (`private_key_jwt`).
    #[arg(long)]
    pub(crate) key: Option<PathBuf>,
    /// That it manages no stream (`ssf.read`, not `ssf.manage`).
    #[arg(long)]
    pub(crate) read_only: bool,
    /// How many days it counts.
    #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(u16).range(1..=366))]
    pub(crate) days: u16,
    #[command(flatten)]
    pub(crate) socket: Socket,
}

/// Of whom a receiver is told: of nobody, unless it is said.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct Covered {
    /// The agents.
    #[arg(long, value_delimiter = ',')]
    pub(crate) agents: Vec<String>,
    /// All agents, also those that there will be.
    #[arg(long)]
    pub(crate) all_agents: bool,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::Receiver;

    #[derive(Debug, Parser)]
    struct Typed {
        #[command(subcommand)]
        receiver: Receiver,
    }

    #[test]
    fn a_receiver_loses_its_key_if_somebody_says_so_and_not_by_what_was_left_out() {
        let check = |more: &[&str], expected: Option<bool>| {
            let typed = ["chancery", "key", "siem"];
            let typed = Typed::try_parse_from(typed.iter().chain(more));
            let takes = typed.ok().map(|typed| match typed.receiver {
                Receiver::Key { none, key, .. } => {
                    assert_eq!(none, key.key.is_none());
                    none
                }
                other => panic!("{other:?} gives no key"),
            });
            assert_eq!(takes, expected, "{more:?}");
        };
        check(&["--key", "new.jwk"], Some(false));
        check(&["--key", "new.jwk", "--days", "30", "--read-only"], Some(false));
        check(&["--none"], Some(true));
        check(&[], None);
        check(&["--days", "30"], None);
        check(&["--read-only"], None);
        check(&["--none", "--key", "new.jwk"], None);
        check(&["--none", "--days", "30"], None);
        check(&["--none", "--read-only"], None);
    }
}
