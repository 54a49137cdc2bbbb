//! Landlock: what a server may do with files, ports and other processes, by the kernel's own rules.
//!
//! Best effort: an older kernel knows fewer rules. What it knows is reported.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, LandlockStatus, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, Scope, path_beneath_rules,
};

/// The newest ABI of which the rules are asked for.
const ABI_MAX: ABI = ABI::V7;

/// Devices that any program may write to.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// What may be done with files.
pub(super) struct Allowed {
    /// Where directories may be listed.
    pub(super) lists: Vec<PathBuf>,
    /// What may be read, and run.
    pub(super) reads: Vec<PathBuf>,
    /// What may be read and written.
    pub(super) writes: Vec<PathBuf>,
}

/// Lets this process, and all that it starts, do with files what is `allowed`, bind no TCP port, and
/// signal and reach nobody but what it started itself. Gives the ABI that holds.
pub(super) fn narrow(allowed: &Allowed) -> anyhow::Result<u32> {
    let all = AccessFs::from_all(ABI_MAX);
    let devices = AccessFs::ReadFile | AccessFs::WriteFile;
    let rules = Ruleset::default()
        .handle_access(all)?
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::AbstractUnixSocket | Scope::Signal)?
        .create()?
        .add_rules(path_beneath_rules(&allowed.lists, AccessFs::ReadDir))?
        .add_rules(path_beneath_rules(&allowed.reads, AccessFs::from_read(ABI_MAX)))?
        .add_rules(path_beneath_rules(DEVICES, devices))?
        .add_rules(path_beneath_rules(&allowed.writes, all))?;
    Ok(match rules.restrict_self()?.landlock {
        LandlockStatus::Available { effective_abi, .. } => effective_abi as u32,
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => 0,
    })
}

/// Everything below `dir` but `protected`. What a link points to stands in its own place, and what is
/// not there yet, as when a file is replaced, is left out.
pub(super) fn all_but(protected: &[PathBuf], dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let real = entries.filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink()));
    let paths = real.map(|entry| entry.path()).filter(|path| !protected.contains(path));
    paths
        .flat_map(|path| {
            let leads_there = protected.iter().any(|place| place.starts_with(&path));
            if leads_there { all_but(protected, &path) } else { vec![path] }
        })
        .collect()
}
