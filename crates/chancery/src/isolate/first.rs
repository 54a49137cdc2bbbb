//! The first process of a server's namespaces: gives it its view of the files, takes what rights
//! it can, and starts the inside.
//!
//! It stays, as nobody that the server could stop or look into: it reaps what the server leaves,
//! and with it everything in the namespaces ends.

use std::os::fd::OwnedFd;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, setsid};

use super::{Ids, Isolation, Made, NO_NAMESPACES, OWN_TMP, Stage, files, mounts};
use crate::cli;

/// `nobody`: what the root of a namespace is to its servers, so that they lose root's rights.
const NOBODY: u32 = 65_534;

pub(super) fn run(
    isolation: &Isolation,
    made: Made,
    typed: &cli::Isolate,
) -> anyhow::Result<ExitCode> {
    // No terminal of ours is its terminal.
    setsid()?;
    let ids = isolation.ids()?;
    let own = files::own_proc()?;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC).context(NO_NAMESPACES)?;
    let owner = ids.as_ref().map_or((0, 0), |ids| (ids.uid.as_raw(), ids.gid.as_raw()));
    mounts::build(isolation, owner).context(NO_NAMESPACES)?;
    ids.as_ref().map(Ids::assume).transpose()?;
    let alone = lose_rights(&own, ids.as_ref(), made.service_uid)?;
    prctl::set_dumpable(false)?;
    // After the last change of user, which would undo it.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let signals: SigSet = [Signal::SIGCHLD, Signal::SIGTERM].into_iter().collect();
    signals.thread_block()?;
    // The kernel does not count what root runs, whatever the namespace.
    let counted = ids.is_some() || (alone && made.service_uid != 0);
    let made = Made { stage: Stage::Inside, counted, ..made };
    let mut command = made.command(typed)?;
    let inside = command.env("TMPDIR", OWN_TMP[0]).spawn().context("could not start itself")?;
    files::close_pipes();
    attend(Pid::from_raw(i32::try_from(inside.id())?), &signals)
}

/// Goes into a user namespace of its own, as an ordinary user: what it starts has no rights over
/// mounts and processes outside of it, and its processes are counted by themselves. False where
/// another user, who has none anyway, may make none.
fn lose_rights(own: &OwnedFd, ids: Option<&Ids>, service_uid: u32) -> anyhow::Result<bool> {
    let (uid, gid) = match ids {
        Some(ids) => ((ids.uid.as_raw(), ids.uid.as_raw()), (ids.gid.as_raw(), ids.gid.as_raw())),
        None if service_uid == 0 => ((NOBODY, 0), (NOBODY, 0)),
        None => ((service_uid, 0), (service_uid, 0)),
    };
    // Its own files in `/proc` are root's after a change of user, unless it says so.
    prctl::set_dumpable(true)?;
    match unshare(CloneFlags::CLONE_NEWUSER) {
        Ok(()) => {
            files::map_ids(own, uid, gid)?;
            files::forbid_user_namespaces(own)?;
            Ok(true)
        }
        Err(Errno::EPERM | Errno::ENOSPC | Errno::EINVAL | Errno::EUSERS) if ids.is_some() => {
            Ok(false)
        }
        Err(error) => bail!("could not make its own user namespace: {error}"),
    }
}

/// Reaps what ends, passes SIGTERM on, and ends with the server.
fn attend(inside: Pid, signals: &SigSet) -> anyhow::Result<ExitCode> {
    loop {
        if signals.wait()? == Signal::SIGTERM {
            // Nobody may be left.
            let _ = kill(Pid::from_raw(-1), Signal::SIGTERM);
            continue;
        }
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == inside => return Ok(exit(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == inside => {
                    return Ok(exit(128 + signal as i32));
                }
                Ok(WaitStatus::StillAlive) | Err(_) => break,
                Ok(_) => {}
            }
        }
    }
}

fn exit(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
