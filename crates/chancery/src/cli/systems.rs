//! What can be typed of systems that start work of agents.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Socket;

/// Systems that start work of agents on behalf of people.
#[derive(Debug, Subcommand)]
pub(crate) enum System {
    /// Register a system and write its key once.
    Add {
        /// Its name.
        name: String,
        /// Who answers for what it starts.
        #[arg(long)]
        owner: String,
        /// An agent that it may start; may be repeated.
        #[arg(long = "agent", required = true)]
        agents: Vec<String>,
        /// A purpose for which it may; may be repeated.
        #[arg(long = "purpose", required = true)]
        purposes: Vec<String>,
        /// Where its key is written (0600); it must not exist.
        #[arg(long)]
        key: PathBuf,
        #[command(flatten)]
        socket: Socket,
    },
    /// Suspend a system: whatever it started is over.
    Suspend {
        /// Its name.
        name: String,
        /// Why.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// List systems.
    List {
        #[command(flatten)]
        socket: Socket,
    },
    /// Sign an initiation with the system's key and write it to standard output: the agent that it
    /// names may begin one task with it within ten minutes. Asks no service.
    Initiate(Initiate),
}

/// What an initiation says.
#[derive(Debug, Args)]
pub(crate) struct Initiate {
    /// The system.
    pub(crate) name: String,
    /// The file of its key.
    #[arg(long)]
    pub(crate) key: PathBuf,
    /// The base URL of the gateway; default: that of the deployment that `dev` runs, else
    /// `http://127.0.0.1:8420`.
    #[arg(long, env = "CHANCERY_URL", value_parser = super::signed::base_url)]
    pub(crate) url: Option<String>,
    /// The person on whose behalf.
    #[arg(long)]
    pub(crate) subject: String,
    /// The agent that is to work.
    #[arg(long)]
    pub(crate) agent: String,
    /// What for.
    #[arg(long)]
    pub(crate) purpose: String,
    /// A tool (`SERVER/TOOL`) or all of a server (`SERVER/*`); may be repeated.
    #[arg(long = "tool", required = true)]
    pub(crate) tools: Vec<String>,
    /// A harm class that its tools may have beside `reads-data`; may be repeated.
    #[arg(long = "harm")]
    pub(crate) harm: Vec<String>,
    /// A data object that it may be done to, `SERVER/NAME` or `SERVER/BEGINNING*`; may be repeated. Without one,
    /// those of the purpose.
    #[arg(long = "object")]
    pub(crate) objects: Vec<String>,
    /// The most calls.
    #[arg(long)]
    pub(crate) max_calls: Option<u64>,
    /// How long the task may last, in minutes.
    #[arg(long, default_value_t = 480, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) minutes: u16,
}
