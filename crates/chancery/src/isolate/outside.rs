//! The outside: makes the namespaces, starts what runs in them, and ends all that was started.
//!
//! It stays for as long as the server runs, with the service's own rights, and does nothing but
//! wait: for the server to end, for the service to say that it should (SIGTERM), or for the service
//! itself to be gone.

use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitCode};

use anyhow::{Context as _, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Gid, Pid, Uid, getegid, geteuid, getppid};
use tempfile::TempDir;

use super::{Isolation, Made, NO_NAMESPACES, Stage, files};
use crate::cli;

/// Half of the machine's memory, in the kernel's reckoning of who is to go (proc(5)).
const OOM_FIRST: &str = "500";

/// How long a server may take to end once it is asked to, in milliseconds.
const END_WITHIN_MS: u16 = 400;

pub(super) fn run(isolation: &Isolation, typed: &cli::Isolate) -> anyhow::Result<ExitCode> {
    files::close_inherited()?;
    // Where memory runs out, servers go before the service.
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_FIRST);
    let service = service(isolation)?;
    nix::sys::prctl::set_child_subreaper(true)?;
    let signals = signals()?;
    let (uid, gid) = (geteuid(), getegid());
    contain(isolation, uid, gid)?;
    let namespaces = isolation.namespaces;
    let stage = if namespaces { Stage::First } else { Stage::Inside };
    let counted = isolation.user.is_some();
    let made = Made { stage, namespaces, counted, service_uid: uid.as_raw() };
    let temporary = (!namespaces).then(|| temporary(isolation)).transpose()?;
    let mut command = made.command(typed)?;
    command.envs(temporary.as_ref().map(|dir| ("TMPDIR", dir.path())));
    let mut started = command.spawn().context("could not start itself again")?;
    // The pipes are the server's alone: each end sees the other's end.
    files::close_pipes();
    let waited = wait(&mut started, &signals, &service);
    let _ = started.kill();
    let status = started.wait();
    end_all();
    drop(temporary);
    let status = waited.and(status.map_err(anyhow::Error::from))?;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
}

/// The service, if it still is there.
fn service(isolation: &Isolation) -> anyhow::Result<OwnedFd> {
    let service = crate::host::held(isolation.service).context("the service is gone")?;
    let parent = u32::try_from(getppid().as_raw()).ok();
    ensure!(parent == Some(isolation.service), "the service is gone");
    Ok(service)
}

/// What it waits for instead of being interrupted.
fn signals() -> anyhow::Result<SignalFd> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGTERM);
    set.add(Signal::SIGCHLD);
    set.thread_block()?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}

/// Makes the namespaces in which what it starts is the first process.
fn contain(isolation: &Isolation, uid: Uid, gid: Gid) -> anyhow::Result<()> {
    let is_other_user = isolation.user.is_some();
    ensure!(uid.is_root() || !is_other_user, "`user` needs a service that is root");
    if !isolation.namespaces {
        ensure!(isolation.may_go_without(), NO_NAMESPACES);
        return Ok(());
    }
    let made = if is_other_user {
        unshare(CloneFlags::CLONE_NEWPID).map_err(anyhow::Error::from)
    } else {
        own_user_namespace(uid, gid)
    };
    made.context(NO_NAMESPACES)
}

/// Inside of it, it is root, so that what it starts has root's rights there: no more than over its own
/// mounts and processes.
fn own_user_namespace(uid: Uid, gid: Gid) -> anyhow::Result<()> {
    // Root's groups are no server's; who may not leave them is not root.
    let _ = nix::unistd::setgroups(&[gid]);
    unshare(CloneFlags::CLONE_NEWUSER)?;
    let own = files::own_proc()?;
    files::map_ids(&own, (0, uid.as_raw()), (0, gid.as_raw()))?;
    Ok(unshare(CloneFlags::CLONE_NEWPID)?)
}

/// A temporary directory of the server's own where it has no file system of its own.
fn temporary(isolation: &Isolation) -> anyhow::Result<TempDir> {
    let private = std::fs::Permissions::from_mode(0o700);
    let dir = tempfile::Builder::new().prefix("chancery-server-").permissions(private).tempdir()?;
    if let Some(ids) = isolation.ids()? {
        nix::unistd::chown(dir.path(), Some(ids.uid), Some(ids.gid))?;
    }
    Ok(dir)
}

/// Waits until what was started has ended, or should.
fn wait(started: &mut Child, signals: &SignalFd, service: &OwnedFd) -> anyhow::Result<()> {
    let pid = Pid::from_raw(i32::try_from(started.id())?);
    let mut patience = PollTimeout::NONE;
    loop {
        let mut awaited = [
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(service.as_fd(), PollFlags::POLLIN),
        ];
        let is_late = poll(&mut awaited, patience)? == 0;
        let service_is_gone = awaited[1].any().unwrap_or(true);
        if is_late || service_is_gone || started.try_wait()?.is_some() {
            return Ok(());
        }
        while let Some(signal) = signals.read_signal()? {
            if signal.ssi_signo == Signal::SIGTERM as u32 {
                // It may be gone: then its end is what is waited for.
                let _ = kill(pid, Signal::SIGTERM);
                patience = PollTimeout::from(END_WITHIN_MS);
            }
        }
        reap(pid);
    }
}

/// Forgets orphans of the server's that ended; what it started is waited for by itself.
fn reap(started: Pid) {
    for child in files::children().into_iter().filter(|child| *child != started) {
        let _ = waitpid(child, Some(WaitPidFlag::WNOHANG));
    }
}

/// Ends what the server left behind: all of it is ours since its parents are gone.
fn end_all() {
    loop {
        let left = files::children();
        if left.is_empty() {
            return;
        }
        for child in left {
            let _ = kill(child, Signal::SIGKILL);
            let _ = waitpid(child, None);
        }
    }
}
