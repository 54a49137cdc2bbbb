//! Gets what tests need besides crates: other people's MCP clients and servers, below `target/`,
//! from locked files.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

/// A program that is not on the machine and that we may not install.
#[derive(Debug)]
pub(crate) struct Missing(String);

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

/// Programs, each with the Debian package that has it.
const PROGRAMS: [(&str, &str); 7] = [
    ("python3", "python3-venv"),
    ("node", "nodejs"),
    ("npm", "npm"),
    // What breaks things on purpose.
    ("strace", "strace"),
    ("faketime", "faketime"),
    ("mkfs.ext4", "e2fsprogs"),
    ("prlimit", "util-linux"),
];

/// Installs everything that is not there yet.
pub(crate) fn all() -> anyhow::Result<()> {
    programs()?;
    let target = super::root().join("target/provision");
    std::fs::create_dir_all(&target)?;
    python(&target)?;
    npm(&target)
}

fn programs() -> anyhow::Result<()> {
    let found = |name: &str| Command::new(name).arg("--version").output().is_ok();
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    let missing = PROGRAMS.iter().filter(|(name, _)| !found(name));
    let missing: Vec<_> = missing.map(|(_, package)| *package).collect();
    if !is_root {
        // Tests mount file systems, which only root may: nothing is left out instead.
        let install = match missing.join(" ") {
            packages if packages.is_empty() => String::new(),
            packages => format!("apt-get install -y {packages} && "),
        };
        let remedy = format!("tests mount disks to fill: run `{install}cargo xtask test` as root");
        return Err(Missing(remedy).into());
    }
    if missing.is_empty() {
        return Ok(());
    }
    run(Command::new("apt-get").arg("update"))?;
    run(Command::new("apt-get").args(["install", "-y"]).args(&missing))
}

/// A virtual environment with the pinned packages.
fn python(target: &Path) -> anyhow::Result<()> {
    let requirements = super::root().join("e2e/requirements.txt");
    let venv = target.join("python");
    if is_current(&venv, &requirements)? {
        return Ok(());
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    let pip = venv.join("bin/pip");
    run(Command::new(pip).args(["install", "--quiet", "--requirement"]).arg(&requirements))?;
    mark(&venv, &requirements)
}

/// The locked npm packages.
fn npm(target: &Path) -> anyhow::Result<()> {
    let lock = super::root().join("e2e/package-lock.json");
    let folder = target.join("npm");
    if is_current(&folder, &lock)? {
        return Ok(());
    }
    std::fs::create_dir_all(&folder)?;
    for name in ["package.json", "package-lock.json"] {
        std::fs::copy(super::root().join("e2e").join(name), folder.join(name))?;
    }
    let arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"];
    run(Command::new("npm").args(arguments).current_dir(&folder))?;
    mark(&folder, &lock)
}

/// Whether `folder` was made from `lock` as it is now.
fn is_current(folder: &Path, lock: &Path) -> anyhow::Result<bool> {
    let wanted =
        std::fs::read(lock).with_context(|| format!("could not read `{}`", lock.display()))?;
    Ok(std::fs::read(folder.join(".made-from")).is_ok_and(|made| made == wanted))
}

fn mark(folder: &Path, lock: &Path) -> anyhow::Result<()> {
    std::fs::copy(lock, folder.join(".made-from"))?;
    Ok(())
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("could not run {command:?}"))?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}
