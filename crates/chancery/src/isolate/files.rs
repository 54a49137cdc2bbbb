//! Files and descriptors of the process itself.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;

use anyhow::Context as _;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::Pid;

/// Standard input, output and error: what a server may have.
const STANDARD: std::ops::RangeInclusive<i32> = 0..=2;

/// Closes every descriptor that came from elsewhere, but for the standard ones.
pub(super) fn close_inherited() -> anyhow::Result<()> {
    let open = std::fs::read_dir("/proc/self/fd").context("could not read what is open")?;
    let numbers = open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let inherited: Vec<i32> = numbers.filter(|number| !STANDARD.contains(number)).collect();
    for number in inherited {
        // That of the listing itself is closed already.
        let _ = nix::unistd::close(number);
    }
    Ok(())
}

/// Closes standard input and output once they are the server's.
pub(super) fn close_pipes() {
    for number in [0, 1] {
        let _ = nix::unistd::close(number);
    }
}

/// What `/proc` says of this process, held open, whatever is mounted there later.
pub(super) fn own_proc() -> anyhow::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(nix::fcntl::open("/proc/self", flags, Mode::empty())?)
}

/// Says which ids outside (second) its new user namespace those inside (first) are.
pub(super) fn map_ids(own: &OwnedFd, uid: (u32, u32), gid: (u32, u32)) -> anyhow::Result<()> {
    write(own, "setgroups", "deny")?;
    write(own, "uid_map", &format!("{} {} 1", uid.0, uid.1))?;
    write(own, "gid_map", &format!("{} {} 1", gid.0, gid.1))
}

/// Lets nobody make a user namespace within this one: root's rights in one, though over nothing,
/// reach much of the kernel.
pub(super) fn forbid_user_namespaces(own: &OwnedFd) -> anyhow::Result<()> {
    write(own, "../sys/user/max_user_namespaces", "0")
}

fn write(own: &OwnedFd, name: &str, text: &str) -> anyhow::Result<()> {
    let opened = openat(own, name, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty());
    let written = opened.map_err(std::io::Error::from);
    let written = written.and_then(|file| File::from(file).write_all(text.as_bytes()));
    written.with_context(|| format!("could not write `{name}`"))
}

/// The children of this process, which has one thread.
pub(super) fn children() -> Vec<Pid> {
    let path = "/proc/thread-self/children";
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect()
}
