//! What can be typed of people, and of who they are as a directory says it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use model::Timestamp;

use super::{Signed, Silence, Socket};

/// People.
#[derive(Debug, Subcommand)]
pub(crate) enum Person {
    /// Add a person.
    Add {
        /// The person's id here.
        id: String,
        /// A group; may be repeated.
        #[arg(long = "group")]
        groups: Vec<String>,
        #[command(flatten)]
        socket: Socket,
    },
    /// Deactivate a person: everything that hangs on them stops at the next commit.
    Deactivate {
        /// The person.
        id: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// Confirm what is said of a person and waits: that they are back, and the groups that they join.
    Confirm {
        /// The person.
        id: String,
        #[command(flatten)]
        signed: Signed,
        #[command(flatten)]
        socket: Socket,
    },
    /// List people, each with what waits.
    List {
        #[command(flatten)]
        socket: Socket,
    },
}

/// People as a directory says them.
#[derive(Debug, Subcommand)]
pub(crate) enum People {
    /// Directories that sign who their people are.
    #[command(subcommand)]
    Source(PeopleSource),
    /// Put a signed list in force: whom it leaves out is deactivated.
    Apply {
        /// The list, as its source signed it.
        file: PathBuf,
        #[command(flatten)]
        socket: Socket,
    },
    /// Say what of what widens somebody's standing waits, and how long; without an option, tell it.
    Widening {
        /// A group that approves, administers, or makes eligible to take over; may be repeated.
        #[arg(long = "group")]
        groups: Vec<String>,
        /// After what time it counts by itself (`0s`: at once; `24h`), 30 days at most.
        #[arg(long, value_name = "TIME", value_parser = super::elevations::time)]
        after: Option<Duration>,
        /// It counts once another person confirms it, and never by itself.
        #[arg(long, conflicts_with = "after")]
        confirmed: bool,
        #[command(flatten)]
        socket: Socket,
    },
    /// Make a key for a source: the private half into a file, the public half (JWK) to standard
    /// output. Asks no service.
    Key {
        /// Where the private key is written (0600); it must not exist.
        file: PathBuf,
    },
    /// Sign a list and write it to standard output. Asks no service.
    Sign(SignPeople),
}

/// Sources of people.
#[derive(Debug, Subcommand)]
pub(crate) enum PeopleSource {
    /// Register a source by its public key.
    Add {
        #[command(flatten)]
        key: SourceKey,
        /// After how many minutes without a newer list its people are unconfirmed (15 unless it is said), counted from
        /// when the last one was signed; `none`: nobody waits for one.
        #[arg(long)]
        silence: Option<Silence>,
    },
    /// Give a source another key; the one before counts no longer.
    Rekey(SourceKey),
    /// Say anew for how long there may be no newer list of a source.
    Silence {
        /// Its name.
        name: String,
        /// After how many minutes without one its people are unconfirmed; `none`: nobody waits for one.
        minutes: Silence,
        #[command(flatten)]
        socket: Socket,
    },
    /// List sources, each with the version that is in force.
    List {
        #[command(flatten)]
        socket: Socket,
    },
}

/// The key of a source.
#[derive(Debug, Args)]
pub(crate) struct SourceKey {
    /// Its name.
    pub(crate) name: String,
    /// The file of its public key (JWK).
    #[arg(long)]
    pub(crate) key: PathBuf,
    /// When the key stops counting, at most 366 days from now: a date or a time (RFC 3339).
    #[arg(long)]
    pub(crate) expires: Timestamp,
    #[command(flatten)]
    pub(crate) socket: Socket,
}

/// What is signed.
#[derive(Debug, Args)]
pub(crate) struct SignPeople {
    /// The list: `version` and `people`, in JSON.
    pub(crate) file: PathBuf,
    /// The source.
    #[arg(long)]
    pub(crate) source: String,
    /// The file of its private key.
    #[arg(long)]
    pub(crate) key: PathBuf,
    /// The base URL of the gateway; default: that of the deployment that `dev` runs, else
    /// `http://127.0.0.1:8420`.
    #[arg(long, env = "CHANCERY_URL", value_parser = super::signed::base_url)]
    pub(crate) url: Option<String>,
}
