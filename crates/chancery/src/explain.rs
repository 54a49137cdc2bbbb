//! How an answer comes about, in words: of a recorded decision, or of a question that is put as a case puts it.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, ensure};
use pap::Command as Asked;
use serde_json::{Map, Value};

use crate::cli::Explain;
use crate::policy_set::PolicySet;
use crate::socket;

/// The most bytes of a question.
const QUESTION_MAX: u64 = 256 * 1024;

/// Explains what was `asked` for.
pub(crate) async fn run(asked: Explain) -> anyhow::Result<ExitCode> {
    let Explain { id, ask, set, json, socket } = asked;
    let told = match (id, ask, set) {
        (Some(id), ..) => socket::call(&socket.socket, &Asked::PolicyExplain { id }).await?,
        (None, Some(path), None) => {
            let case = question(&path)?;
            socket::call(&socket.socket, &Asked::PolicyAsk { case }).await?
        }
        (None, Some(path), Some(dir)) => {
            let set = PolicySet::read(&dir)?;
            let (snapshot, tools) = (set.compiled()?, set.all_tools());
            pap::ask(question(&path)?, (&snapshot, &tools)).map_err(|why| anyhow!(why))?
        }
        (None, None, _) => unreachable!("one of both is required"),
    };
    if json {
        println!("{}", serde_json::to_string_pretty(&told)?);
    } else {
        explain(&told);
    }
    Ok(ExitCode::SUCCESS)
}

/// The question in the file at `path`, or of standard input (`-`).
fn question(path: &Path) -> anyhow::Result<Map<String, Value>> {
    let shown = path.display();
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(QUESTION_MAX + 1).read_to_string(&mut text)
    } else {
        let file = std::fs::File::open(path);
        file.and_then(|file| file.take(QUESTION_MAX + 1).read_to_string(&mut text))
    };
    let bytes = read.with_context(|| format!("could not read `{shown}`"))?;
    ensure!(bytes as u64 <= QUESTION_MAX, "`{shown}` has more than {QUESTION_MAX} bytes");
    serde_saphyr::from_str(&text).map_err(|error| anyhow!("`{shown}` is not in order: {error}"))
}

/// Tells how an answer comes about, in words.
fn explain(told: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let time = told["time"].as_str().map(|time| format!("{time} ")).unwrap_or_default();
    println!("{time}{} on {}", text(&told["action"]), text(&told["resource"]));
    let why = told["why"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
    println!("{}{why}", text(&told["answer"]));
    for by in told["by"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        println!("decided by `{by}`");
    }
    let remedies = told["remedies"].as_array().cloned().unwrap_or_default();
    for remedy in remedies.iter().filter_map(Value::as_str) {
        println!("what would lift it: {remedy}");
    }
    let owes: Vec<_> = told["owes"].as_array().into_iter().flatten().map(text).collect();
    if !owes.is_empty() {
        println!("it owes and uses up: {}", owes.join(", "));
    }
    let asked = told["asked"].as_array().cloned().unwrap_or_default();
    let for_others = told["for_others"].as_array().cloned().unwrap_or_default();
    if asked.is_empty() && !for_others.is_empty() {
        println!("no policy was asked: those that permit it are about others");
    } else if asked.is_empty() && told["reason"] == "not_granted" {
        println!("no policy was asked: no permit names the tool, or its server, in its scope");
    } else if asked.is_empty() {
        println!("no policy was asked: it was decided before that");
    }
    asked.iter().for_each(policy);
    for other in &for_others {
        println!("`{}` permits it to others: {}", text(&other["policy"]), text(&other["whom"]));
    }
    for lacks in told["missing"].as_array().into_iter().flatten() {
        println!(
            "missing, for `{}` to permit it to the {}:",
            text(&lacks["policy"]),
            text(&lacks["of"])
        );
        for needed in lacks["needs"].as_array().into_iter().flatten() {
            println!("  {}", text(needed));
        }
    }
    permitted_with(told);
}

/// Tells in which other circumstances it would be permitted, or why that was not looked for.
fn permitted_with(told: &Value) {
    if let Some(why) = told["untried"].as_str() {
        println!("whether it would be permitted in other circumstances was not tried: {why}");
    }
    let Some(all) = told["permitted_with"].as_array() else { return };
    for members in all.iter().filter_map(Value::as_object) {
        let members = members.iter().map(|(member, value)| format!("{member}: {value}"));
        println!("would be permitted with {}", members.collect::<Vec<_>>().join(", "));
    }
    if all.is_empty() {
        println!("no other circumstances would permit it");
    }
}

/// Tells what one policy came to, and what it saw.
fn policy(policy: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let applies = match policy["applies"].as_bool() {
        Some(true) => "applies",
        Some(false) => "does not apply",
        None => "could not be evaluated",
    };
    let observed = if policy["observed"] == true { ", under observation" } else { "" };
    let (effect, name, of) = (&policy["effect"], &policy["policy"], &policy["of"]);
    println!("{} `{}` {applies} (asked of the {}{observed})", text(effect), text(name), text(of));
    if let Some(why) = policy["why"].as_str() {
        println!("  {why}");
    }
    if let Some(description) = policy["description"].as_str() {
        println!("  {description}");
    }
    for condition in policy["conditions"].as_array().into_iter().flatten() {
        let met = match condition["met"].as_bool() {
            Some(true) => "met",
            Some(false) => "not met",
            None => "not evaluable",
        };
        let why = condition["why"].as_str().map(|why| format!(" ({why})")).unwrap_or_default();
        println!("  {met}: {}{why}", text(&condition["text"]));
        for saw in condition["saw"].as_array().into_iter().flatten() {
            let value = saw[1].as_str().unwrap_or("not there");
            println!("    {} is {value}", text(&saw[0]));
        }
    }
}
