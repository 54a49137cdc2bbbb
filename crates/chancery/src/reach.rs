//! `chancery reach`: what an instance could do now, itself and by handing its work on.

use std::fmt::Write as _;

use model::{Clock as _, Timestamp};
use pap::Command as Asked;
use serde_json::Value;

use crate::cli::{Reach, Since};
use crate::socket;
use crate::system::SystemClock;

/// Runs one command.
pub(crate) async fn run(typed: Reach) -> anyhow::Result<()> {
    let Reach { instance, since, json, socket } = typed;
    let asked = Asked::Reach { instance, since: since.map(at) };
    let told = socket::call(&socket.socket, &asked).await?;
    if json {
        println!("{}", serde_json::to_string_pretty(&told)?);
    } else {
        print!("{}", drawn(&told));
    }
    Ok(())
}

/// When that is.
pub(crate) fn at(since: Since) -> Timestamp {
    match since {
        Since::At(at) => at,
        Since::Ago(back) => {
            let back = i64::try_from(back.as_millis()).unwrap_or(i64::MAX);
            Timestamp::from_millis(SystemClock::new().now().as_millis().saturating_sub(back))
        }
    }
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(crate) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// What is told to have no bound, or cannot be told, a line each.
pub(crate) fn unknown(told: &Value) -> String {
    let line = |it: &Value| format!("unknown: {} {}\n", text(&it["what"]), text(&it["why"]));
    list(&told["unknown"]).map(line).collect()
}

/// What is told, for people. Writing to a text cannot fail.
fn drawn(told: &Value) -> String {
    let (limits, mut all) = (&told["limits"], String::new());
    let _ = writeln!(
        all,
        "{} of `{}`, for `{}`, at {}",
        text(&told["instance"]),
        text(&told["agent"]),
        text(&told["purpose"]),
        text(&told["at"]),
    );
    if let Some(why) = told["dead"].as_str() {
        let _ = writeln!(all, "it may do nothing: {why}");
    }
    let left = limits["calls_left"].as_i64().map(|left| format!(", {left} calls left"));
    let _ = writeln!(all, "until {}{}", text(&limits["ends"]), left.unwrap_or_default());
    for class in list(&told["harm"]) {
        let _ = writeln!(all, "{}", text(&class["class"]));
        for place in ["direct", "by_delegation"] {
            for tool in list(&class["tools"][place]) {
                let row = &told["tools"][text(tool)];
                let _ = writeln!(all, "  {}{}", text(tool), circumstances(row, place));
            }
        }
    }
    all += &unknown(told);
    all += &data(&told["data"]);
    let change = &told["change"];
    if let Some(why) = change["unknown"].as_str() {
        let _ = writeln!(all, "unknown: since {} {why}", text(&change["since"]));
    }
    for it in list(&change["as_now"]) {
        let (what, why) = (text(&it["what"]), text(&it["why"]));
        let _ = writeln!(all, "unknown since {}: {what} {why}", text(&change["since"]));
    }
    for (what, sign) in [("gained", '+'), ("lost", '-')] {
        for tool in list(&change[what]) {
            let (name, by) = (text(&tool["tool"]), text(&tool["by"]));
            let _ = writeln!(all, "{sign} {name} since {} ({by})", text(&change["since"]));
        }
        for kind in ["for", "categories", "labels"] {
            for name in list(&change["data"][what][kind]) {
                let (name, since) = (text(name), text(&change["since"]));
                let _ = writeln!(all, "{sign} data, {kind}: {name} since {since}");
            }
        }
    }
    all
}

/// The data in reach, for people.
fn data(told: &Value) -> String {
    let ends = ["objects", "categories"].map(|what| list(&told["for"][what]).map(text));
    let [objects, categories] = ends.map(Iterator::collect::<Vec<_>>);
    let any = |names: &[&str], is_any| if is_any { "any".to_owned() } else { some(names) };
    let objects = any(&objects, told["for"]["objects"].is_null());
    let categories = any(&categories, categories.is_empty());
    let mut all = format!("data: for objects {objects}, categories {categories}\n");
    for (rows, kind) in [("categories", "category"), ("labels", "label")] {
        for row in list(&told[rows]) {
            let sources = ["direct", "by_delegation"].map(|place| list(&row[place]).map(text));
            let [direct, others] = sources.map(|sources| some(&sources.collect::<Vec<_>>()));
            let name = text(&row[kind]);
            let _ = writeln!(all, "  {kind} {name}: by itself {direct}, by others {others}");
        }
    }
    all + &unknown(told)
}

fn some(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(" ") }
}

/// What is said of a tool beside its name.
fn circumstances(row: &Value, place: &str) -> String {
    let chain: Vec<_> = list(&row["chain"]).map(text).collect();
    let chain = (place == "by_delegation").then(|| format!("by {}", chain.join(" > ")));
    let lifted =
        (row[place] == "if_lifted").then(|| "if somebody lifts what forbids it".to_owned());
    let sink = (row["sink"] == true).then(|| "sends out".to_owned());
    let said: Vec<_> = [chain, sink, lifted].into_iter().flatten().collect();
    if said.is_empty() { String::new() } else { format!(": {}", said.join(", ")) }
}
