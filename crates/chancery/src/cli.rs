//! The command line: what can be typed.

mod agents;
mod budgets;
mod demo;
mod devices;
mod directories;
mod elevations;
mod founders;
mod keys;
mod labels;
mod log;
mod offboard;
mod people;
mod policy;
mod purposes;
mod reach;
mod receivers;
mod reviews;
mod risk;
mod shim;
mod signals;
mod signed;
mod stops;
mod streams;
mod systems;
mod tasks;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use agents::{Agent, Attested, Instance, Register};
pub(crate) use budgets::Budget;
pub(crate) use demo::{Demo, DemoServer};
pub(crate) use devices::{Device, Login};
pub(crate) use directories::{Directory, NewBearer, Silence, Subject};
pub(crate) use elevations::Elevation;
pub(crate) use founders::{Founder, FounderNamed};
pub(crate) use keys::Keys;
pub(crate) use labels::Label;
pub(crate) use log::Log;
pub(crate) use offboard::{NO_FILE, Offboard};
pub(crate) use people::{People, PeopleSource, Person, SignPeople, SourceKey};
pub(crate) use policy::{Explain, Foreign, Plan, Policy, Prove};
pub(crate) use purposes::{Purpose, PurposeFor};
pub(crate) use reach::{Reach, Since, Suggest, Unattended};
pub(crate) use receivers::{Covered, KnownBy, Receiver};
pub(crate) use reviews::Review;
pub(crate) use risk::Risk;
pub(crate) use shim::{Holder, Mcp};
pub(crate) use signals::{Signal, UndoSignal};
pub(crate) use signed::Signed;
pub(crate) use stops::{Start, Stop};
pub(crate) use streams::{Manage, ManageAct, Stream, StreamWanted};
pub(crate) use systems::{Initiate, System};
pub(crate) use tasks::{Mandate, Task};

/// Permits, records and proves what software agents do.
#[derive(Debug, Parser)]
#[command(name = "chancery", version, about, propagate_version = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Found a deployment in a directory: keys, founders, a starter policy.
    Init(Init),
    /// Serve a deployment.
    Serve(ConfigFile),
    /// Run everything on loopback with a temporary store and one founder.
    Dev(Dev),
    /// Show what is promised, step by step, on real processes of this machine.
    Demo(Demo),
    /// Serve the tools of one of the demo's servers.
    #[command(hide = true)]
    DemoServer(DemoServer),
    /// Narrow this process and start a tool server.
    #[command(hide = true)]
    Isolate(Isolate),
    /// Check the configuration without using it.
    CheckConfig(ConfigFile),
    /// Speak MCP on stdio to the client that starts this, as an instance of an agent.
    Mcp(Mcp),
    /// Enrol this device: a person logs in and confirms, and from then on `mcp` needs no key of the
    /// agent here.
    Login(Login),
    /// Hold the key of the instance that one client process is. Started by `mcp`.
    #[command(hide = true)]
    Holder(Holder),
    /// Founders of a deployment.
    #[command(subcommand)]
    Founder(Founder),
    /// People who can answer for agents.
    #[command(subcommand)]
    Person(Person),
    /// People as a directory says them.
    #[command(subcommand)]
    People(People),
    /// Directories that push who their people are (SCIM 2.0).
    #[command(subcommand)]
    Directory(Directory),
    /// Streams of shared signals, by which transmitters tell of a directory's people.
    #[command(subcommand)]
    Stream(Stream),
    /// Receivers of shared signals, which are told when instances and agents stop.
    #[command(subcommand)]
    Receiver(Receiver),
    /// What a directory or a stream told by mistake, undone by two people.
    #[command(subcommand)]
    Signal(Signal),
    /// Registered reasons to act.
    #[command(subcommand)]
    Purpose(Purpose),
    /// Agents: registered software that acts.
    #[command(subcommand)]
    Agent(Agent),
    /// Report every credential of a person or an agent, and whether it still counts.
    Offboard(Offboard),
    /// Running executions of agents.
    #[command(subcommand)]
    Instance(Instance),
    /// Show what an instance could do now, itself and by handing its work on.
    Reach(Reach),
    /// Show what agents could do now without anybody being asked, on what that rests, and how often it was used.
    Unattended(Unattended),
    /// Hold what an agent was given against what it used, and suggest a narrower policy.
    Suggest(Suggest),
    /// Agents, what acts as them, and who answers, now or at a time.
    #[command(subcommand)]
    Register(Register),
    /// Reviews of agents: those of which nobody decides by a date that they go on lapse.
    #[command(subcommand)]
    Review(Review),
    /// Devices that people enrolled to vouch for instances of agents.
    #[command(subcommand)]
    Device(Device),
    /// Stop all, a tool or an agent at once.
    Stop(Stop),
    /// Start again what was stopped: two administrators have to ask for it, the second within
    /// fifteen minutes.
    Start(Start),
    /// What somebody who watches says of agents, instances and people, for policy to read.
    #[command(subcommand)]
    Risk(Risk),
    /// Labels of what was read, for policy to read.
    #[command(subcommand)]
    Label(Label),
    /// Systems that start work of agents on behalf of people.
    #[command(subcommand)]
    System(System),
    /// Policy sets: check, lay out, test, explain and try them.
    #[command(subcommand)]
    Policy(Policy),
    /// Units of work, each held by one instance.
    #[command(subcommand)]
    Task(Task),
    /// What the holder of a task may do beyond it, for a while.
    #[command(subcommand)]
    Elevation(Elevation),
    /// On what tasks rest: who authorised which purpose.
    #[command(subcommand)]
    Mandate(Mandate),
    /// Upstream MCP servers.
    #[command(subcommand)]
    Server(Server),
    /// Tools of upstream servers.
    #[command(subcommand)]
    Tool(Tool),
    /// Outcomes that nobody knows.
    #[command(subcommand)]
    Outcome(Outcome),
    /// The service's clock.
    #[command(subcommand)]
    Clock(Clock),
    /// The key that signs tokens.
    #[command(subcommand)]
    Keys(Keys),
    /// How much may be used up, and what is left.
    #[command(subcommand)]
    Budget(Budget),
    /// Callers that are no active agent.
    #[command(subcommand)]
    Finding(Finding),
    /// Break a copy of the deployment on purpose, and record what came of it.
    #[command(subcommand)]
    Drill(Drill),
    /// Say what is enforced on this machine and what is not, each with its remedy.
    Doctor(Doctor),
    /// The decision log.
    #[command(subcommand)]
    Log(Log),
    /// Write completions for a shell to standard output.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the JSON Schema of the configuration to standard output.
    ConfigSchema,
}

/// Founds a deployment.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The directory; it must not exist or be empty.
    pub(crate) dir: PathBuf,
    /// A founder's person id; give two.
    #[arg(long = "founder", required = true, num_args = 1)]
    pub(crate) founders: Vec<String>,
    /// For development only, as its first record says for good: one founder is enough, one
    /// administrator starts what was stopped, and people may log in over plain http on loopback.
    #[arg(long)]
    pub(crate) development: bool,
}

/// Names the configuration.
#[derive(Debug, Args)]
pub(crate) struct ConfigFile {
    /// The configuration file.
    #[arg(long, short, default_value = "chancery.yaml", env = "CHANCERY_CONFIG")]
    pub(crate) config: PathBuf,
}

/// Looks at the machine.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Print what was found as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Exit with 5 for what is weak too, and not only for what is broken.
    #[arg(long)]
    pub(crate) strict: bool,
    #[command(flatten)]
    pub(crate) config: ConfigFile,
}

/// Runs a development deployment.
#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// Keep state in this directory instead of a temporary one.
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// The port for agents; the next one is for observers.
    #[arg(long, default_value_t = 8420)]
    pub(crate) port: u16,
    /// An upstream server, `NAME=URL` or `NAME=COMMAND ARG…`; may be repeated.
    #[arg(long = "server", value_name = "NAME=URL|COMMAND")]
    pub(crate) servers: Vec<String>,
}

/// Starts a tool server apart from the service.
#[derive(Clone, Debug, Args)]
pub(crate) struct Isolate {
    /// How, as the service says it.
    pub(crate) how: String,
    /// What was made already, where it is a later process.
    #[arg(long)]
    pub(crate) made: Option<String>,
    /// Say how a server is kept apart instead of starting one.
    #[arg(long)]
    pub(crate) report: bool,
    /// The server's command.
    #[arg(last = true)]
    pub(crate) command: Vec<OsString>,
}

/// As of when something is told.
#[derive(Debug, Args)]
pub(crate) struct AsOf {
    /// As it was then (`2027-01-31T12:00:00Z`, or a date, whose beginning in UTC is meant).
    #[arg(long, value_name = "TIME")]
    pub(crate) as_of: Option<String>,
}

/// Where the administrator's socket is.
#[derive(Clone, Debug, Args)]
pub(crate) struct Socket {
    /// The socket of the running service; default: `state/admin.sock` here if there is one, else
    /// that of the deployment that `dev` runs.
    #[arg(
        long,
        env = "CHANCERY_SOCKET",
        default_value_os_t = crate::dev::socket(),
        hide_default_value = true
    )]
    pub(crate) socket: PathBuf,
}

/// Servers.
#[derive(Debug, Subcommand)]
pub(crate) enum Server {
    /// Onboard a configured server: read its tools and pin each.
    Add {
        /// Its name in the configuration.
        name: String,
        /// Who answers for exposing its tools.
        #[arg(long)]
        owner: Option<String>,
        /// The harm classes of one tool, `TOOL=CLASS[,CLASS…]`, or of all, `*=CLASS`; may be
        /// repeated, later ones win.
        #[arg(long = "harm", value_name = "TOOL=CLASS")]
        harm: Vec<String>,
        /// In which environment it acts, for policies: `production`, `staging`, …
        #[arg(long)]
        environment: Option<String>,
        /// In which region it keeps data, for policies.
        #[arg(long)]
        region: Option<String>,
        #[command(flatten)]
        socket: Socket,
    },
    /// List servers and their tools.
    List {
        #[command(flatten)]
        socket: Socket,
    },
}

/// Tools.
#[derive(Debug, Subcommand)]
pub(crate) enum Tool {
    /// Say who answers for a tool and what it can do.
    Describe {
        /// `SERVER/TOOL`.
        tool: String,
        /// Who answers for exposing it.
        #[arg(long)]
        owner: Option<String>,
        /// A harm class; may be repeated.
        #[arg(long = "harm")]
        harm: Vec<String>,
        /// Where its arguments name the data object that it is used on (`/NAME`); may be repeated.
        #[arg(long = "object", value_name = "POINTER", conflicts_with = "no_object")]
        objects: Vec<String>,
        /// That it is used on no data object.
        #[arg(long)]
        no_object: bool,
        /// A category of data that it touches, as purposes name them; may be repeated.
        #[arg(long = "data")]
        data: Vec<String>,
        /// Whether it may be called on behalf of a person only.
        #[arg(long, value_name = "BOOL")]
        requires_subject: Option<bool>,
        /// Whether nobody may call it in work that was handed on.
        #[arg(long, value_name = "BOOL")]
        not_delegable: Option<bool>,
        #[command(flatten)]
        socket: Socket,
    },
    /// Show how a tool's descriptor differs from what was pinned.
    Diff {
        /// `SERVER/TOOL`.
        tool: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// Pin a tool again as it is now.
    Pin {
        /// `SERVER/TOOL`.
        tool: String,
        /// The digest that `tool diff` showed: what you approve.
        #[arg(long)]
        digest: String,
        #[command(flatten)]
        socket: Socket,
    },
}

/// Outcomes.
#[derive(Debug, Subcommand)]
pub(crate) enum Outcome {
    /// Say that somebody looked: an act equal to this decision's may be done again.
    Settle {
        /// The decision.
        decision: String,
        /// It surely did not happen: what it took of limits and budgets is given back.
        #[arg(long)]
        did_not_happen: bool,
        /// What was found.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        socket: Socket,
    },
}

/// The clock.
#[derive(Debug, Subcommand)]
pub(crate) enum Clock {
    /// Say that the clock is right as it is, though it stepped or is behind the last record.
    Trust {
        /// What was found.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        socket: Socket,
    },
}

/// Findings.
#[derive(Debug, Subcommand)]
pub(crate) enum Finding {
    /// List findings.
    List {
        #[command(flatten)]
        socket: Socket,
    },
    /// Say that somebody looked; if the caller comes again, it is opened again.
    Close {
        /// The finding.
        id: String,
        /// What was found.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        socket: Socket,
    },
}

/// Drills.
#[derive(Debug, Subcommand)]
pub(crate) enum Drill {
    /// Take store, log, policy and clock away, one at a time; count what still reaches a tool.
    Outage(Drilled),
    /// Revoke an instance at work; time what still reaches a tool.
    Revoke(Drilled),
    /// Deactivate the sponsor of instances at work; time what still reaches a tool.
    Offboard(Drilled),
}

/// One drill.
#[derive(Debug, Args)]
pub(crate) struct Drilled {
    /// Call canary tools in a scratch copy: the running deployment is not touched. There is no
    /// other way.
    #[arg(long, required = true)]
    pub(crate) canary: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) config: ConfigFile,
}
