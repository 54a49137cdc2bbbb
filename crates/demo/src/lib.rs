//! The guided demo: what is promised, shown against real processes, and checked.
//!
//! [`run`] founds a deployment in a temporary directory, starts `chancery serve` and three small
//! tool servers ([`serve_tools`]) as processes of the same binary, lets scripted agents act through
//! real MCP clients, attacks and breaks what stands in between, and compares what the tools wrote
//! down with what the log says. It asks for nothing beyond this machine.
//!
//! It knows nothing of the inside of the service: it types the commands that a person would type,
//! and speaks MCP, OAuth and HTTP.
#![allow(
    clippy::disallowed_methods,
    reason = "the demo lives in real time, on real processes and real randomness"
)]

mod accounts;
mod agent;
mod browser;
mod deployment;
mod instance;
mod process;
mod provider;
mod relay;
mod stage;
mod steps;
mod story;
mod tools;
mod web;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::stage::Stage;
use crate::story::Story;

pub use tools::{ToolServerOptions, serve_tools};

/// What a run of the demo needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program that is started for the service, the tool servers and the agents.
    pub binary: PathBuf,
    /// Whether everything is left running afterwards, until somebody interrupts.
    pub keep: bool,
}

/// Plays all steps; true if every one went as told. `found` founds the deployment whose
/// configuration is at a path: one founder, marked as development.
pub async fn run(
    options: Options,
    found: impl AsyncFn(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<bool> {
    let dir = tempfile::Builder::new().prefix("chancery-demo-").tempdir();
    let dir = dir.context("could not make a temporary directory")?;
    story::say(&format!("chancery demo, in {}", dir.path().display()));
    let mut stage = Stage::new(&options.binary, dir.path())?;
    let played = tokio::select! {
        as_told = play(&mut stage, found) => Ok(as_told),
        interrupted = interrupted() => interrupted.and(Err(anyhow::anyhow!("interrupted"))),
    };
    if options.keep && played.is_ok() {
        stage.show_around();
        interrupted().await?;
    }
    stage.end().await;
    dir.close().context("could not remove the temporary directory")?;
    played
}

async fn play(stage: &mut Stage, found: impl AsyncFn(&Path) -> anyhow::Result<()>) -> bool {
    let mut story = Story::default();
    story.step("Setting up", stage.set_up(found)).await;
    if story.is_as_told() {
        steps::play(stage, &mut story).await;
    }
    story.sum_up();
    story.is_as_told()
}

/// Returns when somebody interrupts or ends the program.
async fn interrupted() -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
