//! `fuzz SECONDS [TARGET…]`: drives each target, all of them if none is named, for as long; as many
//! at once as there are processors. `cargo xtask fuzz` starts it.

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use fuzz::targets::{TARGETS, Target};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(seconds) = arguments.next().and_then(|text| text.parse().ok()) else {
        eprintln!("usage: fuzz SECONDS [TARGET…]");
        return ExitCode::FAILURE;
    };
    let names: Vec<_> = arguments.collect();
    if let Some(unknown) = names.iter().find(|name| !TARGETS.iter().any(|(known, _)| known == name))
    {
        let all: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
        eprintln!("there is no target `{unknown}`: there are {}", all.join(", "));
        return ExitCode::FAILURE;
    }
    let is_chosen =
        |(name, _): &&(&str, Target)| names.is_empty() || names.iter().any(|n| n == name);
    let chosen = Mutex::new(TARGETS.iter().filter(is_chosen));
    let broken = Mutex::new(Vec::new());
    let next = || chosen.lock().expect("no panic while it is held").next();
    let work = || {
        while let Some((name, target)) = next() {
            // It has said which input breaks it; the others go on.
            if catch_unwind(|| fuzz::drive(name, *target, Duration::from_secs(seconds))).is_err() {
                broken.lock().expect("no panic while it is held").push(*name);
            }
        }
    };
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..at_once).for_each(|_| drop(scope.spawn(work))));
    let broken = broken.into_inner().expect("no panic while it was held");
    if broken.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("broken: {}", broken.join(", "));
    ExitCode::FAILURE
}
