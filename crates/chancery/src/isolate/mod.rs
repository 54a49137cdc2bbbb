//! Keeps the tool servers that we start apart from us and from each other.
//!
//! The gateway starts `chancery isolate HOW -- COMMAND…` in place of a command. That process (the
//! *outside*, [`outside`]) makes the namespaces and starts the same program again in them (the
//! *first*, [`first`]), which builds the server's view of the files and starts it once more (the
//! *inside*, [`inside`]); that narrows itself and becomes the server. When the conversation, the
//! service or the server ends, everything that was started ends. Whatever is asked for and cannot be
//! had ends the start.

mod files;
mod first;
mod inside;
mod mounts;
mod outside;
mod report;
mod rights;

use std::ffi::{CString, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, ensure};
use nix::unistd::{Gid, Uid, User};
use serde::{Deserialize, Serialize};

pub(crate) use report::{
    Apart, ISOLATION, Launchers, Report, Servers, launchers, metrics, settle, tell, warnings,
};

use crate::cli;
use crate::config::{Account, Config, ProcessLimits, Server};

/// This very program, also when its file was replaced since it started.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// What to do where namespaces cannot be had.
const NO_NAMESPACES: &str = "it cannot be isolated: allow user namespaces, set `user` with a service \
                             that is root, or set `allow_unisolated`";

/// How a shell says that a command could not be run.
const NOT_STARTED: u8 = 126;

/// How one server is to be kept apart: what the gateway's process says to the outside.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Isolation {
    /// The process that starts it, and without which it does not go on.
    service: u32,
    /// The user as whom it runs; none: the service's own, in a user namespace.
    user: Option<Account>,
    /// What it may not read, whoever it runs as.
    protected: Vec<PathBuf>,
    /// Where it may write beside its temporary directory.
    writes: Vec<PathBuf>,
    limits: ProcessLimits,
    /// Whether it starts even where it cannot be kept apart.
    allow_unisolated: bool,
    /// Whether it gets namespaces of its own. What was settled holds: nobody makes a later server
    /// start with less by using them up.
    namespaces: bool,
}

/// The root and what lies in it: too much to hide because a link lies there.
const TOP_COMPONENTS: usize = 2;

/// What a later process has to know of what an earlier one made.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Made {
    /// Which process it is.
    stage: Stage,
    /// Whether it is in namespaces of its own.
    namespaces: bool,
    /// Whether the kernel counts its processes.
    counted: bool,
    /// The user of the service.
    service_uid: u32,
}

/// A process after the outside.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Stage {
    First,
    Inside,
}

impl Made {
    /// This program as the next process.
    fn command(self, typed: &cli::Isolate) -> anyhow::Result<Command> {
        let mut command = Command::new(OWN_PROGRAM);
        command.args(["isolate", &typed.how, "--made", &serde_json::to_string(&self)?]);
        command.args(typed.report.then_some("--report")).arg("--").args(&typed.command);
        Ok(command)
    }
}

/// An account of this machine.
struct Ids {
    name: Option<String>,
    uid: Uid,
    gid: Gid,
}

impl Ids {
    /// Becomes this user, for good.
    fn assume(&self) -> anyhow::Result<()> {
        let groups = match &self.name {
            Some(name) => nix::unistd::initgroups(&CString::new(name.as_str())?, self.gid),
            None => nix::unistd::setgroups(&[]),
        };
        groups.and_then(|()| nix::unistd::setgid(self.gid))?;
        Ok(nix::unistd::setuid(self.uid)?)
    }
}

impl Isolation {
    /// How `server` of `config` is kept apart from this process: as well as this machine can, which
    /// is tried, not guessed. Why not, if it is not to be started.
    fn settle(server: &Server, config: &Config) -> Result<(Self, Report), String> {
        let mut isolation = Self {
            service: std::process::id(),
            user: server.user.clone(),
            protected: config.named_protected(),
            writes: server.writes.iter().map(|path| real(path)).collect(),
            limits: server.limits.clone(),
            allow_unisolated: server.allow_unisolated,
            namespaces: true,
        };
        let mut tried = isolation.probe();
        if tried.is_err() && isolation.may_go_without() {
            isolation.namespaces = false;
            tried = isolation.probe();
        }
        tried.map(|report| (isolation, report)).map_err(|error| format!("{error:#}"))
    }

    /// The same, with what is protected as it is at this moment. Where a link leads, another file may
    /// take the place of the one that it leads to: then all of both directories is protected.
    fn at_this_moment(self) -> Self {
        let mut protected = Vec::with_capacity(self.protected.len());
        for path in &self.protected {
            let target = real(path);
            if path.symlink_metadata().is_ok_and(|found| found.is_symlink()) {
                let around = [path.parent().map(real), target.parent().map(Path::to_owned)];
                let deep = |dir: &PathBuf| dir.components().count() > TOP_COMPONENTS;
                protected.extend(around.into_iter().flatten().filter(deep));
            }
            protected.push(target);
        }
        Self { protected, ..self }
    }

    /// Whether it is kept apart, or need not be, without namespaces.
    const fn may_go_without(&self) -> bool {
        self.user.is_some() || self.allow_unisolated
    }

    /// The program and arguments before a command that is to be kept apart.
    pub(crate) fn launcher(&self) -> Vec<OsString> {
        let how = serde_json::to_string(self).expect("it is plain data");
        [OWN_PROGRAM, "isolate", &how, "--"].map(OsString::from).into()
    }

    /// Does everything but start a server.
    fn probe(&self) -> anyhow::Result<Report> {
        let how = serde_json::to_string(self).expect("it is plain data");
        let tried = Command::new(OWN_PROGRAM).args(["isolate", &how, "--report"]).output()?;
        let said = String::from_utf8_lossy(&tried.stderr);
        let said = said.trim().trim_start_matches("chancery: ");
        ensure!(tried.status.success(), "{said}");
        serde_json::from_slice(&tried.stdout).context("the report of isolation cannot be read")
    }

    fn ids(&self) -> anyhow::Result<Option<Ids>> {
        let Some(account) = &self.user else { return Ok(None) };
        let user = match account {
            Account::Uid(uid) => User::from_uid(Uid::from_raw(*uid))?,
            Account::Name(name) => {
                let user = User::from_name(name)?;
                Some(user.with_context(|| format!("there is no user `{name}`"))?)
            }
        };
        let ids = match (user, account) {
            (Some(user), _) => Ids { name: Some(user.name), uid: user.uid, gid: user.gid },
            (None, Account::Uid(uid)) => {
                Ids { name: None, uid: Uid::from_raw(*uid), gid: Gid::from_raw(*uid) }
            }
            (None, Account::Name(_)) => unreachable!("it was found"),
        };
        ensure!(!ids.uid.is_root(), "a server may not run as root: name another `user`");
        ensure!(ids.uid != nix::unistd::geteuid(), "`user` is the service's own: name another");
        Ok(Some(ids))
    }
}

/// `chancery isolate`: narrows, then starts the server; its exit code is the server's.
pub(crate) fn run(typed: &cli::Isolate) -> ExitCode {
    let ran = serde_json::from_str(&typed.how).context("it is started by the service").and_then(
        |isolation: Isolation| {
            let made = typed.made.as_deref().map(serde_json::from_str::<Made>);
            match made.transpose().context("it is started by the outside")? {
                None => {
                    let isolation = isolation.at_this_moment();
                    let how = serde_json::to_string(&isolation)?;
                    outside::run(&isolation, &cli::Isolate { how, ..typed.clone() })
                }
                Some(made) => match made.stage {
                    Stage::First => first::run(&isolation, made, typed),
                    Stage::Inside => inside::run(&isolation, made, typed),
                },
            }
        },
    );
    ran.unwrap_or_else(|error| {
        eprintln!("chancery: {error:#}");
        ExitCode::from(NOT_STARTED)
    })
}

/// Its own temporary directory, where it has namespaces of its own.
const OWN_TMP: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

/// `path` without links; as it is if there is nothing.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Whether `path` is one of `places` or below one.
fn is_below(path: &Path, places: &[PathBuf]) -> bool {
    places.iter().any(|place| path.starts_with(place))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A key that is a link may be another one at the next start, and others lie beside it.
    #[test]
    fn where_a_link_leads_all_around_it_is_protected() {
        let dir = tempfile::tempdir().expect("a directory");
        let dir = dir.path().canonicalize().expect("it is there");
        let (live, archive) = (dir.join("live"), dir.join("archive"));
        for made in [&live, &archive] {
            std::fs::create_dir(made).expect("it is ours");
        }
        let (key, plain) = (live.join("key.pem"), dir.join("plain.pem"));
        for file in [&archive.join("key1.pem"), &plain] {
            std::fs::write(file, "secret").expect("it is ours");
        }
        symlink("../archive/key1.pem", &key).expect("it is ours");
        let isolation = Isolation {
            service: 1,
            user: None,
            protected: vec![key, plain.clone()],
            writes: Vec::new(),
            limits: ProcessLimits::default(),
            allow_unisolated: false,
            namespaces: true,
        };
        let key = archive.join("key1.pem");
        assert_eq!(isolation.at_this_moment().protected, [live, archive, key, plain]);
    }
}
