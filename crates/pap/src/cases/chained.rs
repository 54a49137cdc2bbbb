//! A chain that a proof found, by which work is handed on until somebody does what is not to be done, as cases: one for each
//! step.
//!
//! Each step was found by itself, and one task goes through all of them. So who acts is whom the work was handed to, it was
//! handed on once more than before, and all that is one task's, or only grows or narrows in it, is as it is in one of the
//! steps, or as it is in cases that say nothing of it, and alike in all. What no policy looks at the solver makes up, perhaps
//! so that a built-in rule denies it: a purpose for some data only, and an act that names none. So each of these is tried
//! without it, too. INVARIANT: whatever is tried is alike in all steps, and a chain only if each of them is decided so
//! (`what_no_one_task_has_is_no_chain`).

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use model::{AccessRequest, AgentName, Clock, DELEGATIONS_MAX, Facts};
use pdp::{Posed, Snapshot};
use serde_json::{Map, Value, json};

use super::found::Found;
use super::{NAME, Tools};

/// The members that are alike in all steps, those together that belong together.
const ALIKE: [&[&str]; 6] = [
    &["subject"],
    &["purpose"],
    &["ends"],
    &["labels", "used_tools", "counters", "calls"],
    &["attestation"],
    &["now"],
];

/// The most ways in which a chain is tried.
const WAYS_MAX: usize = 4_096;

/// The cases of the first way to say `steps` in which each of them, by its position, is decided as it should be: they
/// expect a permit. No way is begun once so much time has passed.
///
/// # Errors
/// There is no such way: why the first one is none. Or there was no time to find it.
pub fn chained(
    steps: &[Posed],
    set: (&Snapshot, &Tools),
    deciding: &dyn Fn(usize, &AccessRequest, &Facts) -> Result<(), String>,
    (clock, time): (&dyn Clock, Duration),
) -> Result<Vec<Value>, String> {
    let begun = clock.monotonic();
    let cases = one_after_the_other(steps, set)?;
    let depths = depths(&cases);
    let alike = ALIKE.map(|members| told(&cases, members));
    let sizes: Vec<_> = [depths.len()].into_iter().chain(alike.iter().map(Vec::len)).collect();
    let mut because = None;
    // In which order the steps are tried: the one that failed last is the likeliest to fail again.
    let mut order: Vec<usize> = (0..steps.len()).collect();
    for way in ways(&sizes).take(WAYS_MAX) {
        if clock.monotonic().saturating_sub(begun) >= time {
            return Err(format!("trying it as cases took {time:?}, which is the most"));
        }
        let mut circumstances = Map::new();
        for (told, number) in alike.iter().zip(&way[1..]) {
            circumstances.extend(told[*number].clone());
        }
        let first_depth = depths[way[0]];
        let said = |number: usize| {
            let mut case = cases[number].clone();
            case.retain(|member, _| !ALIKE.iter().any(|alike| alike.contains(&member.as_str())));
            case.extend(circumstances.clone());
            case.insert("depth".to_owned(), (first_depth + number).into());
            let (it, request, facts) = Found { posed: &steps[number], set }.said(case)?;
            deciding(number, &request, &facts).map(|()| it)
        };
        let mut decided = vec![Value::Null; steps.len()];
        let failed = order.iter().position(|number| match said(*number) {
            Ok(case) => {
                decided[*number] = case;
                false
            }
            Err(why) => {
                because.get_or_insert_with(|| format!("of its step {}, {why}", number + 1));
                true
            }
        });
        match failed {
            None => return Ok(decided),
            Some(at) => order[..=at].rotate_right(1),
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

/// What the cases tell by these `members`: what the last one does, then that nothing is told, then what the others do.
fn told(cases: &[Map<String, Value>], members: &[&str]) -> Vec<Map<String, Value>> {
    let mut all: Vec<Map<String, Value>> = Vec::new();
    let of = |case: &Map<String, Value>| -> Map<String, Value> {
        let told = members.iter().filter_map(|it| Some(((*it).to_owned(), case.get(*it)?.clone())));
        told.collect()
    };
    let mut each = cases.iter().rev().map(of);
    for told in each.next().into_iter().chain([Map::new()]).chain(each) {
        if !all.contains(&told) {
            all.push(told);
        }
    }
    all
}

/// The ways to take one of each of so many, by position: those first that take the first one of each, then those of the
/// first two, and so on. So the first two of each are tried together, however many more there are.
fn ways(sizes: &[usize]) -> impl Iterator<Item = Vec<usize>> {
    let most = sizes.iter().copied().max().unwrap_or_default();
    (1..=most).flat_map(move |among| {
        let sizes: Vec<_> = sizes.iter().map(|size| (*size).min(among)).collect();
        let all = sizes.iter().copied().fold(1, usize::saturating_mul);
        let way = move |number: usize| -> Vec<usize> {
            let mut rest = number;
            let position = |size: &usize| {
                let position = rest % size;
                rest /= size;
                position
            };
            sizes.iter().map(position).collect()
        };
        // What takes none of these last ones was a way before.
        (0..all).map(way).filter(move |way| way.contains(&(among - 1)))
    })
}
