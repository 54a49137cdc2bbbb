//! `chancery unattended`: what agents could do now without anybody being asked, on what that rests, who answers for it, and
//! how often it was used.

use std::fmt::Write as _;

use pap::Command as Asked;
use serde_json::Value;

use crate::cli::Unattended;
use crate::reach::{at, list, text, unknown};
use crate::reviews::counted;

/// Runs one command.
pub(crate) async fn run(typed: Unattended) -> anyhow::Result<()> {
    let Unattended { agent, since, json, socket } = typed;
    let asked = Asked::Unattended { agent, since: at(since) };
    let told = counted(&socket.socket, &asked).await?;
    if json {
        println!("{}", serde_json::to_string_pretty(&told)?);
    } else {
        print!("{}", drawn(&told));
    }
    Ok(())
}

/// What is told, for people. Writing to a text cannot fail.
fn drawn(told: &Value) -> String {
    let (policy, mut all) = (&told["policy"], String::new());
    let release = policy["release"].as_u64().map(|version| format!(", release {version}"));
    let _ = writeln!(
        all,
        "at {}, by policy {}{}, {}",
        text(&told["at"]),
        text(&policy["digest"]),
        release.unwrap_or_default(),
        owned(&policy["owner"]),
    );
    for agent in list(&told["agents"]) {
        of_agent(&mut all, agent, text(&told["since"]));
    }
    all + &unknown(told)
}

/// What is told of one agent.
fn of_agent(all: &mut String, agent: &Value, since: &str) {
    let name = text(&agent["agent"]);
    let _ = writeln!(
        all,
        "{name}: sponsor {}, business owner {}, technical owner {}",
        text(&agent["sponsor"]),
        text(&agent["business_owner"]),
        text(&agent["technical_owner"]),
    );
    if let Some(why) = agent["dead"].as_str() {
        let _ = writeln!(all, "  under a mandate of its own it may do nothing: {why}");
    }
    for act in list(&agent["acts"]) {
        let classes: Vec<_> = list(&act["harm"]).map(text).collect();
        let (tool, classes) = (text(&act["tool"]), classes.join(" "));
        let _ = writeln!(all, "  {tool} ({classes}), {}: {}", owned(&act["owner"]), used(act));
        for rests in list(&act["rests"]) {
            let [basis, by] = ["basis", "by"].map(|what| list(&rests[what]).map(text));
            let (basis, by) = (basis.collect::<Vec<_>>(), by.collect::<Vec<_>>());
            let by = (!by.is_empty()).then(|| format!(", handed on by {}", by.join(" > ")));
            let _ = writeln!(
                all,
                "    for {}, {}, by {}{}",
                text(&rests["purpose"]),
                owned(&rests["owner"]),
                basis.join(" "),
                by.unwrap_or_default(),
            );
        }
    }
    for tool in list(&agent["used_otherwise"]) {
        let (name, used) = (text(&tool["tool"]), used(tool));
        let _ = writeln!(all, "  {name}: {used}: handed on, or not permitted any more");
    }
    let unused: Vec<_> = list(&agent["unused"]).map(text).collect();
    if !unused.is_empty() {
        let _ = writeln!(
            all,
            "  not used, to be removed by `chancery suggest {name} --since {since}`: {}",
            unused.join(" "),
        );
    }
    for line in unknown(agent).lines() {
        let _ = writeln!(all, "  {line}");
    }
}

/// Who owns it.
fn owned(owner: &Value) -> String {
    owner.as_str().map_or("owned by nobody".to_owned(), |owner| format!("owned by {owner}"))
}

/// How often it was used, and when last.
fn used(row: &Value) -> String {
    match row["last"].as_str() {
        Some(last) => format!("used {} times, last {last}", row["used"]),
        None => "not used".to_owned(),
    }
}
