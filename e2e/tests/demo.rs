//! The guided demo as a newcomer runs it: every promised step goes as told, quickly, and nothing of
//! it is left behind.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use e2e::Child;

/// The steps that are promised, in their order.
const STEPS: [&str; 22] = [
    "Setting up",
    "A permitted call",
    "A permitted call at which the tool fails",
    "A denied argument",
    "A hidden tool that is called anyway",
    "A stolen token replayed with another key",
    "The tool called directly, refused by the tool",
    "A person's consent, given and exceeded",
    "A sub-agent that reads and may not pay",
    "Ten branches at one limit",
    "A thief's exchange",
    "A parent ended with its child in mid-call",
    "A changed descriptor",
    "A policy that errors",
    "The log unable to grow",
    "Killed between permit and effect, the call is lost",
    "Killed between permit and effect, the call arrives",
    "The sponsor deactivated in mid-run",
    "A sponsor of twenty agents leaves",
    "The tools' own files against the log",
    "The log verified offline",
    "One chain, from a decision back",
];

/// How long the whole may take on a busy machine, unoptimised: twice what is promised.
const WITHIN: Duration = Duration::from_mins(1);

/// The demo measures whether agents stop within a second, which two of it at once would spoil.
static ALONE: Mutex<()> = Mutex::new(());

fn demo(temporary: &Path) -> Command {
    let mut command = Command::new(e2e::binary());
    // What is configured where the demo runs must not reach it.
    command.arg("demo").env("TMPDIR", temporary).env("CHANCERY_LISTEN_AGENTS", "127.0.0.1:1");
    command
}

/// The steps of which the summary says that they went as told.
fn told(printed: &str) -> Vec<&str> {
    let summary = printed.split_once("\nSummary\n").map(|(_, summary)| summary);
    let lines = summary.unwrap_or_default().lines();
    lines.filter_map(title).collect()
}

/// The title in a line of the summary that says that its step went as told.
fn title(line: &str) -> Option<&str> {
    let (_, rest) = line.trim_start().split_once("  ")?;
    rest.strip_suffix("\u{2713} as told").map(str::trim_end)
}

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).expect("it is there").next().is_none()
}

#[test]
fn every_step_of_the_demo_goes_as_told() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let started = Instant::now();
    let output = demo(temporary.path()).output().expect("it starts");
    let took = started.elapsed();
    let printed = String::from_utf8(output.stdout).expect("it prints text");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}{errors}");
    assert_eq!(told(&printed), STEPS, "{printed}");
    assert_eq!(printed.matches("\n    \u{2713} as told\n").count(), STEPS.len());
    assert!(!printed.contains('\u{2717}'), "{printed}");
    assert!(printed.ends_with("All 22 steps went as told.\n"), "{printed}");
    let measured = printed.lines().find_map(|line| line.trim().strip_prefix("last effect after "));
    let after = measured.and_then(|rest| rest.split_once(" ms")).map(|(after, _)| after.parse());
    assert!(after.is_some_and(|after: Result<u64, _>| after.is_ok_and(|after| after <= 1_000)));
    for shown in ["chancery log chain dec_", "the log verifies", "none without a permit"] {
        assert!(printed.contains(shown), "it does not show `{shown}`: {printed}");
    }
    assert!(took < WITHIN, "it took {took:?}");
    assert!(is_empty(temporary.path()), "it left something behind");
}

/// Whoever looks at the demo sees it fail when there is something to see: here somebody writes a line
/// into a tool's own file that no permit stands behind.
#[test]
fn an_effect_without_a_permit_spoils_the_demo() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let mut command = demo(temporary.path());
    let mut child = Child::start(command.stdout(Stdio::piped()).stderr(Stdio::null()));
    let mut lines =
        BufReader::new(child.output()).lines().map(|line| line.expect("it prints text"));
    let dir = lines.find_map(|line| after(line.trim(), "chancery demo, in "));
    let file = PathBuf::from(dir.expect("it says where")).join("tools/payments.jsonl");
    assert!(lines.any(|line| line.ends_with("A sponsor of twenty agents leaves")));
    let forged = r#"{"time":0,"decision":"dec_forged","tool":"payments/refund","arguments":{}}"#;
    let mut file = OpenOptions::new().append(true).open(file).expect("payments has a file");
    writeln!(file, "{forged}").expect("it can be written");
    let rest: Vec<String> = lines.collect();
    let rest = rest.join("\n");
    let found = "`payments/refund` acted on `dec_forged`, which is no permit of the log";
    assert!(rest.contains(found), "{rest}");
    assert!(!told(&rest).contains(&"The tools' own files against the log"), "{rest}");
    let status = e2e::wait_until("it ends", || child.ended());
    assert_eq!(status.code(), Some(4));
    assert!(is_empty(temporary.path()), "it left something behind");
}

#[test]
fn what_the_demo_keeps_running_ends_with_it() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let mut command = demo(temporary.path());
    command.arg("--keep").stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = Child::start(&mut command);
    let mut lines =
        BufReader::new(child.output()).lines().map(|line| line.expect("it prints text"));
    let mut printed = Vec::new();
    let agents = lines.by_ref().find_map(|line| {
        let found = after(&line, "  agents      http://");
        printed.push(line);
        found
    });
    let observers = lines.by_ref().find_map(|line| after(&line, "  observers   http://"));
    let socket = lines.by_ref().find_map(|line| after(&line, "  socket      "));
    let addresses = [agents.expect("it says where"), observers.expect("it says where")];
    let socket = PathBuf::from(socket.expect("it says where"));

    assert!(addresses.iter().all(|address| TcpStream::connect(address).is_ok()));
    let tail = Command::new(e2e::binary()).args(["log", "tail", "--socket"]).arg(&socket).output();
    assert!(tail.expect("it starts").status.success(), "one cannot look around");
    assert!(child.terminate().success(), "it was told to end: {printed:#?}");
    assert!(addresses.iter().all(|address| TcpStream::connect(address).is_err()));
    assert!(is_empty(temporary.path()), "it left something behind");
}

/// What follows `start` in `line`.
fn after(line: &str, start: &str) -> Option<String> {
    line.strip_prefix(start).map(str::to_owned)
}
