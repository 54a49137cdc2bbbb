//! `chancery policy`: what is done with a policy set before it is in force, and what is asked of decisions that
//! one made.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail, ensure};
use model::{Harm, Remedy, ToolRef};
use pap::{CaseResult, CaseTool, Command as Asked, Tools};
use pdp::agentcore::{self, Claim};
use pdp::{Finding, Snapshot};
use serde_json::{Map, Value};

use crate::cli::{Foreign, Policy};
use crate::policy_set::{self, PolicySet};
use crate::{releases, replay, sets, socket};

/// The cases that were made of recorded decisions.
const RECORDED: &str = "cases/recorded.yaml";

/// The set is not as it should be, or something flips.
pub(crate) const DOES_NOT_HOLD: u8 = 3;

/// Runs one command.
pub(crate) async fn run(typed: Policy) -> anyhow::Result<ExitCode> {
    match typed {
        Policy::Sets => {
            println!("{}", sets::list());
            Ok(ExitCode::SUCCESS)
        }
        Policy::New { dir, names } => {
            print!("{}", sets::begin(&dir, &names)?);
            Ok(ExitCode::SUCCESS)
        }
        Policy::Import { path, from: Foreign::AgentCore, claims } => {
            print!("{}", import(&path, claims)?);
            Ok(ExitCode::SUCCESS)
        }
        Policy::Check(set) => check(&set.dir),
        Policy::Fmt { set, check } => lay_out(&set.dir, check),
        Policy::Lint(set) => {
            let set = PolicySet::read(&set.dir)?;
            let snapshot = set.compiled()?;
            let findings = findings(&set, &snapshot);
            for finding in &findings {
                println!("{finding}");
            }
            tell_remedies(&snapshot);
            Ok(holds(findings.is_empty()))
        }
        Policy::Test { set, record: Some(id), socket, .. } => {
            record(&set.dir, &id, &socket.socket).await
        }
        Policy::Test { set, junit, .. } => test(&set.dir, junit.as_deref()),
        Policy::Schema { set, onboarded, socket } => {
            let set = PolicySet::read(&set.dir)?;
            let tools = if onboarded { told(&socket.socket).await? } else { set.all_tools() };
            schema(&set, &tools)
        }
        Policy::Tools { socket } => {
            print!("{}", serde_saphyr::to_string(&told(&socket.socket).await?)?);
            Ok(ExitCode::SUCCESS)
        }
        Policy::Explain(asked) => crate::explain::run(asked).await,
        Policy::Replay { set, since, all, socket } => {
            let files = PolicySet::read(&set.dir)?.files;
            let replayed = replay::run(&files, since, &socket.socket).await?;
            print!("{replayed}");
            Ok(holds(replayed.passes(all)))
        }
        Policy::Plan(asked) => crate::plan::run(asked).await,
        Policy::Prove(asked) => crate::prove::run(&asked).await,
        other => release(other).await,
    }
}

/// The tools that are onboarded at the service.
async fn told(socket: &Path) -> anyhow::Result<Tools> {
    onboarded(&socket::call(socket, &Asked::ServerList).await?)
}

/// Prints the schema of `set` with `tools`, and beside it which of them it leaves out.
fn schema(set: &PolicySet, tools: &Tools) -> anyhow::Result<ExitCode> {
    let told = pdp::schema_text(&pap::bundle(&set.files, tools));
    let (text, left_out) = told.map_err(|errors| anyhow!("there is no schema:\n{errors}"))?;
    for finding in left_out {
        eprintln!("chancery: {}", mcp::render_untrusted(&finding.to_string()));
    }
    print!("{text}");
    Ok(ExitCode::SUCCESS)
}

/// Policies of `AgentCore` in the words of policies here.
fn import(path: &Path, claims: Vec<(String, Claim)>) -> anyhow::Result<String> {
    let files = if path.is_dir() {
        policy_set::foreign(path)?
    } else {
        let shown = path.display().to_string();
        let text = fs::read_to_string(path).with_context(|| format!("could not read `{shown}`"))?;
        BTreeMap::from([(shown, text)])
    };
    let claims = agentcore::usual_claims().into_iter().chain(claims).collect();
    let imported = agentcore::import(&files, &claims);
    imported.map_err(|errors| anyhow!("nothing is imported:\n{errors}"))
}

/// Runs one command about releases.
async fn release(typed: Policy) -> anyhow::Result<ExitCode> {
    let told = match typed {
        Policy::Publish { set, expires, prove, owner, signed, socket } => {
            let by = (owner, signed);
            releases::publish((&set.dir, expires, prove), by, &socket.socket).await?
        }
        Policy::Approve { release, digest, proving, signed, socket } => {
            let version = releases::named(&release, &socket.socket).await?;
            let meant = (digest, proving.as_deref());
            releases::approve((version, meant), signed, &socket.socket).await?
        }
        Policy::Activate { release, digest, socket } => {
            let version = releases::named(&release, &socket.socket).await?;
            releases::activate((version, digest), &socket.socket).await?
        }
        Policy::Observe { release, socket, .. } => {
            let version = match release {
                Some(release) => Some(releases::named(&release, &socket.socket).await?),
                None => None,
            };
            socket::call(&socket.socket, &Asked::PolicyObserve { version }).await?
        }
        Policy::Withdraw { release, socket } => {
            let version = releases::named(&release, &socket.socket).await?;
            socket::call(&socket.socket, &Asked::PolicyWithdraw { version }).await?
        }
        Policy::Rollback { release, expires, owner, signed, socket } => {
            let version = releases::named(&release, &socket.socket).await?;
            releases::roll_back((version, expires), (owner, signed), &socket.socket).await?
        }
        Policy::Diff { a, b, socket } => {
            let (contents, differs) = releases::diff([&a, &b], &socket.socket).await?;
            print!("{contents}{differs}");
            return Ok(holds(differs.is_empty()));
        }
        Policy::History { set, json, socket } => {
            let told = releases::listed(set.as_deref(), &socket.socket).await?;
            if !json {
                print!("{}", releases::history(&told));
                return Ok(ExitCode::SUCCESS);
            }
            told
        }
        _ => unreachable!("the others are run before"),
    };
    println!("{told}");
    Ok(ExitCode::SUCCESS)
}

/// How many cases of `set` hold; those that do not are an error.
pub(crate) fn held(set: &PolicySet) -> anyhow::Result<usize> {
    let results = set.run()?;
    let all = results.iter().flat_map(|(file, results)| results.iter().map(move |it| (file, it)));
    let mut held = 0;
    for (file, result) in all {
        if let Some(failure) = result.failure(file) {
            bail!("{failure}; `chancery policy test` tells all that do not hold");
        }
        held += 1;
    }
    Ok(held)
}

pub(crate) fn holds(does: bool) -> ExitCode {
    if does { ExitCode::SUCCESS } else { ExitCode::from(DOES_NOT_HOLD) }
}

/// What is doubtful in `set`, which was compiled to `snapshot`, each with its place.
pub(crate) fn findings(set: &PolicySet, snapshot: &Snapshot) -> Vec<Finding> {
    let places = set.tool_places();
    let place = |tool: &ToolRef| places.get(tool).cloned();
    snapshot.lint(&set.harm()).into_iter().map(|finding| finding.at_tool(place)).collect()
}

/// Tells of what would lift what policies forbid, which nothing discharges yet.
fn tell_remedies(snapshot: &Snapshot) {
    for (policy, remedy) in snapshot.remedies() {
        let wanted = match remedy {
            Remedy::Approval => {
                "wants an approval, which costs a person's time for each call that it forbids; \
                 nothing asks them yet"
            }
            Remedy::StepUp => {
                "wants a stronger login, which costs a person's time; nothing asks for one yet"
            }
        };
        println!("strictness: `{policy}` {wanted}, so it is denied");
    }
}

fn check(dir: &Path) -> anyhow::Result<ExitCode> {
    let set = PolicySet::read(dir)?;
    let snapshot = set.compiled()?;
    let properties = set.compiled_properties(&BTreeMap::new())?;
    let of_properties = properties.iter().flat_map(Snapshot::warnings).cloned();
    for finding in findings(&set, &snapshot).into_iter().chain(of_properties) {
        println!("warning: {finding}");
    }
    for rule in snapshot.strictness().rules() {
        println!("strictness: {rule}");
    }
    tell_remedies(&snapshot);
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
        for result in results {
            if let Some(failure) = result.failure(file) {
                failed += 1;
                println!("{failure}");
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

/// Writes the decision `id` as a case of the set in `dir`, which must answer as it was decided.
async fn record(dir: &Path, id: &str, socket: &Path) -> anyhow::Result<ExitCode> {
    let mut told = socket::call(socket, &Asked::PolicyCase { id: id.to_owned() }).await?;
    let case: Map<String, Value> = serde_json::from_value(told["case"].take())?;
    let tools: Tools = serde_json::from_value(told["tools"].take())?;
    let name = case.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let set = PolicySet::read(dir)?;
    let mut file = set.cases.get(RECORDED).cloned().unwrap_or_default();
    file.add(case, tools).map_err(|why| anyhow!("`{id}` is not written to `{RECORDED}`: {why}"))?;
    // What is decided is what will be read.
    let text = serde_saphyr::to_string(&file)?;
    let mut all = set.files.cases.clone();
    all.insert(RECORDED.to_owned(), text.clone());
    let read = pap::read_cases(&all);
    let read = read.map_err(|why| anyhow!("`{id}` is not written to `{RECORDED}`: {why}"))?;
    let read = read.1.get(RECORDED).context("it is not read again")?;
    let is_same = serde_json::to_value(read)? == serde_json::to_value(&file)?;
    ensure!(is_same, "`{id}` is not written to `{RECORDED}`: it would be read otherwise");
    let results = read.run(&set.files, &set.tools).map_err(|why| anyhow!("{why}"))?;
    let result = results.into_iter().find(|it| it.name == name).context("it is not read again")?;
    result.held.map_err(|why| anyhow!("`{id}` is not written to `{RECORDED}`: it {why}"))?;
    let path = dir.join(RECORDED);
    let parent = path.parent().context("it is in a directory")?;
    fs::create_dir_all(parent)
        .and_then(|()| fs::write(&path, text))
        .with_context(|| format!("could not write `{}`", path.display()))?;
    println!("{RECORDED}: `{name}`");
    for untold in told["untold"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        println!("not told, though a policy saw it: {untold}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Tells which policies no case comes to, and which of their conditions no case sees both ways.
fn coverage(snapshot: &Snapshot, results: &BTreeMap<String, Vec<CaseResult>>) {
    let asked = || results.values().flatten().flat_map(|result| &result.asked);
    let applied: BTreeSet<_> =
        asked().filter(|it| it.applies == Some(true)).map(|it| &it.policy).collect();
    let mut seen: BTreeMap<_, BTreeSet<bool>> =
        snapshot.conditions().map(|place| (place, BTreeSet::new())).collect();
    for policy in asked() {
        for condition in &policy.conditions {
            seen.entry((&policy.policy, condition.text.clone())).or_default().extend(condition.met);
        }
    }
    let all: Vec<_> = snapshot.ids_of_all().collect();
    let covered = all.iter().filter(|id| applied.contains(**id)).count();
    for id in all.iter().filter(|id| !applied.contains(**id)) {
        println!("not covered: policy `{id}` applies in no case");
    }
    let scoped: BTreeSet<_> = asked().map(|it| &it.policy).collect();
    for ((policy, condition), met) in &seen {
        if met.len() < 2 && scoped.contains(policy) {
            let never = if met.contains(&true) { "always" } else { "never" };
            println!("half covered: policy `{policy}`: {never} met: {condition}");
        }
    }
    let both = seen.values().filter(|met| met.len() == 2).count();
    println!("{covered} of {} policies apply in a case", all.len());
    println!("{both} of {} conditions were met and not met", seen.len());
}

/// The tools that the service told of, as a set describes them.
pub(crate) fn onboarded(told: &Value) -> anyhow::Result<Tools> {
    let rows = told.as_array().context("the service told no list")?;
    let rows = rows.iter().filter(|row| row.get("tool").is_some());
    rows.map(|row| {
        let name: ToolRef = serde_json::from_value(row["tool"].clone())?;
        let harm: BTreeSet<Harm> = serde_json::from_value(row["harm"].clone())?;
        let said = |member: &str| row.get(member).cloned();
        let objects = said("objects").map(serde_json::from_value).transpose()?;
        let data = said("data").map(serde_json::from_value).transpose()?.unwrap_or_default();
        let described = CaseTool::described(harm, &row["descriptor"]);
        Ok((name, CaseTool { objects, data, ..described }))
    })
    .collect()
}
