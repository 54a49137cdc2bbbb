//! Measures speed and memory, each number against a peer or a limit in the same run.
//!
//! The server has one core and one worker thread, whoever asks it has the other core. A row whose
//! answers are not all right is void, which is an error, and so is a row that was not measured.
#![allow(clippy::disallowed_methods, reason = "a benchmark runs processes and reads the clock")]

mod activate;
mod agentdojo;
mod append;
mod cascade;
mod client;
mod compile;
mod decide;
mod deployment;
mod directory;
mod exchange;
mod exchange_peer;
mod governed;
mod house;
mod http;
mod import;
mod latency;
mod load;
mod machine;
mod open_loop;
mod peers;
mod process;
mod prove;
mod replay;
mod report;
mod rows;
mod shim;
mod signal;
mod stats;
mod upstream;
mod workload;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::Parser;
use governed::Programs;
use report::Row;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the rows of `docs/performance.md`.
#[derive(Debug, Parser)]
#[command(name = "chancery-bench")]
struct Options {
    /// The rows to measure; all if none is named.
    rows: Vec<String>,
    /// Write what was measured to this file.
    #[arg(long)]
    json: PathBuf,
    /// Write the table's lines to this file.
    #[arg(long)]
    table: Option<PathBuf>,
    /// Where what is measured keeps its state: on a real disk.
    #[arg(long)]
    dir: PathBuf,
    /// The program that is measured.
    #[arg(long)]
    chancery: PathBuf,
    /// The plain proxy that is the limit.
    #[arg(long, default_value = "nginx")]
    nginx: PathBuf,
    /// The plain proxy that is the peer.
    #[arg(long)]
    envoy: PathBuf,
    /// The folder of the npm packages, of which one is a peer.
    #[arg(long)]
    npm: PathBuf,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chancery-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    let chosen = rows::chosen(&options.rows).map_err(|error| anyhow!(error))?;
    std::fs::create_dir_all(&options.dir)?;
    let machine = machine::describe(&options.dir)?;
    eprintln!("bench: {machine}");
    let mut rows = Vec::with_capacity(chosen.len());
    for row in &chosen {
        eprintln!("bench: {row} …");
        // Each row has a thread of its own: what it binds to a core ends with it.
        let (name, options) = (*row, options);
        let measured = std::thread::scope(|scope| {
            let row = scope.spawn(move || measure(name, options)).join();
            row.unwrap_or_else(|_| Err(anyhow!("it did not end well")))
        });
        let mut row = measured.with_context(|| format!("row `{row}` is void"))?;
        row.machine.clone_from(&machine);
        eprintln!("bench: {}", row.line());
        rows.push(row);
    }
    std::fs::write(&options.json, report::json(&rows))
        .with_context(|| format!("could not write `{}`", options.json.display()))?;
    let lines: Vec<String> = rows.iter().map(Row::line).collect();
    let head = report::HEAD.map(str::to_owned);
    println!("{machine}\n");
    head.iter().chain(&lines).for_each(|line| println!("{line}"));
    if let Some(table) = &options.table {
        std::fs::write(table, format!("{machine}\n{}\n", lines.join("\n")))?;
    }
    Ok(())
}

fn measure(row: &'static str, options: &Options) -> anyhow::Result<Row> {
    let dir = tempfile::tempdir_in(&options.dir)?;
    let dir: &Path = dir.path();
    let programs = Programs {
        chancery: options.chancery.clone(),
        nginx: options.nginx.clone(),
        envoy: options.envoy.clone(),
        npm: options.npm.clone(),
    };
    match row {
        "decide-100" => decide::measure(row, 100),
        "decide-10000" => decide::measure(row, 10_000),
        "depth" => decide::depth(),
        "prove" => prove::measure(dir, &programs),
        "agentdojo" => agentdojo::measure(dir),
        "compile-policies" => compile::policies(),
        "compile-groups" => compile::groups(),
        "append-1" => append::alone(dir),
        "append-64" => append::together(dir),
        "exchange" => exchange::measure(dir),
        "exchange-peer" => exchange_peer::measure(dir, &programs),
        "cascade" => cascade::cascade(dir),
        "suspend" => cascade::suspend(dir),
        "signal" => signal::measure(dir, &programs),
        "replay" => replay::measure(dir, &programs),
        "activate" => activate::measure(dir, &programs),
        "scim-import" => import::measure(dir, &programs),
        "governed-cpu" => governed::processor(dir, &programs),
        "governed-64" => governed::throughput(dir, &programs),
        "governed-added" => latency::added(dir, &programs),
        "shim-added" => shim::added(dir, &programs),
        "flood" => latency::flood(dir, &programs),
        "idle-rss" => governed::memory(dir, &programs),
        "idle-stream" => governed::streams(dir, &programs),
        _ => Err(anyhow!("nobody knows how to measure it")),
    }
}
