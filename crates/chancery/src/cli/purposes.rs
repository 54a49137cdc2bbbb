//! What can be typed of purposes.

use clap::{Args, Subcommand};

use super::{AsOf, Socket};

/// Purposes.
#[derive(Debug, Subcommand)]
pub(crate) enum Purpose {
    /// Add a purpose.
    Add {
        /// Its id.
        id: String,
        /// Who answers for it.
        #[arg(long)]
        owner: String,
        /// A tool (`SERVER/TOOL`) or all of a server (`SERVER/*`); may be repeated.
        #[arg(long = "tool", required = true)]
        tools: Vec<String>,
        /// A harm class that its tools may have beside `reads-data`; may be repeated.
        #[arg(long = "harm")]
        harm: Vec<String>,
        /// A data object that it is for (`SERVER/NAME`, `SERVER/BEGINNING*` or `SERVER/*`); may be repeated. Without
        /// one, it is for whatever the mandate and the agent's ceiling allow.
        #[arg(long = "object")]
        objects: Vec<String>,
        /// A category of data that it is for, as the organisation calls it; may be repeated. Without one, any.
        #[arg(long = "data")]
        data: Vec<String>,
        /// The most calls in one session.
        #[arg(long)]
        max_calls: Option<u64>,
        /// The most tasks that an agent opens for it in a day (UTC).
        #[arg(long)]
        max_tasks_a_day: Option<u64>,
        /// What it is, for people.
        #[arg(long, default_value = "")]
        description: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// Say that a purpose is for no more than this from now on; of what is left out, it stays as it is.
    Narrow {
        /// Its id.
        id: String,
        #[command(flatten)]
        named: PurposeFor,
        #[command(flatten)]
        socket: Socket,
    },
    /// Say that a purpose is for this as well. What was given for it before holds no more by that.
    Widen {
        /// Its id.
        id: String,
        #[command(flatten)]
        named: PurposeFor,
        /// For any data object.
        #[arg(long, conflicts_with = "objects")]
        any_object: bool,
        /// For data of any category.
        #[arg(long, conflicts_with = "data")]
        any_data: bool,
        #[command(flatten)]
        socket: Socket,
    },
    /// Say who answers for a purpose from now on.
    Owner {
        /// Its id.
        id: String,
        /// Who answers for it.
        #[arg(long)]
        owner: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// Show one.
    Show {
        /// Its id.
        id: String,
        #[command(flatten)]
        at: AsOf,
        #[command(flatten)]
        socket: Socket,
    },
    /// List purposes, each with what it leaves open.
    List {
        #[command(flatten)]
        at: AsOf,
        #[command(flatten)]
        socket: Socket,
    },
}

/// What a purpose is for.
#[derive(Debug, Args)]
pub(crate) struct PurposeFor {
    /// A tool (`SERVER/TOOL`) or all of a server (`SERVER/*`); may be repeated.
    #[arg(long = "tool")]
    pub(crate) tools: Vec<String>,
    /// A data object (`SERVER/NAME`, `SERVER/BEGINNING*` or `SERVER/*`); may be repeated.
    #[arg(long = "object")]
    pub(crate) objects: Vec<String>,
    /// A category of data; may be repeated.
    #[arg(long = "data")]
    pub(crate) data: Vec<String>,
}
