//! `chancery log`: what an auditor asks of the log, offline or of the running service.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use journal::LogDirectory;
use journal::verify::verify;
use pap::Command as Asked;
use serde_json::Value;

use crate::cli::Log;
use crate::socket;

/// The log does not verify, or a replay differs.
const DOES_NOT_HOLD: u8 = 3;

/// Runs one command.
pub(crate) async fn run(log: Log) -> anyhow::Result<ExitCode> {
    match log {
        Log::Verify { dir, key, since } => offline(&dir, &key, since.as_deref()),
        Log::Export { socket } => export(&socket.socket).await,
        Log::Show { id, socket } => pretty(&socket.socket, Asked::LogShow { id }).await,
        Log::Chain { id, socket } => pretty(&socket.socket, Asked::LogChain { id }).await,
        Log::Prove { id, socket } => {
            let told = socket::call(&socket.socket, &Asked::LogProve { id }).await?;
            print!("{}", told["proof"].as_str().unwrap_or_default());
            Ok(ExitCode::SUCCESS)
        }
        Log::Tail { n, socket } => {
            let told = socket::call(&socket.socket, &Asked::LogTail { n }).await?;
            lines(&told);
            Ok(ExitCode::SUCCESS)
        }
        Log::Replay { socket } => replay(&socket.socket).await,
    }
}

fn offline(dir: &Path, key: &str, since: Option<&Path>) -> anyhow::Result<ExitCode> {
    let text = std::fs::read_to_string(PathBuf::from(key)).unwrap_or_else(|_| key.to_owned());
    let neither = || format!("`--key {key}` is no log's verifier key, nor a file that holds one");
    let key = text.trim().parse().with_context(neither)?;
    let since = since.map(std::fs::read).transpose().context("could not read `--since`")?;
    let report = verify(&LogDirectory::new(dir), &key, since.as_deref())
        .with_context(|| format!("could not verify the log in `{}`", dir.display()))?;
    println!("size {} root {}", report.size, report.root);
    for (kind, count) in &report.totals {
        println!("{count:>8} {kind}");
    }
    println!("{:>8} permits without an outcome yet", report.open);
    println!("{:>8} control failures: records without sponsor or purpose", report.control_failures);
    println!("{:>8} earlier checkpoints compared", report.compared);
    for remark in &report.remarks {
        println!("note: {remark}");
    }
    for problem in &report.problems {
        println!("{problem}");
    }
    if report.problems.is_empty() {
        println!("the log verifies");
        return Ok(ExitCode::SUCCESS);
    }
    println!("the log does not verify: {} problems", report.problems.len());
    Ok(ExitCode::from(DOES_NOT_HOLD))
}

async fn pretty(socket: &Path, asked: Asked) -> anyhow::Result<ExitCode> {
    let told = socket::call(socket, &asked).await?;
    println!("{}", serde_json::to_string_pretty(&told)?);
    Ok(ExitCode::SUCCESS)
}

fn lines(told: &Value) -> u64 {
    let records = told["records"].as_array().into_iter().flatten();
    records.filter_map(Value::as_str).map(|record| println!("{record}")).count() as u64
}

async fn export(socket: &Path) -> anyhow::Result<ExitCode> {
    let (mut from, mut export) = (0, None);
    loop {
        let told = socket::call(socket, &Asked::LogExport { from, export }).await?;
        from += lines(&told);
        export = told["export"].as_u64();
        if export.is_none() {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

async fn replay(socket: &Path) -> anyhow::Result<ExitCode> {
    let told = socket::call(socket, &Asked::LogReplay).await?;
    let (agreed, erased) = (&told["agreed"], &told["erased"]);
    println!("{agreed} decisions agree, {erased} cannot be made again: their facts were erased");
    if let Some(by_commit) = told["by_commit"].as_u64().filter(|by_commit| *by_commit > 0) {
        println!("{by_commit} were not made again: the state at their commit denied them");
    }
    if let Some(earlier) = told["earlier"].as_u64().filter(|earlier| *earlier > 0) {
        println!(
            "{earlier} were permitted by an earlier build, and are denied by a rule that came later"
        );
    }
    let number = |name: &str| told[name].as_u64().unwrap_or_default();
    let (observed, unanswered) = (number("observed"), number("unanswered"));
    if observed + unanswered > 0 {
        println!("{observed} answers of sets under observation agree, {unanswered} were not given");
    }
    let differ = told["differ"].as_array().cloned().unwrap_or_default();
    differ.iter().filter_map(Value::as_str).for_each(|line| println!("differs: {line}"));
    Ok(if differ.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(DOES_NOT_HOLD) })
}
