//! Solvers that are late, killed, wrong or not there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use analysis::{Solver, Verdict, Why};

use crate::support::{Asked, cvc5, report_by, why};

/// A set about which the solver has to be asked.
const SET: &str = r#"@id("lookup") permit (principal, action == Action::"crm/lookup", resource)
    when { context.input has id && context.input.id * context.input.id != 2 };"#;

/// For what does not answer.
const SHORT: Duration = Duration::from_millis(50);

/// For what does, on a busy machine too.
const LONG: Duration = Duration::from_secs(30);

/// Makes `program` one that does what `script` does. Another process writes it: what is open for writing in this
/// one, or where another test starts something, could not be started.
fn made(program: &Path, script: &str) {
    let text = format!("#!/bin/sh\n{script}\n");
    let write = r#"printf %s "$2" > "$1" && chmod 700 "$1""#;
    let made = Command::new("sh").args(["-c", write, "sh"]).arg(program).arg(text).status();
    assert!(made.expect("there is a shell").success(), "it can be written");
}

/// A program that says a version, and of questions what `script` does.
fn pretending(script: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("cvc5");
    let version = "if [ \"$1\" = --version ]; then echo 'This is cvc5 version 0'; exit; fi";
    made(&program, &format!("{version}\n{script}"));
    (folder, program)
}

async fn check(script: &str, time: Duration, is_expected: impl Fn(&Why) -> bool) {
    let (_folder, program) = pretending(script);
    let asked = Asked { set: SET, ..Asked::default() };
    let report = report_by(asked, program, time).await;
    let why = why(&report);
    assert!(is_expected(why), "{script}: {why:?}");
    assert!(report.assumptions.queries > 0);
}

/// It answers each question, and knows nothing.
const UNKNOWING: &str =
    "while read -r line; do [ \"$line\" = '(check-sat)' ] && echo unknown; done";

#[tokio::test]
async fn what_the_solver_does_not_say_is_not_proved() {
    // It listens, and never answers: it is killed.
    check("while read -r line; do :; done", SHORT, |why| *why == Why::TooLong).await;
    check(UNKNOWING, LONG, |why| *why == Why::TooLong).await;
    let failed = |why: &Why| matches!(why, Why::Solver(_));
    check("kill -9 $$", LONG, failed).await;
    check("read -r line; kill -9 $$", LONG, failed).await;
    check("exit 0", LONG, failed).await;
    check("while read -r line; do echo unsatisfiable; done", LONG, failed).await;
    check("while read -r line; do echo '(error \"out of memory\")'; done", LONG, failed).await;
    // That there is an example, and then none.
    check("while read -r line; do echo sat; done", LONG, failed).await;
}

/// Nor does nothing that is found over chains then: to whom work can come is not known.
#[tokio::test]
async fn chains_that_the_solver_says_nothing_of_are_not_proved() {
    let (_folder, program) = pretending(UNKNOWING);
    let set = r#"@id("on") permit (principal in Agent::"reader", action == Action::"delegate", resource)
        when { context.purpose == "it" };"#;
    let never = r#"@id("it") @property("never-reaches")
        forbid (principal in Agent::"reader", action in Action::"tools/call", resource);"#;
    let asked = Asked { set, properties: Some(never), ..Asked::default() };
    let report = report_by(asked, program, LONG).await;
    assert_eq!(*why(&report), Why::TooLong);
    let last = report.shown.last().expect("something is claimed");
    assert_eq!(last.unknown, 1, "{last:?}");
    let Verdict::NotProved { because } = &last.verdict else { panic!("{last:?}") };
    let place = because[0].environment.as_ref().expect("a place");
    assert_eq!((&*place.principal, &*place.action), ("Instance", "delegate"));
}

/// Nor is what terms alone show over chains, if the solver is late to say whether anybody else could do what matches.
#[tokio::test]
async fn chains_to_which_nobody_is_known_to_come_are_not_proved() {
    let set = r#"@id("lookup") permit (principal, action == Action::"crm/lookup", resource);"#;
    let never = r#"@id("it") @property("never-reaches")
        forbid (principal in Agent::"reader", action == Action::"payments/refund", resource);"#;
    let asked = Asked { set, properties: Some(never), ..Asked::default() };
    for script in [UNKNOWING, "while read -r line; do :; done"] {
        let (_folder, program) = pretending(script);
        let report = report_by(asked, program, SHORT).await;
        assert_eq!(*why(&report), Why::TooLong, "{script}");
        let last = report.shown.last().expect("something is claimed");
        assert!(last.chains.as_ref().is_some_and(|it| it.is_closed), "{script}: {last:?}");
        let Verdict::NotProved { because } = &last.verdict else { panic!("{last:?}") };
        let place = because[0].environment.as_ref().expect("a place");
        assert_eq!(place.action, "payments/refund", "{script}");
    }
}

/// The environment of the service is nothing that a solver sees.
#[tokio::test]
async fn a_solver_is_told_nothing_but_the_question() {
    let script = "while read -r line; do echo \"(error \\\"$(/usr/bin/env | /usr/bin/cut -d= -f1 | /usr/bin/sort | /usr/bin/tr '\\n' ' ')\\\")\"; done";
    check(script, LONG, |why| {
        let Why::Solver(said) = why else { return false };
        // What the shell itself sets.
        said.contains("PWD") && !said.contains("PATH") && !said.contains("HOME")
    })
    .await;
}

#[tokio::test]
async fn a_solver_that_is_missing_is_named_with_what_helps() {
    let nowhere = Solver::at("/nowhere/cvc5".into(), Duration::from_secs(1)).await;
    let told = nowhere.expect_err("it is not there").to_string();
    assert!(told.contains("`/nowhere/cvc5` cannot be started"), "{told}");
    assert!(told.contains("apt-get install cvc5"), "{told}");
    let (_folder, program) = pretending("exit 0");
    made(&program, "exit 1");
    let broken = Solver::at(program, Duration::from_secs(1)).await;
    assert!(broken.expect_err("it says nothing").to_string().contains("does not say its version"));
    assert!(Solver::at(cvc5(), Duration::from_secs(1)).await.is_ok());
}
