//! `replay`: a real log is decided again, as `chancery log replay` and `chancery policy replay` do it.
//!
//! The log is made in the row: governed calls by many instances. What counts is the processor's time of the
//! server until it has told what came of it.

use std::path::Path;

use anyhow::{Context as _, ensure};

use crate::governed::{Bed, Programs, progress, settled};
use crate::machine;
use crate::report::{Goal, Round, Row, short};
use crate::stats::median;

const ROUNDS: usize = 5;

/// How many calls are in the log.
const CALLS: usize = 12_000;

const CALLERS: usize = 16;

/// How many decisions of a second a core must make again.
const LEAST: f64 = 15_000.0;

/// What the set that is tried has beside the one in force: it flips nothing, for a flip is an error.
const OTHER: &str = r#"
@id("only-small")
forbid (principal, action == Action::"payments/refund", resource)
when { context.input.amount > 1000 };
"#;

/// Measures the row.
pub(crate) fn measure(dir: &Path, programs: &Programs) -> anyhow::Result<Row> {
    let mut bed = Bed::open(dir, programs)?;
    bed.governed(CALLERS, CALLS)?;
    settled(bed.deployment.observers)?;
    let set = bed.deployment.policies_and(OTHER)?;
    let (mut rounds, mut tried) = (Vec::with_capacity(ROUNDS), Vec::with_capacity(ROUNDS));
    for _ in 0..ROUNDS {
        let again = rate(&bed, &["log", "replay"], "decisions agree")?;
        let other = rate(&bed, &["policy", "replay", &set], "decided again")?;
        progress(&format!("{again:.0} decisions/s; by another set {other:.0} decisions/s"));
        rounds.push(Round { value: again, ratio: again / LEAST });
        tried.push(other);
    }
    let (least, tried) = (short(LEAST), median(&tried));
    let against = format!("{least} a second; by another set {}", short(tried));
    let goal = Goal { ratio_at_least: Some(1.0), ..Goal::default() };
    let row = Row::new("replay", "decisions/s of processor", rounds).against(against).wants(goal);
    Ok(row.and_wants(tried >= LEAST, format!("by another set {}", short(tried))))
}

/// How many decisions the server makes again in a second of its processor, by a command that tells how many
/// they are in front of `of_what`.
fn rate(bed: &Bed, command: &[&str], of_what: &str) -> anyhow::Result<f64> {
    let server = bed.deployment.id()?;
    let before = machine::cpu_time(server)?;
    let told = bed.deployment.command(command)?;
    let took = machine::cpu_time(server)?.saturating_sub(before);
    let number = told.split(of_what).next().and_then(|text| text.split_whitespace().last());
    let decided: u32 =
        number.and_then(|number| number.parse().ok()).with_context(|| told.clone())?;
    ensure!(decided as usize > CALLS, "{CALLS} calls were made: {told}");
    Ok(f64::from(decided) / took.as_secs_f64())
}
