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

/// What lies beside the policies of a set, and is none.
const PROPERTIES: &str = "properties";

/// Measures the row.
pub(crate) fn measure(programs: &Programs) -> anyhow::Result<Row> {
    let mut sets = Vec::new();
    below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies"), &mut sets)?;
    ensure!(!sets.is_empty(), "there is no policy set");
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

/// The directories from `dir` on in which there are policies.
fn below(dir: &Path, sets: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let read = || format!("could not read `{}`", dir.display());
    let entries: Vec<_> =
        fs::read_dir(dir).with_context(read)?.collect::<Result<_, _>>().with_context(read)?;
    let is_policy = |path: &Path| path.extension().is_some_and(|it| it == "cedar");
    if entries.iter().any(|entry| is_policy(&entry.path())) {
        sets.push(dir.to_owned());
    }
    for entry in entries {
        if entry.path().is_dir() && entry.file_name() != PROPERTIES {
            below(&entry.path(), sets)?;
        }
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
