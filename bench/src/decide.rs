//! `decide-100`, `decide-10000`: one decision in process, against one among ten rules.

use std::hint::black_box;
use std::time::Instant;

use anyhow::ensure;
use model::{Decision, Denial};
use pdp::Snapshot;

use crate::machine::{self, SERVER_CORE};
use crate::report::{Goal, Round, Row};
use crate::stats::median;
use crate::workload::{self, Case};

/// The number of rules that the ratio is to.
const FEW: usize = 10;

const ROUNDS: usize = 9;

/// How often one round decides all requests.
const REPEATS: usize = 40;

/// A snapshot with its requests, whose answers were found right.
struct Verified {
    snapshot: Snapshot,
    cases: Vec<Case>,
}

impl Verified {
    fn new(rules: usize) -> anyhow::Result<Self> {
        let snapshot = Snapshot::compile(workload::bundle(rules))?;
        let cases = workload::cases(rules);
        let wrong = cases.iter().filter(|case| !is_right(&snapshot, case)).count();
        ensure!(wrong == 0, "{wrong} of {} answers are wrong at {rules} rules", cases.len());
        Ok(Self { snapshot, cases })
    }

    /// How long one decision takes, in microseconds.
    fn time(&self) -> f64 {
        let started = Instant::now();
        for _ in 0..REPEATS {
            for Case { request, facts, .. } in &self.cases {
                drop(black_box(self.snapshot.decide(black_box(request), black_box(facts))));
            }
        }
        let decisions = u32::try_from(REPEATS * self.cases.len()).unwrap_or(u32::MAX);
        started.elapsed().as_secs_f64() * 1e6 / f64::from(decisions)
    }
}

/// Whether the answer is the expected one, and a denial one of policy and nothing before it.
fn is_right(snapshot: &Snapshot, case: &Case) -> bool {
    match snapshot.decide(&case.request, &case.facts) {
        Decision::Permit(_) => case.permitted,
        Decision::Deny(denial) => !case.permitted && matches!(denial, Denial::NotGranted { .. }),
    }
}

/// Measures `row`, whose policy set has `rules` rules.
pub(crate) fn measure(row: &'static str, rules: usize) -> anyhow::Result<Row> {
    machine::pin(SERVER_CORE)?;
    let (few, many) = (Verified::new(FEW)?, Verified::new(rules)?);
    // The first time is the one in which caches fill.
    few.time();
    many.time();
    let mut base = Vec::with_capacity(ROUNDS);
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let (least, value) = (few.time(), many.time());
        base.push(least);
        rounds.push(Round { value, ratio: value / least });
    }
    let against = format!("{FEW} rules: {:.2} µs", median(&base));
    let goal = Goal { value_at_most: Some(20.0), ratio_at_most: Some(1.25), ..Goal::default() };
    Ok(Row::new(row, "µs", rounds).against(against).wants(goal))
}

/// How often the work is handed on, at most.
const DEEP: u8 = 8;

/// At least.
const SHALLOW: u8 = 1;

/// The rules of `depth`.
const DEPTH_RULES: usize = 100;

/// `depth`: what a long delegation chain costs, against a short one.
pub(crate) fn depth() -> anyhow::Result<Row> {
    machine::pin(SERVER_CORE)?;
    let (shallow, deep) = (handed_on(SHALLOW)?, handed_on(DEEP)?);
    shallow.time();
    deep.time();
    let (mut base, mut rounds) = (Vec::with_capacity(ROUNDS), Vec::with_capacity(ROUNDS));
    for _ in 0..ROUNDS {
        let (least, value) = (shallow.time(), deep.time());
        base.push(least);
        rounds.push(Round { value, ratio: value / least });
    }
    let against = format!("a chain of depth {SHALLOW}: {:.2} µs", median(&base));
    let goal = Goal { ratio_at_most: Some(1.5), ..Goal::default() };
    Ok(Row::new("depth", "µs", rounds).against(against).wants(goal))
}

fn handed_on(times: u8) -> anyhow::Result<Verified> {
    let mut verified = Verified::new(DEPTH_RULES)?;
    let cases = std::mem::take(&mut verified.cases);
    verified.cases = cases.into_iter().map(|case| workload::handed_on(case, times)).collect();
    let wrong = verified.cases.iter().filter(|case| !is_right(&verified.snapshot, case)).count();
    ensure!(wrong == 0, "{wrong} answers are wrong at depth {times}");
    Ok(verified)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rules: usize) {
        let verified = Verified::new(rules).expect("every answer is right");
        let denied = verified.cases.iter().filter(|case| !case.permitted).count();
        assert!((64..=90).contains(&denied), "{denied} of {} are denied", verified.cases.len());
        let mut tools: Vec<_> = verified.cases.iter().map(|case| &case.request.action).collect();
        tools.sort_unstable();
        tools.dedup();
        assert!(tools.len() > rules.min(workload::REQUESTS) / 3, "the tools are spread");
    }

    #[test]
    fn the_requests_are_answered_as_they_were_made() {
        check(FEW);
        check(100);
    }

    #[test]
    fn the_requests_are_answered_alike_at_every_depth() {
        for times in [0, SHALLOW, DEEP] {
            handed_on(times).expect("every answer is right");
        }
    }

    #[test]
    fn the_requests_are_answered_alike_among_ten_thousand_rules() {
        check(10_000);
    }
}
