//! Runs one target for its time, and keeps what breaks it.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::mutate::mutate;
use crate::targets::Target;

/// How long one input may take: far beyond what any input of its size needs.
const INPUT_WITHIN: Duration = Duration::from_secs(10);

/// How often it is told how far a target has come.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// The most accepted inputs that are kept to go on from.
const KEPT_MAX: usize = 2_000;

/// The folder with the examples of the target `name`.
fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name)
}

/// The examples of the target `name`, in the order of their names.
pub fn corpus(name: &str) -> Vec<Vec<u8>> {
    examples(&folder(name))
}

fn examples(folder: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| {
        panic!("{}: {error}: give the target at least one example there", folder.display())
    });
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a readable example")).collect()
}

/// For how long each target runs as a test.
pub fn time() -> Duration {
    let seconds = std::env::var("CHANCERY_FUZZ_SECONDS").ok();
    let seconds = seconds.map(|text| text.parse().expect("CHANCERY_FUZZ_SECONDS is a number"));
    Duration::from_secs(seconds.unwrap_or(3))
}

/// Runs `target` on its examples, and then on inputs made of them until `time` is over.
///
/// # Panics
///
/// If an input breaks the target, with the file that it was written to; or if the examples are not
/// worth mutating: there must be one that is accepted, and the mutations must reach inputs that are
/// not.
pub fn drive(name: &str, target: Target, time: Duration) {
    drive_in(&folder(name), target, time);
}

fn drive_in(folder: &Path, target: Target, time: Duration) {
    let name = folder.file_name().unwrap_or_default().display();
    let mut inputs = examples(folder);
    let examples = inputs.len();
    let accepted = inputs.iter().filter(|input| run(folder, target, input)).count();
    assert!(accepted > 0, "{name}: no example is accepted");
    let mut rng = Rng::with_seed(hash(folder.file_name()));
    let (started, mut rounds, mut refused) = (Instant::now(), 0_u64, 0_u64);
    let tell = |rounds: u64, refused: u64, kept: usize| {
        let seconds = started.elapsed().as_secs();
        println!("{name}: {rounds} inputs in {seconds} s, {refused} refused, {kept} kept");
    };
    let mut next = TELL_EVERY;
    while started.elapsed() < time {
        if started.elapsed() >= next {
            tell(rounds, refused, inputs.len() - examples);
            next += TELL_EVERY;
        }
        let mut input = inputs[rng.usize(0..inputs.len())].clone();
        let other = &inputs[rng.usize(0..inputs.len())];
        mutate(&mut rng, &mut input, other);
        rounds += 1;
        if !run(folder, target, &input) {
            refused += 1;
        } else if inputs.len() < KEPT_MAX {
            inputs.push(input);
        } else {
            let at = rng.usize(examples..inputs.len());
            inputs[at] = input;
        }
    }
    tell(rounds, refused, inputs.len() - examples);
    assert!(rounds < 100 || refused > 0, "{name}: every input is accepted");
}

/// Whether `target` accepts `input`.
fn run(folder: &Path, target: Target, input: &[u8]) -> bool {
    let timed = || {
        let started = Instant::now();
        let ran = catch_unwind(AssertUnwindSafe(|| target(input)));
        (ran, started.elapsed() > INPUT_WITHIN)
    };
    let (mut ran, mut slow) = timed();
    if ran.is_ok() && slow {
        // Or this process was stopped meanwhile: that does not happen twice.
        (ran, slow) = timed();
    }
    match ran {
        Ok(accepted) if !slow => accepted,
        ran => {
            let path = folder.join(format!("found-{:016x}", hash(input)));
            let kept = fs::write(&path, input);
            let what = if ran.is_ok() { "takes too long for" } else { "breaks on" };
            panic!("the parser {what} {} ({kept:?})", path.display());
        }
    }
}

/// A number that is the same for the same value on every run.
fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `drive_in` says of a target that has one example, and what is in the folder after.
    fn driven(target: Target) -> (Option<String>, Vec<Vec<u8>>) {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("target");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("example"), "[12]").unwrap();
        let ran = catch_unwind(|| drive_in(&folder, target, Duration::from_secs(1)));
        let said = ran.err().map(|said| *said.downcast::<String>().unwrap());
        (said, examples(&folder))
    }

    #[test]
    fn a_parser_that_breaks_is_found_and_the_input_kept() {
        let (said, kept) = driven(|input| {
            assert!(!input.ends_with(b"]]"), "a bug");
            !input.is_empty()
        });
        assert!(said.is_some_and(|said| said.contains("breaks on") && said.contains("found-")));
        assert_eq!(kept.len(), 2);
        assert!(kept.iter().any(|input| input.ends_with(b"]]")));
    }

    #[test]
    fn a_target_that_cannot_fail_is_refused() {
        let (said, kept) = driven(|_| false);
        assert!(said.is_some_and(|said| said.contains("no example is accepted")));
        assert_eq!(kept, [b"[12]"]);
        let (said, _) = driven(|_| true);
        assert!(said.is_some_and(|said| said.contains("every input is accepted")));
    }

    #[test]
    fn a_parser_that_holds_leaves_no_trace() {
        let (said, kept) = driven(|input| input.starts_with(b"["));
        assert_eq!((said, kept), (None, vec![b"[12]".to_vec()]));
    }
}
