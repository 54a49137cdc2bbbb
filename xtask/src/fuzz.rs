//! `cargo xtask fuzz [TARGET…] [--seconds N]`: drives the parsers of untrusted bytes for longer than
//! the tests do, by what they cover where a nightly toolchain with cargo-fuzz is there.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};

/// How long each target runs unless it is said, in seconds.
const SECONDS: u64 = 600;

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    targets: Vec<String>,
    seconds: u64,
}

/// Drives the targets that `arguments` name, all if they name none.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let asked = parse(arguments)?;
    if knows_coverage() {
        println!("xtask: fuzzing by coverage: cargo-fuzz on the nightly toolchain");
        return by_coverage(&asked);
    }
    println!("xtask: fuzzing without coverage: there is no nightly toolchain with cargo-fuzz");
    let seconds = asked.seconds.to_string();
    let own = ["run", "--quiet", "--package", "fuzz", "--bin", "fuzz", "--", &seconds];
    let targets = asked.targets.iter().map(String::as_str);
    super::cargo(&own.into_iter().chain(targets).collect::<Vec<_>>())
}

fn parse(arguments: &[String]) -> anyhow::Result<Asked> {
    let mut asked = Asked { targets: Vec::new(), seconds: SECONDS };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seconds" => {
                let seconds = arguments.next().and_then(|text| text.parse().ok());
                asked.seconds = seconds.context("`--seconds` is a number")?;
            }
            option if option.starts_with('-') => bail!("there is no option `{option}`"),
            target => asked.targets.push(target.to_owned()),
        }
    }
    Ok(asked)
}

/// Cargo of the nightly toolchain, with cargo-fuzz.
fn cargo_fuzz() -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo", "fuzz"]).current_dir(super::root());
    command
}

fn knows_coverage() -> bool {
    let mut asks = cargo_fuzz();
    asks.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    asks.status().is_ok_and(|status| status.success())
}

/// Each target after the other; one that breaks keeps no other from being tried.
fn by_coverage(asked: &Asked) -> anyhow::Result<()> {
    let corpus = super::root().join("fuzz/corpus");
    let mut targets = asked.targets.clone();
    if targets.is_empty() {
        let folders = std::fs::read_dir(&corpus)?.flatten();
        targets = folders.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        targets.sort();
    }
    let mut broken = Vec::new();
    for target in &targets {
        let examples = corpus.join(target);
        ensure!(examples.is_dir(), "there is no target `{target}`");
        if !is_whole(target, &examples, asked.seconds)? {
            broken.push(target.as_str());
        }
    }
    ensure!(broken.is_empty(), "broken: {}", broken.join(", "));
    Ok(())
}

/// Drives one target. What it finds worth keeping stays below `target/`; what breaks it is written
/// to its examples.
fn is_whole(target: &str, examples: &Path, seconds: u64) -> anyhow::Result<bool> {
    let kept = super::root().join("target/fuzz-kept").join(target);
    std::fs::create_dir_all(&kept)?;
    println!("xtask: {target} …");
    let mut command = cargo_fuzz();
    command.env("CHANCERY_FUZZ_TARGET", target);
    command.args(["run", "--fuzz-dir", "fuzz", "--features", "coverage", "--sanitizer", "none"]);
    command.arg("covered").arg(&kept).arg(examples).arg("--");
    command.arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-artifact_prefix={}/found-", examples.display()));
    command.args(["-timeout=10", "-max_len=40960", "-print_final_stats=1"]);
    let status = command.status().with_context(|| format!("could not run {command:?}"))?;
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &[&str], expected: Result<(&[&str], u64), &str>) {
        let owned: Vec<_> = arguments.iter().map(|&text| text.to_owned()).collect();
        let asked = parse(&owned).map_err(|error| error.to_string());
        let of = |(targets, seconds): (&[&str], u64)| {
            let targets = targets.iter().map(|&text| text.to_owned()).collect();
            Asked { targets, seconds }
        };
        assert_eq!(asked, expected.map(of).map_err(str::to_owned));
    }

    #[test]
    fn targets_and_seconds_are_read() {
        check(&[], Ok((&[], 600)));
        check(&["json", "--seconds", "5", "sse"], Ok((&["json", "sse"], 5)));
        check(&["--seconds"], Err("`--seconds` is a number"));
        check(&["--seconds", "x"], Err("`--seconds` is a number"));
        check(&["--minutes"], Err("there is no option `--minutes`"));
    }
}
