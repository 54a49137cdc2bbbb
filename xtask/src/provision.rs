//! Gets what tests need besides crates: other people's MCP clients and servers, below `target/`,
//! from locked files.

use std::path::{Path, PathBuf};
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
const PROGRAMS: [(&str, &str); 11] = [
    ("python3", "python3-venv"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("curl", "curl"),
    // The browser in which pages for people are tried.
    ("chromium", "chromium"),
    // The solver of `chancery policy prove`.
    ("cvc5", "cvc5"),
    // What breaks things on purpose.
    ("strace", "strace"),
    ("faketime", "faketime"),
    ("mkfs.ext4", "e2fsprogs"),
    ("prlimit", "util-linux"),
    // What a deployment is backed up with.
    ("sqlite3", "sqlite3"),
];

/// Programs that only measuring needs.
const PEERS: [(&str, &str); 4] = [
    ("python3", "python3-venv"),
    ("nginx", "nginx-light"),
    ("taskset", "util-linux"),
    ("cvc5", "cvc5"),
];

/// Installs everything that is not there yet.
pub(crate) fn all() -> anyhow::Result<()> {
    programs(&PROGRAMS, "tests")?;
    if !is_root() {
        // Tests mount disks to fill, which only root may: nothing is left out instead.
        return Err(
            Missing("tests mount disks to fill: run `cargo xtask test` as root".into()).into()
        );
    }
    let target = super::root().join("target/provision");
    std::fs::create_dir_all(&target)?;
    // Either waits for its registry most of the time.
    std::thread::scope(|scope| {
        let (venv, requirements) =
            (target.join("python"), super::root().join("e2e/requirements.txt"));
        let installing = scope.spawn(move || python(&venv, &requirements));
        let packages = npm(&target);
        installing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        packages.map(drop)
    })
}

/// Installs what only measuring needs; gives the path of Envoy and the folder of the npm packages.
pub(crate) fn peers() -> anyhow::Result<(PathBuf, PathBuf)> {
    programs(&PEERS, "benchmarks")?;
    let target = super::root().join("target/provision");
    std::fs::create_dir_all(&target)?;
    let venv = python(&target.join("peers"), &super::root().join("bench/requirements.txt"))?;
    let found = Command::new(venv.join("bin/python"))
        .args(["-c", "import envoy, os; print(os.path.dirname(envoy.__file__))"])
        .output()?;
    let package = String::from_utf8(found.stdout)?;
    let envoy = Path::new(package.trim()).join("_bin/envoy");
    ensure!(envoy.exists(), "the package has no `{}`", envoy.display());
    Ok((envoy, npm(&target)?))
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n")
}

fn programs(wanted: &[(&str, &'static str)], purpose: &str) -> anyhow::Result<()> {
    let found = |name: &str| Command::new(name).arg("--version").output().is_ok();
    let missing = wanted.iter().filter(|(name, _)| !found(name));
    let missing: Vec<_> = missing.map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root() {
        let packages = missing.join(" ");
        let remedy =
            format!("{purpose} need programs: run `apt-get install -y {packages}` as root");
        return Err(Missing(remedy).into());
    }
    run(Command::new("apt-get").arg("update"))?;
    run(Command::new("apt-get").args(["install", "-y", "--no-install-recommends"]).args(&missing))
}

/// A virtual environment with the pinned packages; gives where it is.
fn python(venv: &Path, requirements: &Path) -> anyhow::Result<PathBuf> {
    if is_current(venv, requirements)? {
        return Ok(venv.to_owned());
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(venv))?;
    let pip = venv.join("bin/pip");
    run(Command::new(pip).args(["install", "--quiet", "--requirement"]).arg(requirements))?;
    mark(venv, requirements)?;
    Ok(venv.to_owned())
}

/// The locked npm packages; gives their folder.
fn npm(target: &Path) -> anyhow::Result<PathBuf> {
    let lock = super::root().join("e2e/package-lock.json");
    let folder = target.join("npm");
    if is_current(&folder, &lock)? {
        return Ok(folder);
    }
    std::fs::create_dir_all(&folder)?;
    for name in ["package.json", "package-lock.json"] {
        std::fs::copy(super::root().join("e2e").join(name), folder.join(name))?;
    }
    let arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"];
    run(Command::new("npm").args(arguments).current_dir(&folder))?;
    mark(&folder, &lock)?;
    Ok(folder)
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
