//! `prove`: how long it takes to prove all that is claimed of the policy sets that we ship.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, ensure};

use crate::governed::{Programs, progress};
use crate::report::{Goal, Round, Row};

const ROUNDS: usize = 3;

/// How long it may take at most, in seconds.
const LIMIT_S: f64 = 60.0;

/// What lies beside the policies of a set, and belongs to it.
const BESIDE: [&str; 2] = ["cases", "properties"];

/// Measures the row; the set that a deployment begins with is laid out in `dir`.
pub(crate) fn measure(dir: &Path, programs: &Programs) -> anyhow::Result<Row> {
    let sets = shipped(dir)?;
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let started = Instant::now();
        for set in &sets {
            prove(programs, set)?;
        }
        let value = started.elapsed().as_secs_f64();
        progress(&format!("{value:.1} s"));
        rounds.push(Round { value, ratio: value / LIMIT_S });
    }
    let against = format!("{LIMIT_S:.0} s for {} sets", sets.len());
    let goal = Goal { value_at_most: Some(LIMIT_S), ..Goal::default() };
    Ok(Row::new("prove", "s", rounds).against(against).wants(goal))
}

/// The directories of all sets that are shipped. That of the set that a deployment begins with has others below it,
/// which are no part of it: it is laid out in `dir` as it is shipped.
fn shipped(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let starter = dir.join("starter");
    copied(&policies, &starter)?;
    for part in BESIDE {
        copied(&policies.join(part), &starter.join(part))?;
    }
    let mut sets = vec![starter];
    for kind in ["sets", "examples"] {
        sets.extend(entries(&policies.join(kind))?);
    }
    Ok(sets)
}

/// What is in `dir`.
fn entries(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let read = || format!("could not read `{}`", dir.display());
    let entries = fs::read_dir(dir).with_context(read)?.map(|entry| Ok(entry?.path()));
    entries.collect::<std::io::Result<_>>().with_context(read)
}

/// Copies the files of `from`, and nothing below it, into `to`, which is made.
fn copied(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for path in entries(from)?.iter().filter(|path| path.is_file()) {
        fs::copy(path, to.join(path.file_name().context("a file has a name")?))?;
    }
    Ok(())
}

/// Proves one set; whatever is not proved is an error.
fn prove(programs: &Programs, set: &Path) -> anyhow::Result<()> {
    let mut command = Command::new(&programs.chancery);
    let output = command.args(["policy", "prove"]).arg(set).output()?;
    let told = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "`{}` is not proved:\n{told}", set.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{entries, shipped};

    #[test]
    fn each_set_that_is_shipped_is_laid_out_as_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let sets = shipped(dir.path()).expect("they are there");
        assert_eq!(sets.len(), 11);
        for set in &sets {
            let within = entries(set).expect("it is there");
            let is_policy =
                within.iter().any(|path| path.extension().is_some_and(|it| it == "cedar"));
            assert!(is_policy && !set.join("sets").exists(), "{}", set.display());
        }
    }
}
