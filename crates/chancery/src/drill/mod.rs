//! `chancery drill`: breaks a copy of the deployment on purpose, counts what still reaches a tool, and
//! records the result in the running deployment's log.
//!
//! The copy is the same binary with the same configuration and policy, but state, ports and one tool
//! server of its own, a canary that counts. The running deployment is not touched; it only
//! permits the drill and keeps its result.

mod canary;
mod directory;
mod rows;
mod scratch;
mod signal;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use pap::{Command as Asked, DrillMeasured, DrillRow, DrillSignal};
use serde_json::{Value, json};

use crate::cli::{Drill, Drilled};
use crate::config::Config;
use crate::socket;
use scratch::Scratch;

/// Something happened that no part permitted.
const LEAKED: u8 = 3;

/// Runs one drill.
pub(crate) async fn run(drill: Drill) -> anyhow::Result<ExitCode> {
    let (Drill::Outage(drilled) | Drill::Revoke(drilled) | Drill::Offboard(drilled)) = &drill;
    let Drilled { canary: _, json, config: file } = drilled;
    let config = crate::config::read(&file.config, crate::system::environment().into_iter())?;
    let asked = |signal, measured| Asked::DrillSignal {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        signal,
        measured,
    };
    let signal = match drill {
        Drill::Outage(_) => return outage(&config, (&file.config, *json)).await,
        Drill::Revoke(_) => DrillSignal::Revoke,
        Drill::Offboard(_) => DrillSignal::Offboard,
    };
    let socket = begun(&config, &file.config, &asked(signal, None)).await?;
    let scratch = Scratch::start(&config).await.context("could not start a scratch copy")?;
    let measured = signal::run(&scratch, signal).await.context("the drill broke off")?;
    drop(scratch);
    let told = ended(&socket, &asked(signal, Some(measured))).await?;
    if *json {
        print_json(&json!({ "measured": measured }), &told)?;
    } else {
        print_measured(signal, &measured);
        print_verdict(&told);
    }
    Ok(code(&told))
}

/// Takes parts away, one at a time.
async fn outage(config: &Config, (file, json): (&Path, bool)) -> anyhow::Result<ExitCode> {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let begins = Asked::DrillOutage { version: version.clone(), rows: Vec::new() };
    let socket = begun(config, file, &begins).await?;
    let mut scratch = Scratch::start(config).await.context("could not start a scratch copy")?;
    let rows = rows::all(&mut scratch).await?;
    drop(scratch);
    let told = ended(&socket, &Asked::DrillOutage { version, rows: rows.clone() }).await?;
    if json {
        print_json(&json!({ "rows": rows }), &told)?;
    } else {
        print_table(&rows);
        print_verdict(&told);
    }
    Ok(code(&told))
}

/// The socket of the running deployment, which permits what `begins`.
async fn begun(config: &Config, file: &Path, begins: &Asked) -> anyhow::Result<PathBuf> {
    let socket = config.admin_socket();
    socket::call(&socket, begins).await.with_context(|| {
        format!(
            "a drill is permitted and recorded by the running deployment: start it with \
             `chancery serve --config {}`",
            file.display()
        )
    })?;
    Ok(socket)
}

/// What the running deployment tells of the result, which it keeps.
async fn ended(socket: &Path, ends: &Asked) -> anyhow::Result<Value> {
    socket::call(socket, ends).await.context("the result could not be recorded")
}

fn code(told: &Value) -> ExitCode {
    if told["verdict"] == "held" { ExitCode::SUCCESS } else { ExitCode::from(LEAKED) }
}

fn print_json(result: &Value, told: &Value) -> anyhow::Result<()> {
    let mut all = result.clone();
    (all["verdict"], all["record"]) = (told["verdict"].clone(), told["record"].clone());
    println!("{}", serde_json::to_string_pretty(&all)?);
    Ok(())
}

fn print_table(rows: &[DrillRow]) {
    println!("part      attempts  blocked  leaked  slowest    recovered");
    for row in rows {
        let DrillRow { part, attempts, blocked, leaked, slowest_ms, recovered } = row;
        let recovered = recovered.map_or("not awaited", |so| if so { "yes" } else { "NO" });
        println!(
            "{part:<9} {attempts:>8}  {blocked:>7}  {leaked:>6}  {slowest_ms:>5} ms   {recovered}"
        );
    }
}

fn print_measured(signal: DrillSignal, measured: &DrillMeasured) {
    let DrillMeasured { attempts, done, last_effect_ms, stream_cut, others_go_on, back_after_ms } =
        measured;
    println!("last effect after {last_effect_ms} ms, by the clock of the tool server");
    println!("{attempts} calls were tried after the signal, {done} of them done");
    println!("the stream was {}", if *stream_cut { "cut" } else { "NOT cut" });
    if let Some(go_on) = others_go_on {
        println!("other instances {}", if *go_on { "go on" } else { "do NOT go on" });
    }
    match back_after_ms {
        Some(after) => {
            println!("another person took the agent over: first effect after {after} ms");
        }
        None if signal == DrillSignal::Revoke => {}
        // Why has been said: it worked before, nobody took it over, or it did not work after that.
        None => println!("the agent did NOT come back by another person who takes it over"),
    }
}

fn print_verdict(told: &Value) {
    let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
    println!("the control {}, recorded as {}", said(&text("verdict")), text("record"));
}

fn said(verdict: &str) -> &'static str {
    if verdict == "held" { "held" } else { "is cosmetic: not everything is as it must be" }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A script that runs a drill sees by its exit code whether the control held.
    #[test]
    fn r_33_whatever_is_not_held_ends_with_a_code_of_its_own() {
        let ends = |told: Value| format!("{:?}", code(&told));
        assert_eq!(ends(json!({ "verdict": "held" })), format!("{:?}", ExitCode::SUCCESS));
        let leaked = format!("{:?}", ExitCode::from(LEAKED));
        assert_ne!(leaked, format!("{:?}", ExitCode::SUCCESS));
        for told in [json!({ "verdict": "cosmetic" }), json!({ "verdict": null }), json!({})] {
            assert_eq!(ends(told), leaked);
        }
    }
}
