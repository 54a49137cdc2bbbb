//! `compile-policies`, `compile-groups`: a set is compiled from nothing, and again after ten of its policies
//! changed.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::ensure;
use model::Decision;
use pdp::{Bundle, Compiler, Snapshot, ToolSchema};
use serde_json::json;

use crate::machine::{self, SERVER_CORE};
use crate::report::{Goal, Round, Row, short};
use crate::stats::median;
use crate::workload::{self, Case, SERVER};

const ROUNDS: usize = 5;

/// How many policies change.
const CHANGED: usize = 10;

/// How many policies `compile-policies` has, each with a tool of its own.
const POLICIES: usize = 10_000;

/// How many tools, and how many policies, `compile-groups` has.
const GROUPS: usize = 1_000;

/// How long it may take from nothing, in seconds.
const LIMIT_S: f64 = 10.0;

/// How long it may take once ten of them changed, in seconds.
const CHANGED_LIMIT_S: f64 = 1.0;

/// What every policy says, and what a changed one says instead.
const DEPTH: (&str, &str) = ("context.depth <= 8", "context.depth <= 7");

/// `compile-policies`: a tool for each policy.
pub(crate) fn policies() -> anyhow::Result<Row> {
    let cases = workload::cases(POLICIES);
    let is_right = |snapshot: &Snapshot| {
        let answer =
            |it: &Case| matches!(snapshot.decide(&it.request, &it.facts), Decision::Permit(_));
        cases.iter().all(|case| answer(case) == case.permitted)
    };
    measure("compile-policies", &workload::bundle(POLICIES), is_right)
}

/// `compile-groups`: every policy is of one group, and meets all tools.
pub(crate) fn groups() -> anyhow::Result<Row> {
    measure("compile-groups", &of_groups(GROUPS), |snapshot| {
        snapshot.ids_of_all().count() == GROUPS && snapshot.warnings().is_empty()
    })
}

fn measure(
    row: &'static str,
    bundle: &Bundle,
    is_right: impl Fn(&Snapshot) -> bool,
) -> anyhow::Result<Row> {
    machine::pin(SERVER_CORE)?;
    let (mut rounds, mut warm) = (Vec::with_capacity(ROUNDS), Vec::with_capacity(ROUNDS));
    for round in 0..ROUNDS {
        let mut compiler = Compiler::default();
        let (from_nothing, first) = timed(&mut compiler, bundle)?;
        let next = changed(bundle, round);
        ensure!(next != *bundle, "nothing changed");
        let (after_a_change, second) = timed(&mut compiler, &next)?;
        ensure!(is_right(&first) && is_right(&second), "an answer is wrong");
        rounds.push(Round { value: from_nothing, ratio: after_a_change / CHANGED_LIMIT_S });
        warm.push(after_a_change);
    }
    let against =
        format!("{CHANGED_LIMIT_S:.0} s once {CHANGED} changed: {} s", short(median(&warm)));
    let goal = Goal { value_at_most: Some(LIMIT_S), ratio_at_most: Some(1.0), ..Goal::default() };
    Ok(Row::new(row, "s", rounds).against(against).wants(goal))
}

/// How long it takes to compile `bundle`, in seconds, and what comes of it.
fn timed(compiler: &mut Compiler, bundle: &Bundle) -> anyhow::Result<(f64, Snapshot)> {
    let bundle = bundle.clone();
    let started = Instant::now();
    let snapshot = compiler.compile(bundle)?;
    Ok((started.elapsed().as_secs_f64(), snapshot))
}

fn changed(bundle: &Bundle, round: usize) -> Bundle {
    let mut bundle = bundle.clone();
    for text in bundle.policies.values_mut() {
        *text = with_changes(text, round);
    }
    bundle
}

/// The same policies with another condition in ten of them; in others in each round.
pub(crate) fn with_changes(text: &str, round: usize) -> String {
    let (before, after) = DEPTH;
    let parts: Vec<&str> = text.split(before).collect();
    let apart = (parts.len() - 1) / CHANGED;
    let mut changed = String::with_capacity(text.len());
    for (number, part) in parts.iter().enumerate() {
        if number > 0 {
            changed.push_str(if (number - 1) % apart == round { after } else { before });
        }
        changed.push_str(part);
    }
    changed
}

/// As many tools of one server as policies; every tool takes an argument of its own beside the one that policies
/// read.
fn of_groups(count: usize) -> Bundle {
    let mut bundle = Bundle::default();
    let mut text = String::new();
    for number in 0..count {
        let own = format!("own-{number}");
        let input_schema = json!({
            "type": "object",
            "properties": {
                "amount": { "type": "integer" },
                own: { "type": "string" },
                "to": { "type": "object", "properties": { "iban": { "type": "string" } } },
            },
            "required": ["amount"],
        });
        let tool = format!("{SERVER}/tool-{number}").parse().expect("a tool's name");
        bundle.tools.insert(tool, ToolSchema { input_schema });
        text.push_str(&of_group(number, SERVER));
    }
    bundle.policies.insert("groups.cedar".to_owned(), text);
    bundle
}

/// A permit for one group on one server.
pub(crate) fn of_group(number: usize, server: &str) -> String {
    let mut text = format!("@id(\"g{number}\")\npermit (principal in Group::\"group-{number}\", ");
    writeln!(text, "action in Action::\"tools/call\", resource in Server::\"{server}\")")
        .expect("text can be written to");
    let limit = 100 * (1 + number % 50);
    let depth = DEPTH.0;
    writeln!(text, "when {{ {depth} && context.input.amount <= {limit} }};\n")
        .expect("text can be written to");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_policies_change_and_others_in_each_round() {
        let set = of_groups(200);
        for round in 0..ROUNDS {
            let next = changed(&set, round);
            let count = |bundle: &Bundle| bundle.policies["groups.cedar"].matches(DEPTH.1).count();
            assert_eq!((count(&set), count(&next)), (0, CHANGED));
            assert_ne!(next, changed(&set, round + 1));
            Snapshot::compile(next).expect("it compiles");
        }
    }
}
