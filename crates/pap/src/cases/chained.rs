//! A chain that a proof found, by which work is handed on until somebody does what is not to be done, as cases: one for each
//! step.
//!
//! Each step was found by itself, and one task goes through all of them. So who acts is whom the work was handed to, it was
//! handed on once more than before, and all that is one task's, or only grows or narrows in it, is as it is in one of the
//! steps, or as it is in cases that say nothing of it, and alike in all.

use std::collections::BTreeSet;

use model::{AccessRequest, AgentName, DELEGATIONS_MAX, Facts};
use pdp::{Posed, Snapshot};
use serde_json::{Map, Value, json};

use super::found::Found;
use super::{NAME, Tools};

/// The members that are alike in all steps, those together that belong together.
const ALIKE: [&[&str]; 5] = [
    &["subject"],
    &["purpose", "ends"],
    &["labels", "used_tools", "counters", "calls"],
    &["attestation"],
    &["now"],
];

/// The most ways in which a chain is tried.
const WAYS_MAX: usize = 4_096;

/// The cases of the first way to say `steps` in which each of them, by its position, is decided as it should be: they
/// expect a permit.
///
/// # Errors
/// There is no such way: why the first one is none.
pub fn chained(
    steps: &[Posed],
    set: (&Snapshot, &Tools),
    deciding: &dyn Fn(usize, &AccessRequest, &Facts) -> Result<(), String>,
) -> Result<Vec<Value>, String> {
    let cases = one_after_the_other(steps, set)?;
    let depths = depths(&cases);
    let alike: Vec<_> = ALIKE.iter().map(|members| told(&cases, members)).collect();
    let sizes = alike.iter().map(Vec::len).chain([depths.len()]);
    let ways = sizes.fold(1, usize::saturating_mul).min(WAYS_MAX);
    let mut because = None;
    for way in 0..ways {
        let (mut rest, mut circumstances) = (way, Map::new());
        for told in &alike {
            circumstances.extend(told[rest % told.len()].clone());
            rest /= told.len();
        }
        let mut decided = Vec::new();
        for (number, (case, posed)) in cases.iter().zip(steps).enumerate() {
            let mut case = case.clone();
            case.retain(|member, _| !ALIKE.iter().any(|alike| alike.contains(&member.as_str())));
            case.extend(circumstances.clone());
            case.insert("depth".to_owned(), (depths[rest % depths.len()] + number).into());
            let found = Found { posed, set };
            let said = found.said(case);
            let decided_so = said.and_then(|(case, request, facts)| {
                deciding(number, &request, &facts).map(|()| case)
            });
            match decided_so {
                Ok(case) => decided.push(case),
                Err(why) => {
                    because =
                        because.or_else(|| Some(format!("of its step {}, {why}", number + 1)));
                    break;
                }
            }
        }
        if decided.len() == steps.len() {
            return Ok(decided);
        }
    }
    Err(because.unwrap_or_else(|| "no cases say it".to_owned()))
}

/// The steps as cases, each of whom the one before hands the work on to.
fn one_after_the_other(
    steps: &[Posed],
    set: (&Snapshot, &Tools),
) -> Result<Vec<Map<String, Value>>, String> {
    let (mut cases, mut seen) = (Vec::new(), BTreeSet::new());
    let mut to = None;
    for (number, posed) in steps.iter().enumerate() {
        let mut case = Found { posed, set }.case(false)?;
        let name = format!("found by a proof, step {} of {}", number + 1, steps.len());
        case.insert(NAME.to_owned(), name.into());
        case.extend(to.map(|agent| ("agent".to_owned(), agent)));
        let agent = case.get("agent").cloned().unwrap_or_else(|| json!("agent"));
        if !seen.insert(agent.to_string()) {
            return Err(format!("the work comes back to {agent}"));
        }
        let next = case.get("method").and_then(|method| method.get("agent"));
        to = next.filter(|it| serde_json::from_value::<AgentName>((*it).clone()).is_ok()).cloned();
        cases.push(case);
    }
    Ok(cases)
}

/// How often the work can have been handed on before the first step: as little as there is no need for more, first.
fn depths(cases: &[Map<String, Value>]) -> Vec<usize> {
    let found = cases.iter().enumerate().filter_map(|(number, case)| {
        let depth = usize::try_from(case.get("depth")?.as_u64()?).ok()?;
        depth.checked_sub(number)
    });
    let most = DELEGATIONS_MAX.saturating_sub(cases.len() - 1);
    let all: BTreeSet<usize> = found.chain([0]).filter(|depth| *depth <= most).collect();
    all.into_iter().collect()
}

/// What the cases tell by these `members`, the last one first; and that nothing is told.
fn told(cases: &[Map<String, Value>], members: &[&str]) -> Vec<Map<String, Value>> {
    let mut all: Vec<Map<String, Value>> = Vec::new();
    let of = |case: &Map<String, Value>| -> Map<String, Value> {
        let told = members.iter().filter_map(|it| Some(((*it).to_owned(), case.get(*it)?.clone())));
        told.collect()
    };
    for told in cases.iter().rev().map(of).chain([Map::new()]) {
        if !all.contains(&told) {
            all.push(told);
        }
    }
    all
}
