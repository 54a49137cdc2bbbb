//! What this host's kernel says of processes: who is at the other end of a socket, and since when.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use model::{Executable, HostProcess, Sha256Digest};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags};
use sha2::{Digest as _, Sha256};
use sts::TokenService;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::places::{Place, Places};
use crate::socket;

/// The most connections of one user to the host's socket.
const OF_ONE_USER_MAX: usize = 8;

/// The most connections to the host's socket.
const CONNECTIONS_MAX: usize = 256;

/// How long one connection may last.
const CONNECTION: Duration = Duration::from_secs(10);

/// The largest program whose digest is taken, in bytes: of a larger one it is not known what it is.
const PROGRAM_MAX: u64 = 512 << 20;

/// The most programs whose digests are remembered.
const PROGRAMS_MAX: usize = 256;

/// A program file as it is now: nobody but the kernel can give another one the same times.
type Version = (u64, u64, u64, (i64, i64), (i64, i64));

/// Digests of programs that were read.
#[derive(Debug, Default)]
struct Programs(Mutex<BTreeMap<Version, Sha256Digest>>);

/// The program at `path`, as it is now.
pub(crate) fn executable(path: &Path) -> anyhow::Result<Executable> {
    let unread = || format!("could not read the program `{}`", path.display());
    let path = path.canonicalize().with_context(unread)?;
    let digest = digest(&mut File::open(&path).with_context(unread)?).with_context(unread)?;
    Ok(Executable { digest, path: path.display().to_string() })
}

fn digest(file: &mut File) -> std::io::Result<Sha256Digest> {
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 64 * 1024]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Sha256Digest::from_bytes(hash.finalize().into())),
            read => hash.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

/// The process `pid`, held, so that its number is nobody else's.
pub(crate) fn held(pid: u32) -> anyhow::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no process id")?;
    Ok(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
}

/// When the process `pid` started, in clock ticks since the boot (`proc_pid_stat(5)`).
pub(crate) fn started(pid: u32) -> Option<u64> {
    started_of(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The 22nd field: counted from the last bracket, because the second one is the program's own words.
fn started_of(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// The user as whom `pid` acts.
fn uid(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

impl Programs {
    /// What `pid` executes; none if that may not be read.
    fn of(&self, pid: u32) -> Option<Executable> {
        let link = format!("/proc/{pid}/exe");
        let path = fs::read_link(&link).ok()?.display().to_string();
        // What is opened is the program itself, wherever its path leads by now.
        let mut file = File::open(link).ok()?;
        let it = file.metadata().ok()?;
        if it.size() > PROGRAM_MAX {
            return None;
        }
        let times = ((it.mtime(), it.mtime_nsec()), (it.ctime(), it.ctime_nsec()));
        let version = (it.dev(), it.ino(), it.size(), times.0, times.1);
        let known = self.0.lock().expect("no panic while it is held").get(&version).copied();
        let digest = known.map_or_else(|| digest(&mut file).ok(), Some)?;
        let mut all = self.0.lock().expect("no panic while it is held");
        if all.len() >= PROGRAMS_MAX {
            all.clear();
        }
        all.insert(version, digest);
        Some(Executable { digest, path })
    }

    /// The process `pid` of the user `of`, if it is the same one before and after it was looked at.
    fn process(&self, pid: u32, of: u32) -> anyhow::Result<HostProcess> {
        let held = held(pid)?;
        let look =
            || Some((started(pid)?, uid(pid)?, fs::read_link(format!("/proc/{pid}/exe")).ok()));
        let before = look().context("it is gone")?;
        let exe = self.of(pid);
        ensure!(look().as_ref() == Some(&before), "it became another while it was looked at");
        let mut ended = [PollFd::new(&held, PollFlags::IN)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        if rustix::event::poll(&mut ended, Some(&at_once))? > 0 {
            bail!("it ended while it was looked at");
        }
        // The kernel noted the user when the connection was made; the number may be another's by now.
        ensure!(before.1 == of, "it is another user's by now");
        Ok(HostProcess { exe, pid, started: before.0, uid: of })
    }
}

/// Vouches for the processes that connect to `listener`, whosever they are.
pub(crate) async fn serve(
    listener: UnixListener,
    tokens: Arc<TokenService>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let programs = Arc::new(Programs::default());
    let places = places();
    while let Some(stream) = stop.run_until_cancelled(socket::accept(&listener)).await {
        let Some(((pid, uid), place)) = admitted(&stream, &places) else { continue };
        let (programs, tokens) = (programs.clone(), tokens.clone());
        tasks.spawn(async move {
            let vouched = vouch((stream, place), (pid, uid), programs, tokens);
            if let Ok(Err(error)) = tokio::time::timeout(CONNECTION, vouched).await {
                tracing::debug!("no voucher for process {pid}: {error:#}");
            }
        });
    }
}

fn places() -> Arc<Places<u32>> {
    Places::new(CONNECTIONS_MAX, OF_ONE_USER_MAX)
}

/// Which process of which user is at the other end, with a place for it; none where there is none left.
fn admitted(stream: &UnixStream, places: &Arc<Places<u32>>) -> Option<((u32, u32), Place<u32>)> {
    let peer = stream.peer_cred().ok()?;
    let pid = u32::try_from(peer.pid()?).ok()?;
    Some(((pid, peer.uid()), places.take(Some(peer.uid())).ok()?))
}

async fn vouch(
    (stream, place): (UnixStream, Place<u32>),
    (pid, uid): (u32, u32),
    programs: Arc<Programs>,
    tokens: Arc<TokenService>,
) -> anyhow::Result<()> {
    // The place is taken as long as anybody looks, also when nobody waits for it any more.
    let looked = tokio::task::spawn_blocking(move || (programs.process(pid, uid), place));
    let (process, _place) = looked.await?;
    socket::serve_one(stream, api::host(tokens, process?)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_read_whatever_a_program_calls_itself() {
        let fields = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        let check =
            |name: &str| assert_eq!(started_of(&format!("7 ({name}) {fields}")), Some(4711));
        check("sh");
        check("a b) R 1 (");
        check(") 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23");
        assert_eq!(started_of("7 (sh) S 1 2"), None);
    }

    #[test]
    fn a_process_is_what_the_kernel_says_of_it() {
        let programs = Programs::default();
        let (pid, own) = (std::process::id(), nix::unistd::geteuid().as_raw());
        let process = programs.process(pid, own).expect("it runs");
        let program = executable(&std::env::current_exe().unwrap()).unwrap();
        assert_eq!(process.exe, Some(program));
        assert_eq!(process.started, started(pid).unwrap());
        // Whose number is another user's by now is not vouched for.
        assert!(programs.process(pid, own + 1).is_err());
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        assert!(programs.process(ended.id(), own).is_err());
    }

    #[tokio::test]
    async fn so_many_connections_of_one_user_and_of_all_are_admitted() {
        let own = nix::unistd::geteuid().as_raw();
        let (stream, _other) = UnixStream::pair().expect("a pair");
        let of_one = places();
        let mut held: Vec<_> =
            (0..OF_ONE_USER_MAX).map(|_| admitted(&stream, &of_one).expect("a place")).collect();
        assert!(held.iter().all(|(who, _)| *who == (std::process::id(), own)));
        assert!(admitted(&stream, &of_one).is_none(), "one too many of one user");
        held.pop();
        assert!(admitted(&stream, &of_one).is_some());

        let all = places();
        let others = (own + 1..).flat_map(|uid| [uid; OF_ONE_USER_MAX]).take(CONNECTIONS_MAX - 1);
        let _others: Vec<_> = others.map(|uid| all.take(Some(uid)).expect("a place")).collect();
        let last = admitted(&stream, &all);
        assert!(last.is_some());
        assert!(admitted(&stream, &all).is_none(), "one too many of all");
    }

    #[test]
    fn a_program_is_read_up_to_a_size() {
        let dir = tempfile::tempdir().unwrap();
        for (size, is_read) in [(PROGRAM_MAX, true), (PROGRAM_MAX + 1, false)] {
            // Another process writes it: what is open for writing here could not be started.
            let path = dir.path().join(size.to_string());
            let script = r#"cp "$(command -v sleep)" "$1" && truncate -s "$2" "$1""#;
            let mut made = std::process::Command::new("sh");
            made.args(["-c", script, "sh"]).arg(&path).arg(size.to_string());
            assert!(made.status().unwrap().success());
            let mut sleeps = std::process::Command::new(&path).arg("600").spawn().unwrap();
            let program = Programs::default().of(sleeps.id());
            sleeps.kill().and_then(|()| sleeps.wait()).unwrap();
            assert_eq!(program.is_some(), is_read, "{size}");
        }
    }
}
