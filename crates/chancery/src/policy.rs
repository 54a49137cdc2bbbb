//! `chancery policy`: what is done with a policy set before it is in force, and what is asked of decisions that
//! one made.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use model::{Harm, Timestamp, ToolRef};
use pap::{CaseResult, CaseTool, Command as Asked, PolicyFiles, Tools};
use pdp::{Finding, Snapshot};
use serde_json::{Value, json};

use crate::cli::{Policy, Since};
use crate::policy_set::PolicySet;
use crate::releases;
use crate::socket;

/// The set is not as it should be, or something flips.
pub(crate) const DOES_NOT_HOLD: u8 = 3;

/// Runs one command.
pub(crate) async fn run(typed: Policy) -> anyhow::Result<ExitCode> {
    match typed {
        Policy::Check(set) => check(&set.dir),
        Policy::Fmt { set, check } => lay_out(&set.dir, check),
        Policy::Lint(set) => {
            let set = PolicySet::read(&set.dir)?;
            let findings = findings(&set, &set.compiled()?);
            for finding in &findings {
                println!("{finding}");
            }
            Ok(holds(findings.is_empty()))
        }
        Policy::Test { set, junit } => test(&set.dir, junit.as_deref()),
        Policy::Schema(set) => {
            let set = PolicySet::read(&set.dir)?;
            let text = set.compiled()?.schema_text().map_err(|error| anyhow!(error))?;
            print!("{text}");
            Ok(ExitCode::SUCCESS)
        }
        Policy::Tools { socket } => {
            let told = socket::call(&socket.socket, &Asked::ServerList).await?;
            print!("{}", serde_saphyr::to_string(&onboarded(&told)?)?);
            Ok(ExitCode::SUCCESS)
        }
        Policy::Explain { id, json, socket } => {
            let told = socket::call(&socket.socket, &Asked::PolicyExplain { id }).await?;
            if json {
                println!("{}", serde_json::to_string_pretty(&told)?);
            } else {
                explain(&told);
            }
            Ok(ExitCode::SUCCESS)
        }
        Policy::Replay { set, since, socket } => {
            replay(&PolicySet::read(&set.dir)?, since, &socket.socket).await
        }
        Policy::Prove(asked) => crate::prove::run(&asked).await,
        other => release(other).await,
    }
}

/// Runs one command about releases.
async fn release(typed: Policy) -> anyhow::Result<ExitCode> {
    let told = match typed {
        Policy::Publish { set, expires, signed, socket } => {
            releases::publish((&set.dir, expires), signed, &socket.socket).await?
        }
        Policy::Approve { release, signed, socket } => {
            releases::approve(release, signed, &socket.socket).await?
        }
        Policy::Activate { release: version, socket } => {
            socket::call(&socket.socket, &Asked::PolicyActivate { version }).await?
        }
        Policy::Rollback { release, signed, socket } => {
            releases::roll_back(release, signed, &socket.socket).await?
        }
        Policy::Diff { a, b, socket } => {
            let differs = releases::diff([&a, &b], &socket.socket).await?;
            print!("{differs}");
            return Ok(holds(differs.is_empty()));
        }
        Policy::History { json: false, socket } => {
            let told = socket::call(&socket.socket, &Asked::PolicyHistory).await?;
            print!("{}", releases::history(&told));
            return Ok(ExitCode::SUCCESS);
        }
        Policy::History { json: true, socket } => {
            socket::call(&socket.socket, &Asked::PolicyHistory).await?
        }
        _ => unreachable!("the others are run before"),
    };
    println!("{told}");
    Ok(ExitCode::SUCCESS)
}

/// How many cases of the set in `dir` hold; those that do not are an error.
pub(crate) fn held(dir: &Path) -> anyhow::Result<usize> {
    let results = PolicySet::read(dir)?.run()?;
    let all = results.iter().flat_map(|(file, results)| results.iter().map(move |it| (file, it)));
    let mut held = 0;
    for (file, CaseResult { name, held: result, .. }) in all {
        if let Err(error) = result {
            bail!("in `{file}`: the case `{name}` {error}");
        }
        held += 1;
    }
    Ok(held)
}

pub(crate) fn holds(does: bool) -> ExitCode {
    if does { ExitCode::SUCCESS } else { ExitCode::from(DOES_NOT_HOLD) }
}

fn findings(set: &PolicySet, snapshot: &Snapshot) -> Vec<Finding> {
    snapshot.lint(&set.harm())
}

fn check(dir: &Path) -> anyhow::Result<ExitCode> {
    let set = PolicySet::read(dir)?;
    let snapshot = set.compiled()?;
    let properties = set.compiled_properties(&BTreeMap::new())?;
    let of_properties = properties.iter().flat_map(Snapshot::warnings).cloned();
    for finding in findings(&set, &snapshot).into_iter().chain(of_properties) {
        println!("warning: {finding}");
    }
    let results = set.run()?;
    let failed = tell_failures(&results);
    let (policies, tools) = (snapshot.ids_of_all().count(), set.all_tools().len());
    let cases: usize = results.values().map(Vec::len).sum();
    println!("{policies} policies, {tools} tools, {cases} cases, {failed} of which do not hold");
    println!("digest {}", snapshot.digest());
    Ok(holds(failed == 0))
}

fn lay_out(dir: &Path, only_check: bool) -> anyhow::Result<ExitCode> {
    let mut differ = 0;
    for (name, text) in PolicySet::read(dir)?.files.policies {
        let laid_out = pdp::format(&name, &text).map_err(|finding| anyhow!("{finding}"))?;
        if laid_out == text {
            continue;
        }
        differ += 1;
        println!("{name}");
        if !only_check {
            let path = dir.join(&name);
            fs::write(&path, laid_out)
                .with_context(|| format!("could not write `{}`", path.display()))?;
        }
    }
    Ok(holds(differ == 0 || !only_check))
}

/// Tells of the cases that do not hold; how many.
fn tell_failures(results: &BTreeMap<String, Vec<CaseResult>>) -> usize {
    let mut failed = 0;
    for (file, results) in results {
        for CaseResult { name, held, .. } in results {
            if let Err(error) = held {
                failed += 1;
                println!("{file}: `{name}` {error}");
            }
        }
    }
    failed
}

fn test(dir: &Path, junit: Option<&Path>) -> anyhow::Result<ExitCode> {
    let set = PolicySet::read(dir)?;
    let snapshot = set.compiled()?;
    let results = set.run()?;
    if let Some(path) = junit {
        fs::write(path, crate::junit::report(&results)?)
            .with_context(|| format!("could not write `{}`", path.display()))?;
    }
    let failed = tell_failures(&results);
    let cases: usize = results.values().map(Vec::len).sum();
    coverage(&snapshot, &results);
    println!("{} of {cases} cases hold", cases - failed);
    Ok(holds(failed == 0))
}

/// Tells which policies no case comes to, and which of their conditions no case sees both ways.
fn coverage(snapshot: &Snapshot, results: &BTreeMap<String, Vec<CaseResult>>) {
    let asked = || results.values().flatten().flat_map(|result| &result.asked);
    let applied: BTreeSet<_> =
        asked().filter(|it| it.applies == Some(true)).map(|it| &it.policy).collect();
    let mut seen: BTreeMap<(&str, &str), BTreeSet<bool>> = BTreeMap::new();
    for policy in asked() {
        for condition in &policy.conditions {
            let place = (policy.policy.as_str(), condition.text.as_str());
            seen.entry(place).or_default().extend(condition.met);
        }
    }
    let all: Vec<_> = snapshot.ids_of_all().collect();
    let covered = all.iter().filter(|id| applied.contains(**id)).count();
    for id in all.iter().filter(|id| !applied.contains(**id)) {
        println!("not covered: policy `{id}` applies in no case");
    }
    for ((policy, condition), met) in &seen {
        if met.len() < 2 {
            let never = if met.contains(&true) { "always" } else { "never" };
            println!("half covered: policy `{policy}`: {never} met: {condition}");
        }
    }
    let both = seen.values().filter(|met| met.len() == 2).count();
    println!("{covered} of {} policies apply in a case", all.len());
    println!("{both} of {} conditions that were asked were met and not met", seen.len());
}

/// The tools that the service told of, as a set describes them.
fn onboarded(told: &Value) -> anyhow::Result<Tools> {
    let rows = told.as_array().context("the service told no list")?;
    let rows = rows.iter().filter(|row| row.get("tool").is_some());
    rows.map(|row| {
        let name: ToolRef = serde_json::from_value(row["tool"].clone())?;
        let harm: BTreeSet<Harm> = serde_json::from_value(row["harm"].clone())?;
        let schema = row["descriptor"].get("inputSchema").cloned();
        Ok((name, CaseTool { harm, input: schema.unwrap_or_else(|| json!({ "type": "object" })) }))
    })
    .collect()
}

/// Tells how a decision came about, in words.
fn explain(told: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    println!("{} {} on {}", text(&told["time"]), text(&told["action"]), text(&told["resource"]));
    let why = told["why"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
    println!("{}{why}", text(&told["answer"]));
    let remedies = told["remedies"].as_array().cloned().unwrap_or_default();
    for remedy in remedies.iter().filter_map(Value::as_str) {
        println!("what would lift it: {remedy}");
    }
    let asked = told["asked"].as_array().cloned().unwrap_or_default();
    if asked.is_empty() {
        println!("no policy was asked: a built-in rule decided");
    }
    for policy in &asked {
        let applies = match policy["applies"].as_bool() {
            Some(true) => "applies",
            Some(false) => "does not apply",
            None => "could not be evaluated",
        };
        let observed = if policy["observed"] == true { ", under observation" } else { "" };
        let (effect, name, of) = (&policy["effect"], &policy["policy"], &policy["of"]);
        println!(
            "{} `{}` {applies} (asked of the {}{observed})",
            text(effect),
            text(name),
            text(of)
        );
        if let Some(description) = policy["description"].as_str() {
            println!("  {description}");
        }
        for condition in policy["conditions"].as_array().into_iter().flatten() {
            let met = match condition["met"].as_bool() {
                Some(true) => "met",
                Some(false) => "not met",
                None => "not evaluable",
            };
            println!("  {met}: {}", text(&condition["text"]));
            for saw in condition["saw"].as_array().into_iter().flatten() {
                let value = saw[1].as_str().unwrap_or("not there");
                println!("    {} is {value}", text(&saw[0]));
            }
        }
    }
}

/// What came of deciding again what is recorded.
#[derive(Default)]
pub(crate) struct Replayed {
    /// Flips that are alike: how often, and one of them.
    pub(crate) flips: BTreeMap<String, (u64, Value)>,
    decided: u64,
    same: u64,
    erased: u64,
    damaged: u64,
}

impl Replayed {
    /// Decides what is recorded since then again by the set of `files`, a page after the other.
    pub(crate) async fn of(
        files: &PolicyFiles,
        since: Option<Timestamp>,
        socket: &Path,
    ) -> anyhow::Result<Self> {
        let (mut from, mut all) = (0, Self::default());
        loop {
            let asked = Asked::PolicyReplay { files: files.clone(), from, since };
            let told = socket::call(socket, &asked).await?;
            let Self { decided, same, erased, damaged, .. } = &mut all;
            let sums =
                [(decided, "decided"), (same, "same"), (erased, "erased"), (damaged, "damaged")];
            for (sum, name) in sums {
                *sum += told[name].as_u64().unwrap_or_default();
            }
            for flip in told["flips"].as_array().into_iter().flatten() {
                let kind = flip["kind"].to_string();
                let (times, _) = all.flips.entry(kind).or_insert_with(|| (0, flip.clone()));
                *times += flip["times"].as_u64().unwrap_or_default();
            }
            let Some(next) = told["next"].as_u64() else { break };
            from = next;
            eprint!("\r{from} records");
        }
        eprintln!();
        Ok(all)
    }

    /// Whether all of it could be decided again.
    pub(crate) const fn is_whole(&self) -> bool {
        self.damaged == 0
    }

    /// Tells what flips, and how much was decided.
    pub(crate) fn tell(&self, to: &mut impl Write) -> anyhow::Result<()> {
        for (times, flip) in self.flips.values() {
            let kind = &flip["kind"];
            let text = |name: &str| kind[name].as_str().unwrap_or("-").to_owned();
            writeln!(
                to,
                "{} {times}: agent {}, sponsor {}, {} on {}: {} (such as {})",
                text("flip"),
                text("agent"),
                text("sponsor"),
                text("action"),
                text("resource"),
                text("by"),
                flip["example"].as_str().unwrap_or_default(),
            )?;
        }
        let Self { decided, same, erased, damaged, .. } = self;
        writeln!(
            to,
            "{decided} decided again, {same} alike; {erased} erased, {damaged} cannot be read"
        )?;
        Ok(())
    }
}

async fn replay(
    set: &PolicySet,
    since: Option<Duration>,
    socket: &Path,
) -> anyhow::Result<ExitCode> {
    let since = since.map(|back| crate::reach::at(Since::Ago(back)));
    let replayed = Replayed::of(&set.files, since, socket).await?;
    replayed.tell(&mut std::io::stdout())?;
    Ok(holds(replayed.flips.is_empty() && replayed.is_whole()))
}
