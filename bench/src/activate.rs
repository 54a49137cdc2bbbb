//! `activate`: a signed release of a large policy set is activated while calls are made at a fixed rate.
//!
//! Every call must be answered, by the one set or by the other: no record names a third, and in the log no
//! decision by the old one comes after the new one is in force.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::client::Callers;
use crate::compile::{of_group, with_changes};
use crate::deployment::{AGENT, Deployment};
use crate::governed::{Programs, progress, settled};
use crate::load;
use crate::open_loop::{self, percentile};
use crate::report::{Goal, Round, Row, short};
use crate::stats::median;
use crate::upstream::{NAME, Upstream};

const ROUNDS: usize = 3;

/// How many policies the set has beside those that answer.
const POLICIES: usize = 10_000;

const INSTANCES: usize = 8;

const PER_SECOND: u32 = 200;

/// How many calls are made: for ten seconds.
const CALLS: usize = 2_000;

/// How many of them before the set changes.
const BEFORE: usize = 600;

/// How many calls are looked at together: a fifth of a second.
const TOGETHER: usize = 40;

/// How many times the 99th percentile of before counts as slow.
const SLOW: f64 = 2.0;

/// How long calls may be slow, in seconds.
const LIMIT_S: f64 = 1.0;

/// What one activation came to.
struct Activated {
    slow_s: f64,
    before_ms: f64,
    worst_ms: f64,
    /// From when it was said until it was in force.
    took_ms: f64,
}

/// Measures the row.
pub(crate) fn measure(dir: &Path, programs: &Programs) -> anyhow::Result<Row> {
    let upstream = Upstream::start()?;
    let groups: String =
        (0..POLICIES).map(|number| of_group(number, NAME)).collect::<Vec<_>>().concat();
    let mut deployment = Deployment::start(dir, &programs.chancery, upstream.port, &groups)?;
    deployment.release()?;
    let mut callers = Callers::open(&deployment, AGENT, INSTANCES)?;
    load::run(deployment.port, INSTANCES, &callers.sign(CALLS)?)?;
    let (mut rounds, mut all) = (Vec::with_capacity(ROUNDS), Vec::with_capacity(ROUNDS));
    for round in 0..ROUNDS {
        let activated = once(&deployment, &mut callers, round)?;
        let Activated { slow_s, before_ms, worst_ms, took_ms } = activated;
        progress(&format!(
            "in force after {took_ms:.0} ms; slow for {slow_s:.1} s; p99 {before_ms:.2} ms before, \
             {worst_ms:.2} ms at worst"
        ));
        rounds.push(Round { value: slow_s, ratio: worst_ms / before_ms });
        all.push(activated);
    }
    let of = |get: fn(&Activated) -> f64| short(median(&all.iter().map(get).collect::<Vec<_>>()));
    let against = format!(
        "{SLOW:.0} × p99 of {} ms before; {} policies in force after {} ms",
        of(|it| it.before_ms),
        POLICIES,
        of(|it| it.took_ms)
    );
    let goal = Goal { value_at_most: Some(LIMIT_S), ..Goal::default() };
    Ok(Row::new("activate", "s beyond it", rounds).against(against).wants(goal))
}

/// Activates a changed set, which two signed before, while calls are made.
fn once(deployment: &Deployment, callers: &mut Callers, round: usize) -> anyhow::Result<Activated> {
    let version = deployment.approved(|text| with_changes(text, round))?;
    let known = records(deployment)?.len();
    let requests = callers.sign(CALLS)?;
    let (port, mut activate) =
        (deployment.port, deployment.asking(&["policy", "activate", &version]));
    let (taken, told) = load::on_load_core(async move {
        let calling = tokio::task::spawn_local(async move {
            open_loop::in_order(port, PER_SECOND, &requests).await
        });
        tokio::time::sleep(Duration::from_secs(1) * u32::try_from(BEFORE)? / PER_SECOND).await;
        // A process of its own: calls go on meanwhile.
        let activating = activate.spawn()?;
        let taken = calling.await??;
        Ok((taken, activating.wait_with_output()?))
    })?;
    let said = String::from_utf8_lossy(&told.stderr);
    ensure!(told.status.success(), "release {version} was not activated: {}", said.trim());
    settled(deployment.observers)?;
    let took_ms = check(&records(deployment)?[known..])?;
    let (before, after) = taken.split_at(BEFORE);
    let p99 = |taken: &[f64]| {
        let mut sorted = taken.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        percentile(&sorted, 99)
    };
    let before_ms = p99(before);
    let windows: Vec<f64> = after.chunks(TOGETHER).map(p99).collect();
    let slow = windows.iter().filter(|window| **window > SLOW * before_ms).count();
    let slow_s = f64::from(u32::try_from(slow * TOGETHER)?) / f64::from(PER_SECOND);
    let worst_ms = windows.into_iter().fold(0.0, f64::max);
    Ok(Activated { slow_s, before_ms, worst_ms, took_ms })
}

/// All records of the log.
fn records(deployment: &Deployment) -> anyhow::Result<Vec<Value>> {
    let told = deployment.command(&["log", "export"])?;
    told.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Every call was decided, by the old set before the new one was in force and by that one from then on.
/// How long that took from the last decision before it was said, in milliseconds.
fn check(records: &[Value]) -> anyhow::Result<f64> {
    let in_force = records.iter().position(|record| record["event"] == "policy_in_force");
    let in_force = in_force.context("the new set did not come into force")?;
    let time = |record: &Value| record["time"].as_i64().context("a record has a time");
    let calls = |part: &[Value]| -> Vec<Value> {
        let is_call = |record: &&Value| {
            record["kind"] == "decision" && record["resource"] == "Tool::payments/refund"
        };
        part.iter().filter(is_call).cloned().collect()
    };
    let (old, new) = (calls(&records[..in_force]), calls(&records[in_force..]));
    ensure!(old.len() + new.len() == CALLS, "{} calls are on record", old.len() + new.len());
    ensure!(old.len() >= BEFORE && !new.is_empty(), "{} calls were decided before", old.len());
    for part in [&old, &new] {
        let is_other = |record: &&Value| record["policy"] != part[0]["policy"];
        ensure!(!part.iter().any(|record| is_other(&record)), "decisions of two sets are mixed");
    }
    ensure!(old[0]["policy"] != new[0]["policy"], "nothing changed");
    let wrong = old.iter().chain(&new).find(|record| record["decision"] != "permit");
    ensure!(wrong.is_none(), "a call was denied: {wrong:?}");
    let said = time(&old[BEFORE - 1])?;
    let took = u32::try_from(time(&records[in_force])? - said)?;
    Ok(f64::from(took))
}
