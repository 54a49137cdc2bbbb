//! The inside: narrows itself, and becomes the server.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context as _;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::SigSet;
use nix::unistd::setsid;

use super::rights::{self, Allowed};
use super::{Apart, Ids, Isolation, Made, NOT_STARTED, OWN_TMP, Report};
use crate::cli;

/// The terminals of its own, where it has namespaces of its own.
const TERMINALS: &str = "/dev/pts";

pub(super) fn run(
    isolation: &Isolation,
    made: Made,
    typed: &cli::Isolate,
) -> anyhow::Result<ExitCode> {
    let report = narrow(isolation, made)?;
    if typed.report {
        println!("{}", serde_json::to_string(&report)?);
        return Ok(ExitCode::SUCCESS);
    }
    let (program, args) = typed.command.split_first().context("there is no command")?;
    // What those before it wait for is the server's to hear.
    SigSet::empty().thread_set_mask()?;
    // What a server writes to standard error may hold what it was told: it is nobody's to read. A server that cannot be
    // started has taken ours all the same, so why is told by a copy, which no program gets.
    let mut errors = File::from(std::io::stderr().as_fd().try_clone_to_owned()?);
    let error = Command::new(program).args(args).stderr(Stdio::null()).exec();
    writeln!(errors, "chancery: could not start `{}`: {error}", program.display())?;
    Ok(ExitCode::from(NOT_STARTED))
}

/// Gives up everything that a server does not need.
fn narrow(isolation: &Isolation, made: Made) -> anyhow::Result<Report> {
    let mut allowed = Allowed { lists: vec![], reads: vec![], writes: isolation.writes.clone() };
    if made.namespaces {
        // Names are no secret, and what is protected is covered.
        allowed.lists.push(PathBuf::from("/"));
        allowed.writes.extend(OWN_TMP.iter().chain([&TERMINALS]).map(PathBuf::from));
    } else {
        // The outside made it.
        allowed.writes.extend(std::env::var_os("TMPDIR").map(PathBuf::from));
        setsid()?;
        isolation.ids()?.as_ref().map(Ids::assume).transpose()?;
    }
    allowed.reads = rights::all_but(&isolation.protected, Path::new("/"));
    limit(isolation, made)?;
    prctl::set_no_new_privs()?;
    let landlock = rights::narrow(&allowed)?;
    let isolation = match (&isolation.user, made.namespaces) {
        (Some(_), _) => Apart::User,
        (None, true) => Apart::Namespace,
        (None, false) => Apart::None,
    };
    Ok(Report { isolation, namespaces: made.namespaces, landlock, counted: made.counted })
}

fn limit(isolation: &Isolation, made: Made) -> anyhow::Result<()> {
    let limits = &isolation.limits;
    let set = |resource, most: u64| setrlimit(resource, most, most);
    set(Resource::RLIMIT_CORE, 0)?;
    set(Resource::RLIMIT_NOFILE, limits.files).context("`limits.files` is more than allowed")?;
    if made.counted {
        // The first process of its namespaces is not the server's own.
        let first = u64::from(made.namespaces);
        set(Resource::RLIMIT_NPROC, limits.processes + first)?;
    }
    Ok(set(Resource::RLIMIT_DATA, limits.memory_mb << 20)?)
}
