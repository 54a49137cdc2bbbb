//! What can be typed of streams of shared signals.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use secevent::Place;

use super::{ConfigFile, NewBearer, Silence, Socket};

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
        /// After how many minutes in which nothing was heard of it these are unconfirmed (15 unless it is
        /// said); `none`, if nothing keeps it talking: nobody waits for it.
        #[arg(long)]
        silence: Option<Silence>,
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
    /// Say anew for how long a stream may say nothing.
    Silence {
        /// Its name.
        name: String,
        /// After how many minutes in which nothing was heard of it the people of its directory are
        /// unconfirmed; `none`, if nothing keeps it talking: nobody waits for it.
        minutes: Silence,
        #[command(flatten)]
        socket: Socket,
    },
    /// List streams.
    List {
        #[command(flatten)]
        socket: Socket,
    },
    /// Manage a stream at its transmitter: create, read, change and delete it there, pause it, say of whom it
    /// tells, and verify it.
    Manage(Manage),
}

/// Manages a stream at its transmitter.
#[derive(Debug, Args)]
pub(crate) struct Manage {
    /// Its name here.
    pub(crate) name: String,
    /// A file whose one line, `Authorization: Bearer …`, shows the transmitter who asks (0600); without it, a
    /// token is fetched as `signals.oauth` says.
    #[arg(long)]
    pub(crate) header_file: Option<PathBuf>,
    /// Where the transmitter may be asked, and polled, beside the issuer's host and port: who is there sees
    /// that line too. The port is 443 unless it is said; may be repeated.
    #[arg(long = "endpoint-host", value_name = "HOST[:PORT]")]
    pub(crate) endpoint_hosts: Vec<Place>,
    #[command(flatten)]
    pub(crate) config: ConfigFile,
    #[command(flatten)]
    pub(crate) socket: Socket,
    #[command(subcommand)]
    pub(crate) act: ManageAct,
}

/// What is done to a stream at its transmitter.
#[derive(Debug, Subcommand)]
pub(crate) enum ManageAct {
    /// Say what the transmitter offers, and where.
    Discover,
    /// Create the stream.
    Create {
        #[command(flatten)]
        wanted: StreamWanted,
    },
    /// Show the stream, or, without `--id`, all that the transmitter has for us, and whether it is enabled.
    Read {
        /// Its id there.
        #[arg(long)]
        id: Option<String>,
        /// Of which events it has to tell, by their URIs.
        #[arg(long, value_delimiter = ',')]
        events: Vec<String>,
    },
    /// Change what is said, and nothing else.
    Update {
        /// Its id there.
        #[arg(long)]
        id: String,
        /// What is not said is as if the stream were new.
        #[arg(long)]
        replace: bool,
        #[command(flatten)]
        wanted: StreamWanted,
    },
    /// Delete the stream there; here, it stays registered.
    Delete {
        /// Its id there.
        #[arg(long)]
        id: String,
    },
    /// Show whether the stream tells something, or say it.
    Status {
        /// Its id there.
        #[arg(long)]
        id: String,
        /// What it is from now on.
        #[arg(long, value_parser = ["enabled", "paused", "disabled"])]
        set: Option<String>,
        /// Why, for the transmitter.
        #[arg(long, requires = "set")]
        reason: Option<String>,
    },
    /// Have the stream tell of somebody.
    AddSubject {
        /// Its id there.
        #[arg(long)]
        id: String,
        /// Whom, as JSON (RFC 9493), `{"format":"email","email":"…"}`; `@FILE`, or `-` for standard input, hold
        /// it.
        #[arg(long)]
        subject: String,
        /// That nobody has verified that the subject is who they say.
        #[arg(long)]
        unverified: bool,
    },
    /// Have the stream tell of somebody no longer.
    RemoveSubject {
        /// Its id there.
        #[arg(long)]
        id: String,
        /// Whom, as JSON (RFC 9493), or where that is: `@FILE`, or `-`.
        #[arg(long)]
        subject: String,
    },
    /// Have the transmitter verify the stream, and wait until its event has come.
    Verify {
        /// Its id there.
        #[arg(long)]
        id: String,
        /// For how many seconds.
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
        within: u64,
    },
}

impl ManageAct {
    /// The file with what shows us who pushes, if the transmitter is told that.
    pub(crate) fn push_token(&self) -> Option<&Path> {
        match self {
            Self::Create { wanted } | Self::Update { wanted, .. } => wanted.push_token.as_deref(),
            _ => None,
        }
    }
}

/// What a stream is wanted to be.
#[derive(Debug, Args)]
pub(crate) struct StreamWanted {
    /// It is pushed to us, with the token in this file, as `stream add` wrote it.
    #[arg(long, conflicts_with = "poll")]
    pub(crate) push_token: Option<PathBuf>,
    /// We poll it.
    #[arg(long)]
    pub(crate) poll: bool,
    /// Of which events it tells, by their URIs; without it, of what the transmitter chooses.
    #[arg(long, value_delimiter = ',')]
    pub(crate) events: Vec<String>,
    /// What the transmitter keeps of it besides.
    #[arg(long)]
    pub(crate) description: Option<String>,
}
