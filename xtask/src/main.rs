//! The tasks of the repository: `cargo xtask test` is what CI and a newcomer run.
#![allow(clippy::disallowed_methods, reason = "tasks run processes and read the clock")]

mod bench;
mod fuzz;
mod provision;
mod tidy;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::ensure;

fn main() -> ExitCode {
    let task = std::env::args().nth(1).unwrap_or_default();
    let rest: Vec<_> = std::env::args().skip(2).collect();
    let done = match task.as_str() {
        "test" => test(),
        "tidy" => tidy::check(),
        "provision" => provision::all(),
        "bench" => bench::run(&rest),
        "fuzz" => fuzz::run(&rest),
        _ => Err(anyhow::anyhow!("usage: cargo xtask test | tidy | provision | bench | fuzz")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(if error.is::<provision::Missing>() { 2 } else { 1 })
        }
    }
}

/// Everything, in the order in which it fails fastest.
fn test() -> anyhow::Result<()> {
    step("format", || cargo(&["fmt", "--all", "--check"]))?;
    step("tidy", tidy::check)?;
    step("provision", provision::all)?;
    let lint = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
    step("lint", || cargo(&lint))?;
    // Alone, the binaries would be built without the features that only tests ask for: almost all
    // that they depend on would be compiled twice.
    step("build", || cargo(&["build", "--quiet", "--workspace", "--bins", "--tests"]))?;
    step("test", || cargo_in_memory(&["test", "--workspace", "--no-fail-fast"]))
}

fn step(name: &str, run: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    println!("xtask: {name} …");
    let started = Instant::now();
    run()?;
    println!("xtask: {name} done in {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

fn cargo(arguments: &[&str]) -> anyhow::Result<()> {
    finish(Command::new(program()), arguments)
}

/// Where the temporary files of tests are. Servers have a directory of their own there, as in `/tmp`.
const TEMPORARY: &str = "/dev/shm";

/// Mounts a disk that lies in memory at `$0`, and runs a command: nobody else sees the disk, and it ends with that.
const IN_MEMORY: &str = r#"
mount -t tmpfs -o mode=700 memory "$0"
truncate -s 4G "$0/disk"
mkfs.ext4 -q -O ^has_journal "$0/disk"
mount -o loop,discard "$0/disk" "$0"
chmod 1777 "$0"
exec "$@"
"#;

/// The same, where a sync of a temporary file waits for nothing: tests sync by the hundred thousand. What they
/// prove of disks that are slow, full or broken, they prove on disks that they break.
fn cargo_in_memory(arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-ec", IN_MEMORY, TEMPORARY]).arg(program());
    command.env("TMPDIR", TEMPORARY);
    finish(command, arguments)
}

fn finish(mut command: Command, arguments: &[&str]) -> anyhow::Result<()> {
    let status = command.args(arguments).current_dir(root()).status()?;
    ensure!(status.success(), "cargo {} failed", arguments.join(" "));
    Ok(())
}

fn program() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// The root of the repository.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(PathBuf::from).unwrap_or(here)
}
