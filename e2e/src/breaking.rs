//! Ways to break the real thing while it runs: system calls that fail, disks that are full or gone.
//!
//! All of it ends when its value is dropped. It needs root, which `cargo xtask provision` checks.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Child, signal};

/// System calls of a running process that fail as long as this lives.
#[derive(Debug)]
pub struct FailingCalls(Child);

impl FailingCalls {
    /// Makes the calls of the process `pid` fail as `injection` says (`pwrite64:error=EIO`), from
    /// now on.
    pub fn begin(pid: u32, injection: &str) -> Self {
        let calls = injection.split(':').next().unwrap_or_default();
        let (trace, inject) = (format!("trace={calls}"), format!("inject={injection}"));
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-e", &trace, "-e", &inject]);
        command.args(["-p", &pid.to_string()]);
        let attached = |line: &str| line.contains("attached").then_some(());
        let (child, ()) = Child::start_and_read_errors(&mut command, attached);
        Self(child)
    }
}

impl Drop for FailingCalls {
    fn drop(&mut self) {
        if self.0.ended().is_none() {
            // It lets go of the process, which goes on unharmed.
            signal(self.0.id(), "INT");
            self.0.wait();
        }
    }
}

/// The binary, whose wall clock runs as `file` says (`+600`, in seconds), and as it will say.
pub fn by_clock(file: &Path) -> Command {
    let mut command = Command::new(crate::binary());
    command.env("LD_PRELOAD", clock_library()).env("FAKETIME_TIMESTAMP_FILE", file);
    command.envs([("FAKETIME_NO_CACHE", "1"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")]);
    command
}

/// How often `faketime` is asked.
const ATTEMPTS: usize = 5;

/// The library that moves a clock, as the `faketime` command names it. What that shares is named after
/// its process, and it fails where an older one of that number left the same behind.
fn clock_library() -> String {
    let named = |_| {
        let output = Command::new("faketime").args(["-m", "-f", "+0", "env"]).output();
        let output = output.expect("faketime is installed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().find_map(|line| line.strip_prefix("LD_PRELOAD=").map(str::to_owned))
    };
    (0..ATTEMPTS).find_map(named).expect("faketime preloads a library")
}

/// A file system of its own, mounted for a test.
#[derive(Debug)]
pub struct Mount {
    at: PathBuf,
    image: Option<PathBuf>,
}

impl Mount {
    /// Puts what is in the directory `at` on a file system in memory of `size` (`4m`).
    pub fn in_memory(at: &Path, size: &str) -> Self {
        let size = format!("size={size}");
        Self::over(at, None, &["-t", "tmpfs", "-o", &size, "tmpfs"])
    }

    /// Puts what is in the directory `at` on a small disk: an image of ext4 at `image`.
    pub fn on_disk(at: &Path, image: &Path) -> Self {
        let file = std::fs::File::create(image).expect("the image can be made");
        file.set_len(24 << 20).expect("the image can be made");
        run(Command::new("mkfs.ext4").arg("-q").arg(image));
        Self::over(at, Some(image), &["-o", "loop", image.to_str().expect("it is text")])
    }

    fn over(at: &Path, image: Option<&Path>, mount: &[&str]) -> Self {
        let aside = at.with_extension("aside");
        std::fs::rename(at, &aside).expect("it can be moved");
        std::fs::create_dir(at).expect("the mount point can be made");
        run(Command::new("mount").args(mount).arg(at));
        let content = format!("{}/.", aside.display());
        run(Command::new("cp").args(["-a", &content]).arg(at));
        run(Command::new("sync").arg("-f").arg(at));
        Self { at: at.to_owned(), image: image.map(Path::to_owned) }
    }

    /// Breaks a disk as the kernel does after an error: from now on it can only be read.
    pub fn make_read_only(&self) {
        run(Command::new("mount").args(["-o", "remount,abort"]).arg(&self.at));
    }

    /// Mounts a broken disk anew; whoever used it has ended.
    pub fn mend(&self) {
        let image = self.image.as_ref().expect("it is a disk");
        run(Command::new("umount").arg(&self.at));
        run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(&self.at));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: whoever still uses it may be a process of a test that failed.
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

/// Fills the file system of `dir` to the last byte. Dropping the path's file makes room again.
pub fn fill(dir: &Path) -> tempfile::TempPath {
    let filler = dir.join("filler");
    let mut file = std::fs::File::create(&filler).expect("a file can be made");
    let mut size = 1 << 20;
    while size > 0 {
        while file.write_all(&vec![0; size]).is_ok() {}
        size /= 4;
    }
    tempfile::TempPath::try_from_path(filler).expect("it has a name")
}

/// A group of processes with a limit of the kernel's own.
#[derive(Debug)]
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// A group whose processes may use `bytes` of memory together; who wants more is killed.
    pub fn with_memory(bytes: u64) -> Self {
        let name = format!("chancery-{}", std::process::id());
        let (root, limit) = (Path::new("/sys/fs/cgroup"), bytes.to_string());
        let write = |path: &Path, text: &str| {
            std::fs::write(path, text)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        };
        let of_old = root.join("memory");
        let (group, file) = if of_old.exists() {
            (of_old.join(name), "memory.limit_in_bytes")
        } else {
            write(&root.join("cgroup.subtree_control"), "+memory");
            (root.join(name), "memory.max")
        };
        std::fs::create_dir(&group).expect("control groups can be made");
        write(&group.join(file), &limit);
        Self(group)
    }

    /// Puts the process `pid` into the group.
    pub fn take(&self, pid: u32) {
        std::fs::write(self.0.join("cgroup.procs"), pid.to_string()).expect("the process runs");
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // One that still has a process stays until the machine forgets it.
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// Sets a limit of a running process (`--fsize=1000`).
pub fn limit(pid: u32, what: &str) {
    run(Command::new("prlimit").args(["--pid", &pid.to_string(), what]));
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}
