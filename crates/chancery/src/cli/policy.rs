//! What can be typed about policy sets.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use model::{PersonId, PolicyDigest};

use super::{Signed, Socket};

/// Policy sets: a directory with `*.cedar`, `*.cedarschema`, `labels.yaml`, `budgets.yaml`, `strictness.yaml`, `tools.yaml`,
/// `cases/*.yaml` and `properties/*.cedar`.
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// List the sets that are shipped, to begin one of your own from.
    Sets,
    /// Begin a set in an empty directory, from one or more of those that are shipped.
    New {
        /// The directory; it is made.
        dir: PathBuf,
        /// The names of the sets (`chancery policy sets`).
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Print policies of another product in the words of policies here; nothing, if one cannot be said in them.
    Import {
        /// A file, or a directory with `*.cedar`.
        #[arg(value_name = "FILE|DIR")]
        path: PathBuf,
        /// Whose policies they are.
        #[arg(long)]
        from: Foreign,
        /// What a claim of a token says of a person: who they are, a group or a unit (`customer_tier=group`).
        #[arg(long = "claim", value_name = "CLAIM=person|group|unit", value_parser = claim)]
        claims: Vec<(String, pdp::agentcore::Claim)>,
    },
    /// Compile a set, decide its cases, and say what is doubtful in it.
    Check(PolicySet),
    /// Lay its policies out in the one way.
    Fmt {
        #[command(flatten)]
        set: PolicySet,
        /// Change nothing; fail if something would change.
        #[arg(long)]
        check: bool,
    },
    /// Say what is doubtful in it; fail if something is.
    Lint(PolicySet),
    /// Decide its cases, and say which policies and conditions they cover.
    Test {
        #[command(flatten)]
        set: PolicySet,
        /// Write the results to this file, as JUnit XML.
        #[arg(long, value_name = "FILE")]
        junit: Option<PathBuf>,
        /// Add this recorded decision to `cases/recorded.yaml` instead, as a case that must be answered alike.
        #[arg(long, value_name = "DECISION", conflicts_with = "junit")]
        record: Option<String>,
        #[command(flatten)]
        socket: Socket,
    },
    /// Print its schema, with an action for each of its tools, for an editor (`chancery.cedarschema`).
    Schema {
        #[command(flatten)]
        set: PolicySet,
        /// With the tools that are onboarded at the service, in place of those that the set describes.
        #[arg(long)]
        onboarded: bool,
        #[command(flatten)]
        socket: Socket,
    },
    /// Print the tools that are onboarded, as the `tools.yaml` of a set.
    Tools {
        #[command(flatten)]
        socket: Socket,
    },
    /// Say how a recorded decision came about, or what is answered to a question and why: which policies are asked, what
    /// they see, what is missing, and what would be permitted.
    Explain(Explain),
    /// Decide what is recorded again by a set, and list what flips.
    Replay {
        #[command(flatten)]
        set: PolicySet,
        /// How far back (`30d`, `12h`); all, if it is left out.
        #[arg(long, value_name = "TIME", value_parser = back)]
        since: Option<Duration>,
        /// Fail, too, where something is not decided again, and so may flip: erased, or unknown.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        socket: Socket,
    },
    /// Say who is affected by a set in place of the one in force, before it is released.
    Plan(Plan),
    /// Publish a set as the next release, as its author, if its cases hold: it decides nothing until it is approved and activated.
    Publish {
        #[command(flatten)]
        set: PolicySet,
        /// After how long it may not be put in force any more (`30d`).
        #[arg(long, value_name = "TIME", value_parser = back)]
        expires: Option<Duration>,
        /// Prove it first, and sign for what is proved; where `policy.require_proof` says so, that is always done.
        #[arg(long)]
        prove: bool,
        /// Who answers for it from then on; you, as its author, if it is left out.
        #[arg(long, value_name = "PERSON")]
        owner: Option<PersonId>,
        #[command(flatten)]
        signed: Signed,
        #[command(flatten)]
        socket: Socket,
    },
    /// Approve a release that somebody else published.
    Approve {
        /// Its version, or a directory: the newest with that content.
        #[arg(value_name = "VERSION|DIR")]
        release: String,
        /// The content that is approved, as `diff` and `history` show it; without it, you are asked.
        #[arg(long, value_name = "DIGEST")]
        digest: Option<PolicyDigest>,
        /// Your own copy of the set, to prove here what its author says is proved.
        #[arg(long, value_name = "DIR")]
        proving: Option<PathBuf>,
        #[command(flatten)]
        signed: Signed,
        #[command(flatten)]
        socket: Socket,
    },
    /// Put an approved release in force, if its cases hold by now.
    Activate {
        /// Its version, or a directory: the newest with that content.
        #[arg(value_name = "VERSION|DIR")]
        release: String,
        /// The content that it must have.
        #[arg(long, value_name = "DIGEST")]
        digest: Option<PolicyDigest>,
        #[command(flatten)]
        socket: Socket,
    },
    /// Take back a release that was not in force yet.
    Withdraw {
        /// Its version, or a directory: the newest with that content.
        #[arg(value_name = "VERSION|DIR")]
        release: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// Have an approved release decide beside the set in force, which goes on deciding: what it would have answered is
    /// recorded with each decision.
    Observe {
        /// Its version, or a directory: the newest with that content.
        #[arg(value_name = "VERSION|DIR", required_unless_present = "end")]
        release: Option<String>,
        /// Observe none any more.
        #[arg(long, conflicts_with = "release")]
        end: bool,
        #[command(flatten)]
        socket: Socket,
    },
    /// Publish what an earlier release held as the next one, to be approved and activated like any other.
    Rollback {
        /// The version of the earlier one, or a directory: the newest with that content.
        #[arg(value_name = "VERSION|DIR")]
        release: String,
        /// After how long it may not be put in force any more (`30d`).
        #[arg(long, value_name = "TIME", value_parser = back)]
        expires: Option<Duration>,
        /// Who answers for it from then on; you, as its author, if it is left out.
        #[arg(long, value_name = "PERSON")]
        owner: Option<PersonId>,
        #[command(flatten)]
        signed: Signed,
        #[command(flatten)]
        socket: Socket,
    },
    /// List releases, and say what is in force.
    History {
        /// Those alone that have the content of this directory.
        #[arg(value_name = "DIR")]
        set: Option<PathBuf>,
        /// Print them as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        socket: Socket,
    },
    /// Show how two sets differ, policy by policy; each is a version or a directory.
    Diff {
        /// The one.
        a: String,
        /// The other.
        b: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// Prove what a set permits and what it never does, or find an act that shows that it is otherwise.
    Prove(Prove),
}

/// Of which product policies are.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Foreign {
    /// Policy in Amazon Bedrock `AgentCore`.
    #[value(name = "agentcore")]
    AgentCore,
}

/// What is to be proved of a set: that no policy can fail, its `properties/*.cedar`, and more.
#[derive(Debug, Args)]
pub(crate) struct Prove {
    #[command(flatten)]
    pub(crate) set: PolicySet,
    /// Another set, which must permit all that this one does.
    #[arg(long, value_name = "DIR")]
    pub(crate) against: Option<PathBuf>,
    /// Both must permit the same.
    #[arg(long, requires = "against")]
    pub(crate) equivalent: bool,
    /// A file of properties, beside those of the set.
    #[arg(long, value_name = "FILE")]
    pub(crate) property: Vec<PathBuf>,
    /// How long the solver may take for one question (`5s`, `2m`).
    #[arg(long, value_name = "TIME", value_parser = waiting, default_value = "5s")]
    pub(crate) timeout: Duration,
    /// The solver; `cvc5` on the path, if it is left out.
    #[arg(long, env = "CVC5", value_name = "PROGRAM")]
    pub(crate) solver: Option<PathBuf>,
    /// Print what came of it as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What is to be explained.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The decision.
    #[arg(required_unless_present = "ask")]
    pub(crate) id: Option<String>,
    /// A question as a case puts it, in YAML: this file, or standard input (`-`).
    #[arg(long, value_name = "FILE", conflicts_with = "id")]
    pub(crate) ask: Option<PathBuf>,
    /// Ask the set in this directory, with its tools, in place of the one in force.
    #[arg(long, value_name = "DIR", requires = "ask")]
    pub(crate) set: Option<PathBuf>,
    /// Print it as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) socket: Socket,
}

/// A set that is to be released.
#[derive(Debug, Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) set: PolicySet,
    /// How far back what is recorded is decided again (`30d`, `12h`).
    #[arg(long, value_name = "TIME", value_parser = back, default_value = "7d")]
    pub(crate) since: Duration,
    /// Fail, too, where something is not decided again, and so may flip: erased, or unknown.
    #[arg(long)]
    pub(crate) all: bool,
    /// Print it as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) socket: Socket,
}

/// Where a set is.
#[derive(Debug, Args)]
pub(crate) struct PolicySet {
    /// Its directory.
    #[arg(default_value = "policies")]
    pub(crate) dir: PathBuf,
}

fn claim(text: &str) -> Result<(String, pdp::agentcore::Claim), String> {
    let (name, kind) = text.rsplit_once('=').ok_or("expected `CLAIM=person|group|unit`")?;
    Ok((name.to_owned(), kind.parse()?))
}

/// So many minutes, hours or days.
pub(super) fn back(text: &str) -> Result<Duration, String> {
    time(text, &[('m', 60), ('h', 3_600), ('d', 86_400)], "`90m`, `12h` or `30d`")
}

/// So many seconds or minutes, an hour at most.
fn waiting(text: &str) -> Result<Duration, String> {
    let time = time(text, &[('s', 1), ('m', 60)], "`5s` or `2m`")?;
    let fits = time >= Duration::from_secs(1) && time <= Duration::from_hours(1);
    if fits { Ok(time) } else { Err(format!("`{text}` is not between `1s` and `60m`")) }
}

fn time(text: &str, units: &[(char, u64)], such: &str) -> Result<Duration, String> {
    let form = || format!("`{text}` is not a time such as {such}");
    let found = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, seconds)));
    let (number, seconds) = found.ok_or_else(form)?;
    let number: u32 = number.parse().map_err(|_| form())?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}
