//! `chancery drill outage --canary`: takes parts away from a copy of the deployment, one at a time,
//! counts what still reaches a tool, and records the result in the running deployment's log.
//!
//! The copy is the same binary with the same configuration and policy, but state, ports and one tool
//! server of its own, a canary that counts. The running deployment is not touched; it only
//! permits the drill and keeps its result.

mod canary;
mod rows;
mod scratch;

use std::process::ExitCode;

use anyhow::Context as _;
use pap::{Command as Asked, DrillRow};
use serde_json::{Value, json};

use crate::cli::Drill;
use crate::socket;
use scratch::Scratch;

/// Something happened that no part permitted.
const LEAKED: u8 = 3;

/// Runs one drill.
pub(crate) async fn run(drill: Drill) -> anyhow::Result<ExitCode> {
    let Drill::Outage { canary: _, json, config: file } = drill;
    let config = crate::config::read(&file.config, crate::system::environment().into_iter())?;
    let socket = config.admin_socket();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let begins = Asked::DrillOutage { version: version.clone(), rows: Vec::new() };
    socket::call(&socket, &begins).await.with_context(|| {
        format!(
            "a drill is permitted and recorded by the running deployment: start it with \
             `chancery serve --config {}`",
            file.config.display()
        )
    })?;
    let mut scratch = Scratch::start(&config).await.context("could not start a scratch copy")?;
    let rows = rows::all(&mut scratch).await?;
    drop(scratch);
    let ends = Asked::DrillOutage { version, rows: rows.clone() };
    let told = socket::call(&socket, &ends).await.context("the result could not be recorded")?;
    if json {
        print_json(&rows, &told)?;
    } else {
        print_table(&rows, &told);
    }
    let held = told["verdict"] == "held";
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::from(LEAKED) })
}

fn print_json(rows: &[DrillRow], told: &Value) -> anyhow::Result<()> {
    let all = json!({ "rows": rows, "verdict": told["verdict"], "record": told["record"] });
    println!("{}", serde_json::to_string_pretty(&all)?);
    Ok(())
}

fn print_table(rows: &[DrillRow], told: &Value) {
    println!("part      attempts  blocked  leaked  slowest    recovered");
    for row in rows {
        let DrillRow { part, attempts, blocked, leaked, slowest_ms, recovered } = row;
        let recovered = recovered.map_or("not awaited", |so| if so { "yes" } else { "NO" });
        println!(
            "{part:<9} {attempts:>8}  {blocked:>7}  {leaked:>6}  {slowest_ms:>5} ms   {recovered}"
        );
    }
    let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
    println!("the control {}, recorded as {}", said(&text("verdict")), text("record"));
}

fn said(verdict: &str) -> &'static str {
    if verdict == "held" { "held" } else { "is cosmetic: something happened without a permit" }
}
