//! `chancery suggest`: what an agent was given against what it used, a policy that leaves it only that, and what that would
//! have broken.

use std::process::ExitCode;

use anyhow::Context as _;
use pap::{Command as Asked, PolicyFiles};
use serde_json::Value;

use crate::administer::fresh;
use crate::cli::Suggest;
use crate::reach::at;
use crate::reviews::counted;
use crate::{policy, replay};

/// Runs one command.
pub(crate) async fn run(typed: Suggest) -> anyhow::Result<ExitCode> {
    let Suggest { agent, since, out, socket } = typed;
    let out = out.as_deref().map(fresh).transpose()?;
    let asked = Asked::Suggest { agent, since: at(since) };
    let told = counted(&socket.socket, &asked).await?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for tool in told["granted"].as_array().into_iter().flatten() {
        let classes: Vec<_> = tool["harm"].as_array().into_iter().flatten().map(text).collect();
        let classes =
            if classes.is_empty() { "no harm class".to_owned() } else { classes.join(" ") };
        let last = tool["last"].as_str().map_or(String::new(), |last| format!(", last {last}"));
        eprintln!("{} ({classes}): used {} times{last}", text(&tool["tool"]), tool["used"]);
    }
    let suggested = text(&told["policy"]["text"]);
    match &out {
        Some(path) => std::fs::write(path, &suggested)
            .with_context(|| format!("could not write `{}`", path.display()))?,
        None => print!("{suggested}"),
    }
    let files: PolicyFiles = serde_json::from_value(told["files"].clone())?;
    let mut replayed = replay::run(&files, None, &socket.socket).await?;
    // What other policies would answer by now is not of its making.
    let own = format!("`{}`", text(&told["policy"]["id"]));
    replayed.retain(|kind| kind["flip"] == "newly_denied" && text(&kind["by"]).contains(&own));
    let broken = replayed.flipped();
    eprint!("{replayed}");
    eprintln!("it would have broken {broken} of them");
    Ok(policy::holds(broken == 0 && replayed.is_all()))
}
